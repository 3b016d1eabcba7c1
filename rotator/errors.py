"""The root of rotator's errors, the list of failure codes, and the masking of their text.

Each error class has a `code`. The code is stored in journals, shown to users and used as a metric label. It also says
whose failure it is (`Blame`). Behavior depends on codes and blame only, never on class names or message texts.

RotatorError
├── ConfigError            bad input: exit code 2, nothing was contacted or written
├── InternalError          a mistake in rotator itself
├── provider.ApiError      the provider answered badly, or not at all
├── vault.VaultError       Vault answered badly, or not at all
└── rotation.RotationError the protocol stopped, and names the next command
"""

from rotator.core.failures import Advice, Blame, Code, Command, list_of, stored_code
from rotator.logs import escape_control as visible
from rotator.logs import redact

__all__ = [
    "Advice",
    "Blame",
    "Code",
    "Command",
    "ConfigError",
    "InternalError",
    "RotatorError",
    "list_of",
    "stored_code",
    "visible",
]


class RotatorError(Exception):
    """Something an operator can act on. Every registered secret in its text is masked when the error is made.

    Args:
        what: The failure, in one sentence.
        unchanged: The parts that it left unchanged ("" where that is obvious).
        next_step: The advice, or the purpose of the command ("" if nothing helps).
        next_command: The command; None: the one that the failure's code names, if it names one.

    Attributes:
        own_command: The command that the raiser named.
        general: A better command than that of the code, for a message without one of its own.
    """

    exit_code = 1
    code = Code.OTHER
    """Kind of failure."""
    maybe_done = False
    """Whether the failed operation might have been carried out."""

    def __init__(
        self, what: str, *, unchanged: str = "", next_step: str = "", next_command: Command | None = None
    ) -> None:
        self.what = redact(what)
        self.unchanged = redact(unchanged)
        self.next_step = redact(next_step)
        self.own_command = _masked(next_command)
        self.general: Advice | None = None
        super().__init__(self.what)

    @property
    def blame(self) -> Blame:
        """Whose failure it is."""
        return self.code.blame

    @property
    def next_command(self) -> Command | None:
        """The command that the message names; None if it names none."""
        return self._advice[-1].command

    def advise(self, advice: Advice) -> None:
        """Name a better command than that of the code, where the message names none of its own."""
        self.general = Advice(redact(advice.purpose), _masked(advice.command))

    @property
    def _advice(self) -> list[Advice]:
        own = Advice(self.next_step, self.own_command)
        general = self.general or self.code.advice
        return [own] if self.own_command is not None or general is None else [own, general]

    def __str__(self) -> str:
        parts = (self.what, self.unchanged, *map(str, self._advice))
        return visible(" ".join(part if part.endswith("?") else part.rstrip(".") + "." for part in parts if part))


class ConfigError(RotatorError):
    """The configuration or the command line is wrong; nothing was written anywhere."""

    exit_code = 2
    code = Code.CONFIGURATION


class InternalError(RotatorError):
    """A mistake in rotator itself.

    Args:
        task: The task that it prevents, as in "ask Vault".
        place: The place that raised it. Its text is not repeated, because it might contain a secret.
    """

    code = Code.INTERNAL_ERROR

    def __init__(self, task: str, *, place: str) -> None:
        super().__init__(f"rotator cannot {task}: an internal error at {place}", next_step="Please report it")


def _masked(command: Command | None) -> Command | None:
    """Arguments can repeat what a document contains."""
    return None if command is None else Command.of(*map(redact, command.args))
