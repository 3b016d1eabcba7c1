"""How a run ends early."""

from rotator.core.protocol import Command, Fail
from rotator.errors import Code, RotatorError
from rotator.logs import redact

NOTHING_WRITTEN = "Nothing was written"


class RotationError(RotatorError):
    """The protocol stopped, with the account as it is.

    A `Fail` is shown only as such an error: its text and command can repeat what a document contains, and are masked
    here.

    Attributes:
        next_command: The command that makes progress.
    """

    def __init__(self, fail: Fail, *, unchanged: str = "") -> None:
        super().__init__(fail.what, unchanged=unchanged, next_step=fail.next_step)
        self.next_command = Command.of(*map(redact, fail.next_command.args))
        self.code = Code[fail.failure.name]


class OperatorError(RotatorError):
    """A person's command cannot be carried out as it was given.

    Attributes:
        next_command: The command that makes progress; None if no command does.
    """

    code = Code.COMMAND_REFUSED

    def __init__(self, what: str, *, unchanged: str, advice: str = "", next_command: Command | None = None) -> None:
        step = f"{advice}: {next_command}" if next_command and advice else str(next_command or advice)
        super().__init__(what, unchanged=unchanged, next_step=step)
        self.next_command = next_command


class ContentionError(RotatorError):
    """Other writers changed the account again and again."""

    code = Code.CONTENTION


class StoppedError(RotatorError):
    """The process stops before the run is complete; the next run continues."""

    code = Code.STOPPED
