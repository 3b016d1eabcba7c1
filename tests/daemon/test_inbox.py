"""The registry's thread: what becomes of facts and snapshots when something goes wrong."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from rotator.daemon.facts import Tick
from rotator.daemon.inbox import Inbox
from testkit.cluster import eventually

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Faulty:
    """A registry that fails at one of its facts, or at one of its snapshots.

    Attributes:
        handled: How many facts it got.
        asked: How often it was asked for its next instant.
        wants: That instant.
    """

    def __init__(
        self, *, fails_at: int | None = None, cannot_show: int | None = None, wants: datetime | Exception | None = None
    ) -> None:
        self.handled = self.asked = 0
        self._fails_at, self._cannot_show, self.wants = fails_at, cannot_show, wants

    def handle(self, _fact: object, _now: datetime) -> None:
        self.handled += 1
        if self.handled == self._fails_at:
            raise LookupError("a mistake")

    def next_at(self) -> datetime | None:
        self.asked += 1
        if isinstance(self.wants, Exception):
            raise self.wants
        return self.wants

    def snapshot(self, _now: datetime) -> int:
        if self.handled == self._cannot_show:
            raise LookupError("a mistake")
        return self.handled


@contextmanager
def running(registry: Any) -> Iterator[Inbox]:
    """An inbox whose thread runs as long as the context lasts."""
    inbox = Inbox(lambda: NOW)
    inbox.attach(registry)
    thread = threading.Thread(target=inbox.run)
    thread.start()
    try:
        yield inbox
    finally:
        inbox.close()
        thread.join()


def test_snapshot_is_renewed_after_internal_error() -> None:
    """What the fact changed before the error is shown at once: the next fact can be hours away."""
    with running(Faulty(fails_at=1)) as inbox:
        inbox.send(Tick())
        eventually(lambda: cast("Any", inbox.snapshot) == 1)


@pytest.mark.parametrize("registry", [Faulty(fails_at=1), Faulty(cannot_show=1)], ids=["fact", "snapshot"])
def test_internal_error_does_not_end_the_thread(registry: Faulty) -> None:
    with capture_logs() as logs, running(registry) as inbox:
        inbox.send(Tick())
        inbox.wait()
        inbox.send(Tick())
        inbox.wait()
        assert cast("Any", inbox.snapshot) == 2
    assert {(entry["event"], entry["error"]) for entry in logs} == {("internal_error", "LookupError")}


def test_error_that_repeats_does_not_occupy_the_thread() -> None:
    """Its next instant stays past if the error came before the registry set another one."""
    registry = Faulty(fails_at=1, wants=NOW - timedelta(hours=1))
    with running(registry) as inbox:
        eventually(lambda: registry.asked == 2)
        assert registry.handled == 1
        registry.wants = None
        inbox.send(Tick())
        inbox.wait()
        assert registry.handled == 2


def test_next_instant_error_does_not_end_the_thread() -> None:
    registry = Faulty(wants=LookupError("a mistake"))
    with capture_logs() as logs, running(registry) as inbox:
        eventually(lambda: registry.asked == 1)
        inbox.send(Tick())
        inbox.wait()
        assert (registry.handled, registry.asked) == (1, 3)
    assert {(entry["event"], entry["error"]) for entry in logs} == {("internal_error", "LookupError")}


def test_first_snapshot_that_fails_ends_the_start() -> None:
    with pytest.raises(LookupError):
        Inbox(lambda: NOW).attach(cast("Any", Faulty(cannot_show=0)))


def test_registry_that_does_not_get_on_is_stuck() -> None:
    """Not while it has nothing to do, however long that is."""
    now = [0.0]
    reached, release = threading.Event(), threading.Event()

    class Slow(Faulty):
        def handle(self, _fact: object, _now: datetime) -> None:
            super().handle(_fact, _now)
            if self.handled == 1:
                return
            reached.set()
            release.wait()

    inbox = Inbox(lambda: NOW, lambda: now[0])
    registry = Slow()
    inbox.attach(cast("Any", registry))
    thread = threading.Thread(target=inbox.run)
    thread.start()
    stuck = []
    try:
        inbox.send(Tick())
        eventually(lambda: registry.asked == 2)
        now[0] += 3600
        stuck.append(inbox.is_stuck)
        inbox.send(Tick())
        assert reached.wait(20)
        stuck.append(inbox.is_stuck)
        now[0] += 61
        stuck.append(inbox.is_stuck)
    finally:
        release.set()
        inbox.close()
        thread.join()
    assert [*stuck, inbox.is_stuck] == [False, False, True, False]
