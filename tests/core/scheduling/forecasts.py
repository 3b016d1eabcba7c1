"""Fleets, and forecasts of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from rotator.core.protocol import Retiring
from rotator.core.scheduling import Schedule, Window
from rotator.core.scheduling.forecast import Forecast, Member, foresee

UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 17, tzinfo=UTC)
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
NOTHING = timedelta()
MONTHLY = Schedule(30 * DAY, None, BERLIN)
NIGHTLY = replace(MONTHLY, windows=(Window.parse("02:00-02:05"),))


def member(name: str, age: timedelta, schedule: Schedule = MONTHLY, *gone_in: timedelta, primary: str = "") -> Member:
    retiring = tuple(Retiring(f"id-{number}", NOW + delay) for number, delay in enumerate(gone_in))
    return Member(name, schedule, DAY, NOW - age, retiring, primary or None)


def ahead(
    members: Sequence[Member], length: timedelta, *, spacing: timedelta = NOTHING, max_secrets: int = 2
) -> Forecast:
    return foresee(members, now=NOW, until=NOW + length, spacing=spacing, max_secrets=max_secrets)
