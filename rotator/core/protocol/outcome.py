"""How a run over one account ended."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rotator.core.failures import Blame, Code, Command, stored_code
from rotator.core.protocol.asked import Asked
from rotator.core.protocol.journal import Journal, Phase, Request, Trigger


class Result(StrEnum):
    """How a run over one account ended."""

    OK = "ok"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a run over one account.

    Attributes:
        phase: The account's phase now; None if that could not be read.
        published: This run published a new secret.
        revoked: The ids that this run revoked.
        reason: Why there is nothing more to do at the moment, or the failure's code.
        until: When there will be.
        error: The failure, the unchanged state and the next step.
        next_command: The command that makes progress, as arguments; None if no command is necessary.
        resume_at: When a command may run again to continue; None if that is left to a later run.
        trigger: Why the rotation in hand, or the last one, began.
        conflicts: How often another instance was ahead with a write.
        journal: The journal as this run left it; None if it could not be read.
        refresh_at: When a run has to write a document again, by this instance's clock; None: none expires.
        journal_is_unknown: Whether Vault did not answer a write of the journal, and might have applied it.
        asked: The request that the command made; None if it made none.
        repeat: The command that repeats this request, which began no rotation because another secret was published
            before it was recorded; None if that did not happen.
    """

    account: str
    result: Result
    phase: Phase | None = None
    published: bool = False
    revoked: tuple[str, ...] = ()
    reason: str | None = None
    until: datetime | None = None
    error: str | None = None
    next_command: Command | None = None
    resume_at: datetime | None = None
    rotation_id: str | None = None
    trigger: Trigger | None = None
    conflicts: int = 0
    journal: Journal | None = None
    journal_is_unknown: bool = False
    refresh_at: datetime | None = None
    asked: Asked | None = None
    repeat: Command | None = None

    @property
    def recorded_request(self) -> Request | None:
        """The request in the journal that does what the command asked for; None if there is none."""
        if self.asked is None or self.journal is None:
            return None
        return self.asked.recorded_in(self.journal)

    @property
    def code(self) -> Code | None:
        """The failure's code; None if the run did not fail."""
        return stored_code(self.reason or "") if self.result is Result.FAILED else None

    @property
    def blame(self) -> Blame | None:
        """Whose failure it is; None if the run did not fail."""
        return self.code.blame if self.code else None
