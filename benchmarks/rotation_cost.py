"""What a rotation costs: CPU seconds of the process, against a script by hand and against the bare calls.

`python -m benchmarks.rotation_cost [--quick]`. Each contender has accounts of its own on the same servers, and rotates
one of them, then all: the difference, by the accounts more, is what a rotation costs without imports and logins.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import results
from benchmarks.results import Bar, Spread, spread
from benchmarks.servers import Servers, Spent, running

ROTATOR, ONE, REFERENCE, BARE = "rotator", "rotator, 1 at once", "reference", "bare calls"
FLEETS = {ROTATOR: "default", ONE: "serial", REFERENCE: "reference", BARE: "bare"}
CONTENDERS: dict[str, Callable[[Servers, int], Spent]] = {
    ROTATOR: lambda servers, count: servers.rotate(FLEETS[ROTATOR], count),
    ONE: lambda servers, count: servers.rotate(FLEETS[ONE], count, concurrency=1),
    REFERENCE: lambda servers, count: servers.script("reference", FLEETS[REFERENCE], count),
    BARE: lambda servers, count: servers.script("bare", FLEETS[BARE], count),
}
TLS, PUBLIC, PLAIN = "TLS", "TLS, public CAs", "plain HTTP"
TRANSPORTS = {
    TLS: (ROTATOR, ONE, REFERENCE, BARE),
    PUBLIC: (ROTATOR, REFERENCE, BARE),
    PLAIN: (ROTATOR, ONE, BARE),  # the SDK speaks TLS alone
}


@dataclass(frozen=True)
class Round:
    """One contender's turn, in seconds.

    Attributes:
        one: CPU for one account.
        all: CPU for all accounts.
        servers: CPU that the servers took for all accounts.
        wall: How long all accounts took.
    """

    one: float
    all: float
    servers: float
    wall: float


@dataclass
class Figures:
    """By transport, then by contender, in the order in which they were taken."""

    accounts: int
    taken: dict[str, dict[str, list[Round]]] = field(default_factory=dict)

    def marginal(self, transport: str, contender: str) -> list[float]:
        """CPU seconds of one rotation more, round by round."""
        return [(turn.all - turn.one) / (self.accounts - 1) for turn in self.taken[transport][contender]]

    def whole(self, transport: str, contender: str) -> list[float]:
        """CPU seconds of the whole process, a rotation."""
        return [turn.all / self.accounts for turn in self.taken[transport][contender]]

    def ratio(self, transport: str, contender: str, other: str) -> Spread:
        """How many times what another one of the same round costs."""
        pairs = zip(self.marginal(transport, contender), self.marginal(transport, other), strict=True)
        return spread([mine / its for mine, its in pairs])


def measure(*, quick: bool) -> Figures:
    """Measure all contenders, alternating."""
    figures = Figures(accounts=10 if quick else 150)
    for transport in TRANSPORTS:
        figures.taken[transport] = _measure(transport, figures.accounts, turns=2 if quick else 9)
    return figures


def _measure(transport: str, accounts: int, turns: int) -> dict[str, list[Round]]:
    """On one pair of servers."""
    names = TRANSPORTS[transport]
    taken: dict[str, list[Round]] = {name: [] for name in names}
    fleets = {FLEETS[name]: accounts for name in names}
    with running(fleets, tls=transport != PLAIN, public_cas=transport == PUBLIC) as servers:
        servers.rotate(FLEETS[BARE], accounts)  # taken on by rotator; the bare calls go on from there
        for name in names:
            CONTENDERS[name](servers, accounts)  # the first time is another one: accounts are taken on

        def take(name: str) -> None:
            one = CONTENDERS[name](servers, 1)
            before = servers.cpu()
            every = CONTENDERS[name](servers, accounts)
            turn = Round(one.cpu, every.cpu, servers.cpu() - before, every.wall)
            taken[name].append(turn)
            print(f"{transport}, {name}: {1000 * (turn.all - turn.one) / (accounts - 1):.2f} ms", flush=True)

        results.rounds(turns, names, take)
        for fleet in servers.fleets:
            servers.verify(fleet)
    return taken


def bars(figures: Figures) -> list[Bar]:
    """Whether rotator costs at most as much as the script, and at most half more than the bare calls."""
    found = []
    for transport in (TLS, PUBLIC):
        for other, most in ((REFERENCE, 1.0), (BARE, 1.5)):
            ratio = figures.ratio(transport, ROTATOR, other)
            what = f"CPU of a rotation by that of the {other}, {transport}"
            found.append(Bar(what, f"at most {most}", ratio.text(digits=2), ratio.median <= most))
    return found


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    taken = measure(quick=is_quick)
    results.save("rotation_cost", taken, quick=is_quick)
    print(*bars(taken), sep="\n")
