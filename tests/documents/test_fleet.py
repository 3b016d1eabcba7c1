"""The fleet document: which journals changed, also when it is full, lost or written at the same time."""

from collections.abc import Mapping
from typing import Any

from rotator.documents.fleet import FleetDocument, announce_changes, parse_fleet
from rotator.vault import Document
from testkit.model import Clock, ModelVault

PATH = "rotator/fleet"


def test_changes_name_the_accounts_since_a_number() -> None:
    first = FleetDocument().with_changes(["a"])
    later = first.with_changes(["b", "c"]).with_changes(["c"])
    assert later.changed_since(first.sequence) == frozenset({"b", "c"})
    assert later.changed_since(later.sequence) == frozenset()


def test_more_changes_than_fit_concern_all() -> None:
    vault = ModelVault(Clock())
    before = parse_fleet(vault.read(PATH)).sequence
    assert announce_changes(vault, PATH, (f"key{number}" for number in range(60)))
    full = parse_fleet(vault.read(PATH))
    assert full.changed_since(before) is None
    assert full.with_changes(["key59"]).changed_since(full.sequence) == frozenset({"key59"})


def test_lost_document_concerns_all() -> None:
    before = FleetDocument().with_changes(["a"]).with_changes(["a"])
    for lost in (None, {}, {"sequence": "7", "all_since": 0, "changes": []}):
        assert parse_fleet(Document(1, lost)).changed_since(before.sequence) is None


def test_simultaneous_changes_are_both_announced() -> None:
    vault = ModelVault(Clock())

    class Overtaken:
        """Another command announces its change right before the first write."""

        overtaken = False

        def read(self, path: str, version: int | None = None) -> Document:
            return vault.read(path, version)

        def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
            if not self.overtaken:
                self.overtaken = True
                announce_changes(vault, path, ["other"])
            return vault.write(path, data, cas)

    assert announce_changes(Overtaken(), PATH, ["mine"])
    assert parse_fleet(vault.read(PATH)).changed_since(0) == frozenset({"mine", "other"})
