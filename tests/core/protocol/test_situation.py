"""What follows from the facts of a run: requests, waits, room and entries that are due."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    Awaited,
    Gone,
    Identity,
    Journal,
    Observation,
    Poll,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    Verification,
    transitions,
)
from rotator.core.protocol.situation import LONGEST_LOOK, LONGEST_PAUSE
from tests.core.protocol.situations import (
    AT_REST,
    DUE,
    HOUR,
    LATER,
    MOMENT,
    NEW,
    NOW,
    OTHER,
    POLICY,
    PREPARED,
    PUBLISHED_CANDIDATE,
    SECOND,
    WINDOW,
    YESTERDAY,
    answered,
    case_of,
    pending,
    published,
    read_by,
    request,
    seen,
)

MANUAL, FORCE, COMPROMISED = (request(kind) for kind in RequestKind)
CANDIDATE, LISTED = Awaited.CANDIDATE, Awaited.LISTED


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


@pytest.mark.parametrize(
    ("ids", "facts", "crowded"), [(("a", "b"), {}, True), (("b",), {}, False), (("b",), {"create_refused": "no"}, True)]
)
def test_account_is_crowded_when_full_or_refused(ids: tuple[str, ...], facts: dict[str, Any], crowded: bool) -> None:
    assert case_of(AT_REST, seen(*ids, **facts)).crowded is crowded


@pytest.mark.parametrize(
    ("asked", "max_secrets", "expected"),
    [(None, 2, LATER), (MANUAL, 2, LATER), (FORCE, 3, LATER), (FORCE, 2, NOW), (COMPROMISED, 2, NOW)],
)
def test_force_ends_grace_period_when_account_is_crowded(
    asked: Request | None, max_secrets: int, expected: datetime
) -> None:
    for entry, at in ((Retiring("a", LATER), expected), (Retiring("a", NOW - SECOND), NOW - SECOND)):
        journal = replace(AT_REST, request=asked, retiring=(entry,))
        assert case_of(journal, seen("a", "b"), max_secrets=max_secrets).may_retire(entry) == at


@pytest.mark.parametrize(
    ("listed", "max_secrets", "facts", "expected"),
    [
        pytest.param("abcde", 5, {}, {"a"}, id="full"),
        pytest.param("abcde", 4, {}, {"a", "c"}, id="fuller than allowed"),
        pytest.param("abcde", 6, {}, set(), id="room"),
        pytest.param("abcde", 6, {"create_refused": "no"}, {"a"}, id="refused"),
        pytest.param("abcde", 4, {"create_refused": "no"}, {"a", "c"}, id="refused and full"),
        pytest.param("abcde", 5, {"revoked": frozenset({"a"})}, set(), id="the list shows a revoked id"),
        pytest.param("bcde", 4, {}, {"c"}, id="not listed"),
        pytest.param("abcde", 5, {"earlier_ids": frozenset({"a"})}, {"c"}, id="named before"),
        pytest.param("abcde", 2, {"earlier_ids": frozenset({"a"})}, {"a", "c", "d", "e"}, id="all"),
        pytest.param("bd", 2, {}, {"d"}, id="pending alone"),
    ],
)
def test_grace_periods_that_end_first_make_room(
    listed: str, max_secrets: int, facts: dict[str, Any], expected: set[str]
) -> None:
    """An entry whose id is the published secret's own never makes room, and one that is pending comes last."""
    entries = (
        Retiring("e", LATER),
        Retiring("d", NOW, identity=pending("d")),
        Retiring("c", NOW + SECOND),
        Retiring("a", NOW),
        Retiring("b", NOW - SECOND),
    )
    case = case_of(replace(AT_REST, retiring=entries), seen(*listed, **facts), max_secrets=max_secrets)
    assert case.making_room == expected


@pytest.mark.parametrize(
    ("asked", "ids", "gone", "is_unknown"),
    [
        (None, "b", (), False),
        (FORCE, "x", (), False),
        (COMPROMISED, "b", (), False),
        (COMPROMISED, "x", (Gone("b", NOW),), False),
        (COMPROMISED, "x", (), True),
        (replace(COMPROMISED, of=Target()), "b", (), True),
    ],
    ids=["no request", "no leak", "listed", "revoked", "not listed", "no id"],
)
def test_leaked_secret_can_have_another_id(
    asked: Request | None, ids: str, gone: tuple[Gone, ...], *, is_unknown: bool
) -> None:
    """The list lacks the id that the request names: a person can have added the leaked value again."""
    case = case_of(replace(AT_REST, request=asked, gone=gone), seen(*ids))
    assert case.leaked_id_is_unknown is is_unknown


def test_force_does_not_shorten_a_late_create() -> None:
    for entry in (Retiring("a", NOW), Retiring("a", LATER + SECOND)):
        journal = replace(AT_REST, request=COMPROMISED, create_until=LATER, retiring=(entry,))
        assert case_of(journal, seen("a", "b")).may_retire(entry) == LATER


def test_due_ids_are_past_their_grace_period() -> None:
    entries = (Retiring("a", NOW), Retiring("c", NOW + MOMENT))
    for current in (answered("b"), pending(), None):
        assert case_of(replace(AT_REST, current=current, retiring=entries), seen("a", "b", "c")).due == {"a"}


@pytest.mark.parametrize("current", [answered("a"), pending("a")])
def test_published_id_is_never_due(current: Identity) -> None:
    entries = (Retiring("a", NOW), Retiring("c", NOW))
    assert case_of(replace(AT_REST, current=current, retiring=entries), seen("a", "c")).due == {"c"}


def test_waiting_since_is_of_this_or_earlier_run() -> None:
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
    assert case.pause(LISTED) == Poll(delay * SECOND, LISTED)


@pytest.mark.parametrize(
    ("waited", "paused", "delay"),
    [(0, 0, 0.1), (6, 0, 2), (60, 0, 3), (6, 3, 2), (6, 3.1, None), (9, 2, 3), (60, 0.1, None)],
)
def test_candidate_pause_looks_twice_within_five_seconds(waited: float, paused: float, delay: float | None) -> None:
    facts = {"waiting_since": {CANDIDATE: NOW - waited * SECOND}, "paused": paused * SECOND}
    expected = None if delay is None else Poll(delay * SECOND, CANDIDATE)
    assert case_of(PREPARED, seen(**facts)).candidate_pause() == expected


@pytest.mark.parametrize(("waited", "delay"), [(0, 5), (15, 5), (30, 10), (90, 30), (900, 30)])
def test_next_look_comes_within_half_a_minute(waited: float, delay: float) -> None:
    case = case_of(PREPARED, seen(waiting_since={CANDIDATE: NOW - waited * SECOND}))
    assert case.next_look == NOW + delay * SECOND


def test_longest_waits_are_documented_ones() -> None:
    assert (LONGEST_PAUSE, LONGEST_LOOK) == (5 * SECOND, 30 * SECOND)


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_compromised_secret_is_due_under_any_clock(off: timedelta) -> None:
    leaked = Retiring("a", NOW - SECOND + off, compromised=True)
    assert read_by(AT_REST, passed=SECOND).may_retire(leaked) <= NOW
    in_grace = replace(leaked, not_before=NOW + HOUR, compromised=False)
    assert read_by(AT_REST, passed=SECOND).may_retire(in_grace) == NOW + HOUR


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_candidate_is_awaited_by_vaults_clock(off: timedelta) -> None:
    """The instance that began to wait has a clock that is an hour off."""
    facts = {"journal_at": YESTERDAY, "journal_read_at": YESTERDAY}
    writer = case_of(PREPARED, seen(observed_at=NOW + off, **facts), NOW + off)
    journal = transitions.verifying(writer, NOW + off - SECOND)
    reader = read_by(journal, passed=timedelta(seconds=9))
    assert reader.waited(CANDIDATE) == timedelta(seconds=10)
    assert journal.verification is not None
    assert journal.verification.next_look == YESTERDAY + LONGEST_PAUSE
