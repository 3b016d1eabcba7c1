"""The end of a course: no more faults, and a person who does what messages advise, with right answers."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rotator.config import parse_duration
from tests.system.courses.commands import Ended, is_done
from tests.system.courses.events import Pick, Run, Verb
from tests.system.courses.person import add

if TYPE_CHECKING:
    from tests.system.courses.course import Course

# Commands of a person until the account is at rest. A course can leave several things to decide.
MOST_COMMANDS = 8
# Runs of rotator's own between two commands of a person.
MOST_RUNS = 25
_MOMENT = timedelta(seconds=31)
_PLACES = (Pick.OLDEST, Pick.SECOND, Pick.THIRD)


class Ending:
    """Brings a course to its rest, and fails if that is impossible."""

    def __init__(self, course: "Course") -> None:
        self._course = course
        self._advised: set[tuple[object, ...]] = set()
        self._commands = 0

    def come_to_rest(self) -> None:
        """Let everything come to rest, then judge what is left."""
        course = self._course
        course.provider.calm()
        for held in course.held:
            held.release(course.clock())
        course.held.clear()
        course.happened.append("--- the end")
        course.clock.wait(timedelta(minutes=5))
        outage = course.secondary and course.published is not None and not course.works
        ended = self._runs()
        has_room = len(course.live) < course.max_secrets
        lost = ended.reason in ("journal_lost", "published_lost", "not_adopted")
        # No journal speaks of a document, or of a field, whose value never authenticated: it can be another account's.
        is_known = course.journal.published_version and course.journal.published_field == course.field_name
        is_unconfirmed = ended.reason == "unconfirmed_document" and not is_known
        asks = lost or is_unconfirmed
        if outage and not course.works and has_room and course.published is not None and not asks:
            course.judge.fail("the refused secret is not replaced, though there are room and a primary account")
        while not is_done(ended.outcome):
            ended = self._advice_of(ended)
            if ended.ok:
                ended = self._runs()
        self._judge()

    def _judge(self) -> None:
        course = self._course
        if not course.works:
            course.judge.fail("at rest, consumers read nothing that works")
        for leak in course.judge.leaks:
            if leak.recorded and leak.sure and leak.value in course.live.values():
                course.judge.fail(f"compromised: {leak.value} is forgotten")

    def _check_compromised(self, ended: Ended) -> None:
        """Fail if what is compromised keeps a grace period. After the calm no create can land late any more."""
        course = self._course
        for leak in course.judge.leaks:
            kept = leak.value in course.live.values() and leak.value != course.published
            if kept and leak.recorded and leak.sure and ended.reason == "grace":
                course.judge.fail(f"compromised: {leak.value} keeps a grace period")

    def _runs(self) -> Ended:
        """Let rotator run until it is done, or a person has to act."""
        course = self._course
        ended = Ended("skipped")
        for _ in range(MOST_RUNS):
            ended = self._play(Run(Verb.DUE, waits=timedelta()))
            self._check_compromised(ended)
            if ended.ended == "failed" or (is_done(ended.outcome) and course.works):
                break
            until = ended.outcome.until if ended.outcome is not None else None
            if not ended.ok and until is None:
                break
            course.clock.now = max(until or course.clock(), course.clock() + _MOMENT)
        return ended

    def _play(self, run: Run) -> Ended:
        ended = self._course.play(run)
        if ended is None:
            raise AssertionError("a command has an end")
        return ended

    # --- what a person does ------------------------------------------------------------------------------------------

    def _advice_of(self, ended: Ended) -> Ended:
        """Do what a message advises."""
        course = self._course
        args = ended.next_command
        if args is None:
            course.judge.fail(f"stuck: no command is named: {ended}")
            return ended
        case = (*self._state(), args)
        if case in self._advised:
            course.judge.fail(f"stuck: the same command for the same state: {args}")
        self._advised.add(case)
        self._commands += 1
        if self._commands > MOST_COMMANDS:
            course.judge.fail(f"stuck: no rest after {MOST_COMMANDS} commands")
        match args:
            case ("rotate-now", _, *options):
                return self._play(_rotation(options))
            case ("adopt", _, *options):
                return self._adopt(options, ended.text)
            case ("resolve", _, *options):
                return self._resolve(options)
            case ("account", "secrets", *_):
                self._make_room()
        return self._runs()

    def _state(self) -> tuple[object, ...]:
        """What an unchanged account has unchanged."""
        course = self._course
        journal = replace(
            course.journal, lease_holder=None, lease_until=None, attempts=0, next_attempt_at=None, last_error=None
        )
        journal = replace(journal, last_doubt=None, verification=None, create_until=None, gone=(), published_at=None)
        return replace(journal, published_version=0), course.published, tuple(course.live)

    def _adopt(self, options: list[str], said: str) -> Ended:
        course = self._course
        by_id = "--secret-id" in options
        value = course.published if by_id and course.works else self._working_value()
        if value is None:
            course.judge.fail("a person has no working value to bring, and cannot add one")
        own = max(course.ids_of(value))
        pick = self._place_of(own)
        others = sorted(course.live.keys() - {own}, key=lambda id_: (id_ not in said, not self._is_leaked(id_)))
        given = [id_ for id_ in others if id_ in options]  # a command that is repeated has no blanks
        retire = tuple(map(self._place_of, given + others[: options.count("OTHER_ID")]))
        brings = Pick.NONE if by_id and value == course.published else pick
        named = pick if by_id else Pick.NONE
        return self._play(Run(Verb.ADOPT, (), value=brings, named=named, retire=retire, replace="--replace" in options))

    def _working_value(self) -> str | None:
        """Return a value that a person knows and that authenticates: the published one first, a leaked one last."""
        course = self._course
        known = [value for value in course.live.values() if value in {*course.judge.published_values, *course.added}]
        if not known:
            if len(course.live) >= course.max_secrets:
                self._make_room()
            return add(course)
        return min(known, key=lambda value: (self._is_leaked(max(course.ids_of(value))), value != course.published))

    def _resolve(self, options: list[str]) -> Ended:
        named = Pick.NONE
        if "--revoke" in options:
            id_ = options[options.index("--revoke") + 1]
            if id_ in self._course.live:
                named = self._place_of(id_)
        return self._play(Run(Verb.RESOLVE, named=named))

    def _make_room(self) -> None:
        """Remove a secret in the dashboard that consumers do not use."""
        course = self._course
        for id_, value in sorted(course.live.items(), key=lambda item: not self._is_leaked(item[0])):
            if value != course.published and len(course.live) > 1:
                course.provider.remove("shopkey", id_)
                course.judge.removed(value)
                course.happened.append(f"the person removes {id_}")
                return

    def _is_leaked(self, id_: str) -> bool:
        return self._course.live[id_] in {leak.value for leak in self._course.judge.leaks}

    def _place_of(self, id_: str) -> Pick:
        return _PLACES[list(self._course.live).index(id_)]


def _rotation(options: list[str]) -> Run:
    """Return the rotation that a message names."""
    verb = Verb.DUE if "--due" in options else Verb.ROTATE
    for option, other in (("--force", Verb.FORCE), ("--compromised", Verb.COMPROMISED)):
        if option in options:
            verb = other
    waits = parse_duration(options[options.index("--wait") + 1]) if "--wait" in options else timedelta(minutes=3)
    return Run(verb, waits=waits)
