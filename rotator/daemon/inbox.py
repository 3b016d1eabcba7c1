"""The registry's thread and its inbox."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from queue import Empty, SimpleQueue

from rotator.daemon.facts import Fact, Tick
from rotator.daemon.registry import Registry, Snapshot
from rotator.fleet import log_internal_error

# How old the snapshot gets while facts come faster than the registry takes them in.
_STALE = 0.1
# The pause after an internal error that can repeat by itself, unless a fact arrives.
_PAUSE = 10.0
# A registry that works on one fact for this long does not get on any more.
_STUCK = 60.0
# How long `wait` waits for a registry that does not answer.
_PATIENCE = 5.0


class Inbox:
    """Hands facts from all threads to the registry, one after the other.

    Args:
        clock: Returns the present, aware UTC.
        monotonic: Returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._facts: SimpleQueue[Fact | threading.Event | None] = SimpleQueue()
        self._snapshot: Snapshot | None = None
        self._seen_at = 0.0  # when the snapshot was made, by the monotonic clock
        self._pause = 0.0  # the shortest wait for the next tick
        self._busy_since: float | None = None  # by the monotonic clock

    def send(self, fact: Fact) -> None:
        """Hand over a fact; from any thread, without waiting."""
        self._facts.put(fact)

    def close(self) -> None:
        """End `run` after the facts that were sent until now."""
        self._facts.put(None)

    def wait(self) -> None:
        """Wait until the registry has taken in the facts that were sent until now; from any other thread."""
        taken_in = threading.Event()
        self._facts.put(taken_in)
        taken_in.wait(_PATIENCE)

    @property
    def snapshot(self) -> Snapshot:
        """The registry after the last facts; from any thread."""
        if self._snapshot is None:
            raise RuntimeError("There is no registry yet")
        return self._snapshot

    @property
    def is_stuck(self) -> bool:
        """Whether the registry does not get on; from any thread."""
        since = self._busy_since
        return since is not None and self._monotonic() > since + _STUCK

    def attach(self, registry: Registry, *facts: Fact) -> None:
        """Have the registry take in its first facts, before its thread runs."""
        self._registry = registry
        for fact in facts:
            registry.handle(fact, self._clock())
        self._snapshot = registry.snapshot(self._clock())

    def run(self) -> None:
        """Hand over facts until the inbox is closed; for a thread."""
        while (fact := self._next()) is not None:
            self._busy_since = self._monotonic()
            if isinstance(fact, threading.Event):
                self._see()
                fact.set()
                continue
            try:
                self._registry.handle(fact, self._clock())
                self._pause = 0.0
            except Exception as error:  # noqa: BLE001 - an internal error about one fact must not end the daemon
                log_internal_error(error)
                self._pause = _PAUSE
            if self._facts.empty() or self._monotonic() > self._seen_at + _STALE:
                self._see()

    def _see(self) -> None:
        self._seen_at = self._monotonic()
        try:
            self._snapshot = self._registry.snapshot(self._clock())
        except Exception as error:  # noqa: BLE001 - the same
            log_internal_error(error)

    def _next(self) -> Fact | threading.Event | None:
        try:
            timeout = self._seconds_to_tick()
            self._busy_since = None
            return self._facts.get(timeout=timeout)
        except Empty:
            return Tick()

    def _seconds_to_tick(self) -> float | None:
        """Return the wait for a fact after which the registry gets a `Tick`; None if it waits for facts only."""
        try:
            at = self._registry.next_at()
        except Exception as error:  # noqa: BLE001 - the same
            log_internal_error(error)
            return _PAUSE
        return None if at is None else max(self._pause, (at - self._clock()).total_seconds())
