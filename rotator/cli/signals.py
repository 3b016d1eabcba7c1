"""SIGINT and SIGTERM to a command.

A command that has changed nothing ends at once. A command that is changing something ends after the step in progress,
and at a second signal at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rotator.cli import exit_codes
from rotator.cli.failure import report, write
from rotator.errors import Code, Command, RotatorError
from rotator.startup_signals import ENDING

NOTHING_CHANGED = "Nothing was changed"
_SHOW_CURSOR = b"\x1b[?25h"


class InterruptedBySignal(RotatorError):
    """A signal ended the command.

    Args:
        number: The signal.
        unchanged: What is known about changes.
        next_command: The command that shows what changed; None if nothing did.
    """

    code = Code.STOPPED

    def __init__(self, number: int, *, unchanged: str, next_command: Command | None) -> None:
        next_step = "" if next_command is None else "Look before you try again"
        what = f"{signal.Signals(number).name}: stopped"
        super().__init__(what, unchanged=unchanged, next_step=next_step, next_command=next_command)
        self.exit_code = exit_codes.of_signal(number)


class CommandSignals:
    """The signals that a command on accounts receives.

    Attributes:
        stop: Set by the first signal after `begin_change`.
        received: That signal; None: there was none.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.received: int | None = None
        self._look: Command | None = None
        self._as_json = False

    @property
    def is_changing(self) -> bool:
        """Whether the command has begun to change something."""
        return self._look is not None

    def install(self, *, as_json: bool) -> None:
        """Receive the signals from now on.

        Args:
            as_json: Whether a program reads the standard output.
        """
        self._as_json = as_json
        for number in ENDING:
            signal.signal(number, self._receive)

    def begin_change(self, look: Command) -> None:
        """End at the first signal only after the step in progress, from now on.

        Args:
            look: The command that shows what a step did whose outcome is not known.
        """
        self._look = look

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is the library's
        if self._look is None:
            self._end(InterruptedBySignal(number, unchanged=NOTHING_CHANGED, next_command=None))
        if self.received is not None:
            self._end(InterruptedBySignal(number, unchanged="The outcome is not known", next_command=self._look))
        self.received = number
        self.stop.set()
        name = signal.Signals(number).name
        sentences = "stopping after the step in progress. A second signal ends the command at once."
        write(f"rotator: {name}: {sentences}", sys.stderr)

    def _end(self, error: InterruptedBySignal) -> NoReturn:
        """End the process, without waiting for threads that wait for a server."""
        report(error, as_json=self._as_json)
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # the line of progress has hidden it
        os._exit(error.exit_code)


@contextmanager
def signals_handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function receive SIGINT and SIGTERM as long as the block runs."""
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
