"""Facts of a run besides the journal: nothing by default, and which document is recorded."""

from dataclasses import fields
from typing import Any

import pytest

from rotator.core.protocol import Journal, Observation, Published, Version, is_recorded, is_version
from rotator.core.protocol.observation import published_with_candidate
from tests.core.protocol.situations import AT_REST, LATER, NEW, NOW, OLD, PREPARED, published


@pytest.mark.parametrize(
    ("journal", "document", "expected"),
    [
        (Journal(published_version=1), Published(version=1, written_at=NOW), True),
        (Journal(published_version=1, published_at=NOW), Published(version=1), True),
        (Journal(published_version=1, published_at=NOW), Published(version=1, written_at=NOW), True),
        (Journal(published_version=1, published_at=LATER), Published(version=1, written_at=NOW), False),
        (Journal(published_version=1), Published(version=2), False),
        (Journal(published_version=1, published_field="a"), Published(version=1), True),
        (Journal(published_version=1), Published(version=1, field="a"), True),
        (Journal(published_version=1, published_field="a"), Published(version=1, field="a"), True),
        (Journal(published_version=1, published_field="a"), Published(version=1, field="b"), False),
        (Journal(published_version=1, published_path="a"), Published(version=1), True),
        (Journal(published_version=1), Published(version=1, path="a"), True),
        (Journal(published_version=1, published_path="a"), Published(version=1, path="a"), True),
        (Journal(published_version=1, published_path="a"), Published(version=1, path="b"), False),
    ],
)
def test_document_is_recorded_by_version_time_and_place(journal: Journal, document: Published, expected: bool) -> None:
    assert is_recorded(journal, document) is expected


VERSION = Version(1, NOW, "apps/shop", "api_secret")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, True),
        ({"version": 2}, False),
        ({"written_at": LATER}, False),
        ({"written_at": None}, False),
        ({"path": "apps/other"}, False),
        ({"field": "password"}, False),
    ],
)
def test_version_is_recognized_by_number_time_and_place(facts: dict[str, Any], expected: bool) -> None:
    known: dict[str, Any] = {"version": 1, "written_at": NOW, "path": "apps/shop", "field": "api_secret"}
    assert is_version(VERSION, Published(**(known | facts))) is expected


@pytest.mark.parametrize(
    ("journal", "facts", "expected"),
    [
        (PREPARED, {}, "c"),
        (PREPARED, {"version": 1}, None),
        (PREPARED, {"version": 3}, None),
        (PREPARED, {"secret_id": None}, None),
        (PREPARED, {"secret_id": "a"}, None),
        (PREPARED, {"secret": OLD}, None),
        (AT_REST, {"secret": None}, None),
    ],
)
def test_candidates_id_is_in_its_first_version(journal: Journal, facts: dict[str, Any], expected: str | None) -> None:
    known: dict[str, Any] = {"version": 2, "secret": NEW, "secret_id": "c"}
    assert published_with_candidate(journal, Published(**(known | facts))) == expected


def test_observation_knows_nothing_by_default() -> None:
    fresh = Observation(Published())
    facts = [getattr(fresh, field.name) for field in fields(Observation)[1:]]
    assert not any(facts)
    assert (dict(fresh.created), fresh.via) == ({}, None)
    document = Published()
    assert document.version == 0
    assert [getattr(document, field.name) for field in fields(Published)[1:]] == [None] * 6 + [False, None, None, None]
    assert published().version == 1
