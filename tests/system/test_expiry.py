"""Documents that Vault deletes by itself are written again in time, and a lost one is no new one."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from testkit.cluster import Cluster, eventually
from tests.system.harness import ENOUGH, ClusterAccount, assert_ok

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def shop(cluster: Cluster) -> ClusterAccount:
    made = ClusterAccount(cluster).open()
    made.configure()
    return made


def expire_after(shop: ClusterAccount, life: str, path: str | None = None) -> None:
    """Let Vault delete what is written from now on: everywhere, or one document."""
    body = {"delete_version_after": life}
    mount = shop.cluster.mount
    shop.cluster.vault("POST", f"{mount}/config" if path is None else f"{mount}/metadata/{path}", body)


def versions(shop: ClusterAccount, path: str) -> dict[str, Any]:
    answer = shop.cluster.vault("GET", f"{shop.cluster.mount}/metadata/{path}", missing_ok=True)
    found: dict[str, Any] = (answer or {"data": {"versions": {}}})["data"]["versions"]
    return found


def delete(shop: ClusterAccount, path: str) -> None:
    """Delete the newest version, as an expiry does."""
    shop.cluster.vault("DELETE", f"{shop.cluster.mount}/data/{path}")


def test_daemon_rewrites_documents_before_they_expire(shop: ClusterAccount) -> None:
    """B8: they vanished by themselves. The provider is not asked: an outage must not delete a good secret."""
    assert_ok(shop.adopted().rotate())
    before = shop.cluster.document(shop.path)
    paths = (shop.path, f"rotator/journal/{shop.name}")
    with shop.cluster.daemon() as daemon, shop.consumer():
        daemon.wait_until_ready()
        shop.cluster.emulator.faults.add("any:503:*")
        expire_after(shop, "24s")
        ends = {}
        for path in paths:  # what stands there, so that it expires from now on
            shop.cluster.put(path, shop.cluster.document(path))
            ends[path] = newest_end(shop, path)
        for path in paths:
            eventually(
                lambda: newest_end(shop, path) > ends[path],  # noqa: B023
                timeout=ENOUGH,
                what=lambda: (versions(shop, path), daemon.find("rotation.failed")),  # noqa: B023
            )
        assert shop.cluster.document(shop.path) == before
        assert shop.journal["retiring"]


def newest_end(shop: ClusterAccount, path: str) -> datetime:
    """When Vault deletes the newest version of a document."""
    found = versions(shop, path)
    return datetime.fromisoformat(found[max(found, key=int)]["deletion_time"])


def test_check_fails_where_documents_expire_too_soon(shop: ClusterAccount) -> None:
    shop.configure(sections={"daemon": {"resync_interval": "5m"}})
    for life, code in (("1m", 2), ("720h", 0)):
        expire_after(shop, life)
        shop.put(shop.first)
        if not shop.journal:
            shop.adopted()
        else:
            assert_ok(shop.rotate("--wait", "20s"))
        check = shop.run("check")
        assert check.code == code, check
        assert "deletes its documents" in check.out, check


@pytest.mark.parametrize("command", ["rotate-now main --compromised", "rotate-now --due"])
def test_lost_journal_is_reported_and_revokes_nothing(shop: ClusterAccount, command: str) -> None:
    """A journal with a version but no data is lost, not new: what was retiring is not known any more."""
    assert_ok(shop.adopted().rotate())
    live = shop.live
    delete(shop, f"rotator/journal/{shop.name}")
    with shop.consumer():
        failed = shop.run(*command.split(), "--json")
        assert failed.code == 1, failed
        row = failed.json["accounts"][0]
        assert row["reason"] == "journal_lost"
        assert "vault kv undelete" in row["error"]
        assert not shop.journal, "a lost journal was written"
        assert shop.live == live


def test_lost_journal_is_adopted_again(shop: ClusterAccount) -> None:
    assert_ok(shop.adopted().rotate())
    live, own = shop.live, shop.id_of(shop.published)
    delete(shop, f"rotator/journal/{shop.name}")
    for view in ("status", "plan", "check"):
        said = shop.run(view)
        assert "undelete" in said.out + said.err, said
    with shop.consumer():
        shop.adopt(shop.published or "", "--secret-id", own)
        assert shop.journal["current_id"]["id"] == own
        assert shop.journal["retiring"] == []
    assert shop.live == live


def test_deleted_document_is_not_called_unpublished(shop: ClusterAccount) -> None:
    """B10: "nothing is published yet" was also said of a deleted document."""
    shop.adopted()
    delete(shop, shop.path)
    failed = shop.rotate("--json")
    assert failed.code == 1, failed
    error = failed.json["accounts"][0]["error"]
    assert "yet" not in error
    assert "deleted" in error
    assert "vault kv undelete" in error
    shop.cluster.vault("POST", f"{shop.cluster.mount}/undelete/{shop.path}", {"versions": [1]})
    assert_ok(shop.rotate("--wait", "20s"))


def test_daemon_logs_a_lost_journal_once(shop: ClusterAccount) -> None:
    """B8: the log said "changed by hand" at every look."""
    marker = ClusterAccount(shop.cluster, api_key="markerk1", path="apps/marker", name="marker").open()
    shop.configure({"name": marker.name, "api_key": marker.api_key, "path": marker.path})
    assert_ok(marker.adopted().rotate())
    assert_ok(shop.adopted().rotate())
    with shop.cluster.daemon() as daemon, shop.consumer():
        daemon.wait_until_ready()
        delete(shop, f"rotator/journal/{shop.name}")
        daemon.wait_for("rotation.failed", account=shop.name, timeout=ENOUGH)
        eventually(lambda: "undelete" in (daemon.status(shop.name)["last_error"] or ""), timeout=ENOUGH)
        assert len(shop.live) == 2
        failures = len(daemon.find("rotation.failed", account=shop.name))
        for value in range(3):  # three looks: each sees a change of this other account
            marker.put(marker.published or "", look=value)
            version = value + 3
            eventually(lambda: marker.journal["published_version"] >= version, timeout=ENOUGH)  # noqa: B023
        assert len(daemon.find("account.changed_by_hand", account=shop.name)) <= 1
        assert len(daemon.find("rotation.failed", account=shop.name)) <= failures + 1


def test_daemon_schedules_the_refresh_of_what_it_wrote(shop: ClusterAccount) -> None:
    """The next resync comes an hour later. Only the run that wrote a version knows when it expires."""
    shop.configure(sections={"daemon": {"resync_interval": "1h"}}, every="30d")
    shop.adopted()
    shop.identify()
    shop.cluster.age(shop.name, timedelta(days=40))
    expire_after(shop, "16s", shop.path)
    with shop.cluster.daemon() as daemon, shop.consumer():
        daemon.wait_for("rotation.published", timeout=ENOUGH)
        daemon.wait_for("published.rewritten", count=2, detail="it would expire", timeout=ENOUGH)
