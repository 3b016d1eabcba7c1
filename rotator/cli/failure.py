"""How a command says that it failed as a whole."""

import os
import sys
from typing import TextIO

from rotator.errors import RotatorError
from rotator.logs import redact


def report(error: RotatorError, *, as_json: bool) -> None:
    """Print the error on standard error; for programs also as one JSON object on standard output.

    The keys are those of an account of `rotate-now --json`.
    """
    text = redact(str(error))  # the process can have read more secrets since the error was made
    write("\n".join(f"rotator: {line}" for line in text.split("\n")), sys.stderr)
    if as_json:
        print_failure(error)


def print_failure(error: RotatorError) -> None:
    """Print the error as one JSON object on standard output."""
    import json

    command = error.next_command
    failure = {
        "error": redact(str(error)),
        "reason": error.code.value,
        "next_command": list(map(redact, command.args)) if command else None,
    }
    write(json.dumps(failure, indent=2), sys.stdout)


def write(text: str, stream: TextIO) -> None:
    """Write a line at once. A handler of a signal may do so, too."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except RuntimeError:  # the signal interrupted this thread while it wrote to the same stream
        os.write(stream.fileno(), f"{text}\n".encode())
