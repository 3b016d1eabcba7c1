"""CPU of whole processes, start included: rotator against a lean script with half its requests.

`python -m benchmarks.lean_cost [--quick]`. Plain HTTP, 200 accounts, 8 threads each, in turn. Once the servers have the
first core and the contenders the second one, once all of them share all cores.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import results
from benchmarks.results import Bar, Spread, spread
from benchmarks.servers import Servers, Spent, running

ROTATOR, LEAN = "rotator", "lean script"
THREADS = 8
CONTENDERS: dict[str, Callable[[Servers, int], Spent]] = {
    ROTATOR: lambda servers, count: servers.rotate("rotator", count, concurrency=THREADS),
    LEAN: lambda servers, count: servers.script("lean", "lean", count, str(THREADS)),
}
PINNED, SHARED = "servers on another core", "no core of its own"
BOUNDS = {PINNED: 1.2, SHARED: 1.4}


def _nothing() -> dict[str, dict[str, list[float]]]:
    return {placement: {name: [] for name in CONTENDERS} for placement in BOUNDS}


@dataclass
class Figures:
    """What was spent, in the order in which it was taken.

    Attributes:
        accounts: How many each process rotates.
        one: CPU seconds of a process that rotates one account, by placement and contender.
        all: CPU seconds of a process that rotates all accounts, by placement and contender.
    """

    accounts: int
    one: dict[str, dict[str, list[float]]] = field(default_factory=_nothing)
    all: dict[str, dict[str, list[float]]] = field(default_factory=_nothing)

    def marginal(self, placement: str, name: str) -> list[float]:
        """CPU seconds of one rotation more, round by round."""
        pairs = zip(self.one[placement][name], self.all[placement][name], strict=True)
        return [(every - one) / (self.accounts - 1) for one, every in pairs]

    def ratio(self, placement: str) -> Spread:
        """rotator's CPU for all accounts by that of the lean script, round by round."""
        pairs = zip(self.all[placement][ROTATOR], self.all[placement][LEAN], strict=True)
        return spread([mine / its for mine, its in pairs])


def measure(*, quick: bool) -> Figures:
    """Measure both contenders in both placements, alternating."""
    figures = Figures(10 if quick else 200)
    for placement in BOUNDS:
        _measure(figures, placement, turns=2 if quick else 9)
    return figures


def _measure(figures: Figures, placement: str, turns: int) -> None:
    count = figures.accounts
    with running({"rotator": count, "lean": count}, tls=False, pinned=placement == PINNED) as servers:
        servers.rotate("rotator", count)  # adopts the accounts, which takes more requests than a later rotation

        def take(name: str) -> None:
            figures.one[placement][name].append(CONTENDERS[name](servers, 1).cpu)
            spent = CONTENDERS[name](servers, count).cpu
            figures.all[placement][name].append(spent)
            print(f"{placement}, {name}: {spent:.2f} s of CPU", flush=True)

        results.rounds(turns, list(CONTENDERS), take)
        for fleet in servers.fleets:
            servers.verify(fleet)


def bars(figures: Figures) -> list[Bar]:
    """Whether rotator's safety costs at most so many times the CPU of a script without any."""
    found = []
    for placement, most in BOUNDS.items():
        ratio = figures.ratio(placement)
        what = f"CPU of a process by that of the lean script, {placement}"
        found.append(Bar(what, f"at most {most}", ratio.text(digits=2), ratio.median <= most))
    return found


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    taken = measure(quick=is_quick)
    results.save("lean_cost", taken, quick=is_quick)
    print(*bars(taken), sep="\n")
