"""The events of a course, as values: they are drawn at random, shrunk, and written down as tests."""

from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum


class Fault(StrEnum):
    """What goes wrong with one request of a command."""

    DIES_BEFORE = "dies before"  # the process is gone, and the request was never sent
    DIES_AFTER = "dies after"  # the request was carried out, and the process is gone
    DIES_HELD = "dies held"  # the process is gone, and the request is carried out when it is released
    LOST = "lost"  # no answer; the request was never carried out
    LOST_AFTER = "lost after"  # no answer; the request was carried out
    LOST_HELD = "lost held"  # no answer; the request is carried out when it is released
    REFUSED = "refused"  # the provider refuses the credential, or the value of a create


class Request(StrEnum):
    """Kind of a request. Moments count the requests of each kind on their own."""

    ANY = "any"
    JOURNAL = "journal"  # a write of the journal
    PUBLISHED = "published"  # a write of the published document
    READ = "read"
    LIST = "list"
    CREATE = "create"
    REVOKE = "revoke"


class Pick(StrEnum):
    """A value, or the id of a value, as a person would describe it."""

    NONE = "none"
    PUBLISHED = "published"
    REPLACED = "replaced"  # the one that was published before
    CANDIDATE = "candidate"  # the one that the journal contains
    ADDED = "added"  # the last one that a person added
    OLDEST = "oldest"  # by their age at the provider
    SECOND = "second"
    THIRD = "third"


class Verb(StrEnum):
    """A command of rotator, or a run of the daemon."""

    DAEMON = "daemon"  # a run of the daemon that may begin a rotation
    DAEMON_FINISHES = "daemon finishes"  # one that only continues
    DUE = "rotate-now --due"
    DUE_FORCE = "rotate-now --due --force"
    ROTATE = "rotate-now"
    FORCE = "rotate-now --force"
    COMPROMISED = "rotate-now --compromised"
    CANCEL = "rotate-now --cancel"
    ADOPT = "adopt"
    RESOLVE = "resolve"
    CREATE = "account secrets create"
    REVOKE = "account secrets revoke"


class Deed(StrEnum):
    """What a person does at Vault, in the dashboard, or in the configuration."""

    ROLL_BACK = "rolls the document back"
    EDIT = "edits another field"
    MISTYPE = "publishes a value by hand and mistypes it"
    DELETE = "deletes the newest version"
    UNDELETE = "undeletes it"
    PUBLISH = "publishes a live value by hand"
    DELETE_JOURNAL = "deletes the journal"
    ADD = "adds a secret in the dashboard"
    REMOVE = "removes a secret in the dashboard"
    READD = "removes and adds the same value in the dashboard"
    RENAME_FIELD = "changes the name of the field, or changes it back"


class Trouble(StrEnum):
    """How the provider contradicts itself, within the consistency window."""

    LISTS_LAG = "lists lack what is new"
    LISTS_LACK = "lists lack one id"
    LISTS_SHOW = "lists show an id that was revoked"
    SLOW = "a new secret authenticates later"


@dataclass(frozen=True)
class Person:
    """A deed of a person.

    Attributes:
        pick: Which secret it is about.
        named: Which id the person writes beside a value; NONE: no id; None: the id stays as it was.
        back: How many versions to roll back.
    """

    deed: Deed
    pick: Pick = Pick.PUBLISHED
    named: Pick | None = None
    back: int = 1


@dataclass(frozen=True)
class Passing:
    """Time passes."""

    time: timedelta


@dataclass(frozen=True)
class Troubled:
    """The provider contradicts itself for a while, beginning now."""

    trouble: Trouble
    pick: Pick = Pick.PUBLISHED
    time: timedelta = timedelta(seconds=20)


@dataclass(frozen=True)
class Release:
    """A request that was held up is carried out, if it still can be."""

    number: int = 0


@dataclass(frozen=True)
class Moment:
    """What happens at one request of a command.

    Attributes:
        request: The kind of request.
        number: Its number, from 0, among those of its kind.
        fault: What goes wrong with it.
        before: Events right before it.
    """

    request: Request
    number: int = 0
    fault: Fault | None = None
    before: "tuple[Event, ...]" = ()


@dataclass(frozen=True)
class Run:
    """A command, or a run of the daemon.

    Attributes:
        verb: Which one.
        moments: What happens at its requests.
        waits: How long it may wait.
        value: Of an adoption: the value; NONE: the published one is not repeated.
        named: Of an adoption: `--secret-id`; of `resolve` and `revoke`: the id.
        retire: Of an adoption: `--retire`.
        replace: Of an adoption: whether it has `--replace`.
    """

    verb: Verb
    moments: tuple[Moment, ...] = ()
    waits: timedelta = timedelta(minutes=3)
    value: Pick = Pick.NONE
    named: Pick = Pick.NONE
    retire: tuple[Pick, ...] = ()
    replace: bool = False


Event = Run | Person | Passing | Troubled | Release


def shown(value: object) -> str:
    """Return an event as a test would write it down."""
    if isinstance(value, StrEnum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, timedelta):
        return f"timedelta(seconds={value.total_seconds():g})"
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    if not isinstance(value, Event | Moment):
        return repr(value)
    given = {one.name: getattr(value, one.name) for one in fields(value) if getattr(value, one.name) != one.default}
    return f"{type(value).__name__}({', '.join(f'{name}={shown(part)}' for name, part in given.items())})"
