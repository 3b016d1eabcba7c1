"""Months of a fleet's life in minutes: `make soak`, or `python -m benchmarks.soak SECONDS [ACCOUNTS] [SEED]`.

Two daemons rotate every account every half a minute or so, on a real OpenBao with raft storage and the emulated
provider, while consumers read every published secret and try it. One daemon lives through all of it, and its memory,
threads and punctuality are watched; the other is killed and stopped at random. The first fifth is calm, then everything
goes wrong that can, and a calm last part shows whether every account finds its way back.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from rotator import logs
from rotator.emulator import Account, Emulator, running
from rotator.generator import Recipe, generate
from rotator.openbao import free_port, serving

EVERY, GRACE = timedelta(seconds=36), timedelta(seconds=6)
# After the last fault: the longest back-off that an account is likely to have run into.
CALM_BEFORE, CALM_AFTER = 0.2, 0.3


@dataclass
class Raft:
    """An OpenBao with raft storage that can be killed, started again, sealed and unsealed."""

    folder: Path
    port: int = field(default_factory=free_port)
    root_token: SecretStr = field(default_factory=lambda: SecretStr(""))
    unseal_key: str = ""
    _server: ExitStack = field(default_factory=ExitStack)
    _pid: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Vault-Token": self.root_token.get_secret_value()}
        answer = httpx.request(method, f"{self.address}/v1/{path}", json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def begin(self) -> None:
        (self.folder / "raft").mkdir()
        config = {
            "storage": {"raft": {"path": str(self.folder / "raft"), "node_id": "one"}},
            "listener": {"tcp": {"address": f"127.0.0.1:{self.port}", "tls_disable": True}},
            "api_addr": self.address,
            "cluster_addr": f"http://127.0.0.1:{free_port()}",
        }
        (self.folder / "bao.json").write_text(json.dumps(config))
        self._start(httpx.codes.NOT_IMPLEMENTED)
        keys = self("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root_token, self.unseal_key = SecretStr(keys["root_token"]), keys["keys"][0]
        self.unseal()
        self("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        time.sleep(1)  # the mount upgrades itself

    def _start(self, ready: int) -> None:
        arguments = ["-config", str(self.folder / "bao.json")]
        self._pid, _ = self._server.enter_context(serving(self.address, arguments, ready=ready))

    def kill(self) -> None:
        os.killpg(self._pid, signal.SIGKILL)
        self._server.close()

    def start(self) -> None:
        self._start(httpx.codes.SERVICE_UNAVAILABLE)
        self.unseal()

    def seal(self) -> None:
        self("PUT", "sys/seal")

    def unseal(self) -> None:
        self("PUT", "sys/unseal", {"key": self.unseal_key})
        ends = time.monotonic() + 30
        while httpx.get(f"{self.address}/v1/sys/health", timeout=5).status_code != httpx.codes.OK:
            assert time.monotonic() < ends, "the server stays sealed"
            time.sleep(0.05)

    def close(self) -> None:
        self._server.close()


@dataclass
class DaemonProcess:
    """A `rotator run` that can be ended and started again."""

    name: str
    config: Path
    token: SecretStr
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    port: int = field(default_factory=free_port)

    def start(self) -> None:
        environment = {
            **os.environ,
            "VAULT_TOKEN": self.token.get_secret_value(),
            "ROTATOR_DAEMON__LISTEN": f"127.0.0.1:{self.port}",
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "rotator", "run", "--config", str(self.config)]
            self.process = subprocess.Popen(command, env=environment, stderr=log)

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process is not None and self.alive:
            self.process.kill()
            self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def look(self) -> dict[str, float]:
        """Its memory in MiB, its threads and open files, right now."""
        assert self.process is not None
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return {
            "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
            "threads": int(status["Threads"]),
            "files": len(list((proc / "fd").iterdir())),
        }

    def lateness(self) -> dict[float, float]:
        """The histogram of schedule lateness: how many visits were at most so many seconds late."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=20).text
        found = re.findall(r'^rotator_schedule_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)', text, re.MULTILINE)
        return {float(bound): float(count) for bound, count in found}


@dataclass
class Consumers:
    """Read every published secret again and again, and try it."""

    vault: Raft
    emulator: Emulator
    names: list[str]
    checks: int = 0
    unanswered: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def reading(self, threads: int) -> Iterator[None]:
        workers = [threading.Thread(target=self._read, args=(self.names[n::threads],)) for n in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _read(self, names: list[str]) -> None:
        headers = {"X-Vault-Token": self.vault.root_token.get_secret_value()}
        with httpx.Client(headers=headers, timeout=5) as client:
            while not self._stop.is_set():
                for name in names:
                    if self._stop.wait(0.01):
                        return
                    try:
                        answer = client.get(f"{self.vault.address}/v1/secret/data/apps/{name}")
                    except httpx.HTTPError:
                        self.unanswered += 1
                        continue
                    if answer.status_code != httpx.codes.OK:
                        self.unanswered += 1  # sealed, or no leader yet: nobody read anything
                        if answer.status_code == httpx.codes.NOT_FOUND:
                            self.failures.append(f"{name}: nothing is published")
                        continue
                    self.checks += 1
                    secret = SecretStr(answer.json()["data"]["data"]["api_secret"])
                    if not self.emulator.authenticates(f"key{name}", secret):
                        self.failures.append(f"{name}: what is published does not work, {datetime.now(UTC)}")


@dataclass
class Soak:
    """One run."""

    folder: Path
    seconds: float
    count: int
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.emulator, self.vault = Emulator([]), Raft(self.folder)
        self.names = [f"n{number:04}" for number in range(self.count)]

    def run(self) -> dict[str, Any]:
        with ExitStack() as stack:
            self.url = stack.enter_context(running(self.emulator))
            self.vault.begin()
            stack.callback(self.vault.close)
            for name in self.names:
                first = generate(Recipe())
                self.emulator.open_account(Account(f"key{name}", first))
                self.vault("POST", f"secret/data/apps/{name}", {"data": {"api_secret": first.get_secret_value()}})
            self.configure()
            steady, victim = (
                DaemonProcess(name, self.folder / "config.toml", self.vault.root_token, self.folder / f"{name}.log")
                for name in ("steady", "victim")
            )
            for daemon in (steady, victim):
                daemon.start()
                stack.callback(daemon.kill)
            consumers = Consumers(self.vault, self.emulator, self.names)
            looks: list[tuple[float, dict[str, float]]] = []
            with consumers.reading(2):
                begun = time.monotonic()
                first_calm, last_calm = self.seconds * CALM_BEFORE, self.seconds * (1 - CALM_AFTER)
                settled = begun + min(30, first_calm / 2)  # taking on the accounts is over by then
                calm: list[dict[float, float]] = []
                next_action = begun + first_calm
                while (now := time.monotonic()) < begun + self.seconds:
                    assert steady.alive, "the daemon that was to live through all of it has ended"
                    looks.append((now - begun, steady.look()))
                    if now > settled and len(calm) == 0:
                        calm.append(steady.lateness())
                    if now > begun + first_calm and len(calm) == 1:
                        calm.append(steady.lateness())
                    if now > begun + last_calm:
                        self.emulator.faults.clear()
                    elif now > next_action:
                        self.act(victim, steady)
                        next_action = time.monotonic() + self.dice.uniform(2, 8)
                    time.sleep(0.5)
            codes = [daemon.end(signal.SIGTERM) for daemon in (steady, victim)]
            if codes != [0, 0]:
                self.problems.append(f"exit codes {codes}")
            self.examine()
            return self.report(consumers, looks, calm)

    def configure(self) -> None:
        """Write the configuration; each time a little different, so that a reload has something to do."""
        self.done["reload"] += 1
        lines = [
            f'[vault]\naddress = "{self.vault.address}"\ntimeout = "3s"\n',
            f'[account_api]\napi_url = "{self.url}"\nrest_url = "{self.url}"\ntimeout = "3s"\nsettle = "2s"\n',
            "max_calls_per_second = 500\n",
            f'[defaults]\nevery = "{EVERY.seconds}s"\ngrace = "{GRACE.seconds}s"\n',
            'jitter = "4s"\nverify_timeout = "5s"\n',
            f'[daemon]\nlease = "10s"\nmin_spacing = "0s"\nsweep = "10s"\nrecheck = "{self.dice.choice([3, 4, 5])}m"\n',
            '[daemon.brake]\nfailures = 20\nof_last = 30\nhold = "5s"\n',
            '[balance]\nevery = "10s"\n',
            '[log]\nformat = "json"\n',
        ]
        lines += [
            f'[[accounts]]\nname = "{name}"\napi_key = "key{name}"\npath = "apps/{name}"\n' for name in self.names
        ]
        new = self.folder / "config.new"
        new.write_text("\n".join(lines))
        new.rename(self.folder / "config.toml")

    def act(self, victim: DaemonProcess, steady: DaemonProcess) -> None:
        """Do one of the things that go wrong."""
        faults = ["drop-before", "drop-after", "503", "504-after", "401", "429", "slow", "late"]
        action = self.dice.choice(
            ("fault",) * 5 + ("vault killed", "vault sealed", "killed", "stopped", "reload", "invalid")
        )
        self.done[action] += 1
        match action:
            case "fault":
                operation = self.dice.choice(("list", "create", "revoke", "any"))
                faults += ["stale"] * 3 if operation == "list" else []
                self.emulator.faults.add(f"{operation}:{self.dice.choice(faults)}:{self.dice.randint(1, 12)}")
            case "vault killed":
                self.vault.kill()
                time.sleep(self.dice.uniform(0.5, 5))
                self.vault.start()
            case "vault sealed":
                self.vault.seal()
                time.sleep(self.dice.uniform(0.5, 5))
                self.vault.unseal()
            case "killed":
                victim.end(signal.SIGKILL)
                time.sleep(self.dice.uniform(0, 5))
                victim.start()
            case "stopped":
                begun = time.monotonic()
                code = victim.end(signal.SIGTERM)
                if code != 0 or time.monotonic() - begun > 27:
                    self.problems.append(f"SIGTERM: exit code {code} after {time.monotonic() - begun:.1f} s")
                victim.start()
                time.sleep(1)
            case "reload":
                self.configure()
                assert steady.process is not None
                steady.process.send_signal(signal.SIGHUP)
            case "invalid":
                good = (self.folder / "config.toml").read_text()
                (self.folder / "config.toml").write_text(good.replace("verify_timeout", "verify_timeoutt"))
                time.sleep(3)
                (self.folder / "config.toml").write_text(good)

    def examine(self) -> None:
        """Every account has to be within its policy."""
        now = datetime.now(UTC)
        for name in self.names:
            journal = self.vault("GET", f"secret/data/rotator/journal/{name}")["data"]["data"]
            published = self.vault("GET", f"secret/data/apps/{name}")["data"]["data"]
            age = now - datetime.fromisoformat(journal["rotated_at"])
            live = self.emulator.live(f"key{name}")
            known = {journal["current_id"], *(entry["id"] for entry in journal["retiring"])}
            wrong = {
                f"phase {journal['phase']}: {journal['last_error']}": journal["phase"] not in ("idle", "overlap"),
                f"age {age}": age > EVERY + timedelta(seconds=10),
                f"unknown {live.keys() - known}": bool(live.keys() - known),
                "the published secret does not work": live.get(published["secret_id"]) is None,
                f"held by {journal['holder']}": journal["holder"] is not None,
            }
            self.problems += [f"{name}: {what}" for what, is_so in wrong.items() if is_so]
            version = self.vault("GET", f"secret/metadata/apps/{name}")["data"]["current_version"]
            self.done["rotations"] += version - 1

    def report(
        self, consumers: Consumers, looks: list[tuple[float, dict[str, float]]], calm: list[dict[float, float]]
    ) -> dict[str, Any]:
        half = [look for at, look in looks if at > self.seconds * 0.3]
        tenth = max(1, len(half) // 10)

        def mean(part: list[dict[str, float]], what: str) -> float:
            return sum(look[what] for look in part) / len(part)

        growth = mean(half[-tenth:], "rss_mib") - mean(half[:tenth], "rss_mib")
        visits = {bound: calm[1][bound] - calm[0][bound] for bound in calm[1]}
        in_time = visits[1.0] / max(1.0, visits[float("inf")])
        if visits[float("inf")] and in_time < 0.99:
            self.problems.append(f"only {in_time:.2%} of the visits in the calm were less than a second late")
        if growth > 5 or half[-1]["threads"] > half[0]["threads"] + 2:
            self.problems.append(f"memory grew by {growth:.1f} MiB, threads are {half[-1]['threads']:.0f}")
        if consumers.failures:
            self.problems.append(f"{len(consumers.failures)} consumer failures")
        return {
            "seconds": self.seconds,
            "accounts": self.count,
            "done": dict(self.done),
            "consumer_checks": consumers.checks,
            "consumer_reads_unanswered": consumers.unanswered,
            "consumer_failures": consumers.failures[:10],
            "calm_visits": visits[float("inf")],
            "calm_visits_less_than_1s_late_percent": round(100 * in_time, 2),
            "rss_mib": [round(mean(half[:tenth], "rss_mib"), 1), round(mean(half[-tenth:], "rss_mib"), 1)],
            "rss_slope_mib_per_hour": round(growth / (0.63 * self.seconds) * 3600, 1),
            "threads": [half[0]["threads"], half[-1]["threads"], max(look["threads"] for look in half)],
            "files": [half[0]["files"], half[-1]["files"]],
            "problems": self.problems[:20],
        }


def main() -> None:
    seconds, count = float(sys.argv[1]), int((sys.argv[2:3] or ["200"])[0])
    seed = int((sys.argv[3:4] or [str(random.randrange(10**6))])[0])
    keep = os.environ.get("KEEP")
    logs.configure("error", "console")  # the emulator's
    with tempfile.TemporaryDirectory() as made:
        folder = Path(keep or made)
        folder.mkdir(exist_ok=True)
        print(f"seed {seed}")
        result = Soak(folder, seconds, count, random.Random(seed)).run()
        print(json.dumps(result, indent=2))
    sys.exit(1 if result["problems"] else 0)


if __name__ == "__main__":
    main()
