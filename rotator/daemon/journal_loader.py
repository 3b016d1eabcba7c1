"""Reads an account's journal, and does no more: a start begins nothing."""

from rotator.daemon.facts import JournalLoaded, JournalUnreadable
from rotator.daemon.work import LoadJournal
from rotator.documents.journal import parse_journal
from rotator.errors import RotatorError


def load_journal(work: LoadJournal) -> JournalLoaded | JournalUnreadable:
    """Read the journal."""
    fleet = work.target.fleet
    try:
        journal = parse_journal(fleet.vault.read(fleet.settings.journal_path(work.target.account)))
    except RotatorError as error:
        return JournalUnreadable(work, error)
    return JournalLoaded(work, journal)
