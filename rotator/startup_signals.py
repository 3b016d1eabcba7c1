"""The signals of `rotator run` while its process starts.

SIGTERM and SIGINT stop the daemon, SIGHUP reloads its configuration. By default SIGHUP would end a process without a
line, and the imports alone take a third of a second. So the entry point calls `guard_startup` before it imports more.
"""

import os
import signal
from collections.abc import Sequence
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Options of `rotator` before the command that take a value.
_WITH_VALUE = ("-c", "--config")


def guard_startup(arguments: Sequence[str]) -> None:
    """Keep an early SIGHUP for the daemon, and end at an early SIGTERM or SIGINT: nothing is in progress yet.

    Other commands keep Python's defaults.

    Args:
        arguments: The command line, without the program's name.
    """
    if _command(arguments) != "run":
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    # Last: a process that blocks SIGHUP has guarded its whole start.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])


def _command(arguments: Sequence[str]) -> str | None:
    """Return the first argument that is neither an option nor an option's value."""
    previous = ""
    for argument in arguments:
        if not argument.startswith("-") and previous not in _WITH_VALUE:
            return argument
        previous = argument
    return None


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the library's
    os.write(2, f"rotator: {signal.Signals(number).name}: stopped. Nothing was in progress.\n".encode())
    os._exit(0)
