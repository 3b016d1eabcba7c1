"""Schedules that the tests begin with: built, arbitrary, and an oracle that examines each minute."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from rotator.core.scheduling import Blackout, Schedule, Window, cron_gaps

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
ZONES = (ZoneInfo("UTC"), BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Africa/Casablanca"))
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
NOTHING = timedelta()


def every(interval: timedelta, zone: ZoneInfo = BERLIN, *windows: str, **more: object) -> Schedule:
    return built(interval, None, zone, *windows, **more)


def by_cron(cron: str, zone: ZoneInfo = BERLIN, *windows: str, **more: object) -> Schedule:
    return built(None, cron, zone, *windows, **more)


def built(interval: timedelta | None, cron: str | None, zone: ZoneInfo, *windows: str, **more: object) -> Schedule:
    blackouts = tuple(Blackout.parse(str(text)) for text in more.pop("blackouts", ()))  # type: ignore[attr-defined]
    schedule = Schedule(interval, cron, zone, tuple(Window.parse(text) for text in windows), blackouts, *more.values())  # type: ignore[arg-type]
    assert set(more) <= {"max_age"}
    return schedule


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> datetime:
    """What the clock shows there, as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def due(schedule: Schedule, rotated_at: datetime, now: datetime | None = None) -> datetime:
    answer = schedule.due("shop", rotated_at, now or rotated_at)
    assert answer.at.tzinfo is UTC
    assert not answer.overridden
    return answer.at


@lru_cache(maxsize=100_000)
def first(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """The first minute at which the clock shows that time or a later one; no clock is changed by more than an hour."""
    wall = datetime.combine(day, time()) + minutes * MINUTE
    instant = wall.replace(tzinfo=zone).astimezone(UTC) - HOUR
    while instant.astimezone(zone).replace(tzinfo=None) < wall:
        instant += MINUTE
    return instant


def is_open(schedule: Schedule, instant: datetime) -> bool:
    zone = schedule.timezone
    today = instant.astimezone(zone).date()
    if any(blackout.covers(today) for blackout in schedule.blackouts):
        return False
    return not schedule.windows or any(
        first(day, window.begin, zone) <= instant < first(day, window.end, zone)
        for day in (today - DAY, today)
        for window in schedule.windows
        if day.weekday() in window.days
    )


# A change to or from DST of each zone, a leap day, the end of a year; and any time at all.
ODD = [
    at("2026-03-29T01:30"), at("2026-10-25T01:30"), at("2026-03-08T01:30", NEW_YORK), at("2026-11-01T00:30", NEW_YORK),
    at("2026-04-05T01:00", ZONES[3]), at("2026-10-04T01:30", ZONES[3]), at("2026-02-15T01:30", ZONES[4]),
    at("2026-03-22T01:30", ZONES[4]), at("2028-02-29T12:00"), at("2026-12-31T23:30"),
]  # fmt: skip
instants = st.one_of(
    st.builds(lambda odd, off: odd + off, st.sampled_from(ODD), st.timedeltas(-2 * DAY, 2 * DAY)),
    st.datetimes(datetime(2024, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
clocks = st.integers(0, 24 * 60 - 1)
windows = st.builds(
    lambda days, begin, length: Window(days, begin, begin + length),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.one_of(clocks, st.integers(0, 4 * 60)),  # the hours in which clocks are changed are the interesting ones
    st.integers(1, 24 * 60),
)
blackouts = st.one_of(
    st.builds(
        lambda first, days: Blackout(*((day.year, day.month, day.day) for day in (first, first + days * DAY))),
        st.dates(date(2025, 1, 1), date(2030, 1, 1)),
        st.integers(0, 20),
    ),
    st.builds(
        lambda first, days: Blackout(*((day.month, day.day) for day in (first, first + days * DAY))),
        st.dates(date(2028, 1, 1), date(2028, 12, 31)),
        st.integers(0, 20),
    ),
)
CRONS = ("0 3 1 * *", "30 2 * * *", "*/20 1-3 * * sat,sun", "59 23 31 12 *", "0 0 29 2 *", "15 1 1-7 * mon")


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    interval = draw(st.one_of(st.none(), st.timedeltas(HOUR, 90 * DAY)))
    cron = None if interval else draw(st.sampled_from(CRONS))
    gaps = (interval, interval) if interval else ((found := cron_gaps(cron or "")).shortest, found.longest)
    assert gaps[0]
    assert gaps[1]
    max_age = draw(st.one_of(st.none(), st.timedeltas(gaps[1], gaps[1] + 30 * DAY)))
    return Schedule(
        interval,
        cron,
        draw(st.sampled_from(ZONES)),
        tuple(draw(st.lists(windows, max_size=3))),
        tuple(draw(st.lists(blackouts, max_size=3))),
        max_age,
        gaps[0] * draw(st.sampled_from([0.0, 0.1, 0.99])),
    )
