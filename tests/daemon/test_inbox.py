"""The registry's thread: what becomes of facts and snapshots when something goes wrong."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from rotator.daemon.facts import Tick
from rotator.daemon.inbox import Inbox
from testkit.cluster import eventually

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Faulty:
    """A registry that fails at one of its facts, or at one of its snapshots."""

    def __init__(self, *, fails_at: int | None = None, cannot_show: int | None = None) -> None:
        self.handled = 0
        self._fails_at, self._cannot_show = fails_at, cannot_show

    def handle(self, _fact: object, _now: datetime) -> None:
        self.handled += 1
        if self.handled == self._fails_at:
            raise LookupError("a mistake")

    def next_at(self) -> None:
        return None

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


@pytest.mark.parametrize("fails", ["fails_at", "cannot_show"])
def test_internal_error_does_not_end_the_thread(fails: str) -> None:
    with capture_logs() as logs, running(Faulty(**{fails: 1})) as inbox:
        inbox.send(Tick())
        inbox.wait()
        inbox.send(Tick())
        inbox.wait()
        assert cast("Any", inbox.snapshot) == 2
    assert {(entry["event"], entry["error"]) for entry in logs} == {("internal_error", "LookupError")}


def test_first_snapshot_that_fails_ends_the_start() -> None:
    with pytest.raises(LookupError):
        Inbox(lambda: NOW).attach(cast("Any", Faulty(cannot_show=0)))
