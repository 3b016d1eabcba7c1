"""Cron lines: read as in a crontab, refused, and the shortest and longest time between two."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.core.scheduling import cron_gaps
from tests.core.scheduling.schedules import BERLIN, DAY, HOUR, MINUTE, ZONES, at, by_cron, clocks, due, first, instants


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
