"""Windows and blackouts: their syntax, the hours that they open, and around a change of the clock."""

from datetime import date

import pytest

from rotator.core.scheduling import Blackout, Window
from tests.core.scheduling.schedules import BERLIN, DAY, HOUR, NEW_YORK, SECOND, at, due, every, is_open


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
def test_window_beginning_in_dst_gap_opens_after_gap(minute: int) -> None:
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
