"""Leaked secrets that could not be replaced during an outage: `python -m benchmarks.leaked_secrets [--quick]`.

`rotate-now --compromised` fails because the provider is unavailable. Measured is the time from the provider's return
until the running daemon has revoked the leaked secret. The daemon has 1,000 accounts and the default settings. In each
scene several secrets leak, some seconds apart, so that the daemon's retries are spread; the slowest one counts.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import results
from benchmarks.fleet import Daemon, open_managed_account
from benchmarks.results import Bar, spread
from rotator import logs
from rotator.config import VaultSettings
from rotator.demo import OpenBao, running_openbao
from rotator.emulator import Emulator, running
from rotator.vault import Vault
from testkit.cluster import eventually, write_config

ACCOUNTS, OVERDUE, LEAKS = 1000, 100, 4
APART = timedelta(seconds=9)
LIMIT = timedelta(seconds=60)
PATIENCE = timedelta(minutes=5)
# By outage: what the emulator does to every request.
OUTAGES: Mapping[str, str] = {
    "no answer": "any:hang:*",
    "connections break": "any:drop-before:*",
    "503": "any:503:*",
}


@dataclass(frozen=True)
class Scene:
    """An outage of the provider.

    Attributes:
        outage: Its kind.
        overdue: How many other accounts are due meanwhile, so that the circuit breaker opens.
    """

    outage: str
    overdue: int

    def __str__(self) -> str:
        return f"{self.outage}, {self.overdue} accounts overdue"


@dataclass
class Figures:
    """Seconds from the provider's return until each leaked secret was revoked, by scene."""

    accounts: int
    took: list[tuple[Scene, list[float]]] = field(default_factory=list)


def measure(*, quick: bool) -> Figures:
    """Measure all scenes, one daemon after the other."""
    figures = Figures(50 if quick else ACCOUNTS)
    scenes = [Scene(outage, overdue) for overdue in (0, OVERDUE) for outage in OUTAGES]
    emulator = Emulator([])
    with tempfile.TemporaryDirectory() as name, running_openbao() as bao, running(emulator) as url:
        world = World(Path(name), bao, emulator, url)
        at_rest = world.open("rest", figures.accounts, timedelta(days=1))
        for scene in scenes[:1] if quick else scenes:
            overdue = world.open(f"overdue{len(figures.took)}", scene.overdue, timedelta(days=60))
            accounts = [*overdue, *at_rest[: figures.accounts - scene.overdue]]
            took = world.run(scene, accounts, leaked=at_rest[LEAKS * len(figures.took) :][:LEAKS])
            figures.took.append((scene, took))
            print(f"{scene}: {spread(took).text()} s", flush=True)
    return figures


@dataclass
class World:
    """The servers."""

    folder: Path
    bao: OpenBao
    emulator: Emulator
    url: str

    def open(self, prefix: str, count: int, age: timedelta) -> list[dict[str, str]]:
        """Open accounts that rotator manages already."""
        vault = Vault(VaultSettings(address=self.bao.address, auth={"token": self.bao.root_token}), pool_size=8)
        rotated_at = datetime.now(UTC) - age
        with ThreadPoolExecutor(8) as pool:
            names = [f"{prefix}-{number:04}" for number in range(count)]
            return list(pool.map(lambda name: open_managed_account(self.emulator, vault, name, rotated_at), names))

    def run(self, scene: Scene, accounts: Sequence[dict[str, str]], leaked: Sequence[dict[str, str]]) -> list[float]:
        """Let secrets leak during an outage; the seconds from its end until each was revoked."""
        config = self.folder / "config.toml"
        account_api = {"api_url": self.url, "rest_url": self.url}
        sections = {"vault": {"address": self.bao.address}, "account_api": account_api, "log": {"format": "json"}}
        write_config(config, sections, accounts)
        daemon = Daemon("daemon", config, self.bao.root_token, self.folder / f"{scene.outage}-{scene.overdue}.log")
        if scene.overdue:
            self.emulator.faults.add(OUTAGES[scene.outage])
        daemon.start()
        try:
            daemon.await_ready()
            if scene.overdue:
                patience = PATIENCE.total_seconds()
                eventually(
                    lambda: bool(daemon.events("circuit_breaker.opened")), timeout=patience, what=daemon.log.read_text
                )
            else:
                self.emulator.faults.add(OUTAGES[scene.outage])
            old = {one["api_key"]: next(iter(self.emulator.live(one["api_key"]))) for one in leaked}
            with ThreadPoolExecutor(len(leaked)) as pool:
                numbers = range(len(leaked))
                assert list(pool.map(self._fail_to_replace, numbers, leaked)) == [1] * len(leaked)
            return self._end_outage(old)
        finally:
            self.emulator.faults.clear()
            daemon.kill()

    def _fail_to_replace(self, number: int, account: Mapping[str, str]) -> int:
        """Ask for a replacement; the command's exit code."""
        time.sleep(number * APART.total_seconds())
        environment = {**os.environ, "VAULT_TOKEN": self.bao.root_token.get_secret_value()}
        config = str(self.folder / "config.toml")
        command = [sys.executable, "-m", "rotator", "rotate-now", account["name"], "--compromised", "--config", config]
        with (self.folder / "commands.log").open("ab") as log:
            return subprocess.run(command, env=environment, stdout=log, stderr=log, check=False).returncode

    def _end_outage(self, old: Mapping[str, str]) -> list[float]:
        self.emulator.faults.clear()
        begun = time.monotonic()
        took: dict[str, float] = {}
        while len(took) < len(old) and time.monotonic() < begun + PATIENCE.total_seconds():
            for api_key in old.keys() - took.keys():
                if old[api_key] not in self.emulator.live(api_key):
                    took[api_key] = time.monotonic() - begun
            time.sleep(0.05)
        return [took.get(api_key, PATIENCE.total_seconds()) for api_key in old]


def bars(figures: Figures) -> list[Bar]:
    """Whether every leaked secret is revoked soon after the provider's return."""
    return [
        Bar(
            f"slowest of {len(took)} leaked secrets; {scene}; {figures.accounts:,} accounts",
            f"at most {LIMIT.total_seconds():.0f} s",
            f"{max(took):.1f} s",
            max(took) <= LIMIT.total_seconds(),
        )
        for scene, took in figures.took
    ]


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    logs.configure("error", "console")  # the emulator's
    taken = measure(quick=is_quick)
    results.save("leaked_secrets", taken, quick=is_quick)
    print(*bars(taken), sep="\n")
