"""Facts of a run besides the journal: nothing by default, and which document is recorded."""

from dataclasses import fields

import pytest

from rotator.core.protocol import Journal, Observation, Published, is_recorded
from tests.core.protocol.situations import LATER, NOW, published


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


def test_observation_knows_nothing_by_default() -> None:
    fresh = Observation(Published())
    facts = [getattr(fresh, field.name) for field in fields(Observation)[1:]]
    assert not any(facts)
    assert (dict(fresh.created), fresh.via) == ({}, None)
    document = Published()
    assert document.version == 0
    assert [getattr(document, field.name) for field in fields(Published)[1:]] == [None] * 6 + [False, None, None, None]
    assert published().version == 1
