"""The fleet brake: when it engages, what it lets through, how it lets go."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.core.circuit_breaker import LONGEST_HOLD, Brake, Trouble, trouble
from rotator.rotation import Outcome, Result

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOLD = timedelta(minutes=10)
BRAKE = Brake(failures=3, of_last=5, hold=HOLD)


def failed(account: str, reason: str = "answer_lost") -> Outcome:
    return Outcome(account, Result.FAILED, reason=reason)


def went_well(account: str, *, published: bool = True) -> Outcome:
    return Outcome(account, Result.OK, published=published)


def after(*outcomes: Outcome, brake: Brake = BRAKE, now: datetime = NOW) -> Brake:
    for outcome in outcomes:
        brake = brake.noted(outcome, now)
    return brake


def engaged(reason: str = "answer_lost") -> Brake:
    return after(*(failed(name, reason) for name in "abc"))


def test_it_engages_when_enough_of_the_last_accounts_failed_alike() -> None:
    two = after(failed("a"), went_well("x"), failed("b"), went_well("y"))
    assert two.engaged is None
    three = after(failed("c"), brake=two)
    assert (three.engaged, three.until) == (Trouble.PROVIDER, NOW + HOLD)
    assert not three.lets_begin("z", NOW)
    assert not three.lets_begin("z", NOW + HOLD - timedelta(seconds=1))


def test_a_clock_that_is_set_back_does_not_lengthen_the_hold_beyond_the_longest() -> None:
    assert BRAKE.clock_set(NOW) == BRAKE
    brake = engaged()
    assert brake.clock_set(NOW) == brake
    assert brake.clock_set(NOW - timedelta(days=365)).until == NOW - timedelta(days=365) + LONGEST_HOLD


def test_failures_of_different_kinds_or_long_ago_do_not_add_up() -> None:
    assert after(failed("a"), failed("b"), failed("c", "vault_sealed")).engaged is None
    assert after(failed("a"), failed("b"), *(went_well(n) for n in "uvwxy"), failed("c")).engaged is None


def test_one_account_that_fails_again_and_again_is_one_account() -> None:
    assert after(*[failed("a")] * 20).engaged is None


@pytest.mark.parametrize(
    "reason",
    ["ambiguous", "not_adopted", "full", "vault_denied", "journal_unreadable", "rate_limited", "internal_error"],
)
def test_what_is_an_accounts_own_matter_never_stops_the_fleet(reason: str) -> None:
    assert after(*(failed(name, reason) for name in "abcdefgh")) == BRAKE


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("not_sent", Trouble.PROVIDER),
        ("unanswered", Trouble.PROVIDER),
        ("vault_unreachable", Trouble.VAULT),
        ("vault_sealed", Trouble.VAULT),
        ("vault_error", Trouble.VAULT),
        ("credentials", Trouble.CREDENTIALS),
        ("forbidden", Trouble.CREDENTIALS),
        ("refused", Trouble.NEW_SECRETS),
        ("unverified", Trouble.NEW_SECRETS),
    ],
)
def test_each_reason_is_of_one_kind(reason: str, kind: Trouble) -> None:
    assert trouble(failed("a", reason)) is kind
    assert engaged(reason).engaged is kind


def test_a_deferral_says_nothing() -> None:
    deferred = Outcome("c", Result.DEFERRED, reason="leased")
    assert after(failed("a"), failed("b"), deferred).engaged is None
    assert after(deferred, brake=engaged()) == engaged()


def test_after_the_hold_one_account_is_tried_and_lets_all_go_on() -> None:
    later = NOW + HOLD
    trial = engaged().tried("x")
    assert trial.lets_begin("x", later)
    assert not trial.lets_begin("y", later)
    released = after(went_well("x"), brake=trial, now=later)
    assert released == BRAKE
    assert released.lets_begin("y", later)


def test_a_trial_that_fails_alike_holds_twice_as_long_up_to_a_bound() -> None:
    brake, now = engaged(), NOW
    for expected in (2, 4, 8, 12, 12):
        assert brake.until is not None
        now = brake.until
        brake = after(failed("x"), brake=brake.tried("x"), now=now)
        assert brake.until == now + min(expected * HOLD, LONGEST_HOLD)
        assert brake.trial is None


def test_a_trial_that_ends_without_a_verdict_makes_room_for_another() -> None:
    later = NOW + HOLD
    for outcome in (Outcome("x", Result.DEFERRED, reason="leased"), failed("x", "ambiguous")):
        brake = after(outcome, brake=engaged().tried("x"), now=later)
        assert brake.engaged
        assert brake.lets_begin("y", later)


def test_good_news_before_the_hold_is_over_does_not_release_it() -> None:
    assert after(went_well("x"), brake=engaged(), now=NOW + HOLD / 2).engaged


def test_a_run_without_a_new_secret_tells_nothing_about_new_secrets() -> None:
    later, unverified = NOW + HOLD, engaged("unverified")
    assert after(went_well("x", published=False), brake=unverified, now=later).engaged
    assert after(went_well("x"), brake=unverified, now=later).engaged is None
    assert after(went_well("x", published=False), brake=engaged(), now=later).engaged is None


def test_nothing_is_revoked_while_it_is_in_doubt_which_secrets_work() -> None:
    assert BRAKE.lets_revoke
    assert engaged("answer_lost").lets_revoke
    assert not engaged("credentials").lets_revoke
    assert not engaged("unverified").lets_revoke


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
    brake, now = BRAKE, NOW
    for outcome, delay, begins in history:
        now += delay
        if begins and brake.lets_begin(outcome.account, now):
            brake = brake.tried(outcome.account)
        brake = brake.noted(outcome, now)
        assert len(brake.recent) <= brake.of_last
        assert len({account for account, _ in brake.recent}) == len(brake.recent)
        assert (brake.engaged is None) == (brake.until is None)
    trial = brake.trial or "z"
    now += 2 * LONGEST_HOLD
    assert brake.lets_begin(trial, now)
    assert after(went_well(trial), brake=brake.tried(trial), now=now).engaged is None
