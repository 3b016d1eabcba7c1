"""Keeps the session with Vault alive, and reports how Vault is and which journals commands changed."""

import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from rotator.daemon.facts import JournalsChanged, VaultStateChanged
from rotator.documents import parse_fleet
from rotator.errors import Code, RotatorError
from rotator.fleet import Fleet, log_internal_error
from rotator.monitoring import Metrics
from rotator.vault import Vault

# Interval between checks of Vault while it is available, and while it is not.
HEARTBEAT = timedelta(seconds=10)
HEARTBEAT_UNAVAILABLE = timedelta(seconds=1)

_log = structlog.get_logger()


class VaultMonitor:
    """Asks Vault in a thread of its own: a worker that hangs must not cost the session.

    Args:
        fleet: Returns the fleet in use, also after a reload.
    """

    def __init__(
        self,
        fleet: Callable[[], Fleet],
        send: Callable[[VaultStateChanged | JournalsChanged], None],
        metrics: Metrics,
        stop: threading.Event,
    ) -> None:
        self._fleet = fleet
        self._send = send
        self._metrics = metrics
        self._stop = stop
        self._nudge = threading.Event()
        # Whose it is, where, and its sequence number when it was last read.
        self._fleet_document: tuple[Vault, str, int] | None = None
        self._read_failure: Code | None = None

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
                log_internal_error(error)
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
            self._send(VaultStateChanged(fleet.vault, error))
            return False
        finally:
            if fleet.vault is self._fleet().vault:
                self._metrics.token_expires(fleet.vault.token_expiry())
        changed = self._listen(fleet)  # before the journals are read for the first time: no change is missed in between
        self._send(VaultStateChanged(fleet.vault, None))
        if changed is not None:
            self._send(changed)
        return True

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
