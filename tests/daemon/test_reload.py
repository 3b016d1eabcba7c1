"""A reload while something slow is under way: its result meets today's settings."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rotator.config import Settings, load
from rotator.daemon.reload import Configuration
from rotator.monitoring import Metrics
from testkit import proxy
from testkit.cluster import PATIENCE, Cluster, Running
from tests.daemon.test_daemon import QUICK, creates, open_accounts, works


@dataclass
class Held:
    """A proxy that holds the first request of a kind until it is released."""

    method: str
    part: str
    then: proxy.Action | proxy.Answer = proxy.FORWARD
    address: str = ""
    asked: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def on_request(self, call: proxy.Call) -> proxy.Action | proxy.Answer:
        if call.method == self.method and self.part in call.path and not self.asked.is_set():
            self.asked.set()
            assert self.release.wait(PATIENCE)
            return self.then
        return proxy.FORWARD


@contextmanager
def held(target: str, method: str, part: str, then: proxy.Action | proxy.Answer = proxy.FORWARD) -> Iterator[Held]:
    made = Held(method, part, then)
    with proxy.FaultProxy(target, made.on_request).running() as between:
        made.address = between.address
        yield made
        made.release.set()


def reload(daemon: Running) -> None:
    daemon.send(signal.SIGHUP)
    daemon.wait_for("config.reloaded")


def test_run_result_is_dropped_when_journals_moved(cluster: Cluster) -> None:
    entries = open_accounts(cluster, "a")
    cluster.base = {"daemon": {"lease": "6m"}}
    with held(cluster.api_url, "GET", "/accounts/keya/secrets") as slow:
        provider = {"api_url": slow.address, "timeout": "2m"}
        cluster.configure(entries, account_api=provider)
        with cluster.daemon() as daemon:
            assert slow.asked.wait(PATIENCE)
            cluster.configure(entries, account_api=provider, vault={"journal_prefix": "elsewhere"})
            reload(daemon)
            slow.release.set()
            daemon.eventually(lambda: cluster.document("elsewhere/a").get("current_id") is not None)
            assert daemon.end() == 0
    assert works(cluster, "a")


def test_loaded_journal_is_dropped_when_journals_moved(cluster: Cluster) -> None:
    """The resync reads a journal of the old place while a reload names another one."""
    entries = open_accounts(cluster, "a")
    cluster.configure(entries)
    assert cluster.run("rotate-now", "a").code == 0
    with held(cluster.bao.address, "GET", "/rotator/journal/a") as slow:
        vault = {"address": slow.address, "timeout": "2m"}
        cluster.configure(entries, vault=vault)
        with cluster.daemon() as daemon:
            assert slow.asked.wait(PATIENCE)
            cluster.configure(entries, vault=vault | {"journal_prefix": "elsewhere"})
            reload(daemon)
            slow.release.set()
            daemon.eventually(lambda: cluster.document("elsewhere/a").get("current_id") is not None)
            assert daemon.end() == 0


def test_status_shows_a_removed_or_wrong_configuration_file(cluster: Cluster) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()

        def error() -> str | None:
            found: str | None = daemon.get("/api/status").json()["configuration_error"]
            return found

        assert error() is None
        good = cluster.config.read_bytes()
        cluster.config.unlink()
        assert "No such file" in daemon.wait_for("config.reload_failed")["error"]
        assert "No such file" in (error() or "")
        cluster.config.write_text("nonsense")
        daemon.wait_for("config.reload_failed", count=2)
        assert "is not valid TOML" in (error() or "")
        assert daemon.get("/readyz").status_code == 200, "the previous configuration stays in force"
        assert "rotator_config_last_reload_successful 0.0" in daemon.get("/metrics").text
        cluster.config.write_bytes(good)
        daemon.wait_for("config.reloaded")
        assert error() is None
        assert len(daemon.find("config.reload_failed")) == 2
        assert daemon.end() == 0


def test_refused_file_changes_nothing(cluster: Cluster) -> None:
    """Not even the log's level, which would hide the events after it."""
    entries = open_accounts(cluster, "a")
    cluster.configure(entries)
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        no_certificate = cluster.folder / "ca.pem"
        no_certificate.write_text("nothing")
        cluster.configure(entries, log={"level": "error"}, account_api={"ca_cert": str(no_certificate)})
        daemon.wait_for("config.reload_failed")
        assert daemon.end() == 0
        assert daemon.find("daemon.stopped")


def test_internal_error_keeps_the_previous_configuration(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    monkeypatch.setenv("VAULT_TOKEN", cluster.bao.root_token.get_secret_value())
    configuration = Configuration(cluster.config, load(cluster.config), Metrics(), threading.Event())
    before = configuration.fleet

    def fail(_path: Path) -> Settings:
        raise LookupError("a mistake")

    monkeypatch.setattr("rotator.daemon.reload.load", fail)
    assert configuration.reload() is None
    assert configuration.fleet is before
    assert "internal error" in (configuration.error or "")


def test_answer_is_dropped_when_vault_was_replaced(cluster: Cluster) -> None:
    """The first look of the daemon at Vault is under way when a reload names another address."""
    entries = open_accounts(cluster, "a")
    sealed = proxy.Answer(503, b'{"errors": ["Vault is sealed"]}')
    with held(cluster.bao.address, "GET", "/sys/internal/ui/mounts/", sealed) as slow:
        cluster.configure(entries, vault={"address": slow.address, "timeout": "30s"})
        with cluster.daemon() as daemon:
            assert slow.asked.wait(20)
            cluster.configure(entries)
            reload(daemon)
            slow.release.set()
            daemon.wait_until_ready()
            assert daemon.find("vault.unavailable") == []


def test_shorter_spacing_holds_for_waiting_accounts(cluster: Cluster) -> None:
    entries = open_accounts(cluster, "a", "b", "c")
    cluster.configure(entries)
    assert cluster.run("rotate-now", "--all").code == 0
    due = QUICK | {"every": "1s"}
    cluster.configure(entries, defaults=due, daemon={"min_spacing": "1h"})
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.published")
        daemon.wait_until_ready()
        assert sum(creates(cluster, name) for name in "abc") <= 3 + 1
        cluster.configure(entries, defaults=due, daemon={"min_spacing": "0s"})
        reload(daemon)
        daemon.eventually(lambda: all(creates(cluster, name) > 1 for name in "abc"))
