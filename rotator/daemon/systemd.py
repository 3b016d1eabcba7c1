"""What the daemon tells systemd, as sd_notify(3) does: ready, stopping, alive."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta


class Systemd:
    """The service manager that started this process; nobody hears anything where there is none.

    Args:
        environment: Where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID stand.

    Attributes:
        pulse: How often it wants to hear that this process is alive, half of the time that it waits; None: it does not.
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
        """Whether there is one."""
        return bool(self._address)

    def ready(self) -> None:
        """The work has begun."""
        self._is_ready = True
        self._send("READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """As long as the block lasts. Who is not ready yet is not ready afterwards either, so nothing is said then."""
        if not self._is_ready:
            yield
            return
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self._send("READY=1")

    def stopping(self) -> None:
        """No new work is begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Keep the watchdog quiet; may be called more often than `pulse`."""
        now = time.monotonic()
        if self.pulse is not None and now >= self._next_beat:
            self._next_beat = now + self.pulse.total_seconds()
            self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """What `systemctl status` shows; sent when it changes."""
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, *assignments: str) -> None:
        # A manager that is gone is no reason to fail, and one that reads nothing must not stop the work.
        if self.listens:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(0)
                manager.sendto("\n".join(assignments).encode(), self._address)
