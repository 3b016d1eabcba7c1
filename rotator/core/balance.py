"""Rules about an account's balance: when to read it, when it is low, when to top it up. Pure.

A top-up costs money. rotator sends it only if no rule in `why_not` withholds it. The rules count recorded top-ups, and
rotator records a top-up before it sends it. If a process dies in between, one top-up is lost. Instances share the
limit, so it goes by Vault's clock. The limit is never exceeded, unless Vault does not tell its time and an instance's
clock is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from rotator.core.backoff import backoff, fraction
from rotator.core.protocol import CLOCK_RESOLUTION

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


@dataclass(frozen=True, slots=True)
class SharedClock:
    """The time that all instances share: Vault's, as Vault told it with a document.

    If Vault did not tell it, the instance's own clock decides.

    Attributes:
        read_at: When Vault answered, by its own clock, in whole seconds; None if it did not say.
        asked_at: When the request was sent, by this instance's clock.
        answered_at: When the answer had arrived, by this instance's clock.
    """

    read_at: datetime | None
    asked_at: datetime
    answered_at: datetime

    @property
    def now(self) -> datetime:
        """The shared time at the answer, or a little earlier. Whether earlier top-ups still count goes by it."""
        return self.answered_at if self.read_at is None else self.read_at

    def shared(self, at: datetime) -> datetime:
        """Return an instant of this instance's clock in the shared time; none is later than the answer."""
        return self.now - max(self.answered_at - at, timedelta())

    def latest(self, now: datetime) -> datetime:
        """Return the latest shared time that it can be by now. A top-up is recorded with it.

        How long Vault took to answer is not known apart, so this measures from before the request.

        Args:
            now: The time by this instance's clock.
        """
        if self.read_at is None:
            return now
        return max(self.read_at + (now - self.asked_at), self.read_at) + CLOCK_RESOLUTION


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
class BalanceState:
    """What a process knows of one account's balance.

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

    @classmethod
    def begin(cls, account: str, every: timedelta, now: datetime) -> "BalanceState":
        """Return the state before the first reading, which is soon. Later readings have the account's own times."""
        return cls(now + min(every, FIRST_WITHIN) * _share(account))

    def advance(self, latest: datetime) -> "BalanceState":
        """Return the state with its next reading at this time at the latest."""
        return replace(self, next_at=min(self.next_at, latest))

    def postpone(self, next_at: datetime) -> "BalanceState":
        """Return the state with its next reading at this time. Nothing was learned about the balance."""
        return replace(self, next_at=next_at)

    def record_reading(self, account: str, reading: Reading, rules: Rules) -> tuple["BalanceState", News | None]:
        """Return the state after a reading, and the change that it shows."""
        low = is_low(reading, rules.low)
        state = BalanceState(_next(account, rules.every, reading.at), reading, low)
        if low == self.low:
            return state, None
        return state, News.LOW if low else News.RECOVERED

    def record_failure(self, account: str, every: timedelta, now: datetime) -> "BalanceState":
        """Return the state after a failed reading. The pauses grow up to one interval."""
        failures = self.failures + 1
        return replace(self, next_at=now + min(every, backoff(account, failures)), failures=failures)


def is_low(reading: Reading, low: Decimal) -> bool:
    """Return whether a balance is below the threshold."""
    return reading.euros < low


def why_not(reading: Reading, rules: Rules, earlier: Sequence[datetime], now: datetime) -> Withheld | None:
    """Return why rotator does not top up an account; None if it can.

    Args:
        reading: Its balance, read at an instant of the shared time.
        rules: The account's rules.
        earlier: The times of its last top-ups, in the shared time. A time in the future counts as well.
        now: The shared time.
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
    """Return the top-ups that count for the limit."""
    return tuple(at for at in earlier if at > now - LIMITED_WITHIN)


def _next(account: str, every: timedelta, now: datetime) -> datetime:
    """Return the account's next own time of reading. These times are spread, and a restart does not move them."""
    zero = datetime.fromtimestamp(0, UTC) + every * _share(account)
    return zero + ((now - zero) // every + 1) * every


def _share(account: str) -> float:
    """Return an account's own number from 0 to 1."""
    return fraction(account) / 2**64
