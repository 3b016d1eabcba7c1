"""Closed, full and broken standard streams: the work is done, and the exit code says how the accounts are."""

import subprocess
import sys

import pytest

from rotator.emulator import Operation
from testkit.cluster import PATIENCE, Cluster
from tests.cli.harness import Payments, opened

ROTATOR = f"{sys.executable} -m rotator"


def shell(cluster: Cluster, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell's command line, with `rotator` in it."""
    done = subprocess.run(
        ["bash", "-c", line.replace("rotator", ROTATOR)],
        env=cluster.environment(),
        capture_output=True,
        text=True,
        check=False,
        cwd=cluster.folder,
        timeout=2 * PATIENCE,
    )
    cluster.outputs += [done.stdout, done.stderr]
    assert "Traceback" not in done.stdout + done.stderr, done
    return done


def assert_rotated(account: Payments) -> None:
    creates = [one for one in account.cluster.emulator.requests if one.operation is Operation.CREATE]
    assert len(creates) == 1
    account.assert_works()


@pytest.mark.parametrize(
    "redirection",
    ["2>&-", ">&-", "2>/dev/full", ">/dev/full 2>/dev/full", "<&- >&- 2>&-", "| true; exit ${PIPESTATUS[0]}"],
)
def test_rotation_succeeds_when_a_stream_is_broken(payments: Payments, redirection: str) -> None:
    done = shell(payments.cluster, f"rotator rotate-now payments {redirection}")
    assert done.returncode == 0, done
    assert_rotated(payments)


def test_full_disk_under_the_output_is_reported(payments: Payments) -> None:
    done = shell(payments.cluster, "rotator rotate-now payments --json >/dev/full")
    assert done.returncode == 0, done
    assert_rotated(payments)
    last = done.stderr.splitlines()[-1]
    assert last == (
        "rotator: Standard output cannot be written: No space left on device. The exit code says how the accounts are."
    )


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "config schema",
        "config show",
        "status",
        "status --json",
        "plan",
        "rotate-now payments --dry-run",
        "check --json",
        "forecast",
        "account balance",
        "account settings payments",
        "account secrets list",
    ],
)
def test_reading_command_exits_1_when_output_is_lost(payments: Payments, command: str) -> None:
    assert shell(payments.cluster, f"rotator {command} >/dev/null").returncode == 0
    done = shell(payments.cluster, f"rotator {command} >/dev/full")
    assert done.returncode == 1, done
    last = done.stderr.splitlines()[-1]
    assert last == ("rotator: Standard output cannot be written: No space left on device. The output is incomplete.")


def test_lost_output_changes_no_other_exit_code(payments: Payments) -> None:
    done = shell(payments.cluster, "rotator status nobody --json >/dev/full")
    assert done.returncode == 2, done


@pytest.mark.parametrize("redirection", [">/dev/full", "2>&-", "| true; exit ${PIPESTATUS[0]}"])
def test_failed_account_exits_1_when_output_is_broken(cluster: Cluster, redirection: str) -> None:
    cluster.configure([opened(cluster, published=False).entry()])
    assert shell(cluster, f"rotator rotate-now payments {redirection}").returncode == 1


@pytest.mark.parametrize("command", ["--help", "config show", "status --json", "nonsense"])
def test_exit_code_is_the_same_when_nothing_reads(payments: Payments, command: str) -> None:
    plain = shell(payments.cluster, f"rotator {command} >/dev/null")
    assert shell(payments.cluster, f"rotator {command} | true; exit ${{PIPESTATUS[0]}}").returncode == plain.returncode
    assert shell(payments.cluster, f"rotator {command} >&- 2>&-").returncode == plain.returncode
