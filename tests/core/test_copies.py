"""Changed copies of frozen dataclasses."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given

from rotator.core.copies import replace
from rotator.core.protocol import Journal, Observation
from tests.core.protocol.arbitrary import journals_like
from tests.core.protocol.situations import AT_REST, NOW, seen

CHANGES: dict[type, dict[str, Any]] = {
    Journal: {"rotated_at": NOW, "unknown_ids": frozenset({"x"}), "candidate": None},
    Observation: {"listing": None, "revoked": frozenset({"x"})},
}


@given(journal=journals_like(AT_REST))
def test_replace_copies_every_field(journal: Journal) -> None:
    assert replace(journal) == journal
    assert replace(journal) is not journal


@pytest.mark.parametrize("value", [AT_REST, seen("a")], ids=lambda value: type(value).__name__)
def test_replace_does_as_the_standard_library(value: Any) -> None:
    before = repr(value)
    changes = CHANGES[type(value)]
    assert replace(value, **changes) == dataclasses.replace(value, **changes)
    assert repr(value) == before


def test_replace_refuses_an_unknown_field() -> None:
    with pytest.raises(KeyError, match="colour"):
        replace(AT_REST, colour="red")  # type: ignore[call-arg]
