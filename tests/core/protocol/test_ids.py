"""Which secrets the ids of a run belong to, and whether that is certain."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.core.protocol import (
    Answered,
    Credential,
    Doubt,
    Gone,
    Identity,
    Journal,
    Learned,
    Published,
    Publishing,
    Retiring,
)
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    MOMENT,
    NEW,
    NOW,
    PREPARED,
    PUBLISHED_CANDIDATE,
    RETIRING,
    WINDOW,
    answered,
    case_of,
    eliminated,
    listing,
    pending,
    published,
    seen,
)


def test_candidate_is_published_when_consumers_read_it() -> None:
    assert case_of(PREPARED, PUBLISHED_CANDIDATE).candidate_published
    assert not case_of(PREPARED, seen()).candidate_published
    assert not case_of(AT_REST, seen(published=published(secret=None))).candidate_published


def test_candidate_works_when_it_fetched_the_list() -> None:
    assert case_of(PREPARED, seen(listing=listing("a", via=Credential.CANDIDATE))).candidate_works
    assert not case_of(PREPARED, seen("a")).candidate_works
    assert not case_of(PREPARED, seen()).candidate_works


@pytest.mark.parametrize(
    ("here", "stored", "expected"),
    [
        (None, None, None),
        ("rotation-1", None, "b"),
        (None, "rotation-1", "c"),
        ("rotation-1", "rotation-1", "b"),
        ("rotation-0", "rotation-1", "c"),
        ("rotation-0", "rotation-0", None),
    ],
)
def test_candidate_id_is_of_the_same_rotation(here: str | None, stored: str | None, expected: str | None) -> None:
    journal = replace(PREPARED, candidate_id=Answered(stored, "c") if stored else None)
    observation = seen(answered=Answered(here, "b") if here else None)
    assert case_of(journal, observation).candidate_id == expected


def test_candidate_id_is_read_from_the_document() -> None:
    named = published(version=2, secret=NEW, secret_id="c")
    assert case_of(PREPARED, seen(published=named)).candidate_id == "c"
    assert case_of(PREPARED, seen(published=published(secret_id="c"))).candidate_id is None


def test_candidate_id_excludes_ids_known_before_create() -> None:
    """A person can publish the candidate by hand, over a document that names the previous secret's id."""
    named = replace(published(secret_id="c"), secret=PREPARED.candidate)
    assert case_of(replace(PREPARED, ids_before=frozenset({"c"})), seen(published=named)).candidate_id is None


@pytest.mark.parametrize(("max_secrets", "full"), [(1, True), (2, True), (3, False)])
def test_account_is_full_at_its_maximum(max_secrets: int, full: bool) -> None:
    assert case_of(AT_REST, seen("a", "b"), max_secrets=max_secrets).full is full


@pytest.mark.parametrize(("age", "gone"), [(timedelta(), True), (WINDOW - MOMENT, True), (WINDOW, False)])
def test_gone_id_is_remembered_for_the_window(age: timedelta, gone: bool) -> None:
    journal = replace(AT_REST, gone=(Gone("g", NOW - age),))
    assert case_of(journal, seen(revoked=frozenset({"r"}))).gone == ({"g", "r"} if gone else {"r"})


def test_explained_ids_belong_to_other_secrets() -> None:
    journal = replace(
        PREPARED,
        retiring=(Retiring("r", LATER),),
        gone=(Gone("g", NOW),),
        publishing=Publishing(1, Retiring("m", LATER)),
        candidate_id=Answered("rotation-1", "c"),
    )
    assert case_of(journal, seen("a")).explained == {"r", "g", "m", "c"}
    assert case_of(replace(AT_REST, publishing=Publishing(1)), seen("a")).explained == frozenset()


@pytest.mark.parametrize(
    ("current", "strangers", "doubt"),
    [
        (None, {"b", "s"}, True),
        (answered("b"), {"s"}, False),
        (answered("b", "s"), set(), False),
        (eliminated("b"), {"s"}, True),
        (eliminated("b", "s"), set(), False),
        (Identity("b", Learned.PERSON, foreign_ids=frozenset({"a"})), {"s"}, True),
        (pending("b"), {"b", "s"}, True),
        (pending("b", foreign_ids=frozenset({"s"})), set(), False),
    ],
)
def test_unknown_id_puts_an_unanswered_id_in_doubt(current: Identity | None, strangers: set[str], doubt: bool) -> None:
    case = case_of(replace(RETIRING, current=current), seen("a", "b", "s") if current else seen("b", "s"))
    if current is not None and current.is_pending:
        case = case_of(replace(AT_REST, current=current), seen("b", "s"))
    assert case.doubtful_ids == strangers
    assert case.in_doubt is doubt


def test_explained_ids_are_not_unknown() -> None:
    others = {"retiring": (Retiring("r", LATER),), "gone": (Gone("g", NOW),)}
    listed = seen("b", "r", "g")
    for current in (None, eliminated("b"), pending("b")):
        strangers = case_of(replace(AT_REST, current=current, **others), listed).doubtful_ids  # type: ignore[arg-type]
        assert strangers == (frozenset({"b"}) if current is None or current.is_pending else frozenset())


def test_pool_leaves_out_ids_of_others() -> None:
    journal = replace(PREPARED, gone=(Gone("g", NOW),), candidate_id=Answered("rotation-1", "c"))
    case = case_of(journal, seen("a", "c", "f", "g", "r"))
    assert case.pool_of(pending(foreign_ids=frozenset({"f"}))) == {"a", "r"}


@pytest.mark.parametrize(
    ("age", "doubt"),
    [(timedelta(), True), (WINDOW - MOMENT, True), (WINDOW, False), (-MOMENT, True)],
)
def test_doubt_ends_a_window_after_the_unknown_id(age: timedelta, doubt: bool) -> None:
    noted = Doubt(frozenset({"s"}), NOW - age)
    journal = replace(AT_REST, current=eliminated("b"), last_doubt=noted)
    assert case_of(journal, seen("b")).in_doubt is doubt
    assert case_of(journal, seen("b", "x")).in_doubt


@pytest.mark.parametrize(
    "journal",
    [
        replace(AT_REST, current=answered("b")),
        replace(AT_REST, current=eliminated("b", "s")),
        replace(AT_REST, current=Identity("s", Learned.ELIMINATED)),
        replace(RETIRING, current=eliminated("b"), retiring=(Retiring("s", NOW),)),
    ],
    ids=["answered", "beside", "own", "retiring"],
)
def test_unknown_id_explained_since_causes_no_doubt(journal: Journal) -> None:
    noted = Doubt(frozenset({"s"}), NOW)
    current = journal.current
    assert current is not None
    assert current.id is not None
    assert not case_of(replace(journal, last_doubt=noted), seen(current.id)).in_doubt


def test_new_unknown_id_causes_doubt_beside_explained_ids() -> None:
    journal = replace(AT_REST, current=eliminated("b", "s"), last_doubt=Doubt(frozenset({"s"}), NOW))
    assert not case_of(journal, seen("b", "s")).in_doubt
    assert case_of(journal, seen("b", "x")).in_doubt


@pytest.mark.parametrize(
    ("journal", "document", "doubt"),
    [
        (AT_REST, published(), False),
        (AT_REST, published(version=2), True),
        (PREPARED, published(version=2, secret=NEW), False),
    ],
    ids=["recorded", "edited", "candidate"],
)
def test_id_says_nothing_about_an_unrecorded_version(journal: Journal, document: Published, doubt: bool) -> None:
    assert case_of(journal, seen("a", "b", published=document)).in_doubt is doubt


@pytest.mark.parametrize(
    ("journal", "unknown"),
    [
        (AT_REST, {"a", "r", "s"}),
        (replace(AT_REST, ids_before=frozenset({"a"})), {"a", "r", "s"}),
        (replace(AT_REST, retiring=(Retiring("r", LATER),)), {"a", "s"}),
        (replace(AT_REST, current=None, retiring=(Retiring("r", LATER),)), {"a", "b", "s"}),
        (replace(PREPARED, current=None), {"b", "r", "s"}),
        (replace(PREPARED, current=None, candidate=None), {"a", "b", "r", "s"}),
        (replace(PREPARED, current=eliminated("b")), {"r", "s"}),
        (replace(AT_REST, current=pending()), set()),
        (replace(AT_REST, current=pending(foreign_ids=frozenset({"a", "s"}))), {"a", "s"}),
    ],
)
def test_unknown_ids_are_not_accounted_for(journal: Journal, unknown: set[str]) -> None:
    assert case_of(journal, seen("a", "b", "r", "s")).unknown == unknown
    assert case_of(journal, seen()).unknown == frozenset()


def test_old_list_still_shows_revoked_ids() -> None:
    journal = replace(AT_REST, gone=(Gone("g", NOW - WINDOW),))
    assert case_of(journal, seen(listing=listing("b", "g", fetched_at=NOW - MOMENT))).gone == {"g"}
    assert case_of(journal, seen("b", "g")).gone == frozenset()


def test_old_list_does_not_end_a_doubt() -> None:
    noted = Doubt(frozenset({"s"}), NOW - WINDOW)
    journal = replace(AT_REST, current=eliminated("b"), last_doubt=noted)
    assert case_of(journal, seen(listing=listing("b", fetched_at=NOW - MOMENT))).in_doubt
    assert not case_of(journal, seen("b")).in_doubt
