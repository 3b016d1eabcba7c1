"""Programs on a terminal of their own."""

import os
import pty
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# They would change what a terminal shows.
_UNSET = ("COLUMNS", "LINES", "NO_COLOR")


def of_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as that of a terminal with colors, of whatever size it is."""
    kept = {name: value for name, value in environment.items() if name not in _UNSET}
    return kept | {"TERM": "xterm-256color"}


def press_enter(process: "subprocess.Popen[bytes]", terminal: int) -> None:
    """Answer a prompt with an empty line."""
    os.write(terminal, b"\n")


def run_on_terminal(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    columns: int = 80,
    prompt: str = "",
    answer: Callable[["subprocess.Popen[bytes]", int], None] = press_enter,
) -> tuple[int, str]:
    """Run a program on a terminal of its own.

    Args:
        command: The program and its arguments.
        folder: Its working directory.
        environment: Its variables.
        columns: The width of the terminal.
        prompt: The end of a prompt.
        answer: Answers the prompt; it receives the process and the descriptor of the terminal.

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
            answer(process, leader)
    echoes = bool(termios.tcgetattr(leader)[3] & termios.ECHO)
    os.close(leader)
    assert echoes, "the program left a terminal that shows no input"
    return process.wait(), shown.decode().replace("\r\n", "\n")
