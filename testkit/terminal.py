"""Programs on a terminal of their own."""

import os
import pty
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

# They would change what a terminal shows.
_UNSET = ("COLUMNS", "LINES", "NO_COLOR")


def of_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as that of a terminal with colors, of whatever size it is."""
    kept = {name: value for name, value in environment.items() if name not in _UNSET}
    return kept | {"TERM": "xterm-256color"}


def run_on_terminal(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], columns: int = 80, prompt: str = ""
) -> tuple[int, str]:
    """Run a program on a terminal of its own.

    Args:
        command: The program and its arguments.
        folder: Its working directory.
        environment: Its variables.
        columns: The width of the terminal.
        prompt: The end of a prompt that is answered with Enter.

    Returns:
        Its exit code and everything that it showed, colors included.
    """
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break  # the last process closed the terminal
        if not piece:
            break
        shown += piece
        if prompt and shown.decode(errors="ignore").endswith(prompt):
            os.write(leader, b"\n")
    os.close(leader)
    return process.wait(), shown.decode().replace("\r\n", "\n")
