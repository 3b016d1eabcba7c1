"""Runs an account, or only reads its journal."""

import time
from collections.abc import Callable

from rotator.daemon.facts import JournalLoaded, JournalUnreadable, JournalWritten, RunEnded
from rotator.daemon.work import LoadJournal, Run
from rotator.documents.journal import parse_journal
from rotator.errors import RotatorError


def reconcile(work: Run, send: Callable[[JournalWritten], None], worker_is_wanted: Callable[[], bool]) -> RunEnded:
    """Do whatever there is to do for an account.

    Args:
        work: The run.
        send: Gets every journal that the run wrote, so that its progress is visible.
        worker_is_wanted: Whether another account waits for a worker: the run then ends instead of waiting.
    """
    target, control = work.target, work.control
    rotation = target.fleet.rotation(
        target.account,
        work.request,
        stop=control.stop,
        halt=control.halt.is_set,
        worker_is_wanted=worker_is_wanted,
        on_journal=lambda journal: send(JournalWritten(work, journal)),
    )
    started = time.monotonic()
    outcome = target.fleet.guarded(target.name, rotation.run)
    return RunEnded(work, outcome, time.monotonic() - started)


def load_journal(work: LoadJournal) -> JournalLoaded | JournalUnreadable:
    """Read an account's journal."""
    fleet = work.target.fleet
    try:
        journal = parse_journal(fleet.vault.read(fleet.settings.journal_path(work.target.account)))
    except RotatorError as error:
        return JournalUnreadable(work, error)
    return JournalLoaded(work, journal)
