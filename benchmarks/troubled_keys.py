"""Accounts that rotate beside keys in trouble: `python -m benchmarks.troubled_keys [--quick]`.

A daemon starts while every account is due. Measured is the time from the moment when it may work until the last healthy
account's rotation is recorded: without the accounts in trouble, then with them. Their trouble lasts for the whole run,
they stand first in the configuration, and they are due for longer. Settings are the defaults, but for the pace
(`max_calls_per_second`, `min_spacing`): at the default pace every account delays the others alike, in trouble or not.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.fleet import Daemon, open_managed_account
from benchmarks.results import Bar, Spread, spread
from rotator import logs
from rotator.config import VaultSettings
from rotator.demo import OpenBao, running_openbao
from rotator.emulator import Emulator, running
from rotator.vault import Vault
from testkit.cluster import write_config

LATENCY = timedelta(milliseconds=200)
PATIENCE = 300.0
# By trouble: what the emulator does to the requests of a key.
TROUBLES: Mapping[str, str] = {
    "429": "any:429:*@key={key}",
    "401, the secret is refused": "any:401:*@key={key}",
    "401, unprovisioned": "any:unprovisioned:*@key={key}",
    "no answer": "any:hang:*@key={key}",
    "never verifying": "create:unverified:*@key={key}",
}
MANY, MANY_KEYS = "never verifying", 8


@dataclass(frozen=True)
class Scene:
    """A number of keys in one kind of trouble beside a number of healthy ones."""

    trouble: str
    troubled: int
    healthy: int

    def __str__(self) -> str:
        return f"{self.troubled} key{'s' if self.troubled > 1 else ''}: {self.trouble}; {self.healthy} healthy"


@dataclass
class Pairs:
    """The runs of one scene, in seconds: without and with the keys in trouble, round by round."""

    scene: Scene
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> Spread:
        """How many times as long the healthy accounts take."""
        return spread([beside / alone for alone, beside in zip(self.alone, self.beside, strict=True)])


@dataclass
class Figures:
    """All scenes, and the provider's latency in milliseconds."""

    latency: int
    pairs: list[Pairs] = field(default_factory=list)


def scenes() -> list[Scene]:
    """One key in each kind of trouble, then several that never verify; beside as many healthy ones, and beside 15."""
    found = [Scene(trouble, 1, healthy) for trouble in TROUBLES for healthy in (1, 15)]
    return found + [Scene(MANY, MANY_KEYS, healthy) for healthy in (MANY_KEYS, 15)]


def measure(*, quick: bool) -> Figures:
    """Measure all scenes; without and with the keys in trouble in turn, three times."""
    figures = Figures(round(LATENCY / timedelta(milliseconds=1)))
    emulator = Emulator([], latency=LATENCY)
    with tempfile.TemporaryDirectory() as name, running_openbao() as bao, running(emulator) as url:
        world = World(Path(name), bao, emulator, url)
        for scene in scenes()[-2:] if quick else scenes():
            pairs = Pairs(scene)

            def take(takes: tuple[list[float], int], scene: Scene = scene) -> None:
                takes[0].append(world.run(scene.trouble, takes[1], scene.healthy))

            results.rounds(1 if quick else 3, [(pairs.alone, 0), (pairs.beside, scene.troubled)], take)
            figures.pairs.append(pairs)
            print(f"{scene}: alone {pairs.alone}, beside {pairs.beside}", flush=True)
    return figures


@dataclass
class World:
    """The servers; each run has accounts of its own there."""

    folder: Path
    bao: OpenBao
    emulator: Emulator
    url: str
    _runs: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def run(self, trouble: str, troubled: int, healthy: int) -> float:
        """Seconds that a daemon takes to rotate the healthy accounts beside keys in trouble."""
        number, now = next(self._runs), datetime.now(UTC)
        vault = Vault(VaultSettings(address=self.bao.address, auth={"token": self.bao.root_token}), pool_size=1)
        ages = dict.fromkeys((f"t{number:03}-{one:02}" for one in range(troubled)), timedelta(days=90))
        wanted = [f"h{number:03}-{one:02}" for one in range(healthy)]
        ages |= dict.fromkeys(wanted, timedelta(days=60))
        accounts = [open_managed_account(self.emulator, vault, name, now - age) for name, age in ages.items()]
        for account in accounts[:troubled]:
            self.emulator.faults.add(TROUBLES[trouble].format(key=account["api_key"]))
        config = self.folder / f"{number}.toml"
        write_config(config, self._sections(), accounts)
        daemon = Daemon("daemon", config, self.bao.root_token, self.folder / f"{number}.log")
        daemon.start()
        try:
            return _await_rotations(daemon, wanted)
        finally:
            daemon.kill()
            self.emulator.faults.clear()

    def _sections(self) -> dict[str, dict[str, Any]]:
        return {
            "vault": {"address": self.bao.address},
            "account_api": {"api_url": self.url, "rest_url": self.url, "max_calls_per_second": 10_000},
            "daemon": {"min_spacing": "0s"},
            "balance": {"every": "off"},
            "log": {"format": "json"},
        }


def _await_rotations(daemon: Daemon, wanted: Sequence[str]) -> float:
    """Seconds, by the daemon's log, from Vault's first answer until each of these accounts is rotated."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        recorded = {event["account"]: event["timestamp"] for event in daemon.events("rotation.recorded")}
        if recorded.keys() >= set(wanted):
            [ready] = daemon.events("vault.available")
            last = max(recorded[name] for name in wanted)
            return (datetime.fromisoformat(last) - datetime.fromisoformat(ready["timestamp"])).total_seconds()
        assert daemon.alive, daemon.log.read_text()[-2000:]
        time.sleep(0.1)
    return PATIENCE


def bars(figures: Figures) -> list[Bar]:
    """Whether healthy accounts take at most twice as long as alone."""
    return [
        Bar(f"time beside, by time alone; {pairs.scene}", "at most 2.0", pairs.ratio.text(digits=2), met)
        for pairs in figures.pairs
        for met in [pairs.ratio.median <= 2]
    ]


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    logs.configure("error", "console")  # the emulator's
    taken = measure(quick=is_quick)
    results.save("troubled_keys", taken, quick=is_quick)
    print(*bars(taken), sep="\n")
