"""When a balance is read, when it is low, and whether an account is topped up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from rotator.core import balance
from rotator.core.balance import ARRIVES_WITHIN, LIMITED_WITHIN, News, Reading, Rules, Watch, Withheld

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = Rules(HOUR, Decimal(5), top_ups_per_day=2)
LOW, ENOUGH = Reading(Decimal("4.99"), True, NOW), Reading(Decimal(5), True, NOW)


def ago(*hours: float) -> list[datetime]:
    return [NOW - HOUR * each for each in hours]


def test_begun_spreads_first_readings_over_a_minute() -> None:
    looks = [balance.begun(f"account-{number}", HOUR, NOW).next_at - NOW for number in range(200)]
    assert all(timedelta() <= look < timedelta(minutes=1) for look in looks)
    assert len({look // timedelta(seconds=1) for look in looks}) > 40
    assert balance.begun("account-1", timedelta(seconds=1), NOW).next_at < NOW + timedelta(seconds=1)


def test_answered_keeps_an_accounts_instant_of_the_period() -> None:
    def after(at: datetime) -> datetime:
        return balance.answered("shop", Watch(NOW), replace(LOW, at=at), RULES)[0].next_at

    first = after(NOW)
    assert NOW < first <= NOW + HOUR
    assert after(first) == first + HOUR
    assert after(first - timedelta(seconds=1)) == first
    assert {after(first + timedelta(minutes=minute)) for minute in range(60)} == {first + HOUR}


def test_failed_backs_off_to_once_a_period() -> None:
    watch, waits = Watch(NOW), []
    for _ in range(12):
        watch = balance.failed("shop", watch, HOUR, NOW)
        waits.append(watch.next_at - NOW)
    assert timedelta(seconds=45) <= waits[0] <= timedelta(minutes=1)
    assert waits[3] > timedelta(minutes=5)
    assert max(waits) <= HOUR
    assert balance.failed("shop", Watch(NOW), timedelta(seconds=9), NOW).next_at == NOW + timedelta(seconds=9)
    assert balance.answered("shop", watch, ENOUGH, RULES)[0].failures == 0


def test_answered_tells_low_and_recovered_once() -> None:
    watch, told = Watch(NOW), []
    for reading in (ENOUGH, LOW, LOW, ENOUGH, ENOUGH):
        watch, news = balance.answered("shop", watch, reading, RULES)
        told.append(news)
    assert told == [None, News.LOW, None, News.RECOVERED, None]


def test_why_not_limits_top_ups_per_day() -> None:
    assert balance.why_not(LOW, RULES, [], NOW) is None
    assert balance.why_not(LOW, RULES, ago(3), NOW) is None
    assert balance.why_not(LOW, RULES, ago(3, 23.9), NOW) is Withheld.LIMIT
    assert balance.why_not(LOW, RULES, ago(3, 24), NOW) is None, "a day is over"


def test_why_not_withholds_when_forbidden_or_enough() -> None:
    assert balance.why_not(LOW, replace(RULES, top_ups_per_day=0), [], NOW) is Withheld.NEVER
    assert balance.why_not(ENOUGH, RULES, [], NOW) is Withheld.NEVER


def test_why_not_withholds_without_auto_reload() -> None:
    assert balance.why_not(replace(LOW, auto_reload=False), RULES, [], NOW) is Withheld.NO_AUTO_RELOAD
    assert balance.why_not(replace(LOW, auto_reload=None), RULES, [], NOW) is None


def test_why_not_waits_until_the_last_payment_arrives() -> None:
    last = NOW - ARRIVES_WITHIN
    assert balance.why_not(LOW, RULES, [last + timedelta(seconds=1)], NOW) is Withheld.ARRIVING
    assert balance.why_not(LOW, RULES, [last], NOW) is None
    stale = replace(LOW, at=NOW - HOUR)  # read before the last payment
    assert balance.why_not(stale, RULES, ago(0.9), NOW) is Withheld.ARRIVING


def test_why_not_counts_top_ups_in_the_future() -> None:
    once = replace(RULES, top_ups_per_day=1)
    assert balance.why_not(LOW, once, [NOW + HOUR], NOW) is Withheld.LIMIT
    assert balance.recent([NOW - LIMITED_WITHIN, NOW], NOW) == (NOW,)
