"""What a daemon does while Vault is unavailable: every run is deferred, none fails, and all go on afterwards."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from rotator.demo import OpenBao
from rotator.emulator import Emulator, running
from rotator.net import TooLong
from rotator.vault import diagnosis
from testkit import proxy
from testkit.cluster import Cluster, Running, eventually
from testkit.openbao import RaftCluster, running_raft
from tests.daemon.test_daemon import QUICK, metric, open_accounts, works

NAMES = [f"n{number}" for number in range(8)]
# As long as issue 12 says; several heartbeats of the daemon.
SEALED_FOR = timedelta(seconds=3)


@dataclass
class Sealable:
    """A server that can be sealed, and accounts on it."""

    raft: RaftCluster
    cluster: Cluster

    def seal(self) -> None:
        self.raft.seal(self.raft.nodes[0])

    def unseal(self) -> None:
        self.raft.unseal(self.raft.nodes[0])
        self.raft.await_health(self.raft.nodes[0], httpx.codes.OK)


@pytest.fixture
def sealable(tmp_path: Path) -> Iterator[Sealable]:
    emulator = Emulator([])
    with running_raft(tmp_path, 1) as raft, running(emulator) as url:
        bao = OpenBao(raft.addresses[0], raft.admin.root_token, "", raft.nodes[0].pid)
        cluster = Cluster(bao, emulator, url, tmp_path)
        cluster.base = {"account_api": {"timeout": "4s"}, "daemon": {"lease": "60s"}}
        yield Sealable(raft, cluster)
        cluster.assert_nothing_leaked()


def published(daemon: Running) -> dict[str, int]:
    return {name: len(daemon.find("rotation.published", account=name)) for name in NAMES}


def await_a_rotation_of_each(daemon: Running) -> None:
    """Wait until each account has published one secret more than now."""
    before = published(daemon)
    daemon.eventually(lambda: all(count > before[name] for name, count in published(daemon).items()))


def assert_no_failure(cluster: Cluster, daemon: Running) -> None:
    assert metric(daemon, "rotator_failures_total") == 0
    assert metric(daemon, "rotator_circuit_breaker_open") == 0
    assert daemon.find("circuit_breaker.opened") == []
    assert daemon.find("rotation.failed") == [], "a deferral is logged as account.deferred only"
    accounts = daemon.get("/api/status").json()["accounts"]
    assert {(account["failure"], account["last_error"], account["attempts"]) for account in accounts} == {
        (None, None, 0)
    }
    assert all(works(cluster, name) for name in NAMES)


def reason_not_ready(daemon: Running) -> str:
    answer = daemon.get("/readyz")
    return str(answer.json()["reason"]) if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else ""


def test_seal_defers_runs_until_the_unseal(sealable: Sealable) -> None:
    """The leases are far longer than the test: runs that the seal interrupted do not wait for their own."""
    cluster = sealable.cluster
    cluster.emulator.faults.add("list:slow:*@300ms")  # so that every account is in hand at any time
    sections: dict[str, Any] = {"daemon.circuit_breaker": {"failures": 3, "window": 5}}
    cluster.configure(open_accounts(cluster, *NAMES), defaults=QUICK | {"every": "1s"}, **sections)
    with cluster.daemon() as daemon:
        await_a_rotation_of_each(daemon)
        sealable.seal()
        assert "sealed" in daemon.wait_for("vault.unavailable")["error"]
        assert "sealed" in reason_not_ready(daemon)
        time.sleep(SEALED_FOR.total_seconds())
        before = published(daemon)
        sealable.unseal()
        daemon.eventually(lambda: published(daemon) != before)
        await_a_rotation_of_each(daemon)
        assert_no_failure(cluster, daemon)
        assert metric(daemon, "rotator_deferrals_total", reason="vault_unavailable") > 0


def test_seal_while_journals_load_is_no_failure(sealable: Sealable) -> None:
    cluster = sealable.cluster
    seal = True

    def on_request(call: proxy.Call) -> proxy.Action:
        nonlocal seal
        if seal and "/rotator/journal/" in call.path:
            seal = False
            sealable.seal()
        return proxy.FORWARD

    with proxy.FaultProxy(cluster.bao.address, on_request).running() as between:
        cluster.configure(open_accounts(cluster, *NAMES), vault={"address": between.address}, defaults=QUICK)
        with cluster.daemon() as daemon:
            daemon.wait_for("vault.unavailable")
            sealable.unseal()
            daemon.wait_until_ready()
            await_a_rotation_of_each(daemon)
            assert_no_failure(cluster, daemon)
            assert daemon.find("journal.unreadable") == []


def remount(cluster: Cluster, old: str, new: str) -> None:
    """Move a mount, with everything in it."""
    moved = cluster.vault("POST", "sys/remount", {"from": old, "to": new})["migration_id"]

    def succeeded() -> bool:
        status = cluster.vault("GET", f"sys/remount/status/{moved}")["data"]["migration_info"]["status"]
        return bool(status == "success")

    eventually(succeeded)


def test_missing_mount_makes_vault_unavailable(cluster: Cluster) -> None:
    mount, elsewhere = cluster.mount, f"{cluster.mount}-moved"
    cluster.base = {"daemon": {"lease": "60s"}}
    cluster.configure(open_accounts(cluster, *NAMES), defaults=QUICK | {"every": "1s"})
    with cluster.daemon() as daemon:
        await_a_rotation_of_each(daemon)
        remount(cluster, mount, elsewhere)
        assert mount in daemon.wait_for("vault.unavailable")["error"]
        assert mount in reason_not_ready(daemon)
        remount(cluster, elsewhere, mount)
        daemon.wait_until_ready()
        await_a_rotation_of_each(daemon)
        assert_no_failure(cluster, daemon)


@dataclass
class Lost:
    """Documents that a daemon cannot reach for some time: the others of the same mount as well.

    Attributes:
        lose: Make them unreachable.
        restore: Make them reachable again.
        reason: A part of the message.
    """

    lose: Callable[[], None]
    restore: Callable[[], None]
    reason: str


def lost_policy(cluster: Cluster) -> Lost:
    """A policy that names another mount for some time."""
    rules = 'path "{}/*" {{ capabilities = ["create", "read", "update"] }}'

    def allow(mount: str) -> None:
        cluster.vault("POST", f"sys/policies/acl/{cluster.mount}", {"policy": rules.format(mount)})

    allow(cluster.mount)
    body = {"policies": [cluster.mount]}
    token = str(cluster.vault("POST", "auth/token/create", body)["auth"]["client_token"])
    cluster.remember(token)
    cluster.settings = {"VAULT_TOKEN": token}
    return Lost(lambda: allow("other"), lambda: allow(cluster.mount), "or the policy of rotator's token")


def lost_to_a_mount(cluster: Cluster, version: str, reason: str) -> Lost:
    """Another mount in the place of the one with the documents."""
    mount, elsewhere = cluster.mount, f"{cluster.mount}-moved"

    def replace_mount() -> None:
        remount(cluster, mount, elsewhere)
        cluster.vault("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": version}})

    def restore() -> None:
        cluster.vault("DELETE", f"sys/mounts/{mount}")
        remount(cluster, elsewhere, mount)

    return Lost(replace_mount, restore, reason)


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(lost_policy, id="policy"),
        pytest.param(lambda cluster: lost_to_a_mount(cluster, "1", "KV version 1"), id="KV version 1"),
        pytest.param(lambda cluster: lost_to_a_mount(cluster, "2", "was replaced"), id="empty mount"),
    ],
)
def test_lost_documents_of_all_are_no_failure(cluster: Cluster, lost: Callable[[Cluster], Lost]) -> None:
    cluster.base = {"daemon": {"lease": "60s"}}
    cluster.configure(open_accounts(cluster, *NAMES), defaults=QUICK | {"every": "1s"})
    documents = lost(cluster)
    with cluster.daemon() as daemon:
        await_a_rotation_of_each(daemon)
        documents.lose()
        daemon.eventually(lambda: documents.reason in reason_not_ready(daemon))
        daemon.wait_for("vault.unavailable")  # it may have been logged while there was no mount at all
        before = published(daemon)
        documents.restore()
        daemon.wait_until_ready()
        daemon.eventually(lambda: published(daemon) != before)
        await_a_rotation_of_each(daemon)
        assert_no_failure(cluster, daemon)


def test_lost_documents_of_one_are_its_failure(cluster: Cluster) -> None:
    """Its policy is wrong, or its journal is deleted with all of its versions; the other accounts rotate."""
    allowed = [f"data/apps/{name}" for name in NAMES if name != "n1"] + ["data/rotator/*"]
    rules = [f'path "{cluster.mount}/{path}" {{ capabilities = ["create", "read", "update"] }}' for path in allowed]
    cluster.vault("POST", f"sys/policies/acl/{cluster.mount}", {"policy": "\n".join(rules)})
    body = {"policies": [cluster.mount]}
    token = str(cluster.vault("POST", "auth/token/create", body)["auth"]["client_token"])
    cluster.remember(token)
    cluster.settings = {"VAULT_TOKEN": token}
    cluster.configure(open_accounts(cluster, *NAMES), defaults=QUICK | {"every": "1s"})
    with cluster.daemon() as daemon:
        daemon.eventually(lambda: daemon.status("n1")["failure"] == "vault_denied")
        daemon.wait_for("rotation.recorded", account="n2")
        cluster.vault("DELETE", f"{cluster.mount}/metadata/rotator/journal/n2")
        daemon.eventually(lambda: daemon.status("n2")["failure"] == "journal_lost")
        assert "Vault cannot restore it. Instead, begin again" in daemon.status("n2")["last_error"]
        daemon.wait_for(
            "rotation.published", account="n3", count=len(daemon.find("rotation.published", account="n3")) + 1
        )
        daemon.wait_until_ready()
        assert metric(daemon, "rotator_deferrals_total", reason="vault_unavailable") == 0
        assert metric(daemon, "rotator_failures_total", reason="not_adopted") == 0


def test_missing_mount_is_noticed_by_an_idle_daemon(cluster: Cluster) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        daemon.wait_for("account.adopted")
        cluster.vault("DELETE", f"sys/mounts/{cluster.mount}")
        assert cluster.mount in daemon.wait_for("vault.unavailable")["error"]
        assert cluster.mount in reason_not_ready(daemon)


def test_revoked_token_is_no_failure_of_accounts(cluster: Cluster) -> None:
    file = cluster.folder / "token"

    def new_token() -> str:
        token = str(cluster.vault("POST", "auth/token/create", {"policies": ["root"]})["auth"]["client_token"])
        cluster.remember(token)
        return token

    token = new_token()
    file.write_text(token)
    cluster.settings = {"VAULT_TOKEN": ""}
    sections: dict[str, Any] = {"vault.auth": {"method": "token_file", "token_file": file}}
    cluster.base = {"daemon": {"lease": "60s"}}
    cluster.configure(open_accounts(cluster, *NAMES), defaults=QUICK | {"every": "1s"}, **sections)
    with cluster.daemon() as daemon:
        await_a_rotation_of_each(daemon)
        cluster.vault("POST", "auth/token/revoke", {"token": token})
        daemon.wait_for("vault.unavailable")
        file.write_text(new_token())
        daemon.wait_until_ready()
        await_a_rotation_of_each(daemon)
        assert_no_failure(cluster, daemon)


def failing(path: str) -> Callable[[proxy.Call], proxy.Action | proxy.Answer]:
    """Refuse every request about a document, which is not repeated."""
    return lambda call: proxy.Answer(400, b'{"errors": ["not this one"]}') if path in call.path else proxy.FORWARD


def test_unreadable_document_is_a_failure_of_its_account(cluster: Cluster) -> None:
    """Vault is available for everything else, so it does not end with deferrals."""
    with proxy.FaultProxy(cluster.bao.address, failing("/apps/b")).running() as between:
        cluster.configure(open_accounts(cluster, "a", "b"), vault={"address": between.address}, defaults=QUICK)
        with cluster.daemon() as daemon:
            daemon.eventually(lambda: daemon.status("b")["failure"] == "vault_error")
            assert daemon.status("b")["next_attempt_at"] is not None
            assert metric(daemon, "rotator_deferrals_total", reason="vault_unavailable") == 3
            assert metric(daemon, "rotator_failures_total", reason="vault_error") == 1
            daemon.wait_until_ready()
            daemon.wait_for("rotation.published", account="a")


def test_answer_that_is_too_long_is_an_answer() -> None:
    error = diagnosis.diagnose("read secret/data/x", "http://vault:8200", TooLong({}))
    assert error.what == "The answer of Vault at http://vault:8200 is too long"
    assert error.maybe_done
