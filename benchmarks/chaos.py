"""Everything goes wrong at once, at every layer: `make chaos`, or `python -m benchmarks.chaos --help`.

Three daemons rotate a fleet on a cluster of three OpenBao servers with raft storage and the emulated provider, while
consumers read every published secret from any server and try it. What goes wrong, when, to whom and for how long is a
plan, drawn from the seed before it begins. After it, all is calm until every account has found its way back.
docs/chaos.md says what this shows and what it cannot.
"""

import argparse
import json
import os
import random
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fleet import Consumers, Daemon, Look, look_at, open_account, rotations
from benchmarks.links import Link, Network, Owners, State
from rotator import logs
from rotator.core.generator import Recipe, generate
from rotator.emulator import Emulator, Operation, running
from testkit.cluster import WallClock, write_config
from testkit.openbao import Node, running_raft

EVERY, GRACE, LEASE = timedelta(seconds=45), timedelta(seconds=20), timedelta(seconds=20)
TIMEOUT, SETTLE = timedelta(seconds=2), timedelta(seconds=4)
# A runner that is stopped for longer than this between its look at the lease and its create may leave a secret that is
# unknown: docs/protocol.md says so.
PAST_EVERYTHING = LEASE + TIMEOUT + SETTLE
# What a default run has to come to, and how long the accounts may take to find back: the longest back-off that some
# run into, and a step of a clock on top.
ROTATIONS, STORM, CALM = 1000, timedelta(minutes=12), timedelta(minutes=12)
DAEMONS = ("steady", "victim", "clocked")
SERVERS = ("node0", "node1", "node2")
RUNNERS = (*DAEMONS, "stray")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        at: Seconds after the beginning.
        kind: What it is.
        target: To whom it happens; "leader" is whoever leads then.
        seconds: For how long.
        detail: What else there is to say.
    """

    at: float
    kind: str
    target: str
    seconds: float
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.kind:<18} {self.target:<8} {self.seconds:5.1f} s  {self.detail}"


@dataclass(frozen=True)
class Plan:
    """What goes wrong in a run, by layers; within a layer one thing after the other, the layers all at once.

    Attributes:
        standby_reads: Whether a server that does not lead answers reads by itself, as OpenBao's do unless told not to.
            Such a server shows the past while it is cut off. So the past has to be younger than the grace: nothing may
            shorten that then, no clock that is minutes ahead and no `--force` or `--compromised`.
    """

    seed: int
    seconds: float
    standby_reads: bool
    layers: dict[str, tuple[Fault, ...]]

    def __str__(self) -> str:
        faults = sorted((fault for layer in self.layers.values() for fault in layer), key=lambda fault: fault.at)
        head = f"seed {self.seed}, {self.seconds:.0f} s, standbys {'answer' if self.standby_reads else 'pass on'} reads"
        return "\n".join([head, *map(str, faults)])


def draw(seed: int, seconds: float, names: Sequence[str]) -> Plan:
    """The plan of a seed: the same for the same arguments, always."""
    dice = random.Random(seed)
    standby_reads = dice.random() < 0.5
    drawers: dict[str, tuple[Callable[[random.Random], tuple[str, str, float, str]], float]] = {
        "provider": (_provider_fault, 3),
        "propagation": (_propagation, 8),
        "servers": (partial(_server_fault, standby_reads=standby_reads), 12),
        "vault links": (_vault_link_fault, 6),
        "provider links": (_provider_link_fault, 6),
        "processes": (_process_fault, 8),
        "clock": (partial(_clock_step, standby_reads=standby_reads), 20),
        "strays": (partial(_stray, names=names, standby_reads=standby_reads), 12),
        "people": (partial(_person, names=names), 30),
    }
    return Plan(
        seed, seconds, standby_reads, {name: _layer(dice, seconds, *drawer) for name, drawer in drawers.items()}
    )


def _layer(
    dice: random.Random, ends: float, draw_one: Callable[[random.Random], tuple[str, str, float, str]], pause: float
) -> tuple[Fault, ...]:
    faults, at = [], dice.uniform(0, pause)
    while at < ends:
        kind, target, lasts, detail = draw_one(dice)
        faults.append(Fault(round(at, 1), kind, target, round(lasts, 1), detail))
        at += lasts + dice.uniform(0.3, 1.7) * pause
    return tuple(faults)


def _provider_fault(dice: random.Random) -> tuple[str, str, float, str]:
    operation = dice.choice(("list", "create", "revoke", "any"))
    faults = ["drop-before", "drop-after", "503", "504-after", "401", "429", "slow", "late"]
    fault = dice.choice(faults + (["stale"] * 3 if operation == "list" else []))
    # Late by less than the consistency window, together with a held connection: the configuration allows for both.
    detail = {"slow": "@3s", "late": "@1500ms", "429": f"@{dice.randint(1, 3)}s"}.get(fault, "")
    return "provider answer", "provider", 0, f"{operation}:{fault}:{dice.randint(1, 8)}{detail}"


def _propagation(dice: random.Random) -> tuple[str, str, float, str]:
    return "slow propagation", "provider", dice.uniform(5, 15), f"{dice.uniform(0.2, 3):.1f}"


def _server_fault(dice: random.Random, *, standby_reads: bool) -> tuple[str, str, float, str]:
    """Each is over long before the grace: see Plan.standby_reads."""
    kinds = ["killed", "killed", "sealed", "isolated", "isolated", "half isolated", "all killed"]
    # A leader that wakes from a stop answers from its past for a moment: the same.
    kind = dice.choice([*kinds, "stopped", "isolated, held"] if standby_reads else kinds)
    target = "all" if kind == "all killed" else dice.choice(("leader", "leader", *SERVERS))
    return f"server {kind}", target, dice.uniform(1, 5), dice.choice(("inbound", "outbound")) if "half" in kind else ""


def _vault_link_fault(dice: random.Random) -> tuple[str, str, float, str]:
    kind = dice.choice(("vault link cut", "vault link held"))
    return kind, dice.choice(RUNNERS), dice.uniform(1, 8), dice.choice((*SERVERS, *SERVERS, "all"))


def _provider_link_fault(dice: random.Random) -> tuple[str, str, float, str]:
    if dice.random() < 0.5:
        return "provider link cut", dice.choice(RUNNERS), dice.uniform(1, 6), ""
    return "provider link held", dice.choice(RUNNERS), dice.uniform(0.5, 2), ""


def _process_fault(dice: random.Random) -> tuple[str, str, float, str]:
    kind = dice.choice(("killed", "killed", "ended", "stopped", "stopped past its lease", "log disk full"))
    target = "victim" if kind == "log disk full" else dice.choice(DAEMONS)
    longest = LEASE.total_seconds()
    lasts = {"stopped": dice.uniform(1, 8), "stopped past its lease": longest * dice.uniform(1.05, 1.8)}
    return f"process {kind}", target, lasts.get(kind, dice.uniform(0, 6)), ""


def _clock_step(dice: random.Random, *, standby_reads: bool) -> tuple[str, str, float, str]:
    steps = (-8, -6, 6, 8) if standby_reads else (-180, -90, -30, 30, 60, 90)
    return "clock step", "clocked", dice.uniform(5, 25), f"{dice.choice(steps):+d}"


def _stray(dice: random.Random, *, names: Sequence[str], standby_reads: bool) -> tuple[str, str, float, str]:
    flags = [""] if standby_reads else ["", "", "--force", "--compromised"]
    killed_after = dice.uniform(1, 4) if dice.random() < 0.3 else 0.0
    return "rotate-now", dice.choice(names), killed_after, dice.choice(flags)


def _person(dice: random.Random, *, names: Sequence[str]) -> tuple[str, str, float, str]:
    return "added by a person", dice.choice(names), dice.uniform(2, 10), ""


@dataclass(frozen=True)
class Sent:
    """A create that went to the provider: when by the steady clock, and whose it was."""

    at: float
    runner: str


@dataclass
class Stops:
    """When processes were stopped, to tell what a create may have slept through."""

    spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def note(self, runner: str, begun: float, ended: float) -> None:
        self.spans.setdefault(runner, []).append((begun, ended))

    def past_everything_before(self, sent: Sent) -> bool:
        """Whether who sent it had just slept for longer than the protocol can wait."""
        return any(
            ended - begun > PAST_EVERYTHING.total_seconds() and ended <= sent.at < ended + TIMEOUT.total_seconds()
            for begun, ended in self.spans.get(sent.runner, ())
        )


@dataclass
class Campaign:
    """One run of a plan."""

    folder: Path
    plan: Plan
    names: Sequence[str]
    module: Sequence[str]
    calm: float
    done: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    stops: Stops = field(default_factory=Stops)
    sent: dict[str, list[Sent]] = field(default_factory=dict)
    added: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> dict[str, Any]:
        with ExitStack() as stack:
            stack.callback(self._over.set)
            self.network = stack.enter_context(Network().running())
            self.emulator = Emulator([])
            self.url = stack.enter_context(running(self.emulator))
            self.raft_links = {
                (one, other): self.network.link(f"{one} to {other}") for one in SERVERS for other in SERVERS
            }
            self.cluster = stack.enter_context(
                running_raft(
                    self.folder, len(SERVERS), self._advertise, standby_reads=self.plan.standby_reads, patience=2
                )
            )
            self.servers = self.cluster.nodes
            primaries = dict.fromkeys(self.names[1:4], self.names[0])
            self.accounts = [
                open_account(self.emulator, self.cluster.admin, name, primaries.get(name)) for name in self.names
            ]
            self.links = {runner: self._links_of(runner) for runner in RUNNERS}
            self.clock = WallClock(self.folder)
            self.daemons = {name: self._daemon(name) for name in DAEMONS}
            for daemon in self.daemons.values():
                stack.callback(daemon.kill)
                daemon.start()
            consumers = Consumers(self.cluster.addresses, self.cluster.admin.root_token, self.emulator, self.names)
            for daemon in self.daemons.values():
                daemon.await_ready()
            with consumers.reading(2):
                self._storm()
                back = self._calm()
            self._end()
            return self._report(consumers, back)

    # --- the parts -------------------------------------------------------------------------------------------

    def _advertise(self, name: str, port: int) -> int:
        """A server is reached by the others through links that tell who comes."""
        owners = Owners({str(self.folder / server / "bao.json"): server for server in SERVERS})

        def choose(client: int) -> Link:
            comes = owners.of(client)
            return self.raft_links[comes or name, name]  # who is gone already is as good as the server itself

        return self.network.listen(port, choose)

    def _links_of(self, runner: str) -> dict[str, tuple[Link, int]]:
        """A runner's link to each server and to the provider, and the port that it is reached by."""
        ports = {node.name: int(node.address.rpartition(":")[2]) for node in self.servers}
        ports["provider"] = int(self.url.rpartition(":")[2])
        made = {}
        for server, port in ports.items():
            link = self.network.link(f"{runner} to {server}")
            if server == "provider":
                link.on_sent = partial(self._note_creates, runner)
            made[server] = link, self.network.listen(port, partial(_always, link))
        return made

    def _note_creates(self, runner: str, data: bytes) -> None:
        for api_key in re.findall(rb"^POST /accounts/([^/ ]+)/secrets ", data, re.MULTILINE):
            self.sent.setdefault(api_key.decode(), []).append(Sent(time.monotonic(), runner))

    def _config(self, runner: str) -> Path:
        """A runner's configuration: the same for all, but for the ways to the servers."""
        ports = {server: port for server, (_, port) in self.links[runner].items()}
        provider = f"http://127.0.0.1:{ports['provider']}"
        sections: dict[str, dict[str, Any]] = {
            "vault": {"address": ",".join(f"http://127.0.0.1:{ports[name]}" for name in SERVERS), "timeout": TIMEOUT},
            "account_api": {
                "api_url": provider,
                "rest_url": provider,
                "timeout": TIMEOUT,
                "consistency_window": SETTLE,
            },
            "defaults": {"every": EVERY, "grace": GRACE, "jitter": "5s", "verify_timeout": "8s"},
            "daemon": {"lease": LEASE, "min_spacing": "0s", "resync_interval": "10s", "verify_interval": "3m"},
            "daemon.circuit_breaker": {"failures": 20, "window": 30, "cooldown": "5s"},
            "balance": {"every": "2m"},
            "log": {"format": "json"},
        }
        sections["account_api"]["max_calls_per_second"] = 500
        file = self.folder / f"{runner}.toml"
        write_config(file, sections, self.accounts)
        return file

    def _daemon(self, name: str) -> Daemon:
        clocked = name == "clocked"
        return Daemon(
            name,
            self._config(name),
            self.cluster.admin.root_token,
            self.folder / f"{name}.log",
            options=("--shard", "0/3") if clocked else (),  # what a wrong clock wrote does not hold for every account
            environment=self.clock.environment if clocked else {},
            module=self.module,
        )

    # --- the storm -------------------------------------------------------------------------------------------

    def _storm(self) -> None:
        self.began = time.monotonic()
        self._config("stray")
        layers = [
            threading.Thread(target=self._live_through, args=(name, faults), name=name)
            for name, faults in self.plan.layers.items()
        ]
        for layer in layers:
            layer.start()
        time.sleep(self.plan.seconds)
        self._over.set()
        for layer in layers:
            layer.join()
        self.emulator.faults.clear()

    def _live_through(self, name: str, faults: Sequence[Fault]) -> None:
        for fault in faults:
            if self._over.wait(max(0.0, self.began + fault.at - time.monotonic())):
                return
            with self._lock:
                self.done[fault.kind] += 1
            try:
                with self._suffering(fault):
                    self._over.wait(fault.seconds)
            except Exception as error:  # noqa: BLE001 - the campaign's own mistake must not pass for a quiet layer
                self.problems.append(f"the campaign failed in {name} at {fault}: {error!r}")

    @contextmanager
    def _suffering(self, fault: Fault) -> Iterator[None]:
        layer, _, what = fault.kind.partition(" ")
        match layer:
            case "provider" if what == "answer":
                self.emulator.faults.add(fault.detail)
                yield
            case "slow":
                self.emulator.propagation = timedelta(seconds=float(fault.detail))
                yield
                self.emulator.propagation = timedelta()
            case "server":
                with self._server_suffering(fault.target, what, fault.detail):
                    yield
            case "vault" | "provider":
                wanted = (fault.detail,) if fault.detail in SERVERS else SERVERS if layer == "vault" else ("provider",)
                links = [self.links[fault.target][server][0] for server in wanted]
                with _all(links, State.CUT if what == "link cut" else State.HELD):
                    yield
            case "process":
                with self._process_suffering(self.daemons[fault.target], what):
                    yield
            case "clock":
                self.clock.set(timedelta(seconds=int(fault.detail)))
                yield
                self.clock.set(timedelta())
            case "rotate-now":
                with self._stray(fault):
                    yield
            case "added":
                with self._person(f"key{fault.target}"):
                    yield

    @contextmanager
    def _server_suffering(self, target: str, what: str, side: str) -> Iterator[None]:
        nodes = [node for node in self.servers if target in ("all", node.name)] or [self._leader()]
        [node, *_] = nodes
        match what:
            case "killed" | "all killed":
                for one in nodes:
                    one.kill()
                yield
                for one in nodes:
                    self.cluster.start(one)
            case "sealed":
                leader = self._leader()
                self.cluster.seal(leader)
                yield
                self.cluster.unseal(leader)
            case "stopped":
                node.signal(signal.SIGSTOP)
                yield
                node.signal(signal.SIGCONT)
            case _:
                links = [link for pair, link in self.raft_links.items() if node.name in pair]
                if side:
                    links = [link for pair, link in self.raft_links.items() if node.name == pair[side == "inbound"]]
                with _all(links, State.HELD if "held" in what else State.CUT):
                    yield
        for one in self.servers:
            self.cluster.await_health(one, httpx.codes.OK, httpx.codes.TOO_MANY_REQUESTS)

    def _leader(self) -> Node:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            for node in self.servers:
                if node.health() == httpx.codes.OK:
                    return node
            time.sleep(0.2)
        raise AssertionError("nobody leads")

    @contextmanager
    def _process_suffering(self, daemon: Daemon, what: str) -> Iterator[None]:
        match what:
            case "killed":
                daemon.end(signal.SIGKILL)
                yield
                daemon.start()
            case "ended":
                self._end_one(daemon)
                yield
                daemon.start()
            case "log disk full":
                self._end_one(daemon)
                daemon.start(Path("/dev/full"))
                yield
                self._over.wait(20)  # it takes a while until it has much to say
                self._end_one(daemon)
                daemon.start()
            case _:
                begun = time.monotonic()
                daemon.send(signal.SIGSTOP)
                yield
                self.stops.note(daemon.name, begun, time.monotonic())
                daemon.send(signal.SIGCONT)

    def _end_one(self, daemon: Daemon) -> None:
        begun, up = time.monotonic(), daemon.is_up()
        code = daemon.end(signal.SIGTERM)
        took = time.monotonic() - begun
        ended_well = code == 0 or (code == -signal.SIGTERM and not up)
        if not ended_well or took > 27:
            self.problems.append(f"{daemon.name} was told to end: exit code {code} after {took:.1f} s")

    @contextmanager
    def _stray(self, fault: Fault) -> Iterator[None]:
        """Somebody else's run; at most a few at once, and nobody waits for it."""
        with self._run("rotate-now", fault.target, *shlex.split(fault.detail)) as process:
            yield
            if fault.seconds:
                process.kill()
            code = process.wait(90)
        if code not in (0, 1, 3, -signal.SIGKILL):
            self.problems.append(f"{fault}: exit code {code}")

    def _run(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A command, run by somebody who goes the stray's ways."""
        environment = {
            **os.environ,
            "VAULT_TOKEN": self.cluster.admin.root_token.get_secret_value(),
            "ROTATOR_CONFIG": str(self.folder / "stray.toml"),
        }
        with (self.folder / "stray.log").open("ab") as log:
            command = [sys.executable, "-m", *self.module, *arguments]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    @contextmanager
    def _person(self, api_key: str) -> Iterator[None]:
        """Somebody adds a secret in the provider's dashboard, where there is room, and thinks better of it."""
        added = None
        if len(self.emulator.live(api_key)) < 2:
            added = self.emulator.add_secret(api_key, generate(Recipe()))
            self.added.add(added)
        yield
        if added in self.emulator.live(api_key):
            self.emulator.remove_secret(api_key, str(added))

    # --- after it --------------------------------------------------------------------------------------------

    def _calm(self) -> dict[str, float]:
        """Wait until every account has been seen to be well; how long each took, in seconds."""
        begun = time.monotonic()
        back: dict[str, float] = {}
        while len(back) < len(self.names) and time.monotonic() < begun + self.calm:
            for name in self.names:
                if name in back:
                    continue
                time.sleep(0.05)  # whoever looks all the time keeps the links from carrying anything
                look = self._look(name)
                self._resolve(name, look.unknown)
                if not look.wrong:
                    back[name] = time.monotonic() - begun
        return back

    def _resolve(self, name: str, unknown: Set[str]) -> None:
        """Decide as a person would, but only about what docs/protocol.md says that rotator may leave."""
        for id_ in unknown:
            if self._whose(name, id_) == "past everything":
                self.excused.add(id_)
                with self._run("resolve", name, "--revoke", id_) as process:
                    process.wait(90)

    def _look(self, name: str) -> Look:
        return look_at(self.cluster.ask, self.emulator, name, EVERY + timedelta(seconds=10))

    def _end(self) -> None:
        for daemon in self.daemons.values():
            if not daemon.alive:
                self.problems.append(f"{daemon.name} has ended by itself")
            else:
                self._end_one(daemon)

    def _report(self, consumers: Consumers, back: dict[str, float]) -> dict[str, Any]:
        looks = {name: self._look(name) for name in self.names}
        self.problems += [what for look in looks.values() for what in look.wrong]
        unknown = Counter(self._whose(name, id_) for name, look in looks.items() for id_ in look.unknown)
        count = sum(rotations(self.cluster.ask, name) for name in self.names)
        times = sorted(back.values()) or [float("nan")]
        report = {
            "seed": self.plan.seed,
            "storm_seconds": self.plan.seconds,
            "standby_reads": self.plan.standby_reads,
            "accounts": len(self.names),
            "rotations": count,
            "faults": dict(sorted(self.done.items())),
            "faults_in_all": sum(self.done.values()),
            "consumer_reads": consumers.reads,
            "consumer_reads_unanswered": consumers.unanswered,
            "consumer_failures": len(consumers.failures),
            "first_failures": consumers.failures[:10],
            "accounts_converged": len(back),
            "seconds_to_converge_median": round(statistics.median(times), 1),
            "seconds_to_converge_max": round(times[-1], 1),
            "unknown_secrets_of_rotator": unknown["rotator"],
            "unknown_secrets_past_everything": len(self.excused),
            "unknown_secrets_of_people": unknown["people"],
        }
        return report | {"missed": [*missed(report), *self.problems[:20]]}

    def _whose(self, name: str, id_: str) -> str:
        """Who is to answer for a secret that the journal does not know."""
        if id_ in self.added:
            return "people"
        creates = (
            request.time
            for request in self.emulator.requests
            if request.operation is Operation.CREATE and request.secret_id == id_
        )
        created = next(creates, None)
        if created is None:
            return "rotator"  # too long ago to tell
        at = time.monotonic() - (datetime.now(UTC) - created).total_seconds()
        sent = sorted(self.sent.get(f"key{name}", ()), key=lambda one: one.at)
        number = bisect_right(sent, at, key=lambda one: one.at)
        return "past everything" if number and self.stops.past_everything_before(sent[number - 1]) else "rotator"


def _always(link: Link, client: int) -> Link:  # noqa: ARG001 - whoever comes
    return link


@contextmanager
def _all(links: Sequence[Link], state: State) -> Iterator[None]:
    for link in links:
        link.become(state)
    yield
    for link in links:
        link.become(State.OPEN)


def missed(report: Mapping[str, Any]) -> list[str]:
    """The bars that a report does not reach."""
    wanted = round(ROTATIONS * report["storm_seconds"] / STORM.total_seconds())
    bars = {
        f"{report['consumer_failures']} reads failed": report["consumer_failures"] > 0,
        "nothing was read": report["consumer_reads"] == 0,
        f"only {report['accounts_converged']} accounts converged": report["accounts_converged"] < report["accounts"],
        f"{report['unknown_secrets_of_rotator']} secrets that rotator created are unknown to it": (
            report["unknown_secrets_of_rotator"] > 0
        ),
        f"{report['rotations']} rotations, fewer than {wanted}": report["rotations"] < wanted,
    }
    return [what for what, is_so in bars.items() if is_so]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [(what.replace("_", " "), value) for what, value in report.items() if not isinstance(value, dict | list)]
    rows += [(f"  {kind}", count) for kind, count in report["faults"].items()]
    lines = [f"{what:<36}{value:>10}" for what, value in rows]
    return "\n".join([*lines, *(f"missed: {what}" for what in report["missed"]), *report["first_failures"]])


def main() -> None:
    parser = argparse.ArgumentParser(description="Everything goes wrong at once.")
    parser.add_argument("seconds", type=float, nargs="?", default=STORM.total_seconds(), help="how long the storm is")
    parser.add_argument("--seed", type=int, default=None, help="the plan's; drawn if not given")
    parser.add_argument(
        "--calm", type=float, default=CALM.total_seconds(), help="how long accounts may take to be well"
    )
    parser.add_argument("--accounts", type=int, default=120)
    parser.add_argument("--module", default="rotator", help="what is run in rotator's place, with its arguments")
    parser.add_argument("--json", type=Path, help="where the report goes, besides the table")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    names = [f"n{number:04}" for number in range(given.accounts)]
    plan = draw(seed, given.seconds, names)
    if given.plan:
        print(plan)
        return
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its time"))  # leaves no process behind
    logs.configure("error", "console")  # the emulator's
    keep = os.environ.get("KEEP")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(keep or made)
        folder.mkdir(exist_ok=True)
        report = Campaign(folder, plan, names, shlex.split(given.module), given.calm).run()
    print(table(report))
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    if report["missed"]:
        print(f"\nThe plan was:\n{plan}\n")
        command = ["python", "-m", "benchmarks.chaos", f"{given.seconds:.0f}", "--seed", str(seed)]
        command += ["--accounts", str(given.accounts), "--module", given.module]
        sys.exit(f"missed; to replay it: {shlex.join(command)}")


if __name__ == "__main__":
    main()
