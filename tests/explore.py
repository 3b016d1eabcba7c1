"""Every course that events can take with two runners on one account, and what must hold in each state of each.

python -m tests.explore [SCENARIO…]

It runs the real interpreter over the real `decide`, not a restatement of them. A run is stopped right before each
request it sends; what it was told since its step began (answers, looks at the clock) is kept, and the step is done
again with that up to its next request. All that a run keeps between its steps is immutable, so that a state is a
value: it can be gone on from in many ways, and recognised when it comes up again. docs/model.md tells what is
searched and what is left out.
"""

import gc
import itertools
import marshal
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from multiprocessing import get_context
from typing import Any, NamedTuple
from unittest.mock import patch

from pydantic import SecretStr

from rotator import rotation as interpreter
from rotator.account_api import Balance, Credentials, LostAnswer, SecretInfo
from rotator.core.protocol import (
    Create,
    Fail,
    Journal,
    Observation,
    Pause,
    Phase,
    Policy,
    Publish,
    Record,
    Rest,
    Retiring,
    Revoke,
    Step,
)
from rotator.documents.journal import parse_journal
from rotator.errors import RotatorError
from rotator.rotation import Outcome, Result, Rotation
from rotator.vault import Document, VaultUnreachable
from tests.model import START, Clock, ModelProvider, ModelVault, World

KEY = "shopkey"
FIRST = "FirstSecret001"
TICK = timedelta(seconds=10)
# All that lasts, in ticks: as short as keeps their order, so that few instants differ from one another.
REQUEST_TIMEOUT, SETTLE, LEASE, VERIFY_TIMEOUT = TICK, 2 * TICK, 3 * TICK, 2 * TICK
FOREVER = timedelta(days=365)
WRITES = ("create_secret", "revoke_secret", "write")
AT_ONCE = 2


@dataclass(frozen=True)
class Scenario:
    """What the runners want, and how much may go wrong on the way.

    Attributes:
        runners: How many are at work.
        rotations: One: whoever comes first does it, the other has nothing to do. Two: each wants one of its own.
        grace: How long a replaced secret is kept.
        compromised: Nothing has any grace.
        max_secrets: How many secrets the account may have.
        propagation: How long a new secret takes until it works.
        crashes: How often each runner dies; another one takes its place each time.
        faults: How many answers are lost or slow, or requests carried out late, all in all.
        by_hand: How often a person does something to the account.
        slowest: How long at most a run takes from its look at the clock to its request, other than by a fault.
    """

    name: str
    runners: int = 2
    rotations: int = 1
    grace: timedelta = timedelta()
    compromised: bool = False
    max_secrets: int = 2
    propagation: timedelta = timedelta()
    crashes: int = 1
    faults: int = 1
    by_hand: int = 0
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


class Runner(NamedTuple):
    """One run in the middle of its work.

    Attributes:
        rotation: As it was before the step at hand; never changed.
        told: What it was told in that step so far: answers, looks at the clock, a new value.
        step: What it is doing; None while it looks at Vault.
        pending: The request that it is about to send; None if it has ended, or was answered and has not gone on yet.
        answered_at: When it was answered, in that case.
    """

    name: str
    crashes: int
    rotation: "Run"
    told: tuple[Any, ...] = ()
    step: Step | None = None
    pending: Request | None = None
    answered_at: datetime | None = None
    outcome: Outcome | None = None


class State(NamedTuple):
    """Everything there is at one moment.

    Attributes:
        secrets: What the provider has: id, value, when it was created.
        issued: How many ids it has given out.
        journal: Every version.
        published: Every version.
        chosen: How many values were chosen.
        stalled: A process stood still between its look at the lease and its request for longer than everything.
        touched: A person has changed something.
    """

    now: datetime
    secrets: tuple[tuple[str, tuple[str, datetime]], ...]
    issued: int
    journal: tuple[dict[str, Any], ...]
    published: tuple[dict[str, Any], ...]
    faults: int
    by_hand: int
    runners: tuple[Runner, ...] = ()
    flights: tuple[Flight, ...] = ()
    chosen: int = 0
    stalled: bool = False
    touched: bool = False

    @property
    def value(self) -> str:
        return str(self.published[-1]["api_secret"])

    @property
    def live(self) -> dict[str, str]:
        return {id_: value for id_, (value, _) in self.secrets}


Action = tuple[str, int]


class Broken(AssertionError):
    """An invariant does not hold."""


class Suspended(BaseException):
    """A run has come to a request that it has no answer to yet. Not an error that it could handle."""


class _Versions(ModelVault):
    """A Vault whose versions tell one from another by their numbers alone."""

    def _created(self, version: dict[str, Any]) -> datetime:
        return START


class Run(Rotation):
    """The real interpreter, which also tells what it was about to do when it was stopped."""

    at_hand: Step | None = None

    def observe(self) -> None:
        self.at_hand = None
        super().observe()

    def decide(self) -> Step:
        self.at_hand = super().decide()
        return self.at_hand


class Desk:
    """What a run sees of the world: it tells again what was told before, and stops the run at what is new."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.at = 0
        self.now = START
        self.chosen = 0
        self.pending: Request | None = None

    def _again(self) -> bool:
        self.at += 1
        return self.at <= len(self.told)

    def _ask(self, name: str, *args: Any) -> Any:
        if not self._again():
            looks = (told for told in reversed(self.told) if isinstance(told, datetime))
            self.pending = Request(name, args, next(looks, self.now))
            raise Suspended
        answer = self.told[self.at - 1]
        if answer.error is not None:
            raise answer.error
        return answer.value

    def clock(self) -> datetime:
        if not self._again():
            self.told.append(self.now)
        at: datetime = self.told[self.at - 1]
        return at

    def generate(self, recipe: object) -> SecretStr:
        if not self._again():
            self.chosen += 1
            self.told.append(SecretStr(f"Candidate{self.chosen:03}"))
        value: SecretStr = self.told[self.at - 1]
        return value

    def wait(self, delay: timedelta) -> bool:
        """Until the next tick after that; an instant that the interpreter lets pass on purpose is none."""
        ticks = -(-(delay - timedelta(milliseconds=5)) // TICK)
        return bool(self._ask("wait", self.now + ticks * TICK)) if ticks > 0 else False

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos: tuple[SecretInfo, ...] = self._ask("list_secrets", auth, api_key)
        return infos

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        info: SecretInfo = self._ask("create_secret", auth, api_key, secret)
        return info

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> None:
        self._ask("revoke_secret", auth, api_key, secret_id)

    def get_balance(self, auth: Credentials) -> Balance:
        raise AssertionError("nobody wants the balance")

    def read(self, path: str, version: int | None = None) -> Document:
        document: Document = self._ask("read", path, version)
        return document

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        version: int = self._ask("write", path, data, cas)
        return version

    def keep_versions(self, path: str, count: int) -> bool:
        return False


class Explorer:
    """The states of one scenario, and what leads from one to the next."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.desk = Desk()
        self.clock = Clock()
        self.provider = ModelProvider(self.clock, scenario.max_secrets, REQUEST_TIMEOUT, SETTLE)
        self.vault = _Versions(self.clock)
        self.world = World(grace=scenario.grace, max_secrets=scenario.max_secrets)
        self.paths = (self.world.settings.journal_path(self.world.account), self.world.account.path)
        self.asked_at = START + TICK
        self.verify_timeout = max(VERIFY_TIMEOUT, scenario.propagation + TICK)
        self.longest = max(REQUEST_TIMEOUT + SETTLE, self.verify_timeout)
        self.exceptions: set[bytes] = set()
        self._judged: set[bytes] = set()

    @property
    def quiet(self) -> int:
        """How many different worlds the runners have left behind."""
        return len(self._judged)

    # --- where it begins -----------------------------------------------------------------------------------------

    def start(self) -> State:
        """One secret, published and adopted, and two runners about to send their first request."""
        self.world.provider.add(KEY, FIRST)
        self.world.publish(FIRST)
        self.world.rotation().run()
        versions = self.world.vault.versions
        state = State(
            now=self.asked_at,
            secrets=tuple(self.world.provider.secrets[KEY].items()),
            issued=1,
            journal=tuple(versions[self.paths[0]]),
            published=tuple(versions[self.paths[1]]),
            faults=self.scenario.faults,
            by_hand=self.scenario.by_hand,
        )
        for name in "ab"[: self.scenario.runners]:
            state = self._with_new_runner(state, len(state.runners), name, self.scenario.crashes)
        return state

    def _with_new_runner(self, state: State, at: int, name: str, crashes: int) -> State:
        self.desk.now = state.now
        self.desk.told, self.desk.at = [], 0
        rotation = self._rotation(self.desk, self.desk, self.desk.clock, self.desk.wait, name)
        return self._go_on(state, at, Runner(name, crashes, rotation))

    def _rotation(self, provider: Any, store: Any, clock: Any, wait: Any, runner: str) -> Run:
        always = self.scenario.rotations > 1 or runner == "last"
        policy = Policy(
            runner=runner,
            account="shop",
            due_at=lambda rotated_at: START if always or rotated_at < self.asked_at else START + FOREVER,
            explicit=True,
            compromised=self.scenario.compromised,
            grace=self.scenario.grace,
            verify_timeout=self.verify_timeout,
            max_secrets=self.scenario.max_secrets,
            lease=LEASE,
            request_timeout=REQUEST_TIMEOUT,
            settle=SETTLE,
        )
        rotation = Run(
            self.world.account,
            self.world.settings,
            provider,
            store,
            policy=policy,
            clock=clock,
            wait=wait,
            patience=FOREVER,
        )
        rotation.log = _SILENCE
        return rotation

    # --- what can happen ------------------------------------------------------------------------------------------

    def actions(self, state: State) -> Iterator[Action]:
        """Everything that can happen next."""
        active = False
        for at, runner in enumerate(state.runners):
            if runner.outcome is not None:
                continue
            active = True
            if runner.crashes:
                yield "crash", at
            request = runner.pending
            if request is None:
                if runner.answered_at is not None and state.now > runner.answered_at:
                    yield "go on", at
                continue
            if request.name == "wait":
                if state.now >= request.args[0]:
                    yield "carry out", at
                continue
            yield "carry out", at
            if runner.crashes and request.name in WRITES:
                yield "crash, request under way", at
            if state.faults:
                yield "answer slowly", at
                yield "lose the request", at
                if request.name in WRITES:
                    yield "lose the answer", at
                    yield "request under way, answer lost", at
        for at in range(len(state.flights)):
            yield "land", at
        if (active or state.flights) and self._nobody_hurries(state):
            yield "a tick passes", 0
        if state.by_hand:
            yield from self._by_hand(state)

    def _nobody_hurries(self, state: State) -> bool:
        """Whether no run has to send its request before time passes."""
        requests = (runner.pending for runner in state.runners if runner.outcome is None)
        latest = (request.decided_at for request in requests if request is not None and request.name != "wait")
        return all(state.now + TICK <= decided_at + self.scenario.slowest for decided_at in latest)

    def _by_hand(self, state: State) -> Iterator[Action]:
        if len(state.secrets) < self.scenario.max_secrets:
            yield "a person adds a secret", 0
        for at, (_, (value, _created)) in enumerate(state.secrets):
            if value == state.value:
                continue
            yield "a person revokes a secret", at
            if self._works(state, value):
                yield "a person publishes a secret", at

    def after(self, state: State, action: Action) -> State:
        """The state that it leads to.

        Raises:
            AssertionError: If that breaks an invariant.
        """
        what, at = action
        if what == "a tick passes":
            now = state.now + TICK
            left = tuple(flight for flight in state.flights if flight.until is None or flight.until > now)
            return state._replace(now=now, flights=left)
        if what == "land":
            state, flight = _without_flight(state, at)
            return self._carry_out(state, self._authenticated(state, flight.request))[0]
        if what.startswith("a person"):
            return self._after_by_hand(state, what, at)
        return self._after_request(state, what, at)

    def _after_request(self, state: State, what: str, at: int) -> State:
        runner = state.runners[at]
        request = runner.pending
        if what == "go on":
            return self._go_on(state, at, runner._replace(answered_at=None))
        if what.startswith("crash"):
            if what != "crash" and request is not None:
                state = self._send_off(state, request)
            return self._with_new_runner(state, at, runner.name + "'", runner.crashes - 1)
        assert request is not None
        if what not in ("carry out",):
            state = state._replace(faults=state.faults - 1)
        provider = request.name.endswith(("secrets", "secret"))
        lost = Answer(request, error=LostAnswer("no answer") if provider else VaultUnreachable("no answer"))
        answer = lost
        if what == "request under way, answer lost":
            state = self._send_off(state, request)
        elif what != "lose the request":
            state, answer = self._carry_out(self._noting_a_stall(state, request), request)
        if what == "lose the answer":
            answer = lost
        runner = runner._replace(told=(*runner.told, answer))
        if what == "answer slowly":
            return _with_runner(state, at, runner._replace(pending=None, answered_at=state.now))
        return self._go_on(state, at, runner)

    def _go_on(self, state: State, at: int, runner: Runner) -> State:
        """The run goes on with what it was told, up to its next request or its end."""
        desk = self.desk
        desk.told, desk.at, desk.now, desk.chosen = list(runner.told), 0, state.now, state.chosen
        before, outcome, pending = runner.rotation, None, None
        try:
            while outcome is None:
                rotation = copy(before)
                rotation.at_hand = None
                outcome = rotation.step()
                before, desk.told, desk.at = rotation, [], 0
        except Suspended:
            pending = desk.pending
        finally:
            for told in runner.told:
                if isinstance(told, Answer) and told.error is not None:
                    told.error.__traceback__ = told.error.__context__ = None
        told = () if outcome else tuple(desk.told)
        step = None if outcome else rotation.at_hand
        runner = runner._replace(rotation=before, told=told, step=step, pending=pending, outcome=outcome)
        return _with_runner(state, at, runner)._replace(chosen=desk.chosen)

    # --- the servers ----------------------------------------------------------------------------------------------

    def _carry_out(self, state: State, request: Request) -> tuple[State, Answer]:
        """What the provider or Vault makes of a request, at once and whole."""
        if request.name == "wait":
            return state, Answer(request, value=False)
        self._load(state)
        server = self.vault if request.name in ("read", "write") else self.provider
        try:
            answer = Answer(request, value=getattr(server, request.name)(*request.args))
        except RotatorError as error:
            error.__traceback__ = error.__context__ = None
            return state, Answer(request, error=error)
        if request.name not in WRITES:
            return state, answer
        journal, published = (tuple(self.vault.versions[path]) for path in self.paths)
        issued = state.issued + (request.name == "create_secret")
        secrets = tuple(self.provider.secrets[KEY].items())
        return state._replace(secrets=secrets, issued=issued, journal=journal, published=published), answer

    def _load(self, state: State) -> None:
        self.clock.now = state.now
        self.provider.propagation = self.scenario.propagation if state.issued > 1 else timedelta()
        self.provider.secrets = {KEY: dict(state.secrets)}
        self.provider._ids = itertools.count(state.issued + 1)
        self.provider.on_revoke = lambda id_, value: self._revoked(id_, value, touched=state.touched)
        self.vault.versions = {
            path: [*versions] for path, versions in zip(self.paths, (state.journal, state.published), strict=True)
        }

    def _revoked(self, id_: str, value: str, *, touched: bool) -> None:
        journal, published = (self.vault.versions[path] for path in self.paths)
        if value == published[-1]["api_secret"] and not touched:
            raise Broken(f"I2: {id_} is revoked, which consumers read")
        if not any(entry["id"] == id_ for version in journal for entry in version["retiring"]):
            raise Broken(f"I4: {id_} is revoked, which was never recorded for that")

    @staticmethod
    def _authenticated(state: State, request: Request) -> Request:
        """As the provider carries it out later: what it authenticated with was looked at when it was sent."""
        if request.name == "write":
            return request
        return request._replace(args=(Credentials(KEY, SecretStr(state.value)), *request.args[1:]))

    def _send_off(self, state: State, request: Request) -> State:
        """The request is on its way and nobody waits for it: the provider gets it in time, Vault whenever."""
        state = self._noting_a_stall(state, request)
        until = None
        if request.name != "write":
            if not self._works(state, _plain(request.args[0].api_secret)):
                return state
            sent_at = state.now if self._too_late(state, request) else request.decided_at
            until = sent_at + REQUEST_TIMEOUT + SETTLE
        return state._replace(flights=(*state.flights, Flight(request, until)))

    def _noting_a_stall(self, state: State, request: Request) -> State:
        if request.name in ("create_secret", "revoke_secret") and self._too_late(state, request):
            return state._replace(stalled=True)
        return state

    @staticmethod
    def _too_late(state: State, request: Request) -> bool:
        return state.now >= request.decided_at + REQUEST_TIMEOUT + SETTLE

    def _after_by_hand(self, state: State, what: str, at: int) -> State:
        state = state._replace(by_hand=state.by_hand - 1, touched=True)
        if what == "a person adds a secret":
            added = (f"id-{state.issued + 1:03}", ("HumanSecret001", state.now))
            return state._replace(secrets=(*state.secrets, added), issued=state.issued + 1)
        id_, (value, _) = state.secrets[at]
        if what == "a person revokes a secret":
            return state._replace(secrets=tuple(secret for secret in state.secrets if secret[0] != id_))
        changed = dict(state.published[-1]) | {"api_secret": value}
        return state._replace(published=(*state.published, changed))

    # --- what must hold -------------------------------------------------------------------------------------------

    def _works(self, state: State, value: str) -> bool:
        """What the provider's `authenticates` says, without a provider: it is asked in every state."""
        spread = self.scenario.propagation if state.issued > 1 else timedelta()
        return any(known == value and created + spread <= state.now for _, (known, created) in state.secrets)

    def judge(self, state: State) -> None:
        """Raises Broken if an invariant does not hold in this state."""
        if not self._works(state, state.value) and not state.touched:
            raise Broken("I1: the published secret does not authenticate")
        ever = {version["api_secret"] for version in state.published}
        unpublished = [id_ for id_, value in state.live.items() if value not in ever]
        if len(unpublished) > 1 and not state.stalled and not state.touched:
            raise Broken(f"I5: {' and '.join(unpublished)} are live, and neither was ever published")
        active = any(runner.outcome is None for runner in state.runners)
        if not active and all(flight.until is None for flight in state.flights):
            self._judge_quiet(state)

    def _judge_quiet(self, state: State) -> None:
        """I6: from here, one run that nothing disturbs converges."""
        key = self.key(state._replace(runners=(), flights=()))
        if key in self._judged:
            return
        self._judged.add(key)
        self._load(state)
        self.desk.told, self.desk.at, self.desk.chosen = [], 0, state.chosen
        before = self.provider.secrets[KEY].copy()
        run = self._rotation(self.provider, self.vault, self.clock, self.clock.wait, "last")
        outcome = run.run()
        live = {id_: value for id_, (value, _) in self.provider.secrets[KEY].items()}
        published = self.vault.versions[self.paths[1]][-1]["api_secret"]
        if published not in live.values() and not state.touched:
            raise Broken("I1: after the last run the published secret does not authenticate")
        converged = (
            outcome.result is Result.OK and run.journal.phase is Phase.IDLE and set(live) == {run.journal.current_id}
        )
        if converged:
            return
        if not (state.stalled or state.touched):
            raise Broken(
                f"I6: the last run does not converge: {outcome.reason}: {outcome.error}; {sorted(live)} are listed"
            )
        if outcome.result is not Result.FAILED or outcome.reason not in (
            "ambiguous",
            "full",
            "credentials",
            "unlisted",
        ):
            raise Broken(f"I6: the last run does not say why a person is needed: {outcome}")
        if not before.keys() <= live.keys():
            raise Broken(f"I4: the last run fails and revokes {sorted(before.keys() - live.keys())}")
        self.exceptions.add(key)

    # --- which states are the same -----------------------------------------------------------------------------

    def key(self, state: State) -> bytes:
        """Equal for two states from which the same can happen: it knows no absolute time, no history, no names."""
        world = _Key(self, state)
        seen = world.state()
        runners = sorted(
            marshal.dumps(_Key(self, state, runner, dict(world.names)).runner(), 2) for runner in state.runners
        )
        return blake2b(marshal.dumps((seen, runners), 2), digest_size=16).digest()


@dataclass
class _Key:
    """What matters of a state, as one runner sees it.

    Instants count from now, and as one if they are so long past that all that follows from them is past as well;
    versions of the journal count as the newest or not; values are named in the order in which they are met. Only the
    world's values have names that both runners share: a value that only a runner knows is known to nobody else.
    """

    explorer: Explorer
    now_: State
    me: Runner | None = None
    names: dict[str, int] = field(default_factory=dict)

    def state(self) -> Any:
        state = self.now_
        self.value(state.value)
        return (
            tuple((id_, self.value(value), self.since(at)) for id_, (value, at) in state.secrets),
            state.issued,
            self.journal(_parsed(state, len(state.journal))),
            tuple((self.value(version["api_secret"]), version.get("secret_id")) for version in state.published),
            sorted(marshal.dumps((self.request(flight.request), self.at(flight.until)), 2) for flight in state.flights),
            (state.faults, state.by_hand, state.stalled, state.touched),
        )

    def runner(self) -> Any:
        runner, state = self.me, self.now_
        assert runner is not None
        if runner.outcome is not None:
            return True
        rotation, seen = runner.rotation, runner.rotation.seen
        waits_until = runner.pending.args[0] if runner.pending and runner.pending.name == "wait" else None
        always = (
            runner.crashes,
            None if runner.answered_at is None else runner.answered_at < state.now,
            self.at(waits_until),
            state.journal[-1].get("holder") == runner.name,
            (seen.creates, self.since(seen.create_lost_at), seen.rotated),
        )
        if isinstance(runner.step, Rest) and waits_until is not None:
            return always  # it looks at everything anew when it wakes
        pending = None if runner.pending is None else self.request(runner.pending)
        # Of what else a run does, all that depends on its looks at the clock stands in the step and the requests.
        timed = isinstance(runner.step, Create | Revoke | Pause)
        told = tuple(self.told(told) for told in runner.told if timed or not isinstance(told, datetime))
        if not rotation._observed:
            return always, self.step(runner.step), told, pending  # the step began with a look at everything
        return (
            always,
            self.step(runner.step),
            told,
            pending,
            rotation._journal_version == len(state.journal),
            rotation._document.version,
            self.journal(rotation.journal),
            self.seen(seen),
        )

    def at(self, instant: datetime | None) -> int | None:
        """In ticks from now; everything past is the same."""
        return None if instant is None else max((instant - self.now_.now) // TICK, 0)

    def since(self, instant: datetime | None) -> int | None:
        """In ticks before now; what is long past is the same."""
        return None if instant is None else max((instant - self.now_.now) // TICK, -(self.explorer.longest // TICK))

    def value(self, value: SecretStr | str | None) -> int | None:
        if value is None:
            return None
        plain = value if isinstance(value, str) else value.get_secret_value()
        return self.names.setdefault(plain, len(self.names))

    def holder(self, name: str | None) -> str | None:
        """Who it is to this runner: itself, the other one, or somebody who is gone."""
        if name is None:
            return None
        if self.me is not None and name == self.me.name:
            return "me"
        active = {runner.name for runner in self.now_.runners if runner.outcome is None}
        return "other" if name in active else "gone"

    def journal(self, journal: Journal) -> Any:
        return (
            journal.current_id,
            journal.rotated_at is not None and journal.rotated_at < self.explorer.asked_at,
            journal.published_version,
            self.value(journal.candidate),
            tuple(sorted(journal.ids_before)),
            self.at(journal.create_until),
            tuple(self.retiring(entry) for entry in journal.retiring),
            self.holder(journal.holder),
            self.at(journal.lease_until),
            journal.trigger and journal.trigger.value,
            bool(journal.attempts),
            bool(journal.last_error),
            bool(journal.ambiguity),
            tuple(sorted(journal.unknown_ids)),
        )

    def retiring(self, entry: Retiring) -> Any:
        return entry.id, self.at(entry.not_before), entry.compromised

    def seen(self, seen: Observation) -> Any:
        listing = seen.listing
        return (
            seen.published.version,
            None if listing is None else (listing.via.value, tuple(listing.created)),
            tuple(sorted(credential.value for credential in seen.refused)),
            self.value(seen.recorded),
            (seen.recorded_read, seen.earlier_tried, seen.prepared_here, seen.value_refused),
            (seen.created_id, bool(seen.create_refused)),
            seen.values,
            tuple(sorted((awaited.value, self.since(at) or 0) for awaited, at in seen.waiting_since.items())),
            (seen.revokes, tuple(sorted(seen.revoked))),
        )

    def step(self, step: Step | None) -> Any:
        match step:
            case Record(event, journal):
                return event.value, self.journal(journal)
            case Rest(reason, until):
                return reason.value, self.at(until)
            case Fail(failure):
                return failure.value
            case Pause(_, awaited):
                return awaited.value
            case Publish(id_):
                return "publish", id_
        return type(step).__name__

    def told(self, told: Any) -> Any:
        if isinstance(told, datetime):
            return self.since(told)
        if isinstance(told, SecretStr):
            return self.value(told)
        if told.error is not None:
            return self.request(told.request), type(told.error).__name__
        return self.request(told.request), self.told_value(told.request, told.value)

    def told_value(self, request: Request, value: Any) -> Any:
        match value:
            case Document():
                if request.args[0] == self.explorer.paths[0] and value.version < len(self.now_.journal):
                    return self.journal(_parsed(self.now_, value.version))
                return value.version if request.args[0] == self.explorer.paths[1] else 0
            case SecretInfo():
                return value.id
            case tuple():
                return tuple(info.id for info in value)
            case int() if request.name == "write" and request.args[0] == self.explorer.paths[0]:
                return value == len(self.now_.journal)
        return value

    def request(self, request: Request) -> Any:
        match request.name, request.args:
            case "write", (path, data, cas) if path == self.explorer.paths[0]:
                return "journal", self.journal(_parse(data)), cas == len(self.now_.journal)
            case "write", (path, data, cas):
                return "published", self.value(data["api_secret"]), data["secret_id"], cas
            case "create_secret", (auth, _, secret):
                return "create", self.value(auth.api_secret), self.value(secret)
            case "revoke_secret", (auth, _, id_):
                return "revoke", self.value(auth.api_secret), id_
            case "list_secrets", (auth, _):
                return "list", self.value(auth.api_secret)
            case "read", (path, version):
                return "read", path, version
        return (request.name,)


class _Silence:
    """Nobody reads the logs of millions of runs."""

    def bind(self, **_: Any) -> "_Silence":
        return self

    def info(self, *_: Any, **__: Any) -> None: ...

    warning = error = info


_SILENCE: Any = _Silence()


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _with_runner(state: State, at: int, runner: Runner) -> State:
    return state._replace(runners=(*state.runners[:at], runner, *state.runners[at + 1 :]))


def _without_flight(state: State, at: int) -> tuple[State, Flight]:
    return state._replace(flights=state.flights[:at] + state.flights[at + 1 :]), state.flights[at]


_PARSED: dict[int, tuple[Mapping[str, Any], Journal]] = {}


def _parsed(state: State, version: int) -> Journal:
    return _parse(state.journal[version - 1])


def _parse(data: Mapping[str, Any]) -> Journal:
    """A version of the journal; parsed once, as it stands in very many states."""
    if id(data) not in _PARSED:
        if len(_PARSED) > 100_000:
            _PARSED.clear()
        _PARSED[id(data)] = data, parse_journal(Document(1, {key: _plain(value) for key, value in data.items()}))
    return _PARSED[id(data)][1]


# --- the search ----------------------------------------------------------------------------------------------


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
        with patch.object(interpreter, "generate", explorer.desk.generate):
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
        found.states = len(came_from)
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
            return f"writes the journal over version {cas}: {data['phase']}, current {data['current_id']}{lease}"
        case "write", (_, data, cas):
            return f"publishes {_plain(data['api_secret'])} over version {cas}"
        case "create_secret", (_, _, secret):
            return f"creates {_plain(secret)}"
        case "revoke_secret", (_, _, id_):
            return f"revokes {id_}"
        case "list_secrets", (auth, _):
            return f"lists with {_plain(auth.api_secret)}"
        case "read", (path, version):
            return f"reads {path}" + (f" at version {version}" if version else "")
    return "has waited"


# --- what `make model` runs ----------------------------------------------------------------------------------

SCENARIOS = (
    Scenario("one runner, a crash, a fault", runners=1),
    Scenario("one runner, a crash, two faults", runners=1, faults=2),
    Scenario("one runner, new secrets take a while", runners=1, propagation=TICK),
    Scenario("one runner, a person", runners=1, faults=0, by_hand=1),
    Scenario("one runner, room to spare", runners=1, max_secrets=3),
    Scenario("one runner, grace", runners=1, grace=2 * TICK),
    Scenario("two runners", crashes=0, faults=0),
    Scenario("two runners, a fault", crashes=0),
    Scenario("two runners, at once", crashes=0, faults=0, slowest=timedelta()),
    Scenario("two runners, within a tick", crashes=0, faults=0, slowest=TICK),
    Scenario("two runners, a crash each, at once", faults=0, slowest=timedelta()),
    Scenario("two runners, a crash each, within a tick", faults=0, slowest=TICK),
    Scenario("two runners, a crash each", faults=0),
)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
