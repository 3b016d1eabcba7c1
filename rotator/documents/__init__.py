"""rotator's documents in Vault: the only place that knows their JSON."""

from typing import TYPE_CHECKING

from rotator.documents.fleet import FleetDocument, announce_changes, parse_fleet
from rotator.documents.journal import (
    JournalError,
    JournalNewerError,
    StoredJournal,
    load_journal,
    parse_journal,
    render_journal,
    written_note,
)
from rotator.documents.published import format_instant, parse_instant, parse_published
from rotator.imports import import_on_use

if TYPE_CHECKING:
    from rotator.documents.top_ups import StoredTopUp, parse_top_ups, render_top_ups

__all__ = [
    "FleetDocument",
    "JournalError",
    "JournalNewerError",
    "StoredJournal",
    "StoredTopUp",
    "announce_changes",
    "format_instant",
    "load_journal",
    "parse_fleet",
    "parse_instant",
    "parse_journal",
    "parse_published",
    "parse_top_ups",
    "render_journal",
    "render_top_ups",
    "written_note",
]

# Most commands top up no account, and start without the rules of balances.
__getattr__ = import_on_use(__name__, dict.fromkeys(("StoredTopUp", "parse_top_ups", "render_top_ups"), "top_ups"))
