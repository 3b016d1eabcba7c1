"""Signals to `rotator run` while it starts, sent to a real process at events of its start."""

import signal
from pathlib import Path

import pytest

from testkit.cluster import Cluster, Running, eventually
from tests.daemon.test_daemon import open_accounts

# What the process has done when the signal is sent: guarded its start, or imported this module.
GUARDED = "guarded"
MOMENTS = [
    GUARDED,
    "typer",
    "rotator.cli.app",
    "rotator.config.settings",
    "rotator.vault.vault",
    "rotator.daemon.daemon",
]
FROM_THE_START = {"PYTHONPROFILEIMPORTTIME": "1"}


def wait_until(running: Running, moment: str) -> None:
    """Wait for a moment of the start. Python prints a line after each import."""
    process = running.process.popen
    if moment == GUARDED:
        status = Path(f"/proc/{process.pid}/status")
        eventually(lambda: _blocks_sighup(status.read_text()), what=lambda: running)
    else:
        eventually(lambda: any(f"| {moment}\n" in _unspaced(one["event"]) for one in running.events))


def _unspaced(line: str) -> str:
    return " ".join(line.split()) + "\n"


def _blocks_sighup(status: str) -> bool:
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) & 1 << signal.SIGHUP - 1)


@pytest.mark.parametrize("moment", MOMENTS)
def test_early_sighup_reloads_the_configuration(cluster: Cluster, moment: str) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    with cluster.daemon(env=FROM_THE_START) as daemon:
        wait_until(daemon, moment)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        daemon.wait_until_ready()
        assert daemon.end() == 0
    assert daemon.find("daemon.stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", MOMENTS)
def test_early_stop_exits_with_0_and_a_line(cluster: Cluster, moment: str, number: signal.Signals) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    with cluster.daemon(env=FROM_THE_START) as daemon:
        wait_until(daemon, moment)
        assert daemon.end(number) == 0
    line = f"rotator: {number.name}: stopped. Nothing was in progress.\n"
    assert daemon.find(line) or daemon.find("daemon.stopped")
