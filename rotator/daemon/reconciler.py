"""Runs an account, or only reads its journal."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from rotator.daemon.facts import JournalLoaded, JournalUnreadable, JournalWritten, RunEnded
from rotator.daemon.tasks import LoadJournal, Run
from rotator.daemon.timing import refresh_at
from rotator.documents import parse_journal
from rotator.errors import RotatorError


def reconcile(task: Run, send: Callable[[JournalWritten], None], worker_is_wanted: Callable[[], bool]) -> RunEnded:
    """Do whatever there is to do for an account.

    Args:
        send: Gets every journal that the run wrote, so that its progress is visible.
        worker_is_wanted: Whether another account waits for a worker: the run then ends instead of waiting.
    """
    target = task.target
    control = task.control
    rotation = target.fleet.rotation(
        target.account,
        task.request,
        stop=control.stop,
        halt=control.halt.is_set,
        worker_is_wanted=worker_is_wanted,
        on_journal=lambda journal: send(JournalWritten(task, journal)),
        logs_vault_failure=False,  # the registry defers it, or logs it
    )
    started = time.monotonic()
    outcome = target.fleet.guarded(target.name, rotation.run)
    return RunEnded(task, outcome, time.monotonic() - started)


def load_journal(task: LoadJournal) -> JournalLoaded | JournalUnreadable:
    """Read an account's journal."""
    fleet = task.target.fleet
    try:
        document = fleet.vault.read(fleet.settings.journal_path(task.target.account))
        journal = parse_journal(document)
    except RotatorError as error:
        return JournalUnreadable(task, error)
    return JournalLoaded(task, journal, refresh_at(document, now=datetime.now(UTC)))
