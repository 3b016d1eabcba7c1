"""What the machine's other processes can learn of a rotator that runs: a real one, and without root's privileges."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

# Root may look into everything: what others may is seen only without the capabilities that let it.
UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
ENVIRONMENT = {"VAULT_TOKEN": "canary-token-0001", "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}


def start(arguments: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen([*UNPRIVILEGED, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def rotator() -> Iterator["subprocess.Popen[str]"]:
    """A command that runs until it is told not to."""
    command = ["-m", "rotator", "emulator", "--port", "0", "--account", "abcd1234:Secret12345"]
    process = start([sys.executable, *command])
    assert process.stdout is not None
    with process:
        assert process.stdout.readline().startswith("The Account API is at"), "it is hardened before it does anything"
        yield process
        process.terminate()


def read_as_the_same_user(path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*UNPRIVILEGED, "cat", path], capture_output=True, text=True, check=False)


def test_crash_leaves_no_core_dump(rotator: "subprocess.Popen[str]") -> None:
    limits = Path(f"/proc/{rotator.pid}/limits").read_text()
    (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core[4:6] == ["0", "0"], limits


@pytest.mark.parametrize("what", ["environ", "mem", "auxv"])
def test_process_files_are_readable_by_root_only(rotator: "subprocess.Popen[str]", what: str) -> None:
    path = Path(f"/proc/{rotator.pid}/{what}")
    assert path.stat().st_uid == 0
    assert "Permission denied" in read_as_the_same_user(path).stderr


def test_unhardened_process_shows_its_environment() -> None:
    """So that the refusal above is rotator's doing, and not this machine's."""
    with start(["sh", "-c", "echo up; sleep 60 & wait"]) as plain:
        assert plain.stdout is not None
        assert plain.stdout.readline() == "up\n"
        path = Path(f"/proc/{plain.pid}/environ")
        assert "canary-token-0001" in read_as_the_same_user(path).stdout
        plain.terminate()
