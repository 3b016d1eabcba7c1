"""Time that one operation of a Vault session may take."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rotator.vault.errors import VaultUnreachable

# In units of vault.timeout, with logins and retries: an operation that only reads, and one that writes. The pause
# before an attempt that finds no time left comes on top.
LONGEST_READ, LONGEST_WRITE = 2, 4
# Seconds that one operation waits at most while Vault limits the rate: a minute is a common interval of a quota.
# Together with the longest write it has to stay below daemon.lease.
LONGEST_THROTTLING = 65.0


class TimeLimit:
    """Deadline of one operation; belongs to the thread that runs the operation.

    Waiting because of Vault's rate limit moves the deadline, and has a limit of its own.

    Attributes:
        may_wait: Seconds that the operation may still wait because of Vault's rate limit.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ends = monotonic() + seconds
        self.may_wait = LONGEST_THROTTLING

    @property
    def ends(self) -> float:
        """The deadline, by the monotonic clock."""
        return self._ends

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self._ends - self._monotonic())

    def extend(self, waited: float) -> None:
        """Move the deadline by the seconds that the operation waited because of Vault's rate limit."""
        self._ends += waited
        self.may_wait -= waited

    @contextmanager
    def reserving(self, seconds: float) -> Iterator[None]:
        """Keep these seconds for what follows the block."""
        self._ends -= seconds
        try:
            yield
        finally:
            self._ends += seconds

    @contextmanager
    def exclusively(self, lock: threading.Lock, is_throttled: Callable[[], bool], deed: str) -> Iterator[None]:
        """Let one thread at a time do something; the others wait for it as long as they have time.

        Args:
            is_throttled: Whether Vault limits the rate of requests, so that the other thread might wait for that.
            deed: The work that one thread does at a time, for the error.

        Raises:
            VaultUnreachable: If the other thread takes too long.
        """
        began = self._monotonic()
        acquired = lock.acquire(timeout=self.left)
        if is_throttled():
            acquired = acquired or lock.acquire(timeout=max(0.0, self.may_wait))
            self.extend(self._monotonic() - began)
        if not acquired:
            raise VaultUnreachable(f"Another thread is still {deed}", maybe_done=False)
        try:
            yield
        finally:
            lock.release()
