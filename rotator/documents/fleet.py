"""The fleet document: it tells daemons which journals commands changed. Losing it costs time, nothing else.

The document contains the last changes as (API key, sequence number), newest last. API keys tell which deployment a
change belongs to: two deployments can share a journal prefix. If more changed than the document holds, it says "all".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from rotator.vault import CasConflict, Document, VaultError

# How many changes the document holds.
MOST_CHANGES = 50
# How often the write is tried. After that the daemons' resync finds the change.
_ATTEMPTS = 3
_log = structlog.get_logger()


class Store(Protocol):
    """The part of vault.Vault that the document needs."""

    def read(self, path: str, version: int | None = None) -> Document: ...

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int: ...


@dataclass(frozen=True, slots=True)
class FleetDocument:
    """The content of the document.

    Attributes:
        sequence: The number of the newest change.
        all_since: Every account may have changed with this number; 0: never.
        changes: The changes, by API key.
    """

    sequence: int = 0
    all_since: int = 0
    changes: tuple[tuple[str, int], ...] = ()

    def with_changes(self, api_keys: Iterable[str]) -> "FleetDocument":
        """Return the document with one more change that concerns these accounts."""
        keys = list(dict.fromkeys(api_keys))
        sequence = self.sequence + 1
        kept = [change for change in self.changes if change[0] not in keys] + [(key, sequence) for key in keys]
        overflows = len(kept) > MOST_CHANGES
        return FleetDocument(sequence, sequence if overflows else self.all_since, tuple(kept[-MOST_CHANGES:]))

    def changed_since(self, sequence: int) -> frozenset[str] | None:
        """Return the API keys of the accounts that changed after a number; None: all might have."""
        if self.all_since > sequence or self.sequence < sequence:
            return None
        return frozenset(key for key, at in self.changes if at > sequence)


def parse_fleet(document: Document) -> FleetDocument:
    """Return what the document contains; an empty one if it contains anything else."""
    data = document.data or {}
    sequence = data.get("sequence")
    all_since = data.get("all_since")
    changes = data.get("changes")
    if not isinstance(sequence, int) or not isinstance(all_since, int) or not isinstance(changes, list):
        return FleetDocument()
    pairs = [(change.get("api_key"), change.get("sequence")) for change in changes if isinstance(change, dict)]
    known = [(key, at) for key, at in pairs if isinstance(key, str) and isinstance(at, int)]
    return FleetDocument(sequence, all_since, tuple(known[-MOST_CHANGES:]))


def announce_changes(store: Store, path: str, api_keys: Iterable[str]) -> bool:
    """Tell the daemons that the journals of these accounts changed.

    Returns:
        Whether the document was written. If not, the resync of the daemons finds the changes.
    """
    keys = list(api_keys)
    for _ in range(_ATTEMPTS):
        try:
            document = store.read(path)
            fleet = parse_fleet(document).with_changes(keys)
            changes = [{"api_key": key, "sequence": at} for key, at in fleet.changes]
            data = {"sequence": fleet.sequence, "all_since": fleet.all_since, "changes": changes}
            store.write(path, data, cas=document.version)
        except CasConflict:
            continue
        except VaultError as error:
            _log.info("fleet.write_failed", error=str(error))
            return False
        return True
    return False
