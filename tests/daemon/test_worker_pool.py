"""The workers, the inbox and the number of threads."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

from rotator.core.protocol import Journal
from rotator.daemon.facts import (
    Fact,
    JournalLoaded,
    JournalUnreadable,
    SettingsLoaded,
    TaskBroke,
    Tick,
    VaultStateChanged,
)
from rotator.daemon.inbox import Inbox
from rotator.daemon.tasks import LoadJournal, Target
from rotator.daemon.worker_pool import WorkerPool
from rotator.emulator import Operation
from rotator.vault import VaultSealed
from testkit.cluster import Cluster
from tests.daemon.harness import Bench
from tests.daemon.test_daemon import open_accounts

# The main thread, signals, the web server, the registry, the scheduler, the Vault monitor and two workers.
MOST_THREADS = 8


def workers(bench: Bench, facts: "SimpleQueue[Fact]") -> WorkerPool:
    return WorkerPool(1, facts.put, bench.metrics, may_go_on=lambda: True, worker_is_wanted=lambda: False)


def test_work_is_answered_by_a_fact(bench: Bench) -> None:
    bench.start("a", vault={"address": "http://127.0.0.1:1", "timeout": "1s"})
    facts: SimpleQueue[Fact] = SimpleQueue()
    made, task = workers(bench, facts), LoadJournal(Target(bench.record("a").settings, bench.fleet))
    made.submit(task)
    fact = facts.get(timeout=20)
    made.shut_down()
    assert isinstance(fact, JournalUnreadable)
    assert fact.task is task


def test_internal_error_of_work_is_answered_and_counted(bench: Bench) -> None:
    bench.start("a")
    facts: SimpleQueue[Fact] = SimpleQueue()
    made = workers(bench, facts)
    task = LoadJournal(Target(bench.record("a").settings, None))  # type: ignore[arg-type]
    made.submit(task)
    fact = facts.get(timeout=20)
    made.shut_down()
    assert isinstance(fact, TaskBroke)
    assert (fact.task, "reconciler.py" in fact.place) == (task, True)
    assert bench.count("rotator_internal_errors_total") == 1


def test_inbox_shows_the_state_of_the_registry(bench: Bench) -> None:
    bench.start("a")
    inbox = Inbox(lambda: datetime.now(UTC))
    inbox.attach(bench.registry, SettingsLoaded(bench.fleet))
    thread = threading.Thread(target=inbox.run)
    thread.start()
    try:
        inbox.send(VaultStateChanged(bench.fleet.vault, VaultSealed("Vault is sealed")))
        inbox.wait()
        assert inbox.snapshot.status.not_ready == "Vault is sealed"
    finally:
        inbox.close()
        thread.join()


def test_inbox_survives_an_internal_error(bench: Bench) -> None:
    bench.start("a")
    inbox = Inbox(lambda: datetime.now(UTC))
    inbox.attach(bench.registry)
    thread = threading.Thread(target=inbox.run)
    thread.start()
    try:
        inbox.send(JournalLoaded(None, Journal()))  # type: ignore[arg-type]
        inbox.send(Tick())
        inbox.wait()
        assert thread.is_alive()
    finally:
        inbox.close()
        thread.join()


def test_idle_daemon_has_few_threads(cluster: Cluster) -> None:
    cluster.configure(open_accounts(cluster, "a"), balance={"every": "1s"}, daemon={"resync_interval": "1s"})
    with cluster.daemon() as daemon:
        daemon.wait_for("daemon.ready")
        daemon.wait_for("account.adopted")
        reads = [one for one in cluster.emulator.requests if one.operation is Operation.BALANCE]
        daemon.eventually(
            lambda: sum(one.operation is Operation.BALANCE for one in cluster.emulator.requests) > len(reads) + 2
        )
        tasks = list(Path(f"/proc/{daemon.process.popen.pid}/task").iterdir())
        names = sorted((task / "comm").read_text().strip() for task in tasks)
        assert len(tasks) <= MOST_THREADS, names
        assert daemon.end() == 0
