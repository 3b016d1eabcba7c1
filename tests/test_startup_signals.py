"""Signals before the command is imported: which of them wait for the daemon."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "guarded"),
    [
        (["run"], True),
        (["-c", "config.toml", "run", "--shard", "0/2"], True),
        (["--config", "run", "run"], True),
        (["--config=run", "run"], True),
        (["rotate-now", "run"], False),
        (["-c", "run", "status"], False),
        (["--version"], False),
        ([], False),
    ],
)
def test_guard_startup_keeps_sighup_for_the_daemon_only(arguments: list[str], guarded: bool) -> None:
    program = (
        "import signal, sys; from rotator.startup_signals import guard_startup; guard_startup(sys.argv[1:]); "
        "print(signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, []), "
        "signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(guarded), "True"]


def test_guard_startup_leaves_an_ignored_signal_ignored() -> None:
    """A shell ignores SIGINT for what it runs in the background."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "from rotator.startup_signals import guard_startup; guard_startup(['run']); "
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
