"""Runs of several accounts at the same time, within the limit of `daemon.concurrency`, and their order."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from queue import Empty, SimpleQueue

from rotator.config import AccountSettings
from rotator.rotation import Countdown, Outcome

RunAccount = Callable[[str, Outcome | None, Callable[[], bool]], Outcome]
"""Does a run of the named account.

It receives the outcome of the run that this one continues, or None, and a function that says whether another account
waits for this run's worker.
"""


class Wave:
    """Runs of several accounts. One that waits for its candidate needs no worker: a later run continues it.

    Args:
        run: Does one run, in a thread of its own.
        concurrency: How many run at the same time.
        stop: Set when the process ends. An account that waits then stays as its last run left it.
        clock: The present, aware UTC.
    """

    def __init__(
        self, run: RunAccount, *, concurrency: int, stop: threading.Event, clock: Callable[[], datetime]
    ) -> None:
        self._run = run
        self._concurrency = concurrency
        self._stop = stop
        self._clock = clock
        self._running: set[Future[Outcome]] = set()
        self._ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self._waiting: dict[str, tuple[Countdown, Outcome]] = {}  # by account: when its next run begins, how it ended

    def outcomes(self, names: Iterable[str]) -> Iterator[Outcome]:
        """Run the accounts; return the last outcome of each, as they end."""
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="account") as pool:
            for name in names:
                self._start(pool, name, None)
            while self._running or self._waiting:
                if self._stop.is_set():
                    yield from (outcome for _, outcome in self._waiting.values())
                    self._waiting.clear()
                for name in self._due():
                    self._start(pool, name, self._waiting.pop(name)[1])
                outcome = self._next_outcome()
                if outcome is None:
                    continue
                if outcome.resume_at is None:
                    yield outcome
                else:
                    wait = Countdown(outcome.resume_at - self._clock(), time.monotonic)
                    self._waiting[outcome.account] = (wait, outcome)

    def _start(self, pool: ThreadPoolExecutor, name: str, before: Outcome | None) -> None:
        future = pool.submit(self._run, name, before, self._is_full)
        self._running.add(future)
        future.add_done_callback(self._ended.put)

    def _is_full(self) -> bool:
        return len(self._running) > self._concurrency

    def _due(self) -> list[str]:
        return [name for name, (wait, _) in self._waiting.items() if not wait.left]

    def _next_outcome(self) -> Outcome | None:
        """Wait for the end of a run; None if an account that waits is due before, or the process ends."""
        if not self._running:
            self._stop.wait(self._seconds_to_resume())
            return None
        try:
            ended = self._ended.get(timeout=self._seconds_to_resume())
        except Empty:
            return None
        self._running.remove(ended)
        return ended.result()

    def _seconds_to_resume(self) -> float | None:
        """Return after how long the first account that waits is due; None if no account waits."""
        first = min((wait.left for wait, _ in self._waiting.values()), default=None)
        return None if first is None else first.total_seconds()


def waves(accounts: Sequence[AccountSettings]) -> list[list[AccountSettings]]:
    """Return the accounts in waves. A secondary might need its primary's secret, so primaries come last."""
    primaries = {account.primary for account in accounts}
    first = [account for account in accounts if account.name not in primaries]
    second = [account for account in accounts if account.name in primaries]
    return [wave for wave in (first, second) if wave]
