"""What follows from the facts of a run."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    Answered,
    Credential,
    Doubt,
    Gone,
    Identity,
    Journal,
    Learned,
    Observation,
    Published,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
)
from tests.core.protocol.situations import (
    AT_REST,
    DUE,
    LATER,
    MOMENT,
    NEW,
    NOW,
    OTHER,
    POLICY,
    PREPARED,
    RETIRING,
    WINDOW,
    answered,
    case_of,
    eliminated,
    listing,
    pending,
    published,
    request,
    seen,
)

MANUAL, FORCE, COMPROMISED = (request(kind) for kind in RequestKind)
PUBLISHED_CANDIDATE = seen(published=published(version=2, secret=NEW))


# --- candidate ---------------------------------------------------------------------------------------------------


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


# --- request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("journal", "observation", "expected"),
    [
        (AT_REST, seen(), False),
        (AT_REST, seen(request=MANUAL), True),
        (replace(AT_REST, request=MANUAL), seen(), True),
        (replace(AT_REST, request=request(of=Target(id="a"))), seen(), False),
        (replace(AT_REST, request=request(of=Target(version=1))), seen(), True),
        (replace(AT_REST, request=request(of=Target(version=2))), seen(), False),
        (replace(PREPARED, request=request(of=Target(id="a"))), PUBLISHED_CANDIDATE, True),
        (replace(PREPARED, request=request(of=Target(id="b"))), PUBLISHED_CANDIDATE, False),
        (replace(PREPARED, request=request(of=Target(version=1))), PUBLISHED_CANDIDATE, True),
        (replace(PREPARED, request=request(of=Target(version=2))), PUBLISHED_CANDIDATE, False),
        (replace(PREPARED, request=request(of=Target())), PUBLISHED_CANDIDATE, False),
        (replace(PREPARED, request=request(of=Target(id="a"), value=NEW)), PUBLISHED_CANDIDATE, False),
        (replace(PREPARED, request=request(of=Target(version=1), value=NEW)), PUBLISHED_CANDIDATE, False),
        (replace(PREPARED, request=request(of=Target(version=1))), seen(), True),
    ],
)
def test_request_holds_while_its_secret_is_published(
    journal: Journal, observation: Observation, expected: bool
) -> None:
    assert case_of(journal, observation).requested is expected


@pytest.mark.parametrize(
    ("asked", "forced", "compromised", "trigger"),
    [
        (None, False, False, POLICY.trigger),
        (MANUAL, False, False, Trigger.MANUAL),
        (FORCE, True, False, Trigger.MANUAL),
        (COMPROMISED, True, True, Trigger.COMPROMISED),
    ],
)
def test_request_decides_urgency_and_trigger(
    asked: Request | None, forced: bool, compromised: bool, trigger: Trigger
) -> None:
    case = case_of(replace(AT_REST, request=asked), seen())
    assert (case.forced, case.compromised, case.trigger) == (forced, compromised, trigger)
    late = case_of(replace(AT_REST, request=asked), seen(published=published(secret=OTHER)))
    assert (late.forced, late.compromised, late.trigger) == (False, False, POLICY.trigger)


@pytest.mark.parametrize(
    ("journal", "facts", "policy", "expected"),
    [
        (DUE, {}, {}, True),
        (replace(DUE, rotated_at=DUE.rotated_at and DUE.rotated_at + MOMENT), {}, {}, False),
        (DUE, {}, {"due_at": None}, False),
        (DUE, {"rotated": True}, {}, False),
        (replace(DUE, rotated_at=None), {}, {}, True),
        (replace(DUE, rotated_at=None), {}, {"due_at": None}, False),
        (AT_REST, {"request": MANUAL, "rotated": True}, {"due_at": None}, True),
    ],
)
def test_rotation_is_wanted_when_due_or_requested(
    journal: Journal, facts: dict[str, Any], policy: dict[str, Any], expected: bool
) -> None:
    assert case_of(journal, seen(**facts), **policy).wanted is expected


# --- ids ---------------------------------------------------------------------------------------------------------


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
    ("identity", "expected"),
    [
        (None, None),
        (eliminated("b"), None),
        (replace(eliminated("b"), next_look=LATER), None),
        (pending("b", next_look=None), None),
        (pending("b", next_look=LATER), LATER),
        (pending("b", next_look=NOW + timedelta(days=1)), NOW + WINDOW),
    ],
)
def test_next_look_of_a_pending_id_is_bounded(identity: Identity | None, expected: datetime | None) -> None:
    assert case_of(AT_REST, seen(journal_at=NOW)).look_at(identity) == expected


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
