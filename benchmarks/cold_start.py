"""What one shot takes, from the process's start to its exit: `python -m benchmarks.cold_start [--quick]`.

`rotator rotate-now` of one account against a script with the same calls, its imports included; and `rotator --help`,
which a person at a terminal waits for. Wall time, alternating.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import results
from benchmarks.results import Bar, spread
from benchmarks.servers import PYTHON, ROTATOR, Servers, Spent, running

ONE_SHOT, BARE, REFERENCE, HELP, NOTHING = "rotate-now", "bare calls", "reference", "--help", "python -c pass"
CONTENDERS: dict[str, Callable[[Servers], Spent]] = {
    ONE_SHOT: lambda servers: servers.rotate("rotator", 1),
    BARE: lambda servers: servers.script("bare", "bare", 1),
    REFERENCE: lambda servers: servers.script("reference", "reference", 1),
    HELP: lambda servers: servers.run([ROTATOR, "--help"]),
    NOTHING: lambda servers: servers.run([PYTHON, "-c", "pass"]),
}


@dataclass
class Figures:
    """Seconds of wall time and of CPU, by contender, in the order in which they were taken."""

    wall: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CONTENDERS})
    cpu: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CONTENDERS})


def measure(*, quick: bool) -> Figures:
    """Measure all contenders, alternating."""
    figures = Figures()
    with running({"rotator": 1, "bare": 1, "reference": 1}) as servers:
        servers.rotate("bare", 1)  # taken on by rotator; the bare calls go on from there
        for warm_up in CONTENDERS.values():
            warm_up(servers)

        def take(name: str) -> None:
            spent = CONTENDERS[name](servers)
            figures.wall[name].append(spent.wall)
            figures.cpu[name].append(spent.cpu)

        results.rounds(3 if quick else 25, list(CONTENDERS), take)
        for fleet in servers.fleets:
            servers.verify(fleet)
    return figures


def bars(figures: Figures) -> list[Bar]:
    """Whether one shot takes at most twice as long as the script with the same calls."""
    pairs = zip(figures.wall[ONE_SHOT], figures.wall[BARE], strict=True)
    ratio = spread([mine / its for mine, its in pairs])
    met = ratio.median <= 2
    return [Bar("wall time of one shot, by that of the bare calls", "at most 2.0", ratio.text(digits=2), met)]


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    taken = measure(quick=is_quick)
    results.save("cold_start", taken, quick=is_quick)
    for name, walls in taken.wall.items():
        print(f"{name}: {spread(walls).text(1000, 0)} ms")
    print(*bars(taken), sep="\n")
