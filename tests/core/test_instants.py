"""Instants that rotator calculates with."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from rotator.core.instants import is_plausible

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(3000, 1, 1, tzinfo=UTC)
TICK = timedelta.resolution


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), False),
        (FIRST - TICK, False),
        (FIRST, True),
        (END - TICK, True),
        (END, False),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), False),
    ],
)
def test_is_plausible_within_bounds(at: datetime, expected: bool) -> None:
    assert is_plausible(at) is expected
