"""When a rotation is due: never early, never late without a reason, the same on every machine, also on odd days."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.core.scheduling import Due, Schedule, slot
from tests.core.scheduling.schedules import (
    BERLIN,
    DAY,
    HOUR,
    MINUTE,
    NOTHING,
    ODD,
    SECOND,
    at,
    by_cron,
    due,
    every,
    instants,
    is_open,
    schedules,
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


def test_due_skips_blackout_of_years_before_max_age() -> None:
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


# --- slots ---------------------------------------------------------------------------------------------------


def test_slot_is_free_at_first_then_keeps_spacing() -> None:
    assert slot(ODD[0], None, HOUR) == ODD[0]
    assert slot(ODD[0], ODD[0] - MINUTE, HOUR) == ODD[0] + HOUR - MINUTE
    assert slot(ODD[0], ODD[0] - 2 * HOUR, HOUR) == ODD[0]


@settings(max_examples=150)
@given(schedules(), st.datetimes(timezones=st.just(UTC)), st.one_of(st.none(), instants))
@example(every(30 * DAY, BERLIN), datetime.max.replace(tzinfo=UTC), None)
@example(every(30 * DAY, BERLIN), datetime.min.replace(tzinfo=UTC), None)
def test_due_is_never_earlier_than_now(schedule: Schedule, rotated_at: datetime, now: datetime | None) -> None:
    """A wrong clock, or a person, can write any date into a journal."""
    assert schedule.due("shop", rotated_at, now or rotated_at).at >= (now or rotated_at)


def test_implausible_dates_are_never_due_or_at_once() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    first = datetime.min.replace(tzinfo=UTC)
    assert every(30 * DAY, BERLIN).due("shop", last, ODD[0]) == Due(last, overridden=False)
    assert every(30 * DAY, BERLIN).due("shop", first, ODD[0]) == Due(ODD[0], overridden=False)
