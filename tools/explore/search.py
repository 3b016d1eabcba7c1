"""Every course that events can take with one or two instances on one account, and what must hold in each state of each.

python -m tools.explore [SCENARIO…]

It runs the real interpreter over the real `decide`, not a restatement of them. A run is stopped right before each
request it sends; what it was told since its step began (answers, looks at the clock) is kept, and the step is done
again with that up to its next request. All that a run keeps between its steps is immutable, so that a state is a
value: it can be gone on from in many ways, and recognised when it comes up again. docs/model.md tells what is
searched and what is left out.
"""

import gc
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from tools.explore.runs import plain
from tools.explore.scenarios import SCENARIOS
from tools.explore.states import Action, Request, Scenario, State
from tools.explore.worlds import Explorer

AT_ONCE = 2
# Every how many states a search says how far it is.
_REPORTED = 100_000


@dataclass
class Search:
    """What was found out about one scenario.

    Attributes:
        states: How many different ones there are.
        transitions: How many ways lead from one to another.
        depth: How many things at most have to happen to come to a state.
        complete: Whether all were visited.
        quiet: How many different worlds the runners leave behind when both have ended.
        exceptions: In how many of those a person has to judge: a process stood still for too long, or somebody came by.
        broken: Which invariant does not hold, and what leads there; none if all hold.
    """

    scenario: Scenario
    states: int = 0
    transitions: int = 0
    depth: int = 0
    complete: bool = False
    quiet: int = 0
    exceptions: int = 0
    broken: str | None = None
    trace: tuple[str, ...] = ()
    seconds: float = 0.0
    mebibytes: int = 0

    def told(self) -> str:
        """For people; the course of events that breaks an invariant, if one does."""
        figures = (
            f"{self.scenario.name}: {self.states:,} states, {self.transitions:,} transitions, depth {self.depth}, "
            f"{self.quiet} worlds at rest, {self.exceptions} of them for a person, "
            f"{self.seconds:.0f} s, {self.mebibytes} MiB"
        )
        if self.broken is not None:
            return "\n  ".join((figures, f"BROKEN {self.broken}", *self.trace))
        return f"{figures}; {'all visited, all invariants hold' if self.complete else 'stopped before the end'}"


def search(scenario: Scenario, most: int = 10_000_000) -> Search:
    """Visit every state, the nearest first, up to so many; stops at the first that breaks an invariant."""
    found = Search(scenario)
    began = time.monotonic()
    explorer = Explorer(scenario)
    gc.disable()  # there are no cycles among the millions of objects that it would look at
    try:
        with explorer.desk.patched():
            _breadth_first(explorer, found, most)
    finally:
        gc.enable()
    found.quiet, found.exceptions = explorer.quiet, len(explorer.exceptions)
    found.seconds = time.monotonic() - began
    found.mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return found


def _breadth_first(explorer: Explorer, found: Search, most: int) -> None:
    start = explorer.start()
    key = explorer.key(start)
    came_from: dict[bytes, tuple[bytes, Action] | None] = {key: None}
    level = [(key, start)]
    while level:
        following: list[tuple[bytes, State]] = []
        for key, state in level:
            for action in explorer.actions(state):
                found.transitions += 1
                try:
                    reached = explorer.after(state, action)
                    into = explorer.key(reached)
                    if into in came_from:
                        continue
                    came_from[into] = key, action
                    explorer.judge(reached)
                except AssertionError as error:
                    found.states, found.broken = len(came_from), f"{error}"
                    found.trace = tuple(_trace(explorer, start, [*_path(came_from, key), action]))
                    return
                following.append((into, reached))
        reported = found.states // _REPORTED
        found.states = len(came_from)
        if found.states // _REPORTED > reported:
            sys.stderr.write(f"{found.scenario.name}: {found.states:,} states, depth {found.depth} so far\n")
        if len(came_from) >= most:
            return
        level = following
        found.depth += bool(level)
    found.complete = True


def _path(came_from: Mapping[bytes, tuple[bytes, Action] | None], key: bytes) -> list[Action]:
    actions: list[Action] = []
    while (step := came_from[key]) is not None:
        key, action = step
        actions.append(action)
    return actions[::-1]


def _trace(explorer: Explorer, start: State, actions: list[Action]) -> Iterator[str]:
    """The course of events, one a line: when, who, what."""
    state = start
    for action in actions:
        yield f"{(state.now - start.now).total_seconds():+5.0f} s  {_told(explorer, state, action)}"
        try:
            state = explorer.after(state, action)
        except AssertionError:
            return


def _told(explorer: Explorer, state: State, action: Action) -> str:
    what, at = action
    if what == "a tick passes":
        return "-  time passes"
    if what == "land":
        return f"-  lands late: {_request(explorer, state.flights[at].request)}"
    if what.startswith("a person"):
        return f"-  {what}"
    runner = state.runners[at]
    request = _request(explorer, runner.pending) if runner.pending else "its answer arrives"
    return f"{runner.name}  {request}" + ("" if what in ("carry out", "go on") else f"  [{what}]")


def _request(explorer: Explorer, request: Request) -> str:
    match request.name, request.args:
        case "write", (path, data, cas) if path == explorer.paths[0]:
            lease = f", held by {data['holder']}" if data["holder"] else ""
            marked = ", publishing" if data["publishing"] else ""
            asked = f", {data['request']['kind']} requested" if data["request"] else ""
            current = f"current {data['current_id']['id']} ({data['current_id'].get('learned')})"
            return f"writes the journal over version {cas}: {data['phase']}, {current}{marked}{asked}{lease}"
        case "write", (_, data, cas):
            return f"publishes {plain(data['api_secret'])} over version {cas}"
        case "create_secret", (_, _, secret):
            return f"creates {plain(secret)}"
        case "revoke_secret", (_, _, id_):
            return f"revokes {id_}"
        case "list_secrets", (auth, _):
            return f"lists with {plain(auth.api_secret)}"
        case "read", (path, version):
            return f"reads {path}" + (f" at version {version}" if version else "")
    return "has waited"


def main(names: list[str]) -> int:
    """Search the scenarios, two at once; tell what was found. Returns the exit code."""
    wanted = [scenario for scenario in SCENARIOS if not names or scenario.name in names]
    sound = bool(wanted)
    with ProcessPoolExecutor(AT_ONCE, max_tasks_per_child=1, mp_context=get_context("spawn")) as pool:
        for found in pool.map(search, wanted):
            sound = sound and found.complete
            sys.stdout.write(f"{found.told()}\n")
            sys.stdout.flush()
    return 0 if sound else 1
