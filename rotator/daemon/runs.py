"""An account's way through the daemon: planned, due, admitted, running, ended."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from rotator.config import format_duration
from rotator.daemon.account_queue import AccountQueue
from rotator.daemon.account_record import AccountRecord
from rotator.daemon.admission import Admission, Situation
from rotator.daemon.facts import JournalLoaded, JournalUnreadable, JournalWritten, RunEnded
from rotator.daemon.planner import Planner
from rotator.daemon.record_store import RecordStore
from rotator.daemon.resync import log_other_instance
from rotator.daemon.tasks import AccountTask, LoadJournal, Run, RunControl, Target
from rotator.daemon.timing import Timing
from rotator.errors import Blame, Code
from rotator.fleet import Fleet, Request, Wanted, log_internal_error
from rotator.monitoring import VAULT_UNAVAILABLE, Metrics
from rotator.rotation import Outcome, Result

_log = structlog.get_logger()


class Runs:
    """Hands out the work on accounts, and takes in how it ended. Used by the registry's thread only.

    Args:
        check_vault: Has Vault asked soon.
        now: The time of the start.

    Attributes:
        admission: Which rotations may start.
        queue: Which accounts wait for a worker and which are being worked on.
        vault_is_available: Whether runs may start.
        stopping: Whether the process ends.
    """

    def __init__(
        self,
        fleet: Fleet,
        records: RecordStore,
        planner: Planner,
        submit: Callable[[AccountTask], None],
        *,
        metrics: Metrics,
        check_vault: Callable[[], None],
        now: datetime,
    ) -> None:
        self._fleet = fleet
        self._records = records
        self._planner = planner
        self._submit = submit
        self._metrics = metrics
        self._check_vault = check_vault
        self._controls: dict[str, RunControl] = {}
        self.admission = Admission(fleet.settings, now)
        self.queue = AccountQueue(fleet.settings.daemon.concurrency)
        self.vault_is_available = False
        self.stopping = False
        self.load_settings(fleet)

    def load_settings(self, fleet: Fleet) -> None:
        """Follow the settings that are in force from now on."""
        daemon = fleet.settings.daemon
        self._fleet = fleet
        self._timing = Timing(fleet.instance, daemon.verify_interval, fleet.settings.account_api.consistency_window)

    def current(self, target: Target) -> AccountRecord | None:
        """Return an account's record; None if its documents are at another place than when the work was handed out."""
        record = self._records.get(target.name)
        if record is None or Target(record.settings, self._fleet).place != target.place:
            return None
        return record

    # --- planned -------------------------------------------------------------------------------------------------

    def plan(self, name: str, now: datetime) -> None:
        """Set an account's job to the time of its next run, and bring up to date what is shown of it."""
        record = self._records.get(name)
        if record is None:
            self._planner.forget(name)
            return
        if self.queue.is_running(name) or self.stopping:
            self._planner.planned(name)  # it is planned when the work on it ends
            return

        def at() -> datetime | None:
            self._records.show(replace(record, not_planned=None))
            wanted = self._timing.run_at(record, now)
            if record.needs_journal and wanted is not None and wanted <= now:
                self.queue.add(name)
                return None
            return wanted

        planned = self._planner.plan(record, at, now)
        self._records.put(planned)
        if planned.not_planned is not None:
            self._records.show_failure(name, planned.not_planned)

    def retry_planning(self, now: datetime) -> None:
        """Try again to set the jobs that could not be set."""
        while (name := self._planner.overdue(now)) is not None:
            self.plan(name, now)

    # --- due -----------------------------------------------------------------------------------------------------

    def become_due(self, name: str, now: datetime) -> None:
        """Queue an account whose job is due."""
        record = self._records.get(name)
        if record is None:
            return
        if self.vault_is_available and record.settings.enabled:
            self.queue.add(name)
            return
        self._records.put(replace(record, job_at=None))
        self.plan(name, now)

    def reload_changed(self, api_keys: frozenset[str] | None) -> None:
        """Read the journals again that commands changed; of an account that is running, after its run.

        Args:
            api_keys: The accounts' keys; None: any journal might have changed.
        """
        for record in list(self._records.all.values()):
            if record.settings.enabled and (api_keys is None or record.settings.api_key in api_keys):
                self._records.put(replace(record, reload=True))
                self.queue.add(record.name)

    def start_waiting(self, now: datetime) -> None:
        """Start work on accounts as long as a worker is free."""
        while self.vault_is_available and (name := self.queue.take()) is not None:
            try:
                self._start(name, now)
            except Exception as error:  # noqa: BLE001 - an internal error about one account must not end the others
                self._metrics.job_failed()
                self._break(name, f"An internal error at {log_internal_error(error)}", now)

    def _start(self, name: str, now: datetime) -> None:
        record = self._records.get(name)
        if record is None or not record.settings.enabled:
            self._finish(name, now)
            return
        target = Target(record.settings, self._fleet)
        if record.needs_journal:
            self._records.put(replace(record, reload=False, job_at=None))
            self._submit(LoadJournal(target))
            return
        seen = Situation(self._records.secondaries(name), self.queue.running, self._records.verifying, now)
        decision = self.admission.decide(record, seen)
        if decision.deferred is not None:
            self._metrics.deferred(decision.deferred)
        refreshes = record.refresh_at is not None and record.refresh_at <= now
        later = None if refreshes else record.refresh_at
        self._records.put(replace(decision.record, job_at=None, refresh_at=later))
        waits = self._timing.other_work_at(decision.record, now) > now
        if not decision.starts and not refreshes and waits:
            self._finish(name, now)
            return
        self._metrics.late(now - (record.job_at or now))
        if decision.overridden:
            _log_override(record)
        self._controls[name] = control = RunControl()
        wanted = Wanted.DUE if decision.starts and decision.is_due else Wanted.NOTHING_NEW
        # A run for other work carries out no request that has to wait, for example for the circuit breaker.
        request = Request(wanted, begins=decision.starts, revoke=self.admission.breaker.allows_revocations)
        self._submit(Run(target, request, control))

    # --- ended ---------------------------------------------------------------------------------------------------

    def end_work(self, fact: JournalLoaded | JournalUnreadable | RunEnded, now: datetime) -> None:
        """Take in how the work on an account ended."""
        try:
            match fact:
                case JournalLoaded():
                    self._load_journal(fact, now)
                case JournalUnreadable():
                    self._miss_journal(fact, now)
                case RunEnded():
                    self._end_run(fact, now)
        finally:  # even after an error: otherwise the account would count as running and never run again
            self._finish(fact.task.target.name, now)

    def _load_journal(self, fact: JournalLoaded, now: datetime) -> None:
        record = self.current(fact.task.target)
        if record is not None:
            log_other_instance(record, fact.journal, now)
            self._records.put(record.loaded(fact.journal, fact.refresh_at, now))

    def _miss_journal(self, fact: JournalUnreadable, now: datetime) -> None:
        record = self.current(fact.task.target)
        error = fact.error
        if record is None:
            return
        record = replace(record, reload=record.journal is not None)
        after = self._deferred(record, error.blame, now)
        if after is None:
            _log.error("journal.unreadable", account=record.name, error=str(error))
            after = record.failed(str(error), error.code, now)
        self._records.put(after)

    def follow_run(self, fact: JournalWritten) -> None:
        """Show how far a run is."""
        record = self.current(fact.task.target)
        if record is not None:
            record = record.with_journal(fact.journal)
            self._records.put(record)
            self._records.show(record)

    def _end_run(self, fact: RunEnded, now: datetime) -> None:
        target = fact.task.target
        outcome = fact.outcome
        record = self._records.get(target.name)
        deferred = self._deferred(record, outcome.blame, now) if record is not None else None
        if deferred is not None:
            _log_of(outcome).warning("account.deferred", reason=VAULT_UNAVAILABLE, error=outcome.error)
            until = deferred.retry.at
            outcome = replace(outcome, result=Result.DEFERRED, reason=VAULT_UNAVAILABLE, until=until)
            self._records.put(deferred)
        elif outcome.blame is Blame.VAULT:
            _log_of(outcome).error("rotation.failed", error=outcome.error)
        self._metrics.finished(outcome, fact.seconds)
        self._judge(target, outcome, now)
        record = self._records.get(target.name)
        if record is not None:
            is_elsewhere = self.current(target) is None
            self._records.put(_after_outcome(record, fact.task, outcome, now, is_elsewhere=is_elsewhere))

    def _judge(self, target: Target, outcome: Outcome, now: datetime) -> None:
        """Take in what an outcome shows about other accounts: nothing if a reload replaced the servers."""
        servers = (self._fleet.provider, self._fleet.vault)
        if (target.fleet.provider, target.fleet.vault) != servers:
            self.admission.without_result(target.name)
            return
        self.admission.after_run(outcome, now)

    def _deferred(self, record: AccountRecord, blame: Blame | None, now: datetime) -> AccountRecord | None:
        """Return the record if only Vault made a run or a read fail; None if that counts as a failure."""
        if blame is not Blame.VAULT:
            return None
        self._check_vault()
        return record.deferred_by_vault(now, available=self.vault_is_available)

    def recover(self, task: AccountTask, place: str, now: datetime) -> None:
        """Take in that an internal error ended the work on an account."""
        if isinstance(task, Run):
            self._break(task.target.name, "An internal error ended the run. See the log", now)
        else:
            self._break(task.target.name, f"An internal error at {place}", now, reload=True)

    def _break(self, name: str, error: str, now: datetime, *, reload: bool = False) -> None:
        record = self._records.get(name)
        self.admission.without_result(name)
        if record is not None:
            record = replace(record, reload=reload and record.journal is not None)
            self._records.put(record.failed(error, Code.INTERNAL_ERROR, now))
        self._finish(name, now)

    def _finish(self, name: str, now: datetime) -> None:
        self._controls.pop(name, None)
        self.queue.done(name)
        self.plan(name, now)

    def end(self, names: Iterable[str], *, halt: bool) -> None:
        """End runs early, and take their accounts out of the queue.

        Args:
            halt: Whether the runs end before their next step. Otherwise they finish, but wait for nothing.
        """
        for name in names:
            self.queue.discard(name)
            if name in self._controls:
                self._controls[name].end(halt=halt)


def _after_outcome(
    record: AccountRecord, task: Run, outcome: Outcome, now: datetime, *, is_elsewhere: bool
) -> AccountRecord:
    if is_elsewhere:
        return replace(record, journal=None)  # its documents are at another place now: they are still to be read
    log_other_instance(record, outcome.journal, now)  # every journal that the run wrote is in the record
    if record.settings == task.target.account:
        return record.after_run(outcome, now)
    # The next run, with today's settings, shows the rest.
    return record.with_journal(outcome.journal or record.journal)


def _log_of(outcome: Outcome) -> structlog.stdlib.BoundLogger:
    """Return a logger whose lines belong to the run that ended so."""
    log: structlog.stdlib.BoundLogger = _log.bind(account=outcome.account)
    return log if outcome.rotation_id is None else log.bind(rotation_id=outcome.rotation_id)


def _log_override(record: AccountRecord) -> None:
    max_age = format_duration(record.settings.schedule.max_age or timedelta())
    detail = f"No window was open before the secret's max_age ({max_age})"
    _log.warning("schedule.overridden", account=record.name, detail=detail)
