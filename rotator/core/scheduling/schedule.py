"""When the next rotation of an account is to begin; pure.

A schedule is an interval or a cron line, thinned out by maintenance windows and blackouts and made firm again by
max_age. `Schedule.due` says the instant; it reads no clock and makes no randomness, so whoever asks the same
question gets the same answer, on every machine and after every restart. docs/scheduling.md has it in prose.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

# Windows and blackouts have to leave an opening at least so often, unless there is a max_age.
LONGEST_CLOSED = timedelta(days=400)
# How much of the jitter changes from one rotation of an account to its next one: one part in so many.
CYCLE_SHARE = 4

WINDOW_PATTERN = (
    r"(?:(?P<days>(?:{day})(?:-(?:{day}))?(?:,(?:{day})(?:-(?:{day}))?)*) +)?"
    r"(?P<begin>(?:[01][0-9]|2[0-3]):[0-5][0-9])-(?P<end>(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
).replace("{day}", "mon|tue|wed|thu|fri|sat|sun")
BLACKOUT_PATTERN = (
    r"(?:[12][0-9]{3}-[0-9]{2}-[0-9]{2}(?:/[12][0-9]{3}-[0-9]{2}-[0-9]{2})?|[0-9]{2}-[0-9]{2}(?:/[0-9]{2}-[0-9]{2})?)"
)

_WINDOW = re.compile(WINDOW_PATTERN)
_BLACKOUT = re.compile(BLACKOUT_PATTERN)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)
# Weekdays and leap years come in every combination within 28 years, and then again.
_CYCLE_BEGIN, _CYCLE_END = datetime(2001, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
_TWO_CYCLES_END = datetime(2057, 1, 1, tzinfo=UTC)
# So many days of a cron line are looked at for the gaps between them; one that means more shows them all in these.
_CRON_DAYS = 1000


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window: rotations begin only within one.

    Attributes:
        days: The weekdays on which it begins, Monday is 0.
        begin: Minutes after midnight by the wall clock.
        end: The same, exclusive; more than a day's worth if it ends on the day after.
    """

    days: frozenset[int]
    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Read "mon-fri 02:00-05:00", "sat,sun 00:00-24:00" or "22:00-02:00" (every day).

        Raises:
            ValueError: If it is anything else.
        """
        match = _WINDOW.fullmatch(text)
        if match is None:
            raise ValueError('is not a window such as "mon-fri 02:00-05:00", "sat,sun 00:00-24:00" or "22:00-02:00"')
        begin, end = _minutes(match["begin"]), _minutes(match["end"])
        if begin == end:
            raise ValueError("ends when it begins; a whole day is 00:00-24:00")
        return cls(_weekdays(match["days"]), begin, end if end > begin else end + _DAY)


@dataclass(frozen=True, slots=True)
class Blackout:
    """Days on which nothing begins, the first and the last of them included.

    Attributes:
        first: (year, month, day), or (month, day) if it comes back every year.
        last: The same; a yearly one may end in the year after.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Blackout":
        """Read "2026-12-24", "2026-12-20/2027-01-02", or for every year "12-25", "12-24/01-02".

        Raises:
            ValueError: If it is anything else, or a day that no calendar has.
        """
        if not _BLACKOUT.fullmatch(text):
            raise ValueError(
                'is not a blackout such as "2026-12-24", "2026-12-20/2027-01-02" or, yearly, "12-24/01-02"'
            )
        days = [tuple(int(part) for part in day.split("-")) for day in text.split("/")]
        for day in days:
            try:
                date(*(day if len(day) == 3 else (2000, *day)))  # noqa: PLR2004 - a leap year has every day
            except ValueError:
                raise ValueError("has a day that no calendar has") from None
        blackout = cls(days[0], days[-1])
        if blackout.dated and blackout.last < blackout.first:
            raise ValueError("ends before it begins")
        return blackout

    @property
    def dated(self) -> bool:
        """Whether it happens once only."""
        return len(self.first) == 3  # noqa: PLR2004 - year, month, day

    def covers(self, day: date) -> bool:
        """Whether it is on that day."""
        this = (day.year, day.month, day.day)[-len(self.first) :]
        if self.first <= self.last:
            return self.first <= this <= self.last
        return this >= self.first or this <= self.last


@dataclass(frozen=True, slots=True)
class Due:
    """When a rotation is to begin.

    Attributes:
        at: Aware UTC.
        overridden: That is outside the windows or inside a blackout, because max_age says so.
    """

    at: datetime
    overridden: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an account's secret is to be replaced.

    Attributes:
        every: How old a secret gets; this or `cron` is set.
        cron: Five fields, on the wall clock of `timezone`.
        timezone: Whose clock and calendar cron, windows and blackouts go by.
        windows: When rotations may begin; none: at any time.
        blackouts: Days on which they may not.
        max_age: At this age a rotation begins all the same.
        jitter: Rotations are spread over so long: before the end of an interval, after the time of a cron line.

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
            _check_openings(self.windows, self.blackouts)
        elif self.max_age < self._gaps.longest:
            what = "every" if self.every is not None else "the longest time between two rotations by cron"
            raise ValueError(f"max_age may not be shorter than {what}")

    def due(self, account: str, rotated_at: datetime, now: datetime) -> Due:
        """When the secret that came to be at `rotated_at` is to be replaced: now, or at an instant to come.

        Args:
            account: Its name; what sets its jitter apart from that of others.
            rotated_at: When the secret came to be, aware.
            now: The present, aware UTC. The answer is never before it; if it is `now`, it is time.
        """
        start = max(self._ideal(account, rotated_at), now)
        if not self.windows and not self.blackouts and self.cron is None:
            return Due(start, overridden=False)  # max_age is no shorter than every
        limit = _NEVER if self.max_age is None else rotated_at + self.max_age
        opening = self._opening(start, limit)
        if opening <= limit:
            return Due(opening, overridden=False)
        at = max(limit.astimezone(UTC), now)
        return Due(at, overridden=self._opening(at, at) != at)

    def shortest(self) -> timedelta:
        """The shortest time between two rotations by the wall clock; a change to DST may take an hour off."""
        return self._gaps.shortest - self.jitter

    @property
    def _gaps(self) -> "_Gaps":
        if self.every is not None:
            return _Gaps(self.every, self.every)
        return cron_gaps(self.cron or "")

    def _ideal(self, account: str, rotated_at: datetime) -> datetime:
        """When it would be due if there were neither windows nor blackouts."""
        shift = self._shift(account, rotated_at)
        if self.every is not None:
            return rotated_at.astimezone(UTC) + (self.every - shift)
        return _next_fire(self.cron or "", self.timezone, rotated_at) + shift

    def _shift(self, account: str, rotated_at: datetime) -> timedelta:
        """This rotation's part of the jitter, at least nothing and less than all of it.

        Every account has a place of its own in it, so that a fleet that was taken on in one minute spreads out. Around
        that place it moves a little from one rotation to the next, so that two accounts with the same place part.
        """
        if not self.jitter:
            return self.jitter
        instant = (rotated_at - _EPOCH) // _MICROSECOND
        place = _fraction(account) + _fraction(f"{account} {instant}") // CYCLE_SHARE
        return _MICROSECOND * ((self.jitter // _MICROSECOND) * (place % 2**64) >> 64)

    def _opening(self, start: datetime, limit: datetime) -> datetime:
        """The first instant from `start` on at which a rotation may begin; after `limit` nobody looks for one."""
        if not self.windows and not self.blackouts:
            return start
        first = start.astimezone(self.timezone).toordinal()
        # Twice the longest time that __post_init__ lets through, and a year for a day that a change to DST cuts out.
        days = min(3 * LONGEST_CLOSED.days, (limit - start).days + 2)
        for ordinal in range(first, first + max(days, 1)):
            day = date.fromordinal(ordinal)
            for begin, end in _open_minutes(day, self.windows, self.blackouts):
                opening = max(start, _instant(day, begin, self.timezone))
                if opening < _instant(day, end, self.timezone):
                    return opening
        return _NEVER


@dataclass(frozen=True, slots=True)
class _Gaps:
    shortest: timedelta
    longest: timedelta


@lru_cache(maxsize=1024)
def cron_gaps(cron: str) -> _Gaps:
    """The shortest and the longest time between two times of a cron line by the wall clock.

    Raises:
        ValueError: If it is not a cron line of five fields, or there is no time that it means.
    """
    fields = cron.split()
    if len(fields) != 5:  # noqa: PLR2004 - the library would also take one with seconds
        raise ValueError('is not five fields such as "0 3 1 * *": minute, hour, day, month, weekday')
    try:
        days = _day_gaps(" ".join(fields[2:]))
        times = list(_fires(f"{fields[0]} {fields[1]} * * *", _CYCLE_BEGIN, _CYCLE_BEGIN + timedelta(days=1)))
    except CronSimError as error:
        raise ValueError(f"is not a cron line: {str(error).lower()}") from None
    over_night = times[-1] - times[0]
    between = [after - before for before, after in pairwise(times)]
    return _Gaps(min([*between, days.shortest - over_night]), max([*between, days.longest - over_night]))


def slot(at: datetime, last: datetime | None, spacing: timedelta) -> datetime:
    """When a rotation that is due at `at` may begin, if the one before it, of whatever account, began at `last`."""
    return at if last is None else max(at, last + spacing)


# --- parts ---------------------------------------------------------------------------------------------------


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _weekdays(text: str | None) -> frozenset[int]:
    """ "mon-wed,sat"; a range may go over the end of the week."""
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin = _WEEKDAYS.index(first)
        length = (_WEEKDAYS.index(last or first) - begin) % 7
        days |= {(begin + step) % 7 for step in range(length + 1)}
    return frozenset(days)


def _fires(cron: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The times of a cron line from `begin` on, before `end`."""
    for fire in CronSim(cron, begin - timedelta(seconds=1)):
        if fire >= end:
            return
        yield fire


@lru_cache(maxsize=1024)
def _day_gaps(fields: str) -> _Gaps:
    """The same for the days that a cron line means; most of the lines of a fleet mean the same days."""
    days = list(islice(_fires(f"0 0 {fields}", _CYCLE_BEGIN, _TWO_CYCLES_END), _CRON_DAYS))
    if not days:
        raise ValueError("is not a cron line: no day is ever meant")
    apart = [after - before for before, after in pairwise(days)]
    return _Gaps(min(apart), max(apart))


def _next_fire(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first time of the cron line after an instant, UTC.

    In an hour that comes twice the library goes by the wall clock alone, and may answer with the first of the two
    when it is the second already.
    """
    local = after.astimezone(UTC if zone.key == "UTC" else zone)
    return next(at for fire in CronSim(cron, local) if (at := fire.astimezone(UTC)) > after)


def _open_minutes(day: date, windows: tuple[Window, ...], blackouts: tuple[Blackout, ...]) -> list[tuple[int, int]]:
    """When rotations may begin on one day, in order, in minutes of the wall clock."""
    if any(blackout.covers(day) for blackout in blackouts):
        return []
    if not windows:
        return [(0, _DAY)]
    today = day.weekday()
    evening = [(window.begin, min(window.end, _DAY)) for window in windows if today in window.days]
    morning = [(0, window.end - _DAY) for window in windows if window.end > _DAY and (today - 1) % 7 in window.days]
    return sorted(morning + evening)


@lru_cache(maxsize=4096)
def _instant(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """The first instant at which the clock shows that time or a later one, UTC.

    A time that the clock skips gives the end of the gap; one that it shows twice gives the first.
    """
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    at = wall.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == wall:
        return at
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while at - early > timedelta(seconds=1):
        middle = early + (at - early) // timedelta(seconds=2) * timedelta(seconds=1)
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            early = middle
        else:
            at = middle
    return at


def _fraction(text: str) -> int:
    """A number below 2**64 that only depends on the text, all of them alike in likelihood."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=1024)
def _check_openings(windows: tuple[Window, ...], blackouts: tuple[Blackout, ...]) -> None:
    """Refuse what leaves no opening for too long, on whatever day one starts to wait."""
    longest = LONGEST_CLOSED.days
    yearly = tuple(blackout for blackout in blackouts if not blackout.dated)
    closed = 0
    for ordinal in range(_CYCLE_BEGIN.toordinal(), _CYCLE_END.toordinal()) if yearly else ():
        closed = 0 if _open_minutes(date.fromordinal(ordinal), windows, yearly) else closed + 1
        if closed > longest:
            break
    starts = [date(*blackout.first).toordinal() for blackout in blackouts if blackout.dated]
    if closed > longest or not all(
        any(_open_minutes(date.fromordinal(start + wait), windows, blackouts) for wait in range(longest + 1))
        for start in starts
    ):
        raise ValueError(
            f"windows and blackouts leave no opening for more than {longest} days; set max_age or open more"
        )
