"""The signals that the daemon receives."""

import contextlib
import signal
import threading
from queue import Empty, SimpleQueue

from rotator.startup_signals import HANDLED


class Signals:
    """The signals that the process receives. They are blocked in every thread: no handler interrupts any work.

    One thread waits for them, without a timeout: Python's `sigtimedwait` invents a signal for a process that was
    stopped (SIGSTOP, a frozen container) for longer than the timeout.
    """

    def __init__(self) -> None:
        self._received: SimpleQueue[int] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._wait, name="signals", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        while True:
            number = signal.sigwait(HANDLED)
            if self._closed:
                return  # not before: `close` sends a signal to a thread that has to exist
            self._received.put(number)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        signal.pthread_kill(self._thread.ident or 0, signal.SIGHUP)
        self._thread.join()

    def take(self, timeout: float) -> int | None:
        """Return the next signal, or None if there is none within this number of seconds."""
        with contextlib.suppress(Empty):
            return self._received.get(timeout=timeout)
        return None
