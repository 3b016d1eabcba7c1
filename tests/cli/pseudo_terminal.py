"""The command on a terminal of its own."""

import os
import pty
import re
import subprocess
import sys
import termios

from testkit.cluster import Cluster


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def on_terminal(
    cluster: Cluster, *args: str, columns: int = 80, prompt: str = "", **environment: str
) -> tuple[int, str]:
    """Run the command on a terminal of its own; its exit code and everything that it showed there.

    Args:
        cluster: The servers.
        args: The command.
        columns: The width of the terminal.
        prompt: The end of a prompt that is answered with Enter.
        environment: Variables of the command.
    """
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    env = {key: value for key, value in cluster.environment().items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "rotator", *args],
        env=env | {"TERM": "xterm-256color"} | environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=cluster.folder,
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
    code, text = process.wait(), shown.decode().replace("\r\n", "\n")
    cluster.outputs.append(text)
    return code, text
