"""The daemon: its parts, its threads and its life.

- the main thread receives signals, and looks at the clock and at the configuration file;
- the registry's thread owns the account records, and hands out work (registry.py);
- the workers, a bounded pool, run accounts, read journals and balances, and look for changes;
- the scheduler's thread reports accounts whose jobs are due (scheduler.py);
- the Vault monitor's thread keeps the session with Vault alive;
- the web server answers in a thread of its own.

All state is in Vault. The records are a copy that can be out of date: a run begins by reading the documents that it
acts on, and the journal's check-and-set protects them.
"""

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from rotator import __version__
from rotator.config import Settings
from rotator.daemon.facts import ClockStepped, Due, SettingsLoaded, Stopping
from rotator.daemon.inbox import Inbox
from rotator.daemon.registry import Registry
from rotator.daemon.reload import NAMES, Configuration
from rotator.daemon.scheduler import Scheduler
from rotator.daemon.signals import Signals
from rotator.daemon.systemd import Systemd, summarize
from rotator.daemon.vault_monitor import VaultMonitor
from rotator.daemon.worker_pool import WorkerPool
from rotator.fleet import Shard
from rotator.monitoring import FleetStatus, Metrics, masked
from rotator.startup_signals import HANDLED
from rotator.web import App, serving

# How often the main thread looks at the clock and at the configuration file.
TICK = timedelta(seconds=1)
# A clock that differs this much from the expected time was set, or the machine was suspended.
CLOCK_STEP = timedelta(seconds=5)

# A process starts with late garbage collections (rotator.__main__). A daemon collects before garbage takes much memory.
_GARBAGE = 10_000
_log = structlog.get_logger()


class Daemon:
    """Manages the accounts until the process receives a signal to stop.

    Args:
        path: The configuration file, which is loaded again when it changes.
        shard: Which part of the fleet belongs to this process; None: all of it.
        lost_lines: Returns how many lines of the log were lost since the last call.

    Attributes:
        metrics: The counters of this process.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        *,
        shard: Shard | None = None,
        lost_lines: Callable[[], int] = lambda: 0,
    ) -> None:
        self._started_at = self.now()
        self._shard = shard
        self._lost_lines = lost_lines
        self._stop = threading.Event()
        self._is_announced = False
        self._systemd = Systemd()
        self.metrics = Metrics()
        self._configuration = Configuration(path, settings, self.metrics, self._stop)
        self._inbox = Inbox(self.now)
        self._jobs = Scheduler(lambda account: self._inbox.send(Due(account)))
        self._vault_monitor = VaultMonitor(
            lambda: self._configuration.fleet, self._inbox.send, self.metrics, self._stop
        )
        # One more than runs, for the work beside them.
        self._workers = WorkerPool(
            settings.daemon.concurrency + 1,
            self._inbox.send,
            self.metrics,
            may_go_on=self._may_resync,
            worker_is_wanted=lambda: self._inbox.snapshot.worker_is_wanted,
        )
        registry = Registry(
            self._configuration.fleet,
            self._jobs,
            self._workers.submit,
            self.metrics,
            self._vault_monitor.check_soon,
            now=self._started_at,
            shard=shard,
        )
        self._inbox.attach(registry, SettingsLoaded(self._configuration.fleet))

    @staticmethod
    def now() -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    def status(self) -> FleetStatus:
        """The fleet as this daemon sees it."""
        error = masked(self._configuration.error)
        status = replace(self._inbox.snapshot.status, at=self.now(), configuration_error=error)
        unknown = self._unknown()
        return status if unknown is None else replace(status, ready=False, not_ready=unknown)

    def is_alive(self) -> bool:
        """Whether the process gets on with its work, so that a restart would not help."""
        return not self._inbox.is_stuck

    def _unknown(self) -> str | None:
        """Why the last status says nothing about the present; None if it does."""
        if self._inbox.is_stuck:
            return "the daemon is stuck: restart it"
        return "Vault's state is unknown: no request to it ends" if self._vault_monitor.is_silent else None

    def _may_resync(self) -> bool:
        return not self._stop.is_set() and self._inbox.snapshot.vault_is_available

    # --- life ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; for the process's main thread.

        Raises:
            ConfigError: If the address to listen on is not available.
        """
        with ExitStack() as stack:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
            stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
            signals = stack.enter_context(contextlib.closing(Signals()))
            app = App(
                self.status,
                self.metrics,
                is_alive=self.is_alive,
                allowed_hosts=lambda: self._configuration.settings.daemon.known_hosts,
            )
            address = stack.enter_context(serving(app, self._configuration.settings.daemon.listen))
            _log.info(
                "daemon.started",
                version=__version__,
                instance=self._configuration.fleet.instance,
                account_count=len(self.status().accounts),
                shard=str(self._shard) if self._shard else "all",
                listen=address,
            )
            self._jobs.start()
            gc.set_threshold(_GARBAGE)
            threads = [
                threading.Thread(target=self._inbox.run, name="registry"),
                threading.Thread(target=self._vault_monitor.run, name="vault monitor"),
            ]
            for thread in threads:
                thread.start()
            try:
                self._watch(signals, threads)
            finally:
                self._shut_down(signals, threads)

    def _watch(self, signals: Signals, threads: list[threading.Thread]) -> None:
        """The main thread's work until a signal to stop."""
        wall, steady = self.now(), time.monotonic()
        tick = min(TICK, self._systemd.pulse or TICK)
        while True:
            if all(thread.is_alive() for thread in threads) and self.is_alive():
                self._systemd.alive()
            self._announce()
            if lost := self._lost_lines():
                _log.warning("log.lost", line_count=lost, next_step="Examine the program that reads the log")
            received = signals.take(tick.total_seconds())
            step = (self.now() - wall) - timedelta(seconds=time.monotonic() - steady)
            wall, steady = self.now(), time.monotonic()
            if abs(step) > CLOCK_STEP:
                self._inbox.send(ClockStepped(step))
            if received is not None and received != signal.SIGHUP:
                return
            if self._configuration.is_changed() or received is not None:
                with self._systemd.reloading():
                    self._reload()

    def _announce(self) -> None:
        """Report once that every journal was read; to systemd also the present state."""
        if self._is_announced and not self._systemd.listens:
            return  # in a large fleet the summary is work
        status = self.status()
        self._systemd.status(summarize(status))
        if self._is_announced or not status.ready:
            return
        self._is_announced = True
        gc.freeze()  # the records stay: a collection that visits all of them would stop every thread for a moment
        self._systemd.ready()
        _log.info("daemon.ready", duration_seconds=round((self.now() - self._started_at).total_seconds(), 1))

    def _reload(self) -> None:
        fleet = self._configuration.reload()
        if fleet is None:
            return
        self._inbox.send(SettingsLoaded(fleet))
        self._vault_monitor.check_soon()
        self._inbox.wait()
        _log.info("config.reloaded", account_count=len(self.status().accounts))

    def _shut_down(self, signals: Signals, threads: list[threading.Thread]) -> None:
        """Start nothing and wait for nothing, but finish what is in progress; after half of the time not even that."""
        started = time.monotonic()
        limit = self._configuration.settings.daemon.shutdown_timeout.total_seconds()
        self._systemd.stopping()
        self._stop.set()
        self._vault_monitor.check_soon()
        self._inbox.send(Stopping())
        self._inbox.wait()
        self._jobs.shut_down()
        while not self._inbox.snapshot.is_idle and time.monotonic() < started + limit:
            again = signals.take(0.05)
            if again is not None or time.monotonic() > started + limit / 2:
                self._inbox.send(Stopping(halt=True))
        self._workers.shut_down()
        self._inbox.close()
        for thread in threads:
            thread.join(max(0.0, started + limit - time.monotonic()))
        duration_seconds = round(time.monotonic() - started, 1)
        left = self._inbox.snapshot
        if left.is_idle and not any(thread.is_alive() for thread in threads):
            _log.info("daemon.stopped", duration_seconds=duration_seconds)
            return
        # A request that hangs keeps its thread, and the interpreter would wait for that. Nothing is lost: the next run
        # continues from the journal.
        _log.warning(
            "daemon.stop_timeout",
            duration_seconds=duration_seconds,
            account_count=len(left.running),
            accounts=left.running[:NAMES],
        )
        os._exit(0)
