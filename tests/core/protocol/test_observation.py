"""Facts of a run besides the journal: nothing by default, and which versions the journal speaks of."""

from dataclasses import fields, replace
from typing import Any

import pytest

from rotator.core.protocol import (
    Identity,
    Journal,
    Learned,
    Observation,
    Published,
    Publishing,
    Retiring,
    Version,
    answered_in,
    is_recorded,
    is_version,
)
from rotator.core.protocol.observation import published_with_candidate, recorded_version
from tests.core.protocol.situations import AT_REST, LATER, NEW, NOW, OLD, PREPARED, answered, published


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


def test_published_version_is_none_when_incomplete() -> None:
    journal = speaking_of(AT_REST, VERSION)
    assert recorded_version(journal) == VERSION
    assert recorded_version(replace(journal, published_at=None)) is None
    assert recorded_version(replace(journal, published_path=None)) is None
    assert recorded_version(replace(journal, published_field=None)) is None


def speaking_of(journal: Journal, version: Version) -> Journal:
    return replace(
        journal,
        published_version=version.number,
        published_at=version.written_at,
        published_path=version.path,
        published_field=version.value_field,
    )


def test_journal_proves_the_values_of_answered_ids() -> None:
    earlier = replace(VERSION, number=2)
    entries = (
        Retiring("r", NOW, identity=answered("r"), published_in=earlier),
        Retiring("e", NOW, identity=Identity("e", Learned.ELIMINATED), published_in=earlier),
        Retiring("n", NOW, identity=answered("n")),
        Retiring("o", NOW, published_in=earlier),
        Retiring("z", NOW, identity=Identity(None, Learned.ANSWERED), published_in=earlier),
    )
    journal = speaking_of(replace(AT_REST, retiring=entries), VERSION)
    assert answered_in(journal) == {"b": VERSION, "r": earlier}
    marked = Publishing(1, Retiring("m", NOW, identity=answered("m"), published_in=earlier))
    assert answered_in(replace(journal, publishing=marked, retiring=())) == {"b": VERSION, "m": earlier}
    assert answered_in(replace(journal, publishing=Publishing(1), current=None, retiring=())) == {}
    assert answered_in(AT_REST) == {}


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
    known = {name: value for name in (field.name for field in fields(Published)) if (value := getattr(document, name))}
    assert known == {}
    assert published().version == 1
