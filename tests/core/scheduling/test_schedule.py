"""When a rotation is due: never early, never late without a reason, the same on every machine, also on odd days."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.core.scheduling import Blackout, Due, Schedule, Window, cron_gaps, slot

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


# --- an oracle that goes minute by minute --------------------------------------------------------------------


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


# --- arbitrary schedules -------------------------------------------------------------------------------------

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


ages = st.one_of(st.timedeltas(NOTHING, 120 * DAY), st.timedeltas(NOTHING, 1500 * DAY))


def ideal(schedule: Schedule, rotated_at: datetime) -> datetime:
    """When it would be due without windows and blackouts."""
    return due(replace(schedule, windows=(), blackouts=(), max_age=None), rotated_at)


@settings(max_examples=150)
@given(schedules(), instants, ages, st.integers(0, 10**6))
@example(every(7 * DAY, BERLIN, "sun 02:00-03:00"), at("2026-03-20T12:00"), 9 * DAY, 1)
@example(every(HOUR, BERLIN, "sun 02:15-02:45"), at("2026-10-25T00:00"), 3 * HOUR, 1)
def test_due_is_first_permitted_instant_or_marked_overridden(
    schedule: Schedule, rotated_at: datetime, age: timedelta, sample: int
) -> None:
    now = rotated_at + age
    answer = schedule.due("shop", rotated_at, now)
    start, limit = max(ideal(schedule, rotated_at), now), rotated_at + (schedule.max_age or 10**4 * DAY)
    assert answer.at >= now
    assert answer.at <= max(limit, now)
    assert answer.overridden is not is_open(schedule, answer.at)
    if answer.overridden:
        assert answer.at >= limit
    if answer.at > start:
        between = start + (answer.at - start) * (sample / 10**6)
        for closed in (start, between, answer.at - timedelta(microseconds=1)):
            assert closed >= answer.at or not is_open(schedule, closed), "it could have begun earlier"
    elif answer.at < start:
        assert answer.at == max(limit, now)


@given(schedules(), instants, ages, ages)
def test_due_never_moves_earlier_while_time_passes(
    schedule: Schedule, rotated_at: datetime, age: timedelta, later: timedelta
) -> None:
    now = rotated_at + age
    answer = schedule.due("shop", rotated_at, now)
    assert schedule.due("shop", rotated_at, now + later).at >= answer.at
    assert schedule.due("shop", rotated_at, answer.at) == answer
    halfway = now + (answer.at - now) / 2
    assert schedule.due("shop", rotated_at, halfway) == answer, "whoever asks while waiting is told the same"


@settings(max_examples=60)
@given(schedules(), instants, st.text(min_size=1, max_size=20))
def test_jitter_comes_before_an_interval_and_after_cron(schedule: Schedule, rotated_at: datetime, name: str) -> None:
    schedule = replace(schedule, windows=(), blackouts=(), max_age=None)
    exact = due(replace(schedule, jitter=NOTHING), rotated_at)
    moved = schedule.due(name, rotated_at, rotated_at).at
    early, late = (schedule.jitter, NOTHING) if schedule.every else (NOTHING, schedule.jitter)
    assert exact - early <= moved <= exact + late
    assert not schedule.jitter or abs(moved - exact) < schedule.jitter
    if schedule.every:
        assert moved - rotated_at >= schedule.shortest()
        assert moved - rotated_at <= schedule.every


# --- intervals and jitter ------------------------------------------------------------------------------------


def test_interval_counts_exactly_from_the_last_rotation() -> None:
    rotated_at = datetime(2026, 3, 28, 2, 30, 0, 1, UTC)
    assert due(every(30 * DAY), rotated_at) == rotated_at + 30 * DAY
    assert due(every(30 * DAY), rotated_at.astimezone(BERLIN), rotated_at) == rotated_at + 30 * DAY


def test_overdue_rotation_is_due_now() -> None:
    rotated_at = at("2026-01-01T00:00")
    assert due(every(30 * DAY), rotated_at, rotated_at + 300 * DAY) == rotated_at + 300 * DAY


def test_shortest_subtracts_the_jitter() -> None:
    assert Schedule(30 * DAY, None, BERLIN, jitter=6 * HOUR).shortest() == 30 * DAY - 6 * HOUR
    assert Schedule(None, "0 3 1 * *", BERLIN, jitter=6 * HOUR).shortest() == 28 * DAY - 6 * HOUR


def shifts(names: list[str], rotated_at: datetime) -> list[float]:
    """What part of its jitter each account's rotation is moved by."""
    schedule = Schedule(30 * DAY, None, BERLIN, jitter=6 * HOUR)
    return [(rotated_at + 30 * DAY - schedule.due(name, rotated_at, rotated_at).at) / (6 * HOUR) for name in names]


@pytest.mark.parametrize("rotated_at", [at("2026-01-01T00:00"), datetime(2026, 5, 5, 5, 5, 5, 55, UTC)])
def test_jitter_spreads_a_fleet_evenly(rotated_at: datetime) -> None:
    moved = shifts([f"account-{number}" for number in range(4000)], rotated_at)
    bins = [sum(place <= shift * 20 < place + 1 for shift in moved) for place in range(20)]
    assert sum(bins) == 4000
    # With 19 degrees of freedom an even spread goes beyond 44 once in a thousand times; the names are fixed.
    assert sum((count - 200) ** 2 / 200 for count in bins) < 44


def test_jitter_of_an_account_varies_by_a_quarter() -> None:
    moved = [shifts(["shop"], at("2026-01-01T00:00") + cycle * SECOND)[0] for cycle in range(400)]
    steps = [(shift - moved[0]) % 1 for shift in moved]
    assert len(set(moved)) == len(moved)
    spread = max((step + 0.5) % 1 for step in steps) - min((step + 0.5) % 1 for step in steps)
    assert 0.24 < spread < 0.25


def test_jitter_is_the_same_in_every_version() -> None:
    """Else an upgrade would move each rotation that is planned."""
    schedule = Schedule(30 * DAY, None, BERLIN, jitter=6 * HOUR)
    rotated_at = at("2026-01-01T00:00")
    assert due(schedule, rotated_at) == datetime(2026, 1, 30, 19, 43, 20, 155737, UTC)
    monthly = Schedule(None, "0 3 1 * *", BERLIN, jitter=6 * HOUR)
    assert due(monthly, rotated_at) == datetime(2026, 1, 1, 5, 16, 39, 844263, UTC)


def test_due_is_the_same_for_every_hash_seed() -> None:
    script = (
        "from datetime import UTC, datetime, timedelta; from zoneinfo import ZoneInfo\n"
        "from rotator.core.scheduling import Blackout, Schedule, Window\n"
        "s = Schedule(timedelta(days=30), None, ZoneInfo('Europe/Berlin'), (Window.parse('sat,mon 01:00-05:00'),),"
        " (Blackout.parse('12-24/01-02'),), timedelta(days=40), timedelta(hours=6))\n"
        "at = datetime(2026, 11, 20, tzinfo=UTC)\n"
        "print([s.due(f'a{n}', at + timedelta(hours=n), at) for n in range(200)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().count(b"Due(") == 200


# --- cron ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "rotated_at", "expected"),
    [
        ("0 3 1 * *", at("2026-01-15T12:00"), at("2026-02-01T03:00")),
        ("0 3 1 * *", at("2026-02-01T03:00"), at("2026-03-01T03:00")),  # strictly after
        ("0 3 1 * *", at("2026-02-01T02:59:59.999999"), at("2026-02-01T03:00")),
        ("0 3 1 * *", at("2026-12-31T23:59"), at("2027-01-01T03:00")),
        ("0 0 29 2 *", at("2026-01-01T00:00"), at("2028-02-29T00:00")),
        ("0 0 29 2 *", at("2028-02-29T00:00"), at("2032-02-29T00:00")),
        ("0 12 * * 7", at("2026-01-01T00:00"), at("2026-01-04T12:00")),  # Sunday is 0 and 7
        ("0 12 13 * 5", at("2026-02-01T00:00"), at("2026-02-06T12:00")),  # either of two restricted days
        ("0 2 * * *", at("2026-03-28T12:00"), at("2026-03-29T03:00")),  # in the gap: right after it
        ("30 2 * * *", at("2026-03-28T12:00"), at("2026-03-29T03:00")),
        ("30 2 * * *", at("2026-03-29T03:00"), at("2026-03-30T02:30")),
        ("30 2 * * *", at("2026-10-24T12:00"), at("2026-10-25T02:30")),  # shown twice: at the first
        ("30 2 * * *", at("2026-10-25T02:30"), at("2026-10-26T02:30")),
        ("30 2 * * *", at("2026-10-25T02:15", fold=1), at("2026-10-26T02:30")),
        ("*/30 * * * *", at("2026-10-25T02:30"), at("2026-10-25T02:00", fold=1)),  # by the hour: real time
        ("*/30 * * * *", at("2026-03-29T01:30"), at("2026-03-29T03:00")),
    ],
)
def test_cron_line_is_due_as_in_crontab(cron: str, rotated_at: datetime, expected: datetime) -> None:
    assert due(by_cron(cron), rotated_at) == expected


@given(clocks, st.sampled_from(ZONES), instants)
@example(150, BERLIN, at("2026-10-25T02:15", fold=1))
@example(135, ZONES[3], at("2026-10-03T20:00"))
def test_daily_cron_is_due_at_next_first_occurrence(minutes: int, zone: ZoneInfo, rotated_at: datetime) -> None:
    today = rotated_at.astimezone(zone).date()
    expected = min(fire for days in range(-1, 3) if (fire := first(today + days * DAY, minutes, zone)) > rotated_at)
    assert due(by_cron(f"{minutes % 60} {minutes // 60} * * *", zone), rotated_at) == expected


@pytest.mark.parametrize(
    ("cron", "shortest", "longest"),
    [
        ("* * * * *", MINUTE, MINUTE),
        ("0 3 * * *", DAY, DAY),
        ("0 3 1 * *", 28 * DAY, 31 * DAY),
        ("0 3 * * mon-fri", DAY, 3 * DAY),
        ("0 0,23 * * *", HOUR, 23 * HOUR),
        ("1,59 0,23 * * *", 2 * MINUTE, 22 * HOUR + 2 * MINUTE),
        ("0 0 1,29 2,3 *", DAY, 309 * DAY),
        ("0 0 * 1,3-12 *", DAY, 30 * DAY),  # over the February of a leap year
        ("0 0 29 2 *", 1461 * DAY, 1461 * DAY),
        ("0 0 29 2 */7", 28 * 365 * DAY + 7 * DAY, 28 * 365 * DAY + 7 * DAY),  # only if it is a Sunday
    ],
)
def test_cron_gaps_match_the_calendar(cron: str, shortest: timedelta, longest: timedelta) -> None:
    gaps = cron_gaps(cron)
    assert (gaps.shortest, gaps.longest) == (shortest, longest)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("@daily", "is not five fields such as"),
        ("0 0 3 1 * *", "is not five fields such as"),
        ("", "is not five fields such as"),
        ("61 3 1 * *", "is not a cron line: bad minute"),
        ("0 3 32 * *", "is not a cron line: bad day-of-month"),
        ("0 3 30 2 *", "is not a cron line: bad day-of-month"),
        ("0 3 * * MON-", "is not a cron line: bad day-of-week"),
        ("0 0 30 2 */7", "is not a cron line: bad day-of-month"),
        ("0 0 */30 2 mon#5", "is not a cron line: no day is ever meant"),
    ],
)
def test_wrong_cron_line_is_refused(cron: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        cron_gaps(cron)


@given(st.lists(st.text("0123456789*/-,#LWMONsat", min_size=1, max_size=6), min_size=5, max_size=5))
def test_any_cron_line_is_read_or_refused(fields: list[str]) -> None:
    try:
        gaps = cron_gaps(" ".join(fields))
    except ValueError:
        return
    assert MINUTE <= gaps.shortest <= gaps.longest


# --- windows and blackouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("mon-fri 02:00-05:00", Window(frozenset(range(5)), 120, 300)),
        ("sat,sun 00:00-24:00", Window(frozenset({5, 6}), 0, 1440)),
        ("22:00-02:00", Window(frozenset(range(7)), 1320, 1560)),
        ("fri-mon,wed 23:59-00:00", Window(frozenset({4, 5, 6, 0, 2}), 1439, 1440)),
        ("thu  00:01-00:00", Window(frozenset({3}), 1, 1440)),
    ],
)
def test_window_is_parsed(text: str, window: Window) -> None:
    assert Window.parse(text) == window


@pytest.mark.parametrize(
    "text",
    ["", "mon", "02:00", "2:00-5:00", "02:00-25:00", "24:00-02:00", "02:60-03:00", "mon 02:00-05:00 ", "02:00 - 05:00",
     "monday 02:00-05:00", "mon, tue 02:00-05:00", "mon-fri-sun 02:00-03:00", "\u06602:00-03:00", "MON 02:00-05:00"],
)  # fmt: skip
def test_window_with_wrong_syntax_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a window such as"):
        Window.parse(text)


def test_window_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^ends when it begins"):
        Window.parse("02:00-02:00")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("2026-12-24", ["2026-12-24"], ["2026-12-23", "2026-12-25", "2027-12-24"]),
        ("2026-12-20/2027-01-02", ["2026-12-20", "2026-12-31", "2027-01-02"], ["2026-12-19", "2027-01-03"]),
        ("12-25", ["2026-12-25", "2030-12-25"], ["2026-12-24"]),
        ("12-24/01-02", ["2026-12-24", "2027-01-02", "2026-01-01"], ["2026-12-23", "2027-01-03", "2026-06-30"]),
        ("02-29", ["2028-02-29"], ["2028-02-28", "2028-03-01", "2027-02-28", "2027-03-01"]),
        ("02-29/03-01", ["2028-02-29", "2027-03-01"], ["2027-02-28", "2027-03-02"]),
        ("2028-02-29", ["2028-02-29"], ["2028-03-01"]),
        ("01-01/12-31", ["2026-01-01", "2028-02-29", "2026-12-31"], []),
    ],
)  # fmt: skip
def test_blackout_covers_its_days_only(text: str, inside: list[str], outside: list[str]) -> None:
    blackout = Blackout.parse(text)
    assert [day for day in inside if not blackout.covers(date.fromisoformat(day))] == []
    assert [day for day in outside if blackout.covers(date.fromisoformat(day))] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("24.12.", "is not a blackout such as"),
        ("2026-12-24/12-26", "is not a blackout such as"),
        ("2026-12-24 ", "is not a blackout such as"),
        ("0926-12-24", "is not a blackout such as"),
        ("2027-02-29", "has a day that no calendar has"),
        ("02-30", "has a day that no calendar has"),
        ("01-01/13-01", "has a day that no calendar has"),
        ("2026-12-24/2026-12-23", "ends before it begins"),
    ],
)
def test_wrong_blackout_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        Blackout.parse(text)


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        ("mon-fri 02:00-05:00", "2026-11-20T04:59:59", "2026-11-20T04:59:59"),
        ("mon-fri 02:00-05:00", "2026-11-20T05:00", "2026-11-23T02:00"),  # over the week-end
        ("22:00-02:00", "2026-11-20T01:59", "2026-11-20T01:59"),
        ("fri 22:00-02:00", "2026-11-21T01:00", "2026-11-21T01:00"),  # Saturday's morning is part of Friday's window
        ("fri 22:00-02:00", "2026-11-20T01:00", "2026-11-20T22:00"),  # and Friday's is not
        ("fri 22:00-02:00", "2026-11-21T02:00", "2026-11-27T22:00"),
        ("sun 22:00-02:00", "2026-11-23T01:00", "2026-11-23T01:00"),
        ("sat,sun 00:00-24:00", "2026-11-22T23:59:59", "2026-11-22T23:59:59"),
        ("01:00-02:00", "2026-12-31T12:00", "2027-01-01T01:00"),
        # On 29 March the clock goes from 02:00 to 03:00 in Berlin.
        ("sun 02:00-03:00", "2026-03-28T12:00", "2026-04-05T02:00"),  # there is no such hour
        ("02:30-04:00", "2026-03-29T00:00", "2026-03-29T03:00"),
        ("01:00-02:30", "2026-03-29T01:59:59", "2026-03-29T01:59:59"),
        ("01:00-02:30", "2026-03-29T03:00", "2026-03-30T01:00"),
        # On 25 October it goes from 03:00 back to 02:00.
        ("02:15-02:45", "2026-10-25T00:00", "2026-10-25T02:15"),
        ("02:15-02:45", "2026-10-25T02:45", "2026-10-26T02:15"),  # the second time does not count
        ("01:00-02:30", "2026-10-25T02:30", "2026-10-26T01:00"),
    ],
)
def test_due_is_within_a_window(window: str, now: str, expected: str) -> None:
    assert due(every(HOUR, BERLIN, window), at(now) - 2 * DAY, at(now)) == at(expected)


@pytest.mark.parametrize("minute", range(60))
def test_window_that_begins_in_a_gap_opens_after_it(minute: int) -> None:
    """On 29 March the clock goes from 02:00 to 03:00 in Berlin."""
    schedule = every(HOUR, BERLIN, f"02:{minute:02}-04:00")
    now = at("2026-03-29T00:00")
    assert due(schedule, now - DAY, now) == at("2026-03-29T03:00")


def test_window_is_an_hour_longer_around_repeated_hour() -> None:
    schedule = every(HOUR, BERLIN, "02:00-05:00")
    second = at("2026-10-25T02:30", fold=1)
    assert due(schedule, second - DAY, second) == second
    assert is_open(schedule, second)


def test_due_skips_blackout_days_in_the_time_zone() -> None:
    schedule = every(HOUR, NEW_YORK, blackouts=["12-24/12-26"])
    eve = at("2026-12-23T23:59:59", NEW_YORK)
    assert due(schedule, eve - DAY, eve) == eve
    assert due(schedule, eve - DAY, eve + SECOND) == at("2026-12-27T00:00", NEW_YORK)


def test_blackout_removes_its_days_of_an_overnight_window() -> None:
    friday = every(HOUR, BERLIN, "fri 22:00-02:00", blackouts=["2026-11-20"])
    saturday = every(HOUR, BERLIN, "fri 22:00-02:00", blackouts=["2026-11-21"])
    now = at("2026-11-20T12:00")
    assert due(friday, now - DAY, now) == at("2026-11-21T00:00")
    assert due(saturday, now - DAY, now) == at("2026-11-20T22:00")
    assert due(saturday, now - DAY, at("2026-11-21T00:00")) == at("2026-11-27T22:00")


# --- max_age -------------------------------------------------------------------------------------------------


def test_due_overrides_windows_at_max_age() -> None:
    schedule = every(30 * DAY, BERLIN, "sun 02:00-05:00", max_age=32 * DAY)
    rotated_at = at("2026-10-02T12:00")  # 30 days later is a Sunday's noon
    assert schedule.due("shop", rotated_at, rotated_at) == Due(rotated_at + 32 * DAY, overridden=True)
    late = rotated_at + 33 * DAY
    assert schedule.due("shop", rotated_at, late) == Due(late, overridden=True)
    opening = at("2026-11-08T02:00")
    assert schedule.due("shop", rotated_at, opening) == Due(opening, overridden=False)


def test_max_age_beyond_the_next_opening_changes_nothing() -> None:
    schedule = every(30 * DAY, BERLIN, "sun 02:00-05:00", max_age=45 * DAY)
    assert due(schedule, at("2026-10-02T12:00")) == at("2026-11-08T02:00")


def test_due_uses_a_window_opening_before_max_age() -> None:
    schedule = every(30 * DAY, BERLIN, "02:00-05:00", max_age=30 * DAY + 4 * HOUR)
    assert due(schedule, at("2026-05-01T23:00")) == at("2026-06-01T02:00")


def test_due_is_after_a_blackout_of_years_before_max_age() -> None:
    schedule = every(30 * DAY, BERLIN, blackouts=["2027-01-01/2030-12-31"], max_age=2000 * DAY)
    assert due(schedule, at("2026-12-15T12:00")) == at("2031-01-01T00:00")


def test_due_uses_a_window_after_a_short_day() -> None:
    """From Saturday 23:30 to Monday 00:15 it is less than a day, because Sunday has 23 hours."""
    schedule = every(30 * DAY, BERLIN, "mon 00:00-01:00", max_age=30 * DAY + 23 * HOUR + 45 * MINUTE)
    assert due(schedule, at("2026-03-28T23:30") - 30 * DAY) == at("2026-03-30T00:00")


def test_max_age_overrides_cron_when_day_is_longer() -> None:
    schedule = by_cron("0 3 * * *", BERLIN, max_age=DAY)
    rotated_at = at("2026-10-24T03:00")
    assert due(schedule, rotated_at) == rotated_at + DAY == at("2026-10-25T03:00") - HOUR


def test_windows_may_never_open_when_max_age_exists() -> None:
    schedule = every(30 * DAY, BERLIN, blackouts=["01-01/12-31"], max_age=40 * DAY)
    rotated_at = at("2026-10-02T12:00")
    assert schedule.due("shop", rotated_at, rotated_at) == Due(rotated_at + 40 * DAY, overridden=True)


# --- what does not fit together ------------------------------------------------------------------------------


def test_schedule_refuses_parts_that_contradict() -> None:
    for interval, cron in ((DAY, "0 3 * * *"), (None, None)):
        with pytest.raises(ValueError, match="every and cron exclude each other"):
            Schedule(interval, cron, BERLIN)
    for jitter in (DAY, -SECOND):
        with pytest.raises(ValueError, match="jitter has to be shorter than every"):
            Schedule(DAY, None, BERLIN, jitter=jitter)
    with pytest.raises(
        ValueError, match="jitter has to be shorter than the shortest time between two rotations by cron"
    ):
        Schedule(None, "0 3 1 * *", BERLIN, jitter=28 * DAY)
    with pytest.raises(ValueError, match="max_age may not be shorter than every"):
        every(30 * DAY, max_age=30 * DAY - SECOND)
    with pytest.raises(
        ValueError, match="max_age may not be shorter than the longest time between two rotations by cron"
    ):
        by_cron("0 3 1 * *", max_age=31 * DAY - SECOND)


@pytest.mark.parametrize(
    ("windows", "blackouts"),
    [
        ([], ["01-01/12-31"]),
        ([], ["03-01/02-28"]),  # open on a 29 February only
        (["sun 02:00-05:00"], ["12-26/12-24"]),  # 25 December is not always a Sunday
        ([], ["2026-01-01/2027-02-05"]),  # 401 days
        (["mon 02:00-05:00"], ["2026-01-01/2027-01-31", "02-01/02-14"]),
        # 400 days until Friday, and a Friday's window that does not reach into Saturday.
        (["fri 02:00-05:00"], ["2026-01-02/2027-02-05"]),
        (["fri 22:00-24:00"], ["2026-01-02/2027-02-05"]),
        # From 1 December 2027 to 11 January 2029, and once more only 28 years later.
        (["mon,wed,thu,sat,sun 02:00-05:00"], ["01-12/11-30", "12-02/01-10"]),
        ([], ["2026-06-01/2026-12-31", "2027-01-01/2027-12-31"]),
    ],
)
def test_schedule_is_refused_without_opening_for_400_days(windows: list[str], blackouts: list[str]) -> None:
    with pytest.raises(ValueError, match="leave no opening for more than 400 days"):
        every(HOUR, BERLIN, *windows, blackouts=blackouts)


@pytest.mark.parametrize(
    ("windows", "blackouts"),
    [
        ([], ["01-02/12-31"]),
        ([], ["2026-01-01/2027-02-04"]),  # 400 days
        (["sun 02:00-05:00"], ["01-09/12-31"]),
        (["fri 22:00-02:00"], ["2026-01-02/2027-02-05"]),  # into the Saturday after 400 days
        (["mon 02:00-05:00"], ["2026-01-01/2027-01-15", "02-01/02-14"]),
        (["tue-sun 02:00-05:00"], ["01-01/02-04", "02-06/12-30"]),  # 400 days from 1 January 2001 on
        ([], ["2026-06-01/2026-12-31", "2028-01-01/2028-12-31"]),
    ],
)
def test_schedule_is_accepted_with_opening_within_400_days(windows: list[str], blackouts: list[str]) -> None:
    schedule = every(HOUR, BERLIN, *windows, blackouts=blackouts)
    for start in ("2025-12-31T12:00", "2026-01-01T00:00", "2027-02-28T12:00"):
        now = at(start)
        answer = due(schedule, now - DAY, now)
        assert answer - now <= 430 * DAY
        assert is_open(schedule, answer)


def test_longest_accepted_wait_ends() -> None:
    """Closed by the calendar until a dated blackout begins, and after it until the next year."""
    schedule = every(HOUR, BERLIN, "02:00-03:00", blackouts=["01-02/12-31", "2026-12-31/2027-12-31"])
    now = at("2026-01-02T00:00")
    assert due(schedule, now - DAY, now) == at("2028-01-01T02:00")


# --- slots ---------------------------------------------------------------------------------------------------


def test_slot_is_free_at_first_then_keeps_spacing() -> None:
    assert slot(ODD[0], None, HOUR) == ODD[0]
    assert slot(ODD[0], ODD[0] - MINUTE, HOUR) == ODD[0] + HOUR - MINUTE
    assert slot(ODD[0], ODD[0] - 2 * HOUR, HOUR) == ODD[0]
