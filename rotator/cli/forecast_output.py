"""How a forecast looks: the next events, a calendar, the busiest hour."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from rotator.cli.terminal import Table, echo, relative
from rotator.core.protocol.wording import listed
from rotator.core.scheduling.forecast import CALLS, Event, Forecast, Kind, Load, busiest_account, hours, loads
from rotator.errors import visible

# Maximum number of events in the table.
_EVENTS_SHOWN = 20
# Maximum number of days in the calendar. A longer forecast shows months.
_DAYS_SHOWN = 100


def forecast_json(forecast: Forecast, left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole forecast for programs, in UTC."""
    calls = hours(forecast, ZoneInfo("UTC"))
    counts = Counter(event.kind for event in forecast.events)
    return {
        "from": forecast.now,
        "until": forecast.until,
        "complete": not forecast.cut,
        "rotations": counts[Kind.ROTATE],
        "revocations": counts[Kind.REVOKE],
        "busiest_hour": max(calls, key=lambda hour: calls[hour], default=None),
        "busiest_account": _busiest_account_json(forecast),
        "hours": [{"at": hour, "calls": count} for hour, count in calls.items()],
        "events": [
            {"at": event.at, "account": event.account, "kind": event.kind.value, "overridden": event.overridden}
            for event in forecast.events
        ],
        "left_out": [{"account": account, "why": why} for account, why in left_out.items()],
    }


def _busiest_account_json(forecast: Forecast) -> dict[str, Any] | None:
    busiest = busiest_account(forecast)
    if busiest is None:
        return None
    account, hour, calls = busiest
    return {"account": account, "at": hour, "calls": calls}


def print_forecast(forecast: Forecast, left_out: Mapping[str, str], zone: ZoneInfo, calls_per_second: float) -> None:
    """Print the forecast for users: the next events, a calendar, the busiest hour.

    Args:
        left_out: The accounts without a forecast, and the reasons.
        zone: The time zone of the output.
        calls_per_second: Maximum rate of requests to the provider.
    """
    if forecast.events:
        _coming(forecast, zone).print()
        more = len(forecast.events) - _EVENTS_SHOWN
        if more > 0:
            echo(f"... and {more:,} more; with --json all of them")
        echo()
        days = loads(forecast, zone)
        monthly = len(days) > _DAYS_SHOWN
        months = loads(forecast, zone, monthly=True) if monthly else days
        plain = "utf" not in (sys.stdout.encoding or "").lower()
        _calendar(months, zone, monthly=monthly, plain=plain).print()
        echo()
    for line in _summary(forecast, zone, calls_per_second):
        echo(line)
    for why in dict.fromkeys(left_out.values()):
        names = [name for name, reason in left_out.items() if reason == why]
        echo(visible(f"left out, {why}: {listed(names)}"))


def _coming(forecast: Forecast, zone: ZoneInfo) -> Table:
    table = Table(("when", "", "account", "event"), prose="event")
    for event in forecast.events[:_EVENTS_SHOWN]:
        at = event.at.astimezone(zone)
        when = f"{at:%Y-%m-%d %a %H:%M:%S}"
        table.rows.append((when, relative(event.at, forecast.now), event.account, _coming_event(event)))
    return table


def _coming_event(event: Event) -> str:
    if event.kind is Kind.REVOKE:
        return "revoke the previous secret"
    return "rotate, forced by max_age" if event.overridden else "rotate"


def _calendar(rows: Sequence[Load], zone: ZoneInfo, *, monthly: bool, plain: bool) -> Table:
    """A row a day: how much happens, and its hours as a strip, in relation to the busiest of all."""
    marks = ".:-=+*#%@" if plain else "·▁▂▃▄▅▆▇█"
    counts = ("rotate", "revoke", "busiest hour")
    strip_heading = "calls by hour of day\n0     6     12    18"
    table = Table(("month" if monthly else "day", *counts, strip_heading), right=frozenset(counts))
    most = max(row.calls for row in rows)
    for row in rows:
        day = f"{row.first:%Y-%m}" if monthly else f"{row.first:%Y-%m-%d %a}"
        strip = "".join(marks[-(-calls * (len(marks) - 1) // most)] for calls in row.by_hour)
        busiest = row.busiest.astimezone(zone)
        table.rows.append((day, f"{row.rotations:,}", f"{row.revocations:,}", f"{row.calls:,} at {busiest:%H}h", strip))
    return table


def _summary(forecast: Forecast, zone: ZoneInfo, calls_per_second: float) -> Iterable[str]:
    counts = Counter(event.kind for event in forecast.events)
    until = forecast.until.astimezone(zone)
    total = sum(CALLS[event.kind] for event in forecast.events)
    yield f"until {until:%Y-%m-%d %a %H:%M} ({zone.key})"
    yield f"in all: rotations {counts[Kind.ROTATE]:,}, revocations {counts[Kind.REVOKE]:,}, calls {total:,}"
    calls = hours(forecast, zone)
    if calls:
        busiest = max(calls, key=lambda hour: calls[hour])
        allowed = 3600 * calls_per_second
        yield (
            f"busiest hour: {busiest.astimezone(zone):%Y-%m-%d %a %H:%M}, "
            f"calls {calls[busiest]:,} ({allowed:,.0f} are allowed)"
        )
    most = busiest_account(forecast)
    if most is not None:
        yield f"one account in one hour: calls {most[2]:,} ({most[0]}), if new secrets work at once"
    if forecast.cut:
        yield "the forecast is too long and ends here: choose less time or fewer accounts"
