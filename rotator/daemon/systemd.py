"""Reports the state of the daemon to systemd, as sd_notify(3) does: ready, reloading, stopping, alive."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rotator.monitoring import FleetStatus


class Systemd:
    """The service manager that started this process. Without one, reports go nowhere.

    Args:
        environment: Contains NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.

    Attributes:
        pulse: Half of the watchdog's timeout: how often to report that this process is alive; None: no watchdog.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        wanted = address and mine and microseconds.isdecimal() and int(microseconds)
        self.pulse = timedelta(microseconds=int(microseconds)) / 2 if wanted else None
        self._next_beat = 0.0
        self._is_ready = False
        self._status = ""

    @property
    def listens(self) -> bool:
        """Whether there is a service manager."""
        return bool(self._address)

    def ready(self) -> None:
        """Report that the daemon is ready."""
        self._is_ready = True
        self._send("READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report a reload as long as the block lasts. A daemon that is not ready yet reports nothing."""
        if not self._is_ready:
            yield
            return
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self._send("READY=1")

    def stopping(self) -> None:
        """Report that the daemon ends."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Report that the process is alive, if that is due. You can call this more often than `pulse`."""
        now = time.monotonic()
        if self.pulse is not None and now >= self._next_beat:
            self._next_beat = now + self.pulse.total_seconds()
            self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """Report the line that `systemctl status` shows, if it changed."""
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, *assignments: str) -> None:
        # A service manager that is gone is no reason to fail, and one that reads nothing must not block the daemon.
        if self.listens:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(0)
                manager.sendto("\n".join(assignments).encode(), self._address)


def summarize(status: FleetStatus) -> str:
    """Return the state in one line without text from elsewhere: errors belong into the log, which masks secrets."""
    if not status.ready:
        return "Not ready: Vault does not work, no job can be set, or journals were not read yet. See the log"
    failing = sum(account.last_error is not None for account in status.accounts)
    failures = f", {failing} with a failure" if failing else ""
    breaker = ". The circuit breaker is open" if status.circuit_breaker else ""
    refused = ". The configuration file is wrong or missing" if status.configuration_error else ""
    return f"{len(status.accounts)} accounts{failures}{breaker}{refused}"
