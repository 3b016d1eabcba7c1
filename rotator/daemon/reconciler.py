"""One run of an account."""

import time
from collections.abc import Callable

from rotator.daemon.facts import JournalWritten, RunEnded
from rotator.daemon.work import Run


def reconcile(work: Run, send: Callable[[JournalWritten], None]) -> RunEnded:
    """Do whatever there is to do for an account.

    Args:
        work: The run.
        send: Gets every journal that the run wrote, so that its progress is visible.
    """
    target, control = work.target, work.control
    rotation = target.fleet.rotation(
        target.account,
        work.request,
        stop=control.stop,
        halt=control.halt.is_set,
        on_journal=lambda journal: send(JournalWritten(work, journal)),
    )
    started = time.monotonic()
    outcome = target.fleet.guarded(target.name, rotation.run)
    return RunEnded(work, outcome, time.monotonic() - started)
