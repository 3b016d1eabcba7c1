"""Requests: a person's wish stays in the journal until it is done."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from rotator.core.protocol import (
    Gone,
    Journal,
    Published,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    requests,
)
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    NEW,
    NOW,
    PREPARED,
    answered,
    eliminated,
    pending,
    published,
    request,
    seen,
)

MANUAL, FORCE, COMPROMISED = (request(kind) for kind in RequestKind)
OF_VERSION = Target(version=1, written_at=NOW)


def test_kinds_grow_in_strength() -> None:
    assert RequestKind.MANUAL.strength < RequestKind.FORCE.strength < RequestKind.COMPROMISED.strength


# --- the secret that a request speaks of -------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [answered("b"), eliminated("b")])
def test_target_is_the_certain_id(identity: object) -> None:
    assert requests.target_of(replace(AT_REST, current=identity), published()) == Target(id="b")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("journal", "version"),
    [(AT_REST, 2), (replace(AT_REST, current=pending("b")), 1), (replace(AT_REST, current=None), 1)],
    ids=["edited", "pending", "unknown"],
)
def test_target_is_the_version_without_an_id(journal: Journal, version: int) -> None:
    document = published(version=version, written_at=NOW)
    assert requests.target_of(journal, document) == Target(version=version, written_at=NOW)


def test_target_is_none_when_nothing_is_published() -> None:
    assert requests.target_of(AT_REST, Published()) is None
    assert requests.target_of(AT_REST, published(secret=None)) is None


@pytest.mark.parametrize(
    ("target", "document", "expected"),
    [
        (Target(id="b"), published(version=7), True),
        (Target(id="a"), published(), False),
        (OF_VERSION, published(written_at=NOW), True),
        (OF_VERSION, published(written_at=LATER), False),
        (OF_VERSION, published(), True),
        (Target(version=1), published(written_at=LATER), True),
        (OF_VERSION, published(version=2, written_at=NOW), False),
        (OF_VERSION, published(secret=None, written_at=NOW), False),
    ],
)
def test_target_is_published_or_replaced(target: Target, document: Published, expected: bool) -> None:
    assert requests.is_published(target, AT_REST, document) is expected


def test_target_with_an_id_needs_a_certain_id() -> None:
    assert not requests.is_published(Target(id="b"), replace(AT_REST, current=pending("b")), published())


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, False),
        (request(), True),
        (request(of=Target(id="a")), False),
        (request(of=Target(version=1)), True),
        (request(of=Target(version=2)), False),
    ],
)
def test_request_speaks_of_the_current_secret(asked: Request | None, expected: bool) -> None:
    assert requests.is_of_current(asked, AT_REST) is expected
    assert not requests.is_of_current(request(), replace(AT_REST, current=pending("b")))


# --- the caller's request ----------------------------------------------------------------------------------------


def test_request_enters_the_journal() -> None:
    assert requests.requested(seen(request=MANUAL), AT_REST, NOW) == replace(AT_REST, request=MANUAL)
    assert requests.requested(seen(), AT_REST, NOW) is AT_REST


@pytest.mark.parametrize("kind", RequestKind)
def test_request_that_is_too_late_is_dropped(kind: RequestKind) -> None:
    """The secret that it wants replaced is replaced. A compromised one is revoked at once all the same."""
    journal = replace(AT_REST, retiring=(Retiring("a", LATER),), request=MANUAL)
    found = requests.requested(seen(request=request(kind, Target(id="a"))), journal, NOW)
    due = (Retiring("a", NOW, compromised=True),)
    assert found == (replace(journal, retiring=due) if kind is RequestKind.COMPROMISED else journal)
    assert requests.requested(seen(request=request(kind, Target(id="a"))), AT_REST, NOW) == AT_REST


@pytest.mark.parametrize("known", [None, MANUAL, FORCE, request(RequestKind.COMPROMISED, id="request-0")])
def test_compromised_request_stays_until_replacement_is_recorded(known: Request | None) -> None:
    """The published version is not the one that the journal speaks of."""
    asked = request(RequestKind.COMPROMISED, OF_VERSION)
    journal = replace(AT_REST, request=known)
    found = requests.requested(seen(request=asked, published=published(version=2)), journal, NOW).request
    assert found == (known if known is not None and known.kind is RequestKind.COMPROMISED else asked)
    moved = replace(journal, published_version=2)
    assert requests.requested(seen(request=asked, published=published(version=2)), moved, NOW).request == known


@pytest.mark.parametrize("asked", [MANUAL, FORCE, COMPROMISED])
@pytest.mark.parametrize("known", [MANUAL, FORCE, COMPROMISED])
def test_stronger_request_replaces_a_weaker_one(known: object, asked: object) -> None:
    journal = replace(AT_REST, request=known)  # type: ignore[arg-type]
    again = replace(asked, id="request-2")  # type: ignore[type-var]
    found = requests.requested(seen(request=again), journal, NOW).request
    assert found == (again if asked.kind.strength > known.kind.strength else known)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("of", "known", "retiring", "spent"),
    [
        (Target(id="a"), None, (), True),
        (Target(id="a"), None, (Retiring("a", NOW, compromised=True),), True),
        (Target(id="a"), None, (Retiring("a", LATER),), False),
        (Target(id="b"), COMPROMISED, (), False),
        (OF_VERSION, COMPROMISED, (), False),
        (Target(version=2), request(RequestKind.COMPROMISED, Target(version=2), id="request-0"), (), False),
    ],
    ids=["gone", "recorded", "to be recorded", "published", "replacement not recorded", "published by hand"],
)
def test_late_request_is_spent_once_recorded(
    of: Target, known: Request | None, retiring: tuple[Retiring, ...], spent: bool
) -> None:
    """A secret that is replaced later keeps its grace period. One whose replacement is not recorded yet does not."""
    journal = replace(AT_REST, request=known, retiring=retiring)
    asked = seen(request=request(RequestKind.COMPROMISED, of), published=published(version=2))
    assert requests.is_spent(asked, journal, NOW) is spent
    assert not requests.is_spent(seen(published=published(version=2)), journal, NOW)


def test_request_replaces_one_for_another_secret() -> None:
    journal = replace(AT_REST, request=request(RequestKind.COMPROMISED, Target(id="a")))
    assert requests.requested(seen(request=MANUAL), journal, NOW).request == MANUAL


def test_compromised_request_makes_every_entry_due() -> None:
    entries = (Retiring("a", LATER), Retiring("c", NOW.replace(year=2025)))
    journal = replace(AT_REST, retiring=entries)
    found = requests.requested(seen(request=COMPROMISED), journal, NOW)
    assert found.retiring == (
        Retiring("a", NOW, compromised=True, grace_until=LATER),
        Retiring("c", NOW.replace(year=2025), compromised=True, grace_until=NOW.replace(year=2025)),
    )
    assert found.request == COMPROMISED
    for weaker in (MANUAL, FORCE):
        assert requests.requested(seen(request=weaker), journal, NOW).retiring == entries


@pytest.mark.parametrize("asked", [MANUAL, FORCE, COMPROMISED])
@pytest.mark.parametrize(
    ("failure", "attempts", "at", "expected"),
    [
        ("unanswered", 1, LATER, NOW + requests.URGENT_BACKOFF),
        ("unanswered", 1, NOW, NOW),
        ("unanswered", 1, None, None),
        ("unanswered", 0, LATER, LATER),
        ("rate_limited", 1, LATER, LATER),
        ("unprovisioned", 1, LATER, LATER),
    ],
    ids=["failed", "sooner", "none", "rate limit", "rate limit after failures", "unprovisioned"],
)
def test_urgent_request_shortens_a_backoff(
    asked: Request, failure: str, attempts: int, at: datetime | None, expected: datetime | None
) -> None:
    journal = replace(AT_REST, failure=failure, attempts=attempts, next_attempt_at=at)
    found = requests.requested(seen(request=asked), journal, NOW)
    assert found.next_attempt_at == (at if asked is MANUAL else expected)


@pytest.mark.parametrize("asked", [MANUAL, FORCE, COMPROMISED])
@pytest.mark.parametrize("attempts", [0, 1, 62])
def test_urgent_request_counts_failures_from_its_beginning(asked: Request, attempts: int) -> None:
    journal = replace(AT_REST, attempts=attempts)
    found = requests.requested(seen(request=asked), journal, NOW)
    assert found.attempts == (attempts if asked is MANUAL else min(attempts, 1))
    again = replace(found, attempts=62)
    assert requests.requested(seen(request=replace(asked, id="request-2")), again, NOW).attempts == 62


# --- following the document --------------------------------------------------------------------------------------


def test_request_follows_an_edit_of_other_fields() -> None:
    journal = replace(AT_REST, request=request(of=OF_VERSION))
    edited = published(version=2, written_at=LATER)
    followed = requests.followed(journal, edited)
    assert followed == replace(journal, request=request(of=Target(version=2, written_at=LATER)))
    assert requests.is_published(Target(version=2, written_at=LATER), followed, edited)


@pytest.mark.parametrize("journal", [AT_REST, replace(AT_REST, request=MANUAL)], ids=["none", "by id"])
def test_request_by_id_needs_no_following(journal: Journal) -> None:
    assert requests.followed(journal, published(version=2, written_at=LATER)) is journal


def test_request_gets_another_target() -> None:
    target = Target(id="c")
    assert requests.with_target(AT_REST, target) is AT_REST
    assert requests.with_target(replace(AT_REST, request=MANUAL), target).request == request(of=target)


MOVED = published(version=2, written_at=LATER)


@pytest.mark.parametrize(
    ("target", "document", "expected"),
    [
        (Target(version=1), MOVED, Target(version=2, written_at=LATER)),
        (Target(version=1), replace(MOVED, secret=NEW), Target(version=1)),
        (Target(version=1), replace(MOVED, secret=None), Target(version=1)),
        (Target(version=2), MOVED, Target(version=2)),
        (Target(id="b"), MOVED, Target(id="b")),
        (Target(id="b", version=1), MOVED, Target(id="b", version=1)),
    ],
    ids=["edited", "replaced", "deleted", "of another version", "by id", "by both"],
)
def test_unwritten_request_follows_an_edit(target: Target, document: Published, expected: Target) -> None:
    assert requests.kept(request(of=target), published(), document) == request(of=expected)


def test_unwritten_request_follows_no_deleted_document() -> None:
    asked = request(of=Target(version=1))
    assert requests.kept(asked, published(secret=None), replace(MOVED, secret=None)) == asked
    assert requests.kept(None, published(), MOVED) is None


# --- when it is done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("journal", "done"),
    [
        (AT_REST, False),
        (replace(AT_REST, request=MANUAL), False),
        (replace(AT_REST, request=request(of=Target(id="a"))), True),
        (replace(AT_REST, request=request(of=Target(id="a")), retiring=(Retiring("a", LATER),)), False),
        (replace(AT_REST, request=request(of=Target(id="a")), retiring=(Retiring("c", LATER),)), True),
        (replace(PREPARED, request=request(of=Target(id="c"))), False),
    ],
    ids=["none", "published", "gone", "retiring", "another is retiring", "candidate"],
)
def test_request_is_done_when_its_secret_is_gone(journal: Journal, done: bool) -> None:
    assert requests.is_done(journal, published()) is done


@pytest.mark.parametrize(
    ("facts", "done"),
    [
        ({"current": pending(None)}, False),
        ({"current": pending(None, foreign_ids=frozenset({"b"}))}, True),
        ({"current": pending(None), "added_ids": frozenset({"b"})}, True),
        ({"current": pending(None), "gone": (Gone("b", NOW),)}, True),
        ({"current": pending(None), "request": request(of=OF_VERSION)}, True),
        ({"current": None}, True),
        ({"current": answered("c")}, True),
    ],
    ids=["pending", "foreign", "added", "revoked", "by version", "unknown", "another"],
)
def test_request_is_not_done_when_its_id_is_possible(facts: dict[str, Any], done: bool) -> None:
    journal = replace(AT_REST, **({"request": request(RequestKind.COMPROMISED)} | facts))
    assert requests.is_done(journal, published(version=9, secret=NEW, written_at=LATER)) is done


def test_request_by_version_is_done_when_replaced() -> None:
    journal = replace(AT_REST, request=request(of=OF_VERSION))
    assert not requests.is_done(journal, published(written_at=NOW))
    assert requests.is_done(journal, published(version=2, secret=NEW, written_at=LATER))


def test_withdrawn_request_leaves_the_rest() -> None:
    assert requests.withdrawn(replace(AT_REST, request=MANUAL)) == AT_REST


@pytest.mark.parametrize(
    ("journal", "trigger"),
    [
        (replace(PREPARED, request=COMPROMISED, trigger=Trigger.COMPROMISED), Trigger.MANUAL),
        (replace(PREPARED, request=COMPROMISED, trigger=Trigger.RESCUE), Trigger.RESCUE),
        (replace(PREPARED, request=FORCE, trigger=Trigger.COMPROMISED), Trigger.COMPROMISED),
        (replace(PREPARED, trigger=Trigger.COMPROMISED), Trigger.COMPROMISED),
        (replace(AT_REST, request=COMPROMISED, trigger=Trigger.COMPROMISED), Trigger.COMPROMISED),
    ],
    ids=["began it", "another reason", "another request", "none", "no candidate"],
)
def test_cancelled_request_leaves_the_grace_period(journal: Journal, trigger: Trigger) -> None:
    """A candidate that waits is published all the same: the secret that it replaces is not revoked at once."""
    assert requests.cancelled(journal) == replace(journal, request=None, trigger=trigger)


@pytest.mark.parametrize("end", [LATER, NOW.replace(year=2025)], ids=["grace", "over"])
def test_cancelled_request_gives_the_grace_period_back(end: datetime) -> None:
    entries = (Retiring("a", end), Retiring("l", NOW, compromised=True))
    journal = replace(AT_REST, retiring=entries)
    due = requests.requested(seen(request=COMPROMISED), journal, NOW)
    assert all(entry.compromised and entry.not_before <= NOW for entry in due.retiring)
    assert requests.cancelled(due) == journal


def test_cancelled_request_keeps_what_an_earlier_made_due() -> None:
    due = requests.requested(seen(request=COMPROMISED), replace(AT_REST, retiring=(Retiring("a", LATER),)), NOW)
    elsewhere = replace(due, current=answered("n"))
    later = request(RequestKind.COMPROMISED, Target(id="n"))
    again = requests.requested(seen(request=later), elsewhere, NOW)
    assert again.request == later
    assert requests.cancelled(again).retiring == (Retiring("a", NOW, compromised=True),)


@pytest.mark.parametrize("kind", [RequestKind.MANUAL, RequestKind.FORCE])
def test_cancelled_other_request_leaves_compromised_entries(kind: RequestKind) -> None:
    entries = (Retiring("a", NOW, compromised=True, grace_until=LATER),)
    journal = replace(AT_REST, retiring=entries, request=request(kind))
    assert requests.cancelled(journal).retiring == entries


def test_late_compromised_request_ends_grace_for_good() -> None:
    """The journal does not contain it, so the withdrawal of another request does not concern it."""
    entries = (Retiring("a", LATER), Retiring("c", NOW, compromised=True, grace_until=LATER))
    journal = replace(AT_REST, retiring=entries, request=COMPROMISED)
    late = request(RequestKind.COMPROMISED, Target(id="x"))
    found = requests.requested(seen(request=late), journal, NOW)
    assert found.retiring == (Retiring("a", NOW, compromised=True), Retiring("c", NOW, compromised=True))
    assert requests.is_spent(seen(request=late), found, NOW)
    assert requests.cancelled(found).retiring == found.retiring


def test_compromised_request_reaches_a_marked_entry() -> None:
    """A write of its value might be under way: it is retiring all the same."""
    marked = replace(AT_REST, publishing=Publishing(1, Retiring("m", LATER)))
    found = requests.requested(seen(request=COMPROMISED), marked, NOW)
    assert found.publishing == Publishing(1, Retiring("m", NOW, compromised=True, grace_until=LATER))
    assert requests.cancelled(found) == marked
    bare = replace(AT_REST, publishing=Publishing(1))
    assert requests.requested(seen(request=COMPROMISED), bare, NOW).publishing == Publishing(1)
