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
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fleet import Consumers, Daemon, look_at, open_account, rotations
from rotator import logs
from rotator.emulator import Emulator, running
from testkit.cluster import write_config
from testkit.openbao import running_raft

EVERY, GRACE = timedelta(seconds=36), timedelta(seconds=6)
# After the last fault: the longest back-off that an account is likely to have run into.
CALM_BEFORE, CALM_AFTER = 0.2, 0.3


def look(daemon: Daemon) -> dict[str, float]:
    """A daemon's memory in MiB, its threads and open files, right now."""
    assert daemon.process is not None
    proc = Path(f"/proc/{daemon.process.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return {
        "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "files": len(list((proc / "fd").iterdir())),
    }


def lateness(daemon: Daemon) -> dict[float, float]:
    """The histogram of schedule lateness: how many visits were at most so many seconds late."""
    pattern = r'^rotator_job_start_delay_seconds_bucket\{le="([^"]+)"\} (\S+)'
    found = re.findall(pattern, daemon.metrics(), re.MULTILINE)
    return {float(bound): float(count) for bound, count in found}


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
        self.emulator = Emulator([])

    def run(self) -> dict[str, Any]:
        with ExitStack() as stack:
            self.url = stack.enter_context(running(self.emulator))
            self.cluster = stack.enter_context(running_raft(self.folder, 1))
            self.vault = self.cluster.admin
            self.accounts = [open_account(self.emulator, self.vault, f"n{number:04}") for number in range(self.count)]
            self.configure()
            steady, victim = (
                Daemon(name, self.folder / "config.toml", self.vault.root_token, self.folder / f"{name}.log")
                for name in ("steady", "victim")
            )
            for daemon in (steady, victim):
                daemon.start()
                stack.callback(daemon.kill)
            names = [account["name"] for account in self.accounts]
            consumers = Consumers(self.cluster.addresses, self.vault.root_token, self.emulator, names)
            looks: list[tuple[float, dict[str, float]]] = []
            with consumers.reading(2):
                begun = time.monotonic()
                first_calm, last_calm = self.seconds * CALM_BEFORE, self.seconds * (1 - CALM_AFTER)
                settled = begun + min(30, first_calm / 2)  # taking on the accounts is over by then
                calm: list[dict[float, float]] = []
                next_action = begun + first_calm
                while (now := time.monotonic()) < begun + self.seconds:
                    assert steady.alive, "the daemon that was to live through all of it has ended"
                    looks.append((now - begun, look(steady)))
                    if now > settled and len(calm) == 0:
                        calm.append(lateness(steady))
                    if now > begun + first_calm and len(calm) == 1:
                        calm.append(lateness(steady))
                    if now > begun + last_calm:
                        self.emulator.faults.clear()
                    elif now > next_action:
                        self.act(victim, steady)
                        next_action = time.monotonic() + self.dice.uniform(2, 8)
                    time.sleep(0.5)
            codes = [daemon.end(signal.SIGTERM) for daemon in (steady, victim)]
            if codes != [0, 0]:
                self.problems.append(f"exit codes {codes}")
            self.examine(names)
            return self.report(consumers, looks, calm)

    def configure(self) -> None:
        """Write the configuration; each time a little different, so that a reload has something to do."""
        self.done["reload"] += 1
        sections: dict[str, dict[str, Any]] = {
            "vault": {"address": self.vault.address, "timeout": "3s"},
            "account_api": {"api_url": self.url, "rest_url": self.url, "timeout": "3s", "consistency_window": "2s"},
            "defaults": {"every": EVERY, "grace": GRACE, "jitter": "4s", "verify_timeout": "5s"},
            "daemon": {"lease": "10s", "min_spacing": "0s", "resync_interval": "10s"},
            "daemon.circuit_breaker": {"failures": 20, "window": 30, "cooldown": "5s"},
            "balance": {"every": "10s"},
            "log": {"format": "json"},
        }
        sections["account_api"]["max_calls_per_second"] = 500
        sections["daemon"]["verify_interval"] = f"{self.dice.choice([3, 4, 5])}m"
        write_config(self.folder / "config.toml", sections, self.accounts)

    def act(self, victim: Daemon, steady: Daemon) -> None:
        """Do one of the things that go wrong."""
        faults = ["drop-before", "drop-after", "503", "504-after", "401", "429", "slow", "late"]
        action = self.dice.choice(
            ("fault",) * 5 + ("vault killed", "vault sealed", "killed", "stopped", "reload", "invalid")
        )
        self.done[action] += 1
        [node] = self.cluster.nodes
        match action:
            case "fault":
                operation = self.dice.choice(("list", "create", "revoke", "any"))
                faults += ["stale"] * 3 if operation == "list" else []
                self.emulator.faults.add(f"{operation}:{self.dice.choice(faults)}:{self.dice.randint(1, 12)}")
            case "vault killed":
                node.kill()
                time.sleep(self.dice.uniform(0.5, 5))
                self.cluster.start(node)
                self.cluster.await_health(node, httpx.codes.OK)
            case "vault sealed":
                self.cluster.seal(node)
                time.sleep(self.dice.uniform(0.5, 5))
                self.cluster.unseal(node)
                self.cluster.await_health(node, httpx.codes.OK)
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
                steady.send(signal.SIGHUP)
            case "invalid":
                good = (self.folder / "config.toml").read_text()
                (self.folder / "config.toml").write_text(good.replace("verify_timeout", "verify_timeoutt"))
                time.sleep(3)
                (self.folder / "config.toml").write_text(good)

    def examine(self, names: list[str]) -> None:
        """Every account has to be within its policy."""
        for name in names:
            self.problems += look_at(self.vault, self.emulator, name, EVERY + timedelta(seconds=10)).wrong
            self.done["rotations"] += rotations(self.vault, name)

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
            "consumer_reads": consumers.reads,
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
