"""Keeps the session with Vault alive, and reports how Vault is and which journals commands changed."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from rotator.daemon.facts import JournalsChanged, VaultStateChanged
from rotator.documents import parse_fleet
from rotator.errors import Code, InternalError, RotatorError
from rotator.fleet import Fleet, log_internal_error
from rotator.monitoring import Metrics
from rotator.vault import Vault

# Interval between checks of Vault while it is available, and while it is not.
HEARTBEAT = timedelta(seconds=10)
HEARTBEAT_UNAVAILABLE = timedelta(seconds=1)
# Without a report for this long, and for this number of `vault.timeout`, the last one says nothing any more.
_SILENT = timedelta(minutes=3)
_SILENT_TIMEOUTS = 10

_log = structlog.get_logger()


class VaultMonitor:
    """Asks Vault in a thread of its own: a worker that hangs must not cost the session.

    Args:
        fleet: Returns the fleet in use, also after a reload.
        monotonic: Returns seconds that only grow.
    """

    def __init__(
        self,
        fleet: Callable[[], Fleet],
        send: Callable[[VaultStateChanged | JournalsChanged], None],
        metrics: Metrics,
        stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._send = send
        self._metrics = metrics
        self._stop = stop
        self._nudge = threading.Event()
        # Whose it is, where, and its sequence number when it was last read.
        self._fleet_document: tuple[Vault, str, int] | None = None
        self._read_failure: Code | None = None
        self._monotonic = monotonic
        self._reported_at = monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether the last report is too old to say anything; from any thread."""
        patience = _SILENT + _SILENT_TIMEOUTS * self._fleet().settings.vault.timeout
        return self._monotonic() > self._reported_at + patience.total_seconds()

    def check_soon(self) -> None:
        """Ask Vault now, because a request failed or the process ends."""
        self._nudge.set()

    def run(self) -> None:
        """Ask Vault until the process ends; for a thread."""
        while not self._stop.is_set():
            heartbeat = HEARTBEAT_UNAVAILABLE
            try:
                if self.check():
                    heartbeat = HEARTBEAT
            except Exception as error:  # noqa: BLE001 - an internal error must not leave the session to itself
                self._metrics.job_failed()
                problem = InternalError("ask Vault", place=log_internal_error(error))
                self._report(VaultStateChanged(self._fleet().vault, problem))
            self._nudge.wait(heartbeat.total_seconds())
            self._nudge.clear()

    def check(self) -> bool:
        """Ask Vault, and report what it answers.

        Returns:
            Whether Vault is available.
        """
        fleet = self._fleet()
        try:
            fleet.vault.keep_alive()
            fleet.vault.check_mount()  # the documents can be gone while the server and the token are unchanged
        except RotatorError as error:
            self._report(VaultStateChanged(fleet.vault, error))
            return False
        finally:
            if fleet.vault is self._fleet().vault:
                self._metrics.token_expires(fleet.vault.token_expiry())
        changed = self._listen(fleet)  # before the journals are read for the first time: no change is missed in between
        self._report(VaultStateChanged(fleet.vault, None))
        if changed is not None:
            self._send(changed)
        return True

    def _report(self, state: VaultStateChanged) -> None:
        self._reported_at = self._monotonic()
        self._send(state)

    def _listen(self, fleet: Fleet) -> JournalsChanged | None:
        """Return which journals commands changed since the last heartbeat; None: no journal."""
        path = fleet.settings.fleet_path
        try:
            document = parse_fleet(fleet.vault.read(path))
        except RotatorError as error:
            if error.code is not self._read_failure:
                _log.info("fleet.read_failed", error=str(error))
            self._read_failure = error.code
            return None
        self._read_failure = None
        before = self._fleet_document
        self._fleet_document = (fleet.vault, path, document.sequence)
        if before is None or before[:2] != (fleet.vault, path) or before[2] == document.sequence:
            return None
        return JournalsChanged(document.changed_since(before[2]))
