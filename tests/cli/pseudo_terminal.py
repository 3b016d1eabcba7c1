"""The command on a terminal of its own."""

import re
import sys

from testkit.cluster import Cluster
from testkit.terminal import of_terminal, run_on_terminal


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
    code, text = run_on_terminal(
        [sys.executable, "-m", "rotator", *args],
        folder=cluster.folder,
        environment=of_terminal(cluster.environment()) | environment,
        columns=columns,
        prompt=prompt,
    )
    cluster.outputs.append(text)
    return code, text
