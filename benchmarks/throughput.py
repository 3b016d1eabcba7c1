"""Rotations a second, by the provider's latency and by how many accounts are worked on at once.

`python -m benchmarks.throughput [--quick]`. Whole processes. Where
few rotations fit into the time that a figure may take, fewer than the 1,000 accounts are rotated; the table says so.
All of them are with the most at once. The script by hand does one account after the other; with a pool of threads it
does as many at once as rotator.
"""

import sys
from dataclasses import dataclass, field

from benchmarks import results, rotation_cost
from benchmarks.results import Bar, Spread, spread
from benchmarks.servers import CORES, Servers, running

ROTATOR, SERIAL, POOL = "rotator", "reference", "reference with threads"
LATENCIES = (0, 50, 200)
CONCURRENCIES = (1, 4, 16, 64)
POOLS = (8, 64)
MOST = CONCURRENCIES[-1]


@dataclass(frozen=True)
class Point:
    """A place in the table.

    Attributes:
        latency: Of each answer of the provider, in milliseconds.
        concurrency: How many accounts at once.
    """

    contender: str
    latency: int
    concurrency: int


@dataclass(frozen=True)
class Round:
    """One run of a contender: how many accounts, the seconds it took, the CPU of it and of the servers."""

    accounts: int
    wall: float
    cpu: float
    servers: float


@dataclass
class Series:
    """The runs of one point."""

    point: Point
    rounds: list[Round] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Rotations a second, round by round."""
        return [turn.accounts / turn.wall for turn in self.rounds]

    @property
    def rate(self) -> Spread:
        """Rotations a second."""
        return spread(self.rates)


@dataclass
class Figures:
    """All points.

    Attributes:
        cores: How many there were, the servers' one included.
        cost: CPU seconds of a rotation, as benchmarks.rotation_cost measured them; None if it was not run.
    """

    cores: int
    cost: float | None
    series: list[Series] = field(default_factory=list)

    def of(self, contender: str, latency: int, concurrency: int) -> Series:
        """The runs of a point."""
        wanted = Point(contender, latency, concurrency)
        return next(series for series in self.series if series.point == wanted)


def accounts(point: Point, seconds: float, fleet: int) -> int:
    """How many are rotated: all at the most at once, else about what the time is enough for."""
    if point.concurrency == MOST and (point.latency <= 50 or point.contender == ROTATOR):
        return fleet
    rate = min(point.concurrency / (0.02 + 5 * point.latency / 1000), 60)  # 20 ms, and five answers
    return min(fleet, max(4 * point.concurrency, round(seconds * rate)))


def measure(*, quick: bool) -> Figures:
    """Measure all points of a latency on the same servers, in turn, several times."""
    cost = results.load("rotation_cost", rotation_cost.Figures, quick=quick)
    marginal = cost.figures.marginal(rotation_cost.TLS, rotation_cost.ROTATOR) if cost else None
    figures = Figures(len(CORES), spread(marginal).median if marginal else None)
    fleet, seconds, turns = (16, 1, 2) if quick else (1000, 8, 3)
    for latency in LATENCIES[:2] if quick else LATENCIES:
        points = [Point(ROTATOR, latency, concurrency) for concurrency in CONCURRENCIES]
        points += [Point(SERIAL, latency, 1), *(Point(POOL, latency, threads) for threads in POOLS)]
        if quick:
            points = [point for point in points if point.concurrency in (1, 64)]
        series = {point: Series(point) for point in points}
        with running({"rotator": fleet, "reference": fleet}, latency=f"{latency}ms") as servers:
            # The first time is another one: accounts are taken on. And what is left out later was rotated once.
            servers.rotate("rotator", fleet, concurrency=MOST)
            servers.script("reference", "reference", fleet, str(MOST))

            def take(point: Point, servers: Servers = servers, series: dict[Point, Series] = series) -> None:
                turn = _run(servers, point, accounts(point, seconds, fleet))
                series[point].rounds.append(turn)
                print(f"{point}: {turn.accounts / turn.wall:.1f}/s over {turn.accounts}", flush=True)

            results.rounds(turns, points, take)
            for name in servers.fleets:
                servers.verify(name)
        figures.series += series.values()
    return figures


def _run(servers: Servers, point: Point, count: int) -> Round:
    before = servers.cpu()
    if point.contender == ROTATOR:
        spent = servers.rotate("rotator", count, concurrency=point.concurrency)
    else:
        spent = servers.script("reference", "reference", count, str(point.concurrency))
    return Round(count, spent.wall, spent.cpu, servers.cpu() - before)


def bars(figures: Figures) -> list[Bar]:
    """Whether it is twenty times as fast as the script where answers take 50 ms, and near its CPU's limit at 0 ms."""
    pairs = zip(figures.of(ROTATOR, 50, MOST).rates, figures.of(SERIAL, 50, 1).rates, strict=True)
    times = spread([mine / its for mine, its in pairs])
    found = [
        Bar(
            f"rotations a second at 50 ms and concurrency {MOST}, by those of the reference",
            "at least 20",
            times.text(),
            times.median >= 20,
        )
    ]
    if figures.cost is not None:
        seconds = figures.cost
        rate = figures.of(ROTATOR, 0, MOST).rate
        met = rate.median * 1.5 * seconds >= 1
        found.append(
            Bar(
                f"rotations a second at 0 ms and concurrency {MOST}; CPU alone would allow {1 / seconds:.1f}",
                f"at least {1 / (1.5 * seconds):.1f}",
                rate.text(),
                met if met or figures.cores > 1 else None,
            )
        )
    return found


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    taken = measure(quick=is_quick)
    results.save("throughput", taken, quick=is_quick)
    print(*bars(taken), sep="\n")
