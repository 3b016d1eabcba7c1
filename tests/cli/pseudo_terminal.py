"""The command on a terminal of its own."""

import re
import subprocess
import sys
from collections.abc import Callable

from testkit.cluster import Cluster
from testkit.terminal import of_terminal, press_enter, run_on_terminal


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def on_terminal(
    cluster: Cluster,
    *args: str,
    columns: int = 80,
    prompt: str = "",
    answer: Callable[["subprocess.Popen[bytes]", int], None] = press_enter,
    **environment: str,
) -> tuple[int, str]:
    """Run the command on a terminal of its own; its exit code and everything that it showed there.

    Args:
        cluster: The servers.
        args: The command.
        columns: The width of the terminal.
        prompt: The end of a prompt.
        answer: Answers the prompt; it receives the process and the descriptor of the terminal.
        environment: Variables of the command.
    """
    code, text = run_on_terminal(
        [sys.executable, "-m", "rotator", *args],
        folder=cluster.folder,
        environment=of_terminal(cluster.environment()) | environment,
        columns=columns,
        prompt=prompt,
        answer=answer,
    )
    cluster.outputs.append(text)
    return code, text
