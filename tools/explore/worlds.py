"""What can happen in each state of a scenario, and what must hold there."""

import itertools
import marshal
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from pydantic import SecretStr

from rotator.core.protocol import Asked, Journal, Phase, Policy, Published, Reason, RequestKind, requests
from rotator.errors import Code, RotatorError
from rotator.provider import Credentials, LostAnswer, Refused, SecretInfo, Unauthorized
from rotator.rotation import Outcome, Result
from rotator.vault import Document, VaultUnreachable
from testkit.model import START, Clock, ModelProvider, World
from tools.explore.keys import Key, Scale
from tools.explore.recent import Recent
from tools.explore.runs import Desk, Run, Silence, Suspended, Versions, parsed, plain
from tools.explore.starts import begin
from tools.explore.states import (
    ADD,
    DELETE,
    EDIT,
    FOREIGN,
    FOREVER,
    KEY,
    LEASE,
    PUBLISH,
    REQUEST_TIMEOUT,
    REVOKE,
    TICK,
    VERIFY_TIMEOUT,
    WINDOW,
    WRITES,
    Action,
    Answer,
    Broken,
    Flight,
    Halted,
    Request,
    Runner,
    Scenario,
    State,
)

# How often a last run may continue until the account is at rest.
LAST_RUNS = 20
FINISHING, ROTATING = "finishing", "rotating"
# How a last run may say that a person is needed.
FOR_A_PERSON = (
    "ambiguous",
    "full",
    "credentials",
    "unlisted",
    "not_adopted",
    "foreign_document",
    "unconfirmed_document",
    "unverified",
    "refused",
)
_PROVIDER = ("list_secrets", "create_secret", "revoke_secret")
_SILENCE: Any = Silence()
_NO_VAULT, _LOST_ANSWER = VaultUnreachable("no answer"), LostAnswer("no answer")
_RECENT = 100_000
_KILLED = Outcome("shop", Result.FAILED)

Continuation = tuple[Runner, int]
"""A run at its next request or its end, and how many values were chosen until then."""
WorldKey = tuple[bytes, tuple[str, ...]]
"""The key of what is not a runner's, and the values that it numbers."""


class Unprovisioned(Refused):
    """401 without access to the product."""

    code = Code.UNPROVISIONED


class Explorer:
    """The states of one scenario, and what leads from one to the next."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.desk = Desk()
        self.clock = Clock()
        self.provider = ModelProvider(self.clock, scenario.max_secrets, REQUEST_TIMEOUT, WINDOW)
        self.vault = Versions(self.clock, tells_time=scenario.vault_tells_time)
        self.world = World(grace=scenario.grace, max_secrets=scenario.max_secrets)
        self.paths = (self.world.settings.journal_path(self.world.account), self.world.account.path)
        self.began_at = START
        self.verify_timeout = max(VERIFY_TIMEOUT, scenario.propagation + TICK)
        self.longest = max(REQUEST_TIMEOUT + WINDOW, self.verify_timeout, scenario.lag)
        self.exceptions: set[bytes] = set()
        self._judged: set[bytes] = set()
        # Keys contain ids of objects, and each entry the objects themselves: while it is there, no other has the id.
        self._continuations: Recent[tuple[Continuation, Any]] = Recent(_RECENT)
        self._world_keys: Recent[tuple[WorldKey, Any]] = Recent(_RECENT)
        self._runner_keys: Recent[tuple[bytes, Runner]] = Recent(_RECENT)
        # The value that is published at the start; also, if the provider refuses it then.
        self.first = ""
        self.refused: str | None = None
        self._most_values = 0

    @property
    def quiet(self) -> int:
        """How many different worlds the runners have left behind."""
        return len(self._judged)

    @property
    def scale(self) -> Scale:
        """What keys need to know."""
        skew = self.longest if self.scenario.faults else min(self.scenario.slowest, self.longest)
        if not self.scenario.vault_tells_time:
            skew = timedelta()
        return Scale(self.paths, self.began_at, self.longest, self.scenario.slowest, skew)

    # --- where it begins -----------------------------------------------------------------------------------------

    def start(self) -> State:
        """The account as the scenario has it, and the runners about to send their first request."""
        scenario = self.scenario
        self.desk.told, self.desk.at = [], 0
        world, held_up = begin(scenario.start, scenario.grace, scenario.max_secrets)
        # What was published before is due, and nothing that comes later.
        self.began_at = world.clock()
        versions = world.vault.versions
        state = State(
            now=self.began_at,
            secrets=tuple(world.provider.secrets[KEY].items()),
            issued=int(max(world.provider.secrets[KEY])[3:]),
            journal=tuple(versions.get(self.paths[0], ())),
            published=tuple(versions[self.paths[1]]),
            faults=scenario.faults,
            by_hand=scenario.by_hand,
            chosen=self.desk.chosen,
            flights=(Flight(held_up, None),) if held_up is not None else (),
        )
        self.first = state.value
        self.refused = None if self._works(state, state.value) else state.value
        ever = {version["api_secret"] for version in state.published}
        self._most_values = len(ever) + scenario.rotations
        for at, name in enumerate("abc"[: scenario.runners]):
            crashes = scenario.crashes if at < scenario.runners - scenario.survivors else 0
            state = self._with_new_runner(state, at, name, crashes, scenario.again, first=True)
        return state

    def _with_new_runner(
        self, state: State, at: int, name: str, crashes: int, again: int, *, first: bool = False
    ) -> State:
        self.desk.now = state.now
        self.desk.told, self.desk.at = [], 0
        asks = self.scenario.requests[at] if first and at < len(self.scenario.requests) else None
        rotation = self._rotation(self.desk, self.desk, self.desk.clock, self.desk.wait, name, asks=asks)
        if first and at == 0 and self.scenario.adopts is not None:
            rotation.adopts = self.scenario.adopts, self.scenario.adopts_id
        return self._go_on(state, at, Runner(name, crashes, again, rotation))

    def _rotation(
        self, provider: Any, store: Any, clock: Any, wait: Any, runner: str, *, asks: RequestKind | None = None
    ) -> Run:
        scenario = self.scenario
        always = scenario.rotations > 1 or runner == ROTATING
        adopts = runner == "a" and scenario.adopts is not None
        scheduled = scenario.scheduled and not adopts and asks is None and runner != FINISHING
        scheduled = scheduled and not (runner == ROTATING and scenario.requests)
        policy = Policy(
            instance=runner,
            account="shop",
            api_key=KEY,
            due_at=(lambda rotated_at: START if always or rotated_at < self.began_at else START + 2 * FOREVER)
            if scheduled
            else None,
            explicit=True,
            grace=scenario.grace,
            verify_timeout=self.verify_timeout,
            max_secrets=scenario.max_secrets,
            lease=LEASE,
            request_timeout=REQUEST_TIMEOUT,
            window=WINDOW,
        )

        def ask(journal: Journal, published: Published, _: datetime | None) -> Asked | None:
            """Ask for a secret that is younger than the scenario."""
            rotated_at = published.rotated_at if published.rotated_at is not None else journal.rotated_at
            if asks is None or (rotated_at is not None and rotated_at >= self.began_at):
                return None
            name = f"of {runner}"
            made = requests.new_request(asks, journal, published, at=self.began_at, by="somebody", id_=name)
            return Asked.of(made, published.secret)

        def monotonic() -> float:
            """The same time, so that a state does not depend on how long the search takes."""
            return float((clock() - START).total_seconds())

        rotation = Run(
            self.world.account,
            self.world.settings,
            provider,
            store,
            policy=policy,
            clock=clock,
            wait=wait,
            monotonic=monotonic,
            max_wait=2 * FOREVER,
            ask=ask,
        )
        rotation.state.log = _SILENCE
        return rotation

    # --- what can happen -----------------------------------------------------------------------------------------

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
            elif request.name not in ("wait", "resume"):
                yield from self._answers(state, at, request)
            elif state.now >= request.args[0]:
                yield "carry out", at
        for at in range(len(state.flights)):
            yield "land", at
        if (active or state.flights) and self._nobody_hurries(state):
            yield "a tick passes", 0
        if state.by_hand:
            yield from self._by_hand(state)
        if state.hidden:
            yield "a person undeletes", 0

    def _answers(self, state: State, at: int, request: Request) -> Iterator[Action]:
        """What can become of a request."""
        yield "carry out", at
        if request.name == "list_secrets":
            for age in self._ages(state):
                yield f"list, {age} ticks old", at
        if state.runners[at].crashes and request.name in WRITES:
            yield "crash, request under way", at
        if not state.faults:
            return
        yield "answer slowly", at
        yield "lose the request", at
        if request.name in WRITES:
            yield "lose the answer", at
            yield "request under way, answer lost", at
        if request.name in _PROVIDER:
            for answer in self.scenario.answers:
                if answer != "lacks":
                    yield answer, at
                elif request.name == "list_secrets":
                    yield from ((f"lacks {id_}", at) for id_ in state.live)

    def _ages(self, state: State) -> Iterator[int]:
        """How old lists can be that differ from younger ones."""
        before = self._listed(state, 0)
        for age in range(1, self.scenario.lag // TICK + 1):
            listed = self._listed(state, age)
            if listed != before:
                yield age
            before = listed

    @staticmethod
    def _listed(state: State, age: int) -> tuple[SecretInfo, ...]:
        """What the provider had so many ticks ago."""
        then = state.now - age * TICK
        here = [SecretInfo(id_, created) for id_, (_, created) in state.secrets if created <= then]
        here += [SecretInfo(id_, created) for id_, created, gone in state.removed if created <= then < gone]
        return tuple(sorted(here, key=lambda info: info.id))

    def _nobody_hurries(self, state: State) -> bool:
        """Whether no run has to send its request before time passes."""
        pending = (runner.pending for runner in state.runners if runner.outcome is None)
        requests = (request for request in pending if request is not None and request.name not in ("wait", "resume"))
        return all(state.now + TICK <= request.decided_at + self.scenario.slowest for request in requests)

    def _by_hand(self, state: State) -> Iterator[Action]:
        hand = self.scenario.hand
        if ADD in hand and len(state.secrets) < self.scenario.max_secrets:
            yield "a person adds a secret", 0
        for at, (_, (value, _created)) in enumerate(state.secrets):
            if value == state.value:
                continue
            if REVOKE in hand:
                yield "a person revokes a secret", at
            if PUBLISH in hand and self._works(state, value):
                yield "a person publishes a secret", at
        if EDIT in hand and not state.hidden:
            yield "a person edits another field", 0
        if DELETE in hand and not state.hidden:
            yield "a person deletes the newest version", 0
        if FOREIGN in hand and not state.hidden:
            yield "a person publishes another account's document", 0

    def after(self, state: State, action: Action) -> State:
        """The state that it leads to.

        Raises:
            AssertionError: If that breaks an invariant.
        """
        what, at = action
        if what == "a tick passes":
            now = state.now + TICK
            left = tuple(flight for flight in state.flights if flight.until is None or flight.until > now)
            removed = tuple(entry for entry in state.removed if entry[2] > now - self.scenario.lag)
            return state._replace(now=now, flights=left, removed=removed)
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
            if not self.scenario.replaced:
                return _with_runner(state, at, runner._replace(pending=None, told=(), outcome=_KILLED))
            return self._with_new_runner(state, at, runner.name + "'", runner.crashes - 1, runner.again)
        assert request is not None
        if request.name == "resume":
            return self._with_new_runner(state, at, runner.name, runner.crashes, runner.again)
        if what != "carry out" and not what.startswith("list, "):
            state = state._replace(faults=state.faults - 1)
        state, answer = self._answered(state, what, request)
        if what == "answer slowly":
            told = (*runner.told, answer)
            return _with_runner(state, at, runner._replace(told=told, pending=None, answered_at=state.now))
        return self._go_on(state, at, runner, answer)

    def _answered(self, state: State, what: str, request: Request) -> tuple[State, Answer]:
        """What the run is told, and what was done."""
        lost = _LOST_ANSWER if request.name in _PROVIDER else _NO_VAULT
        if what == "request under way, answer lost":
            return self._send_off(state, request), Answer(request, error=lost)
        if what == "lose the request":
            return state, Answer(request, error=lost)
        if what == "unprovisioned":
            return state, Answer(request, error=Unprovisioned("no access", status=401))
        if what == "refused":
            return state, Answer(request, error=Unauthorized("refused", status=401))
        state, answer = self._carry_out(self._noting_a_stall(state, request), request)
        if what == "lose the answer":
            return state, Answer(request, error=lost)
        if what.startswith("list, ") and answer.error is None:
            answer = answer._replace(value=self._listed(state, int(what.split()[1])))
        if what.startswith("lacks ") and answer.error is None:
            answer = answer._replace(value=tuple(info for info in answer.value if info.id != what[6:]))
        return state, answer

    def _go_on(self, state: State, at: int, runner: Runner, answer: Answer | None = None) -> State:
        """The run goes on with what it was told, up to its next request or its end.

        What follows is looked up if the same run got the same answer before: in most states one instance is where it
        was, and only the other one has moved.
        """

        def go_on() -> tuple[Continuation, Any]:
            told = runner if answer is None else runner._replace(told=(*runner.told, answer))
            return self._continued(told, state.now, state.chosen), (runner, answer)

        key = id(runner), _same(answer), state.now, state.chosen
        (follows, chosen), _ = self._continuations.get(key, go_on)
        return _with_runner(state._replace(chosen=chosen), at, follows)

    def _continued(self, runner: Runner, now: datetime, chosen: int) -> Continuation:
        desk = self.desk
        desk.told, desk.at, desk.now, desk.chosen = list(runner.told), 0, now, chosen
        before, outcome, pending, halted = runner.rotation, None, None, None
        try:
            while outcome is None:
                rotation = before.snapshot()
                rotation.at_hand = None
                desk.looks_at_frames = before.adopts is not None
                outcome = rotation.step()
                before, desk.told, desk.at = rotation, [], 0
        except Suspended:
            pending = desk.pending
            halted = Halted(rotation, desk.frames) if desk.looks_at_frames else None
        finally:
            for told in runner.told:
                if isinstance(told, Answer) and told.error is not None:
                    told.error.__traceback__ = told.error.__context__ = None
        runner = runner._replace(rotation=before, pending=pending, halted=halted)
        if outcome is None:
            return runner._replace(told=tuple(desk.told), step=rotation.at_hand), desk.chosen
        return self._ended(runner._replace(told=(), step=None), outcome, now), desk.chosen

    def _ended(self, runner: Runner, outcome: Outcome, now: datetime) -> Runner:
        """The run has ended; another one of the same process follows if it is to continue, or failed."""
        at = _continues_at(outcome)
        if at is None and outcome.result is Result.FAILED and runner.again:
            at, runner = now, runner._replace(again=runner.again - 1)
        if at is None:
            return runner._replace(outcome=outcome)
        late = -((now - at) // TICK)
        return runner._replace(pending=Request("resume", (now + max(late, 0) * TICK,), now))

    # --- the servers ---------------------------------------------------------------------------------------------

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
        journal, published = (tuple(self.vault.versions.get(path, ())) for path in self.paths)
        secrets = tuple(self.provider.secrets[KEY].items())
        removed = state.removed
        if request.name == "revoke_secret" and self.scenario.lag:
            created = dict(state.secrets)[request.args[2]][1]
            removed = (*removed, (request.args[2], created, state.now))
        state = state._replace(
            secrets=secrets,
            removed=removed,
            issued=state.issued + (request.name == "create_secret"),
            journal=journal,
            published=published,
        )
        if self.scenario.unchanged:
            raise Broken(f"foreign: {request.name} changes an account whose document is another one's")
        return state, answer

    def _load(self, state: State) -> None:
        self.clock.now = state.now
        self.provider.secrets = {KEY: dict(state.secrets)}
        self.provider.propagation = self.scenario.propagation
        self.provider.ids = itertools.count(state.issued + 1)
        self.provider.on_revoke = lambda id_, value: self._revoked(state, id_, value)
        self.vault.versions = {
            path: [*versions] for path, versions in zip(self.paths, (state.journal, state.published), strict=True)
        }
        if not state.journal:
            del self.vault.versions[self.paths[0]]
        self.vault.deleted = {(self.paths[1], version) for version in state.deleted}

    def _revoked(self, state: State, id_: str, value: str) -> None:
        """The provider revokes a secret right now."""
        journal, published = (self.vault.versions[path] for path in self.paths)
        if value == published[-1]["api_secret"] and not state.touched:
            raise Broken(f"I2: {id_} is revoked, which consumers read")
        if not any(entry["id"] == id_ for version in journal for entry in version["retiring"]):
            raise Broken(f"I4: {id_} is revoked, which was never recorded for that")
        pending = [runner.pending for runner in state.runners if runner.outcome is None and runner.pending is not None]
        for request in (*pending, *(flight.request for flight in state.flights)):
            if request.name != "write" or request.args[0] != self.paths[1]:
                continue
            _, data, cas = request.args
            if plain(data["api_secret"]) == value and cas == len(published):
                raise Broken(f"I9: {id_} is revoked while a write of its value over version {cas} can still be applied")

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
            if not self._works(state, plain(request.args[0].api_secret)):
                return state
            sent_at = state.now if self._too_late(state, request) else request.decided_at
            until = sent_at + REQUEST_TIMEOUT + WINDOW
        return state._replace(flights=(*state.flights, Flight(request, until)))

    def _noting_a_stall(self, state: State, request: Request) -> State:
        if request.name in ("create_secret", "revoke_secret") and self._too_late(state, request):
            return state._replace(stalled=True)
        return state

    @staticmethod
    def _too_late(state: State, request: Request) -> bool:
        return state.now >= request.decided_at + REQUEST_TIMEOUT + WINDOW

    def _after_by_hand(self, state: State, what: str, at: int) -> State:
        if what == "a person undeletes":
            return state._replace(deleted=state.deleted - {len(state.published)})
        state = state._replace(by_hand=state.by_hand - 1)
        if what == "a person edits another field":
            changed = dict(state.published[-1]) | {"note": "edited"}
            return state._replace(published=(*state.published, changed))
        if what == "a person deletes the newest version":
            return state._replace(deleted=state.deleted | {len(state.published)})
        state = state._replace(touched=True)
        if what == "a person publishes another account's document":
            changed = dict(state.published[-1]) | {"api_key": "otherkey"}
            return state._replace(published=(*state.published, changed))
        if what == "a person adds a secret":
            added = (f"id-{state.issued + 1:03}", ("HumanSecret001", state.now))
            return state._replace(secrets=(*state.secrets, added), issued=state.issued + 1)
        id_, (value, _) = state.secrets[at]
        if what == "a person revokes a secret":
            return state._replace(secrets=tuple(secret for secret in state.secrets if secret[0] != id_))
        changed = dict(state.published[-1]) | {"api_secret": value}
        return state._replace(published=(*state.published, changed))

    # --- what must hold ------------------------------------------------------------------------------------------

    def _works(self, state: State, value: str) -> bool:
        """What the provider's `authenticates` says, without a provider: it is asked in every state."""
        spread = self.scenario.propagation
        return any(known == value and created + spread <= state.now for _, (known, created) in state.secrets)

    def judge(self, state: State) -> None:
        """Raises Broken if an invariant does not hold in this state."""
        if not state.touched and state.value != self.refused and not self._works(state, state.value):
            raise Broken("I1: the published secret does not authenticate")
        ever = {version["api_secret"] for version in state.published}
        unpublished = [id_ for id_, value in state.live.items() if value not in ever and value.startswith("Candidate")]
        if len(unpublished) > 1 and not state.stalled and not state.touched:
            raise Broken(f"I5: {' and '.join(unpublished)} are live, and neither was ever published")
        if not state.touched and len(ever) > self._most_values:
            raise Broken(f"requests: {len(ever)} different secrets were published for one request")
        if state.journal and not state.touched:
            self._judge_identity(state)
        active = any(runner.outcome is None for runner in state.runners)
        if not active and not state.hidden and all(flight.until is None for flight in state.flights):
            self._judge_quiet(state)

    @staticmethod
    def _judge_identity(state: State) -> None:
        """A certain id belongs to the value of the version that the journal speaks of; no own id is called unknown."""
        journal, version = parsed(state.journal[-1]), parsed(state.journal[-1]).published_version
        if not version:
            return
        value, current = state.published[version - 1]["api_secret"], journal.current
        named = current is not None and current.is_named  # a person can be wrong
        if journal.current_id is not None and not named and state.live.get(journal.current_id, value) != value:
            raise Broken(f"identity: the journal calls {journal.current_id} the published secret's, which it is not")
        own = {id_ for id_, known in state.live.items() if known == state.value}
        newest = version == len(state.published)
        if newest and own and own <= journal.unknown_ids:  # a create that was carried out twice left two
            raise Broken(f"identity: the published secret's id is called unknown: {sorted(own)}")

    def _judge_quiet(self, state: State) -> None:
        """I6: from here, runs that nothing disturbs converge, or say why a person is needed."""
        key = self.key(state._replace(runners=(), flights=()))
        if key in self._judged:
            return
        self._judged.add(key)
        self._load(state)
        self.clock.now += self.scenario.propagation
        before = self.provider.secrets[KEY].copy()
        outcome, journal = self._last_runs(state)
        live = {id_: value for id_, (value, _) in self.provider.secrets[KEY].items()}
        published = self.vault.versions[self.paths[1]][-1]["api_secret"]
        excused = state.stalled or state.touched or self.scenario.needs_person
        if published not in live.values() and not state.touched and published != self.refused:
            raise Broken("I1: after the last run the published secret does not authenticate")
        converged = outcome.result is Result.OK and journal.phase is Phase.IDLE and set(live) == {journal.current_id}
        if converged and journal.request is None and journal.publishing is None:
            self._judge_request(state, live)
            return
        if not excused:
            raise Broken(
                f"I6: the last run does not converge: {outcome.reason}: {outcome.error}; {sorted(live)} are listed"
            )
        if outcome.result is not Result.FAILED or outcome.reason not in FOR_A_PERSON:
            raise Broken(f"I6: the last run does not say why a person is needed: {outcome}")
        if outcome.next_command is None:
            raise Broken(f"I6: the last run names no command: {outcome}")
        if not before.keys() - self._recorded(state) <= live.keys():
            raise Broken(f"I4: the last run fails and revokes {sorted(before.keys() - live.keys())}")
        self.exceptions.add(key)

    def _last_runs(self, state: State) -> tuple[Outcome, Journal]:
        """Finish what is under way, then rotate once more; each run as late as the one before says."""
        self.desk.told, self.desk.at, self.desk.chosen = [], 0, state.chosen
        for name in (FINISHING, ROTATING):
            for _ in range(LAST_RUNS):
                run = self._rotation(self.provider, self.vault, self.clock, self.clock.wait, name)
                outcome = run.run()
                later = _continues_at(outcome)
                if later is None:
                    break
                self.clock.now = max(self.clock.now, later)
        return outcome, run.journal

    @staticmethod
    def _recorded(state: State) -> frozenset[str]:
        """The ids that may be revoked whatever a run says in the end."""
        journal = parsed(state.journal[-1]) if state.journal else Journal()
        mark = journal.publishing
        return journal.retiring_ids | ({mark.entry.id} if mark is not None and mark.entry is not None else set())

    def _judge_request(self, state: State, live: dict[str, str]) -> None:
        """A request that was recorded is done at the end, unless it was withdrawn."""
        recorded = any((version.get("request") or {}).get("kind", "manual") != "manual" for version in state.journal)
        if recorded and self.first in live.values() and not state.touched:
            raise Broken("requests: what was recorded was never done")

    # --- which states are the same -------------------------------------------------------------------------------

    def key(self, state: State) -> bytes:
        """Equal for two states from which the same can happen: it knows no absolute time, no history, no names."""
        active = tuple(runner.name for runner in state.runners if runner.outcome is None)
        world, names = self._world_key(state, active)
        runners = sorted(self._runner_key(state, runner, active, names) for runner in state.runners)
        return blake2b(b"".join((world, *runners)), digest_size=16).digest()

    def _world_key(self, state: State, active: tuple[str, ...]) -> WorldKey:
        journal = state.journal[-1] if state.journal else None

        def compute() -> tuple[WorldKey, Any]:
            world = Key(self.scale, state)
            return (marshal.dumps(world.state(), 2), tuple(world.names)), (journal, state.published, state.flights)

        facts = state._replace(runners=(), flights=(), journal=(), published=(), chosen=0)
        flights = tuple((id(flight.request), flight.until) for flight in state.flights)
        key = facts, active, id(journal), len(state.journal), tuple(map(id, state.published)), flights
        return self._world_keys.get(key, compute)[0]

    def _runner_key(self, state: State, runner: Runner, active: tuple[str, ...], names: tuple[str, ...]) -> bytes:
        def compute() -> tuple[bytes, Runner]:
            key = Key(self.scale, state, runner, {name: number for number, name in enumerate(names)})
            return marshal.dumps(key.runner(), 2), runner

        holder = state.journal[-1].get("holder") if state.journal else None
        key = id(runner), state.now, len(state.journal), holder, active, names
        return self._runner_keys.get(key, compute)[0]


def _same(answer: Answer | None) -> Any:
    """Equal for two answers to one request that tell a run the same."""
    if answer is None:
        return "no answer"
    if answer.error is not None:
        return type(answer.error), answer.error.what
    if isinstance(answer.value, Document):
        return id(answer.value.data), replace(answer.value, data=None)
    return answer.value


def _continues_at(outcome: Outcome) -> datetime | None:
    """When a later run continues; None if there is nothing to continue."""
    return outcome.until if outcome.reason == Reason.IDENTIFYING else outcome.resume_at


def _with_runner(state: State, at: int, runner: Runner) -> State:
    return state._replace(runners=(*state.runners[:at], runner, *state.runners[at + 1 :]))


def _without_flight(state: State, at: int) -> tuple[State, Flight]:
    return state._replace(flights=state.flights[:at] + state.flights[at + 1 :]), state.flights[at]
