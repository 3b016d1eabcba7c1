"""Maintenance windows and blackouts: the minutes of a day in which rotations may begin."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

# Windows and blackouts leave an opening at least this often, unless there is a max_age.
LONGEST_CLOSED = timedelta(days=400)
# Weekdays and leap years come in every combination within 28 years, and then again.
CYCLE_BEGIN, CYCLE = date(2001, 1, 1), timedelta(weeks=1461)

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


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window: rotations begin only within one.

    Attributes:
        days: The weekdays on which it begins, Monday is 0.
        begin: Minutes after midnight by the wall clock.
        end: The same, exclusive; more than a day's worth if it ends on the next day.
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
        first: (year, month, day), or (month, day) for a blackout of every year.
        last: The same; a yearly one can end in the following year.
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
        """Whether it happens only once."""
        return len(self.first) == 3  # noqa: PLR2004 - year, month, day

    def covers(self, day: date) -> bool:
        """Return whether a day lies in the blackout."""
        this = (day.year, day.month, day.day)[-len(self.first) :]
        if self.first <= self.last:
            return self.first <= this <= self.last
        return this >= self.first or this <= self.last


def open_minutes(day: date, windows: tuple[Window, ...], blackouts: tuple[Blackout, ...]) -> list[tuple[int, int]]:
    """Return when rotations may begin on one day, in order, in minutes of the wall clock."""
    if any(blackout.covers(day) for blackout in blackouts):
        return []
    if not windows:
        return [(0, _DAY)]
    today = day.weekday()
    evening = [(window.begin, min(window.end, _DAY)) for window in windows if today in window.days]
    morning = [(0, window.end - _DAY) for window in windows if window.end > _DAY and (today - 1) % 7 in window.days]
    return sorted(morning + evening)


@lru_cache(maxsize=4096)
def instant_of(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the wall clock shows a time of day or a later one, UTC.

    A time that the clock skips gives the end of the gap; one that it shows twice gives the first.
    """
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    at = wall.replace(tzinfo=zone).astimezone(UTC)
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while at - early > timedelta(seconds=1):
        middle = early + (at - early) // timedelta(seconds=2) * timedelta(seconds=1)
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            early = middle
        else:
            at = middle
    return at


@lru_cache(maxsize=1024)
def check_openings(windows: tuple[Window, ...], blackouts: tuple[Blackout, ...]) -> None:
    """Refuse windows and blackouts that leave no opening for too long, from whichever day on.

    Raises:
        ValueError: If there is no opening for more than LONGEST_CLOSED.
    """
    longest = LONGEST_CLOSED.days
    yearly = tuple(blackout for blackout in blackouts if not blackout.dated)
    closed = 0
    first = CYCLE_BEGIN.toordinal()
    for ordinal in range(first, first + CYCLE.days + longest) if yearly else ():
        closed = 0 if open_minutes(date.fromordinal(ordinal), windows, yearly) else closed + 1
        if closed > longest:
            break
    starts = [date(*blackout.first).toordinal() for blackout in blackouts if blackout.dated]
    if closed > longest or not all(
        any(open_minutes(date.fromordinal(start + wait), windows, blackouts) for wait in range(longest + 1))
        for start in starts
    ):
        raise ValueError(
            f"windows and blackouts leave no opening for more than {longest} days; set max_age or open more"
        )


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _weekdays(text: str | None) -> frozenset[int]:
    """Read "mon-wed,sat"; a range can go over the end of the week."""
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin = _WEEKDAYS.index(first)
        length = (_WEEKDAYS.index(last or first) - begin) % 7
        days |= {(begin + step) % 7 for step in range(length + 1)}
    return frozenset(days)
