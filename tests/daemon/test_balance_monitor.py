"""The daemon reads balances when they are due, tells their state, and follows reloads."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from rotator.core.balance import BalanceState
from rotator.emulator import Operation
from testkit.cluster import Cluster, Running
from tests.daemon.test_daemon import open_accounts
from tests.daemon.test_reload import held, reload
from tests.fleet.shop import noted, shop, topped_up
from tests.provider.harness import provider, says

__all__ = ["shop"]


NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SOON = timedelta(seconds=3)
READING = ("GET", "/account/get-balance")


def metric(daemon: Running, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(daemon.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    found = (one.value for one in samples if one.name == name and labels.items() <= one.labels.items())
    return next(found, None)


def read(cluster: Cluster) -> int:
    """How often the provider was asked for a balance."""
    return sum(request.operation is Operation.BALANCE for request in cluster.emulator.requests)


def test_daemon_tops_up_once_and_shows_balances(shop: Cluster) -> None:
    with shop.daemon() as daemon:
        daemon.wait_for("balance.low", account="shop", euros="1.0", threshold="5.00")
        daemon.wait_for("balance.topped_up", account="shop")
        daemon.wait_for("balance.recovered", account="shop")
        daemon.eventually(lambda: metric(daemon, "rotator_account_balance_euros") == 11)
        assert metric(daemon, "rotator_account_balance_threshold_euros") == 5
        assert metric(daemon, "rotator_account_auto_reload") == 1
        assert metric(daemon, "rotator_top_ups_total", result="ok") == 1
        assert metric(daemon, "rotator_top_ups_total", result="failed") == 0
        read_at = metric(daemon, "rotator_account_balance_last_read_timestamp_seconds")
        assert read_at is not None
        assert abs(datetime.now(UTC).timestamp() - read_at) < 60
        shown = daemon.status("shop")["balance"]
        assert (shown["euros"], shown["threshold"], shown["low"]) == (11, 5, False)
        shop.emulator.change_account("ef567890", balance=Decimal(2))
        daemon.wait_for("balance.top_up_withheld", account="shop", reason="limit")
        daemon.eventually(lambda: daemon.status("shop")["balance"]["low"] is True)
        reads = read(shop)
        daemon.eventually(lambda: read(shop) > reads + 1)
        assert len(daemon.find("balance.low")) == 2, "once each time it fell"
        assert len(daemon.find("balance.top_up_withheld")) == 1
        assert daemon.end() == 0
    assert topped_up(shop) == 1


def test_unreadable_balance_is_no_failed_run(shop: Cluster) -> None:
    shop.emulator.faults.add("balance:503:*")
    with shop.daemon() as daemon:
        daemon.wait_for("balance.failed", account="shop")
        assert metric(daemon, "rotator_account_balance_euros") is None
        assert metric(daemon, "rotator_account_failed_attempts") == 0
        assert daemon.status("shop")["state"] == "idle"
        reads = read(shop)
        daemon.eventually(lambda: read(shop) > reads + 3)  # each is repeated, so these are two at least
        shop.emulator.faults.clear()
        daemon.eventually(lambda: metric(daemon, "rotator_account_balance_euros") is not None)
        assert len(daemon.find("balance.failed")) == 1
        assert not daemon.find("rotation.failed")
        assert daemon.end() == 0


def test_daemon_exports_the_remaining_requests_of_a_key(shop: Cluster) -> None:
    headers = "X-RateLimit-Remaining: 12\r\nX-RateLimit-Limit: 30\r\n"
    with provider(says(200, {"value": 10.5, "autoReload": False}, headers)) as rest:
        shop.configure(
            [{"name": "shop", "api_key": "ef567890", "path": "apps/shop"}],
            balance={"every": "1s"},
            account_api={"rest_url": rest.url},
        )
        with shop.daemon() as daemon:
            daemon.eventually(lambda: metric(daemon, "rotator_api_rate_limit_remaining", account="shop") == 12)
            assert metric(daemon, "rotator_api_rate_limit_requests", account="shop") == 30
            assert daemon.end() == 0


def test_daemon_reads_no_balance_when_turned_off(shop: Cluster) -> None:
    shop.configure(
        [{"name": "shop", "api_key": "ef567890", "path": "apps/shop"}],
        balance={"every": "off"},
        daemon={"verify_interval": "1s"},
    )
    with shop.daemon() as daemon:
        lists = [request for request in shop.emulator.requests if request.operation is Operation.LIST]
        daemon.eventually(
            lambda: sum(one.operation is Operation.LIST for one in shop.emulator.requests) > len(lists) + 1
        )
        assert daemon.status("shop")["balance"] is None
        assert "rotator_account_balance_threshold_euros{" not in daemon.get("/metrics").text
        assert daemon.end() == 0
    assert read(shop) == 0


def test_reload_during_a_slow_reading_is_not_lost(cluster: Cluster) -> None:
    half_a_day = timedelta(hours=12)
    early = (
        name for name in map("n{}".format, count()) if BalanceState.begin(name, half_a_day, NOW).next_at < NOW + SOON
    )
    entries = open_accounts(cluster, next(early))
    with held(cluster.api_url, *READING) as slow:
        provider = {"rest_url": slow.address, "timeout": "30s"}
        cluster.base = {"account_api": provider, "daemon": {"lease": "100s"}}
        cluster.configure(entries, balance={"every": half_a_day})
        with cluster.daemon() as daemon:
            assert slow.asked.wait(40)
            cluster.configure(entries, balance={"every": "1s"})
            reload(daemon)
            slow.release.set()
            daemon.eventually(lambda: read(cluster) > 2)


def test_reload_during_a_slow_reading_ends_readings(cluster: Cluster) -> None:
    entries = open_accounts(cluster, "a")
    with held(cluster.api_url, *READING) as slow:
        provider = {"rest_url": slow.address, "timeout": "30s"}
        cluster.base = {"account_api": provider, "daemon": {"lease": "100s"}}
        cluster.configure(entries, balance={"every": "1s"})
        with cluster.daemon() as daemon:
            assert slow.asked.wait(40)
            cluster.configure(entries, balance={"every": "off"})
            reload(daemon)
            slow.release.set()
            daemon.eventually(lambda: read(cluster) == 1)
            assert daemon.status("a")["balance"] is None
            assert daemon.end() == 0
    assert read(cluster) == 1


def test_reload_during_a_reading_forbids_the_top_up(shop: Cluster) -> None:
    entry = {"name": "shop", "api_key": "ef567890", "path": "apps/shop"}
    with held(shop.api_url, *READING) as slow:
        shop.base = {"account_api": {"rest_url": slow.address, "timeout": "30s"}, "daemon": {"lease": "100s"}}
        top_up: dict[str, Any] = {"per_day": 1, "trx_path": "money/shop"}
        shop.configure([entry], balance={"every": "1s"}, **{"balance.top_up": top_up})
        with shop.daemon() as daemon:
            assert slow.asked.wait(40)
            shop.configure([entry], balance={"every": "1s"}, **{"balance.top_up": top_up | {"per_day": 0}})
            reload(daemon)
            slow.release.set()
            daemon.wait_for("balance.low", account="shop")
            daemon.eventually(lambda: read(shop) > 1)  # the first one is settled by then
            assert daemon.end() == 0
    assert topped_up(shop) == 0
    assert noted(shop) == []
