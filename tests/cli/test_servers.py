"""`rotator emulator`: its options, and its control token."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from testkit.cluster import PATIENCE
from tests.emulator.harness import BALANCE, CONTROL_TOKEN, KEY, NO_TRUST, SECRET, SETTINGS, TOP_UP, document, refusal


@contextmanager
def asking_emulator(options: str) -> Iterator[httpx.Client]:
    """Run the command with these options as long as the block runs; yield a client of it."""
    arguments = [sys.executable, "-m", "rotator", "emulator", "--port", "0", "--account", f"{KEY}:{SECRET}"]
    with subprocess.Popen([*arguments, *options.split()], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert found is not None
            with httpx.Client(
                base_url=found[0], auth=(KEY, SECRET), verify=NO_TRUST, trust_env=False, timeout=PATIENCE
            ) as client:
                yield client
        finally:
            server.send_signal(signal.SIGINT)


def test_command_serves_a_revision_and_a_limit() -> None:
    options = "--revision 1.0.4 --limit 2/h --reset-unit s --no-retry-after"
    with asking_emulator(options) as client:
        assert [client.get(BALANCE).headers["x-ratelimit-remaining"] for _ in range(2)] == ["1", "0"]
        refused = client.get(BALANCE)
        document(refused, 429)
        assert "retry-after" not in refused.headers
        assert len(refused.headers["x-ratelimit-reset"]) == 10


@pytest.mark.parametrize("source", ["file", "variable", "generated"])
def test_command_takes_or_prints_the_control_token(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [sys.executable, "-m", "rotator", "emulator", "--port", "0", "--account", f"{KEY}:{SECRET}"]
    token = CONTROL_TOKEN
    if source == "file":
        (tmp_path / "token").write_text(f"{token}\n")
        (tmp_path / "token").chmod(0o600)
        arguments += ["--control-token-file", str(tmp_path / "token")]
    elif source == "variable":
        monkeypatch.setenv("ROTATOR_EMULATOR_TOKEN", token)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split(" at ")[1].split(" ")[0]
            if source == "generated":
                token = server.stdout.readline().rsplit(" ", 1)[1].strip()
            for sent, status in [("Wrong12345", 401), (token, 204)]:
                headers = {"Authorization": f"Bearer {sent}"}
                changed = httpx.delete(
                    f"{url}/_emulator/faults", headers=headers, verify=NO_TRUST, trust_env=False, timeout=PATIENCE
                )
                assert changed.status_code == status
        finally:
            server.send_signal(signal.SIGINT)
            printed = server.stdout.read() if server.stdout is not None else ""
    assert CONTROL_TOKEN not in printed


@pytest.mark.parametrize("options", [["--revision", "1.0.5"], ["--limit", "30"], ["--reset-unit", "h"]])
def test_command_refuses_an_unreadable_option(options: list[str]) -> None:
    arguments = [sys.executable, "-m", "rotator", "emulator", "--port", "0", "--account", f"{KEY}:{SECRET}"]
    done = subprocess.run([*arguments, *options], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert options[1] in done.stderr
    assert "Traceback" not in done.stderr


def test_command_passes_options_to_the_emulator() -> None:
    options = "--balance 2.5 --top-up 1.25 --auto-reload --max-calls-per-second 4 --check-callbacks"
    with asking_emulator(options) as client:
        assert client.post(TOP_UP, data={"trx": "1"}).status_code == 200
        assert client.get(BALANCE).json() == {"value": 3.75, "autoReload": True}
        assert client.post(SETTINGS).json()["max-calls-per-second"] == 4
        refused = client.post(SETTINGS, data={"moCallBackUrl": "http://192.0.2.1/"})
        assert "loopback" in refusal(refused, 420)
