"""One fleet, shared by several processes: `python -m benchmarks.sharding [--quick]`.

`rotator rotate-now --all --shard I/N`, all N at once, for N of 1, 2 and 4. Measured is the time until the last one has
ended; each run makes sure that every account got exactly one new secret. At 0 ms a process needs a core of its own, and
the servers one; at 200 ms it mostly waits.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks import results
from benchmarks.results import Bar, Spread, spread
from benchmarks.servers import CONTENDER_CORES, Servers, Spent, running

ACCOUNTS = {0: 400, 50: 400, 200: 160}
COUNTS = (1, 2, 4)


@dataclass
class Figures:
    """Seconds until the last process had ended, by latency in milliseconds, then by the number of processes.

    Attributes:
        cores: How many cores the processes had, the servers' not counted.
        accounts: How many, by latency.
    """

    cores: int
    accounts: dict[int, int]
    walls: dict[int, dict[int, list[float]]] = field(default_factory=dict)

    def speed_up(self, latency: int, count: int) -> Spread:
        """How many times as fast as one process of the same round."""
        walls = self.walls[latency]
        return spread([one / many for one, many in zip(walls[1], walls[count], strict=True)])


def measure(*, quick: bool) -> Figures:
    """Measure all numbers of processes, alternating."""
    accounts = {0: 8, 200: 8} if quick else ACCOUNTS
    figures = Figures(len(CONTENDER_CORES), accounts)
    for latency, fleet in accounts.items():
        walls: dict[int, list[float]] = {count: [] for count in COUNTS}
        with running({"fleet": fleet}, latency=f"{latency}ms") as servers:
            servers.rotate("fleet", fleet)  # the first time is another one: accounts are taken on

            def take(count: int, servers: Servers = servers, walls: dict[int, list[float]] = walls) -> None:
                walls[count].append(run(servers, count))
                print(f"{count} processes: {walls[count][-1]:.1f} s", flush=True)

            results.rounds(2 if quick else 5, COUNTS, take)
            servers.verify("fleet")
        figures.walls[latency] = walls
    return figures


def run(servers: Servers, count: int) -> float:
    """Rotate the fleet with so many processes; the seconds until the last one has ended.

    Raises:
        AssertionError: If an account was left out or done twice.
    """
    names = [account.name for account in servers.fleets["fleet"]]

    def one(index: int) -> Spent:
        return servers.rotate("fleet", len(names), options=["--shard", f"{index}/{count}"])

    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        parts = [
            [account["account"] for account in json.loads(spent.out)["accounts"]]
            for spent in pool.map(one, range(count))
        ]
    wall = time.perf_counter() - begun
    done = sorted(name for part in parts for name in part)
    assert done == names, "an account was left out or done twice"
    return wall


def bars(figures: Figures) -> list[Bar]:
    """Whether two processes are nearly twice as fast, where each has a core."""
    found = []
    for latency in figures.accounts:
        speed_up = figures.speed_up(latency, 2)
        met = speed_up.median >= 1.8
        found.append(
            Bar(
                f"speed-up by a second process at {latency} ms, with {figures.cores} core(s) for both",
                "at least 1.8 where each has a core",
                speed_up.text(digits=2),
                met if met or figures.cores > 1 else None,
            )
        )
    return found


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    taken = measure(quick=is_quick)
    results.save("sharding", taken, quick=is_quick)
    print(*bars(taken), sep="\n")
