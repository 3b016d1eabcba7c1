"""The tasks that the registry hands to the workers."""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from rotator.config import AccountSettings, VaultSettings
from rotator.core.balance import Reading, Rules
from rotator.fleet import Fleet, Request


@dataclass(frozen=True, slots=True)
class Target:
    """An account as it was configured when the task was handed out.

    Attributes:
        account: The account's settings.
        fleet: The configuration and the two servers.
    """

    account: AccountSettings
    fleet: Fleet

    @property
    def name(self) -> str:
        """The account's name."""
        return self.account.name

    @property
    def place(self) -> tuple[object, ...]:
        """Which documents the task is about: equal for all configurations that keep them at one place."""
        return (*place(self.fleet.settings.vault), self.account.api_key, self.account.path)


def place(vault: VaultSettings) -> tuple[object, ...]:
    """Return where these settings keep rotator's documents."""
    return vault.addresses, vault.namespace, vault.mount, vault.journal_prefix


class RunControl:
    """How the registry ends a run early."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        """Set: the run waits for nothing any more."""
        self.halt = threading.Event()
        """Set: the run ends before its next step."""

    def end(self, *, halt: bool) -> None:
        """End the run's waits, or the run before its next step."""
        self.stop.set()
        if halt:
            self.halt.set()


@dataclass(frozen=True, slots=True)
class LoadJournal:
    """Read an account's journal and do no more: a start begins nothing."""

    target: Target


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an account.

    Attributes:
        target: The account.
        request: The permission to start a rotation and to revoke.
        control: How to end it early.
    """

    target: Target
    request: Request
    control: RunControl = field(default_factory=RunControl, compare=False)


@dataclass(frozen=True, slots=True)
class Look:
    """Compare an account's documents with its record.

    Attributes:
        target: The account.
        looked_at: When its documents were read before. If they were read again meanwhile, the look is void.
    """

    target: Target
    looked_at: datetime


@dataclass(frozen=True, slots=True)
class Resync:
    """Look at accounts, one after the other."""

    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class ReadBalance:
    """Read an account's balance."""

    target: Target


@dataclass(frozen=True, slots=True)
class TopUpBalance:
    """Top an account up, if the limits allow it.

    Attributes:
        target: The account.
        reading: Its balance.
        rules: Its limits.
    """

    target: Target
    reading: Reading
    rules: Rules


AccountTask: TypeAlias = LoadJournal | Run
BackgroundTask: TypeAlias = Resync | ReadBalance | TopUpBalance
Task: TypeAlias = AccountTask | BackgroundTask
