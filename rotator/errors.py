"""The root of rotator's errors, the list of failure codes, and the masking of their text.

Each error class has a `code`. The code is stored in journals, shown to users and used as a metric label. It also says
whose failure it is (`Blame`). Behavior depends on codes and blame only, never on class names or message texts.

RotatorError
├── ConfigError            bad input: exit code 2, nothing was contacted or written
├── account_api.ApiError   the provider answered badly, or not at all
├── vault.VaultError       Vault answered badly, or not at all
└── rotation.RotationError the protocol stopped, and names the next command
"""

from rotator.core.failures import Blame, Code, stored_code
from rotator.logs import escape_control as visible
from rotator.logs import redact

__all__ = ["Blame", "Code", "ConfigError", "RotatorError", "stored_code", "visible"]


class RotatorError(Exception):
    """Something an operator can act on. Every registered secret in its text is masked when the error is made.

    Args:
        what: The failure, in one sentence.
        unchanged: The parts that it left unchanged ("" where that is obvious).
        next_step: The advice, a command if there is one ("" if nothing helps).
    """

    exit_code = 1
    code = Code.OTHER
    """Kind of failure."""
    maybe_done = False
    """Whether the failed operation might have been carried out."""

    def __init__(self, what: str, *, unchanged: str = "", next_step: str = "") -> None:
        self.what = redact(what)
        self.unchanged = redact(unchanged)
        self.next_step = redact(next_step)
        super().__init__(self.what)

    @property
    def blame(self) -> Blame:
        """Whose failure it is."""
        return self.code.blame

    def __str__(self) -> str:
        parts = (self.what, self.unchanged, self.next_step)
        return visible(" ".join(part if part.endswith("?") else part.rstrip(".") + "." for part in parts if part))


class ConfigError(RotatorError):
    """The configuration or the command line is wrong; nothing was written anywhere."""

    exit_code = 2
    code = Code.CONFIGURATION
