"""Questions on the terminal. A signal ends a command that asks at once, and leaves the terminal as it was."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from rotator.cli.signals import NOTHING_CHANGED, InterruptedBySignal, signals_handled_by
from rotator.errors import ConfigError, RotatorError
from rotator.logs import redact


def require_asking(*, yes: bool) -> None:
    """Refuse to ask where there is no terminal.

    Raises:
        ConfigError: If there is none, and the answer is not given.
    """
    if not yes and not sys.stdin.isatty():
        raise ConfigError("There is no terminal to ask on: if you mean it, add --yes")


def ask(question: str, *, yes: bool) -> None:
    """Continue only if the user agrees.

    Raises:
        RotatorError: If the user does not, or a signal arrives.
    """
    if not yes and not confirm(question):
        raise RotatorError(NOTHING_CHANGED, next_command=None)


def confirm(question: str, *, unchanged: str = NOTHING_CHANGED) -> bool:
    """Return whether the user agrees. The question is on standard error: standard output may be a program's.

    Args:
        question: The question.
        unchanged: What the command has not changed so far.

    Raises:
        InterruptedBySignal: If a signal arrives.
    """
    with _asking(unchanged):
        typer.echo(f"{redact(question)} [y/N]: ", nl=False, err=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def read_hidden(prompt: str) -> str:
    """Return a line that the terminal does not show.

    Raises:
        RotatorError: If a signal arrives, or the input ends.
    """
    from getpass import getpass

    with _asking(NOTHING_CHANGED):
        return getpass(f"{prompt}: ")


@contextmanager
def _asking(unchanged: str) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the library's
        raise InterruptedBySignal(number, unchanged=unchanged, next_command=None)

    try:
        with signals_handled_by(on_signal):
            yield
    except InterruptedBySignal:
        typer.echo(err=True)  # ends the line of the prompt
        raise
    except EOFError:
        typer.echo(err=True)
        raise RotatorError("The input ended", unchanged=unchanged, next_command=None) from None
