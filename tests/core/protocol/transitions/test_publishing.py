"""Changes of a journal: the mark of a write to the published document."""

from dataclasses import replace

import pytest

from rotator.core.protocol import Publishing, Request, RequestKind, Retiring, Target, transitions
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    NEW,
    NOW,
    OTHER,
    POLICY,
    PUBLISHED,
    RETIRING,
    YESTERDAY,
    case_of,
    pending,
    published,
    request,
    seen,
)


def test_mark_names_the_version_and_takes_the_entry() -> None:
    entries = (Retiring("a", LATER, compromised=True), Retiring("r", LATER))
    case = case_of(replace(AT_REST, retiring=entries), seen(published=published(version=4)))
    journal = transitions.marked(case, "a")
    assert journal.publishing == Publishing(4, entries[0])
    assert journal.retiring == entries[1:]
    assert (journal.lease_holder, journal.lease_until) == ("me", NOW + POLICY.lease)
    for unknown in (None, "x"):
        assert transitions.marked(case, unknown).publishing == Publishing(4)
        assert transitions.marked(case, unknown).retiring == entries


def test_mark_written_again_keeps_its_entry() -> None:
    before = replace(RETIRING, publishing=Publishing(1, Retiring("m", LATER)))
    case = case_of(before, seen(published=published(version=2)))
    assert transitions.marked(case, "m").publishing == Publishing(2, Retiring("m", LATER))
    assert transitions.marked(case, None).publishing == Publishing(2, Retiring("m", LATER))
    assert transitions.marked(replace(case, journal=replace(before, publishing=Publishing(1))), None).publishing == (
        Publishing(2)
    )


def test_mark_of_another_entry_returns_the_first() -> None:
    """No recorded id is forgotten, whichever value is written next."""
    before = replace(RETIRING, publishing=Publishing(1, Retiring("m", LATER)))
    journal = transitions.marked(case_of(before, seen(published=published(version=2))), "a")
    assert journal.publishing == Publishing(2, Retiring("a", NOW))
    assert journal.retiring == (Retiring("m", LATER),)


@pytest.mark.parametrize("rewritten", [True, False])
def test_removed_mark_returns_its_entry(rewritten: bool) -> None:
    before = replace(RETIRING, api_key=None, publishing=Publishing(1, Retiring("m", LATER, compromised=True)))
    moved = published(version=2, written_at=LATER)
    journal = transitions.unmarked(case_of(before, seen(published=moved)), rewritten=rewritten)
    entries = (Retiring("a", NOW), Retiring("m", LATER, compromised=True))
    expected = replace(AT_REST, retiring=entries)
    if rewritten:
        expected = replace(expected, published_version=2, published_at=LATER)
    assert journal == expected


def test_removed_mark_returns_no_published_or_known_entry() -> None:
    moved = seen(published=published(version=2))
    for id_ in ("b", "a"):
        before = replace(RETIRING, publishing=Publishing(1, Retiring(id_, LATER)))
        assert transitions.unmarked(case_of(before, moved), rewritten=False) == RETIRING
    empty = replace(RETIRING, publishing=Publishing(1))
    assert transitions.unmarked(case_of(empty, moved), rewritten=False) == RETIRING
    assert transitions.unmarked(case_of(RETIRING, moved), rewritten=False) == RETIRING


@pytest.mark.parametrize("version", [5, 6])
def test_mark_stays_until_the_document_moved_past_it(version: int) -> None:
    """A document that was deleted with its history counts its versions from 1 again."""
    marked = replace(RETIRING, publishing=Publishing(6, Retiring("m", LATER)))
    document = published(version=version, secret=NEW)
    case = case_of(marked, seen("a", "b", published=document))
    assert transitions.adopted(case, pending("b"), retire_previous=False).publishing == marked.publishing
    assert transitions.unmarked(case, rewritten=False).publishing == marked.publishing


def test_journal_catches_up_with_its_request() -> None:
    before = replace(AT_REST, api_key=None, current=pending(), request=request(of=Target(version=1), value=NEW))
    journal = transitions.caught_up(case_of(before, seen(published=PUBLISHED)))
    asked = request(of=Target(version=7, written_at=YESTERDAY), value=NEW)
    assert journal.request == asked
    assert (journal.published_version, journal.published_at) == (7, YESTERDAY)


@pytest.mark.parametrize("kind", RequestKind)
def test_request_for_refused_value_is_for_its_successor(kind: RequestKind) -> None:
    asked = request(kind, Target(version=2), value=OTHER)
    refused = published(version=3, written_at=LATER, secret=OTHER)
    before = replace(AT_REST, request=asked)
    journal = transitions.restoring(case_of(before, seen(published=refused)), None, is_recorded_value=False)
    waiting = replace(asked, of=Target(version=3, written_at=LATER), value_digest=None)
    assert journal == replace(before, request=waiting)
    retiring = replace(before, retiring=(Retiring("r", LATER),))
    noted = transitions.restoring(case_of(retiring, seen(published=refused)), "r", is_recorded_value=False)
    assert noted is not None
    assert noted.request == waiting
    restored = transitions.recorded_again(case_of(journal, seen(published=published(version=4))))
    assert restored.request is not None
    assert restored.request.of == Target(id="b")


@pytest.mark.parametrize(
    ("asked", "is_recorded_value"),
    [
        (None, False),
        (request(RequestKind.COMPROMISED, Target(version=2), value=OTHER), True),
        (request(RequestKind.COMPROMISED, Target(version=2), value=NEW), False),
        (request(RequestKind.COMPROMISED, Target(id="b"), value=OTHER), False),
    ],
    ids=["none", "recorded", "other value", "by id"],
)
def test_other_requests_stay_before_a_restore(asked: Request | None, is_recorded_value: bool) -> None:
    refused = seen("b", "r", published=published(version=3, secret=OTHER))
    before = replace(AT_REST, request=asked)
    assert transitions.restoring(case_of(before, refused), "r", is_recorded_value=is_recorded_value) is None
    retiring = replace(before, retiring=(Retiring("r", LATER),))
    journal = transitions.restoring(case_of(retiring, refused), "r", is_recorded_value=is_recorded_value)
    assert journal is not None
    assert (journal.request, journal.publishing) == (asked, Publishing(3, Retiring("r", LATER)))
    marked = replace(before, publishing=Publishing(2))
    journal = transitions.restoring(case_of(marked, refused), None, is_recorded_value=is_recorded_value)
    assert journal is not None
    assert journal.publishing == Publishing(3)
