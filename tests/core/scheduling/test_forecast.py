"""What is coming, foretold: nothing that the schedules do not allow, nothing left out, and readable for any fleet."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.core.protocol import Retiring
from rotator.core.scheduling import Blackout, Schedule, Window
from rotator.core.scheduling import forecast as module
from rotator.core.scheduling.forecast import (
    CALLS,
    Event,
    Forecast,
    Kind,
    Member,
    busiest_account,
    foresee,
    hours,
    loads,
)
from testkit.model import World
from tests.core.scheduling.forecasts import (
    BERLIN,
    DAY,
    HOUR,
    MINUTE,
    MONTHLY,
    NIGHTLY,
    NOTHING,
    NOW,
    SECOND,
    UTC_ZONE,
    ahead,
    member,
)


def told(forecast: Forecast) -> list[tuple[timedelta, str, str]]:
    return [(event.at - NOW, event.account, event.kind.value) for event in forecast.events]


# --- what is foretold ----------------------------------------------------------------------------------------


def test_forecast_repeats_each_rotation_and_its_revocation() -> None:
    assert told(ahead([member("shop", 10 * DAY)], 60 * DAY)) == [
        (20 * DAY, "shop", "rotate"),
        (21 * DAY, "shop", "revoke"),
        (50 * DAY, "shop", "rotate"),
        (51 * DAY, "shop", "revoke"),
    ]
    assert not any(event.overridden for event in ahead([member("shop", 10 * DAY)], 60 * DAY).events)


def test_forecast_revokes_retiring_secrets_when_their_time_comes() -> None:
    forecast = ahead([member("a", DAY, MONTHLY, -HOUR), member("b", DAY, MONTHLY, HOUR)], 2 * HOUR)
    assert told(forecast) == [(NOTHING, "a", "revoke"), (HOUR, "b", "revoke")]


def test_overdue_rotations_start_by_due_time_with_spacing() -> None:
    fleet = [member("late", 31 * DAY), member("later", 40 * DAY), member("soon", 30 * DAY - 90 * SECOND)]
    assert told(ahead(fleet, HOUR, spacing=MINUTE)) == [
        (NOTHING, "late", "rotate"),
        (MINUTE, "later", "rotate"),
        (2 * MINUTE, "soon", "rotate"),
    ]


def test_primaries_rotate_last_when_due_together() -> None:
    fleet = [member("a-main", 40 * DAY), member("shop", 40 * DAY, primary="a-main"), member("zoo", 40 * DAY)]
    assert [name for _, name, _ in told(ahead(fleet, HOUR, spacing=SECOND))] == ["shop", "zoo", "a-main"]


def test_full_account_waits_without_delaying_others() -> None:
    fleet = [member("full", 40 * DAY, MONTHLY, HOUR), member("roomy", 35 * DAY)]
    assert told(ahead(fleet, 2 * HOUR, spacing=MINUTE)) == [
        (NOTHING, "roomy", "rotate"),
        (HOUR, "full", "revoke"),
        (HOUR, "full", "rotate"),
    ]
    assert told(ahead(fleet, 2 * HOUR, spacing=MINUTE, max_secrets=3))[0] == (NOTHING, "full", "rotate")


def test_account_rotates_when_its_oldest_secrets_are_revoked() -> None:
    often = replace(MONTHLY, every=12 * HOUR)
    for max_secrets, expected in ((2, [30, 54]), (3, [0, 24, 36, 48]), (4, [0, 12, 24, 36, 48])):
        forecast = ahead([member("shop", DAY, often, 30 * HOUR)], 55 * HOUR, max_secrets=max_secrets)
        assert [at // HOUR for at, _, kind in told(forecast) if kind == "rotate"] == expected


def test_account_without_a_slot_waits_for_next_window() -> None:
    fleet = [member(f"a{number}", 40 * DAY, NIGHTLY) for number in range(4)]
    rotations = [event for event in ahead(fleet, 3 * DAY, spacing=2 * MINUTE).events if event.kind is Kind.ROTATE]
    tonight = datetime(2026, 11, 24, 1, tzinfo=UTC) - NOW
    assert [(event.at - NOW, event.account) for event in rotations] == [
        (tonight, "a0"),
        (tonight + 2 * MINUTE, "a1"),
        (tonight + 4 * MINUTE, "a2"),
        (tonight + DAY, "a3"),
    ]


def test_forecast_marks_rotations_that_max_age_forces() -> None:
    forced = replace(NIGHTLY, max_age=30 * DAY)
    (event, *_) = ahead([member("shop", 40 * DAY, forced)], HOUR).events
    assert event == Event(NOW, "shop", Kind.ROTATE, overridden=True)


def test_forecast_is_cut_when_it_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = [member("a", 10 * DAY), member("b", 11 * DAY)]
    whole = ahead(fleet, 365 * DAY)
    assert not whole.cut
    monkeypatch.setattr(module, "MAX_TURNS", 5)
    part = ahead(fleet, 365 * DAY)
    assert part.cut
    assert part.until < whole.until
    assert part.events == tuple(event for event in whole.events if event.at < part.until)
    assert sum(event.kind is Kind.ROTATE for event in part.events) == 5


def test_forecast_is_whole_when_the_limit_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation at its very end is not part of a forecast."""
    monkeypatch.setattr(module, "MAX_TURNS", 2)
    assert not ahead([member("a", 10 * DAY)], 80 * DAY).cut
    assert not ahead([member("a", 10 * DAY), member("b", 5 * DAY), member("c", NOTHING)], 30 * DAY).cut


def test_forecast_of_frequent_rotations_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_TURNS", module.MAX_TURNS // 30)  # so that it takes no time here
    often = Schedule(SECOND, None, UTC_ZONE)
    forecast = foresee(
        [Member("busy", often, NOTHING, NOW)], now=NOW, until=NOW + 3650 * DAY, spacing=NOTHING, max_secrets=2
    )
    assert forecast.cut
    assert len(forecast.events) <= 2 * module.MAX_TURNS


members = st.builds(
    Member,
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(
        Schedule,
        st.sampled_from([2 * DAY, 7 * DAY, 30 * DAY]),
        st.none(),
        st.sampled_from([UTC_ZONE, BERLIN]),
        st.sampled_from([(), (Window.parse("mon-fri 22:00-02:00"),), (Window.parse("03:00-03:10"),)]),
        st.sampled_from([(), (Blackout.parse("2026-11-24/2026-11-29"),)]),
        st.sampled_from([None, 31 * DAY]),
        st.sampled_from([NOTHING, 6 * HOUR]),
    ),
    st.sampled_from([NOTHING, HOUR, DAY]),
    st.timedeltas(NOTHING, 90 * DAY).map(lambda age: NOW - age),
    st.lists(st.timedeltas(-DAY, DAY).map(lambda delay: Retiring("old", NOW + delay)), max_size=1).map(tuple),
    st.sampled_from([None, "a", "b"]),
)
fleets = st.lists(members, max_size=8, unique_by=lambda member: member.name)


@settings(max_examples=100)
@given(fleets, st.sampled_from([NOTHING, SECOND, 7 * MINUTE]), st.timedeltas(HOUR, 60 * DAY))
def test_forecast_has_every_required_and_only_permitted_events(
    fleet: list[Member], spacing: timedelta, length: timedelta
) -> None:
    forecast = ahead(fleet, length, spacing=spacing)
    assert forecast == ahead(fleet[::-1], length, spacing=spacing), "the order of the file does not matter"
    assert list(forecast.events) == sorted(forecast.events, key=lambda event: event.at)
    assert all(NOW <= event.at < NOW + length for event in forecast.events)
    begins = [event.at for event in forecast.events if event.kind is Kind.ROTATE]
    assert all(after - before >= spacing for before, after in pairwise(begins))
    for one in fleet:
        mine = [event for event in forecast.events if event.account == one.name]
        rotated_at, live = one.rotated_at, 1 + len(one.retiring)
        for event in mine:
            if event.kind is Kind.REVOKE:
                live -= 1
                continue
            due = one.schedule.due(one.name, rotated_at, event.at)
            assert (due.at, due.overridden) == (event.at, event.overridden)
            gone = event.at + one.grace
            assert gone >= forecast.until or Event(gone, one.name, Kind.REVOKE) in mine
            rotated_at, live = event.at, live + 1
            assert live <= 2
        begun = [event.at for event in mine if event.kind is Kind.ROTATE]
        if not spacing and not one.retiring:
            before = [one.rotated_at, *begun]
            expected = [one.schedule.due(one.name, rotated, max(rotated, NOW)).at for rotated in before]
            assert expected[:-1] == begun
            assert expected[-1] >= forecast.until


# --- how much it is ------------------------------------------------------------------------------------------


def counted(request: Callable[..., Any], calls: list[object]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        calls.append(request)
        return request(*args)

    return call


def test_forecast_counts_the_calls_of_a_real_rotation() -> None:
    world = World(grace=HOUR)
    world.provider.add("shopkey", "FirstSecret0001")
    world.publish("FirstSecret0001")
    calls: list[object] = []
    for name in ("list_secrets", "create_secret", "revoke_secret"):
        setattr(world.provider, name, counted(getattr(world.provider, name), calls))
    world.identify()
    world.clock.now += DAY
    for kind in (Kind.ROTATE, Kind.REVOKE):
        calls.clear()
        outcome = world.rotation(fresh_after=world.clock.now if kind is Kind.ROTATE else None).run()
        assert outcome.published is (kind is Kind.ROTATE)
        assert bool(outcome.revoked) is (kind is Kind.REVOKE)
        assert len(calls) == CALLS[kind], calls
        world.clock.now += 2 * HOUR


def happening(*times: tuple[str, Kind], zone: ZoneInfo = BERLIN) -> Forecast:
    instants = [(datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC), kind) for text, kind in times]
    events = tuple(Event(instant, "shop", kind) for instant, kind in instants)
    return Forecast(events[0].at, events[-1].at + SECOND, events, cut=False)


def test_loads_count_days_in_the_time_zone() -> None:
    forecast = happening(
        ("2026-11-23T00:30", Kind.ROTATE),
        ("2026-11-23T23:00", Kind.REVOKE),
        ("2026-11-23T23:59:59", Kind.ROTATE),
        ("2026-11-24T00:00", Kind.REVOKE),
    )
    first, second = loads(forecast, BERLIN)
    assert (first.first, first.rotations, first.revocations) == (date(2026, 11, 23), 2, 1)
    assert (first.busiest.astimezone(BERLIN).hour, first.calls) == (23, 5)
    assert [hour for hour, calls in enumerate(first.by_hour) if calls] == [0, 23]
    assert (second.first, second.rotations, second.revocations, second.calls) == (date(2026, 11, 24), 0, 1, 2)
    (month,) = loads(forecast, BERLIN, monthly=True)
    assert (month.first, month.rotations, month.revocations, month.calls) == (date(2026, 11, 1), 2, 2, 5)
    assert month.by_hour == [3, *[0] * 22, 5], "the day that has the most in that hour"


def test_busiest_hour_is_the_first_with_most_calls() -> None:
    rotations = [(f"2026-11-23T{hour:02}:00", Kind.ROTATE) for hour in (9, 9, 12, 12, 15)]
    (load,) = loads(happening(*rotations), BERLIN)
    assert (load.busiest.astimezone(BERLIN).hour, load.calls) == (9, 6)


def test_busiest_account_is_by_the_hour() -> None:
    """The provider's limit is one for each key."""

    def event(account: str, minute: int, second: float, kind: Kind) -> Event:
        return Event(NOW + minute * MINUTE + second * SECOND, account, kind)

    events = (
        *(event(account, 59, 59, Kind.ROTATE) for account in ("a", "zoo")),
        event("shop", 0, 0, Kind.REVOKE),
        event("shop", 59, 59.999999, Kind.ROTATE),
        event("shop", 60, 0, Kind.REVOKE),
    )
    assert busiest_account(Forecast(NOW, NOW + DAY, events, cut=False)) == ("shop", NOW, 5)
    assert busiest_account(Forecast(NOW, NOW + DAY, (), cut=False)) is None


def test_repeated_hour_counts_as_two_hours() -> None:
    begin = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, and again an hour later
    events = tuple(Event(begin + number * HOUR, "shop", Kind.ROTATE) for number in range(2))
    assert list(hours(Forecast(begin, begin + DAY, events, cut=False), BERLIN).values()) == [3, 3]


def test_hours_begin_on_clock_in_half_hour_zones() -> None:
    forecast = happening(("2026-11-23T10:15:30.000001", Kind.ROTATE), zone=ZoneInfo("Asia/Kolkata"))
    (hour,) = hours(forecast, ZoneInfo("Asia/Kolkata"))
    assert hour == datetime(2026, 11, 23, 4, 30, tzinfo=UTC)
