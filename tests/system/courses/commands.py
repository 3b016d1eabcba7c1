"""The commands of rotator, as a person or a daemon runs them over the account of a course."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from pydantic import SecretStr

from rotator.core.protocol import Command, Outcome, Reason, RequestKind, Result, ids_of
from rotator.errors import RotatorError
from rotator.fleet import Fleet, Request, Wanted, manual_secrets
from rotator.rotation import Operator, Rotation
from tests.system.courses.desk import Desk, Died
from tests.system.courses.events import Pick, Run, Verb

if TYPE_CHECKING:
    from tests.system.courses.course import Course

_KINDS = {
    Verb.ROTATE: RequestKind.MANUAL,
    Verb.FORCE: RequestKind.FORCE,
    Verb.COMPROMISED: RequestKind.COMPROMISED,
    Verb.DUE_FORCE: RequestKind.FORCE,
}
# A command continues a run that waits for its candidate, up to a limit that nothing should reach.
_MOST_RUNS = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        ended: "ok", "deferred", "failed", "died", or "skipped": a person could not run it now.
        reason: The reason of a deferral, or the code of a failure.
        text: The message.
        next_command: The command that it names.
        until: When it says that a later run continues.
        outcome: The outcome of its last run.
    """

    ended: str
    reason: str = ""
    text: str = ""
    next_command: tuple[str, ...] | None = None
    outcome: Outcome | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is nothing to do for the person now."""
        return self.ended == "ok"


def carry_out(course: "Course", run: Run) -> Ended:
    """Run a command to its end, or up to its death."""
    desk = course.desk(run)
    command = _Command(course, run, desk, course.fleet(desk))
    course.judge.begins(desk, run)
    try:
        ended = command.ended()
    except Died:
        ended = Ended("died")
    course.judge.ends(desk, run, ended)
    return ended


@dataclass
class _Command:
    course: "Course"
    asked: Run
    desk: Desk
    fleet: Fleet

    def ended(self) -> Ended:
        try:
            outcome = self._outcome()
        except RotatorError as error:
            command: Command | None = error.next_command
            return Ended("failed", error.code.value, str(error), command.args if command else None)
        if outcome is None:
            return Ended("skipped")
        if isinstance(outcome, str):
            return Ended("ok", outcome)
        command = outcome.next_command
        args = command.args if command else None
        return Ended(outcome.result.value, str(outcome.reason), outcome.error or "", args, outcome)

    def _outcome(self) -> Outcome | str | None:
        match self.asked.verb:
            case Verb.ADOPT:
                return self._adopt()
            case Verb.RESOLVE:
                return self._resolve()
            case Verb.CANCEL:
                request = Operator(self._rotation(Request(Wanted.NOTHING_NEW))).cancel()
                return "nothing" if request is None else f"withdrew {request.kind.value}"
            case Verb.CREATE:
                value = SecretStr(self.course.new_value("Created"))
                return manual_secrets.create(self.fleet, self.course.account, value, generated=False).id
            case Verb.REVOKE:
                id_ = self.course.id_of(self.asked.named)
                if id_ is None:
                    return None
                revoke = partial(manual_secrets.revoke, self.fleet, self.course.account, id_)
                return self._named(frozenset({id_}), revoke)
        return self._rotate(self._request())

    def _request(self) -> Request:
        verb = self.asked.verb
        kind = _KINDS.get(verb)
        made_at = self.course.seconds
        if verb is Verb.DAEMON:
            return Request(Wanted.DUE, made_at=made_at)
        if verb is Verb.DAEMON_FINISHES:
            return Request(Wanted.NOTHING_NEW, begins=False, made_at=made_at)
        wanted = Wanted.DUE if verb in (Verb.DUE, Verb.DUE_FORCE) else Wanted.NOW
        return Request(wanted, kind=kind, explicit=True, max_wait=self.asked.waits, made_at=made_at)

    def _rotation(self, request: Request) -> Rotation:
        return self.fleet.rotation(self.course.account, request)

    def _rotate(self, request: Request) -> Outcome:
        outcome = self._rotation(request).run()
        later = replace(request, wanted=Wanted.NOTHING_NEW, kind=None)
        daemon = self.asked.verb in (Verb.DAEMON, Verb.DAEMON_FINISHES)
        runs = 0
        while outcome.resume_at is not None and not daemon:
            self.course.clock.wait(max(outcome.resume_at - self.course.clock(), timedelta()))
            outcome = replace(self._rotation(later).run(), asked=outcome.asked)
            runs += 1
            assert runs < _MOST_RUNS, "a command that waits for its candidate does not end"
        return outcome

    def _adopt(self) -> Outcome | None:
        course, asked = self.course, self.asked
        value = course.value_of(asked.value)
        if value is None and asked.value is not Pick.NONE:
            return None
        id_ = course.id_of(asked.named)
        ids = ids_of(*map(course.id_of, asked.retire))
        if (id_ is None and asked.named is not Pick.NONE) or len(ids) < len(asked.retire):
            return None
        if value is None and id_ is None:
            value = course.published
        if value is None and id_ is None:
            return None
        request = Request(Wanted.NOTHING_NEW, max_wait=asked.waits)
        operator = Operator(self._rotation(request))
        course.judge.adopts(self.desk, value or course.published, id_, ids, replaces=asked.replace)

        def adopt() -> Outcome:
            return operator.adopt(
                SecretStr(value) if value is not None else None, id_, replace_working=asked.replace, retire=ids
            )

        return self._named(ids, adopt)

    def _resolve(self) -> Outcome | None:
        """Ask what can be revoked, and choose one of it: the one that the event names, if it is offered."""
        operator = Operator(self._rotation(Request(Wanted.NOTHING_NEW)))
        offered = operator.unknown()
        self.course.judge.offered(self.desk, offered)
        if not offered:
            return self._rotation(Request(Wanted.NOTHING_NEW)).run()
        if self.asked.named is Pick.NONE:
            chosen = min(offered)
        else:
            named = self.course.id_of(self.asked.named)
            if named not in offered:
                return None
            chosen = named
        ids = frozenset({chosen})
        return self._named(ids, lambda: operator.resolve(ids))

    def _named(self, ids: frozenset[str], act: Callable[[], Outcome]) -> Outcome:
        """Carry out what revokes ids that a person named. What the person said counts from now on."""
        self.course.judge.named(ids)
        return act()


def withdrew(ended: Ended) -> bool:
    """Whether a `--cancel` withdrew a request."""
    return ended.reason.startswith("withdrew")


def is_done(outcome: Outcome | None) -> bool:
    """Whether a run left the account at rest."""
    if outcome is None or outcome.result is not Result.OK or outcome.reason != Reason.IDLE:
        return False
    journal = outcome.journal
    return journal is not None and journal.request is None and journal.candidate is None
