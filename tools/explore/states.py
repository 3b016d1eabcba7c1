"""The values that a search over courses of events consists of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from rotator.core.protocol import Outcome, RequestKind, Step
from rotator.errors import RotatorError

if TYPE_CHECKING:
    from tools.explore.runs import Run

KEY = "shopkey"
FIRST, SECOND = "FirstSecret001", "SecondSecret02"
TICK = timedelta(seconds=10)
# Every duration, in ticks: as short as keeps their order, so that few instants differ from one another.
REQUEST_TIMEOUT, WINDOW, LEASE, VERIFY_TIMEOUT = TICK, 2 * TICK, 3 * TICK, 2 * TICK
FOREVER = timedelta(days=365)
WRITES = ("create_secret", "revoke_secret", "write")
ADD, REVOKE, PUBLISH, EDIT, DELETE, FOREIGN = "adds", "revokes", "publishes", "edits", "deletes", "publishes foreign"


@dataclass(frozen=True)
class Scenario:
    """What the runners do, and how much can go wrong on the way.

    Attributes:
        start: Where it begins: a name in tools/explore/starts.py.
        runners: How many instances work on the account: three at most.
        rotations: One: the first instance does it, the other has nothing to do. Two: each begins one of its own.
        scheduled: Whether a rotation is due by the schedule.
        requests: What the callers of the instances ask for, in order. The one after a crash asks nothing.
        adopts: The value that the first instance adopts.
        adopts_id: The id that it names.
        grace: How long a replaced secret is kept.
        max_secrets: How many secrets the account can have.
        propagation: How long a new secret takes until it works.
        lag: How old a list can be.
        crashes: How often each instance dies.
        replaced: Whether another instance takes the place of one that dies. Nobody starts a command again.
        survivors: How many instances, counted from the last one, never die.
        again: How often each process runs again after a run that failed.
        faults: How many answers are lost, slow or wrong, or requests carried out late, in total.
        answers: Which wrong answers of the provider are among the faults.
        by_hand: How often a person does something to the account.
        hand: What the person does.
        needs_person: Whether the account can need a person in the end.
        unchanged: Nothing of the account may be changed.
        vault_tells_time: Whether Vault says when it answered. If not, the instances' own clocks decide, which agree.
        slowest: How long a run takes at most from its look at the clock to its request, other than by a fault.
    """

    name: str
    start: str = "idle"
    runners: int = 2
    rotations: int = 1
    scheduled: bool = True
    requests: tuple[RequestKind | None, ...] = ()
    adopts: str | None = None
    adopts_id: str | None = None
    grace: timedelta = timedelta()
    max_secrets: int = 2
    propagation: timedelta = timedelta()
    lag: timedelta = timedelta()
    crashes: int = 1
    replaced: bool = True
    survivors: int = 0
    again: int = 0
    faults: int = 1
    answers: tuple[str, ...] = ()
    by_hand: int = 0
    hand: tuple[str, ...] = (ADD, REVOKE, PUBLISH)
    needs_person: bool = False
    unchanged: bool = False
    vault_tells_time: bool = True
    slowest: timedelta = FOREVER


class Request(NamedTuple):
    """What a run wants to know or have done, and when it last looked at its clock before."""

    name: str
    args: tuple[Any, ...]
    decided_at: datetime


class Answer(NamedTuple):
    """What came of a request."""

    request: Request
    value: Any = None
    error: RotatorError | None = None


class Flight(NamedTuple):
    """A request that nobody waits for any more and that is carried out before an instant, or never."""

    request: Request
    until: datetime | None


class Halted(NamedTuple):
    """The middle of a step: all that the rest of it depends on.

    Attributes:
        rotation: The run as it is there. Only to be looked at: it is not continued.
        frames: The functions that are being executed, innermost first: name, instruction, local variables.
    """

    rotation: "Run"
    frames: tuple[tuple[str, int, dict[str, Any]], ...]


class Runner(NamedTuple):
    """One run in the middle of its work.

    Attributes:
        rotation: As it was before the step at hand; never changed.
        told: What it was told in that step until now: answers, looks at the clock, new values.
        step: What it is doing; None while it looks at Vault.
        pending: The request that it is about to send; None if it has ended, or was answered and has not gone on yet.
        answered_at: When it was answered, in that case.
        halted: Where it stands in an adoption, which is one step; None in every other step.
    """

    name: str
    crashes: int
    again: int
    rotation: "Run"
    told: tuple[Any, ...] = ()
    step: Step | None = None
    pending: Request | None = None
    answered_at: datetime | None = None
    outcome: Outcome | None = None
    halted: Halted | None = None


class State(NamedTuple):
    """Everything there is at one moment.

    Attributes:
        secrets: What the provider has: id, value, when it was created.
        removed: What it had until a moment ago: id, when it was created, when it was revoked.
        issued: How many ids it has given out.
        journal: Every version.
        published: Every version.
        deleted: The numbers of the published versions that are deleted and can be undeleted.
        chosen: How many values were chosen.
        stalled: A process stood still between its look at the lease and its request for longer than everything.
        touched: A person has changed something that consumers or the protocol depend on.
    """

    now: datetime
    secrets: tuple[tuple[str, tuple[str, datetime]], ...]
    issued: int
    journal: tuple[dict[str, Any], ...]
    published: tuple[dict[str, Any], ...]
    faults: int
    by_hand: int
    chosen: int = 0
    removed: tuple[tuple[str, datetime, datetime], ...] = ()
    deleted: frozenset[int] = frozenset()
    runners: tuple[Runner, ...] = ()
    flights: tuple[Flight, ...] = ()
    stalled: bool = False
    touched: bool = False

    @property
    def value(self) -> str:
        """The value of the newest published version."""
        return str(self.published[-1]["api_secret"])

    @property
    def hidden(self) -> bool:
        """Whether the newest published version is deleted, so that consumers read nothing."""
        return len(self.published) in self.deleted

    @property
    def live(self) -> dict[str, str]:
        """The provider's secrets."""
        return {id_: value for id_, (value, _) in self.secrets}


Action = tuple[str, int]


class Broken(AssertionError):
    """An invariant does not hold."""
