"""Sets the jobs of the accounts, and tries again to set those that could not be set."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from rotator.daemon.account_record import LONG_AGO, AccountRecord
from rotator.fleet import log_internal_error

# How long to wait before a job that could not be set is tried again.
PLANNING_RETRY = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Planning:
    """The accounts whose job could not be set, and whether that concerns every account. Immutable.

    Attributes:
        failed: The accounts without a job, in the order in which they are tried again.
        in_a_row: Failures since a job was last set.
        concerned: The accounts of these failures.
        reason: The last failure.
    """

    failed: tuple[str, ...] = ()
    in_a_row: int = 0
    concerned: frozenset[str] = frozenset()
    reason: str | None = None

    def after_failure(self, account: str, reason: str) -> "Planning":
        """With an account whose job could not be set; it is the last to be tried again."""
        return Planning(
            failed=(*self._without(account), account),
            in_a_row=self.in_a_row + 1,
            concerned=self.concerned | {account},
            reason=reason,
        )

    def after_success(self, account: str, *, job_set: bool) -> "Planning":
        """With an account that was planned.

        Args:
            job_set: Whether a job was set. Otherwise none was needed, which proves nothing.
        """
        if job_set:
            return Planning(failed=self._without(account))
        return replace(self, failed=self._without(account))

    def failure(self, accounts: int) -> str | None:
        """Why no account can be planned; None if planning works, or if a failure may be one account's own.

        Args:
            accounts: The number of accounts. Repeated failures of the only account count as common ones.
        """
        common = self.in_a_row > 1 and len(self.concerned) >= min(accounts, 2)
        return self.reason if common else None

    def _without(self, account: str) -> tuple[str, ...]:
        return tuple(name for name in self.failed if name != account)


class Jobs(Protocol):
    """The part of scheduler.Scheduler that the registry's thread needs."""

    def set(self, name: str, at: datetime) -> None: ...

    def cancel(self, name: str) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def wake_up(self) -> None: ...


class Planner:
    """Keeps each account's job at the time of its next run. Used by the registry's thread only.

    Args:
        count_failure: Called for each job that could not be set.
    """

    def __init__(self, jobs: Jobs, count_failure: Callable[[], None]) -> None:
        self._jobs = jobs
        self._count_failure = count_failure
        self._planning = Planning()
        self._retry_at: datetime | None = None

    @property
    def retry_at(self) -> datetime | None:
        """When `overdue` names an account; None: no job could not be set."""
        return self._retry_at if self._planning.failed else None

    def overdue(self, now: datetime) -> str | None:
        """Return the account whose job is tried again now; None if there is none."""
        at = self.retry_at
        return self._planning.failed[0] if at is not None and at <= now else None

    def failure(self, accounts: int) -> str | None:
        """Return why no account can be planned; None if planning works, or if a failure can be one account's own."""
        return self._planning.failure(accounts)

    def plan(self, record: AccountRecord, at: Callable[[], datetime | None], now: datetime) -> AccountRecord:
        """Set an account's job.

        Args:
            at: Computes the time of its next run; None: it needs no job.

        Returns:
            The record with its job.
        """
        try:
            record = replace(record, not_planned=None)
            wanted = at()
            # A job that is due by now reports as soon as it can. It keeps its time, from which the delay is measured.
            on_its_way = record.job_at is not None and wanted is not None and max(record.job_at, wanted) <= now
            if wanted is not None and not on_its_way:
                self._jobs.set(record.name, wanted)
                record = replace(record, job_at=wanted)
            if wanted is None and record.job_at is not None:
                self._jobs.cancel(record.name)
                record = replace(record, job_at=None)
        except Exception as error:  # noqa: BLE001 - an internal error about one account must not end the others
            return self._failed(record, error, now)
        self.planned(record.name, job_set=wanted is not None)
        return record

    def planned(self, name: str, *, job_set: bool = False) -> None:
        """Take in that an account has its job, or needs none."""
        if name in self._planning.failed:
            self._retry_at = LONG_AGO  # the others at once
        self._planning = self._planning.after_success(name, job_set=job_set)

    def forget(self, name: str) -> None:
        """Remove the job of an account that does not belong to this process any more."""
        self._jobs.cancel(name)
        self.planned(name)

    def after_clock_step(self, now: datetime) -> None:
        """Try again at once: the time of the next try was the previous clock's."""
        self._retry_at = now

    def _failed(self, record: AccountRecord, error: Exception, now: datetime) -> AccountRecord:
        with structlog.contextvars.bound_contextvars(account=record.name):
            place = log_internal_error(error)
        reason = f"rotator could not set a job: internal error ({type(error).__name__} at {place})"
        self._count_failure()
        self._retry_at = now + PLANNING_RETRY
        self._planning = self._planning.after_failure(record.name, reason)
        return replace(record, job_at=None, not_planned=reason)
