"""Rules about an account's balance: when to read it, when it is low, when to top it up. Pure.

A top-up costs money. rotator sends it only if no rule in `why_not` withholds it. The rules count recorded top-ups, and
rotator records a top-up before it sends it. If a process dies in between, one top-up is lost. The limit is never
exceeded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from rotator.core.jitter import backoff, fraction

# The first readings after a start are spread over this time.
FIRST_WITHIN = timedelta(minutes=1)
# Period of the limit of top-ups.
LIMITED_WITHIN = timedelta(hours=24)
# A payment takes a while to show in the balance. Until then, rotator sends no other top-up.
ARRIVES_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules for the balance of one account.

    Attributes:
        every: Interval between readings.
        low: Balance threshold in euros.
        top_ups_per_day: Maximum number of automatic top-ups in any 24 hours; 0 disables them.
    """

    every: timedelta
    low: Decimal
    top_ups_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A balance as the provider reported it.

    Attributes:
        euros: The balance.
        auto_reload: Whether the account can be topped up; None if the provider did not report it.
        at: The time of the request.
    """

    euros: Decimal
    auto_reload: bool | None
    at: datetime


class News(StrEnum):
    """A change that a reading shows; the value is the name of its log event."""

    LOW = "balance.low"
    RECOVERED = "balance.recovered"


class Withheld(StrEnum):
    """Why an account is not topped up although its balance is low."""

    NEVER = "never"  # top-ups are disabled, or the balance is not low
    NO_AUTO_RELOAD = "no_auto_reload"  # there is no payment to repeat
    ARRIVING = "arriving"  # the last one may not be in the balance yet
    LIMIT = "limit"  # there were as many as are allowed


class TopUp(StrEnum):
    """How an automatic top-up ended."""

    OK = "ok"
    FAILED = "failed"  # it was refused, or certainly not sent
    UNANSWERED = "unanswered"  # it may have happened


@dataclass(frozen=True, slots=True)
class Watch:
    """State of one account's balance in this process.

    Attributes:
        next_at: Time of the next reading.
        reading: The last successful reading.
        low: Whether that balance was low.
        failures: Number of consecutive failed readings.
    """

    next_at: datetime
    reading: Reading | None = None
    low: bool = False
    failures: int = 0


def begun(account: str, every: timedelta, now: datetime) -> Watch:
    """A watch that begins now: the first look comes soon, later ones at the account's own instant of each period."""
    return Watch(now + min(every, FIRST_WITHIN) * _share(account))


def answered(account: str, watch: Watch, reading: Reading, rules: Rules) -> tuple[Watch, News | None]:
    """The watch after a reading, and what is new about it."""
    low = is_low(reading, rules.low)
    news = None if low == watch.low else News.LOW if low else News.RECOVERED
    return Watch(_next(account, rules.every, reading.at), reading, low), news


def failed(account: str, watch: Watch, every: timedelta, now: datetime) -> Watch:
    """The watch after a reading that failed: tried again soon, then later and later, once in a period at least."""
    failures = watch.failures + 1
    return replace(watch, next_at=now + min(every, backoff(account, failures)), failures=failures)


def is_low(reading: Reading, low: Decimal) -> bool:
    """Whether it is less than the account is to have."""
    return reading.euros < low


def why_not(reading: Reading, rules: Rules, earlier: Sequence[datetime], now: datetime) -> Withheld | None:
    """Why an account whose balance is low is not topped up; None if it may be.

    Args:
        reading: Its balance.
        rules: The account's rules.
        earlier: When it was topped up before, as far as that was within LIMITED_WITHIN. An instant in the future,
            another machine's clock being ahead, counts as well.
        now: The present.
    """
    if not rules.top_ups_per_day or not is_low(reading, rules.low):
        return Withheld.NEVER
    if reading.auto_reload is False:
        return Withheld.NO_AUTO_RELOAD
    counted = recent(earlier, now)
    if len(counted) >= rules.top_ups_per_day:
        return Withheld.LIMIT
    # A balance that was read before the last top-up arrived does not contain it.
    if any(min(reading.at, now) < at + ARRIVES_WITHIN for at in counted):
        return Withheld.ARRIVING
    return None


def recent(earlier: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """Those that count for the limit."""
    return tuple(at for at in earlier if at > now - LIMITED_WITHIN)


def _next(account: str, every: timedelta, now: datetime) -> datetime:
    """The first instant after now that is the account's own: they are spread, and a restart does not move them."""
    zero = datetime.fromtimestamp(0, UTC) + every * _share(account)
    return zero + ((now - zero) // every + 1) * every


def _share(account: str) -> float:
    """Return an account's own number from 0 to 1."""
    return fraction(account) / 2**64
