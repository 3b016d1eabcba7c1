"""Rules about previous secrets."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    Credential,
    Doubt,
    Event,
    Failure,
    Gone,
    Identity,
    Journal,
    Learned,
    Observation,
    Publishing,
    Reason,
    RequestKind,
    Retiring,
    Revoke,
    Target,
)
from rotator.core.protocol.retirement import record_gone, rest, revoke, revoke_due, wait_for_room
from tests.core.protocol.situations import (
    AT_REST,
    DUE,
    LATER,
    MINE,
    MOMENT,
    NOW,
    PREPARED,
    RETIRING,
    SECOND,
    WINDOW,
    answered,
    case_of,
    eliminated,
    event_of,
    failure_of,
    listing,
    pending,
    reason_of,
    request,
    seen,
    step_of,
)

HELD = replace(RETIRING, **MINE)
FORCED = request(RequestKind.FORCE)
IN_GRACE = replace(RETIRING, retiring=(Retiring("a", LATER),))


# --- gone --------------------------------------------------------------------------------------------------------


def test_confirmed_revocation_is_recorded() -> None:
    step = step_of(HELD, seen(revoked=frozenset({"a", "x"})))
    assert event_of(step) is Event.GONE
    assert step.journal.retiring == ()
    assert step.journal.gone == (Gone("a", NOW),)


@pytest.mark.parametrize("journal", [RETIRING, IN_GRACE])
def test_absent_id_is_gone_when_unlisted(journal: Journal) -> None:
    absent = frozenset({"a"})
    assert event_of(step_of(journal, seen("b", absent=absent))) is Event.GONE
    assert record_gone(case_of(IN_GRACE, seen("a", "b", absent=absent))) is None
    assert record_gone(case_of(IN_GRACE, seen(absent=absent))) is None


def test_unlisted_id_is_noted_once_it_is_due() -> None:
    step = step_of(RETIRING, seen("b"))
    assert event_of(step) is Event.MISSED
    assert step.journal.retiring == (Retiring("a", NOW, missing_since=NOW),)
    assert record_gone(case_of(IN_GRACE, seen("b"))) is None, "before it is due, an entry is never forgotten"


def test_unlisted_id_is_gone_after_the_window() -> None:
    for waited, event in ((WINDOW, Event.GONE), (WINDOW - MOMENT, None)):
        missing = replace(RETIRING, retiring=(Retiring("a", NOW - WINDOW, missing_since=NOW - waited),))
        step = record_gone(case_of(missing, seen("b")))
        assert step is None if event is None else event_of(step) is event


def test_unlisted_id_is_not_gone_by_old_list() -> None:
    missing = replace(RETIRING, retiring=(Retiring("a", NOW - WINDOW, missing_since=NOW - WINDOW),))
    assert record_gone(case_of(missing, seen(listing=listing("b", fetched_at=NOW - MOMENT)))) is None
    assert event_of(record_gone(case_of(missing, seen("b")))) is Event.GONE


def test_unlisted_id_is_not_gone_during_grace_period() -> None:
    """A clock that was ahead noted it as due."""
    early = replace(RETIRING, retiring=(Retiring("a", LATER, missing_since=NOW - WINDOW),))
    step = step_of(early, seen("b"))
    assert event_of(step) is Event.MISSED
    assert step.journal.retiring == (Retiring("a", LATER),)


def test_missing_note_is_removed_when_id_is_listed() -> None:
    missing = replace(RETIRING, retiring=(Retiring("a", NOW, missing_since=NOW - WINDOW),))
    step = step_of(missing, seen("a", "b"))
    assert event_of(step) is Event.MISSED
    assert step.journal.retiring == (Retiring("a", NOW),)


def test_ids_are_noted_one_by_one() -> None:
    entries = (Retiring("a", NOW), Retiring("c", NOW), Retiring("d", NOW, missing_since=NOW - SECOND))
    step = step_of(replace(RETIRING, retiring=entries), seen("a", "b"))
    assert [entry.missing_since for entry in step.journal.retiring] == [None, NOW, NOW - SECOND]


@pytest.mark.parametrize(
    ("journal", "observation"),
    [
        (replace(RETIRING, current=answered("x")), seen("b")),
        (replace(RETIRING, current=None), seen("b")),
        (replace(PREPARED, current=answered("b"), retiring=RETIRING.retiring), seen("b")),
        (RETIRING, seen()),
    ],
    ids=["without the published id", "without an id", "with a candidate", "without a list"],
)
def test_list_proves_no_missing_id_otherwise(journal: Journal, observation: Observation) -> None:
    assert record_gone(case_of(journal, observation)) is None


def test_gone_ids_are_recorded_before_missing_ones() -> None:
    entries = (Retiring("a", NOW), Retiring("c", NOW))
    step = step_of(replace(RETIRING, retiring=entries), seen("b", revoked=frozenset({"a"})))
    assert event_of(step) is Event.GONE
    assert step.journal.retiring == (Retiring("c", NOW),)


def test_due_id_is_revoked_under_the_lease() -> None:
    assert step_of(HELD, seen("a", "b")) == Revoke("a")
    assert event_of(step_of(RETIRING, seen("a", "b"))) is Event.CLAIMED


@pytest.mark.parametrize(
    ("journal", "observation", "policy"),
    [
        (IN_GRACE, seen("a", "b"), {}),
        (HELD, seen("a", "b", listing=listing("a", "b", via=Credential.PRIMARY)), {}),
        (HELD, seen("a"), {}),
        (HELD, seen("b"), {}),
        (replace(HELD, current=pending("b")), seen("a", "b"), {}),
        (replace(HELD, current=None), seen("a", "b"), {}),
        (replace(HELD, current=eliminated("b", "a")), seen("a", "b", "s"), {}),
        (replace(HELD, publishing=Publishing(1)), seen("a", "b"), {}),
        (HELD, seen("a", "b"), {"revoke": False}),
        (replace(HELD, retiring=(Retiring("a", NOW, identity=pending("a")),)), seen("a", "b"), {}),
        (replace(HELD, create_until=NOW + MOMENT), seen("a", "b"), {}),
        (HELD, seen(), {}),
        (replace(HELD, current=answered("a")), seen("a", "b"), {}),
    ],
    ids=[
        "in its grace period",
        "listed by the primary account",
        "published id unlisted",
        "unlisted",
        "published id pending",
        "published id unknown",
        "published id in doubt",
        "publishing",
        "not allowed",
        "own id pending",
        "late create",
        "no list",
        "the published id itself",
    ],
)
def test_revocation_waits_when_a_condition_fails(
    journal: Journal, observation: Observation, policy: dict[str, Any]
) -> None:
    assert revoke_due(case_of(journal, observation, **policy)) is None


# A person named the id, and rotator knows that the retiring one is another secret's.
NAMED = Identity("b", Learned.PERSON, foreign_ids=frozenset({"a"}))


@pytest.mark.parametrize("current", [answered("b"), eliminated("b", "a"), NAMED])
@pytest.mark.parametrize("own", [None, answered("a"), eliminated("a", "b")])
def test_id_is_revoked_beside_a_certain_one(current: Identity, own: Identity | None) -> None:
    journal = replace(HELD, current=current, retiring=(Retiring("a", NOW, identity=own),))
    assert revoke_due(case_of(journal, seen("a", "b"))) == Revoke("a")


def test_revocation_waits_when_a_candidate_is_recorded() -> None:
    journal = replace(PREPARED, current=answered("b"), retiring=RETIRING.retiring)
    assert revoke(case_of(journal, seen("a", "b"))) is None
    assert revoke(case_of(replace(journal, candidate=None), seen("a", "b"))) == Revoke("a")


def test_first_of_several_is_revoked() -> None:
    due = (Retiring("c", NOW, compromised=True), Retiring("a", NOW))
    assert step_of(replace(HELD, retiring=due), seen("a", "b", "c")) == Revoke("a")
    step = step_of(replace(RETIRING, retiring=due), seen("a", "b", "c"))
    assert event_of(step) is Event.CLAIMED
    assert step.journal.retiring == due


def test_early_revocation_is_written_down_first() -> None:
    journal = replace(IN_GRACE, request=FORCED, **MINE)
    step = step_of(journal, seen("a", "b"))
    assert event_of(step) is Event.CLAIMED
    assert step.journal.retiring == (Retiring("a", NOW),)
    assert step_of(step.journal, seen("a", "b")) == Revoke("a")


def test_early_revocation_among_due_ones_is_written_down() -> None:
    journal = replace(HELD, retiring=(Retiring("a", NOW), Retiring("c", LATER)), request=FORCED)
    step = step_of(journal, seen("a", "b", "c"), max_secrets=2)
    assert event_of(step) is Event.CLAIMED
    assert step.journal.retiring == (Retiring("a", NOW), Retiring("c", NOW))


def test_early_entry_that_is_not_due_changes_nothing() -> None:
    entries = (Retiring("a", NOW), Retiring("c", LATER))
    assert step_of(replace(HELD, retiring=entries), seen("a", "b", "c")) == Revoke("a")


def test_revocation_is_sent_three_times_at_most() -> None:
    assert step_of(HELD, seen("a", "b", revokes=2)) == Revoke("a")
    step = step_of(HELD, seen("a", "b", revokes=3))
    assert failure_of(step) is Failure.UNANSWERED
    assert step.what == "the provider still lists a after 3 requests to revoke it"
    assert step.next_command.args == ("rotate-now", "shop", "--due")
    assert step.advice


def test_full_account_waits_for_the_first_entry() -> None:
    entries = (Retiring("c", LATER + SECOND), Retiring("a", LATER))
    step = step_of(replace(DUE, retiring=entries), seen("a", "b", "c"))
    assert (reason_of(step), step.until) == (Reason.FULL, LATER)
    assert step.detail == "the account is full until a is revoked; --force does not wait for that"
    assert step.next_command.args == ("rotate-now", "shop", "--force")
    together = tuple(replace(entry, not_before=LATER) for entry in entries)
    step = step_of(replace(DUE, retiring=together), seen("a", "b", "c"))
    assert step.detail == "the account is full until a, c are revoked; --force does not wait for that"


@pytest.mark.parametrize("kind", [RequestKind.FORCE, RequestKind.COMPROMISED])
def test_forced_request_waits_for_a_late_create(kind: RequestKind) -> None:
    """The command that was given is not named again."""
    step = step_of(replace(IN_GRACE, request=request(kind), create_until=LATER + SECOND), seen("a", "b"))
    assert (reason_of(step), step.until) == (Reason.FULL, LATER + SECOND)
    assert step.detail == "the account is full until a is revoked"
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")


@pytest.mark.parametrize(
    ("retiring", "facts", "listed", "policy"),
    [
        ((Retiring("a", NOW),), {}, "ab", {"revoke": False}),
        ((Retiring("a", NOW),), {"create_until": LATER}, "ab", {}),
        ((Retiring("a", NOW, identity=pending("a", next_look=LATER)),), {}, "ab", {}),
        ((Retiring("a", LATER), Retiring("c", NOW)), {"publishing": Publishing(1)}, "abc", {}),
        ((Retiring("a", LATER),), {"gone": (Gone("g", NOW),)}, "bg", {}),
        ((Retiring("a", LATER),), {"gone": (Gone("g", NOW),)}, "abg", {"max_secrets": 3}),
        ((Retiring("a", LATER),), {}, "bx", {}),
    ],
    ids=["breaker", "late create", "pending", "late write", "revoked", "revoked beside", "not listed"],
)
def test_full_account_keeps_a_manual_request(
    retiring: tuple[Retiring, ...], facts: dict[str, Any], listed: str, policy: dict[str, Any]
) -> None:
    """Not its grace period is in the way, so no rule of the account's own defers the request."""
    journal = replace(AT_REST, retiring=retiring, **facts)
    unrecorded: Any = wait_for_room(case_of(journal, seen(*listed, request=request()), **policy))
    assert event_of(unrecorded) is Event.REQUESTED
    assert unrecorded.journal == replace(journal, request=request())
    recorded: Any = wait_for_room(case_of(unrecorded.journal, seen(*listed), **policy))
    assert (reason_of(recorded), recorded.journal) == (Reason.FULL, None)
    assert "--force" not in recorded.detail
    assert recorded.next_command.args == ("rotate-now", "shop", "--wait", "5m")


def test_grace_period_withdraws_a_manual_request() -> None:
    journal = replace(AT_REST, retiring=(Retiring("a", LATER), Retiring("c", NOW)), request=request())
    step: Any = wait_for_room(case_of(replace(journal, **MINE), seen("a", "b")))
    assert (reason_of(step), step.journal) == (Reason.FULL, replace(journal, request=None))
    assert step.next_command.args == ("rotate-now", "shop", "--force")


@pytest.mark.parametrize(("at", "until"), [(NOW, None), (NOW + MOMENT, NOW + MOMENT)])
def test_full_account_waits_for_no_past_instant(at: datetime, until: datetime | None) -> None:
    journal = replace(DUE, retiring=(Retiring("a", at),))
    step: Any = wait_for_room(case_of(journal, seen("a", "b"), revoke=False))
    assert (reason_of(step), step.until) == (Reason.FULL, until)


def test_account_rests_when_nothing_is_due() -> None:
    step = rest(case_of(AT_REST, seen("b")))
    assert (step.reason, step.until, step.next_command) == (Reason.IDLE, None, None)


def test_account_rests_until_a_grace_period_ends() -> None:
    entries = (Retiring("c", LATER + SECOND), Retiring("a", LATER))
    step = rest(case_of(replace(AT_REST, retiring=entries), seen("a", "b", "c")))
    assert (step.reason, step.until) == (Reason.GRACE, LATER)
    assert step.detail == "a is revoked then, and c later"
    together = tuple(replace(entry, not_before=LATER) for entry in entries)
    assert rest(case_of(replace(AT_REST, retiring=together), seen("a", "b", "c"))).detail == "a, c are revoked then"


@pytest.mark.parametrize(
    ("second", "detail"),
    [
        (NOW, "a, c are due, but nothing may be revoked now"),
        (NOW + MOMENT, "a is due, but nothing may be revoked now"),
    ],
)
def test_held_entries_are_the_due_ones(second: datetime, detail: str) -> None:
    journal = replace(AT_REST, retiring=(Retiring("a", NOW), Retiring("c", second)))
    step = rest(case_of(journal, seen("a", "b", "c"), revoke=False))
    assert (step.reason, step.detail) == (Reason.HELD, detail)


@pytest.mark.parametrize(
    ("second", "detail"),
    [
        (NOW, "a, c are revoked when their ids and the published one are certain"),
        (NOW + MOMENT, "a is revoked when its id and the published one are certain"),
    ],
)
def test_entries_that_wait_for_ids_are_named(second: datetime, detail: str) -> None:
    current = pending("b", next_look=LATER)
    journal = replace(AT_REST, current=current, retiring=(Retiring("a", NOW), Retiring("c", second)))
    step = rest(case_of(journal, seen("a", "b", "c")))
    assert (step.reason, step.until, step.detail) == (Reason.IDENTIFYING, LATER, detail)


def test_account_rests_until_its_id_is_looked_at() -> None:
    step = rest(case_of(replace(AT_REST, current=pending("b", next_look=LATER)), seen("b")))
    assert (step.reason, step.until) == (Reason.IDENTIFYING, LATER)
    assert rest(case_of(replace(AT_REST, current=None), seen("b"))).reason is Reason.IDLE


def test_due_entry_is_held_when_revocation_is_forbidden() -> None:
    step = rest(case_of(RETIRING, seen("a", "b"), revoke=False))
    assert (step.reason, step.until) == (Reason.HELD, None)
    assert step.next_command is not None
    assert step.next_command.args == ("rotate-now", "shop", "--due")


def test_entry_in_grace_waits_when_revocation_is_forbidden() -> None:
    step = rest(case_of(IN_GRACE, seen("a", "b"), revoke=False))
    assert (step.reason, step.until) == (Reason.GRACE, LATER)


def test_due_entry_is_held_when_its_list_counted() -> None:
    """A journal that was edited by hand can contain the published id twice. rotator does not revoke it."""
    same = replace(RETIRING, current=answered("a"))
    step = step_of(same, seen("a"))
    assert (reason_of(step), step.until) == (Reason.HELD, None)


@pytest.mark.parametrize(
    ("journal", "until"),
    [
        (replace(RETIRING, current=pending("b", next_look=LATER)), LATER),
        (replace(RETIRING, retiring=(Retiring("a", NOW, identity=pending("a", next_look=LATER)),)), LATER),
        (replace(RETIRING, retiring=(Retiring("a", NOW, missing_since=NOW - SECOND),)), NOW - SECOND + WINDOW),
        (
            replace(RETIRING, current=eliminated("b"), last_doubt=Doubt(frozenset({"s"}), NOW - SECOND)),
            NOW - SECOND + WINDOW,
        ),
    ],
    ids=["published id pending", "own id pending", "missing", "in doubt"],
)
def test_due_entry_waits_until_it_is_certain(journal: Journal, until: datetime) -> None:
    step = rest(case_of(journal, seen("a", "b")))
    assert (step.reason, step.until) == (Reason.IDENTIFYING, until)
    assert step.detail == "a is revoked when its id and the published one are certain"


def test_due_entry_is_judged_by_a_newer_list() -> None:
    """The end of the wait passed between the list and the decision: that is no reason to give up."""
    missing = (Retiring("a", NOW - WINDOW, missing_since=NOW - WINDOW - SECOND),)
    old = listing("b", fetched_at=NOW - 2 * SECOND)
    step = rest(case_of(replace(RETIRING, retiring=missing), seen(listing=old)))
    assert (step.reason, step.until) == (Reason.IDENTIFYING, NOW - SECOND)
    assert rest(case_of(replace(RETIRING, retiring=missing), seen(listing=old), revoke=False)).reason is Reason.HELD


def test_entry_waits_for_the_last_of_its_conditions() -> None:
    later = LATER + timedelta(hours=1)
    for at, look, until in ((LATER, later, later), (later, LATER, later)):
        journal = replace(AT_REST, retiring=(Retiring("a", at, identity=pending("a", next_look=look)),))
        assert rest(case_of(journal, seen("a", "b"))).until == until


def test_first_due_entry_waits_until_it_is_certain() -> None:
    soon = Retiring("a", NOW, identity=pending("a", next_look=NOW + SECOND))
    step = rest(case_of(replace(AT_REST, retiring=(soon, Retiring("c", LATER))), seen("a", "b", "c")))
    assert (step.reason, step.until) == (Reason.IDENTIFYING, NOW + SECOND)


def test_doubt_about_explained_ids_delays_nothing() -> None:
    noted = Doubt(frozenset({"s"}), NOW - SECOND)
    step = rest(case_of(replace(IN_GRACE, last_doubt=noted), seen("a", "b")))
    assert step.until == LATER
    held = rest(case_of(replace(RETIRING, last_doubt=noted), seen("a", "b"), revoke=False))
    assert held.reason is Reason.HELD


def test_request_of_another_secret_revokes_nothing_early() -> None:
    other = request(RequestKind.FORCE, Target(id="x"))
    step = rest(case_of(replace(IN_GRACE, request=other), seen("a", "b")))
    assert (step.reason, step.until) == (Reason.GRACE, LATER)
