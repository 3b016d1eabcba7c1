"""What the daemon learns from Vault at each heartbeat: whether it is available, and which journals commands changed."""

import threading

import pytest

from rotator.config import load
from rotator.daemon.facts import JournalsChanged, VaultStateChanged
from rotator.daemon.vault_monitor import VaultMonitor
from rotator.documents.fleet import announce_changes
from rotator.errors import RotatorError
from rotator.fleet import Fleet
from rotator.monitoring import Metrics
from rotator.provider import AccountApi
from rotator.vault import Vault
from testkit.cluster import Cluster
from tests.daemon.test_daemon import open_accounts


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
