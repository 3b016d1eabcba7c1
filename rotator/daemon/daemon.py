"""The daemon: one scheduled job an account, the sweep, reload, shutdown.

Who does what:

- the readers look at each account's journal once, when the daemon starts or the account is new;
- the scheduler's pool visits accounts, each at the instant that its journal and its schedule name;
- the planner sets each account's job, and is the only one to do so: the scheduler may tell of a job's end with its
  own lock held, and whoever waits for that lock must not hold the daemon's;
- the keeper keeps the Vault session alive, stops the scheduler while Vault is away, and sweeps;
- the teller reads balances, one at a time, and tops up what may be topped up: nothing that goes wrong there counts as
  a failed run, and nobody waits for it;
- the main thread does what signals say and looks at the clock and at the configuration file;
- the web server answers in a thread of its own.

All state is in Vault. What is kept here is a copy, which may be out of date: a run begins by reading what it acts on,
and the journal's check-and-set is the fence.
"""

import contextlib
import gc
import heapq
import logging
import os
import signal
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import partial
from hashlib import blake2b
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from rotator import __version__, audit, logs
from rotator.config import AccountSettings, Settings, changes, format_duration, load
from rotator.core import balance
from rotator.core.balance import News, Reading, Rules, TopUp, Watch
from rotator.core.circuit_breaker import Brake
from rotator.core.jitter import backoff
from rotator.core.planning import Planning
from rotator.core.protocol import CLOCK_TOLERANCE, LONGEST_BACKOFF, Journal, Published, Reason, is_recorded, wake_at
from rotator.core.protocol.documents import expires_soon
from rotator.core.scheduling import Due
from rotator.daemon.systemd import Systemd
from rotator.documents.fleet import parse_fleet
from rotator.documents.journal import parse_journal
from rotator.errors import Blame, Code, ConfigError, RotatorError
from rotator.fleet import Cashier, Fleet, Request, Shard, Wanted, log_mistake
from rotator.monitoring import (
    CIRCUIT_BREAKER,
    PROVIDER_SLOW,
    VAULT_UNAVAILABLE,
    AccountStatus,
    BalanceStatus,
    FleetStatus,
    Metrics,
    describe,
)
from rotator.provider import AccountApi
from rotator.rotation import Outcome, Result
from rotator.signals import HANDLED, Signals
from rotator.vault import Vault
from rotator.web import create_app, serving

# How often the main thread looks at the clock and at the configuration file.
TICK = timedelta(seconds=1)
# How often the keeper asks Vault how it is: while it is well, and while it is away.
HEARTBEAT, HEARTBEAT_AWAY = timedelta(seconds=10), timedelta(seconds=1)
# A clock that is so far from where it should be was set, or the machine was suspended.
CLOCK_STEP = timedelta(seconds=5)
# So many accounts are looked at in one sweep, those first that were not for longest: what a fleet costs at rest.
SWEEP_ACCOUNTS = 300
# How long a primary waits before it looks again whether its secondaries are done.
FAMILY_WAIT = timedelta(seconds=1)
# While this many candidates per worker wait until they authenticate, no scheduled rotation begins.
VERIFYING_SHARE, VERIFYING_WAIT = 4, timedelta(seconds=30)
# Over how long the replicas of one fleet are spread.
STAGGER = timedelta(milliseconds=500)
# A visit that changed nothing is not made again sooner.
SHORTEST_REST = timedelta(seconds=1)
# An account that nobody visits so long after its time has lost its job.
LOST_AFTER = timedelta(minutes=2)
# The teller sends this share of the requests that the provider takes at most.
TELLERS_SHARE = 0.5
# How many read the journals of a fleet that starts: more would wait for each other.
READERS = 8
# How long the planner waits before it tries again to set a job that it could not set.
PLANNING_RETRY = timedelta(seconds=10)
# A run that failed because of Vault is tried again so soon, doubled each time; so often, if Vault is available for
# others meanwhile. After that it counts as a failure.
VAULT_RETRY = timedelta(seconds=1)
VAULT_RETRIES = 3
# How many names a log line holds.
NAMES = 20

# What is built once, when the process starts.
_FIXED = ("daemon.listen", "daemon.concurrency", "daemon.shard")
_LONG_AGO, _NEVER = datetime.min.replace(tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

_log = structlog.get_logger()


class _Why(Enum):
    """Why an account's job is set anew."""

    CHANGED = auto()  # what is known of it, or what is wanted of it
    ENDED = auto()  # its visit
    MISSED = auto()  # its job, which was left out or lost
    BROKEN = auto()  # its visit ended with an internal error


@dataclass(slots=True)
class _Account:
    """What the daemon knows of one account; guarded by the daemon's lock.

    Attributes:
        settings: As configured now.
        tried_at: When its published secret was last tried at the provider.
        status: For people.
        looked_at: When its documents were last looked at.
        journal: As last read or written; None: not read yet.
        error: What went wrong where the journal could not tell it.
        failure: Code of that failure.
        failures: How many runs in a row could not even note their failure.
        not_planned: Why its job could not be set; None if it could.
        vault_deferrals: How many runs in a row were deferred because of Vault.
        retry_at: It is not visited before.
        begin_at: Its rotation does not begin before, be it due.
        turn: Its place among the rotations that are min_spacing apart; None: it has none yet.
        document: Version and time of the published document in the last look. A document that the journal does not
            speak of is news only once: it can belong to another account, or the journal can be lost.
        expires: Vault deletes one of its documents soon: a run writes it again, whatever a failure makes wait.
        planned: When its job is set.
        visit: Ends the waits of the run that is under way; None if none is.
        watch: What is known of its balance.
        withheld: What was last said to keep its balance from being read or filled; said once.
    """

    settings: AccountSettings
    tried_at: datetime
    status: AccountStatus
    watch: Watch
    withheld: str | None = None
    looked_at: datetime = _LONG_AGO
    journal: Journal | None = None
    error: str | None = None
    failure: Code | None = None
    failures: int = 0
    not_planned: str | None = None
    vault_deferrals: int = 0
    retry_at: datetime | None = None
    begin_at: datetime | None = None
    turn: datetime | None = None
    document: tuple[int, datetime | None] | None = None
    expires: bool = False
    planned: datetime | None = None
    visit: threading.Event | None = None


def next_visit(
    journal: Journal,
    due_at: datetime | None,
    *,
    runner: str,
    tried_at: datetime,
    recheck: timedelta,
    window: timedelta,
    now: datetime,
) -> datetime:
    """When an account needs somebody next: as early as it wants it, as late as a failure or a lease makes it wait.

    Args:
        journal: Its journal.
        due_at: When it is to rotate; None if that is not known, because it was not taken on yet.
        runner: This process, which does not wait for its own lease: a run that Vault interrupted left it.
        tried_at: When its published secret was last tried at the provider.
        recheck: For how long that is good.
        window: The consistency window.
        now: The present. What is to wait for longer than anything can was written by a clock that is wrong.
    """
    wishes = [_LONG_AGO if due_at is None else due_at, tried_at + recheck, wake_at(journal, window)]
    leased = journal.holder not in (None, runner)
    waits = (journal.next_attempt_at, journal.lease_until if leased else None)
    longest = now + LONGEST_BACKOFF + CLOCK_TOLERANCE
    believed = [until for until in waits if until is not None and until <= longest]
    return max([min(wish for wish in wishes if wish), *believed])


class Daemon:
    """Looks after the accounts until it is told to stop.

    Args:
        path: The configuration file, which is read again when it changes.
        settings: What it holds now.
        shard: Which part of the fleet is this process's; None: all of it.
    """

    def __init__(self, path: Path, settings: Settings, *, shard: Shard | None = None) -> None:
        self._path = path
        self._file = _signature(path)
        self._settings = settings
        self._shard = shard
        self._started_at = self.now()
        self._stop = threading.Event()  # begin nothing new
        self._halt = threading.Event()  # finish nothing either
        self._nudge = threading.Event()  # the keeper is to look at once
        self._lock = threading.RLock()
        self._to_plan: SimpleQueue[tuple[str, _Why] | None] = SimpleQueue()
        self._to_read: SimpleQueue[str | None] = SimpleQueue()
        self._vault_works = threading.Event()
        self._accounts: dict[str, _Account] = {}
        self._secondaries: dict[str, list[str]] = {}
        self._to_tell: list[tuple[datetime, str]] = []  # whose balance is read next, as a heap
        self._next_turn = self._started_at
        self._announced = False
        self._heard: int | None = None  # the fleet document's sequence number that was read last
        self._workers = settings.daemon.concurrency
        self._readers = min(READERS, self._workers)
        self._brake = _brake(settings)
        self._planning = Planning()
        self._planning_retry_at = 0.0  # by the monotonic clock
        self._vault_trouble: str | None = "Vault was not asked yet"
        self._systemd = Systemd()
        self.metrics = Metrics()
        self._provider, self._vault = self._connect_provider(settings), self._connect_vault(settings)
        self._fleet = self._new_fleet(settings, self._provider, self._vault)
        self._fleet.audit.check()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(self._workers)},
            # Late is better than never, and once is enough.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._job_ended, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self._scheduler.add_listener(self._job_missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)

    @staticmethod
    def now() -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    def status(self) -> FleetStatus:
        """The fleet as this daemon sees it."""
        with self._lock:
            accounts = tuple(account.status for account in self._accounts.values())
            unread = sum(_is_unread(account) for account in self._accounts.values())
            enabled = sum(account.settings.enabled for account in self._accounts.values())
            brake, trouble = self._brake, self._vault_trouble or self._planning.trouble(enabled)
        not_read = f"{unread} of {len(accounts)} journals were not read yet" if unread else None
        return FleetStatus(
            at=self.now(),
            version=__version__,
            instance=self._fleet.runner,
            started_at=self._started_at,
            ready=not (trouble or unread),
            not_ready=trouble or not_read,
            shard=str(self._shard) if self._shard else None,
            circuit_breaker=_brake_in_words(brake),
            accounts=accounts,
        )

    # --- life ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; for the process's main thread.

        Raises:
            ConfigError: If the address to listen on is not to be had.
        """
        with ExitStack() as stack:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
            stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
            self._signals = stack.enter_context(contextlib.closing(Signals()))
            app = create_app(self.status, self.metrics, allowed_hosts=lambda: self._settings.daemon.allowed_hosts)
            address = stack.enter_context(serving(app, self._settings.daemon.listen))
            self._set_accounts(self._settings)
            shard = str(self._shard) if self._shard else "all"
            _log.info(
                "daemon.started",
                version=__version__,
                runner=self._fleet.runner,
                accounts=len(self._accounts),
                shard=shard,
                listen=address,
            )
            self._scheduler.start(paused=True)  # until Vault answers
            planner = threading.Thread(target=self._plan_jobs, name="planner")
            planner.start()
            stack.callback(self._to_plan.put, None)
            keeper = threading.Thread(target=self._keep, name="keeper")
            teller = threading.Thread(target=self._tell, name="teller")
            readers = [threading.Thread(target=self._read, name="reader") for _ in range(self._readers)]
            workers = [keeper, teller, *readers]
            for worker in workers:
                worker.start()
            try:
                self._watch(planner, *workers)
            finally:
                self._shut_down(workers)

    def _watch(self, *workers: threading.Thread) -> None:
        """The main thread's work: signals, the clock, the configuration file, systemd's watchdog."""
        wall, steady = self.now(), time.monotonic()
        seen, tick = self._file, min(TICK, self._systemd.pulse or TICK)
        while True:
            if all(worker.is_alive() for worker in workers):
                self._systemd.alive()
            received = self._signals.take(tick.total_seconds())
            step = (self.now() - wall) - timedelta(seconds=time.monotonic() - steady)
            wall, steady = self.now(), time.monotonic()
            if abs(step) > CLOCK_STEP:
                self._clock_stepped(step)
            if received is not None and received != signal.SIGHUP:
                return
            # A file that is still being written is not the same at two looks.
            before, seen = seen, _signature(self._path)
            if received is not None or (seen == before and seen not in (self._file, None)):
                self._file = seen
                with self._systemd.reloading():
                    self._reload()

    def _clock_stepped(self, step: timedelta) -> None:
        _log.warning("clock.stepped", seconds=round(step.total_seconds()))
        with self._lock:
            # What a clock that was set back would put off comes as early as it can. What was just begun still keeps the
            # next one at a distance.
            now = self.now()
            self._next_turn = min(self._next_turn, now + self._settings.daemon.min_spacing)
            self._brake = self._brake.clock_set(now)
            for name, account in self._accounts.items():
                account.begin_at = account.turn = account.retry_at = None
                account.tried_at, account.looked_at = min(account.tried_at, now), min(account.looked_at, now)
                self._replan(name)
            self._queue_readings(self._settings, now)
        self._nudge.set()
        self._scheduler.wakeup()  # it waits by the clock before

    def _shut_down(self, workers: list[threading.Thread]) -> None:
        """Begin nothing new and wait for nothing, but finish what is in hand; after half of the time not even that."""
        begun = time.monotonic()
        limit = self._settings.daemon.shutdown_timeout.total_seconds()
        self._systemd.stopping()
        self._stop.set()
        self._nudge.set()
        self._vault_works.set()
        for _ in range(self._readers):
            self._to_read.put(None)
        with self._lock:
            for account in self._accounts.values():
                if account.visit is not None:
                    account.visit.set()
        self._scheduler.shutdown(wait=False)
        while (busy := self._visited()) and time.monotonic() < begun + limit:
            again = self._signals.take(0.05)
            if again is not None or time.monotonic() > begun + limit / 2:
                self._halt.set()
        for worker in workers:
            worker.join(max(0.0, begun + limit - time.monotonic()))
        took = round(time.monotonic() - begun, 1)
        if not busy and not any(worker.is_alive() for worker in workers):
            _log.info("daemon.stopped", seconds=took)
            return
        # A request that hangs keeps its thread, and the interpreter would wait for that. Nothing is lost: the next run
        # goes on from the journal.
        _log.warning("daemon.stopped_hard", seconds=took, accounts=busy[:NAMES])
        os._exit(0)

    def _visited(self) -> list[str]:
        with self._lock:
            return sorted(name for name, account in self._accounts.items() if account.visit is not None)

    # --- the keeper ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        swept = time.monotonic()
        while not self._stop.is_set():
            try:
                self._ask_vault()
                self._announce()
                self._hear()
                if (
                    self._vault_trouble is None
                    and time.monotonic() >= swept + self._settings.daemon.resync_interval.total_seconds()
                ):
                    self._sweep()
                    swept = time.monotonic()
            except Exception as error:  # noqa: BLE001 - a mistake here must not leave Vault's session to itself
                log_mistake(error)
            heartbeat = HEARTBEAT if self._announced and self._vault_trouble is None else HEARTBEAT_AWAY
            next_sweep = swept + self._settings.daemon.resync_interval.total_seconds()
            self._nudge.wait(max(0.1, min(heartbeat.total_seconds(), next_sweep - time.monotonic())))
            self._nudge.clear()

    def _hear(self) -> None:
        """Look again at the accounts whose journals a command changed: somebody asked for a rotation."""
        if not self._vault_is_available or not self._announced:
            return
        try:
            fleet = parse_fleet(self._vault.read(self._settings.fleet_path))
        except RotatorError as error:
            _log.info("fleet.not_heard", error=str(error))
            return
        heard, self._heard = self._heard, fleet.sequence
        if heard is None or heard == fleet.sequence:
            return
        changed = fleet.changed_since(heard)
        with self._lock:
            accounts = [
                account
                for account in self._accounts.values()
                if account.journal is not None and (changed is None or account.settings.api_key in changed)
            ]
        for account in accounts[:SWEEP_ACCOUNTS]:
            try:
                self._look_again(account)
            except RotatorError as error:
                _log.warning("sweep.failed", account=account.settings.name, error=str(error))

    def _announce(self) -> None:
        """Say once that every journal was read; to systemd also how things are now."""
        if self._announced and not self._systemd.listens:
            return  # nobody wants to know, and of a big fleet it is work
        status = self.status()
        self._systemd.status(_in_short(status))
        if self._announced or not status.ready:
            return
        self._announced = True
        gc.freeze()  # the fleet stays: to look through all of it for garbage would stop every thread for a moment
        self._systemd.ready()
        _log.info("daemon.ready", seconds=round((self.now() - self._started_at).total_seconds(), 1))

    def _ask_vault(self) -> None:
        """Without Vault nothing can be done for any account: then none is visited, and none is said to have failed."""
        trouble, before, vault = None, self._vault_trouble, self._vault
        try:
            vault.keep_alive()
            vault.check_mount()  # its documents may be gone while the server and the token are as they were
        except RotatorError as error:
            trouble = str(error)
        if vault is not self._vault:
            self._nudge.set()
            return  # a reload has replaced it: what was asked says nothing about the one in use
        self.metrics.token_expires(vault.token_expiry())
        if self._stop.is_set() or trouble == before:
            return
        self._vault_trouble = trouble
        if trouble is not None:
            self._vault_works.clear()
            _log.error("vault.away", error=trouble, now="no account is visited until it is back")
            with contextlib.suppress(SchedulerNotRunningError):  # the end came first
                self._scheduler.pause()
        elif before is not None:
            _log.info("vault.ready")
            self._vault_works.set()
            self._resume_deferred()
            with contextlib.suppress(SchedulerNotRunningError):
                self._scheduler.resume()

    @property
    def _vault_is_available(self) -> bool:
        return self._vault_trouble is None

    def _resume_deferred(self) -> None:
        """What was deferred because Vault was unavailable goes on at once."""
        with self._lock:
            for name, account in self._accounts.items():
                if account.vault_deferrals:
                    account.vault_deferrals = 0
                    account.error = account.retry_at = None
                    self._replan(name)

    def _deferred_by_vault(self, account: _Account) -> timedelta | None:
        """How long to wait after a run that Vault made fail; None if that counts as a failure.

        While Vault is unavailable, no run fails because of it. Vault might be available again before the keeper
        noticed, so the account is tried a few times more. After that the failure is one of this account's documents.
        """
        with self._lock:
            account.vault_deferrals += 1
            deferrals = account.vault_deferrals
        self._nudge.set()
        if deferrals > VAULT_RETRIES and self._vault_is_available:
            return None
        doublings = min(deferrals - 1, VAULT_RETRIES)
        return VAULT_RETRY * (1 << doublings)

    def _sweep(self) -> None:
        """Look for what happened without this daemon: other runners, changes by hand, a job that was lost."""
        with self._lock:
            enabled = [account for account in self._accounts.values() if account.settings.enabled]
            overdue = self.now() - LOST_AFTER
            for account in enabled:
                if account.visit is None and account.planned is not None and account.planned < overdue:
                    _log.error("job.lost", account=account.settings.name)
                    self.metrics.missed()
                    self._to_plan.put((account.settings.name, _Why.MISSED))
            known = (account for account in enabled if account.journal is not None)
            oldest = heapq.nsmallest(SWEEP_ACCOUNTS, known, key=lambda account: account.looked_at)
        for account in oldest:
            if self._stop.is_set() or self._vault_trouble is not None:
                return
            try:
                self._look_again(account)
            except RotatorError as error:
                if error.blame is Blame.VAULT:
                    self._ask_vault()
                    if not self._vault_is_available:
                        return
                with self._lock:
                    account.looked_at = self.now()
                _log.warning("sweep.failed", account=account.settings.name, error=str(error))

    def _look_again(self, account: _Account) -> None:
        """Compare an account's documents with what is known of them.

        Raises:
            RotatorError: If they cannot be read.
        """
        with self._lock:
            fleet, settings, last_look = self._fleet, account.settings, account.looked_at
        # In this order what another runner publishes meanwhile is in the journal by then, or on its way.
        document = fleet.vault.read(settings.path)
        journal_document = fleet.vault.read(fleet.settings.journal_path(settings))
        journal = parse_journal(journal_document)
        if document.version < journal.published_version:
            document = fleet.vault.read(settings.path)
        with self._lock:
            visited = account.visit is not None or account.looked_at != last_look
            if visited or not self._has_these_documents(account, settings, fleet):
                return  # a visit knows better, or a reload has the documents elsewhere
            account.looked_at = self.now()
            if any(
                expires_soon(one.created, one.expires_at, one.read_at or self.now())
                for one in (document, journal_document)
            ):
                account.expires = True  # a run writes it again
                self._replan(settings.name)
            recorded = is_recorded(journal, Published(document.version, document.created))
            found = document.version, document.created
            by_hand = journal.candidate is None and not recorded and found != account.document
            account.document = found
            if not by_hand and journal == account.journal:
                return
            if by_hand:
                _log.warning("account.changed_by_hand", account=settings.name, version=document.version)
                account.tried_at = _LONG_AGO  # whether it works is to be seen now
            account.journal, account.error, account.retry_at = journal, None, None
            self._replan(settings.name)

    # --- the teller ------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                pause = self._tell_next().total_seconds()
            except Exception as error:  # noqa: BLE001 - a mistake here must not end the readings for good
                log_mistake(error)
                pause = HEARTBEAT.total_seconds()

    def _tell_next(self) -> timedelta:
        """Look at the balance whose turn it is; how long nothing is to be done after that."""
        now = self.now()
        with self._lock:
            if self._settings.balance.every is None or self._vault_trouble is not None:
                return HEARTBEAT_AWAY
            account = self._next_told(now)
            if account is None:
                return min(self._to_tell[0][0] - now, HEARTBEAT) if self._to_tell else HEARTBEAT_AWAY
            cashier, settings = Cashier(self._fleet), account.settings
        rules = cashier.rules(settings)
        if rules is not None:
            with structlog.contextvars.bound_contextvars(account=settings.name):
                self._look_at_balance(cashier, account, settings)
        return timedelta(seconds=1 / TELLERS_SHARE / self._settings.account_api.max_calls_per_second)

    def _queue_readings(self, settings: Settings, now: datetime) -> None:
        """Have each balance read when it is next, but within a period from now: that one, or the clock, was changed."""
        latest = now + (settings.balance.every or HEARTBEAT)
        for account in self._accounts.values():
            account.watch = replace(account.watch, next_at=min(account.watch.next_at, latest))
        self._to_tell = [(account.watch.next_at, name) for name, account in self._accounts.items()]
        heapq.heapify(self._to_tell)

    def _next_told(self, now: datetime) -> _Account | None:
        """The account whose balance is to be read now; each is in the queue once, and stays in it."""
        while self._to_tell and self._to_tell[0][0] <= now:
            name = self._to_tell[0][1]
            account = self._accounts[name]
            if not (account.settings.enabled and _is_taken_on(account)):
                heapq.heapreplace(self._to_tell, (now + HEARTBEAT, name))
            elif account.watch.next_at > now:
                heapq.heapreplace(self._to_tell, (account.watch.next_at, name))
            else:
                heapq.heapreplace(self._to_tell, (now + HEARTBEAT_AWAY, name))  # by then it is known when it is next
                return account
        return None

    def _look_at_balance(self, cashier: Cashier, account: _Account, settings: AccountSettings) -> None:
        withheld: str | None = None
        try:
            reading = cashier.read(settings)
            self._know_balance(account, settings, reading)
            withheld = self._top_up(account, settings, reading)
        except RotatorError as error:
            withheld = error.code.value
            self._balance_failed(account, settings, error)
            if withheld != account.withheld:
                _log.warning("balance.failed", error=str(error))
        account.withheld = withheld

    def _know_balance(self, account: _Account, settings: AccountSettings, reading: Reading) -> None:
        with self._lock:
            rules = self._rules(account, settings)
            if rules is None:
                return
            account.watch, news = balance.answered(settings.name, account.watch, reading, rules)
            account.status = replace(account.status, balance=self._balance_status(account))
        if news is not None:
            level = logging.WARNING if news is News.LOW else logging.INFO
            _log.log(level, news.value, euros=str(reading.euros), low=str(rules.low))

    def _balance_failed(self, account: _Account, settings: AccountSettings, error: RotatorError) -> None:
        with self._lock:
            rules, now = self._rules(account, settings), self.now()
            if rules is None:
                return
            if error.blame is Blame.VAULT:
                self._nudge.set()
                account.watch = replace(account.watch, next_at=now + min(rules.every, HEARTBEAT))
                return
            account.watch = balance.failed(settings.name, account.watch, rules.every, now)
            account.status = replace(account.status, balance=self._balance_status(account))

    def _rules(self, account: _Account, settings: AccountSettings) -> Rules | None:
        """Today's rules for an account whose balance was asked for; None if there are none, or its key is another.

        Asking takes a while, and a reload might come meanwhile: with another period, or without top-ups.
        """
        known = self._accounts.get(settings.name) is account and account.settings.api_key == settings.api_key
        return Cashier(self._fleet).rules(account.settings) if known else None

    def _top_up(self, account: _Account, settings: AccountSettings, reading: Reading) -> str | None:
        """Top an account up if its balance is low and that is allowed; why it was withheld.

        Raises:
            RotatorError: If nothing was sent.
        """
        with self._lock:
            rules = self._rules(account, settings)
            cashier, settings = Cashier(self._fleet), account.settings
        if rules is None or not rules.top_ups_per_day or not balance.is_low(reading, rules.low):
            return None
        done = cashier.top_up(settings, reading, rules)
        if isinstance(done, TopUp):
            self.metrics.topped_up(done)
            return None
        if done.value != account.withheld:
            _log.warning("balance.top_up_withheld", reason=done.value)
        return done.value

    def _balance_status(self, account: _Account) -> BalanceStatus | None:
        rules, reading = Cashier(self._fleet).rules(account.settings), account.watch.reading
        if rules is None:
            return None
        if reading is None:
            return BalanceStatus(float(rules.low))
        low = balance.is_low(reading, rules.low)
        return BalanceStatus(float(rules.low), float(reading.euros), reading.auto_reload, low, reading.at)

    # --- when ------------------------------------------------------------------------------------------------

    def _plan_jobs(self) -> None:
        """The planner's work, until it is handed None. While nothing else is to be done, it tries again what failed."""
        while (item := self._next_to_plan()) is not None:
            name, why = item
            try:
                job_set = self._plan(name, why)
            except Exception as error:  # noqa: BLE001 - a mistake about one account must not end the others
                self._not_planned(name, error)
            else:
                if name in self._planning.failed:
                    self._planning_retry_at = 0.0  # the others at once
                with self._lock:
                    self._planning = self._planning.after_success(name, job_set=job_set)

    def _next_to_plan(self) -> tuple[str, _Why] | None:
        failed = self._planning.failed
        if not failed:
            return self._to_plan.get()
        try:
            return self._to_plan.get(timeout=max(0.0, self._planning_retry_at - time.monotonic()))
        except Empty:
            return failed[0], _Why.CHANGED

    def _not_planned(self, name: str, error: Exception) -> None:
        """Show an account that has no job now, and count it; the planner tries again."""
        with structlog.contextvars.bound_contextvars(account=name):
            reason = f"rotator could not set a job: internal error ({type(error).__name__} at {log_mistake(error)})"
        self.metrics.not_planned()
        self._planning_retry_at = time.monotonic() + PLANNING_RETRY.total_seconds()
        with self._lock:
            self._planning = self._planning.after_failure(name, reason)
            account = self._accounts.get(name)
            if account is not None:
                account.planned, account.not_planned = None, reason
                account.status = replace(account.status, last_error=reason, failure=Code.INTERNAL_ERROR)

    def _plan(self, name: str, why: _Why) -> bool:
        """Set an account's one job to when it needs somebody next, and bring its status up to date.

        Returns:
            Whether a job was set.
        """
        at = None
        with self._lock:
            account = self._accounts.get(name)
            if account is not None:
                if why in (_Why.ENDED, _Why.BROKEN):
                    account.visit = None
                if account.visit is not None or self._stop.is_set():
                    return False  # it is planned when the visit is over
                account.not_planned = None
                if why is _Why.BROKEN:
                    self._failed(account, "A mistake in rotator ended the run. See the log", Code.INTERNAL_ERROR)
                if why is _Why.MISSED:
                    account.retry_at = self.now() + SHORTEST_REST
                begins_any_moment = account.planned is not None and account.planned <= self.now()
                at = self._describe(account)
                if account.journal is None and at is not None and at <= self.now():
                    self._to_read.put(name)
                    at = None
                if why is _Why.CHANGED and begins_any_moment and at is not None:
                    return False  # its job is on its way, and sees what changed
                account.planned = at
        if at is not None:
            # A trigger without a time zone asks for the machine's, which need not be a valid one.
            trigger = DateTrigger(at, timezone=UTC)
            self._scheduler.add_job(self._visit, trigger, args=[name], id=name, name=name, replace_existing=True)
            return True
        with contextlib.suppress(JobLookupError):
            self._scheduler.remove_job(name)
        return False

    def _follow(self, account: _Account, settings: AccountSettings, fleet: Fleet, journal: Journal) -> None:
        """A run under way wrote this: how far it is can be seen while it lasts."""
        with self._lock:
            if self._has_these_documents(account, settings, fleet):
                account.status = self._status(account, journal)

    def _has_these_documents(self, account: _Account, settings: AccountSettings, fleet: Fleet) -> bool:
        """Whether the account's documents are still those that these settings name; for who holds the lock.

        A run or a look takes a while, and a reload may come meanwhile: a fact is about today's settings, or nothing.
        """
        known = self._accounts.get(settings.name) is account
        same_account = (account.settings.api_key, account.settings.path) == (settings.api_key, settings.path)
        return known and same_account and _same_place(self._settings, fleet.settings)

    def _status(self, account: _Account, journal: Journal | None) -> AccountStatus:
        return describe(
            account.settings,
            journal,
            _first_due(account),
            error=account.not_planned or account.error,
            failure=Code.INTERNAL_ERROR if account.not_planned else account.failure,
            retry_at=account.retry_at,
            balance=self._balance_status(account),
        )

    def _describe(self, account: _Account) -> datetime | None:
        """Bring an account's status up to date; when it needs somebody next, None if never."""
        now, journal = self.now(), account.journal
        account.status = self._status(account, journal)
        if not account.settings.enabled:
            return None
        due = _due(account, now)
        if account.expires and journal is not None and journal.holder in (None, self._fleet.runner):
            return now
        at = _LONG_AGO if journal is None else self._next_visit(account, due.at if due else None)
        return max(at, account.retry_at or at, now)

    def _next_visit(self, account: _Account, due_at: datetime | None) -> datetime:
        journal = account.journal or Journal()
        if due_at is not None:
            # Replicas come to an account one after the other: who comes second finds a lease instead of a conflict.
            turn = STAGGER * _share(f"{self._fleet.runner}/{account.settings.name}")
            due_at = max(due_at + turn, account.begin_at or due_at)
        recheck = self._settings.daemon.verify_interval
        runner, tried_at = self._fleet.runner, account.tried_at
        return next_visit(
            journal,
            due_at,
            runner=runner,
            tried_at=tried_at,
            recheck=recheck,
            window=self._settings.account_api.consistency_window,
            now=self.now(),
        )

    def _replan(self, name: str) -> None:
        self._to_plan.put((name, _Why.CHANGED))

    def _job_ended(self, event: JobEvent) -> None:
        """Only now is the visit over: until now its job counted as running, and another would have been skipped."""
        if event.code == EVENT_JOB_ERROR:
            self.metrics.job_failed()
            self._to_plan.put((event.job_id, _Why.BROKEN))
        else:
            self._to_plan.put((event.job_id, _Why.ENDED))

    def _job_missed(self, event: JobEvent) -> None:
        _log.warning("job.missed", account=event.job_id)
        self.metrics.missed()
        self._to_plan.put((event.job_id, _Why.MISSED))

    def _may_begin(self, account: _Account, now: datetime) -> bool:
        """Whether this account's rotation may begin now; if it is due and may not, `begin_at` says when it may."""
        name = account.settings.name
        due = _due(account, now)
        if due is None or due.at > now:
            account.begin_at = account.turn = None
            return False
        if any(self._comes_first(secondary, account, now) for secondary in self._secondaries.get(name, ())):
            account.begin_at, account.turn = now + FAMILY_WAIT, None
            return False
        if not self._brake.lets_begin(name, now):
            account.begin_at, account.turn = max(self._brake.until or now, now) + FAMILY_WAIT, None
            self.metrics.deferred(CIRCUIT_BREAKER)
            return False
        if self._verifying() >= VERIFYING_SHARE * self._settings.daemon.concurrency:
            account.begin_at, account.turn = now + VERIFYING_WAIT, None
            self.metrics.deferred(PROVIDER_SLOW)
            return False
        if account.turn is None:
            account.turn = max(now, self._next_turn)
            self._next_turn = account.turn + self._settings.daemon.min_spacing
        if account.turn > now:
            account.begin_at = account.turn
            return False
        account.begin_at = account.turn = None
        self._brake = self._brake.tried(name)
        if due.overridden:
            max_age = format_duration(account.settings.schedule.max_age or timedelta())
            _log.warning("schedule.overridden", error=f"No window was open before the secret's max_age ({max_age})")
        return True

    def _verifying(self) -> int:
        """How many accounts wait for a candidate that does not authenticate yet."""
        journals = (account.journal for account in self._accounts.values())
        return sum(journal is not None and journal.verification is not None for journal in journals)

    def _worker_is_wanted(self) -> bool:
        """Whether all workers are busy, and an account whose time has come waits for one."""
        with self._lock:
            now, accounts = self.now(), self._accounts.values()
            if sum(account.visit is not None for account in accounts) < self._workers:
                return False
            return any(account.visit is None and (account.planned or _NEVER) <= now for account in accounts)

    def _comes_first(self, secondary: str, primary: _Account, now: datetime) -> bool:
        """Whether a primary waits for this secondary: one that is due, or at it, or not taken on yet, and no trouble.

        Each only once: secondaries that are due again all the time would keep their primary from ever rotating.
        """
        account, primary_due = self._accounts.get(secondary), _first_due(primary)
        if account is None or not account.settings.enabled:
            return False
        due, journal = _due(account, now), account.journal or Journal()
        if due is not None and due.at > now:
            return False
        if journal.rotated_at is not None and primary_due is not None and journal.rotated_at >= primary_due.at:
            return False
        if account.visit is not None:
            return True
        if journal.candidate is not None and journal.next_attempt_at is None:
            return True  # its run has ended to wait for the candidate
        # Whoever has just been visited rests for a moment, which is no trouble.
        waits = account.retry_at is not None and account.retry_at > now + SHORTEST_REST
        return not (account.error or journal.attempts or waits)

    # --- what ------------------------------------------------------------------------------------------------

    def _visit(self, name: str) -> None:
        """An account's job."""
        with self._lock:
            account = self._accounts.get(name)
            if account is None or account.visit is not None or not account.settings.enabled:
                return
            if self._stop.is_set() or self._vault_trouble is not None:
                return
            if account.journal is None:
                self._to_read.put(name)
                return
            account.visit = stop = threading.Event()
        with structlog.contextvars.bound_contextvars(account=name):
            self._attend(account, stop)

    def _read(self) -> None:
        """A reader's work, until it is handed None.

        The scheduler would take a whole fleet that is to be read now for so many jobs to be done at once, and keep
        memory for each of them.
        """
        while (name := self._to_read.get()) is not None:
            self._vault_works.wait()
            with self._lock:
                account = self._accounts.get(name)
                if self._stop.is_set() or account is None or account.journal is not None:
                    continue
                settings, fleet = account.settings, self._fleet
            with structlog.contextvars.bound_contextvars(account=name):
                try:
                    self._first_look(account, settings, fleet)
                except Exception as error:  # noqa: BLE001 - a mistake about one account must not end the others
                    self._failed(account, f"A mistake in rotator at {log_mistake(error)}", Code.INTERNAL_ERROR)
            self._to_plan.put((name, _Why.CHANGED))

    def _first_look(self, account: _Account, settings: AccountSettings, fleet: Fleet) -> None:
        """Read the journal and do no more: a start begins nothing."""
        try:
            journal = parse_journal(fleet.vault.read(fleet.settings.journal_path(settings)))
        except RotatorError as error:
            with self._lock:
                if self._has_these_documents(account, settings, fleet):
                    self._not_read(account, error)
            return
        with self._lock:
            if account.journal is not None or not self._has_these_documents(account, settings, fleet):
                return  # somebody else was first, or it is another account by now
            account.looked_at = self.now()
            account.journal = journal
            account.error, account.failures, account.retry_at, account.vault_deferrals = None, 0, None, 0

    def _not_read(self, account: _Account, error: RotatorError) -> None:
        """The journal could not be read; for who holds the lock."""
        delay = self._deferred_by_vault(account) if error.blame is Blame.VAULT else None
        if delay is not None:
            account.retry_at = self.now() + delay
            return
        _log.error("journal.unreadable", error=str(error))
        self._failed(account, str(error), error.code)

    def _attend(self, account: _Account, stop: threading.Event) -> None:
        """Do whatever there is to do for an account."""
        now = self.now()
        with self._lock:
            settings, fleet = account.settings, self._fleet
            begins = self._may_begin(account, now)
            others = _NEVER if _due(account, now) else None
            refreshes, account.expires = account.expires, False
            if not begins and not refreshes and self._next_visit(account, others) > now:
                return  # what it was called for has to wait
            late = now - (account.planned or now)
            request = Request(Wanted.DUE if begins else Wanted.NOTHING_NEW, revoke=self._brake.lets_revoke)
        self.metrics.late(late)
        rotation = fleet.rotation(
            settings,
            request,
            stop=stop,
            halt=lambda: self._halt.is_set() or not account.settings.enabled,
            worker_is_wanted=self._worker_is_wanted,
            on_journal=partial(self._follow, account, settings, fleet),
        )
        begun = time.monotonic()
        outcome = self._with_deferral(account, fleet.guarded(settings.name, rotation.run))
        self.metrics.finished(outcome, time.monotonic() - begun)
        self._note(account, settings, fleet, outcome)

    def _with_deferral(self, account: _Account, outcome: Outcome) -> Outcome:
        """The outcome, or a deferral in place of a failure that is only Vault's."""
        if outcome.blame is not Blame.VAULT:
            return outcome
        delay = self._deferred_by_vault(account)
        if delay is None:
            return outcome
        _log.warning("account.deferred", reason=VAULT_UNAVAILABLE, error=outcome.error)
        return replace(outcome, result=Result.DEFERRED, reason=VAULT_UNAVAILABLE, until=self.now() + delay)

    def _note(self, account: _Account, settings: AccountSettings, fleet: Fleet, outcome: Outcome) -> None:
        now = self.now()
        with self._lock:
            if (fleet.provider, fleet.vault) == (self._provider, self._vault):
                before, self._brake = self._brake, self._brake.noted(outcome, now)
                _log_brake(before, self._brake)
            if not self._has_these_documents(account, settings, fleet):
                account.journal = None  # a reload has its documents elsewhere: they are to be read
                return
            if outcome.journal is not None:
                account.journal = outcome.journal
            if account.settings != settings:
                return  # how long an account rests, and what is wrong with it, is for the next run to say
            if outcome.blame is not Blame.VAULT and outcome.reason != VAULT_UNAVAILABLE:
                account.vault_deferrals = 0
            if outcome.code is not None:
                next_attempt = outcome.journal.next_attempt_at if outcome.journal else None
                if next_attempt is None or next_attempt <= now:
                    self._failed(account, outcome.error or "", outcome.code)
                    return
            changed_nothing = not (outcome.published or outcome.revoked)
            rest_until = now + SHORTEST_REST if changed_nothing else None
            waits_until = outcome.until or now + timedelta(minutes=1)
            account.looked_at = now
            account.error, account.failures = None, 0
            account.retry_at = rest_until
            # Vault's clock can say that the next list counts later than the journal's instants alone do.
            if outcome.result is Result.DEFERRED or outcome.reason == Reason.IDENTIFYING:
                account.retry_at = waits_until
            if outcome.result is Result.OK:
                account.tried_at = now

    def _failed(self, account: _Account, error: str, failure: Code) -> None:
        """A failure that the journal does not tell of."""
        with self._lock:
            now = account.looked_at = self.now()
            account.error, account.failure = error, failure
            account.failures += 1
            account.retry_at = now + backoff(account.settings.name, account.failures)

    # --- the configuration -----------------------------------------------------------------------------------

    def _connect_provider(self, settings: Settings) -> AccountApi:
        def note(operation: str, code: str, seconds: float) -> None:
            self.metrics.request("provider", operation, code, seconds)

        # One more than visits need, for the teller.
        return AccountApi(
            settings.account_api,
            connections=settings.daemon.concurrency + 1,
            on_request=note,
            on_budget=self.metrics.record_budget,
        )

    def _connect_vault(self, settings: Settings) -> Vault:
        def note(operation: str, code: str, seconds: float) -> None:
            self.metrics.request("vault", operation, code, seconds)

        # Visits, the keeper, the teller, and the readers at a start.
        pool_size = settings.daemon.concurrency + 2 + self._readers
        return Vault(settings.vault, pool_size=pool_size, on_request=note)

    def _new_fleet(self, settings: Settings, provider: AccountApi, vault: Vault) -> Fleet:
        fleet = Fleet(settings, provider, vault, self._stop)
        fleet.audit.on_lost = self.metrics.audit_line_lost
        return fleet

    def _reload(self) -> None:
        """Take over a changed configuration, all of it or nothing."""
        try:
            settings = load(self._path)
            audit.at(settings.audit.file).check()
            logs.configure(settings.log.level, settings.log.format)
            provider, vault = self._provider, self._vault
            if settings.account_api != self._settings.account_api:
                provider = self._connect_provider(settings)
            if settings.vault != self._settings.vault:
                vault = self._connect_vault(settings)
        except ConfigError as error:
            line = "; ".join(str(error).splitlines())
            _log.error("config.refused", error=line, unchanged="The configuration before it stays in force")
            self.metrics.reloaded(ok=False)
            return
        before = self._settings
        with self._lock:
            if settings.daemon.circuit_breaker != before.daemon.circuit_breaker:
                self._brake = _brake(settings)
            self._settings = settings
            # Runs under way end with the connections and settings that they began with.
            self._provider, self._vault = provider, vault
            runner = self._fleet.runner
            self._fleet = self._new_fleet(settings, provider, vault)
            self._fleet.runner = runner
            if settings.daemon.min_spacing != before.daemon.min_spacing:
                self._next_turn = min(self._next_turn, self.now() + settings.daemon.min_spacing)
                for account in self._accounts.values():
                    account.begin_at = account.turn = None
            if not _same_place(settings, before):
                for account in self._accounts.values():
                    account.journal = account.error = account.retry_at = None
            self._set_accounts(settings)
        self._log_changes(before, settings)
        self.metrics.reloaded(ok=True)
        self._nudge.set()

    def _set_accounts(self, settings: Settings) -> None:
        """Look after these accounts from now on, as they are configured now."""
        with self._lock:
            mine = [account for account in settings.accounts if self._shard is None or self._shard.owns(account)]
            known, now = self._accounts, self.now()
            self._secondaries = defaultdict(list)
            self._accounts = {}
            for account in mine:
                if account.primary is not None:
                    self._secondaries[account.primary].append(account.name)
                entry = known.pop(account.name, None)
                watch = balance.begun(account.name, settings.balance.every or HEARTBEAT, now)
                if entry is None:
                    status = describe(account, None, None)
                    # Spread, so that a fleet is not tried all at once a day after its start.
                    share = settings.daemon.verify_interval * _share(account.name)
                    entry = _Account(account, tried_at=now - share, status=status, watch=watch)
                if entry.settings.api_key != account.api_key:
                    entry.watch = watch
                if entry.settings != account:
                    entry.journal = entry.error = entry.retry_at = entry.begin_at = entry.turn = None
                entry.settings = account
                if not account.enabled and entry.visit is not None:
                    entry.visit.set()
                self._accounts[account.name] = entry
                self._replan(account.name)
            self._queue_readings(settings, now)
            for name, gone in known.items():
                if gone.visit is not None:
                    gone.visit.set()
                self._replan(name)

    def _log_changes(self, before: Settings, after: Settings) -> None:
        for change in changes(before, after):
            names = {"accounts": change.accounts[:NAMES], "count": len(change.accounts)} if change.accounts else {}
            _log.info("config.changed", setting=change.setting, old=change.old, new=change.new, **names)
            if change.setting in _FIXED:
                _log.warning("config.needs_restart", setting=change.setting, now="until then it is as it was")
        _log.info("config.reloaded", accounts=len(self._accounts))


def _signature(path: Path) -> tuple[int, ...] | None:
    """What tells one state of a file from the next, behind whatever links lead to it; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _same_place(one: Settings, other: Settings) -> bool:
    """Whether both have rotator's documents at one place in one Vault."""
    return _place(one) == _place(other)


def _place(settings: Settings) -> tuple[object, ...]:
    vault = settings.vault
    return vault.addresses, vault.namespace, vault.mount, vault.journal_prefix


def _due(account: _Account, now: datetime) -> Due | None:
    """When it is to rotate; None while the age of its secret is not known."""
    rotated_at = account.journal.rotated_at if account.journal else None
    return account.settings.schedule.due(account.settings.name, rotated_at, now) if rotated_at else None


def _first_due(account: _Account) -> Due | None:
    """The same, as it was when that secret was published: what is overdue was due when it was due."""
    rotated_at = account.journal.rotated_at if account.journal else None
    return _due(account, rotated_at) if rotated_at else None


def _is_taken_on(account: _Account) -> bool:
    return account.journal is not None and account.journal.current is not None


def _is_unread(account: _Account) -> bool:
    return account.settings.enabled and account.journal is None and account.error is None


def _share(name: str) -> float:
    """A number from 0 to 1 that is an account's own."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) / 2**64


def _brake(settings: Settings) -> Brake:
    breaker = settings.daemon.circuit_breaker
    return Brake(breaker.failures, breaker.window, breaker.cooldown)


def _in_short(status: FleetStatus) -> str:
    """The state in a line that repeats nobody's words: an error's text belongs into the log, which masks secrets."""
    if not status.ready:
        return "Not ready: Vault does not work, no job can be set, or journals were not read yet. See the log"
    troubled = sum(account.last_error is not None for account in status.accounts)
    trouble = f", {troubled} in trouble" if troubled else ""
    return f"{len(status.accounts)} accounts{trouble}{'. The brake is on' if status.circuit_breaker else ''}"


def _brake_in_words(brake: Brake) -> str | None:
    if brake.engaged is None or brake.until is None:
        return None
    alike = sum(entry[1] is brake.engaged for entry in brake.recent)
    revoked = "" if brake.lets_revoke else ", and nothing is revoked"
    return (
        f"{alike} of the last {len(brake.recent)} accounts failed for a reason of one kind ({brake.engaged.value}): no "
        f"new rotation begins before {brake.until:%Y-%m-%d %H:%M:%S} UTC{revoked}. After that one account is tried; if "
        "that goes well, all go on"
    )


def _log_brake(before: Brake, after: Brake) -> None:
    if after.engaged is not None and after.until != before.until:
        _log.error("brake.engaged", why=after.engaged.value, error=_brake_in_words(after))
    if after.engaged is None and before.engaged is not None:
        _log.info("brake.released", why=before.engaged.value)
