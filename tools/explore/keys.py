"""Which states are the same: those from which the same can happen.

Instants count from now, and as one if they are so long past that all that follows from them is past as well; versions
of the journal count as the newest or not; values and names are numbered in the order in which they are met. Only the
world's values have numbers that both runners share: a value that only a runner knows is known to nobody else.
"""

import marshal
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pydantic import SecretStr

from rotator.core.protocol import (
    Answered,
    Create,
    Fail,
    Identity,
    Journal,
    Listing,
    Observation,
    Poll,
    Publish,
    Published,
    Refresh,
    Request,
    Retiring,
    Revoke,
    Situation,
    Step,
    Stop,
    Version,
    WriteJournal,
    leaks,
    requests,
)
from rotator.documents import StoredJournal as Stored
from rotator.documents import parse_instant
from rotator.provider import Credentials, SecretInfo
from rotator.rotation import Countdown
from rotator.rotation.state import AccountState
from rotator.rotation.waiting import LONGEST_POLL
from rotator.vault import Document
from testkit.model import START
from tools.explore.runs import parsed
from tools.explore.states import TICK, WINDOW, Halted, Runner, State
from tools.explore.states import Request as Sent

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT")
# Each pause between two polls of a lease lasts until the next tick, so that it does not count how long it is.
assert LONGEST_POLL < TICK
# No deadline of a run is this far away, in ticks, unless it is as good as never.
_FAR = 50
# What is the same in all of a run, or is looked at elsewhere: settings, and the run itself with its parts.
_SAME_ALWAYS = ("rotator.audit.", "rotator.config.", "rotator.rotation.", "tools.explore.")


@dataclass(frozen=True)
class Scale:
    """What a scenario's keys need to know.

    Attributes:
        paths: Of the journal and of the published document.
        began_at: From when on a secret is young enough.
        longest: After this, no rule looks at how long ago something was.
        slowest: How long a run takes at most from its look at the clock to its request.
        skew: How far apart two runs can believe Vault's clock to be.
    """

    paths: tuple[str, str]
    began_at: datetime
    longest: timedelta
    slowest: timedelta
    skew: timedelta


@lru_cache(maxsize=100_000)
def ordered(ids: frozenset[str]) -> tuple[str, ...]:
    """Return ids in an order that all states share."""
    return tuple(sorted(ids))


def _is_younger(before: Mapping[str, Any], version: Mapping[str, Any]) -> bool:
    """Whether a version of the published document names a later date than the one before it."""
    earlier = parse_instant(before.get("rotated_at"))
    date = parse_instant(version.get("rotated_at"))
    return earlier is not None and date is not None and earlier < date


@dataclass
class Key:
    """What matters of a state, as one runner sees it."""

    scale: Scale
    now_: State
    me: Runner | None = None
    names: dict[str, int] = field(default_factory=dict)

    def state(self) -> Any:
        """Return what is not a runner's."""
        state = self.now_
        self.value(state.value)
        return (
            tuple((id_, self.value(value), self.since(at), self.due(at)) for id_, (value, at) in state.secrets),
            tuple((id_, self.since(created), self.since(gone)) for id_, created, gone in state.removed),
            state.issued,
            self.journal(parsed(state.journal[-1])) if state.journal else None,
            tuple(
                (
                    self.value(version["api_secret"]),
                    version.get("secret_id"),
                    version.get("api_key"),
                    "rotated_at" in version,
                    _is_younger(before, version),
                )
                for before, version in pairwise(({}, *state.published))
            ),
            sorted(state.deleted),
            sorted(marshal.dumps((self.request(flight.request), self.at(flight.until)), 2) for flight in state.flights),
            (state.faults, state.by_hand, state.stalled, state.touched),
        )

    def runner(self) -> Any:
        """Return what is the runner's own. What it looks at again before it uses it does not count."""
        runner, state = self.me, self.now_
        assert runner is not None
        if runner.outcome is not None:
            return True
        holder = state.journal[-1].get("holder") if state.journal else None
        rotation = runner.rotation if runner.halted is None else runner.halted.rotation
        seen = rotation.state.seen
        waits_until = runner.pending.args[0] if runner.pending and runner.pending.name in ("wait", "resume") else None
        # What a run knows after it has looked at everything again.
        always = (
            runner.crashes,
            runner.again,
            None if runner.answered_at is None else runner.answered_at < state.now,
            self.at(waits_until),
            holder == runner.name,
            (
                seen.creates,
                self.since(seen.create_lost_at),
                self.since(seen.revoke_lost_at),
                seen.rotated,
                seen.paused // timedelta(milliseconds=1),
            ),
            (self.answered(seen.answered), self.asked(seen.request)),
            self.identified(rotation.state),
            rotation.conflicts_since_turn,
            rotation.adopts,
            rotation.state.journal_read,
        )
        if runner.pending is not None and runner.pending.name == "resume":
            return runner.crashes, runner.again, self.at(waits_until), holder == runner.name
        if isinstance(runner.step, Stop) and waits_until is not None:
            return always
        pending = None if runner.pending is None else (self.request(runner.pending), self.patience(runner.pending))
        if runner.halted is not None:
            answer = None if pending is not None else self.told(runner.told[-1])
            return always, self.halted(runner.halted), answer, pending
        # Of what else a run does, all that depends on its looks at the clock stands in the step and the requests.
        timed = isinstance(runner.step, Create | Revoke | Poll | Publish)
        told = tuple(self.told(told) for told in runner.told if timed or not isinstance(told, datetime))
        if not rotation.state.is_observed:
            # The step began with a look at everything.
            return always, self.step(runner.step), told, pending, self.skew_at_look(runner.told)
        return (
            always,
            self.step(runner.step),
            told,
            pending,
            rotation.state.journal_version == len(state.journal),
            rotation.state.document.version,
            self.journal(rotation.state.journal),
            self.seen(seen),
        )

    def identified(self, state: AccountState) -> Any:
        """Return what a run knows of the published value's id, and what that rests on."""
        seen, journal = state.seen, state.journal
        if seen.identified is None:
            return None
        rests_on = self.value(seen.published.secret), self.identity(journal.current), journal.published_version
        return self.identity(seen.identified), seen.replaced, seen.wanted_again, rests_on

    def halted(self, halted: Halted) -> Any:
        """Return what the rest of a step depends on."""
        state = halted.rotation.state
        return (
            state.is_observed,
            state.journal_version == len(self.now_.journal),
            state.document.version,
            self.journal(state.journal),
            self.seen(state.seen),
            tuple((name, at, self.any(values)) for name, at, values in halted.frames),
        )

    def any(self, value: Any) -> Any:
        """Return what matters of a local variable.

        Raises:
            TypeError: If nothing is known about its type.
        """
        match value:
            case None | bool() | int():
                return value
            case Enum():
                return value.value
            case str():
                if _INSTANT.match(value):
                    return self.any(datetime.fromisoformat(value))
                return self.name("rotation", value) if value.startswith("rotation-") else value
            case SecretStr():
                return self.value(value)
            case datetime():
                return self.since(min(value, self.now_.now + _FAR * TICK))
            case timedelta():
                return value // timedelta(milliseconds=1)
            case Countdown():
                return self.any(START + timedelta(seconds=value.ends))
            case dict():
                return sorted((str(name), marshal.dumps(self.any(of), 2)) for name, of in value.items())
            case set() | frozenset():
                return sorted(marshal.dumps(self.any(of), 2) for of in value)
            case tuple() | list():
                return tuple(map(self.any, value))
            case Journal():
                return self.journal(value)
            case Identity():
                return self.identity(value)
            case Version():
                return value.number  # no version is ever written again
            case Observation():
                return self.seen(value)
            case Situation():
                return self.seen(value.seen), self.journal(value.journal), self.any(value.now)
            case Published():
                return self.value(value.secret), value.version, value.secret_id, self.due(value.rotated_at)
            case Document():
                if value.data is not None and "phase" in value.data:
                    return self.journal(parsed(value.data))
                return value.version, value.data is None
            case Stored():
                newest = value.version == len(self.now_.journal)
                return newest, self.journal(value.journal), value.is_lost, self.any(value.read_at)
            case SecretInfo():
                return value.id, self.due(value.created_at)
            case Credentials():
                return self.value(value.api_secret)
            case Exception():
                return type(value).__name__
        if type(value).__module__.startswith(_SAME_ALWAYS):
            return None
        raise TypeError(f"a local variable is of type {type(value)}")

    # --- instants, values, names ---------------------------------------------------------------------------------

    def at(self, instant: datetime | None) -> int | None:
        """In ticks from now; everything past is the same."""
        return self.ticks(instant, past=timedelta())

    def since(self, instant: datetime | None) -> int | None:
        """In ticks before now; what is long past is the same."""
        return self.ticks(instant, past=self.scale.longest)

    def shared(self, instant: datetime | None) -> int | None:
        """In ticks from now; a run can believe that what is just past is still ahead."""
        return self.ticks(instant, past=self.scale.skew)

    def ticks(self, instant: datetime | None, *, past: timedelta) -> int | None:
        """In ticks from now; everything that is past for at least so long is the same."""
        return None if instant is None else max((instant - self.now_.now) // TICK, -(past // TICK))

    def due(self, instant: datetime | None) -> bool:
        """Whether a secret of that instant is due to be replaced."""
        return instant is not None and instant < self.scale.began_at

    def value(self, value: SecretStr | str | None) -> int | None:
        """A number for a value."""
        if value is None:
            return None
        plain = value if isinstance(value, str) else value.get_secret_value()
        return self.names.setdefault(plain, len(self.names))

    def name(self, kind: str, name: str | None) -> int | None:
        """A number for the name of a rotation or of a request."""
        return None if name is None else self.names.setdefault(f"{kind} {name}", len(self.names))

    def holder(self, name: str | None) -> str | None:
        """Who it is to this runner: itself, the other one, or somebody who is gone."""
        if name is None:
            return None
        if self.me is not None and name == self.me.name:
            return "me"
        active = {runner.name for runner in self.now_.runners if runner.outcome is None}
        return "other" if name in active else "gone"

    # --- what documents contain ----------------------------------------------------------------------------------

    def journal(self, journal: Journal) -> Any:
        """Return what rules look at in a journal."""
        verification, mark, strangers = journal.verification, journal.publishing, journal.last_doubt
        recent = (gone for gone in journal.gone if self.now_.now - gone.at < WINDOW)
        return (
            journal.api_key,
            self.identity(journal.current),
            (journal.rotated_at is None, self.due(journal.rotated_at)),
            journal.published_version,
            self.name("rotation", journal.rotation_id),
            journal.trigger and journal.trigger.value,
            self.asked(journal.request),
            tuple(number for plain, number in self.names.items() if leaks.is_leaked(journal, SecretStr(plain))),
            journal.later_id,
            self.value(journal.candidate),
            self.answered(journal.candidate_id),
            verification and (self.name("rotation", verification.rotation_id), self.since(verification.since)),
            ordered(journal.ids_before),
            self.shared(journal.create_until),
            self.shared(journal.lost_journal_until),
            mark and (mark.over_version, mark.entry and self.retiring(mark.entry)),
            tuple(self.retiring(entry) for entry in journal.retiring),
            tuple(sorted((gone.id, self.since(gone.at) or 0) for gone in recent)),
            self.holder(journal.lease_holder),
            self.shared(journal.lease_until),
            (bool(journal.attempts), bool(journal.last_error), bool(journal.ambiguity)),
            ordered(journal.unknown_ids),
            strangers and (ordered(strangers.ids), self.since(strangers.seen_at)),
            journal.noticed and (ordered(journal.noticed.ids), self.since(journal.noticed.seen_at)),
        )

    def identity(self, identity: Identity | None) -> Any:
        """Return what rules look at in an id and how it was learned."""
        if identity is None:
            return None
        return (
            identity.id,
            identity.learned.value,
            ordered(identity.beside),
            ordered(identity.foreign_ids),
            identity.looks,
            self.shared(identity.next_look),
            identity.restarts,
        )

    def retiring(self, entry: Retiring) -> Any:
        """Return what rules look at in a retiring entry."""
        return (
            entry.id,
            self.at(entry.not_before),
            entry.compromised,
            self.at(entry.grace_until),
            self.identity(entry.identity),
            self.since(entry.missing_since),
            entry.published_in and entry.published_in.number,
        )

    def asked(self, request: Request | None) -> Any:
        """Return what rules look at in a request."""
        if request is None:
            return None
        own = self.name("request", request.id)
        return request.kind.value, request.of.id, request.of.version, own, self.spoken_of(request), request.earlier_ids

    def spoken_of(self, request: Request) -> int | None:
        """Return the number of the value that a request is for: it was published, so that it has one."""
        for plain, number in self.names.items():
            if requests.speaks_of(request, SecretStr(plain)):
                return number
        return None

    def answered(self, answered: Answered | None) -> Any:
        """Return the id that was answered, and to which rotation's create."""
        return answered and (self.name("rotation", answered.rotation_id), answered.id)

    # --- what a run knows ----------------------------------------------------------------------------------------

    def seen(self, seen: Observation) -> Any:
        """Return what rules look at in an observation."""
        return (
            seen.published.version,
            seen.published.secret is None,
            seen.journal_lost,
            (self.identity(seen.identified), seen.replaced, seen.wanted_again),
            self.listing(seen.listing),
            tuple(sorted(credential.value for credential in seen.refused)),
            (self.value(seen.recorded), seen.unchanged_until),
            (seen.recorded_read, seen.earlier_tried, seen.prepared_here, seen.value_refused),
            (ordered(seen.earlier_ids), bool(seen.withheld)),
            bool(seen.create_refused),
            seen.values,
            tuple(sorted((awaited.value, self.since(at) or 0) for awaited, at in seen.waiting_since.items())),
            (seen.revokes, ordered(seen.revoked), ordered(seen.beside_revoked), ordered(seen.absent)),
            seen.rewritten_over,
            self.skew(seen.journal_asked_at, seen.journal_read_at),
            self.skew(seen.journal_read_at, seen.observed_at),
        )

    def listing(self, listing: Listing | None) -> Any:
        """Return a list's ids, which of them are young, and who fetched it."""
        if listing is None:
            return None
        ids = tuple((id_, self.due(at)) for id_, at in listing.created.items())
        return listing.via.value, ids, self.since(listing.fetched_at)

    def step(self, step: Step | None) -> Any:
        """Return what a step is about."""
        match step:
            case WriteJournal(event, journal):
                return event.value, self.journal(journal)
            case Stop(reason, until):
                return reason.value, self.at(until)
            case Fail(failure):
                return failure.value
            case Poll(_, awaited):
                return awaited.value
            case Publish(id_):
                return "publish", id_
            case Refresh(_, id_):
                return "refresh", id_
            case Revoke(id_):
                return "revoke", id_
        return type(step).__name__

    def told(self, told: Any) -> Any:
        """Return what a run was told."""
        if isinstance(told, datetime):
            return self.since(told)
        if isinstance(told, SecretStr):
            return self.value(told)
        if isinstance(told, str):
            return self.name("rotation", told)
        if told.error is not None:
            return self.request(told.request), type(told.error).__name__
        return self.request(told.request), self.told_value(told.request, told.value)

    def told_value(self, request: Sent, value: Any) -> Any:
        """Return the value of an answer."""
        match value:
            case Document():
                if request.args[0] == self.scale.paths[0]:
                    if value.version == len(self.now_.journal):
                        return 0
                    return self.journal(Journal() if value.data is None else parsed(value.data))
                return value.version, value.data is None
            case SecretInfo():
                return value.id
            case tuple():
                return tuple(info.id for info in value)
            case int() if request.name == "write" and request.args[0] == self.scale.paths[0]:
                return value == len(self.now_.journal)
        return value

    def skew(self, read_at: datetime | None, observed_at: datetime | None) -> int | None:
        """Return how far behind its own clock a run takes Vault's to be: time can pass between its two readings."""
        if read_at is None or observed_at is None:
            return None
        return min(observed_at - read_at, self.scale.longest) // TICK

    def skew_at_look(self, told: tuple[Any, ...]) -> Any:
        """Return the same for a run that began its step with a look at everything, of which it was told so much."""
        if not self.scale.skew:
            return None
        asked_at, observed_at, *_ = (
            *(look for look in told if isinstance(look, datetime)),
            self.now_.now,
            self.now_.now,
        )
        reads = (answer.value.read_at for answer in told if isinstance(getattr(answer, "value", None), Document))
        read_at = next(reads, self.now_.now)
        return self.skew(asked_at, read_at), self.skew(read_at, observed_at)

    def patience(self, request: Sent) -> int | None:
        """Return for how many ticks a request can still wait until it is sent; None: for any time."""
        left = (request.decided_at + self.scale.slowest - self.now_.now) // TICK
        return None if left > _FAR else max(left, 0)

    def request(self, request: Sent) -> Any:
        """Return what a request is about."""
        match request.name, request.args:
            case "write", (path, data, cas) if path == self.scale.paths[0]:
                return "journal", self.journal(parsed(data)), cas == len(self.now_.journal)
            case "write", (path, data, cas):
                return "published", self.value(data["api_secret"]), data.get("secret_id"), cas
            case "create_secret", (auth, _, secret):
                return "create", self.value(auth.api_secret), self.value(secret)
            case "revoke_secret", (auth, _, id_):
                return "revoke", self.value(auth.api_secret), id_
            case "list_secrets", (auth, _):
                return "list", self.value(auth.api_secret)
            case "read", (path, version):
                return "read", path, version
        return (request.name,)
