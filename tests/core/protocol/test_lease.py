"""Rules about the lease and backoff."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    CLOCK_RESOLUTION,
    CLOCK_TOLERANCE,
    LEASE,
    LONGEST_BACKOFF,
    Event,
    Fail,
    Failure,
    Journal,
    Prepare,
    Reason,
    RequestKind,
    Retiring,
    Revoke,
    Stop,
    Target,
    Trigger,
    has_lease,
    leased_elsewhere,
)
from rotator.core.protocol.lease import record_request, wait_for_backoff, wait_for_lease, with_lease
from tests.core.protocol.situations import (
    AT_REST,
    DUE,
    LATER,
    MINE,
    MOMENT,
    NOW,
    OLD,
    POLICY,
    PREPARED,
    RETIRING,
    case_of,
    event_of,
    failure_of,
    reason_of,
    request,
    seen,
    step_of,
)

COMPROMISED = request(RequestKind.COMPROMISED)
OTHERS: dict[str, Any] = {"lease_holder": "other", "lease_until": LATER}


# --- the lease ---------------------------------------------------------------------------------------------------


def test_default_lease_is_two_minutes() -> None:
    assert timedelta(minutes=2) == LEASE


@pytest.mark.parametrize(
    ("holder", "left", "held"),
    [
        ("me", POLICY.request_timeout + CLOCK_RESOLUTION + MOMENT, True),
        ("me", POLICY.request_timeout + CLOCK_RESOLUTION, False),
        ("other", timedelta(hours=1), False),
        ("me", None, False),
    ],
)
def test_lease_covers_one_more_request(holder: str, left: timedelta | None, held: bool) -> None:
    journal = Journal(lease_holder=holder, lease_until=None if left is None else NOW + left)
    assert has_lease(journal, POLICY, NOW) is held


def test_lease_is_renewed_before_a_change() -> None:
    short = NOW + POLICY.request_timeout + CLOCK_RESOLUTION
    renewed = step_of(replace(RETIRING, lease_holder="me", lease_until=short), seen("a", "b"))
    assert event_of(renewed) is Event.CLAIMED
    assert renewed.journal.lease_until == NOW + POLICY.lease
    assert step_of(replace(RETIRING, lease_holder="me", lease_until=short + MOMENT), seen("a", "b")) == Revoke("a")


@pytest.mark.parametrize("step", [Prepare(Trigger.MANUAL), Stop(Reason.IDLE, None, ""), None])
def test_step_without_a_change_needs_no_lease(step: Prepare | Stop | None) -> None:
    wanted = step or failure()
    assert with_lease(case_of(AT_REST, seen()), wanted) is wanted


def failure() -> Fail:
    step = step_of(AT_REST, seen(journal_lost=True))
    assert failure_of(step) is Failure.JOURNAL_LOST
    return step  # type: ignore[no-any-return]


def test_lease_waits_for_another_holder() -> None:
    step = step_of(replace(AT_REST, **OTHERS), seen())
    assert (reason_of(step), step.until) == (Reason.LEASED, LATER)
    assert step.detail == "other holds the lease"
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")


@pytest.mark.parametrize(
    "journal",
    [AT_REST, replace(AT_REST, **MINE), replace(AT_REST, lease_holder="other", lease_until=NOW)],
    ids=["nobody's", "own", "expired"],
)
def test_lease_is_not_awaited_when_free(journal: Journal) -> None:
    assert wait_for_lease(case_of(journal, seen())) is None


def test_lease_without_an_end_is_free() -> None:
    journal = Journal(lease_holder="other")
    assert leased_elsewhere(journal, POLICY, NOW, journal_at=NOW) is None


@pytest.mark.parametrize(
    ("ahead", "written_at", "expected"),
    [
        (CLOCK_TOLERANCE, NOW, NOW + POLICY.lease + CLOCK_TOLERANCE),
        (CLOCK_TOLERANCE + MOMENT, NOW, NOW + POLICY.lease),
        (CLOCK_TOLERANCE + MOMENT, None, NOW + POLICY.lease + CLOCK_TOLERANCE + MOMENT),
        (CLOCK_TOLERANCE + MOMENT, NOW + timedelta(days=1), NOW + POLICY.lease + CLOCK_TOLERANCE + MOMENT),
    ],
)
def test_lease_of_a_wrong_clock_ends_early(ahead: timedelta, written_at: datetime | None, expected: datetime) -> None:
    journal = Journal(lease_holder="other", lease_until=NOW + POLICY.lease + ahead)
    assert leased_elsewhere(journal, POLICY, NOW, journal_at=written_at) == expected


# --- requests are written down -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RequestKind.FORCE, RequestKind.COMPROMISED])
def test_urgent_request_is_recorded_before_the_provider(kind: RequestKind) -> None:
    step = step_of(AT_REST, seen(request=request(kind)))
    assert event_of(step) is Event.REQUESTED
    assert step.journal == replace(AT_REST, request=request(kind))


def test_manual_request_is_recorded_under_anothers_lease() -> None:
    asked = request()
    assert record_request(case_of(AT_REST, seen(request=asked))) is None
    assert record_request(case_of(replace(AT_REST, lease_holder="other", lease_until=NOW), seen(request=asked))) is None
    leased = replace(AT_REST, **OTHERS)
    step = step_of(leased, seen(request=asked))
    assert event_of(step) is Event.REQUESTED
    assert step.journal == replace(leased, request=asked), "the other instance keeps its lease"


def test_late_compromised_request_is_recorded_for_its_entries() -> None:
    asked = request(RequestKind.COMPROMISED, Target(id="a"))
    step = step_of(replace(AT_REST, retiring=(Retiring("a", LATER),)), seen(request=asked))
    assert event_of(step) is Event.REQUESTED
    assert step.journal == replace(AT_REST, retiring=(Retiring("a", NOW, compromised=True),))
    assert record_request(case_of(step.journal, seen(request=asked))) is None


def test_request_waits_for_the_lease_of_wrong_clock() -> None:
    far = replace(AT_REST, lease_holder="other", lease_until=NOW + timedelta(days=9))
    expired = seen(request=request(), journal_at=NOW - POLICY.lease)
    assert record_request(case_of(far, expired)) is None
    assert event_of(step_of(far, replace(expired, journal_at=NOW))) is Event.REQUESTED


def test_recorded_request_is_not_written_again() -> None:
    recorded = replace(AT_REST, request=COMPROMISED, **OTHERS)
    assert record_request(case_of(recorded, seen())) is None
    assert record_request(case_of(recorded, seen(request=request(RequestKind.COMPROMISED, id="request-2")))) is None


def test_run_without_a_request_records_none() -> None:
    assert record_request(case_of(replace(AT_REST, **OTHERS), seen())) is None


# --- backoff -----------------------------------------------------------------------------------------------------

FURTHEST = NOW + LONGEST_BACKOFF + CLOCK_TOLERANCE
FAILED = replace(DUE, attempts=2, last_error="it failed")


@pytest.mark.parametrize(
    ("at", "waits"),
    [(None, False), (NOW, False), (NOW + MOMENT, True), (FURTHEST, True), (FURTHEST + MOMENT, False)],
)
def test_backoff_is_awaited_within_its_bounds(at: datetime | None, waits: bool) -> None:
    step: Any = wait_for_backoff(case_of(replace(FAILED, next_attempt_at=at), seen()))
    if not waits:
        assert step is None
        return
    assert (reason_of(step), step.until) == (Reason.BACKOFF, at)
    assert step.detail == "attempt 2 failed: it failed"
    assert step.next_command.args == ("rotate-now", "shop", "--due")


def test_backoff_of_a_requested_rotation_names_the_request() -> None:
    """Without a request, the command must not make one."""
    step: Any = wait_for_backoff(case_of(replace(FAILED, next_attempt_at=LATER), seen(request=request())))
    assert step.next_command.args == ("rotate-now", "shop")


def test_rate_limit_is_awaited_without_a_failure() -> None:
    step = step_of(replace(AT_REST, next_attempt_at=LATER), seen())
    assert (reason_of(step), step.until) == (Reason.RATE_LIMITED, LATER)
    assert step.detail == "the provider limits the requests of this key"
    assert step.next_command.args == ("rotate-now", "shop", "--due")


def test_rate_limit_is_named_after_earlier_failures() -> None:
    limited = replace(FAILED, failure="rate_limited", next_attempt_at=LATER)
    assert reason_of(wait_for_backoff(case_of(limited, seen()))) is Reason.RATE_LIMITED
    assert reason_of(wait_for_backoff(case_of(replace(FAILED, next_attempt_at=LATER), seen()))) is Reason.BACKOFF


def test_backoff_does_not_bind_explicit_commands() -> None:
    backing_off = replace(FAILED, next_attempt_at=LATER)
    assert wait_for_backoff(case_of(backing_off, seen(), explicit=True)) is None
    assert wait_for_backoff(case_of(replace(backing_off, **MINE), seen())) is None


def test_lease_comes_before_backoff_and_writes() -> None:
    backing_off = replace(PREPARED, candidate=OLD, attempts=1, next_attempt_at=LATER, lease_holder=None)
    assert reason_of(step_of(backing_off, seen())) is Reason.BACKOFF
    assert reason_of(step_of(replace(backing_off, **OTHERS), seen())) is Reason.LEASED


def test_longest_backoff_is_a_day() -> None:
    assert (timedelta(days=1), timedelta(hours=1)) == (LONGEST_BACKOFF, CLOCK_TOLERANCE)
