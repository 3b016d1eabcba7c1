"""How a run ends early."""

from rotator.core.protocol import Command, Fail
from rotator.errors import Code, RotatorError

NOTHING_WRITTEN = "Nothing was written"
# Once an adoption has acquired the lease, it has written the journal.
NOTHING_PUBLISHED = "Nothing was published"
# `resolve` can carry out an ordinary run before it knows the unknown secrets.
NONE_REVOKED = "No unknown secret was revoked"


class RotationError(RotatorError):
    """The protocol stopped, with the account as it is.

    A `Fail` is shown only as such an error: its text and command can repeat what a document contains, and are masked
    here.

    Args:
        fail: The step at which it stopped.
        unchanged: The parts that it left unchanged.
        answer: The provider's answer, as the end of the finding; empty if it is about none.
    """

    def __init__(self, fail: Fail, *, unchanged: str = "", answer: str = "") -> None:
        super().__init__(fail.what + answer, unchanged=unchanged, next_step=fail.advice, next_command=fail.next_command)
        self.code = Code[fail.failure.name]


class OperatorError(RotatorError):
    """A person's command cannot be carried out as it was given.

    Args:
        advice: The purpose of the command; without a command, the reason why none helps.
        next_command: The command that makes progress; None if no command does.
    """

    code = Code.COMMAND_REFUSED

    def __init__(self, what: str, *, unchanged: str, advice: str, next_command: Command | None) -> None:
        super().__init__(what, unchanged=unchanged, next_step=advice, next_command=next_command)


class NotAdoptedError(RotatorError):
    """Nothing was ever published for the account, nor for its primary account: nothing is wrong yet."""

    code = Code.NOT_ADOPTED


class PublishedLostError(RotatorError):
    """Consumers of the primary account cannot read its secret any more."""

    code = Code.PUBLISHED_LOST


class ForeignPrimaryError(RotatorError):
    """The published document of the primary account belongs to another account."""

    code = Code.FOREIGN_DOCUMENT


class ContentionError(RotatorError):
    """Other writers changed the account again and again."""

    code = Code.CONTENTION


class StoppedError(RotatorError):
    """The process stops before the run is complete; the next run continues."""

    code = Code.STOPPED
