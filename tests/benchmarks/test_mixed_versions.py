"""The judge of two versions that meet: a field that is lost is found. `make mixed-versions` runs them."""

from typing import Any

import pytest

from benchmarks.mixed_versions import lost_fields

NEWS = {"news7": [1]}
JOURNAL: dict[str, Any] = {
    "current_id": {"id": "a", "learned": "answered"} | NEWS,
    "retiring": [{"id": "b", "not_before": "2026-01-01T00:00:00Z"} | NEWS],
    "attempts": 0,
} | NEWS
WITHOUT = {"id": "b", "not_before": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        (JOURNAL, []),
        ({name: value for name, value in JOURNAL.items() if name != "news7"}, ["news7"]),
        ({name: value for name, value in JOURNAL.items() if name != "attempts"}, ["attempts"]),
        (JOURNAL | {"current_id": {"id": "a", "learned": "answered"}}, ["news7 of a"]),
        (JOURNAL | {"current_id": {"id": "c", "learned": "answered"}}, []),
        (JOURNAL | {"retiring": [WITHOUT]}, ["news7 of b"]),
        (JOURNAL | {"retiring": []}, []),
    ],
    ids=["same", "unknown", "known", "identity", "replaced", "retiring", "revoked"],
)
def test_lost_fields_are_found_at_each_level(after: dict[str, Any], lost: list[str]) -> None:
    assert lost_fields(JOURNAL, after) == lost


def test_lost_fields_accepts_an_id_without_fields() -> None:
    assert lost_fields(JOURNAL | {"current_id": "a"}, JOURNAL | {"current_id": {"id": "a"}}) == []
