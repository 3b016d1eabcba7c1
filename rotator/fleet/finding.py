"""The results of `rotator check`."""

from dataclasses import dataclass
from enum import StrEnum

from rotator.errors import RotatorError


class State(StrEnum):
    """Result of one check."""

    OK = "ok"
    NOTE = "note"  # something that rotator can do without
    TO_DO = "to_do"  # an account is not adopted yet
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        state: Whether it works.
        what: The finding, as a sentence.
        exit_code: The exit code of a command that needs it, if it failed.
    """

    state: State
    what: str
    exit_code: int = 0

    @classmethod
    def of(cls, error: RotatorError) -> "Finding":
        """Return the finding that an error is."""
        return cls(State.FAILED, str(error), error.exit_code)

    @property
    def ok(self) -> bool:
        """Whether nothing fails because of it."""
        return self.state is not State.FAILED
