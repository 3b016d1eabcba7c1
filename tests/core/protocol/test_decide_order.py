"""The order of the rules in the table."""

from dataclasses import replace
from typing import Any

import pytest

from rotator.core.protocol import (
    CLOCK_TOLERANCE,
    Awaited,
    Create,
    Credential,
    Event,
    Failure,
    Journal,
    List,
    Observation,
    Poll,
    Prepare,
    Publishing,
    Reason,
    Refresh,
    RequestKind,
    Retiring,
    Revoke,
    Target,
    Trigger,
)
from tests.core.protocol.situations import (
    AT_REST,
    CANDIDATE_REFUSED,
    DUE,
    LATER,
    MINE,
    MOMENT,
    NEW,
    NOW,
    OLD,
    OTHER,
    PREPARED,
    RETIRING,
    SECOND,
    WINDOW,
    YESTERDAY,
    eliminated,
    event_of,
    failure_of,
    listing,
    pending,
    published,
    reason_of,
    request,
    seen,
    step_of,
)

PUBLISHED_REFUSED = frozenset({Credential.PUBLISHED})
REFUSED: dict[str, Any] = {"refused": PUBLISHED_REFUSED, "waiting_since": {Awaited.PUBLISHED: NOW - WINDOW}}
LOST = replace(AT_REST, **MINE)


AHEAD = NOW + CLOCK_TOLERANCE

LATE = Publishing(1, Retiring("m", LATER))


@pytest.mark.parametrize(
    ("journal", "observation", "expected"),
    [
        # an urgent request is written down before anything is awaited
        (
            replace(AT_REST, lease_holder="other", lease_until=LATER),
            seen(request=request(RequestKind.COMPROMISED)),
            Event.REQUESTED,
        ),
        # and before the journal's storage time is corrected
        (
            AT_REST,
            seen(request=request(RequestKind.COMPROMISED), journal_at=AHEAD + MOMENT, journal_read_at=NOW),
            Event.REQUESTED,
        ),
        # an expiring journal is refreshed before a backoff is awaited
        (
            replace(AT_REST, attempts=1, next_attempt_at=LATER),
            seen(journal_at=YESTERDAY, journal_expires_at=NOW + SECOND),
            Event.REFRESHED,
        ),
        # a backoff comes before a write of a dead instance
        (replace(AT_REST, attempts=1, next_attempt_at=LATER, publishing=LATE), seen(), Reason.BACKOFF),
        # a mark is removed before the journal follows the rewrite
        (replace(LOST, publishing=LATE), seen(published=published(version=2), rewritten_over=1), Event.UNMARKED),
        # the published document is followed before the candidate is committed
        (
            PREPARED,
            seen(published=published(version=2, secret=NEW), rewritten_over=1),
            Event.CAUGHT_UP,
        ),
        # a candidate is committed before a revocation is settled
        (
            replace(PREPARED, candidate=OLD, retiring=(Retiring("r", NOW),)),
            seen(revoked=frozenset({"r"})),
            Event.COMMITTED,
        ),
        # a candidate that leaked is given up before the document is recognized
        (
            replace(PREPARED, request=request(RequestKind.COMPROMISED, Target(version=2), value=NEW)),
            seen("a", "c", published=published(version=3, secret=OTHER), recorded=OLD, recorded_read=True),
            Event.GIVEN_UP,
        ),
        # the document is recognized before its id is looked at
        (
            replace(AT_REST, current=pending("b", next_look=NOW)),
            seen("b", published=published(version=2), recorded=OLD, recorded_read=True),
            Event.CAUGHT_UP,
        ),
        # the published id is looked at before a retiring one
        (
            replace(AT_REST, current=pending("b"), retiring=(Retiring("a", LATER, identity=pending("a")),)),
            seen("b"),
            Event.LOOKED,
        ),
        # a retiring id is looked at before the document is completed
        (
            replace(LOST, retiring=(Retiring("a", LATER, identity=pending("a")),)),
            seen("a", "b", published=published(rotated_at=NOW)),
            Event.LOOKED,
        ),
        # a doubtful id is named before a wrong date is corrected
        (
            replace(AT_REST, current=eliminated("b"), rotated_at=AHEAD + MOMENT),
            seen("b", "s", published=published(written_at=NOW)),
            Failure.AMBIGUOUS,
        ),
        # a wrong date is corrected before an unknown id is named
        (
            replace(AT_REST, rotated_at=AHEAD + MOMENT),
            seen("b", "s", published=published(written_at=NOW)),
            Event.REDATED,
        ),
        # a wrong date is corrected before anything is revoked
        (
            replace(RETIRING, rotated_at=AHEAD + MOMENT),
            seen("a", "b", published=published(written_at=NOW)),
            Event.REDATED,
        ),
        # what is recorded and due is revoked before an unknown id is named
        (RETIRING, seen("a", "b", "s"), Event.CLAIMED),
        # an unknown id is named before a pending one is awaited
        (
            replace(AT_REST, retiring=(Retiring("c", NOW, identity=pending("c", next_look=NOW + SECOND)),)),
            seen("b", "c", "s"),
            Failure.AMBIGUOUS,
        ),
        # a write to another path is named before the published secret's id is awaited
        (
            replace(RETIRING, published_path="apps/typo", publishing=Publishing(1, Retiring("a", NOW), "apps/shop")),
            seen("a", published=published(path="apps/typo")),
            Failure.UNCONFIRMED_DOCUMENT,
        ),
        # a doubtful id is named before anything is revoked
        (replace(RETIRING, current=eliminated("b")), seen("a", "b", "s"), Failure.AMBIGUOUS),
    ],
)
def test_rules_have_their_order(journal: Journal, observation: Observation, expected: Event | Failure | Reason) -> None:
    step = step_of(journal, observation)
    match expected:
        case Event():
            assert event_of(step) is expected
        case Failure():
            assert failure_of(step) is expected
        case Reason():
            assert reason_of(step) is expected


def test_document_is_completed_before_a_revocation() -> None:
    both = seen("a", "b", published=published(rotated_at=NOW))
    assert step_of(replace(RETIRING, **MINE), both) == Refresh("its id is certain now", secret_id="b")


def test_revocation_comes_before_a_new_rotation() -> None:
    both = replace(RETIRING, rotated_at=YESTERDAY, **MINE)
    assert step_of(both, seen("a", "b"), max_secrets=3) == Revoke("a")


def test_unlisted_id_does_not_delay_a_rotation() -> None:
    assert step_of(DUE, seen("x"), max_secrets=3, due_at=None) != Prepare(Trigger.SCHEDULE)
    explained = replace(DUE, retiring=(Retiring("x", LATER),))
    assert step_of(explained, seen("x")) == Prepare(Trigger.SCHEDULE)


def test_unlisted_id_is_awaited_before_failures_are_cleared() -> None:
    explained = replace(AT_REST, attempts=1, retiring=(Retiring("x", LATER),))
    assert step_of(explained, seen("x")) == Poll(SECOND / 10, Awaited.LISTED)


def test_revocation_comes_before_a_pending_look() -> None:
    soon = pending("c", next_look=NOW + SECOND)
    journal = replace(RETIRING, retiring=(Retiring("a", NOW), Retiring("c", NOW, identity=soon)), **MINE)
    assert step_of(journal, seen("a", "b", "c"), max_secrets=3) == Revoke("a")


def test_pending_look_is_awaited_before_a_rotation() -> None:
    soon = pending("a", next_look=NOW + SECOND)
    journal = replace(DUE, retiring=(Retiring("a", NOW, identity=soon),))
    assert step_of(journal, seen("a", "b"), max_secrets=3) == Poll(SECOND, Awaited.LOOK)


def test_candidate_is_finished_before_ids_are_named() -> None:
    strange = seen(listing=listing("a"), refused=CANDIDATE_REFUSED)
    doubtful = replace(PREPARED, current=eliminated("x"), ids_before=frozenset({"a", "x"}))
    assert step_of(doubtful, strange) == Create(Credential.PUBLISHED)


def test_rescue_comes_before_ids_are_named() -> None:
    strange = seen(**(REFUSED | {"listing": listing("s", via=Credential.PRIMARY)}))
    assert step_of(AT_REST, strange) == Prepare(Trigger.RESCUE)


def test_candidate_is_listed_before_it_is_sent_again() -> None:
    here = seen(prepared_here=True)
    assert step_of(PREPARED, here) == List(Credential.CANDIDATE)


def test_rotation_begins_beside_late_write_elsewhere() -> None:
    """What is due stays: only a revocation must not come before the write."""
    marked = replace(RETIRING, rotated_at=YESTERDAY, published_path="apps/typo", **MINE)
    marked = replace(marked, publishing=Publishing(1, Retiring("a", NOW), "apps/shop"))
    elsewhere = seen("a", "b", published=published(path="apps/typo"))
    assert step_of(marked, elsewhere, max_secrets=3) == Prepare(Trigger.SCHEDULE)
