"""When the next rotation of an account begins.

A schedule is an interval or a cron expression. Maintenance windows and blackouts defer it, and max_age overrides both.
`Schedule.due` reads no clock and makes no randomness: the same question has the same answer on every machine and after
every restart. docs/scheduling.md describes it for users.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from rotator.core.backoff import fraction
from rotator.core.scheduling.calendar import (
    LONGEST_CLOSED,
    Blackout,
    Window,
    check_openings,
    instant_of,
    open_minutes,
)
from rotator.core.scheduling.cron import Gaps, cron_gaps, next_fire

# The part of the jitter that changes from one rotation of an account to its next one is one in this number.
CYCLE_SHARE = 4

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)
# Every date from here on has a day before and after it in each time zone.
_FIRST = datetime(2, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """When a rotation begins.

    Attributes:
        at: Aware UTC.
        overridden: Whether that lies outside the windows or inside a blackout, because of max_age.
    """

    at: datetime
    overridden: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an account's secret has to be replaced.

    Attributes:
        every: How old a secret gets; this or `cron` is set.
        cron: Five fields, on the wall clock of `timezone`.
        timezone: The time zone of cron, windows and blackouts.
        windows: When rotations may begin; none: at any time.
        blackouts: Days on which they may not.
        max_age: At this age a rotation begins also outside of windows and inside of blackouts.
        jitter: Over how long rotations are spread: before the end of an interval, after the time of a cron expression.

    Raises:
        ValueError: If the parts do not fit together; the message is one clause.
    """

    every: timedelta | None
    cron: str | None
    timezone: ZoneInfo
    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()
    max_age: timedelta | None = None
    jitter: timedelta = timedelta()

    def __post_init__(self) -> None:
        if (self.every is None) == (self.cron is None):
            raise ValueError("every and cron exclude each other, and one of them is needed")
        what = "every" if self.every is not None else "the shortest time between two rotations by cron"
        if not timedelta() <= self.jitter < self._gaps.shortest:
            raise ValueError(f"jitter has to be shorter than {what}")
        if self.max_age is None:
            check_openings(self.windows, self.blackouts)
        elif self.max_age < self._gaps.longest:
            what = "every" if self.every is not None else "the longest time between two rotations by cron"
            raise ValueError(f"max_age may not be shorter than {what}")

    def due(self, account: str, rotated_at: datetime, now: datetime) -> Due:
        """Return when a secret has to be replaced: now, or at a later instant.

        Args:
            account: The account's name, from which its jitter follows.
            rotated_at: When the secret was created, aware.
            now: The present, aware UTC. The result is never earlier; if it equals `now`, the secret is due.
        """
        try:
            return self._due(account, max(rotated_at, _FIRST), now)
        except (OverflowError, ValueError):  # later than the last year of the calendar, 9999
            return Due(_NEVER, overridden=False)

    def _due(self, account: str, rotated_at: datetime, now: datetime) -> Due:
        start = max(self._ideal(account, rotated_at), now)
        if not self.windows and not self.blackouts and self.cron is None:
            return Due(start, overridden=False)  # max_age is no shorter than every
        # Twice the longest time that __post_init__ accepts, and a year for a day that a change to DST cuts out.
        limit = start + 3 * LONGEST_CLOSED if self.max_age is None else rotated_at + self.max_age
        opening = self._opening(start, limit)
        if opening <= limit:
            return Due(opening, overridden=False)
        at = max(limit.astimezone(UTC), now)
        return Due(at, overridden=self._opening(at, at) != at)

    def shortest(self) -> timedelta:
        """Return the shortest time between two rotations by the wall clock; DST can shorten it by an hour."""
        return self._gaps.shortest - self.jitter

    @property
    def _gaps(self) -> Gaps:
        if self.every is not None:
            return Gaps(self.every, self.every)
        return cron_gaps(self.cron or "")

    def _ideal(self, account: str, rotated_at: datetime) -> datetime:
        """Return when it would be due if there were neither windows nor blackouts."""
        shift = self._shift(account, rotated_at)
        if self.every is not None:
            return rotated_at.astimezone(UTC) + (self.every - shift)
        return next_fire(self.cron or "", self.timezone, rotated_at) + shift

    def _shift(self, account: str, rotated_at: datetime) -> timedelta:
        """Return this rotation's share of the jitter, from nothing to less than all of it.

        Each account has its own place in it, so that a fleet that was adopted within one minute spreads out. Around
        that place it moves a little from one rotation to the next, so that two accounts with the same place part.
        """
        if not self.jitter:
            return self.jitter
        instant = (rotated_at - _EPOCH) // _MICROSECOND
        place = fraction(account) + fraction(f"{account} {instant}") // CYCLE_SHARE
        return _MICROSECOND * ((self.jitter // _MICROSECOND) * (place % 2**64) >> 64)

    def _opening(self, start: datetime, limit: datetime) -> datetime:
        """Return the first instant from `start` on at which a rotation may begin; none is searched after `limit`."""
        if not self.windows and not self.blackouts:
            return start
        first = start.astimezone(self.timezone).toordinal()
        last = limit.astimezone(self.timezone).toordinal()
        for ordinal in range(first, last + 1):
            day = date.fromordinal(ordinal)
            for begin, end in open_minutes(day, self.windows, self.blackouts):
                opening = max(start, instant_of(day, begin, self.timezone))
                if opening < instant_of(day, end, self.timezone):
                    return opening
        return _NEVER


def slot(at: datetime, last: datetime | None, spacing: timedelta) -> datetime:
    """Return when a rotation that is due at `at` may begin, if the previous one of any account began at `last`."""
    return at if last is None else max(at, last + spacing)
