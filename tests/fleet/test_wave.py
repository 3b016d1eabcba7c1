"""Runs of several accounts at the same time: continuation, concurrency, and a stop."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from rotator.fleet.wave import RunAccount, Wave
from rotator.rotation import Outcome, Result

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def wave(
    run: RunAccount,
    *,
    concurrency: int = 1,
    stop: threading.Event | None = None,
    clock: Callable[[], datetime] = lambda: NOW,
) -> Wave:
    return Wave(run, concurrency=concurrency, stop=stop or threading.Event(), clock=clock)


def done(name: str) -> Outcome:
    return Outcome(name, Result.OK)


def unfinished(name: str, after: timedelta = timedelta()) -> Outcome:
    return Outcome(name, Result.DEFERRED, resume_at=NOW + after)


def test_run_that_waits_is_continued_with_its_outcome() -> None:
    befores: list[Outcome | None] = []

    def run(name: str, before: Outcome | None, _: Callable[[], bool]) -> Outcome:
        befores.append(before)
        return done(name) if before else unfinished(name)

    assert list(wave(run).outcomes(["shop"])) == [done("shop")]
    assert befores == [None, unfinished("shop")]


def test_run_that_waits_keeps_no_worker() -> None:
    """With one worker, the second account runs before the first one's next run."""
    order: list[str] = []

    def run(name: str, before: Outcome | None, _: Callable[[], bool]) -> Outcome:
        order.append(name)
        return unfinished(name) if name == "shop" and before is None else done(name)

    assert {outcome.account for outcome in wave(run).outcomes(["shop", "alerts"])} == {"shop", "alerts"}
    assert order == ["shop", "alerts", "shop"]


@pytest.mark.parametrize(("names", "expected"), [(["shop"], False), (["shop", "alerts"], True)])
def test_worker_is_wanted_while_another_account_has_none(names: list[str], expected: bool) -> None:
    all_started = threading.Event()
    wanted: list[bool] = []

    def run(name: str, _before: Outcome | None, worker_is_wanted: Callable[[], bool]) -> Outcome:
        all_started.wait()
        wanted.append(worker_is_wanted())
        return done(name)

    def given() -> Iterator[str]:
        yield from names
        all_started.set()

    assert [outcome.account for outcome in wave(run).outcomes(given())] == names
    assert wanted[0] is expected


def test_waiting_account_keeps_last_outcome_when_process_stops() -> None:
    stop = threading.Event()

    def run(name: str, _before: Outcome | None, _: Callable[[], bool]) -> Outcome:
        stop.set()
        return unfinished(name, timedelta(hours=1))

    assert list(wave(run, stop=stop).outcomes(["shop"])) == [unfinished("shop", timedelta(hours=1))]


def test_clock_set_back_lengthens_no_wait() -> None:
    stop = threading.Event()
    now = [NOW]

    def run(name: str, before: Outcome | None, _: Callable[[], bool]) -> Outcome:
        return done(name) if before else unfinished(name, timedelta(milliseconds=50))

    def clock() -> datetime:
        """The clock is set back right after the run's end was read."""
        return now.pop() if now else NOW - timedelta(hours=1)

    timeout = threading.Timer(30, stop.set)
    timeout.start()
    try:
        assert list(wave(run, stop=stop, clock=clock).outcomes(["shop"])) == [done("shop")]
    finally:
        timeout.cancel()
