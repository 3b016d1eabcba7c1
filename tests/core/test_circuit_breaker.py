"""The circuit breaker: when it opens, which rotations it allows, when it closes."""

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


def test_it_engages_when_enough_of_the_last_accounts_failed_alike() -> None:
    two = after(failed("a"), went_well("x"), failed("b"), went_well("y"))
    assert two.cause is None
    three = after(failed("c"), breaker=two)
    assert (three.cause, three.until) == (Cause.PROVIDER, NOW + COOLDOWN)
    assert not three.allows_start("z", NOW)
    assert not three.allows_start("z", NOW + COOLDOWN - timedelta(seconds=1))


def test_a_clock_that_is_set_back_does_not_lengthen_the_hold_beyond_the_longest() -> None:
    assert CLOSED.after_clock_step(NOW) == CLOSED
    breaker = opened()
    assert breaker.after_clock_step(NOW) == breaker
    assert breaker.after_clock_step(NOW - timedelta(days=365)).until == NOW - timedelta(days=365) + LONGEST_COOLDOWN


def test_failures_of_different_kinds_or_long_ago_do_not_add_up() -> None:
    assert after(failed("a"), failed("b"), failed("c", "vault_sealed")).cause is None
    assert after(failed("a"), failed("b"), *(went_well(n) for n in "uvwxy"), failed("c")).cause is None


def test_one_account_that_fails_again_and_again_is_one_account() -> None:
    assert after(*[failed("a")] * 20).cause is None


@pytest.mark.parametrize(
    "reason",
    ["ambiguous", "not_adopted", "full", "vault_denied", "journal_unreadable", "rate_limited", "internal_error"],
)
def test_what_is_an_accounts_own_matter_never_stops_the_fleet(reason: str) -> None:
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
        ("refused", Cause.NEW_SECRETS),
        ("unverified", Cause.NEW_SECRETS),
    ],
)
def test_each_reason_is_of_one_kind(reason: str, cause: Cause) -> None:
    assert shared_cause(failed("a", reason)) is cause
    assert opened(reason).cause is cause


def test_a_deferral_says_nothing() -> None:
    deferred = Outcome("c", Result.DEFERRED, reason="leased")
    assert after(failed("a"), failed("b"), deferred).cause is None
    assert after(deferred, breaker=opened()) == opened()


def test_after_the_hold_one_account_is_tried_and_lets_all_go_on() -> None:
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


def test_a_probe_that_fails_alike_holds_twice_as_long_up_to_a_bound() -> None:
    breaker, now = opened(), NOW
    for expected in (2, 4, 8, 12, 12):
        assert breaker.until is not None
        now = breaker.until
        breaker = after(failed("x"), breaker=breaker.with_probe("x"), now=now)
        assert breaker.until == now + min(expected * COOLDOWN, LONGEST_COOLDOWN)
        assert breaker.probe is None


def test_a_probe_that_ends_without_a_verdict_makes_room_for_another() -> None:
    later = NOW + COOLDOWN
    for outcome in (Outcome("x", Result.DEFERRED, reason="leased"), failed("x", "ambiguous")):
        breaker = after(outcome, breaker=opened().with_probe("x"), now=later)
        assert breaker.is_open
        assert breaker.allows_start("y", later)


def test_good_news_before_the_hold_is_over_does_not_release_it() -> None:
    assert after(went_well("x"), breaker=opened(), now=NOW + COOLDOWN / 2).is_open


def test_a_run_without_a_new_secret_tells_nothing_about_new_secrets() -> None:
    later, unverified = NOW + COOLDOWN, opened("unverified")
    assert after(went_well("x", published=False), breaker=unverified, now=later).is_open
    assert after(went_well("x"), breaker=unverified, now=later).cause is None
    assert after(went_well("x", published=False), breaker=opened(), now=later).cause is None


def test_nothing_is_revoked_while_it_is_in_doubt_which_secrets_work() -> None:
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
def test_whatever_happens_it_can_be_released_and_remembers_a_bounded_number_of_accounts(
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
