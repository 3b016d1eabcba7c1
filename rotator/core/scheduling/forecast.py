"""Forecast of rotations and revocations if nothing fails.

The schedules are simulated, rotation after rotation, as `rotator run` would carry them out: the earliest due begins
first, no two closer than min_spacing, each within its own windows. A rotation takes no time here and never fails.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from heapq import heapify, heappop, heappush
from zoneinfo import ZoneInfo

from rotator.core.protocol import Retiring
from rotator.core.scheduling.schedule import Schedule, slot

# A forecast ends early after this number of steps, which take a few seconds.
MAX_TURNS = 300_000


class Kind(StrEnum):
    """A kind of event."""

    ROTATE = "rotate"
    REVOKE = "revoke"


CALLS: Mapping[Kind, int] = {
    Kind.ROTATE: 3,  # list with the published secret, create, list with the new one: steps 0, 2, 3 of docs/protocol.md
    Kind.REVOKE: 2,  # list and delete, both with the published secret: step 6
}
"""The number of requests to the provider without failures, if each new secret authenticates at once.

While a new secret does not, rotator lists with it again and again: about 25 times within 150 seconds.
"""


@dataclass(frozen=True, slots=True)
class Member:
    """The present state of an account.

    Attributes:
        schedule: When it rotates.
        grace: How long a replaced secret keeps working.
        rotated_at: When its published secret was created.
        retiring: Its previous secrets that are retiring.
        primary: The account that may act for it; that one rotates after it if both are due together.
    """

    name: str
    schedule: Schedule
    grace: timedelta
    rotated_at: datetime
    retiring: tuple[Retiring, ...] = ()
    primary: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A future rotation or revocation.

    Attributes:
        overridden: A rotation outside its windows or inside a blackout, because max_age says so.
    """

    at: datetime
    account: str
    kind: Kind
    overridden: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """The events from `now` on, before `until`, in order.

    Attributes:
        cut: Whether it ends earlier than requested, because there are too many events.
    """

    now: datetime
    until: datetime
    events: tuple[Event, ...]
    cut: bool


@dataclass(slots=True)
class Load:
    """The events of a period of time, counted.

    Attributes:
        first: Its first day.
        rotations: How many.
        revocations: How many.
        busiest: The first of its hours with the most calls.
        calls: The number of calls in that hour.
        by_hour: For each hour of the day, the calls on the day that has the most in it.
    """

    first: date
    rotations: int
    revocations: int
    busiest: datetime
    calls: int
    by_hour: list[int]


def foresee(
    members: Iterable[Member], *, now: datetime, until: datetime, spacing: timedelta, max_secrets: int
) -> Forecast:
    """Simulate the schedules.

    Args:
        members: The adopted accounts.
        now: The present, aware UTC.
        until: The end of the forecast.
        spacing: The shortest time between the beginnings of two rotations.
        max_secrets: How many secrets an account may have; a full one waits for its next revocation.
    """
    states = {member.name: _State(member, now) for member in sorted(members, key=lambda member: member.name)}
    primaries = {state.member.primary for state in states.values()}
    events = [Event(at, name, Kind.REVOKE) for name, state in states.items() for at in state.revocations]
    # When to look at an account again, primaries last, then since when it has been due: the order stays fair.
    queue = [
        (due_at, name in primaries, due_at, name)
        for name, state in states.items()
        if (due_at := state.due_at(now)) < until
    ]
    heapify(queue)
    last: datetime | None = None
    turns = 0
    while queue and turns < MAX_TURNS:
        turns += 1
        at, primary, since, name = heappop(queue)
        state = states[name]
        begin = max(slot(at, last, spacing), state.room_at(at, max_secrets))
        due = state.member.schedule.due(name, state.rotated_at, begin)
        if due.at > begin or begin > slot(at, last, spacing):
            again = (due.at, primary, since, name)
        else:
            last = begin
            events += [
                Event(begin, name, Kind.ROTATE, due.overridden),
                Event(begin + state.member.grace, name, Kind.REVOKE),
            ]
            state.rotate(begin)
            due_at = state.due_at(begin)
            again = (due_at, primary, due_at, name)
        if again[0] < until:
            heappush(queue, again)
    cut = bool(queue)
    until = min(until, queue[0][0]) if cut else until
    return Forecast(
        now, until, tuple(sorted((event for event in events if event.at < until), key=lambda event: event.at)), cut
    )


class _State:
    """An account in the course of the forecast."""

    def __init__(self, member: Member, now: datetime) -> None:
        self.member = member
        self.rotated_at = member.rotated_at
        self.revocations = [max(entry.not_before, now) for entry in member.retiring]

    def due_at(self, now: datetime) -> datetime:
        return self.member.schedule.due(self.member.name, self.rotated_at, now).at

    def room_at(self, at: datetime, max_secrets: int) -> datetime:
        """Return when it has room for one more secret: at `at` or earlier if it has room then."""
        return at if len(self.revocations) + 1 < max_secrets else sorted(self.revocations)[1 - max_secrets]

    def rotate(self, at: datetime) -> None:
        self.rotated_at = at
        self.revocations = [gone for gone in self.revocations if gone > at] + [at + self.member.grace]


def loads(forecast: Forecast, zone: ZoneInfo, *, monthly: bool = False) -> list[Load]:
    """The days (or months) that hold anything, by the clock and calendar of a time zone."""
    found: dict[date, Load] = {}
    for hour, calls in hours(forecast, zone).items():
        local = hour.astimezone(zone)
        load = found.setdefault(
            _first(local, monthly=monthly), Load(_first(local, monthly=monthly), 0, 0, hour, calls, [0] * 24)
        )
        load.by_hour[local.hour] = max(load.by_hour[local.hour], calls)
        if calls > load.calls:
            load.busiest = hour
            load.calls = calls
    for event in forecast.events:
        load = found[_first(event.at.astimezone(zone), monthly=monthly)]
        load.rotations += event.kind is Kind.ROTATE
        load.revocations += event.kind is Kind.REVOKE
    return list(found.values())


def hours(forecast: Forecast, zone: ZoneInfo) -> dict[datetime, int]:
    """How many calls begin in each hour that has any, in order; hours begin when the clock of the zone says so."""
    calls: Counter[datetime] = Counter()
    for event in forecast.events:
        local = event.at.astimezone(zone)
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        calls[event.at - past] += CALLS[event.kind]
    return dict(calls)


def busiest_account(forecast: Forecast) -> tuple[str, datetime, int] | None:
    """Return the account that needs the most requests in one hour, that hour and their number; None without events.

    The provider can limit the requests of each key per hour.
    """
    calls: Counter[tuple[str, datetime]] = Counter()
    for event in forecast.events:
        hour = event.at.replace(minute=0, second=0, microsecond=0)
        calls[event.account, hour] += CALLS[event.kind]
    if not calls:
        return None
    (account, hour), most = max(calls.items(), key=lambda item: item[1])
    return account, hour, most


def _first(local: datetime, *, monthly: bool) -> date:
    return local.date().replace(day=1) if monthly else local.date()
