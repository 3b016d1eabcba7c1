"""The one owner of the account records.

The registry receives facts, changes records and hands out work. It does no I/O, reads no clock and starts no thread.
Work carries the settings of the moment when it was handed out. A fact about it meets today's settings: if a reload put
the account's documents elsewhere meanwhile, the fact says nothing about them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from rotator import __version__
from rotator.daemon.account_record import SHORTEST_PAUSE, AccountRecord, Start
from rotator.daemon.admission import Admission, describe_breaker
from rotator.daemon.background import Background
from rotator.daemon.balance_monitor import BalanceMonitor
from rotator.daemon.facts import (
    BalanceRead,
    ClockStepped,
    DocumentSeen,
    Due,
    Fact,
    JournalLoaded,
    JournalsChanged,
    JournalUnreadable,
    JournalWritten,
    LookFailed,
    ResyncEnded,
    RunEnded,
    SettingsLoaded,
    Stopping,
    TaskBroke,
    Tick,
    TopUpEnded,
    VaultStateChanged,
)
from rotator.daemon.planner import Jobs, Planner
from rotator.daemon.record_store import RecordStore
from rotator.daemon.resync import after_look, log_other_instance
from rotator.daemon.runs import Runs
from rotator.daemon.tasks import LoadJournal, Run, Task, place
from rotator.errors import Blame, Code, RotatorError
from rotator.fleet import Fleet, Shard
from rotator.monitoring import FleetStatus, Metrics

# A job that did not report this long after its time is lost.
LOST_AFTER = timedelta(minutes=2)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one instant.

    Attributes:
        status: The fleet, as users see it.
        running: The accounts that are being worked on.
        is_idle: Whether no work is in progress at all.
        vault_is_available: Whether Vault is available.
        worker_is_wanted: Whether an account waits because every worker is busy.
    """

    status: FleetStatus
    running: tuple[str, ...]
    is_idle: bool
    vault_is_available: bool
    worker_is_wanted: bool


class Registry:
    """Owns the account records. All methods are for one thread.

    Args:
        jobs: Reports accounts when their jobs are due.
        submit: Hands a task to a worker. One fact at the end answers each task, in any order.
        check_vault: Has Vault asked soon.
        now: The time of the start.
        shard: Which part of the fleet belongs to this process; None: all of it.
    """

    def __init__(
        self,
        fleet: Fleet,
        jobs: Jobs,
        submit: Callable[[Task], None],
        metrics: Metrics,
        check_vault: Callable[[], None],
        *,
        now: datetime,
        shard: Shard | None = None,
    ) -> None:
        self._fleet = fleet
        self._jobs = jobs
        self._metrics = metrics
        self._check_vault = check_vault
        self._shard = shard
        self._started_at = now
        self._balances = BalanceMonitor(metrics)
        self._records = RecordStore(shard, self._balances)
        self._background = Background(self._records, self._balances, submit, check_vault)
        self._planner = Planner(jobs, metrics.not_planned)
        self._runs = Runs(
            fleet, self._records, self._planner, submit, metrics=metrics, check_vault=check_vault, now=now
        )
        self._vault_failure: str | None = "Vault was not asked yet"
        self._logged: set[Code] = set()
        self._available_since = now

    @property
    def records(self) -> Mapping[str, AccountRecord]:
        """The account records, by name."""
        return self._records.all

    @property
    def admission(self) -> Admission:
        """Which rotations may start."""
        return self._runs.admission

    def handle(self, fact: Fact, now: datetime) -> None:
        """Take in a fact, and hand out the work that follows from it."""
        self._take_in(fact, now)
        if not self._runs.stopping:
            self._runs.retry_planning(now)
            self._runs.start_waiting(now)
            self._work_beside(now)

    def _take_in(self, fact: Fact, now: datetime) -> None:  # noqa: PLR0912 - a table
        match fact:
            case SettingsLoaded():
                self._load_settings(fact.fleet, now)
            case Due():
                self._runs.become_due(fact.account, now)
            case JournalWritten():
                self._runs.follow_run(fact)
            case JournalLoaded() | JournalUnreadable() | RunEnded():
                self._runs.end_work(fact, now)
            case JournalsChanged():
                self._runs.reload_changed(fact.api_keys)
            case DocumentSeen():
                self._see_document(fact, now)
            case LookFailed():
                self._miss_document(fact, now)
            case ResyncEnded():
                self._background.busy = False
            case BalanceRead():
                self._background.after_reading(fact, now)
            case TopUpEnded():
                self._background.after_top_up(fact, now)
            case TaskBroke():
                self._recover(fact, now)
            case VaultStateChanged():
                self._judge_vault(fact, now)
            case ClockStepped():
                self._follow_clock(fact, now)
            case Stopping():
                self._runs.stopping = self._background.stopping = True
                self._runs.end(list(self._runs.queue.names), halt=fact.halt)
            case Tick():
                pass

    def next_at(self) -> datetime | None:
        """Return when a `Tick` is needed at the latest; None: not before another fact."""
        background = self._background.next_at() if self._runs.vault_is_available else None
        return min((at for at in (self._planner.retry_at, background) if at is not None), default=None)

    def snapshot(self, now: datetime) -> Snapshot:
        """Return the registry as it is now."""
        unread = self._records.unread
        statuses = self._records.statuses
        not_ready = self._vault_failure or self._planner.failure(self._records.enabled)
        if not_ready is None and unread:
            not_ready = f"{unread} of {len(statuses)} journals were not read yet"
        status = FleetStatus(
            at=now,
            version=__version__,
            instance=self._fleet.instance,
            started_at=self._started_at,
            ready=not_ready is None,
            not_ready=not_ready,
            shard=str(self._shard) if self._shard else None,
            circuit_breaker=describe_breaker(self.admission.breaker),
            accounts=statuses,
        )
        running = tuple(sorted(self._runs.queue.running))
        return Snapshot(
            status,
            running,
            is_idle=not running and not self._background.busy,
            vault_is_available=self._runs.vault_is_available,
            worker_is_wanted=self._runs.queue.is_worker_wanted,
        )

    def _load_settings(self, fleet: Fleet, now: datetime) -> None:
        before = self._fleet.settings
        if fleet.vault is not self._fleet.vault:
            self._logged.clear()
        self._fleet = fleet
        slots_are_void = self.admission.load_settings(fleet.settings, now)
        moved = place(before.vault) != place(fleet.settings.vault)
        gone = self._records.load_settings(fleet.settings, now, moved=moved)
        self._runs.load_settings(fleet)
        self._runs.end(gone, halt=False)
        self._balances.load_settings(fleet, self.records, now)
        self._background.load_settings(fleet.settings, now)
        for record in list(self.records.values()):
            if slots_are_void:
                self._records.put(replace(record, start=Start()))
            if not record.settings.enabled:
                self._runs.end([record.name], halt=True)
        self._plan_all([*self.records, *gone], now)

    def _judge_vault(self, fact: VaultStateChanged, now: datetime) -> None:
        """Without Vault nothing can be done for any account: no run starts, and none fails because of it."""
        if fact.vault is not self._fleet.vault:
            self._check_vault()  # a reload replaced this session, so its state says nothing about the one in use
            return
        if fact.error is not None:
            self._lose_vault(fact.error)
        elif not self._runs.vault_is_available:
            _log.info("vault.available")
            self._vault_failure = None
            self._logged.clear()
            self._runs.vault_is_available = True
            self._available_since = now
            self._resume_deferred(now)
            self._jobs.resume()

    def _lose_vault(self, error: RotatorError) -> None:
        """Start no run until Vault is available. An outage is logged once for each kind of failure.

        Texts do not tell failures apart: they contain countdowns, and name the addresses of Vault in any order.
        """
        if self._runs.stopping:
            return
        if error.code not in self._logged:
            _log.error("vault.unavailable", error=str(error))
            self._logged.add(error.code)
        self._vault_failure = error.what
        self._runs.vault_is_available = False
        self._jobs.pause()

    def _resume_deferred(self, now: datetime) -> None:
        """Let runs go on at once that were deferred because Vault was unavailable."""
        for record in list(self.records.values()):
            if record.retry.vault_deferrals:
                retry = replace(record.retry.without_error(), vault_deferrals=0)
                self._records.put(replace(record, retry=retry))
                self._runs.plan(record.name, now)

    def _follow_clock(self, fact: ClockStepped, now: datetime) -> None:
        """Let nothing wait for a time that the clock had reached before."""
        _log.warning("clock.stepped", step_seconds=round(fact.step.total_seconds()))
        self.admission.after_clock_step(now)
        self._planner.after_clock_step(now)
        self._background.load_settings(self._fleet.settings, now)
        self._balances.bring_forward(now)
        self._available_since = now  # the jobs get their time to see the new one
        for record in list(self.records.values()):
            self._records.put(record.after_clock_step(now))
        self._plan_all(self.records, now)
        self._jobs.wake_up()
        self._check_vault()

    def _plan_all(self, names: Iterable[str], now: datetime) -> None:
        for name in list(names):
            self._runs.plan(name, now)

    # --- beside the runs -----------------------------------------------------------------------------------------

    def _work_beside(self, now: datetime) -> None:
        if not self._runs.vault_is_available:
            return
        if self._background.is_resync_due(now) and now >= self._available_since + LOST_AFTER:
            self._replan_lost(now)
        self._background.hand_out(self._fleet, now)

    def _replan_lost(self, now: datetime) -> None:
        """Set the jobs again that were due long ago and did not report."""
        for record in list(self.records.values()):
            if record.job_at is None or record.job_at >= now - LOST_AFTER or record.name in self._runs.queue:
                continue
            _log.error("job.lost", account=record.name)
            self._metrics.missed()
            retry = replace(record.retry, at=now + SHORTEST_PAUSE)
            self._records.put(replace(record, job_at=None, retry=retry))
            self._runs.plan(record.name, now)

    def _see_document(self, fact: DocumentSeen, now: datetime) -> None:
        record = self._seen(fact)
        if record is None:
            return
        log_other_instance(record, fact.journal, now)
        after = after_look(record, fact, now)
        self._records.put(after)
        if (after.journal, after.refresh_at, after.tried_at) != (record.journal, record.refresh_at, record.tried_at):
            self._runs.plan(record.name, now)

    def _miss_document(self, fact: LookFailed, now: datetime) -> None:
        record = self._seen(fact)
        error = fact.error
        if error.blame is Blame.VAULT:
            self._check_vault()
        if record is not None:
            self._records.put(replace(record, looked_at=now))
            _log.warning("resync.failed", account=record.name, error=str(error))

    def _seen(self, fact: DocumentSeen | LookFailed) -> AccountRecord | None:
        """Return the record that a look is about; None if a run or a reload knows better."""
        look = fact.task
        record = self._runs.current(look.target)
        if record is None or self._runs.queue.is_running(record.name) or record.looked_at != look.looked_at:
            return None
        return record

    def _recover(self, fact: TaskBroke, now: datetime) -> None:
        if isinstance(fact.task, Run | LoadJournal):
            self._runs.recover(fact.task, fact.place, now)
            return
        self._background.recover(fact.task, now)
