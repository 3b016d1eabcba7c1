"""Jobs that cannot be set: counted, shown and tried again; not ready if that concerns every account."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

import rotator.daemon.daemon
from rotator.config import load
from rotator.core.planning import Planning
from rotator.daemon import Daemon
from rotator.errors import Code
from rotator.monitoring import expose
from testkit.cluster import Cluster, eventually
from tests.daemon.test_daemon import QUICK, creates, open_accounts


def after(*accounts: str) -> Planning:
    planning = Planning()
    for account in accounts:
        planning = planning.after_failure(account, f"fault of {account}")
    return planning


def test_one_failure_is_no_trouble_of_all() -> None:
    assert after().trouble(accounts=5) is None
    assert after("a").trouble(accounts=5) is None
    assert after("a").trouble(accounts=1) is None


def test_two_accounts_in_a_row_are_trouble_of_all() -> None:
    assert after("a", "b").trouble(accounts=5) == "fault of b"


def test_one_account_alone_among_others_is_its_own_trouble() -> None:
    assert after("a", "a", "a").trouble(accounts=5) is None
    assert after("a", "a").trouble(accounts=1) == "fault of a"


def test_a_job_that_is_set_proves_that_planning_works() -> None:
    planning = after("a", "b").after_success("c", job_set=True)
    assert planning.trouble(accounts=5) is None
    assert planning.failed == ("a", "b")
    assert planning.after_failure("a", "again").trouble(accounts=5) is None


def test_an_account_that_needs_no_job_proves_nothing() -> None:
    planning = after("a", "b").after_success("b", job_set=False)
    assert planning.trouble(accounts=5) == "fault of b"
    assert planning.failed == ("a",)


def test_accounts_are_tried_again_in_turn() -> None:
    planning = after("a", "b", "c")
    assert planning.failed == ("a", "b", "c")
    assert planning.after_failure("a", "again").failed == ("b", "c", "a")


@pytest.mark.parametrize("zone", ['"Europe/Rome"', "UTC+3", ":/no/such/file", "No/Such_Zone"])
def test_daemon_rotates_when_the_time_zone_of_the_machine_is_invalid(cluster: Cluster, zone: str) -> None:
    cluster.configure(open_accounts(cluster, "a"), defaults=QUICK)
    with cluster.daemon(env={"TZ": zone}) as daemon:
        daemon.wait_for("rotation.published", account="a")
        daemon.wait_until_ready()
    assert daemon.find("internal_error") == []


@contextmanager
def running_daemon(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Daemon], object]
) -> Iterator[Daemon]:
    """A daemon in this process."""
    monkeypatch.setenv("VAULT_TOKEN", cluster.bao.root_token.get_secret_value())
    monkeypatch.setattr(rotator.daemon.daemon, "PLANNING_RETRY", timedelta(milliseconds=200))
    daemon = Daemon(cluster.config, load(cluster.config))
    prepare(daemon)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        eventually(lambda: len(daemon.status().accounts) > 0)
        yield daemon
    finally:
        [waits] = [each for each in threading.enumerate() if each.name == "signals"]
        signal.pthread_kill(waits.ident or 0, signal.SIGTERM)
        thread.join(20)
    assert not thread.is_alive()


def failures(daemon: Daemon) -> float:
    text = expose(daemon.metrics, daemon.status())[0].decode()
    [line] = [line for line in text.splitlines() if line.startswith("rotator_planning_failures_total ")]
    return float(line.split()[1])


def test_daemon_is_not_ready_while_no_job_can_be_set(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.configure(open_accounts(cluster, "a", "b"), defaults=QUICK)
    broken = threading.Event()
    broken.set()

    def prepare(daemon: Daemon) -> None:
        add_job = daemon._scheduler.add_job

        def add(*arguments: Any, **options: Any) -> Any:
            if broken.is_set():
                raise ValueError("hunter2")
            return add_job(*arguments, **options)

        monkeypatch.setattr(daemon._scheduler, "add_job", add)

    with running_daemon(cluster, monkeypatch, prepare) as daemon:
        eventually(lambda: "could not set a job" in (daemon.status().not_ready or ""))
        status = daemon.status()
        assert not status.ready
        assert "hunter2" not in str(status)
        eventually(lambda: all(account.failure is Code.INTERNAL_ERROR for account in daemon.status().accounts))
        assert failures(daemon) >= 2
        broken.clear()
        eventually(lambda: all(creates(cluster, name) > 0 for name in "ab"))
        eventually(lambda: daemon.status().ready)
        assert [account.failure for account in daemon.status().accounts] == [None, None]


def test_one_account_that_cannot_be_planned_is_shown_and_the_others_go_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.configure(open_accounts(cluster, "a", "b"), defaults=QUICK)
    broken = threading.Event()
    broken.set()

    def prepare(daemon: Daemon) -> None:
        describe = daemon._describe

        def describe_or_fail(account: Any) -> Any:
            if broken.is_set() and account.settings.name == "b" and account.journal is not None:
                raise OverflowError
            return describe(account)

        monkeypatch.setattr(daemon, "_describe", describe_or_fail)

    with running_daemon(cluster, monkeypatch, prepare) as daemon:
        eventually(lambda: creates(cluster, "a") > 1)
        eventually(lambda: failures(daemon) > 2)
        eventually(lambda: daemon.status().ready)
        a, b = daemon.status().accounts
        assert (a.failure, b.failure) == (None, Code.INTERNAL_ERROR)
        assert "could not set a job" in (b.last_error or "")
        assert creates(cluster, "b") == 0
        broken.clear()
        eventually(lambda: creates(cluster, "b") > 0)


def test_a_run_that_breaks_is_shown_and_tried_again_later(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    runs: list[str] = []

    def prepare(daemon: Daemon) -> None:
        def attend(account: Any, *_: Any) -> None:
            runs.append(account.settings.name)
            raise ValueError("hunter2")

        monkeypatch.setattr(daemon, "_attend", attend)

    with running_daemon(cluster, monkeypatch, prepare) as daemon:
        eventually(lambda: daemon.status().accounts[0].failure is Code.INTERNAL_ERROR)
        account = daemon.status().accounts[0]
        assert account.next_attempt_at is not None
        assert account.next_attempt_at > daemon.now() + timedelta(seconds=30)
        assert runs == ["a"]
