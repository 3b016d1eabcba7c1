"""`rotator run` as a real process, against a real OpenBao and the emulator, with schedules of seconds."""

import re
import signal
import socket
import threading
import time
from base64 import b64decode
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from rotator.core.generator import Recipe, generate
from rotator.emulator import Account, Operation
from testkit import proxy
from testkit.cluster import (
    KILL_AFTER,
    PATIENCE,
    Call,
    Cluster,
    Consumer,
    Finished,
    Running,
    Tape,
    WallClock,
    eventually,
    proxied,
)

DAY = timedelta(days=1)

# A weekday that is neither today nor, should the test run over midnight, tomorrow.
NEVER_TODAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(datetime.now(UTC).weekday() + 3) % 7]
# A secret every two seconds, the old one gone after half a second: months of a daemon's life in a test's.
QUICK: dict[str, Any] = {"every": "2s", "grace": "500ms", "jitter": "0s", "verify_timeout": "1s"}


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    """With time enough for every request: a failure costs a daemon a back-off of a minute, and machines are busy."""
    cluster.base = {"account_api": {"timeout": "4s"}, "daemon": {"lease": "12s"}}
    return cluster


def open_accounts(cluster: Cluster, *names: str, **more: Any) -> list[dict[str, Any]]:
    """Accounts whose secret is published and which rotator does not know yet; their entries for the configuration."""
    entries = []
    for name in names:
        first, api_key = generate(Recipe()), f"key{name}"
        cluster.emulator.open_account(Account(api_key, first))
        cluster.remember(first.get_secret_value())
        cluster.put(f"apps/{name}", {"api_secret": first.get_secret_value()})
        entries.append({"name": name, "api_key": api_key, "path": f"apps/{name}"} | more)
    return entries


def versions(cluster: Cluster, name: str) -> int:
    """How often the account's secret was published, the first time by hand."""
    answer = cluster.vault("GET", f"{cluster.mount}/metadata/apps/{name}")
    return int(answer["data"]["current_version"])


def created_at(cluster: Cluster, name: str) -> list[datetime]:
    """When the provider created secrets for the account, by the clock of the test."""
    return [
        request.time
        for request in cluster.emulator.requests
        if request.operation is Operation.CREATE and request.api_key == f"key{name}" and request.status == 201
    ]


def creates(cluster: Cluster, name: str) -> int:
    """How many secrets the provider created for the account."""
    return len(created_at(cluster, name))


def works(cluster: Cluster, name: str) -> bool:
    return cluster.emulator.authenticates(f"key{name}", SecretStr(cluster.document(f"apps/{name}")["api_secret"]))


# --- a life ----------------------------------------------------------------------------------------------------


def test_daemon_rotates_on_time_without_failing_consumers(cluster: Cluster) -> None:
    cluster.configure(open_accounts(cluster, "a", "b"), defaults=QUICK)
    with Consumer(cluster, "keya", "apps/a") as consumer, cluster.daemon() as daemon:
        daemon.wait_until_ready()
        daemon.wait_for("rotation.published", count=4, account="a")
        daemon.wait_for("rotation.published", count=4, account="b")
        eventually(lambda: consumer.checks > 20)
        assert daemon.end() == 0
    assert consumer.failures == []
    for name in "ab":
        assert versions(cluster, name) == 1 + creates(cluster, name)
        assert works(cluster, name)
        assert len(cluster.emulator.live(f"key{name}")) <= 2
    # Each rotation can be followed through the log by its id, from the first line to the last.
    told: dict[str, list[str]] = {}
    for event in daemon.events:
        if event.get("account") == "a" and event["event"].startswith(("rotation.", "lease.", "revocation.")):
            told.setdefault(event["rotation_id"], []).append(event["event"])
    whole = [
        "rotation.prepared",
        "rotation.created",
        "rotation.published",
        "rotation.recorded",
        "lease.acquired",
        "rotation.revoked",
        "revocation.recorded",
    ]
    assert list(told.values())[1] == whole


def test_daemon_rotates_nothing_early_when_restarted_or_reloaded(cluster: Cluster) -> None:
    cluster.configure(open_accounts(cluster, "a", "b", "c"))
    for _ in range(2):
        with cluster.daemon() as daemon:
            daemon.wait_until_ready()
            daemon.send(signal.SIGHUP)
            daemon.wait_for("config.reloaded")
            daemon.eventually(lambda: all(cluster.journal(name).get("current_id") for name in "abc"))
            assert daemon.end() == 0
    assert [versions(cluster, name) for name in "abc"] == [1, 1, 1]
    assert [creates(cluster, name) for name in "abc"] == [0, 0, 0]


def test_next_daemon_finishes_when_killed_after_a_create(cluster: Cluster) -> None:
    [entry] = open_accounts(cluster, "a")
    cluster.configure([entry])
    assert cluster.run("rotate-now", "a").code == 0  # adopted, and rotated once
    tape = Tape(when=lambda call: KILL_AFTER if call.method == "POST" and call.path.endswith("secrets") else None)
    with proxied({"provider": cluster.api_url}, tape) as addresses:
        cluster.configure([entry | {"every": "1s"}], account_api={"api_url": addresses["provider"]}, defaults=QUICK)
        with cluster.daemon() as daemon:
            tape.victim = daemon.process.popen.pid
            assert daemon.process.popen.wait(PATIENCE) == -signal.SIGKILL
    assert cluster.journal("a")["phase"] == "prepared"
    cluster.end_lease("a")
    made = creates(cluster, "a")
    cluster.configure([entry | {"every": "30d"}])
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.recorded", account="a")
    assert creates(cluster, "a") == made
    assert works(cluster, "a")


def test_overdue_accounts_rotate_min_spacing_apart(cluster: Cluster) -> None:
    names = [f"n{number}" for number in range(5)]
    entries = open_accounts(cluster, *names)
    cluster.configure(entries)
    assert cluster.run("rotate-now", "--all").code == 0
    cluster.configure(entries, defaults=QUICK | {"every": "12h"}, daemon={"min_spacing": "600ms"})
    for name in names:
        cluster.age(name, DAY)
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.prepared", count=5)
    begun = sorted(datetime.fromisoformat(event["timestamp"]) for event in daemon.find("rotation.prepared"))
    # A busy machine delays each rotation by a different time, so the test holds each one to its own turn.
    first = datetime.fromisoformat(daemon.find("vault.available")[0]["timestamp"])
    assert [at for turn, at in enumerate(begun) if at < first + timedelta(milliseconds=600) * turn] == []


def test_primary_rotates_after_its_secondaries(cluster: Cluster) -> None:
    parent, *children = open_accounts(cluster, "parent", "child1", "child2")
    entries = [parent, *(child | {"primary": "parent"} for child in children)]
    cluster.configure(entries)
    assert cluster.run("rotate-now", "--all").code == 0
    # Each is due once: a secondary that is due again would come before its primary on a slow machine.
    cluster.configure(entries, defaults=QUICK | {"every": "12h"}, daemon={"concurrency": 1})
    for name in ("parent", "child1", "child2"):
        cluster.age(name, DAY)
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.published", account="parent")
    order = [event["account"] for event in daemon.find("rotation.published")]
    assert set(order[:2]) == {"child1", "child2"}


# --- telling it to stop ----------------------------------------------------------------------------------------


def test_daemon_releases_lease_when_stopped_while_waiting(cluster: Cluster) -> None:
    [entry] = open_accounts(cluster, "a")
    cluster.configure([entry])
    assert cluster.run("rotate-now", "a").code == 0
    cluster.emulator.propagation = timedelta(hours=1)
    # It could wait for the secret, or for the run, far longer than `end` waits.
    patient = {"every": "1s", "verify_timeout": "1h"}
    cluster.configure([entry], defaults=QUICK | patient, daemon={"shutdown_timeout": "10m"})
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.created")
        daemon.eventually(lambda: daemon.status("a")["rotating"])
        assert daemon.end() == 0
    journal = cluster.journal("a")
    assert (journal["phase"], journal["holder"]) == ("prepared", None)
    daemon.wait_for("daemon.stopped")
    assert works(cluster, "a")


def test_daemon_continues_when_it_was_suspended(cluster: Cluster) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        daemon.send(signal.SIGSTOP)
        time.sleep(1.2)  # longer than it waits for a signal at once
        daemon.send(signal.SIGCONT)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        time.sleep(0.2)
        assert not daemon.find("daemon.stopped")
        assert daemon.end() == 0


def test_daemon_stops_in_time_when_provider_hangs(cluster: Cluster) -> None:
    cluster.emulator.faults.add("list:slow:*@3600s")
    cluster.configure(
        open_accounts(cluster, "a"),
        account_api={"timeout": "1h"},
        daemon={"lease": "3h", "shutdown_timeout": "2s"},
    )
    with cluster.daemon() as daemon:
        daemon.eventually(lambda: len(cluster.emulator.requests) > 0)
        daemon.wait_for("daemon.started")
        assert daemon.end() == 0
    assert daemon.find("daemon.stop_timeout", accounts=["a"])


def test_disabled_account_stays_unchanged_when_overdue(cluster: Cluster) -> None:
    a, b = open_accounts(cluster, "a", "b")
    cluster.configure([a, b])
    assert cluster.run("rotate-now", "--all").code == 0
    paused = threading.Event()

    def hold(call: Call) -> None:
        if call.method == "POST" and "/keya/" in call.path:
            assert paused.wait(PATIENCE)

    quick = QUICK | {"every": "1s"}
    with proxied({"provider": cluster.api_url}, Tape(hold=hold)) as addresses, ExitStack() as stack:
        cluster.base = {"account_api": {"api_url": addresses["provider"], "timeout": "90s"}, "daemon": {"lease": "5m"}}
        cluster.configure([a, b], defaults=quick)
        daemon = stack.enter_context(cluster.daemon())
        daemon.wait_for("rotation.prepared", account="a")
        cluster.configure([a | {"enabled": False}, b], defaults=quick)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.changed", setting="accounts.enabled", old=True, new=False, accounts=["a"])
        paused.set()
        # The request that is on its way is answered; nothing comes after it.
        daemon.eventually(lambda: cluster.journal("a")["holder"] is None)
        daemon.wait_for("rotation.published", account="b", count=3)
        assert daemon.status("a")["enabled"] is False
        assert not daemon.find("rotation.published", account="a")
        assert cluster.journal("a")["phase"] == "prepared"
        assert works(cluster, "a")
        cluster.configure([a, b], defaults=quick)
        daemon.wait_for("rotation.published", account="a")
    assert works(cluster, "a")


# --- the clock -------------------------------------------------------------------------------------------------


def test_clock_steps_rotate_nothing_twice_and_keep_spacing(
    cluster: Cluster,
) -> None:
    entries = open_accounts(cluster, "a", "b", "c")
    cluster.configure(entries, defaults={"every": "12h", "jitter": "0s"}, daemon={"min_spacing": "1s"})
    clock = WallClock(cluster.folder)
    with cluster.daemon(env=clock.environment) as daemon:
        daemon.wait_until_ready()
        daemon.eventually(lambda: all(cluster.journal(name).get("current_id") for name in "abc"))
        for step, hours in enumerate((1, 0, -1, 0), start=1):
            clock.set(timedelta(hours=hours))
            daemon.wait_for("clock.stepped", count=step)
        assert [creates(cluster, name) for name in "abc"] == [0, 0, 0]
        # The machine sleeps for a day: no time passes for the process, and then the clock is another one.
        daemon.send(signal.SIGSTOP)
        woken = datetime.now(UTC)
        clock.set(DAY)
        daemon.send(signal.SIGCONT)
        daemon.wait_for("rotation.published", count=3)
        # By the provider's clock: a thread that reads libfaketime's beside another one can see the real time.
        begun = sorted(at for name in "abc" for at in created_at(cluster, name))
        # A busy machine delays each beginning by its own bit: held to the turns, which are a second apart.
        assert [at for turn, at in enumerate(begun) if at < woken + timedelta(seconds=turn)] == []
        for step, hours in enumerate((23, 25, 24), start=6):
            clock.set(timedelta(hours=hours))
            daemon.wait_for("clock.stepped", count=step)
        time.sleep(1)
        assert daemon.end() == 0
    assert [creates(cluster, name) for name in "abc"] == [1, 1, 1]
    assert all(works(cluster, name) for name in "abc")


def test_spacing_holds_when_clock_is_set_between_rotations(cluster: Cluster) -> None:
    cluster.configure(
        open_accounts(cluster, "a", "b"),
        defaults={"every": "12h", "jitter": "0s"},
        daemon={"min_spacing": "15s"},  # the clock has to be set before the second one begins
    )
    clock = WallClock(cluster.folder)
    with cluster.daemon(env=clock.environment) as daemon:
        daemon.wait_until_ready()
        daemon.eventually(lambda: all(cluster.journal(name).get("current_id") for name in "ab"))
        clock.set(DAY)
        daemon.wait_for("clock.stepped")
        daemon.wait_for("rotation.prepared")
        before_step = datetime.now(UTC)
        clock.set(timedelta(hours=18))  # both are as overdue as before
        daemon.wait_for("clock.stepped", count=2)
        daemon.wait_for("rotation.published", count=2)
        # By the provider's clock, as above.
        second = max(at for name in "ab" for at in created_at(cluster, name))
        assert second >= before_step + timedelta(seconds=15)


def test_deferral_by_a_clock_ahead_is_corrected(cluster: Cluster) -> None:
    def asked() -> tuple[int, int]:
        operations = [request.operation for request in cluster.emulator.requests]
        return operations.count(Operation.LIST), operations.count(Operation.BALANCE)

    cluster.configure(open_accounts(cluster, "a"), daemon={"verify_interval": "1s"}, balance={"every": "1s"})
    clock = WallClock(cluster.folder)
    clock.set(timedelta(days=20))
    with cluster.daemon(env=clock.environment) as daemon:
        daemon.wait_until_ready()
        daemon.eventually(lambda: min(asked()) >= 2)
        clock.set(timedelta())
        daemon.wait_for("clock.stepped")
        lists, balances = asked()
        daemon.eventually(lambda: asked()[0] >= lists + 2 and asked()[1] >= balances + 2)


def test_request_is_carried_out_when_clock_is_wrong(cluster: Cluster) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    clock = WallClock(cluster.folder)

    def asked(offset: timedelta, *options: str) -> Finished:
        clock.set(offset)
        return cluster.run("rotate-now", "a", *options, env=clock.environment)

    assert asked(timedelta(days=400)).code == 0
    assert datetime.fromisoformat(cluster.journal("a")["rotated_at"]) > datetime.now(UTC) + timedelta(days=399)
    begun = datetime.now(UTC) - timedelta(seconds=1)  # the clock is set by whole seconds
    assert asked(timedelta(), "--compromised").code == 0
    assert creates(cluster, "a") == 2
    assert begun <= datetime.fromisoformat(cluster.journal("a")["rotated_at"]) <= datetime.now(UTC)
    behind = asked(-timedelta(days=400), "--compromised")
    assert behind.code == 0, behind
    assert creates(cluster, "a") == 3, "a request speaks of a secret, and no clock refuses it"
    assert works(cluster, "a")


# --- the configuration -----------------------------------------------------------------------------------------


def test_daemon_reloads_valid_configurations_only(cluster: Cluster) -> None:
    a, b = open_accounts(cluster, "a", "b")
    cluster.configure([a])
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        good = cluster.config.read_text()
        cluster.config.write_text(good.replace('grace = "0s"', 'grace = "forever"'))
        refused = daemon.wait_for("config.reload_failed")
        assert re.search(r"grace: is not a duration", refused["error"])
        assert "\n" not in refused["error"]
        assert daemon.get("/readyz").status_code == httpx.codes.OK
        cluster.configure([a | {"every": "7d"}, b], daemon={"min_spacing": "3s"})
        daemon.wait_for("config.reloaded")
        assert daemon.find("config.changed", setting="accounts.every", old="30d", new="7d", accounts=["a"])
        assert daemon.find("config.changed", setting="accounts", old=None, new="added", accounts=["b"])
        assert daemon.find("config.changed", setting="daemon.min_spacing", old="0s", new="3s")
        daemon.eventually(lambda: bool(cluster.journal("b").get("current_id")))
        cluster.configure([b])
        daemon.wait_for("config.changed", setting="accounts", old="removed", accounts=["a"])
        daemon.eventually(lambda: [one["name"] for one in daemon.get("/api/status").json()["accounts"]] == ["b"])
        assert daemon.find("config.changed", setting="daemon.min_spacing", old="3s", new="0s")


def test_daemon_reloads_when_config_map_symlink_changes(cluster: Cluster) -> None:
    [a] = open_accounts(cluster, "a")
    cluster.configure([a])
    mounted = cluster.folder / "mounted"
    for version in ("..1", "..2"):
        (mounted / version).mkdir(parents=True)
    content = cluster.config.read_text()
    (mounted / "..1" / "config.toml").write_text(content)
    (mounted / "..2" / "config.toml").write_text(content.replace('lease = "12s"', 'lease = "13s"'))
    (mounted / "..data").symlink_to("..1")
    (mounted / "config.toml").symlink_to("..data/config.toml")
    with cluster.daemon(env={"ROTATOR_CONFIG": str(mounted / "config.toml")}) as daemon:
        daemon.wait_until_ready()
        (mounted / "..data_tmp").symlink_to("..2")
        (mounted / "..data_tmp").rename(mounted / "..data")
        daemon.wait_for("config.changed", setting="daemon.lease", old="12s", new="13s")


# --- trouble ---------------------------------------------------------------------------------------------------


def jobs_begun(daemon: Running) -> list[str]:
    return [event["event"] for event in daemon.events if event["event"].startswith("Running job")]


def jobs_ended(daemon: Running) -> list[str]:
    return [event["event"] for event in daemon.events if event["event"].endswith("executed successfully")]


def test_daemon_blames_no_account_when_vault_is_unavailable(cluster: Cluster) -> None:
    entries = open_accounts(cluster, "a", "b")
    away = False
    tape = Tape(when=lambda call: KILL_AFTER if away else None)  # without a victim: the answer is lost
    with proxied({"vault": cluster.bao.address}, tape) as addresses:
        cluster.configure(entries, vault={"address": addresses["vault"]}, defaults=QUICK)
        with Consumer(cluster, "keya", "apps/a") as consumer, cluster.daemon() as daemon:
            daemon.wait_until_ready()
            daemon.wait_for("rotation.published", count=2)
            away = True
            error = daemon.wait_for("vault.unavailable")["error"]
            assert "does not answer" in error or "in trouble" in error
            not_ready = daemon.get("/readyz")
            assert not_ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
            daemon.eventually(lambda: len(jobs_ended(daemon)) == len(jobs_begun(daemon)))
            requests, jobs = len(cluster.emulator.requests), len(jobs_begun(daemon))
            time.sleep(2)
            assert len(cluster.emulator.requests) == requests, "the provider was asked while Vault was away"
            assert len(jobs_begun(daemon)) == jobs, "accounts were visited while Vault was away"
            away = False
            daemon.wait_for("vault.available", count=2)
            before = len(daemon.find("rotation.published"))
            daemon.wait_for("rotation.published", count=before + 2)
        assert consumer.failures == []


def test_circuit_breaker_opens_and_closes_after_a_probe(cluster: Cluster) -> None:
    names = [f"n{number}" for number in range(8)]
    entries = open_accounts(cluster, *names)
    cluster.configure(entries)
    assert cluster.run("rotate-now", "--all").code == 0
    cluster.emulator.faults.add("create:503:*")
    sections: dict[str, Any] = {
        "daemon.circuit_breaker": {"failures": 3, "window": 5, "cooldown": "1h"},
        "daemon": {"concurrency": 1},
    }
    cluster.configure(entries, defaults=QUICK | {"every": "12h"}, **sections)
    for name in names:
        cluster.age(name, DAY)
    clock = WallClock(cluster.folder)
    with cluster.daemon(env=clock.environment) as daemon:
        engaged = daemon.wait_for("circuit_breaker.opened", reason="provider")
        assert "3 of the last 3 accounts failed" in engaged["error"]
        time.sleep(1)  # each of the others is overdue
        assert len(daemon.find("rotation.prepared")) == 3
        daemon.eventually(lambda: daemon.get("/api/status").json()["circuit_breaker"] is not None)
        cluster.emulator.faults.clear()
        clock.set(timedelta(hours=1, minutes=1))
        daemon.wait_for("circuit_breaker.closed")
        daemon.wait_for("rotation.published", count=5)
        daemon.eventually(lambda: daemon.get("/api/status").json()["circuit_breaker"] is None)


def test_rate_limited_key_defers_only_its_account(cluster: Cluster) -> None:
    names = [f"n{number}" for number in range(8)]
    entries = open_accounts(cluster, *names)
    cluster.configure(entries)
    assert cluster.run("rotate-now", "--all").code == 0
    limited: list[str] = []

    def limit(call: proxy.Call) -> proxy.Action | proxy.Answer:
        user = b64decode(call.headers["Authorization"].split()[1]).decode().split(":")[0]
        if user != "keyn0":
            return proxy.FORWARD
        limited.append(str(call))
        return proxy.Answer(429, b"{}", (("Content-Type", "application/json"), ("Retry-After", "86400")))

    sections: dict[str, Any] = {"daemon.circuit_breaker": {"failures": 1, "window": 1}}
    with proxy.FaultProxy(cluster.api_url, limit).running() as between:
        cluster.configure(
            entries, account_api={"api_url": between.address}, defaults=QUICK | {"every": "1s"}, **sections
        )
        with cluster.daemon() as daemon:
            daemon.wait_for("account.deferred", account="n0", reason="rate_limited")
            for name in names[1:]:
                daemon.wait_for("rotation.published", account=name, count=2)
            assert daemon.find("circuit_breaker.opened") == []
            daemon.eventually(lambda: metric(daemon, "rotator_deferrals_total", reason="rate_limited") >= 1)
            assert metric(daemon, "rotator_failures_total") == 0
            status = daemon.status("n0")
            assert (status["failure"], status["last_error"], status["attempts"]) == (None, None, 0)
            until = datetime.fromisoformat(status["next_attempt_at"])
            assert DAY / 2 < until - datetime.now(UTC) <= DAY
    assert len(limited) == 1


def test_daemon_notices_and_repairs_manual_changes(cluster: Cluster) -> None:
    entries = open_accounts(cluster, "a", "b")
    cluster.configure(entries, daemon={"resync_interval": "500ms"})
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        for name in "ab":
            daemon.wait_for("secret.identified", account=name)  # until then, runs follow each other anyway
        cluster.put("apps/a", {"api_secret": "NotASecretAtAll1"})
        daemon.wait_for("account.changed_by_hand", account="a")
        daemon.wait_for("account.restored", account="a")
        assert works(cluster, "a")
    assert creates(cluster, "a") == 0


def test_resync_loads_results_of_another_instance(cluster: Cluster) -> None:
    entries = open_accounts(cluster, "a")
    cluster.configure(entries, daemon={"resync_interval": "500ms"})
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        daemon.eventually(lambda: daemon.status("a")["secret_id"] is not None)
        assert cluster.run("rotate-now", "a").code == 0
        daemon.eventually(lambda: daemon.status("a")["secret_id"] == cluster.document("apps/a")["secret_id"])


# --- what it tells ---------------------------------------------------------------------------------------------


def test_metrics_count_runs_and_end_with_accounts(cluster: Cluster) -> None:
    a, b = open_accounts(cluster, "a", "b")
    cluster.configure([a, b], defaults=QUICK)
    begun = time.time()
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.revoked", account="b")
        daemon.wait_for("rotation.revoked", account="a")
        daemon.eventually(lambda: metric(daemon, "rotator_rotations_total", result="ok", trigger="schedule") >= 2)
        assert metric(daemon, "rotator_revocations_total", reason="grace_over") >= 2
        assert metric(daemon, "rotator_rotations_total", result="failed", trigger="schedule") == 0
        assert metric(daemon, "rotator_api_requests_total", target="provider", operation="create", code="201") >= 2
        assert metric(daemon, "rotator_api_requests_total", target="vault", operation="write", code="200") >= 2
        rotated_at = metric(daemon, "rotator_account_last_rotation_timestamp_seconds", account="a")
        assert begun <= rotated_at <= time.time()
        cluster.configure([b], defaults=QUICK)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        assert 'account="a"' not in daemon.get("/metrics").text
        assert metric(daemon, "rotator_config_reloads_total", result="ok") == 1
    assert all("timestamp" in event and "level" in event for event in daemon.events), "a line went past the chain"


def metric(daemon: Running, name: str, **labels: str) -> float:
    """The value of one series; of several, their sum."""
    found = [
        sample.value
        for family in text_string_to_metric_families(daemon.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert found, f"no {name} {labels}"
    return float(sum(found))


def test_daemon_waits_for_windows_until_max_age(cluster: Cluster) -> None:
    a, b = open_accounts(cluster, "a", "b")
    cluster.configure([a, b])
    assert cluster.run("rotate-now", "--all").code == 0
    tomorrow = f"{NEVER_TODAY} 00:00-24:00"
    quick = {"every": "1s", "jitter": "0s", "windows": [tomorrow]}
    cluster.configure([a | quick, b | quick | {"max_age": "2s"}])
    for name in "ab":
        cluster.age(name, DAY)
    [waits, due] = cluster.run("rotate-now", "--due", "--dry-run", "--json").json["accounts"]
    assert (waits["step"], due["step"]) == ("nothing", "rotate")
    finished = cluster.run("rotate-now", "--due", "a", "--json")
    assert finished.code == 3
    assert finished.json["accounts"][0]["reason"] == "window"
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.published", account="b")
        daemon.wait_for("schedule.overridden", account="b")
        assert daemon.status("a")["due_at"] > datetime.now(UTC).isoformat()
    assert not daemon.find("rotation.prepared", account="a")


# --- several of them -------------------------------------------------------------------------------------------


def test_replicas_of_one_fleet_create_once(cluster: Cluster) -> None:
    names = [f"n{number}" for number in range(6)]
    cluster.configure(open_accounts(cluster, *names), defaults=QUICK)
    with ExitStack() as stack:
        consumer = stack.enter_context(Consumer(cluster, "keyn0", "apps/n0"))
        daemons = [stack.enter_context(cluster.daemon()) for _ in range(2)]
        for daemon in daemons:
            daemon.wait_until_ready()
        # Cycles of two seconds, whoever does them.
        eventually(lambda: all(versions(cluster, name) >= 5 for name in names), timeout=4 * PATIENCE)
        assert [daemon.end() for daemon in daemons] == [0, 0]
    assert consumer.failures == []
    for name in names:
        unpublished = cluster.journal(name)["phase"] == "prepared"
        assert creates(cluster, name) - (versions(cluster, name) - 1) in ((0, 1) if unpublished else (0,))
        assert works(cluster, name)
    done = [event for daemon in daemons for event in daemon.find("rotation.published")]
    assert len(done) == sum(versions(cluster, name) - 1 for name in names)


def test_daemon_shards_rotate_the_whole_fleet(cluster: Cluster) -> None:
    names = [f"n{number}" for number in range(8)]
    cluster.configure(open_accounts(cluster, *names), daemon={"shard": "auto/2"})
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(cluster.daemon(env={"HOSTNAME": "rotator-0"})),
            stack.enter_context(cluster.daemon("--shard", "1/2")),
        ]
        parts = []
        for daemon in daemons:
            daemon.wait_until_ready()
            parts.append({one["name"] for one in daemon.get("/api/status").json()["accounts"]})
    assert parts[0] | parts[1] == set(names)
    assert not parts[0] & parts[1]


def test_cron_shards_rotate_the_whole_fleet(cluster: Cluster) -> None:
    names = [f"n{number}" for number in range(8)]
    cluster.configure(open_accounts(cluster, *names))
    parts = []
    for index in "01":
        finished = cluster.run(
            "rotate-now", "--all", "--shard", "auto/2", "--json", env={"JOB_COMPLETION_INDEX": index}
        )
        assert finished.code == 0, finished
        parts.append([account["account"] for account in finished.json["accounts"]])
    assert sorted(parts[0] + parts[1]) == names


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "--shard", "4/4"), 'The shard "4/4" is not one of 4 shards: they are counted from 0'),
        (("run", "--shard", "some"), 'The shard "some" is not of the form 0/4 or auto/4'),
        (("rotate-now", "n0", "--shard", "0/2"), "--shard is for --all and --due"),
    ],
)
def test_wrong_shard_is_one_clear_line(cluster: Cluster, args: tuple[str, ...], message: str) -> None:
    cluster.configure([{"name": "n0", "api_key": "keyn0", "path": "apps/n0"}])
    finished = cluster.run(*args)
    assert finished.code == 2
    assert message in finished.err
    assert finished.err.count("\n") == 1


def test_daemon_names_address_when_it_is_taken(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        cluster.configure([{"name": "n0", "api_key": "keyn0", "path": "apps/n0"}], daemon={"listen": listen})
        finished = cluster.run("run")
    assert finished.code == 2
    assert f"Cannot listen on {listen}" in finished.err
    assert finished.err.count("\n") == 1
