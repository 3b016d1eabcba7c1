"""A key that the provider limits is left alone by every process until the limit ends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from rotator.emulator import Emulator, Revision, running
from testkit.cluster import Cluster
from tests.system.harness import ClusterAccount

pytestmark = pytest.mark.timeout(280)

SECONDARIES = ("child1", "child2", "child3")


@pytest.fixture
def primary(cluster: Cluster) -> Iterator[ClusterAccount]:
    """An adopted primary account with three secondaries that have nothing published yet; its key is limited."""
    emulator = Emulator([], revision=Revision.V1_0_4)
    with running(emulator) as url:
        cluster.emulator, cluster.api_url = emulator, url
        made = ClusterAccount(cluster, api_key="parentk1", path="apps/parent", name="parent").open()
        for name in SECONDARIES:
            ClusterAccount(cluster, api_key=f"{name}key", name=name).open(primary=made.api_key)
        entries = [
            {"name": name, "api_key": f"{name}key", "path": f"apps/{name}", "primary": made.name}
            for name in SECONDARIES
        ]
        made.configure(*entries)
        made.adopted()
        emulator.faults.add(f"any:429:*@86400s@key={made.api_key}")
        yield made


def refused(primary: ClusterAccount) -> int:
    return sum(entry.status == 429 for entry in primary.cluster.emulator.requests)


def test_limited_primary_gets_no_request_from_other_processes(primary: ClusterAccount) -> None:
    """F2: each process sent a request per secondary with the limited key, for a day."""
    cluster = primary.cluster
    assert cluster.run("rotate-now", SECONDARIES[0]).code == 3
    until = datetime.fromisoformat(primary.journal["next_attempt_at"])
    assert until > datetime.now(UTC) + timedelta(hours=23)
    assert refused(primary) == 1, "the journal of the primary account does not contain the limit"
    again = cluster.run("rotate-now", "--due", "--json")
    assert again.code == 3, again
    rows = {row["account"]: row for row in again.json["accounts"]}
    for name in SECONDARIES:
        assert (rows[name]["result"], rows[name]["reason"]) == ("deferred", "rate_limited")
        assert f"limits the requests of the primary account parent until {until:%Y-%m-%dT%H:%M}" in rows[name]["error"]
    for _ in range(2):
        with cluster.daemon() as daemon:
            for name in SECONDARIES:
                daemon.wait_for("account.deferred", account=name)
    assert refused(primary) == 1
    cluster.emulator.faults.clear()
    cluster.change_journal("parent", next_attempt_at=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    cluster.run("rotate-now", "--due")
    assert all(cluster.document(f"apps/{name}")["api_secret"] for name in SECONDARIES)


def test_messages_about_limited_key_say_until_when(primary: ClusterAccount) -> None:
    """F7: some named a command that the provider limits again at once."""
    cluster = primary.cluster
    cluster.age("parent", timedelta(days=60))
    assert primary.rotate("--due").code == 3
    until = datetime.fromisoformat(primary.journal["next_attempt_at"])
    day = f"{until:%Y-%m-%dT%H:}"
    row = next(
        row for row in cluster.run("rotate-now", "--due", "--json").json["accounts"] if row["account"] == "parent"
    )
    assert row["reason"] == "rate_limited"
    assert f"the provider limits the requests of this key. To retry after {day}" in row["error"]
    assert row["error"].endswith(": rotator rotate-now parent --due.")
    for command in (
        ("account", "secrets", "list", "parent"),
        ("account", "balance", "parent"),
        ("check", "parent"),
        ("rotate-now", "parent"),
    ):
        said = cluster.run(*command, "--json").out
        assert "The provider answered 429" in said, command
        assert f"To retry after {day}" in said, command
        assert "works now" not in said, command


def test_preview_and_run_of_limited_key_both_wait(primary: ClusterAccount) -> None:
    planned = primary.rotate("--dry-run", "--json")
    assert planned.code == 0, planned
    (row,) = planned.json["accounts"]
    assert row["step"] == "wait"
    assert row["why"].startswith("The provider answered 429 to GET /accounts/parentk1/secrets")
    assert "request id " in row["why"]
    assert datetime.fromisoformat(row["until"]) > datetime.now(UTC) + timedelta(hours=23)
    assert primary.rotate().code == 3


@pytest.mark.parametrize("status", [400, 403])
def test_refused_revocation_tells_the_providers_reason(primary: ClusterAccount, status: int) -> None:
    emulator = primary.cluster.emulator
    emulator.faults.clear()
    emulator.faults.add(f"revoke:{status}:*")
    failed = primary.rotate("--compromised", "--json")
    assert failed.code == 1, failed
    error = failed.json["accounts"][0]["error"]
    assert " after 3 requests to revoke it: The provider answered " in error
    assert f"The provider answered {status} to DELETE /accounts/parentk1/secrets/" in error
    assert "(request id " in error
