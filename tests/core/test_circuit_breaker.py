"""The circuit breaker: when it opens, which rotations it allows, when it closes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.core.circuit_breaker import LONGEST_COOLDOWN, Cause, CircuitBreaker, shared_cause
from rotator.rotation import Outcome, Result

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COOLDOWN = timedelta(minutes=10)
CLOSED = CircuitBreaker(failures=3, window=5, cooldown=COOLDOWN)


def failed(account: str, reason: str = "answer_lost") -> Outcome:
    return Outcome(account, Result.FAILED, reason=reason)


def went_well(account: str, *, published: bool = True) -> Outcome:
    return Outcome(account, Result.OK, published=published)


def after(*outcomes: Outcome, breaker: CircuitBreaker = CLOSED, now: datetime = NOW) -> CircuitBreaker:
    for outcome in outcomes:
        breaker = breaker.after(outcome, now)
    return breaker


def opened(reason: str = "answer_lost") -> CircuitBreaker:
    return after(*(failed(name, reason) for name in "abc"))


def test_breaker_opens_when_enough_recent_accounts_failed_alike() -> None:
    two = after(failed("a"), went_well("x"), failed("b"), went_well("y"))
    assert two.cause is None
    three = after(failed("c"), breaker=two)
    assert (three.cause, three.until) == (Cause.PROVIDER, NOW + COOLDOWN)
    assert not three.allows_start("z", NOW)
    assert not three.allows_start("z", NOW + COOLDOWN - timedelta(seconds=1))


def test_clock_step_back_leaves_cooldown_within_the_longest() -> None:
    assert CLOSED.after_clock_step(NOW) == CLOSED
    breaker = opened()
    assert breaker.after_clock_step(NOW) == breaker
    assert breaker.after_clock_step(NOW - timedelta(days=365)).until == NOW - timedelta(days=365) + LONGEST_COOLDOWN


def test_different_or_old_failures_do_not_add_up() -> None:
    assert after(failed("a"), failed("b"), failed("c", "vault_sealed")).cause is None
    assert after(failed("a"), failed("b"), *(went_well(n) for n in "uvwxy"), failed("c")).cause is None


def test_repeated_failures_of_one_account_count_once() -> None:
    assert after(*[failed("a")] * 20).cause is None


@pytest.mark.parametrize(
    "reason",
    [
        "ambiguous",
        "not_adopted",
        "published_lost",
        "full",
        "vault_denied",
        "journal_unreadable",
        "rate_limited",
        "vault_rate_limited",
        "internal_error",
    ],
)
def test_account_specific_failures_never_open_the_breaker(reason: str) -> None:
    assert after(*(failed(name, reason) for name in "abcdefgh")) == CLOSED


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("not_sent", Cause.PROVIDER),
        ("unanswered", Cause.PROVIDER),
        ("vault_unreachable", Cause.VAULT),
        ("vault_sealed", Cause.VAULT),
        ("vault_error", Cause.VAULT),
        ("credentials", Cause.CREDENTIALS),
        ("forbidden", Cause.CREDENTIALS),
        ("invalid_request", Cause.NEW_SECRETS),
        ("refused", Cause.NEW_SECRETS),
        ("unverified", Cause.NEW_SECRETS),
    ],
)
def test_shared_cause_follows_from_the_reason(reason: str, cause: Cause) -> None:
    assert shared_cause(failed("a", reason)) is cause
    assert opened(reason).cause is cause


def test_deferral_leaves_breaker_unchanged() -> None:
    deferred = Outcome("c", Result.DEFERRED, reason="leased")
    assert after(failed("a"), failed("b"), deferred).cause is None
    assert after(deferred, breaker=opened()) == opened()


def test_successful_probe_closes_breaker_after_the_cooldown() -> None:
    later = NOW + COOLDOWN
    probe = opened().with_probe("x")
    assert probe.allows_start("x", later)
    assert not probe.allows_start("y", later)
    released = after(went_well("x"), breaker=probe, now=later)
    assert released == CLOSED
    assert released.allows_start("y", later)


def test_urgent_start_needs_the_probe_when_open() -> None:
    assert CLOSED.allows_urgent_start("x")
    assert opened().allows_urgent_start("x"), "also before the cooldown ends"
    probe = opened().with_probe("x")
    assert probe.allows_urgent_start("x")
    assert not probe.allows_urgent_start("y")


def test_failed_probe_doubles_the_cooldown_within_the_longest() -> None:
    breaker, now = opened(), NOW
    for expected in (2, 4, 8, 12, 12):
        assert breaker.until is not None
        now = breaker.until
        breaker = after(failed("x"), breaker=breaker.with_probe("x"), now=now)
        assert breaker.until == now + min(expected * COOLDOWN, LONGEST_COOLDOWN)
        assert breaker.probe is None


def test_shortest_cooldown_grows_to_the_longest() -> None:
    breaker, now = (
        after(*(failed(name) for name in "abc"), breaker=replace(CLOSED, cooldown=timedelta(milliseconds=1))),
        NOW,
    )
    for _ in range(30):
        now += LONGEST_COOLDOWN
        breaker = after(failed("x"), breaker=breaker.with_probe("x"), now=now)
    assert breaker.until == now + LONGEST_COOLDOWN


def test_probe_without_a_result_makes_room_for_another() -> None:
    later = NOW + COOLDOWN
    for outcome in (Outcome("x", Result.DEFERRED, reason="leased"), failed("x", "ambiguous")):
        breaker = after(outcome, breaker=opened().with_probe("x"), now=later)
        assert breaker.is_open
        assert breaker.allows_start("y", later)


def test_closed_breaker_has_no_probe() -> None:
    assert CLOSED.with_probe("x") == CLOSED


def test_other_runs_change_neither_probe_nor_cooldown() -> None:
    """Runs that began before the breaker opened can end after the cooldown, as can runs that only revoke."""
    breaker, later = opened().with_probe("x"), NOW + COOLDOWN
    assert breaker.without_probe("y") == breaker
    after_failure = after(failed("y"), breaker=breaker, now=later)
    assert (after_failure.until, after_failure.openings, after_failure.probe) == (later, 1, "x")


def test_success_during_the_cooldown_does_not_close_breaker() -> None:
    assert after(went_well("x"), breaker=opened(), now=NOW + COOLDOWN / 2).is_open


def test_run_without_new_secret_leaves_unverified_breaker_open() -> None:
    later, unverified = NOW + COOLDOWN, opened("unverified")
    assert after(went_well("x", published=False), breaker=unverified, now=later).is_open
    assert after(went_well("x"), breaker=unverified, now=later).cause is None
    assert after(went_well("x", published=False), breaker=opened(), now=later).cause is None


def test_open_breaker_forbids_revocations_when_secrets_might_fail() -> None:
    assert CLOSED.allows_revocations
    assert opened("answer_lost").allows_revocations
    assert not opened("credentials").allows_revocations
    assert not opened("unverified").allows_revocations


outcomes = st.builds(
    lambda account, result, reason, published: Outcome(account, result, reason=reason, published=published),
    st.sampled_from("abcdefgh"),
    st.sampled_from(Result),
    st.sampled_from(["answer_lost", "vault_unreachable", "credentials", "unverified", "ambiguous", None]),
    st.booleans(),
)


@given(st.lists(st.tuples(outcomes, st.timedeltas(timedelta(), timedelta(hours=1)), st.booleans()), max_size=60))
def test_breaker_can_always_close_within_bounded_memory(
    history: list[tuple[Outcome, timedelta, bool]],
) -> None:
    breaker, now = CLOSED, NOW
    for outcome, delay, begins in history:
        now += delay
        if begins and breaker.allows_start(outcome.account, now):
            breaker = breaker.with_probe(outcome.account)
        breaker = breaker.after(outcome, now)
        assert len(breaker.recent) <= breaker.window
        assert len({account for account, _ in breaker.recent}) == len(breaker.recent)
        assert (breaker.cause is None) == (breaker.until is None)
    probe = breaker.probe or "z"
    now += 2 * LONGEST_COOLDOWN
    assert breaker.allows_start(probe, now)
    assert after(went_well(probe), breaker=breaker.with_probe(probe), now=now).cause is None


def test_urgent_rotation_starts_before_the_cooldown_ends() -> None:
    """One at a time: the others wait for its result."""
    assert CLOSED.allows_urgent_start("shop")
    breaker = opened()
    assert not breaker.allows_start("shop", NOW)
    assert breaker.allows_urgent_start("shop")
    probing = breaker.with_probe("shop")
    assert not probing.allows_urgent_start("other")
