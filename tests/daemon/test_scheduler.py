"""The jobs: each reports once at its time, whatever the machine's time zone is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue

import pytest

from rotator.daemon.scheduler import Scheduler

FAR = datetime.now(UTC) + timedelta(days=1)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


class Reported:
    """What a job queue reported. Nothing waits: jobs of the past are due as soon as the queue resumes."""

    def __init__(self) -> None:
        self._names: SimpleQueue[str] = SimpleQueue()
        self.jobs = Scheduler(self._names.put)

    def take(self) -> str:
        return self._names.get(timeout=20)

    @property
    def is_empty(self) -> bool:
        try:
            self._names.get_nowait()
        except Empty:
            return True
        return False


@pytest.fixture
def reported() -> Iterator[Reported]:
    made = Reported()
    made.jobs.start()
    yield made
    made.jobs.shut_down()


def test_job_is_reported_once_even_if_late(reported: Reported) -> None:
    reported.jobs.set("a", PAST)
    reported.jobs.resume()
    assert reported.take() == "a"
    reported.jobs.set("mark", PAST)
    assert reported.take() == "mark"


def test_set_replaces_the_job_of_an_account(reported: Reported) -> None:
    reported.jobs.set("a", PAST)
    reported.jobs.set("a", FAR)
    reported.jobs.set("b", FAR)
    reported.jobs.set("b", PAST)
    reported.jobs.resume()
    assert reported.take() == "b"
    assert reported.is_empty


def test_cancel_removes_a_job_if_there_is_one(reported: Reported) -> None:
    reported.jobs.cancel("nothing")
    reported.jobs.set("a", PAST)
    reported.jobs.cancel("a")
    reported.jobs.set("mark", PAST)
    reported.jobs.resume()
    assert reported.take() == "mark"
    assert reported.is_empty


def test_paused_queue_reports_after_resume(reported: Reported) -> None:
    reported.jobs.resume()
    reported.jobs.pause()
    reported.jobs.set("a", PAST)
    assert reported.is_empty
    reported.jobs.resume()
    assert reported.take() == "a"


def test_report_may_set_the_next_job(reported: Reported) -> None:
    """The registry sets jobs while the scheduler reports others."""
    reported.jobs.resume()
    for _ in range(20):
        reported.jobs.set("a", PAST)
        assert reported.take() == "a"


def test_queue_can_be_used_after_the_end(reported: Reported) -> None:
    """Facts that arrive late during a shutdown set and pause jobs."""
    made = Reported()
    made.jobs.set("a", PAST)
    made.jobs.pause()
    made.jobs.resume()
    made.jobs.start()
    made.jobs.shut_down()
    made.jobs.pause()
    made.jobs.resume()
    made.jobs.cancel("a")
    made.jobs.wake_up()


@pytest.mark.parametrize("zone", ['"Europe/Rome"', "UTC+3", "No/Such_Zone"])
def test_job_ignores_an_invalid_time_zone(reported: Reported, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    reported.jobs.set("a", PAST)
    reported.jobs.resume()
    assert reported.take() == "a"
