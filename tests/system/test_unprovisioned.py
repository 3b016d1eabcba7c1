"""A 401 that says nothing about the secret is no evidence: nothing is rescued, revoked, published or given up on it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.emulator import Emulator, Operation, Revision, running
from testkit.cluster import Cluster, WallClock, eventually
from tests.system.harness import ENOUGH, ClusterAccount, assert_ok

pytestmark = pytest.mark.timeout(280)

CHILD = "any:unprovisioned:*@key=childky1"


@pytest.fixture
def child(cluster: Cluster) -> Iterator[ClusterAccount]:
    """A secondary and its primary, at a provider of revision 1.0.4."""
    emulator = Emulator([], revision=Revision.V1_0_4)
    with running(emulator) as url:
        cluster.emulator, cluster.api_url = emulator, url
        parent = ClusterAccount(cluster, api_key="parentk1", path="apps/parent", name="parent").open()
        made = ClusterAccount(cluster, api_key="childky1", path="apps/child", name="child").open(primary=parent.api_key)
        parent.put(parent.first)
        made.configure(
            {"name": parent.name, "api_key": parent.api_key, "path": parent.path, "enabled": False},
            primary=parent.name,
            every="30d",
        )
        yield made.adopted()


def about_the_child(child: ClusterAccount) -> int:
    return sum(entry.api_key == child.api_key for entry in child.cluster.emulator.requests)


def test_unprovisioned_secondary_is_not_rescued(child: ClusterAccount) -> None:
    """B7: its rotator created a secret through the primary, until both slots were used."""
    published, live = child.cluster.document(child.path), child.live
    child.cluster.emulator.faults.add(CHILD)
    with child.consumer():
        failed = child.rotate("--json")
        assert failed.code == 1, failed
        row = failed.json["accounts"][0]
        assert row["reason"] == "unprovisioned"
        assert "unprovisioned" in row["error"].lower() or "provision" in row["error"].lower()
        assert "verify_timeout" not in row["error"]
        next_attempt = datetime.fromisoformat(child.journal["next_attempt_at"])
        assert next_attempt > datetime.now(UTC) + timedelta(minutes=14)
        asked = about_the_child(child)
        for _ in range(2):  # a scheduled run keeps to that
            child.cluster.run("rotate-now", "--due")
        assert about_the_child(child) == asked
        assert child.rotate("--compromised").code == 1  # an explicit command does not
        assert asked < about_the_child(child) < asked + 5
        assert child.cluster.document(child.path) == published
        assert child.live == live
        assert not child.requests(Operation.CREATE)
        child.cluster.emulator.faults.clear()
        assert_ok(child.rotate())
    assert list(child.live.values()) == [child.published], "the compromised request was forgotten"


def test_daemon_rarely_asks_for_an_unprovisioned_account(child: ClusterAccount, tmp_path: Path) -> None:
    """B7: 128 requests in six minutes; now a handful. The clock is set, and nobody waits for it."""
    child.cluster.put(f"rotator/journal/{child.name}", child.journal | {"rotated_at": "2026-01-01T00:00:00Z"})
    child.cluster.emulator.faults.add(CHILD)
    clock = WallClock(tmp_path)
    with child.cluster.daemon(env=clock.environment) as daemon, child.consumer():
        daemon.wait_until_ready()
        eventually(lambda: child.journal["failure"] == "unprovisioned", timeout=ENOUGH, what=lambda: daemon)
        asked = about_the_child(child)
        for minutes in (2, 4, 6):
            clock.set(timedelta(minutes=minutes))
            daemon.wait_for("clock.stepped", count=minutes // 2, timeout=ENOUGH)
        assert about_the_child(child) <= asked + 6  # readings of the balance among them
        clock.set(timedelta(minutes=40))
        eventually(lambda: about_the_child(child) > asked, timeout=ENOUGH, what=lambda: daemon)
        assert about_the_child(child) <= asked + 12
    assert not child.requests(Operation.CREATE)
    assert list(child.live.values()) == [child.first]


@pytest.mark.parametrize(
    "fault",
    ["create:unprovisioned", "revoke:unprovisioned", "list:unprovisioned:*@key=childky1"],
    ids=lambda fault: fault.split(":")[0],
)
def test_unprovisioned_answer_during_a_run_is_no_evidence(child: ClusterAccount, fault: str) -> None:
    child.configure(
        {"name": "parent", "api_key": "parentk1", "path": "apps/parent", "enabled": False},
        primary="parent",
        grace="0s",
    )
    emulator = child.cluster.emulator
    if fault.startswith("list"):
        emulator.faults.add("create:drop-after")  # so that only a list tells whether the candidate is live
        first = child.rotate("--json")
        assert first.code in (0, 3), first
    emulator.faults.add(fault)
    with child.consumer():
        failed = child.rotate("--json")
        assert failed.code == 1, failed
        assert failed.json["accounts"][0]["reason"] == "unprovisioned"
        emulator.faults.clear()
        assert_ok(child.rotate("--wait", "20s"))
        child.rotate("--due", "--wait", "20s")
    assert list(child.live.values()) == [child.published]
