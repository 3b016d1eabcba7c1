"""What people want of rotator, as far as their commands tell, and what became of it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from rotator.cli.output import said_of_request
from rotator.core.protocol import Request as StoredRequest
from rotator.core.protocol import RequestKind, Result, requests
from rotator.documents.journal import parse_journal
from tests.system.courses.desk import Desk
from tests.system.courses.events import Run, Verb

if TYPE_CHECKING:
    from tests.system.courses.commands import Ended
    from tests.system.courses.course import Course

_ASKS = {
    Verb.ROTATE: RequestKind.MANUAL,
    Verb.FORCE: RequestKind.FORCE,
    Verb.DUE_FORCE: RequestKind.FORCE,
    Verb.COMPROMISED: RequestKind.COMPROMISED,
}


@dataclass
class Leak:
    """A value that a person called compromised.

    Attributes:
        value: The value that was published when the command was made.
        recorded: Whether rotator took note of it: the journal contained a request for it, or the command said so.
        sure: Whether nothing else was published while the command looked.
    """

    value: str
    recorded: bool = False
    sure: bool = True


@dataclass
class Wishes:
    """The requests of a course.

    Attributes:
        published_values: Every value that consumers could read, the newest last.
        leaks: What was called compromised and still has to go.
        hurried: Values whose grace period a person ended: compromised ones and those retiring beside them.
        forced: Published values for which `--force` asked.
        asked: Published values that a person wanted replaced.
    """

    course: "Course"
    published_values: list[str] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    hurried: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    compromised: set[str] = field(default_factory=set)  # values that a person ever called so
    _commands: dict[str, Leak] = field(default_factory=dict)
    _found_none: list[Desk] = field(default_factory=list)  # commands whose first look found no value that works
    replacing: dict[str, str | None] = field(default_factory=dict)  # what a candidate is to replace

    def fail(self, what: str) -> None:
        """End the course."""
        raise AssertionError(f"{what}\n{self.course}")

    def begins(self, desk: Desk, run: Run) -> None:
        """A command begins: what a person wants. If the newest version is deleted, that is the last published value.

        A value that rotator publishes in its place can be the same one. So it can if the provider refuses the newest
        value, because a person made it useless: the command is for what rotator publishes in its place.
        """
        desk.asks = _ASKS.get(run.verb)
        value = self.course.published
        if desk.asks is None or not self.published_values:
            return
        if value not in self.course.live.values():
            self.asked |= set(self.published_values)
        if value is None:
            value = self.published_values[-1]
        self._want(desk, desk.asks, value)
        if desk.asks is RequestKind.COMPROMISED:
            leak = Leak(value)
            self.leaks.append(leak)
            self._commands[desk.actor] = leak

    def read(self, desk: Desk, *, first: bool) -> None:
        """A command read the published document: it speaks of this value, or of the one when it was made.

        If the version is deleted, or the provider refuses the value, it speaks of the value that is published in its
        place, too.
        """
        if not first:
            return
        value = desk.read_value
        leak = self._commands.get(desk.actor)
        if leak is not None:
            leak.sure = (value or self.published_values[-1]) == leak.value
        if value not in self.course.live.values():
            self._found_none.append(desk)
        if value is not None and desk.asks is not None:
            self._want(desk, desk.asks, value)

    def published_in_place(self, value: str) -> None:
        """A value is published where nothing was, or a useless one."""
        for desk in self._found_none:
            if desk.asks is not None:
                self._want(desk, desk.asks, value)
        self._found_none.clear()

    def _want(self, desk: Desk, kind: RequestKind, value: str) -> None:
        desk.wants.add(value)
        self.asked.add(value)
        if kind is RequestKind.FORCE:
            self.forced.add(value)
        if kind is RequestKind.COMPROMISED:
            self.compromised.add(value)
            self._hurry(value)

    def _hurry(self, value: str) -> None:
        live = set(self.course.live.values())
        self.forced.add(value)
        self.hurried |= {value} | (live & set(self.published_values))

    def _request(self) -> StoredRequest | None:
        """Return the request that the journal contains."""
        return parse_journal(self.course.vault.peek(self.course.journal_path)).request

    def _is_requested(self, value: str) -> bool:
        """Return whether the journal contains a compromised request for this value."""
        request = self._request()
        is_compromised = request is not None and request.kind is RequestKind.COMPROMISED
        return is_compromised and requests.speaks_of(request, SecretStr(value))

    def journaled(self, desk: Desk, before: str | None) -> None:
        """Rotator wrote the journal."""
        del before
        leak = self._commands.get(desk.actor)
        if leak is not None and self._is_requested(leak.value):
            leak.recorded = True
        if self._request() is not None:
            self.asked |= desk.wants  # also if a person deleted the journal between the command's read and its write
        self._check_begun(desk)

    def _check_begun(self, desk: Desk) -> None:
        """Fail if a rotation began for a value that no person wanted replaced."""
        versions = self.course.vault.versions[self.course.journal_path]
        data, before = versions[-1], versions[-2] if len(versions) > 1 else {}
        begun = data.get("candidate") is not None and before.get("candidate") != data["candidate"]
        value = desk.read_value
        if begun:
            self.replacing[data["candidate"]] = value
        if (
            not begun
            or before.get("candidate") is not None
            or value is None
            or value in self.asked | desk.wants
            or data.get("trigger") not in ("manual", "compromised")
        ):
            return
        self.fail(f"request: {desk.actor} begins to replace {value}, which nobody asked for")

    def ends(self, desk: Desk, run: Run, ended: "Ended") -> None:
        """A command ended: what it said."""
        leak = self._commands.pop(desk.actor, None)
        if leak is not None:
            leak.recorded = leak.recorded or _says_recorded(ended)
            self._hurry(leak.value)
        if run.verb is Verb.CANCEL and ended.ended != "failed" and self._request() is None:
            self.forget_requests()

    def forget_requests(self) -> None:
        """A person withdrew the request, or deleted the journal with it."""
        self.leaks.clear()
        self.forced.clear()
        self.asked.clear()

    def let_go(self, value: str) -> None:
        """A person wants a compromised value all the same."""
        self.leaks = [leak for leak in self.leaks if leak.value != value]


def _says_recorded(ended: "Ended") -> bool:
    """Whether a person believes after `--compromised` that the request is recorded or done, as the output says."""
    outcome = ended.outcome
    if outcome is None:
        return False
    return outcome.result is Result.OK or "Run the command again" not in said_of_request(outcome)
