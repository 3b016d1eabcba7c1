"""A cluster whose leader dies or lags: no write is lost or done twice, and no older document is read."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rotator.config import VaultSettings
from rotator.vault import CasConflict, Vault, VaultError
from testkit.cluster import PATIENCE
from testkit.openbao import RaftCluster, running_raft
from testkit.proxy import FORWARD, FaultProxy
from tests.vault.kv_mount import SEALED, documents


@pytest.fixture(scope="module")
def raft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaftCluster]:
    with running_raft(tmp_path_factory.mktemp("raft"), 3) as cluster:
        yield cluster


def raft_settings(cluster: RaftCluster, **changes: Any) -> VaultSettings:
    values: dict[str, Any] = {
        "address": cluster.addresses,
        "timeout": "5s",
        "auth": {"token": cluster.admin.root_token},
    }
    return VaultSettings(**values | changes)


def test_lagging_standby_never_returns_older_documents(raft: RaftCluster) -> None:
    """Such a server answers reads by itself, and without being told what was seen it is behind in half of these."""
    with FaultProxy(raft.addresses[0]).running() as leader, FaultProxy(raft.addresses[1]).running() as standby:
        leader.on_request = lambda call: SEALED if call.method == "GET" else FORWARD
        standby.on_request = lambda call: SEALED if call.method == "POST" else FORWARD
        vault = Vault(raft_settings(raft, address=[leader.address, standby.address]))
        for number in range(60):
            vault.write("seen/written", {"n": number}, cas=number)
            assert vault.read("seen/written").data == {"n": number}
    assert len(documents(standby)) >= 2 * 60


class Increments:
    """Threads that count in one document by check-and-set, and note what they were told."""

    def __init__(self, settings: VaultSettings, threads: int = 8) -> None:
        self.vault = Vault(settings, pool_size=threads)
        self.vault.write("counter", {"n": 0, "by": "nobody"}, cas=0)
        assert self.vault.keep_versions("counter", 100_000)  # every one is looked at in the end
        self.acknowledged: dict[int, str] = {}
        self.uncertain: set[str] = set()
        self.errors: Counter[str] = Counter()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads)
        self._futures = [self._pool.submit(self._count, name) for name in range(threads)]

    def await_more(self, count: int, timeout: float = 2 * PATIENCE) -> None:
        """Wait for so many further increments."""
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + timeout
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"it does not go on: {self.errors}"
            time.sleep(0.01)

    def stop(self) -> None:
        self._over.set()
        for future in self._futures:
            future.result(2 * PATIENCE)  # anything but a VaultError ends here
        self._pool.shutdown()

    def _count(self, thread: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            tag = f"{thread}/{number}"
            sent = False
            try:
                document = self.vault.read("counter")
                assert document.data is not None
                sent = True
                following = {"n": document.data["n"] + 1, "by": tag}
                version = self.vault.write("counter", following, cas=document.version)
            except CasConflict:
                continue
            except VaultError as error:
                with self._lock:
                    self.errors[type(error).__name__] += 1
                    if sent and getattr(error, "maybe_done", False):
                        self.uncertain.add(tag)
            else:
                with self._lock:
                    assert version not in self.acknowledged, "two threads were told that the same version is theirs"
                    self.acknowledged[version] = tag

    def _last(self) -> int:
        """The newest version, which this thread knows of once it has written one itself: a standby may lag behind."""
        while True:
            document = self.vault.read("counter")
            assert document.data is not None
            with contextlib.suppress(CasConflict):
                last = self.vault.write("counter", {"n": document.data["n"] + 1, "by": "end"}, cas=document.version)
                self.acknowledged[last] = "end"
                return last

    def assert_exact(self) -> None:
        """Every acknowledged increment is there once, and nothing else but what may be."""
        last = self._last()
        written = {number: self.vault.read("counter", number).data for number in range(2, last + 1)}
        for number, data in written.items():
            assert data is not None
            assert data["n"] == number - 1, "one was lost or doubled"
        tags = [data["by"] for data in written.values() if data]
        assert len(set(tags)) == len(tags), "one was written twice"
        for number, tag in self.acknowledged.items():
            assert tags[number - 2] == tag
        assert set(tags) - set(self.acknowledged.values()) <= self.uncertain, "it was written, but not acknowledged"


def test_killed_leader_loses_and_doubles_no_write(raft: RaftCluster) -> None:
    work = Increments(raft_settings(raft))
    try:
        work.await_more(20)
        raft.nodes[0].kill()
        work.await_more(20)
        raft.start(raft.nodes[0])
        work.await_more(20)
    finally:
        work.stop()
    work.assert_exact()


def test_restarted_server_loses_and_doubles_no_write(tmp_path: Path) -> None:
    with running_raft(tmp_path, 1) as cluster:
        work = Increments(raft_settings(cluster, timeout="2s"))
        try:
            for _ in range(2):
                work.await_more(30)
                cluster.nodes[0].kill()
                cluster.start(cluster.nodes[0])
            work.await_more(30)
        finally:
            work.stop()
        work.assert_exact()
