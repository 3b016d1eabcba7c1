"""The usual account, and the command in this process: what the tests of all commands need."""

import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
import typer.main
from pydantic import SecretStr

from rotator.cli.app import app, main
from rotator.core.generator import Recipe, generate
from rotator.emulator import Account, Operation
from testkit.cluster import Cluster, Finished, eventually

CHANGING = (Operation.CREATE, Operation.REVOKE)


STANZA = re.compile(r'path "[^"]+" \{ capabilities = \[[^\]]*\] \}')


@dataclass
class Payments:
    """The usual account: `payments`, whose secret is published and which rotator does not know yet."""

    cluster: Cluster
    first: SecretStr
    name: str = "payments"
    api_key: str = "abcd1234"
    path: str = "apps/payments"

    @property
    def live(self) -> list[str]:
        """The ids of its live secrets, oldest first."""
        return list(self.cluster.emulator.live(self.api_key))

    def entry(self, **more: Any) -> dict[str, Any]:
        return {"name": self.name, "api_key": self.api_key, "path": self.path} | more

    def assert_adopted(self) -> None:
        """The brought secret is published. Its id is not, before several lists have shown it."""
        document, current = self.cluster.document(self.path), self.cluster.journal(self.name)["current_id"]
        assert document["api_secret"] == self.first.get_secret_value()
        assert document["secret_id"] is None
        assert (current["id"], current["learned"]) == (self.live[0], "pending")

    def identify(self) -> None:
        """Run until the id of the published secret is certain."""

        def certain() -> bool:
            finished = self.cluster.run("rotate-now", self.name, "--due")
            assert finished.code == 0, finished
            return bool(self.cluster.document(self.path)["secret_id"])

        eventually(certain, what=lambda: self.cluster.journal(self.name))

    def assert_works(self) -> None:
        """The published secret is live, under the id that is published with it."""
        document = self.cluster.document(self.path)
        live = self.cluster.emulator.live(self.api_key)
        assert live[document["secret_id"]].get_secret_value() == document["api_secret"]


def opened(cluster: Cluster, name: str = "payments", api_key: str = "abcd1234", *, published: bool = True) -> Payments:
    made = Payments(cluster, generate(Recipe()), name, api_key, f"apps/{name}")
    cluster.emulator.open_account(Account(api_key, made.first))
    cluster.remember(made.first.get_secret_value())
    if published:
        cluster.put(made.path, {"api_secret": made.first.get_secret_value()})
    return made


@pytest.fixture
def payments(cluster: Cluster) -> Payments:
    made = opened(cluster)
    cluster.configure([made.entry()])
    return made


def everything(cluster: Cluster) -> dict[str, Any]:
    """All that a command could have changed: every document and version below the mount, every live secret."""
    documents: dict[str, Any] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        listed = cluster.vault("GET", f"{cluster.mount}/metadata/{folder}?list=true", missing_ok=True)
        for key in listed["data"]["keys"] if listed else []:
            if key.endswith("/"):
                folders.append(folder + key)
            else:
                documents[folder + key] = cluster.vault("GET", f"{cluster.mount}/metadata/{folder}{key}")["data"]
    return {
        "documents": documents,
        "live": {key: dict(cluster.emulator.live(key)) for key in cluster.emulator.api_keys},
        "changing requests": [request for request in cluster.emulator.requests if request.operation in CHANGING],
    }


def said(finished: Finished) -> str:
    """The one line that a command which was refused printed, besides its log."""
    assert "Traceback" not in finished.err + finished.out, finished
    lines = [line for line in finished.err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, finished
    assert lines[0].startswith("rotator: "), finished
    assert not finished.out, finished
    return lines[0].removeprefix("rotator: ")


Here = Callable[..., Finished]


@pytest.fixture
def here(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """The command in this process: for what needs no process of its own, at a tenth of the price."""

    def run(*args: str, **environment: str) -> Finished:
        monkeypatch.setenv("VAULT_TOKEN", cluster.bao.root_token.get_secret_value())
        monkeypatch.setenv("ROTATOR_CONFIG", str(cluster.config))
        monkeypatch.setattr(sys, "argv", ["rotator", *args])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        cluster.outputs += [out, err]
        code = ended.value.code
        return Finished(args, code if isinstance(code, int) else int(bool(code)), out, err)

    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loggers = {name: logging.getLogger(name) for name in (None, "httpx", "httpcore", "urllib3")}
    before = {name: (logger.level, list(logger.handlers)) for name, logger in loggers.items()}
    yield run
    for number, handler in signals.items():
        signal.signal(number, handler)
    for name, (level, handlers) in before.items():
        loggers[name].setLevel(level)
        loggers[name].handlers[:] = handlers
    structlog.reset_defaults()


def token_with(cluster: Cluster, name: str, *stanzas: str) -> str:
    """A token that may do that and no more; what Vault calls default, if there is no more."""
    if stanzas:
        cluster.vault("PUT", f"sys/policies/acl/{name}", {"policy": "\n".join(stanzas)})
    made = cluster.vault("POST", "auth/token/create", {"policies": [name], "ttl": "1h"})
    token = str(made["auth"]["client_token"])
    cluster.remember(token)
    return token


def a_colourful_fleet(cluster: Cluster) -> dict[str, Payments]:
    """One account of every kind that a table has to show, the ambiguous one and a long name included."""
    made = {
        name: opened(cluster, name, f"key{number}", published=name != "missing")
        for number, name in enumerate(["new", "overlap", "ambiguous", "missing", "off", "a-" + "long-" * 8 + "name"])
    }
    cluster.configure(
        [account.entry(grace="1h" if name != "off" else "0", enabled=name != "off") for name, account in made.items()]
    )
    cluster.remember("Stranger0Stranger1")
    cluster.emulator.add_secret(made["ambiguous"].api_key, SecretStr("Stranger0Stranger1"))
    return made


def assert_table(text: str, *columns: str) -> dict[str, str]:
    """Its rows by account: one line each, under headings that they are in line with."""
    header, *lines = text.splitlines()
    assert re.fullmatch(r" +".join(columns) + " *", header), header
    assert not re.search(r"[│┃━╇…\x1b]", text), "a frame, a colour or something cut off"
    starts = [header.index(column) for column in columns]
    rows = {}
    for line in lines:
        assert all(line[start - 1] == " " for start in starts[1:] if start < len(line)), f"out of line: {line}"
        rows[line.split()[0]] = line.rstrip()
    assert len(rows) == len(lines) > 0
    return rows


def commands() -> list[tuple[str, Any]]:
    """Every command by what is typed for it."""
    found: list[tuple[str, Any]] = []
    groups: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    while groups:
        path, command = groups.pop()
        children = getattr(command, "commands", None)
        if children is None:
            found.append((path, command))
        else:
            groups += [(f"{path} {name}".strip(), child) for name, child in children.items()]
    return found
