"""When a balance is read, when it is low, and when an account is topped up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from rotator.core import balance
from rotator.core.balance import LIMITED_WITHIN, BalanceState, News, Reading, Rules, SharedClock, Withheld

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = Rules(HOUR, Decimal(5), top_ups_per_day=2)
LOW, ENOUGH = Reading(Decimal("4.99"), True, NOW), Reading(Decimal(5), True, NOW)


# --- when, and what is new -------------------------------------------------------------------------------------


def test_begin_spreads_first_readings_over_a_minute() -> None:
    looks = [BalanceState.begin(f"account-{number}", HOUR, NOW).next_at - NOW for number in range(200)]
    assert all(timedelta() <= look < timedelta(minutes=1) for look in looks)
    assert len({look // timedelta(seconds=1) for look in looks}) > 40
    assert BalanceState.begin("account-1", timedelta(seconds=1), NOW).next_at < NOW + timedelta(seconds=1)


def test_reading_times_follow_from_the_account_alone() -> None:
    """The readings of a fleet are spread, and neither a restart nor an upgrade moves them."""

    def own(account: str) -> timedelta:
        return BalanceState(NOW).record_reading(account, LOW, RULES)[0].next_at - NOW

    own_times = [own(f"account-{number}") for number in range(200)]
    assert len({time // timedelta(minutes=1) for time in own_times}) > 50
    assert own("shop") == timedelta(seconds=1183.682107)
    assert own("alerts") == timedelta(seconds=2671.061757)


def test_record_reading_keeps_the_instant_within_the_period() -> None:
    def after(at: datetime) -> datetime:
        return BalanceState(NOW).record_reading("shop", replace(LOW, at=at), RULES)[0].next_at

    first = after(NOW)
    assert NOW < first <= NOW + HOUR
    assert after(first) == first + HOUR
    assert after(first - timedelta(seconds=1)) == first
    assert {after(first + timedelta(minutes=minute)) for minute in range(60)} == {first + HOUR}


def test_record_failure_backs_off_to_once_a_period() -> None:
    state = BalanceState(NOW)
    waits = []
    for _ in range(12):
        state = state.record_failure("shop", HOUR, NOW)
        waits.append(state.next_at - NOW)
    assert timedelta(seconds=45) <= waits[0] <= timedelta(minutes=1)
    assert waits[3] > timedelta(minutes=5)
    assert max(waits) <= HOUR
    assert BalanceState(NOW).record_failure("shop", timedelta(seconds=9), NOW).next_at == NOW + timedelta(seconds=9)
    assert state.record_reading("shop", ENOUGH, RULES)[0].failures == 0


def test_record_reading_reports_low_and_recovered_once() -> None:
    state = BalanceState(NOW)
    told = []
    for reading in (ENOUGH, LOW, LOW, ENOUGH, ENOUGH):
        state, news = state.record_reading("shop", reading, RULES)
        told.append(news)
    assert told == [None, News.LOW, None, News.RECOVERED, None]


def test_next_reading_is_advanced_and_postponed() -> None:
    state = BalanceState(NOW, failures=2)
    assert state.advance(NOW - HOUR) == replace(state, next_at=NOW - HOUR)
    assert state.advance(NOW + HOUR) == state
    assert state.postpone(NOW + HOUR) == replace(state, next_at=NOW + HOUR)


# --- whether to top up -----------------------------------------------------------------------------------------


def ago(*hours: float) -> list[datetime]:
    return [NOW - HOUR * each for each in hours]


def test_why_not_limits_top_ups_per_day() -> None:
    assert balance.why_not(LOW, RULES, [], NOW) is None
    assert balance.why_not(LOW, RULES, ago(3), NOW) is None
    assert balance.why_not(LOW, RULES, ago(3, 23.9), NOW) is Withheld.LIMIT
    assert balance.why_not(LOW, RULES, ago(3, 24), NOW) is None, "a day is over"


def test_why_not_withholds_when_forbidden_or_enough() -> None:
    assert balance.why_not(LOW, replace(RULES, top_ups_per_day=0), [], NOW) is Withheld.NEVER
    assert balance.why_not(ENOUGH, RULES, [], NOW) is Withheld.NEVER
    assert balance.why_not(LOW, Rules(HOUR, Decimal(5)), [], NOW) is Withheld.NEVER, "rotator spends nothing unasked"


def test_why_not_withholds_without_auto_reload() -> None:
    assert balance.why_not(replace(LOW, auto_reload=False), RULES, [], NOW) is Withheld.NO_AUTO_RELOAD
    assert balance.why_not(replace(LOW, auto_reload=None), RULES, [], NOW) is None


def test_why_not_waits_until_the_last_payment_arrives() -> None:
    last = NOW - timedelta(minutes=10)
    assert balance.why_not(LOW, RULES, [last + timedelta(seconds=1)], NOW) is Withheld.ARRIVING
    assert balance.why_not(LOW, RULES, [last], NOW) is None
    stale = replace(LOW, at=NOW - HOUR)  # read before the last payment
    assert balance.why_not(stale, RULES, ago(0.9), NOW) is Withheld.ARRIVING


def test_why_not_counts_top_ups_in_the_future() -> None:
    once = replace(RULES, top_ups_per_day=1)
    assert balance.why_not(LOW, once, [NOW + HOUR], NOW) is Withheld.LIMIT
    assert balance.recent([NOW - LIMITED_WITHIN, NOW], NOW) == (NOW,)


# --- the time that instances share -------------------------------------------------------------------------------

SECOND = timedelta(seconds=1)


def test_shared_clock_is_vaults() -> None:
    """This instance's clock is three hours ahead, and Vault took two seconds to answer."""
    vault = NOW - 3 * HOUR
    clock = SharedClock(vault, NOW, NOW + 2 * SECOND)
    assert clock.now == vault
    assert clock.shared(NOW - HOUR) == vault - HOUR - 2 * SECOND
    assert clock.shared(NOW + HOUR) == vault, "the instance's clock was set back since"
    assert clock.latest(NOW + 5 * SECOND) == vault + 6 * SECOND
    assert clock.latest(NOW - HOUR) == vault + SECOND


def test_shared_clock_is_own_when_vault_is_silent() -> None:
    clock = SharedClock(None, NOW, NOW + 2 * SECOND)
    assert clock.now == NOW + 2 * SECOND
    assert clock.shared(NOW - HOUR) == NOW - HOUR
    assert clock.latest(NOW + 5 * SECOND) == NOW + 5 * SECOND


def test_recorded_top_up_counts_a_whole_day() -> None:
    """Vault told 12:00:00 at 12:00:00.9 to one instance, and tells 12:00:00 at 12:00:00 a day later to another."""
    once = replace(RULES, top_ups_per_day=1)
    recorded = SharedClock(NOW, NOW + 0.9 * SECOND, NOW + 0.9 * SECOND).latest(NOW + 0.9 * SECOND)
    assert balance.why_not(LOW, once, [recorded], NOW + LIMITED_WITHIN) is Withheld.LIMIT
    assert balance.why_not(LOW, once, [recorded], NOW + LIMITED_WITHIN + SECOND) is None
