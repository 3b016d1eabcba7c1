"""A rate limit quota of Vault slows the session down: nothing fails, nothing counts as an outage."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from rotator.core.circuit_breaker import shared_cause
from rotator.core.failures import Code
from rotator.rotation import Outcome, Result
from rotator.vault import LONGEST_THROTTLING, Throttle, Vault, VaultRateLimited, VaultUnreachable, parse_retry_after
from testkit.cluster import Cluster
from testkit.openbao import Admin
from testkit.proxy import DROP_AFTER, FORWARD, Action, Answer, Call, FaultProxy
from tests.daemon.test_daemon import metric, open_accounts
from tests.vault.kv_mount import KvMount

NAMES = [f"n{number}" for number in range(12)]


@contextmanager
def quota(admin: Admin, mount: str, rate: float) -> Iterator[None]:
    """Requests per second below this mount, as a real server enforces it."""
    admin("POST", f"sys/quotas/rate-limit/{mount}", {"path": f"{mount}/", "rate": rate})
    try:
        yield
    finally:
        admin("DELETE", f"sys/quotas/rate-limit/{mount}")


def refusal(retry_after: str | None = None) -> Answer:
    """What OpenBao answers when a quota is used up."""
    headers = (("Content-Type", "application/json"), *((("Retry-After", retry_after),) if retry_after else ()))
    return Answer(429, json.dumps({"errors": ['request path "x": rate limit quota exceeded']}).encode(), headers)


# --- the throttle -----------------------------------------------------------------------------------------------------


@dataclass
class Time:
    """Time that passes while somebody sleeps."""

    now: float = 1000.0
    rates: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def throttle(self) -> Throttle:
        return Throttle(self.rates.append, monotonic=self, sleep=self.sleep)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0), ("4", 4), (" 12 ", 12), ("999999999", 3600), (None, 0), ("", 0), ("-1", 0), ("soon", 0), ("٣", 0)],
)
def test_parse_retry_after_reads_whole_seconds(header: str | None, seconds: float) -> None:
    assert parse_retry_after(header) == seconds


def test_throttle_admits_everything_at_once_before_a_limit() -> None:
    clock = Time()
    throttle = clock.throttle()
    assert [throttle.admit(0) for _ in range(1000)] == [0] * 1000
    assert throttle.rate is None


def test_throttle_waits_as_long_as_the_answer_says() -> None:
    clock = Time()
    throttle = clock.throttle()
    throttle.limited(clock.now, 4)
    assert throttle.admit(10) == 5  # servers round down


def test_throttle_sends_less_than_vault_accepted() -> None:
    clock = Time()
    throttle = clock.throttle()
    for _ in range(10):
        throttle.accepted()
    throttle.limited(clock.now, 0)
    assert clock.rates == [8]
    times = []
    for _ in range(9):
        throttle.admit(10)
        times.append(clock.now)
    assert times[-1] - times[0] == pytest.approx(1)


def test_throttle_slows_down_once_for_requests_sent_together() -> None:
    clock = Time()
    throttle = clock.throttle()
    for _ in range(10):
        throttle.accepted()
    sent_at = clock.now
    clock.now += 0.1
    for _ in range(8):
        throttle.limited(sent_at, 0)
    assert clock.rates == [8]


def test_throttle_slows_down_further_at_the_next_limit() -> None:
    clock = Time()
    throttle = clock.throttle()
    for _ in range(100):
        throttle.accepted()
    throttle.limited(clock.now, 0)
    clock.now += 5
    throttle.limited(clock.now, 0)
    clock.now += 5
    for _ in range(10):
        throttle.accepted()
    throttle.limited(clock.now, 0)
    assert clock.rates == [pytest.approx(80), pytest.approx(64), pytest.approx(8)]


def test_throttle_ends_after_a_minute() -> None:
    clock = Time()
    throttle = clock.throttle()
    throttle.limited(clock.now, 10)
    limited = []
    for clock.now in (1070, 1072):
        limited.append(throttle.rate is not None)
    assert limited == [True, False]
    assert throttle.admit(0) == 0


def test_throttle_refuses_at_once_to_wait_too_long() -> None:
    clock = Time()
    throttle = clock.throttle()
    throttle.limited(clock.now, 100)
    assert throttle.admit(65) is None
    assert clock.now == 1000


# --- a session --------------------------------------------------------------------------------------------------------


@contextmanager
def behind(place: KvMount, on_request: Any) -> Iterator[tuple[Vault, FaultProxy]]:
    with FaultProxy(place.bao.address, on_request).running() as server:
        yield place.vault(address=server.address, timeout="1s"), server


def is_data(call: Call) -> bool:
    return "/data/" in call.path


def test_session_slows_down_to_the_quota(place: KvMount) -> None:
    """Reads and writes of many threads, at a rate that they exceed by far without waiting."""
    vault = place.vault()
    with quota(place.admin, place.mount, 20), ThreadPoolExecutor(16) as pool, capture_logs() as logs:
        began = time.monotonic()
        done = [pool.submit(vault.write, f"many/{number}", {"n": number}, 0) for number in range(60)]
        wait(done)
        assert [one.result() for one in done] == [1] * 60
    assert time.monotonic() - began > 1.5, "the quota limited nothing, which proves nothing"
    assert [line for line in logs if line["event"] == "vault.rate_limited"]


@pytest.mark.parametrize("retry_after", [None, "0", "1"])
def test_limited_write_is_applied_once(place: KvMount, retry_after: str | None) -> None:
    limited: list[Call] = []

    def refuse(call: Call) -> Action | Answer:
        if is_data(call) and len(limited) < 2:
            limited.append(call)
            return refusal(retry_after)
        return FORWARD

    with behind(place, refuse) as (vault, server):
        began = time.monotonic()
        assert vault.write("once", {"n": 1}, cas=0) == 1
        assert time.monotonic() - began >= 2 * (1 + float(retry_after or 0)), "longer than a write's own time"
    assert len([call for call in server.calls if is_data(call)]) == 3
    assert vault.read("once").version == 1


def test_limit_that_is_too_long_names_the_setting(place: KvMount) -> None:
    with behind(place, lambda call: refusal("3600") if is_data(call) else FORWARD) as (vault, server):
        began = time.monotonic()
        for operation in (lambda: vault.read("x"), lambda: vault.write("x", {"n": 1}, cas=0)):
            with pytest.raises(VaultRateLimited, match=r"daemon\.concurrency") as caught:
                operation()
            assert "Nothing was written there" in str(caught.value)
            assert not caught.value.maybe_done
        assert time.monotonic() - began < 5
    assert len([call for call in server.calls if is_data(call)]) == 1, "nothing is sent while Vault asks not to"


def test_rate_limit_is_no_outage(place: KvMount) -> None:
    """Not for the daemon's look at Vault, whatever is limited, and not for the circuit breaker."""
    with behind(place, lambda call: refusal("3600")) as (vault, _):
        vault.keep_alive()
    outcome = Outcome("a", Result.FAILED, reason=Code.VAULT_RATE_LIMITED)
    assert shared_cause(outcome) is None


def test_limited_login_is_no_refused_login(place: KvMount) -> None:
    auth = place.approle()
    with FaultProxy(place.bao.address, lambda call: refusal("3600")).running() as server:
        vault = place.vault(address=server.address, auth=auth)
        with pytest.raises(VaultRateLimited):
            vault.read("x")


def test_health_of_a_standby_is_no_limit(place: KvMount) -> None:
    standby = {"sealed": False, "standby": True, "version": "2.7.2", "initialized": True}
    answer = Answer(429, json.dumps(standby).encode(), (("Content-Type", "application/json"),))
    with behind(place, lambda call: answer if "health" in call.path else FORWARD) as (vault, server):
        assert vault.health().standby
        assert len(server.calls) == 1
        with capture_logs() as logs:
            assert vault.read("x").version == 0
    assert not [line for line in logs if line["event"] == "vault.rate_limited"]


def test_lost_write_stays_uncertain_when_rate_limited(place: KvMount) -> None:
    posts: list[Call] = []

    def lose_then_limit(call: Call) -> Action | Answer:
        if call.method in ("POST", "PUT") and is_data(call):
            posts.append(call)
            return DROP_AFTER if len(posts) == 1 else refusal("3600")
        # The read-back lags behind: it does not show the write.
        body = json.dumps({"errors": []}).encode()
        return Answer(404, body, (("Content-Type", "application/json"),)) if is_data(call) else FORWARD

    with behind(place, lose_then_limit) as (vault, _), pytest.raises(VaultUnreachable, match="next run finds out"):
        vault.write("lost", {"n": 1}, cas=0)


def test_threads_wait_for_a_throttled_login(place: KvMount) -> None:
    auth = place.approle()
    logins: list[Call] = []

    def limit_logins(call: Call) -> Action | Answer:
        if call.path.endswith("/login"):
            logins.append(call)
            return refusal("0") if len(logins) < 4 else FORWARD
        return FORWARD

    with FaultProxy(place.bao.address, limit_logins).running() as server, ThreadPoolExecutor(4) as pool:
        vault = place.vault(address=server.address, auth=auth, timeout="1s")
        done = [pool.submit(vault.read, "x") for _ in range(4)]
        assert [one.result().version for one in done] == [0] * 4
    assert LONGEST_THROTTLING > 60, "a quota of a minute"


# --- a fleet ----------------------------------------------------------------------------------------------------------


def test_fleet_rotates_within_a_quota(cluster: Cluster) -> None:
    admin = Admin(cluster.bao.address, cluster.bao.root_token)
    cluster.configure(
        open_accounts(cluster, *NAMES), daemon={"lease": "120s"}, account_api={"consistency_window": "500ms"}
    )
    with quota(admin, cluster.mount, 20):
        done = cluster.run("rotate-now", "--all", "--json")
    assert done.code == 0, done
    assert done.json["rotated"] == len(NAMES)
    assert '"vault.rate_limited"' in done.err
    for name in NAMES:
        document = cluster.document(f"apps/{name}")
        assert cluster.emulator.live(f"key{name}")[document["secret_id"]].get_secret_value() == document["api_secret"]


def test_daemon_rotates_within_a_quota(cluster: Cluster) -> None:
    admin = Admin(cluster.bao.address, cluster.bao.root_token)
    accounts = open_accounts(cluster, *NAMES, every="10s", grace="500ms", jitter="0s")
    cluster.configure(accounts, daemon={"lease": "120s"}, account_api={"consistency_window": "500ms"})
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        with quota(admin, cluster.mount, 30):
            daemon.wait_for("vault.rate_limited", timeout=60)
            for name in NAMES:
                daemon.wait_for("rotation.published", account=name, timeout=90)
            assert metric(daemon, "rotator_circuit_breaker_open") == 0
    for event in ("vault.unavailable", "circuit_breaker.opened", "rotation.failed"):
        assert not daemon.find(event), daemon
