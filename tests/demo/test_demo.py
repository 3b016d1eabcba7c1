"""The demo as a newcomer runs it: it shows what it promises, ends by itself and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testkit.cluster import PATIENCE, eventually


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def start(folder: Path, *args: str) -> "subprocess.Popen[str]":
    """Start the demo with its temporary files in a folder of the test's, and a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rotator", "demo", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
    )


def assert_gone(folder: Path, address: str) -> None:
    assert list(folder.iterdir()) == [], "temporary files are left"

    def gone() -> bool:
        try:
            httpx.get(f"{address}/v1/sys/health", timeout=PATIENCE)
        except httpx.TransportError:
            return True
        return False

    eventually(gone, what=lambda: "OpenBao is still running")


def address_in(text: str) -> str:
    return next(word for line in text.splitlines() if "OpenBao" in line for word in line.split() if "http" in word)


def test_demo_rotates_accounts_without_refusing_its_consumer(folder: Path) -> None:
    process = start(folder, "--json")
    out, err = process.communicate(timeout=5 * PATIENCE)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result.keys() == {"accounts", "rotated", "verified", "revoked", "consumer_checks", "consumer_failures"}
    assert result["accounts"] == result["rotated"] == result["verified"] == 3
    assert result["revoked"] == 4, "each first secret, and the one that the primary brought shop in with"
    assert result["consumer_checks"] > 50
    assert result["consumer_failures"] == 0
    assert all(len(line) <= 80 for line in err.splitlines()), err
    assert_gone(folder, address_in(err))


def test_demo_cleans_up_after_ctrl_c(folder: Path) -> None:
    process = start(folder, "--json")
    assert process.stderr is not None
    first = process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert_gone(folder, address_in(first))


def test_demo_ends_its_server_when_killed(folder: Path) -> None:
    process = start(folder, "--json")
    assert process.stderr is not None
    address = address_in(process.stderr.readline())
    process.kill()
    process.communicate(timeout=PATIENCE)
    for left in list(folder.iterdir()):  # nobody is left to remove them
        for file in left.iterdir():
            file.unlink()
        left.rmdir()
    assert_gone(folder, address)


def test_demo_prints_working_commands_when_kept(folder: Path) -> None:
    process = start(folder, "--keep")
    assert process.stdout is not None
    said = ""
    while "bao kv get" not in said:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said += line
    config = next(line.split("=")[1].strip() for line in said.splitlines() if "ROTATOR_CONFIG=" in line)
    status = subprocess.run(
        [sys.executable, "-m", "rotator", "status", "--json"],
        env=os.environ | {"ROTATOR_CONFIG": config},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {account["state"] for account in json.loads(status.stdout)["accounts"]} == {"idle"}
    token = (Path(config).parent / "token").read_text()
    assert token not in said
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert_gone(folder, address_in(said))
