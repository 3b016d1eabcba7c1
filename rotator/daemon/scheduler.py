"""The jobs of the accounts: at most one each, at the time of the account's next run."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger


class Scheduler:
    """Reports each account when its job is due. It starts paused: jobs wait until Vault is available.

    Args:
        on_due: Gets the account's name. Called in the scheduler's thread, which it must not block.
    """

    def __init__(self, on_due: Callable[[str], None]) -> None:
        self._on_due = on_due
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},  # in the scheduler's own thread: a job only sends a fact
            # A job that is late is run once, however late it is.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Start the thread."""
        self._scheduler.start(paused=True)

    def set(self, name: str, at: datetime) -> None:
        """Set an account's job, in place of the one it has."""
        # A trigger without a time zone asks for the machine's, which need not be a valid one.
        trigger = DateTrigger(at, timezone=UTC)
        self._scheduler.add_job(self._on_due, trigger, args=[name], id=name, name=name, replace_existing=True)

    def cancel(self, name: str) -> None:
        """Remove an account's job, if there is one."""
        with contextlib.suppress(JobLookupError):
            self._scheduler.remove_job(name)

    def pause(self) -> None:
        """Report nothing until `resume`."""
        with contextlib.suppress(SchedulerNotRunningError):
            self._scheduler.pause()

    def resume(self) -> None:
        """Report what is due, also what became due meanwhile."""
        with contextlib.suppress(SchedulerNotRunningError):
            self._scheduler.resume()

    def wake_up(self) -> None:
        """Look at the clock again, because it was set."""
        self._scheduler.wakeup()

    def shut_down(self) -> None:
        """End the thread."""
        self._scheduler.shutdown(wait=False)
