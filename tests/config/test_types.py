"""Durations are read as they are written, and written as they are read."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.config import (
    format_duration,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("50ms", timedelta(milliseconds=50)),
        ("1m1s1ms", timedelta(minutes=1, seconds=1, milliseconds=1)),
        ("90s", timedelta(seconds=90)),
        ("0", timedelta()),
        (0, timedelta()),
        (timedelta(hours=3), timedelta(hours=3)),
    ],
)
def test_parse_duration_reads_combined_units(text: object, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "30", 30, 1.5, None, True, False, "-1s", "1 h", "1h ", "1H", "1.5h", "h", "1h30", "30days", "1s\n", [], "٣s"],
)
def test_parse_duration_refuses_other_values(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3661d", "999999999999999d", "9" * 400 + "ms"])
def test_parse_duration_refuses_more_than_ten_years(text: str) -> None:
    with pytest.raises(ValueError, match="longer than ten years"):
        parse_duration(text)


@given(st.integers(0, 3660 * 86_400_000))
def test_parse_duration_reads_formatted_durations(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "1m30s"), (86_400 * 30, "30d"), (0.05, "50ms")])
def test_format_duration_leaves_out_zero_units(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text
