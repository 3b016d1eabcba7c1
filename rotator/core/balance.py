"""What to do about an account's balance: read it when, call it low, top it up or not; pure.

A top-up costs money. It is allowed only if every one of the rules in `why_not` lets it through, and they go by the
instants that were written down before each earlier one was sent: whoever dies in between has lost a top-up, never done
one too many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from rotator.core.jitter import backoff, fraction

# For so long after a start the first looks are spread.
FIRST_WITHIN = timedelta(minutes=1)
# The limit of top-ups is about so long.
LIMITED_WITHIN = timedelta(hours=24)
# A payment takes a while until the balance shows it: no other one meanwhile.
ARRIVES_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is wanted for one account.

    Attributes:
        every: How often its balance is read.
        low: Below so many euros it is low.
        top_ups_per_day: How many automatic top-ups there may be in any 24 hours.
    """

    every: timedelta
    low: Decimal
    top_ups_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the provider said.

    Attributes:
        euros: What the account has left.
        auto_reload: Whether it can be topped up; None if that was not said.
        at: When this was asked.
    """

    euros: Decimal
    auto_reload: bool | None
    at: datetime


class News(StrEnum):
    """What a reading tells that was not known before; the name of its log line."""

    LOW = "balance.low"
    RECOVERED = "balance.recovered"


class Withheld(StrEnum):
    """Why an account is not topped up although its balance is low."""

    NEVER = "never"  # nobody allowed it
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
    """What one process knows of one account's balance.

    Attributes:
        next_at: When it is to be read next.
        reading: The last one that was answered.
        low: Whether that was called low.
        failures: How many readings in a row failed.
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
        rules: What is allowed.
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
    # What was read before the last one arrived does not show it.
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
