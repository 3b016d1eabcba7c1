"""A real Prometheus with the real rules scrapes a real daemon in trouble: the right alert fires, and no other."""

import math
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from rotator.core.generator import Recipe, generate
from rotator.demo import free_port, running_openbao
from rotator.emulator import Account, Emulator, running
from testkit.cluster import PATIENCE, Cluster, Running, WallClock, eventually
from testkit.monitoring import RULES, SCRAPING, dashboard, queries

# A minute of the rules is half a second here: scrapes, evaluations, windows and every `for` alike.
SPEED = 120
ABSENT = ("RotatorDown", "")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def hastened(text: str) -> str:
    """The text with every duration in it divided by SPEED."""

    def divide(found: re.Match[str]) -> str:
        return f"{round(int(found[1]) * UNITS[found[2]] * 1000 / SPEED)}ms"

    return re.sub(r"\b(\d+)([smhd])\b", divide, text)


def patient_about_absence(rules: str) -> str:
    """The rules with time for a busy machine: it can keep a daemon from answering any scrape for seconds."""
    hasty = hastened('expr: absent(up{job="rotator"} == 1)\n        for: 5m')
    assert rules.count(hasty) == 1
    return rules.replace(hasty, hasty.replace(hastened("5m"), "15s"))


def test_hastened_rules_differ_in_durations_only() -> None:
    for file in (RULES, SCRAPING):
        before, after = file.read_text(encoding="utf-8"), hastened(file.read_text(encoding="utf-8"))
        duration = re.compile(r"\b\d+(ms|[smhd])\b")
        assert duration.sub("…", before) == duration.sub("…", after)
        assert before != after
    assert hastened("for: 1h, [75m], offset 1d, < 900, p90") == "for: 30000ms, [37500ms], offset 720000ms, < 900, p90"


@dataclass
class Prometheus:
    """A server with the rules loaded.

    Attributes:
        client: Of its API.
        calm_since: The end of the last scenario; what fires later belongs to the next.
        began: When it was started.
    """

    client: httpx.Client
    calm_since: float = field(default_factory=time.time)
    began: float = field(default_factory=time.time)

    def ask(self, query: str, **more: Any) -> list[dict[str, Any]]:
        answer = self.client.get("/api/v1/query", params={"query": query} | more).json()
        assert answer["status"] == "success", (query, answer)
        return list(answer["data"]["result"])

    def alerts(self) -> dict[tuple[str, str], str]:
        """The state of each alert, by its name and its account, if it is about one."""
        found = self.client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {_about(each["labels"]): each["state"] for each in found}

    def fires(self, alert: str, account: str = "") -> None:
        """Wait until this alert fires, and see that no other did since it was calm."""
        self.fire({(alert, account)})

    def fire(self, expected: set[tuple[str, str]]) -> None:
        """Wait until these alerts fired together, and see that no other did since it was calm.

        The history decides: a busy machine can look too late at an alert that fires for a few seconds.
        """
        eventually(lambda: any(expected <= firing for firing in self.fired()), what=self.alerts, timeout=2 * PATIENCE)
        assert set().union(*self.fired()) - expected == set()

    def fired(self) -> list[set[tuple[str, str]]]:
        """The alerts that fired since it was calm, by instant."""
        window = {"start": str(self.calm_since), "end": str(time.time()), "step": "0.25"}
        found = self.client.get("/api/v1/query_range", params={"query": 'ALERTS{alertstate="firing"}'} | window).json()
        by_instant: dict[float, set[tuple[str, str]]] = {}
        for series in found["data"]["result"]:
            for instant, _ in series["values"]:
                by_instant.setdefault(instant, set()).add(_about(series["metric"]))
        return list(by_instant.values())

    def calms(self) -> None:
        """Wait until no alert fires or is about to."""
        eventually(lambda: not self.alerts(), what=self.alerts, timeout=2 * PATIENCE)
        self.calm_since = time.time()


def _about(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels["alertname"], labels.get("account", "")


@contextmanager
def prometheus(folder: Path, daemon: Running) -> Iterator[Prometheus]:
    """A real server with the project's own files, hastened, and with real addresses in place of the example's."""
    scraping = hastened(SCRAPING.read_text(encoding="utf-8"))
    places = {"rotator:9464": daemon.url.removeprefix("http://"), "alertmanager:9093": f"127.0.0.1:{free_port()}"}
    for example, real in places.items():
        assert example in scraping
        scraping = scraping.replace(example, real)
    (folder / "prometheus.yml").write_text(scraping)
    (folder / "rules.yml").write_text(patient_about_absence(hastened(RULES.read_text(encoding="utf-8"))))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--query.lookback-delta={hastened('5m')}",
        "--rules.alert.for-grace-period=0s",
    ]
    with (
        open(folder / "prometheus.log", "w", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        try:
            made = Prometheus(client)
            eventually(lambda: _knows_the_fleet(made), what=(folder / "prometheus.log").read_text)
            # It takes seconds to find its first target, and says that nobody is there until then.
            eventually(lambda: ABSENT not in made.alerts(), what=made.alerts)
            made.calm_since = time.time()
            yield made
        finally:
            process.terminate()


def _knows_the_fleet(server: Prometheus) -> bool:
    try:
        if server.client.get("/-/ready").status_code != httpx.codes.OK:
            return False
    except httpx.TransportError:
        return False
    return bool(server.ask('job_state:rotator_accounts:count{job="rotator"}'))


@dataclass
class Calendar:
    """The provider's clock. While it is slow, what is created is as old as that."""

    slow: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.slow


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def cluster(tmp_path: Path, calendar: Calendar) -> Iterator[Cluster]:
    """With an OpenBao of its own, because it is going to be sealed."""
    emulator = Emulator([], clock=calendar)
    with running_openbao() as bao, running(emulator) as url:
        made = Cluster(bao, emulator, url, tmp_path)
        yield made
        made.assert_nothing_leaked()


def open_account(cluster: Cluster, name: str, **more: Any) -> dict[str, Any]:
    """An account with a published secret; its entry for the configuration."""
    first, primary = generate(Recipe()), more.get("primary")
    cluster.emulator.open_account(Account(f"key{name}", first), primary=primary and f"key{primary}")
    cluster.put(f"apps/{name}", {"api_secret": first.get_secret_value()})
    return {"name": name, "api_key": f"key{name}", "path": f"apps/{name}"} | more


def new_token(cluster: Cluster, **wanted: Any) -> str:
    made = cluster.vault("POST", "auth/token/create", wanted)
    token: str = made["auth"]["client_token"]
    cluster.remember(token)
    return token


def new_secret(cluster: Cluster, name: str) -> tuple[str, SecretStr]:
    """Somebody adds a secret by hand; its id and its value."""
    value = generate(Recipe())
    return cluster.emulator.add_secret(f"key{name}", value), value


def test_fault_fires_its_own_alert_only(cluster: Cluster, tmp_path: Path) -> None:
    accounts = [
        open_account(cluster, "busy", every="4s", grace="2s"),
        open_account(cluster, "shop"),
        open_account(cluster, "alone"),
    ]
    quick = {"verify_interval": "1s", "resync_interval": "1s"}
    wanted = {"jitter": "0s", "verify_timeout": "2s"}
    cluster.configure(accounts, daemon=quick, defaults=wanted, balance={"every": "2s", "threshold": "5.00"})
    # Since rotator created the secret of shop itself, an added one cannot put its id in doubt.
    rotated = cluster.run("rotate-now", "shop")
    assert rotated.code == 0, rotated
    made = cluster.daemon(env={"VAULT_TOKEN": new_token(cluster, ttl="1h")})
    with made as daemon, prometheus(tmp_path, daemon.wait_until_ready()) as server:
        # All is well, for half an hour and more.
        daemon.wait_for("rotation.published", count=3, account="busy")
        time.sleep(2)
        assert server.alerts() == {}

        # Somebody adds a secret to an account, and takes it away again.
        stranger, _ = new_secret(cluster, "shop")
        server.fires("RotatorAccountAmbiguous", "shop")
        assert cluster.run("resolve", "shop", "--revoke", stranger).code == 0
        server.calms()

        # Somebody revokes a published secret.
        [published] = cluster.emulator.live("keyalone")
        _, replacement = new_secret(cluster, "alone")
        cluster.emulator.remove_secret("keyalone", published)
        server.fires("RotatorCredentialsRefused", "alone")
        value = {"REPLACEMENT": replacement.get_secret_value()}
        assert cluster.run("adopt", "alone", "--secret-env", "REPLACEMENT", env=value).code == 0
        server.calms()

        # An account runs out of money, and somebody fills it.
        cluster.emulator.change_account("keyshop", balance=Decimal("4.99"))
        server.fires("RotatorLowBalance", "shop")
        cluster.emulator.change_account("keyshop", balance=Decimal(5))
        server.calms()

        # Somebody breaks the configuration, and mends it.
        valid = cluster.config.read_text()
        cluster.config.write_text(valid + "\nnonsense = 1\n")
        server.fires("RotatorConfigRefused")
        cluster.config.write_text(valid)
        server.calms()

        cluster.vault("POST", "sys/seal")
        server.fires("RotatorNotReady")

        # Of whom nobody hears nothing else can be said.
        daemon.send(signal.SIGKILL)
        eventually(lambda: ("RotatorNotReady", "") not in server.alerts(), what=server.alerts)
        server.calm_since = time.time()
        server.fires("RotatorDown")

        assert [title for title, query in queries() if not has_data(server, query)] == []
        assert choices(server) == {"job": ["rotator"], "account": ["alone", "busy", "shop"]}


def test_slow_faults_fire_their_alerts(cluster: Cluster, calendar: Calendar, tmp_path: Path) -> None:
    # Shard 0 of 2 looks after these accounts; nobody looks after the rest of the fleet.
    calendar.slow = timedelta(days=31)
    accounts = [
        open_account(cluster, "shop", every="30d"),
        open_account(cluster, "child", primary="shop", every="1d", verify_timeout="10m"),
        {"name": "alerts", "api_key": "keyalerts", "path": "apps/nothing"},
    ]
    calendar.slow = timedelta()
    # A new secret never works: the child's rotation does not end, its primary waits for it, and waits.
    cluster.emulator.propagation = timedelta(days=1)
    cluster.configure(accounts, defaults={"jitter": "0s"})
    token = new_token(cluster, ttl="14m", renewable=False)
    daemon = cluster.daemon("--shard", "0/2", env={"VAULT_TOKEN": token})
    with daemon as running:
        # Until its rotation has begun, the child would be overdue.
        running.wait_for("rotation.prepared", account="child")
        with prometheus(tmp_path, running.wait_until_ready()) as server:
            server.fire(
                {
                    ("RotatorShardMissing", ""),
                    ("RotatorVaultTokenExpiring", ""),
                    ("RotatorAccountOverdue", "shop"),
                    ("RotatorRotationStuck", "child"),
                    ("RotatorAccountFailing", "alerts"),
                }
            )
            [why] = server.ask('rotator_account_failure{account="alerts"}')
            assert why["metric"]["reason"] == "not_adopted"


def test_unwritable_audit_log_fires_its_alert(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    # The grace period ends when the test says so: no start of a process can outlast it.
    cluster.configure(
        [open_account(cluster, "shop", every="30d")],
        defaults={"grace": "24h"},
        daemon={"resync_interval": "1s"},
        audit={"file": str(file)},
    )
    assert cluster.run("rotate-now", "shop", "--wait", "0s").code == 0
    with cluster.daemon() as daemon, prometheus(tmp_path, daemon.wait_until_ready()) as server:
        file.rename(tmp_path / "audit.jsonl.1")
        file.mkdir()
        # rotator revokes the previous secret although it cannot write the lines that say so.
        cluster.end_grace("shop")
        daemon.wait_for("rotation.revoked", account="shop")
        server.fires("RotatorAuditIncomplete")
        assert daemon.wait_for("audit.lost")
        file.rmdir()
        server.calms()
    assert cluster.run("rotate-now", "shop").code == 0
    verified = cluster.run("audit", "verify", str(tmp_path / "audit.jsonl.1"), str(file))
    assert verified.code == 0, verified.out


def test_open_circuit_breaker_fires_its_alert(cluster: Cluster, tmp_path: Path) -> None:
    accounts = [open_account(cluster, name, every="1s") for name in ("busy", "shop", "alone")]
    cluster.emulator.faults.add("create:503:*")
    brake = {"daemon.circuit_breaker": {"failures": 3, "window": 3}}
    cluster.configure(accounts, defaults={"jitter": "0s"}, **brake)
    with cluster.daemon() as daemon:
        # Before that, the accounts could fail for long enough to fire an alert of their own.
        daemon.wait_for("circuit_breaker.opened")
        with prometheus(tmp_path, daemon.wait_until_ready()) as server:
            server.fires("RotatorCircuitBreakerOpen")


def test_suspended_daemon_fires_the_alert_of_late_jobs(cluster: Cluster, tmp_path: Path) -> None:
    accounts = [open_account(cluster, f"n{number}") for number in range(10)]
    cluster.configure(accounts, daemon={"verify_interval": "4m"})
    clock = WallClock(tmp_path)
    with cluster.daemon(env=clock.environment) as daemon, prometheus(tmp_path, daemon.wait_until_ready()) as server:
        suspended = threading.Thread(target=suspend_again_and_again, args=[clock, over := threading.Event()])
        suspended.start()
        try:
            server.fires("RotatorScheduleLate")
        finally:
            over.set()
            suspended.join()


def suspend_again_and_again(clock: WallClock, over: threading.Event) -> None:
    """A quarter of an hour passes in which the process does not run, every second."""
    slept = timedelta()
    while not over.wait(1):
        slept += timedelta(minutes=15)
        clock.set(slept)


def has_data(server: Prometheus, query: str) -> bool:
    """Whether a query of the dashboard gave a number at any time, for any account."""
    window = {"start": str(server.began), "end": str(time.time()), "step": "0.5"}
    for account in ("busy", "shop", "alone"):
        asked = query
        for name, value in {"$__rate_interval": "5s", "$job": "rotator", "$account": account}.items():
            asked = asked.replace(name, value)
        assert "$" not in asked
        answer = server.client.get("/api/v1/query_range", params={"query": asked} | window).json()
        assert answer["status"] == "success", (asked, answer)
        numbers = [float(value) for series in answer["data"]["result"] for _, value in series["values"]]
        if not all(math.isnan(number) for number in numbers):
            return True
    return False


def choices(server: Prometheus) -> dict[str, list[str]]:
    """What the dashboard's variables offer."""
    offered = {}
    for variable in dashboard()["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((.+), (\w+)\)", variable.get("definition", "")):
            match = {"match[]": found[1].replace("$job", "rotator")}
            offered[variable["name"]] = server.client.get(f"/api/v1/label/{found[2]}/values", params=match).json()[
                "data"
            ]
    return offered
