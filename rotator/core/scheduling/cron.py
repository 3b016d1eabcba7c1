"""Cron expressions of five fields: their next time, and the gaps between their times."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from rotator.core.scheduling.calendar import CYCLE, CYCLE_BEGIN

_BEGIN = datetime.combine(CYCLE_BEGIN, time())
# The number of days of an expression whose gaps are compared. Even if it means each day, they contain a leap day.
_CRON_DAYS = 1500


@dataclass(frozen=True, slots=True)
class Gaps:
    """The shortest and the longest time between two rotations by the wall clock."""

    shortest: timedelta
    longest: timedelta


@lru_cache(maxsize=1024)
def cron_gaps(cron: str) -> Gaps:
    """Return the shortest and the longest time between two times of an expression by the wall clock.

    Raises:
        ValueError: If it is not a cron expression of five fields, or no time matches it.
    """
    fields = cron.split()
    if len(fields) != 5:  # noqa: PLR2004 - the library would also accept one with seconds
        raise ValueError('is not five fields such as "0 3 1 * *": minute, hour, day, month, weekday')
    try:
        days = _day_gaps(" ".join(fields[2:]))
        times = list(_fires(f"{fields[0]} {fields[1]} * * *", _BEGIN, _BEGIN + timedelta(days=1)))
    except CronSimError as error:
        raise ValueError(f"is not a cron line: {str(error).lower()}") from None
    over_night = times[-1] - times[0]
    between = [after - before for before, after in pairwise(times)]
    return Gaps(min([*between, days.shortest - over_night]), max([*between, days.longest - over_night]))


def next_fire(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first time of an expression after an instant, UTC.

    In an hour that the wall clock shows twice, the library can return the first one although the second has begun.
    """
    local = after.astimezone(UTC if zone.key == "UTC" else zone)
    return next(at for fire in CronSim(cron, local) if (at := fire.astimezone(UTC)) > after)


def _fires(cron: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the times of an expression from `begin` on, before `end`."""
    for fire in CronSim(cron, begin - timedelta(seconds=1)):
        if fire >= end:
            return
        yield fire


@lru_cache(maxsize=1024)
def _day_gaps(fields: str) -> Gaps:
    """Return the gaps between the days of an expression; most expressions of a fleet share their days."""
    days = list(islice(_fires(f"0 0 {fields}", _BEGIN, _BEGIN + 2 * CYCLE), _CRON_DAYS))
    if not days:
        raise ValueError("is not a cron line: no day is ever meant")
    apart = [after - before for before, after in pairwise(days)]
    return Gaps(min(apart), max(apart))
