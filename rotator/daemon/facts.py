"""The facts that the registry receives."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from rotator.core.balance import Reading, TopUp, Withheld
from rotator.core.protocol import Journal
from rotator.daemon.tasks import LoadJournal, Look, ReadBalance, Run, Task, TopUpBalance
from rotator.errors import RotatorError
from rotator.fleet import Fleet
from rotator.rotation import Outcome
from rotator.vault import Document, Vault


@dataclass(frozen=True, slots=True)
class SettingsLoaded:
    """A configuration is in force: at the start, and after each reload."""

    fleet: Fleet


@dataclass(frozen=True, slots=True)
class Due:
    """The job of an account is due."""

    account: str


@dataclass(frozen=True, slots=True)
class JournalLoaded:
    """The journal of an account was read.

    Attributes:
        task: The task.
        journal: The journal.
        refresh_at: When it has to be written again; None if it does not expire.
    """

    task: LoadJournal
    journal: Journal
    refresh_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JournalUnreadable:
    """The journal of an account could not be read."""

    task: LoadJournal
    error: RotatorError


@dataclass(frozen=True, slots=True)
class JournalWritten:
    """A run in progress wrote its journal."""

    task: Run
    journal: Journal


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run ended.

    Attributes:
        task: The run.
        outcome: How it ended.
        seconds: How long it took.
    """

    task: Run
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class DocumentSeen:
    """The resync read an account's documents.

    Attributes:
        task: The look.
        document: The published document.
        journal: The journal.
        refresh_at: When one of the two has to be written again; None if none expires.
    """

    task: Look
    document: Document
    journal: Journal
    refresh_at: datetime | None


@dataclass(frozen=True, slots=True)
class LookFailed:
    """The resync could not read an account's documents."""

    task: Look
    error: RotatorError


@dataclass(frozen=True, slots=True)
class ResyncEnded:
    """The resync is done with its accounts."""


@dataclass(frozen=True, slots=True)
class BalanceRead:
    """The balance of an account was read, or could not be read."""

    task: ReadBalance
    result: Reading | RotatorError


@dataclass(frozen=True, slots=True)
class TopUpEnded:
    """An account was topped up, or not."""

    task: TopUpBalance
    result: TopUp | Withheld | RotatorError


@dataclass(frozen=True, slots=True)
class TaskBroke:
    """Work ended with an internal error.

    Attributes:
        task: The task.
        place: Where the error was raised.
    """

    task: Task
    place: str


@dataclass(frozen=True, slots=True)
class VaultStateChanged:
    """The Vault monitor asked Vault.

    Attributes:
        vault: The session that was used. Of a session that a reload replaced, the answer means nothing.
        error: Why nothing can be read or written; None: Vault is available.
    """

    vault: Vault
    error: RotatorError | None


@dataclass(frozen=True, slots=True)
class JournalsChanged:
    """Commands changed journals.

    Attributes:
        api_keys: The accounts' keys; None: any journal might have changed.
    """

    api_keys: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The clock was set, or the machine was suspended."""

    step: timedelta


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process ends.

    Attributes:
        halt: Whether runs end before their next step. Otherwise they finish, but wait for nothing.
    """

    halt: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed: there might be something to do."""


Fact: TypeAlias = (
    SettingsLoaded
    | Due
    | JournalLoaded
    | JournalUnreadable
    | JournalWritten
    | RunEnded
    | DocumentSeen
    | LookFailed
    | ResyncEnded
    | BalanceRead
    | TopUpEnded
    | TaskBroke
    | VaultStateChanged
    | JournalsChanged
    | ClockStepped
    | Stopping
    | Tick
)
