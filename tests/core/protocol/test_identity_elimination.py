"""Rules about ids: how lists eliminate all but one."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    Answered,
    Awaited,
    Credential,
    Event,
    Failure,
    Journal,
    Observation,
    Poll,
    Reason,
    Retiring,
    WriteJournal,
)
from rotator.core.protocol.identity import (
    await_look,
    eliminate,
    eliminate_retiring,
)
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    MOMENT,
    NEW,
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
    seen,
    step_of,
)


def adopted_of(step: Any) -> Journal:
    """Return the journal of an adoption."""
    assert event_of(step) is Event.ADOPTED
    journal: Journal = step.journal
    return journal


# --- elimination -------------------------------------------------------------------------------------------------


def test_pending_id_needs_three_lists_in_two_windows() -> None:
    """The lists that count are those at W, 1.5 W and 2 W."""
    journal = adopted_of(step_of(Journal(), seen("b")))
    looks = []
    for milliseconds in range(0, 90_000, 500):
        now = NOW + timedelta(milliseconds=milliseconds)
        step = step_of(journal, seen("b"), now=now, due_at=None)
        if isinstance(step, WriteJournal):
            looks.append((milliseconds / 1000, step.event))
            journal = step.journal
        else:
            assert reason_of(step) is Reason.IDENTIFYING or journal.current_id == "b"
    assert looks == [(30, Event.LOOKED), (45, Event.LOOKED), (60, Event.IDENTIFIED)]
    assert journal.current == eliminated("b")


def test_list_that_disagrees_starts_again() -> None:
    looked = pending("b", looks=2, restarts=1)
    step = eliminate(case_of(replace(AT_REST, current=looked), seen("c")))
    assert event_of(step) is Event.LOOKED
    expected = replace(looked, id="c", looks=0, restarts=2, next_look=NOW + WINDOW)
    assert step == WriteJournal(Event.LOOKED, replace(AT_REST, current=expected))


def test_first_list_replaces_the_guess() -> None:
    step = eliminate(case_of(replace(AT_REST, current=pending("b")), seen("c")))
    expected = pending("c", looks=1, next_look=NOW + WINDOW / 2)
    assert step == WriteJournal(Event.LOOKED, replace(AT_REST, current=expected))


def test_empty_pool_starts_again() -> None:
    foreign = pending("b", foreign_ids=frozenset({"c"}), looks=1)
    step = eliminate(case_of(replace(AT_REST, current=foreign), seen("c")))
    expected = replace(foreign, id=None, looks=0, restarts=1, next_look=NOW + WINDOW)
    assert step == WriteJournal(Event.LOOKED, replace(AT_REST, current=expected))


def test_lists_disagree_three_times_at_most() -> None:
    for restarts, fails in ((2, False), (3, True)):
        current = pending("b", looks=1, restarts=restarts)
        step = eliminate(case_of(replace(AT_REST, current=current), seen("c")))
        if fails:
            assert failure_of(step) is Failure.AMBIGUOUS
        else:
            assert event_of(step) is Event.LOOKED


def test_agreeing_list_counts_after_restarts() -> None:
    current = pending("b", looks=1, restarts=3)
    assert event_of(eliminate(case_of(replace(AT_REST, current=current), seen("b")))) is Event.LOOKED


@pytest.mark.parametrize(
    ("journal", "observation"),
    [
        (AT_REST, seen("b")),
        (replace(AT_REST, current=None), seen("b")),
        (replace(AT_REST, current=pending("b", next_look=NOW + MOMENT)), seen("b")),
        (replace(AT_REST, current=pending("b")), seen(listing=listing("b", via=Credential.PRIMARY))),
        (replace(PREPARED, current=pending("b")), seen("b", "c")),
        (replace(PREPARED, current=pending("b", looks=1)), seen("c")),
        (replace(PREPARED, current=pending("b", restarts=3)), seen("b", "c")),
        (replace(PREPARED, current=pending(foreign_ids=frozenset("b"))), seen("b")),
    ],
    ids=["certain", "unknown", "early", "primary", "two", "another", "doubt", "none"],
)
def test_list_does_not_count_otherwise(journal: Journal, observation: Observation) -> None:
    assert eliminate(case_of(journal, observation)) is None


def test_list_counts_beside_a_candidate_that_waits() -> None:
    """Otherwise a candidate that has no room would wait for an id that waits for the candidate."""
    journal = replace(PREPARED, current=pending("b", looks=2), candidate_id=Answered("rotation-1", "c"))
    step = eliminate(case_of(journal, seen("b", "c")))
    assert event_of(step) is Event.IDENTIFIED


def test_list_counts_for_the_instant_of_its_fetch() -> None:
    """A process can be stopped for a long time between a list and what it concludes."""
    journal = replace(AT_REST, current=pending("b"))
    early = seen(listing=listing("b", fetched_at=NOW - MOMENT))
    assert eliminate(case_of(journal, early, now=LATER)) is None
    on_time = seen(listing=listing("b", fetched_at=NOW))
    assert event_of(eliminate(case_of(journal, on_time, now=LATER))) is Event.LOOKED


def test_list_counts_without_an_instant() -> None:
    """A journal of a person's hand can lack it."""
    assert (
        event_of(eliminate(case_of(replace(AT_REST, current=pending("b", next_look=None)), seen("b")))) is Event.LOOKED
    )


def test_several_possible_ids_are_named() -> None:
    step: Any = eliminate(case_of(replace(AT_REST, current=pending("b")), seen("b", "c")))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what == "one of these ids is the published secret's: b, c"


def test_retiring_ids_can_be_the_published_one() -> None:
    """A person might have published a retiring secret again."""
    journal = replace(AT_REST, current=pending(), retiring=(Retiring("r", LATER), Retiring("s", LATER)))
    step: Any = eliminate(case_of(journal, seen("r", "s")))
    assert step.what == "one of these ids is the published secret's: r, s"


def test_empty_pool_is_reported_after_restarts() -> None:
    journal = replace(AT_REST, current=pending(restarts=3, foreign_ids=frozenset("xy")))
    step: Any = eliminate(case_of(journal, seen("x", "y")))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what == ("the provider lists no id that can be the published secret's; it lists x, y")


# --- elimination of a retiring id --------------------------------------------------------------------------------


def retiring_pending(**facts: Any) -> Journal:
    """Return a journal with a retiring secret whose id is pending."""
    return replace(RETIRING, retiring=(Retiring("x", LATER), Retiring("a", NOW, identity=pending("a", **facts))))


def test_retiring_id_needs_three_lists() -> None:
    journal, events = retiring_pending(), []
    for at in (NOW, NOW + WINDOW / 2, NOW + WINDOW):
        step: Any = eliminate_retiring(case_of(journal, seen("a", "b", "x"), now=at))
        events.append(event_of(step))
        journal = step.journal
    assert events == [Event.LOOKED, Event.LOOKED, Event.IDENTIFIED]
    assert journal.retiring[1] == Retiring("a", NOW, identity=eliminated("a", "b", "x"))


@pytest.mark.parametrize("ids", [("a", "b"), ("a", "b", "x")], ids=["without the others", "with a retiring one"])
def test_retiring_id_agrees_beside_explained_ones(ids: tuple[str, ...]) -> None:
    step: Any = eliminate_retiring(case_of(retiring_pending(foreign_ids=frozenset({"f"})), seen(*ids, "f")))
    assert event_of(step) is Event.LOOKED
    assert step.journal.retiring_ids == {"a", "x"}


def test_retiring_id_beside_unknown_id_becomes_unknown() -> None:
    step: Any = eliminate_retiring(case_of(retiring_pending(), seen("a", "b", "s")))
    assert event_of(step) is Event.LOOKED
    assert step.journal.retiring == (Retiring("x", LATER),)


def test_unlisted_retiring_id_is_not_forgotten() -> None:
    """One list without it is no proof: before it is due an entry is never forgotten."""
    journal = retiring_pending(looks=2)
    step: Any = eliminate_retiring(case_of(journal, seen("b", "x")))
    assert event_of(step) is Event.LOOKED
    restarted = pending("a", restarts=1, next_look=NOW + WINDOW)
    assert step.journal.retiring[1] == Retiring("a", NOW, identity=restarted)


@pytest.mark.parametrize(
    ("journal", "observation"),
    [
        (RETIRING, seen("a", "b")),
        (replace(RETIRING, retiring=(Retiring("a", NOW, identity=answered("a")),)), seen("a", "b")),
        (retiring_pending(next_look=NOW + MOMENT), seen("a", "b")),
        (retiring_pending(), seen("a", "x")),
        (replace(retiring_pending(), current=pending("b")), seen("a", "b")),
        (replace(retiring_pending(), current=None), seen("a", "b")),
        (retiring_pending(), seen(listing=listing("a", "b", via=Credential.PRIMARY))),
        (replace(retiring_pending(), candidate=NEW), seen("b", "x")),
        (replace(retiring_pending(), candidate=NEW), seen("a", "b", "c")),
    ],
    ids=[
        "old journal",
        "certain",
        "early",
        "published id unlisted",
        "pending",
        "unknown",
        "primary",
        "missing beside a candidate",
        "another beside a candidate",
    ],
)
def test_list_does_not_count_for_retiring_otherwise(journal: Journal, observation: Observation) -> None:
    assert eliminate_retiring(case_of(journal, observation)) is None


def test_retiring_id_is_eliminated_beside_a_candidate() -> None:
    """A candidate without room waits for the entry. So the entry must not wait for the candidate."""
    looked = retiring_pending(looks=2)
    entries = (Retiring("x", LATER, identity=pending("x")), *looked.retiring[1:])
    step: Any = eliminate_retiring(case_of(replace(looked, candidate=NEW), seen("a", "b", "x")))
    assert event_of(step) is Event.IDENTIFIED
    assert step.journal.retiring[1].identity == eliminated("a", "b", "x")
    # The list disagrees with the first entry only.
    journal = replace(looked, candidate=NEW, retiring=(replace(entries[0], id="y"), *entries[1:]))
    step = eliminate_retiring(case_of(journal, seen("a", "b")))
    assert [entry.identity for entry in step.journal.retiring] == [entries[0].identity, eliminated("a", "b")]


def test_later_retiring_id_is_looked_at_when_due() -> None:
    first = Retiring("x", LATER, identity=pending("x", next_look=LATER))
    journal = replace(RETIRING, retiring=(first, Retiring("a", NOW, identity=pending("a"))))
    step: Any = eliminate_retiring(case_of(journal, seen("a", "b", "x")))
    assert event_of(step) is Event.LOOKED
    assert step.journal.retiring[0] == first


# --- waiting for the next list -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "entry", "paused", "delay"),
    [
        (NOW + 2 * SECOND, None, 0, 2),
        (None, NOW + 3 * SECOND, 0, 3),
        (NOW + 2 * SECOND, NOW + 3 * SECOND, 0, 3),
        (NOW + 2 * SECOND, NOW + 6 * SECOND, 0, None),
        (NOW + 5 * SECOND, None, 0, 5),
        (NOW + 5 * SECOND + MOMENT, None, 0, None),
        (NOW + 3 * SECOND, None, 2, 3),
        (NOW + 3 * SECOND, None, 2.1, None),
        (None, None, 0, None),
        (NOW, None, 0, None),
        (NOW - SECOND, NOW + SECOND, 0, 1),
    ],
)
def test_look_in_a_moment_is_awaited(
    own: datetime | None, entry: datetime | None, paused: float, delay: float | None
) -> None:
    current = answered("b") if own is None else pending("b", next_look=own)
    identity = None if entry is None else pending("a", next_look=entry)
    journal = replace(AT_REST, current=current, retiring=(Retiring("a", NOW, identity=identity),))
    step = await_look(case_of(journal, seen("a", "b", paused=paused * SECOND)))
    assert step == (None if delay is None else Poll(delay * SECOND, Awaited.LOOK))


@pytest.mark.parametrize(
    ("journal", "observation"),
    [
        (AT_REST, seen("b")),
        (replace(AT_REST, retiring=(Retiring("a", NOW + MOMENT),)), seen("a", "b")),
        (replace(PREPARED, retiring=RETIRING.retiring), seen("a", "b")),
        (RETIRING, seen(listing=listing("a", "b", via=Credential.PRIMARY))),
    ],
    ids=["nothing retiring", "nothing due", "candidate", "primary"],
)
def test_look_is_not_awaited_otherwise(journal: Journal, observation: Observation) -> None:
    soon = replace(journal, current=pending("b", next_look=NOW + SECOND))
    assert await_look(case_of(soon, observation)) is None


@pytest.mark.parametrize(
    ("look", "fetched_at", "delay"),
    [(NOW - SECOND, NOW - 2 * SECOND, 0), (NOW - 2 * SECOND, NOW - 2 * SECOND, None), (LATER, None, None)],
)
def test_look_is_taken_now_when_list_was_old(look: datetime, fetched_at: datetime | None, delay: int | None) -> None:
    journal = replace(RETIRING, current=pending("b", next_look=look))
    step = await_look(case_of(journal, seen(listing=listing("a", "b", fetched_at=fetched_at))))
    assert step == (None if delay is None else Poll(delay * SECOND, Awaited.LOOK))


def test_look_is_not_awaited_during_a_grace_period() -> None:
    entries = (Retiring("a", NOW), Retiring("c", LATER, identity=pending("c", next_look=NOW + SECOND)))
    assert await_look(case_of(replace(AT_REST, retiring=entries), seen("a", "b", "c"))) is None
