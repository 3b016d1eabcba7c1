"""What the daemon learns from Vault at each heartbeat: whether it is available, and which journals commands changed."""

import threading

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.config import load
from rotator.daemon.facts import JournalsChanged, VaultStateChanged
from rotator.daemon.registry import Registry
from rotator.daemon.vault_monitor import HEARTBEAT_UNAVAILABLE, VaultMonitor
from rotator.documents import announce_changes
from rotator.errors import Code, RotatorError
from rotator.fleet import Fleet
from rotator.monitoring import Metrics
from rotator.provider import AccountApi
from rotator.vault import Vault
from testkit.cluster import Cluster
from tests.daemon.harness import Bench
from tests.daemon.test_daemon import open_accounts
from tests.vault.kv_mount import KvMount, Stopwatch


class Watched:
    """A Vault monitor without its thread, and the facts that it sent."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.facts: list[VaultStateChanged | JournalsChanged] = []
        self.stop = threading.Event()
        self.load()
        self.monitor = VaultMonitor(lambda: self.fleet, self.facts.append, Metrics(), self.stop)

    def load(self, **vault: str) -> None:
        self.cluster.configure(open_accounts(self.cluster, "a", "b"), vault=vault)
        settings = load(self.cluster.config)
        self.fleet = Fleet(settings, AccountApi(settings.account_api), Vault(settings.vault), self.stop)

    def announce_changes(self, *api_keys: str) -> None:
        assert announce_changes(self.fleet.vault, self.fleet.settings.fleet_path, api_keys)

    def changes(self) -> list[frozenset[str] | None]:
        """Ask Vault, and return whose journals changed."""
        self.facts.clear()
        assert self.monitor.check()
        return [fact.api_keys for fact in self.facts if isinstance(fact, JournalsChanged)]


@pytest.fixture
def watched(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setenv("VAULT_TOKEN", cluster.bao.root_token.get_secret_value())
    return Watched(cluster)


def test_available_vault_is_reported(watched: Watched) -> None:
    assert watched.changes() == []
    assert watched.facts == [VaultStateChanged(watched.fleet.vault, None)]


def test_missing_mount_is_reported_as_unavailable(watched: Watched) -> None:
    watched.cluster.vault("DELETE", f"sys/mounts/{watched.cluster.mount}")
    assert not watched.monitor.check()
    [fact] = watched.facts
    assert isinstance(fact, VaultStateChanged)
    assert isinstance(fact.error, RotatorError)


def events_of(watched: Watched, bench: Bench, stopwatch: Stopwatch, *, heartbeats: int = 90) -> list[str]:
    """Let heartbeats pass without Vault, and return the events that the daemon logs, refused logins aside."""
    bench.fleet = watched.fleet
    bench.registry = Registry(
        watched.fleet, bench.jobs, bench.submitted.append, bench.metrics, lambda: None, now=bench.now
    )
    with capture_logs() as logs:
        for _ in range(heartbeats):
            stopwatch.advance(HEARTBEAT_UNAVAILABLE.total_seconds())
            watched.facts.clear()
            watched.monitor.check()
            bench.feed(*watched.facts)
    return [line["event"] for line in logs if line["log_level"] != "debug" and line["event"] != "vault.login_refused"]


def test_outage_is_one_line_when_token_is_refused(
    watched: Watched, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "wrong")
    stopwatch = Stopwatch()
    watched.load()
    watched.fleet.vault = Vault(load(watched.cluster.config).vault, monotonic=stopwatch)
    assert events_of(watched, bench, stopwatch) == ["vault.unavailable"]


def test_outage_is_one_line_when_login_is_refused(watched: Watched, bench: Bench, place: KvMount) -> None:
    stopwatch = Stopwatch()
    auth = place.approle() | {"secret_id": SecretStr("wrong-8f3a01c2")}
    watched.fleet.vault = place.vault(auth=auth, monotonic=stopwatch)
    assert events_of(watched, bench, stopwatch) == ["vault.unavailable"]


def test_outage_is_one_line_when_servers_are_unreachable(watched: Watched, bench: Bench, place: KvMount) -> None:
    stopwatch = Stopwatch()
    watched.fleet.vault = place.vault(address=["http://127.0.0.1:9", "http://127.0.0.1:7"], monotonic=stopwatch)
    assert events_of(watched, bench, stopwatch, heartbeats=2) == ["vault.unavailable"]


def test_unreadable_fleet_document_is_logged_once(watched: Watched, place: KvMount) -> None:
    token = place.limited(f'path "{watched.cluster.mount}/data/apps/*" {{ capabilities = ["read"] }}')
    settings = load(watched.cluster.config).vault
    watched.fleet.vault = Vault(settings.model_copy(update={"auth": settings.auth.model_copy(update={"token": token})}))
    with capture_logs() as logs:
        for _ in range(3):
            assert watched.changes() == []
    assert [line["event"] for line in logs] == ["fleet.read_failed"]


def test_rings_since_the_last_heartbeat_are_reported(watched: Watched) -> None:
    watched.announce_changes("keya")
    assert watched.changes() == [], "journals are read after the first heartbeat"
    watched.announce_changes("keya")
    watched.announce_changes("keyb", "keyc")
    assert watched.changes() == [frozenset({"keya", "keyb", "keyc"})]
    assert watched.changes() == []


def test_more_rings_than_the_document_holds_concern_all(watched: Watched) -> None:
    assert watched.changes() == []
    watched.announce_changes(*(f"key{number}" for number in range(60)))
    assert watched.changes() == [None]


def test_changes_of_another_place_are_separate(watched: Watched) -> None:
    watched.announce_changes("keya")
    watched.announce_changes("keya")
    assert watched.changes() == []
    watched.load(journal_prefix="elsewhere")
    watched.announce_changes("keya")
    assert watched.changes() == []
    watched.announce_changes("keya")
    assert watched.changes() == [frozenset({"keya"})]


def test_monitor_ends_when_the_process_stops(watched: Watched) -> None:
    thread = threading.Thread(target=watched.monitor.run)
    thread.start()
    watched.stop.set()
    watched.monitor.check_soon()
    thread.join(20)
    assert not thread.is_alive()


def test_internal_error_is_reported_as_unavailable(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        watched.stop.set()
        raise LookupError("a mistake")

    monkeypatch.setattr(watched.fleet.vault, "keep_alive", fail)
    watched.monitor.run()
    [fact] = watched.facts
    assert isinstance(fact, VaultStateChanged)
    assert fact.error is not None
    assert fact.error.code is Code.INTERNAL_ERROR


def test_monitor_is_silent_after_minutes_without_report(watched: Watched) -> None:
    now = [0.0]
    watched.monitor = VaultMonitor(lambda: watched.fleet, watched.facts.append, Metrics(), watched.stop, lambda: now[0])
    now[0] += 180
    silent = [watched.monitor.is_silent]
    now[0] += 3600
    silent.append(watched.monitor.is_silent)
    watched.monitor.check()
    silent.append(watched.monitor.is_silent)
    assert silent == [False, True, False]
