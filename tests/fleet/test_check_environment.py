"""`rotator check` looks at proxies, the clock and quotas, too."""

import socket
from datetime import timedelta
from pathlib import Path

import pytest

from testkit.cluster import Cluster, WallClock
from tests.cli.harness import Here, Payments, opened

PROVIDER = {"ROTATOR_ACCOUNT_API__API_URL": "http://provider.invalid"}


def test_check_names_the_hosts_behind_a_proxy(payments: Payments, here: Here) -> None:
    payments.cluster.configure([payments.entry()], account_api={"timeout": "1s"}, daemon={"concurrency": 1})
    with socket.create_server(("127.0.0.1", 0)) as server:  # it never answers
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        finished = here("check", HTTP_PROXY=f"http://me:pass@{proxy.removeprefix('http://')}", **PROVIDER)
    assert f"ok    the proxy {proxy} for provider.invalid:80 accepts connections" in finished.out.splitlines()


def test_check_fails_when_a_proxy_accepts_no_connection(payments: Payments, here: Here) -> None:
    finished = here("check", HTTP_PROXY="http://127.0.0.1:1", **PROVIDER)
    assert finished.code == 1, finished
    line = "FAIL  the proxy http://127.0.0.1:1 for provider.invalid:80 accepts no connection (Connection refused)."
    assert line in finished.out


def test_check_refuses_a_socks_proxy(payments: Payments, here: Here) -> None:
    finished = here("check", ALL_PROXY="socks5://127.0.0.1:1", **PROVIDER)
    assert finished.code == 2, finished
    assert "SOCKS proxy" in finished.out + finished.err


@pytest.mark.parametrize("hostname", ["laptop", "rotator-4"])
def test_check_fails_when_no_run_has_a_shard(payments: Payments, here: Here, hostname: str) -> None:
    payments.cluster.configure([payments.entry()], daemon={"shard": "auto/4"})
    outside = here("check", HOSTNAME=hostname)
    run = here("rotate-now", "--due", HOSTNAME=hostname)
    assert (outside.code, run.code) == (2, 2)
    reason = run.err.removeprefix("rotator: ").splitlines()[0]
    assert f"FAIL  {reason}" in outside.out.splitlines()


def test_check_names_the_shard_and_its_accounts(payments: Payments, here: Here) -> None:
    payments.cluster.configure([payments.entry()], daemon={"shard": "auto/1"})
    assert "ok    shard 0/1 manages 1 of 1 accounts" in here("check", HOSTNAME="rotator-0").out.splitlines()


@pytest.mark.parametrize(
    ("offset", "code", "line"),
    [
        (timedelta(minutes=2), 0, "ok    the clock is {} ahead of Vault's; at most 6m of difference is allowed"),
        (timedelta(hours=-2), 2, "FAIL  the clock is {} behind Vault's; at most 6m of difference is allowed. Sync"),
    ],
    ids=["ahead", "behind"],
)
def test_check_compares_the_clock_with_vaults(
    payments: Payments, tmp_path: Path, offset: timedelta, code: int, line: str
) -> None:
    """A tenth of the grace period can be lost."""
    payments.cluster.configure([payments.entry(grace="1h")])
    clock = WallClock(tmp_path)
    clock.set(offset)
    finished = payments.cluster.run("check", env=clock.environment)
    assert finished.code == code, finished
    before, _, after = line.partition("{}")
    assert any(found.startswith(before) and after in found for found in finished.out.splitlines()), finished


def test_check_reports_a_quota_that_refuses_requests(cluster: Cluster, here: Here) -> None:
    accounts = [opened(cluster, f"a{number}", f"key{number}") for number in range(12)]
    cluster.configure([account.entry() for account in accounts])
    assert "quota" not in here("check").out
    cluster.vault("POST", f"sys/quotas/rate-limit/{cluster.mount}", {"path": f"{cluster.mount}/", "rate": 10})
    try:
        finished = here("check")
    finally:
        cluster.vault("DELETE", f"sys/quotas/rate-limit/{cluster.mount}")
    assert finished.code == 0, finished
    assert "note  a rate limit quota of Vault refused requests (429) during these checks" in finished.out
