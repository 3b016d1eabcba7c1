"""A write that might be applied late goes to another path than the configuration names by now."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.core.protocol import Event, Failure, Journal, Publishing, Reason, Refresh, Retiring, transitions, wake_at
from rotator.core.protocol.documents import end_late_write, name_late_write, refuse_late_write
from rotator.core.protocol.wake import AT_ONCE
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    MINE,
    NOW,
    WINDOW,
    YESTERDAY,
    case_of,
    event_of,
    failure_of,
    listing,
    published,
    reason_of,
    seen,
    step_of,
)

HERE, THERE = "apps/shop", "apps/typo"
ENTRY = Retiring("a", LATER)
# Version 1 of apps/shop is published, and a write over it might be applied.
MARKED = replace(AT_REST, published_path=HERE, publishing=Publishing(1, ENTRY, HERE), **MINE)
AT_PATH = replace(MARKED, published_path=THERE)


def test_document_elsewhere_ends_no_mark() -> None:
    for version in (1, 2):
        assert end_late_write(case_of(MARKED, seen(published=published(version=version, path=THERE)))) is None
    assert isinstance(end_late_write(case_of(MARKED, seen(published=published(path=HERE)))), Refresh)
    moved = end_late_write(case_of(MARKED, seen(published=published(path=HERE, version=2))))
    assert event_of(moved) is Event.UNMARKED


def test_mark_without_path_is_for_the_configured_one() -> None:
    """An earlier version of rotator wrote it."""
    before = replace(MARKED, publishing=Publishing(1, ENTRY))
    assert isinstance(end_late_write(case_of(before, seen(published=published(path=HERE)))), Refresh)
    moved = end_late_write(case_of(before, seen(published=published(path=THERE, version=2))))
    assert event_of(moved) is Event.UNMARKED


def test_document_of_unknown_owner_is_not_rewritten() -> None:
    """Nothing but the mark speaks of this path."""
    new = Journal(publishing=Publishing(1, path=HERE), **MINE)
    assert end_late_write(case_of(new, seen(published=published(path=HERE)))) is None
    named = seen(published=published(path=HERE, api_key="key1"))
    assert isinstance(end_late_write(case_of(new, named)), Refresh)
    assert end_late_write(case_of(replace(new, publishing=Publishing(1)), seen(published=published(path=HERE)))) is None


def test_adoption_elsewhere_keeps_the_mark() -> None:
    works = seen(published=published(path=THERE, version=4), listing=listing("b"), recorded_read=True)
    step = step_of(MARKED, works)
    assert event_of(step) is Event.ADOPTED
    assert step.journal.publishing == MARKED.publishing


def test_write_elsewhere_keeps_the_mark() -> None:
    case = case_of(replace(MARKED, retiring=(Retiring("r", LATER),)), seen(published=published(path=THERE, version=3)))
    journal = transitions.marked(case, "r")
    assert (journal.publishing, journal.retiring_ids) == (MARKED.publishing, frozenset({"r"}))
    assert journal.lease_holder == "me"


def test_person_gives_the_mark_up_for_another_path() -> None:
    case = case_of(replace(MARKED, retiring=(Retiring("r", LATER),)), seen(published=published(path=THERE, version=3)))
    journal = transitions.marked(case, "r", gives_up_other=True)
    assert journal.publishing == Publishing(3, Retiring("r", LATER), THERE)
    assert journal.retiring == (ENTRY,)


@pytest.mark.parametrize("marks_due", [True, False])
def test_due_revocation_names_the_write_elsewhere(marks_due: bool) -> None:
    due = Retiring("a", YESTERDAY)
    journal = replace(AT_PATH, publishing=Publishing(1, due if marks_due else None, HERE))
    journal = journal if marks_due else replace(journal, retiring=(due,))
    found = seen(published=published(path=THERE), listing=listing("a", "b"))
    step = step_of(journal, found)
    assert failure_of(step) is Failure.UNCONFIRMED_DOCUMENT
    assert step.what == (
        "a write to apps/shop was interrupted and might still be applied, and the configuration names apps/typo: "
        "nothing is revoked"
    )
    assert step.next_command.args == ("adopt", "shop", "--replace", "--secret-id", "b")
    unnamed = refuse_late_write(case_of(replace(journal, current=None), found))
    assert unnamed is not None
    assert unnamed.next_command.args == ("adopt", "shop", "--replace")
    here = replace(found, published=published(path=HERE, version=2))
    assert refuse_late_write(case_of(journal, here)) is None
    assert name_late_write(case_of(AT_PATH, found)) is None, "nothing is due yet"


def test_one_due_revocation_names_the_write_elsewhere() -> None:
    found = seen(published=published(path=THERE))
    no_entry = replace(AT_PATH, publishing=Publishing(1, None, HERE))
    assert name_late_write(case_of(no_entry, found)) is None
    later = replace(no_entry, retiring=(Retiring("r", LATER),))
    assert name_late_write(case_of(later, found)) is None
    both = replace(later, retiring=(*later.retiring, Retiring("a", NOW)))
    assert name_late_write(case_of(both, found)) is not None


def test_grace_period_elsewhere_waits_without_a_failure() -> None:
    step = step_of(replace(AT_PATH, **MINE), seen(published=published(path=THERE), listing=listing("a", "b")))
    assert event_of(step) is Event.RELEASED
    quiet = replace(AT_PATH, lease_holder=None, lease_until=None)
    assert reason_of(step_of(quiet, seen(published=published(path=THERE), listing=listing("a", "b")))) is Reason.IDLE


def test_full_account_names_the_write_elsewhere() -> None:
    """The new secret has no room before the marked one is revoked."""
    found = seen(published=published(path=THERE), listing=listing("a", "b"))
    step = step_of(AT_PATH, found, due_at=lambda rotated_at: rotated_at)
    assert failure_of(step) is Failure.UNCONFIRMED_DOCUMENT


def test_daemon_does_not_wake_for_a_mark_elsewhere() -> None:
    assert wake_at(MARKED, WINDOW, NOW, HERE) == AT_ONCE
    assert wake_at(MARKED, WINDOW, NOW) == AT_ONCE
    assert wake_at(MARKED, WINDOW, NOW, THERE) == LATER
    assert wake_at(replace(MARKED, publishing=Publishing(1, None, HERE)), WINDOW, NOW, THERE) is None
    assert timedelta() < LATER - NOW
