"""The signals of a process while it starts.

SIGTERM and SIGINT stop the daemon, SIGHUP reloads its configuration. By default SIGHUP would end a process without a
line, SIGTERM as well, and SIGINT with a traceback. The imports alone take a third of a second, so the entry point calls
`guard_startup` before it imports more.
"""

import os
import signal
from collections.abc import Sequence
from types import FrameType

# SIGTERM last: by default Python does not handle it, so a process that handles it has guarded its start.
ENDING = (signal.SIGINT, signal.SIGTERM)
HANDLED = (*ENDING, signal.SIGHUP)
# Options of `rotator` before the command that take a value.
_WITH_VALUE = ("-c", "--config")


def guard_startup(arguments: Sequence[str]) -> None:
    """End at an early SIGTERM or SIGINT with a line: nothing is in progress yet. Keep an early SIGHUP for the daemon.

    Args:
        arguments: The command line, without the program's name.
    """
    is_daemon = _command(arguments) == "run"
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_daemon if is_daemon else _end_command)
    if is_daemon:
        # Last: a process that blocks SIGHUP has guarded its whole start.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])


def end_guard() -> None:
    """Let SIGTERM and SIGINT do again what they do by default in Python, unless they are ignored."""
    for number, default in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, default)


def _command(arguments: Sequence[str]) -> str | None:
    """Return the first argument that is neither an option nor an option's value."""
    previous = ""
    for argument in arguments:
        if not argument.startswith("-") and previous not in _WITH_VALUE:
            return argument
        previous = argument
    return None


def _end_daemon(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the library's
    _end(number, "Nothing was in progress", 0)


def _end_command(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the library's
    _end(number, "Nothing was changed", 128 + number)


def _end(number: int, left: str, code: int) -> None:
    os.write(2, f"rotator: {signal.Signals(number).name}: stopped. {left}.\n".encode())
    os._exit(code)
