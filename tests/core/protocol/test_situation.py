"""What follows from the facts of a run."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    CLOCK_TOLERANCE,
    Answered,
    Awaited,
    Credential,
    Gone,
    Identity,
    Journal,
    Learned,
    Observation,
    Pause,
    Published,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Strangers,
    Target,
    Trigger,
    Verification,
)
from rotator.core.protocol.situation import LONGEST_LOOK, LONGEST_PAUSE
from tests.core.protocol.situations import (
    AT_REST,
    DUE,
    LATER,
    MOMENT,
    NEW,
    NOW,
    POLICY,
    PREPARED,
    RETIRING,
    SECOND,
    WINDOW,
    YESTERDAY,
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
CANDIDATE, LISTED = Awaited.CANDIDATE, Awaited.LISTED


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
    late = case_of(replace(AT_REST, current=answered("c"), request=asked), seen())
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
        (Identity("b", Learned.PERSON), {"s"}, True),
        (pending("b"), {"b", "s"}, True),
        (pending("b", foreign_ids=frozenset({"s"})), set(), False),
    ],
)
def test_stranger_puts_an_unanswered_id_in_doubt(current: Identity | None, strangers: set[str], doubt: bool) -> None:
    case = case_of(replace(RETIRING, current=current), seen("a", "b", "s") if current else seen("b", "s"))
    if current is not None and current.is_pending:
        case = case_of(replace(AT_REST, current=current), seen("b", "s"))
    assert case.strangers == strangers
    assert case.in_doubt is doubt


def test_explained_ids_are_no_strangers() -> None:
    others = {"retiring": (Retiring("r", LATER),), "gone": (Gone("g", NOW),)}
    listed = seen("b", "r", "g")
    for current in (None, eliminated("b"), pending("b")):
        strangers = case_of(replace(AT_REST, current=current, **others), listed).strangers  # type: ignore[arg-type]
        assert strangers == (frozenset({"b"}) if current is None or current.is_pending else frozenset())


def test_pool_leaves_out_ids_of_others() -> None:
    journal = replace(PREPARED, gone=(Gone("g", NOW),), candidate_id=Answered("rotation-1", "c"))
    case = case_of(journal, seen("a", "c", "f", "g", "r"))
    assert case.pool_of(pending(foreign_ids=frozenset({"f"}))) == {"a", "r"}


@pytest.mark.parametrize(
    ("age", "doubt"),
    [(timedelta(), True), (WINDOW - MOMENT, True), (WINDOW, False), (-MOMENT, False)],
)
def test_doubt_ends_a_window_after_the_stranger(age: timedelta, doubt: bool) -> None:
    noted = Strangers(frozenset({"s"}), NOW - age)
    journal = replace(AT_REST, current=eliminated("b"), strangers=noted)
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
def test_stranger_explained_since_is_no_doubt(journal: Journal) -> None:
    noted = Strangers(frozenset({"s"}), NOW)
    current = journal.current
    assert current is not None
    assert current.id is not None
    assert not case_of(replace(journal, strangers=noted), seen(current.id)).in_doubt


def test_new_stranger_is_doubt_beside_an_explained_one() -> None:
    journal = replace(AT_REST, current=eliminated("b", "s"), strangers=Strangers(frozenset({"s"}), NOW))
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


# --- when the list was fetched -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fetched_at", "expected"), [(None, NOW), (NOW - SECOND, NOW - SECOND), (NOW, NOW), (LATER, NOW)]
)
def test_list_holds_for_the_instant_of_its_fetch(fetched_at: datetime | None, expected: datetime) -> None:
    assert case_of(AT_REST, seen(listing=listing("b", fetched_at=fetched_at))).listed_at == expected
    assert case_of(AT_REST, seen()).listed_at == NOW


def test_old_list_still_shows_what_was_revoked() -> None:
    journal = replace(AT_REST, gone=(Gone("g", NOW - WINDOW),))
    assert case_of(journal, seen(listing=listing("b", "g", fetched_at=NOW - MOMENT))).gone == {"g"}
    assert case_of(journal, seen("b", "g")).gone == frozenset()


def test_old_list_does_not_end_a_doubt() -> None:
    noted = Strangers(frozenset({"s"}), NOW - WINDOW)
    journal = replace(AT_REST, current=eliminated("b"), strangers=noted)
    assert case_of(journal, seen(listing=listing("b", fetched_at=NOW - MOMENT))).in_doubt
    assert not case_of(journal, seen("b")).in_doubt


# --- instants of other clocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, NOW),
        ({"journal_at": YESTERDAY}, NOW),
        ({"journal_read_at": YESTERDAY}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + WINDOW}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + WINDOW - SECOND}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + 2 * WINDOW}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + 9 * SECOND}, NOW + 20 * SECOND),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY}, NOW + 29 * SECOND),
    ],
)
def test_instant_of_another_clock_waits_by_vaults(facts: dict[str, Any], expected: datetime) -> None:
    """Vault's time of reading has whole seconds, so one second is granted."""
    case = case_of(AT_REST, seen(**facts))
    assert case.not_before(NOW, WINDOW) == expected
    assert case.not_before(LATER, WINDOW) == LATER
    assert case.not_before(NOW - WINDOW, WINDOW) == (NOW - WINDOW if expected == NOW else expected)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"observed_at": NOW - SECOND}, None),
        ({"journal_read_at": YESTERDAY}, YESTERDAY),
        ({"journal_read_at": YESTERDAY, "observed_at": NOW - 9 * SECOND}, YESTERDAY + 9 * SECOND),
        ({"journal_read_at": YESTERDAY, "observed_at": LATER}, YESTERDAY),
    ],
)
def test_vaults_time_passes_while_the_run_lasts(facts: dict[str, Any], expected: datetime | None) -> None:
    assert case_of(AT_REST, seen(**facts)).vault_now == expected
    waited = {"journal_at": YESTERDAY, "journal_read_at": YESTERDAY, "observed_at": NOW - 9 * SECOND}
    assert case_of(AT_REST, seen(**waited)).not_before(NOW, WINDOW) == NOW + 20 * SECOND


def test_missing_id_is_gone_a_window_later() -> None:
    read = {"journal_at": YESTERDAY, "journal_read_at": YESTERDAY}
    entry = Retiring("a", NOW, missing_since=NOW - WINDOW)
    assert case_of(AT_REST, seen()).gone_at(entry) == NOW
    assert case_of(AT_REST, seen(**read)).gone_at(entry) == NOW + WINDOW - SECOND
    assert case_of(AT_REST, seen(**read)).gone_at(Retiring("a", NOW)) is None


@pytest.mark.parametrize(
    ("ahead", "since"),
    [(CLOCK_TOLERANCE, NOW + CLOCK_TOLERANCE), (CLOCK_TOLERANCE + MOMENT, YESTERDAY)],
)
def test_missing_id_of_a_wrong_clock_is_gone_in_time(ahead: timedelta, since: datetime) -> None:
    entry = Retiring("a", NOW, missing_since=NOW + ahead)
    assert case_of(AT_REST, seen(journal_at=YESTERDAY)).gone_at(entry) == since + WINDOW


@pytest.mark.parametrize(("looks", "waits"), [(0, 29), (1, 14), (2, 14)])
def test_look_waits_by_vaults_clock(looks: int, waits: int) -> None:
    case = case_of(AT_REST, seen(journal_at=YESTERDAY, journal_read_at=YESTERDAY))
    assert case.look_at(pending("b", looks=looks)) == NOW + waits * SECOND
    assert case.look_at(pending("b", looks=looks, next_look=None)) is None


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


# --- what may be revoked when ------------------------------------------------------------------------------------


def test_late_create_ends_with_the_latest_one() -> None:
    lost = seen(create_lost_at=NOW)
    ends = NOW + POLICY.request_timeout + WINDOW
    assert case_of(AT_REST, seen()).late_create_until is None
    assert case_of(AT_REST, lost).late_create_until == ends
    assert case_of(replace(AT_REST, create_until=LATER), lost).late_create_until == LATER
    assert case_of(replace(AT_REST, create_until=NOW), lost).late_create_until == ends


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        (replace(PREPARED, holder="other"), LATER + WINDOW),
        (replace(PREPARED, holder="other", lease_until=None), None),
        (replace(PREPARED, holder="me"), None),
        (replace(PREPARED, holder=None), None),
        (replace(AT_REST, holder="other", lease_until=LATER), None),
        (replace(PREPARED, holder="other", lease_until=NOW + timedelta(days=1)), NOW + POLICY.lease + WINDOW),
    ],
)
def test_late_create_of_another_holder_ends_with_its_lease(journal: Journal, expected: datetime | None) -> None:
    assert case_of(journal, seen(journal_at=NOW)).late_create_until == expected


def test_late_create_of_a_wrong_clock_ends_early() -> None:
    longest = POLICY.lease + POLICY.request_timeout + WINDOW
    furthest = NOW + longest + CLOCK_TOLERANCE
    for until, expected in ((furthest, furthest), (furthest + MOMENT, NOW + longest)):
        case = case_of(replace(AT_REST, create_until=until), seen(journal_at=NOW))
        assert case.late_create_until == expected


@pytest.mark.parametrize(
    ("ids", "facts", "crowded"), [(("a", "b"), {}, True), (("b",), {}, False), (("b",), {"create_refused": "no"}, True)]
)
def test_account_is_crowded_when_full_or_refused(ids: tuple[str, ...], facts: dict[str, Any], crowded: bool) -> None:
    assert case_of(AT_REST, seen(*ids, **facts)).crowded is crowded


@pytest.mark.parametrize(
    ("asked", "max_secrets", "expected"),
    [(None, 2, LATER), (MANUAL, 2, LATER), (FORCE, 3, LATER), (FORCE, 2, NOW), (COMPROMISED, 2, NOW)],
)
def test_force_ends_a_grace_period_where_it_is_crowded(
    asked: Request | None, max_secrets: int, expected: datetime
) -> None:
    case = case_of(replace(AT_REST, request=asked), seen("a", "b"), max_secrets=max_secrets)
    assert case.may_retire(Retiring("a", LATER)) == expected
    assert case.may_retire(Retiring("a", NOW - SECOND)) == NOW - SECOND


def test_force_does_not_shorten_a_late_create() -> None:
    journal = replace(AT_REST, request=COMPROMISED, create_until=LATER)
    case = case_of(journal, seen("a", "b"))
    assert case.may_retire(Retiring("a", NOW)) == LATER
    assert case.may_retire(Retiring("a", LATER + SECOND)) == LATER


def test_due_ids_are_past_their_grace_period() -> None:
    entries = (Retiring("a", NOW), Retiring("c", NOW + MOMENT))
    for current in (answered("b"), pending(), None):
        assert case_of(replace(AT_REST, current=current, retiring=entries), seen("a", "b", "c")).due == {"a"}


@pytest.mark.parametrize("current", [answered("a"), pending("a")])
def test_published_id_is_never_due(current: Identity) -> None:
    entries = (Retiring("a", NOW), Retiring("c", NOW))
    assert case_of(replace(AT_REST, current=current, retiring=entries), seen("a", "c")).due == {"c"}


# --- waiting -----------------------------------------------------------------------------------------------------


def test_waiting_began_in_this_run_or_an_earlier_one() -> None:
    here = {CANDIDATE: NOW - SECOND, LISTED: NOW - 2 * SECOND}
    earlier = replace(PREPARED, verification=Verification("rotation-1", NOW - 9 * SECOND, LATER))
    assert case_of(PREPARED, seen(waiting_since=here)).since(CANDIDATE) == NOW - SECOND
    assert case_of(earlier, seen(waiting_since=here)).since(CANDIDATE) == NOW - 9 * SECOND
    assert case_of(earlier, seen(waiting_since=here)).since(LISTED) == NOW - 2 * SECOND
    assert case_of(earlier, seen(waiting_since=here, creates=1)).since(CANDIDATE) == NOW - SECOND
    assert case_of(PREPARED, seen()).since(CANDIDATE) is None


@pytest.mark.parametrize(
    ("verification", "believed"),
    [
        (Verification("rotation-0", NOW - 9 * SECOND, LATER), False),
        (Verification("rotation-1", NOW + MOMENT, LATER), False),
        (Verification("rotation-1", NOW, LATER), True),
    ],
)
def test_waiting_of_another_rotation_does_not_count(verification: Verification, believed: bool) -> None:
    case = case_of(replace(PREPARED, verification=verification), seen())
    assert case.since(CANDIDATE) == (verification.since if believed else None)


def test_time_waited_is_never_negative() -> None:
    assert case_of(PREPARED, seen(waiting_since={LISTED: LATER})).waited(LISTED) == timedelta()
    assert case_of(PREPARED, seen(waiting_since={LISTED: NOW - SECOND})).waited(LISTED) == SECOND
    assert case_of(PREPARED, seen()).waited(LISTED) == timedelta()


@pytest.mark.parametrize(("awaited", "longest"), [(CANDIDATE, POLICY.verify_timeout), (LISTED, WINDOW)])
def test_waiting_happens_once_and_ends_in_time(awaited: Awaited, longest: timedelta) -> None:
    for waited, expected in ((longest - MOMENT, True), (longest, False)):
        assert case_of(PREPARED, seen(waiting_since={awaited: NOW - waited})).may_wait(awaited) is expected
    assert case_of(PREPARED, seen(), verify_timeout=timedelta(), window=timedelta()).may_wait(awaited)


@pytest.mark.parametrize(("waited", "delay"), [(0, 0.1), (0.3, 0.1), (3, 1), (15, 5), (60, 5)])
def test_pause_is_a_third_of_the_time_waited(waited: float, delay: float) -> None:
    case = case_of(PREPARED, seen(waiting_since={LISTED: NOW - waited * SECOND}))
    assert case.pause(LISTED) == Pause(delay * SECOND, LISTED)


@pytest.mark.parametrize(
    ("waited", "paused", "delay"),
    [(0, 0, 0.1), (6, 0, 2), (60, 0, 3), (6, 3, 2), (6, 3.1, None), (9, 2, 3), (60, 0.1, None)],
)
def test_candidate_pause_looks_twice_within_five_seconds(waited: float, paused: float, delay: float | None) -> None:
    facts = {"waiting_since": {CANDIDATE: NOW - waited * SECOND}, "paused": paused * SECOND}
    expected = None if delay is None else Pause(delay * SECOND, CANDIDATE)
    assert case_of(PREPARED, seen(**facts)).candidate_pause() == expected


@pytest.mark.parametrize(("waited", "delay"), [(0, 5), (15, 5), (30, 10), (90, 30), (900, 30)])
def test_next_look_comes_within_half_a_minute(waited: float, delay: float) -> None:
    case = case_of(PREPARED, seen(waiting_since={CANDIDATE: NOW - waited * SECOND}))
    assert case.next_look == NOW + delay * SECOND


def test_longest_waits_are_documented_ones() -> None:
    assert (LONGEST_PAUSE, LONGEST_LOOK) == (5 * SECOND, 30 * SECOND)
