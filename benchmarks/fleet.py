"""What the soak and the fault campaign are made of: accounts, daemons, consumers, and the look at how it ended."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from rotator.core.generator import Recipe, generate
from rotator.core.protocol import Identity, Journal, Learned
from rotator.demo import free_port
from rotator.documents import render_journal
from rotator.emulator import Account, Emulator
from rotator.vault import Vault

Ask = Callable[..., dict[str, Any]]
"""Asks Vault as root: `Admin`, or `RaftCluster.ask`."""


def open_account(emulator: Emulator, vault: Ask, name: str, primary: str | None = None) -> dict[str, str]:
    """A new account with a published secret, as a secondary of another one if that is named; its configuration."""
    first = generate(Recipe())
    emulator.open_account(Account(f"key{name}", first), primary=primary and f"key{primary}")
    vault("POST", f"secret/data/apps/{name}", {"data": {"api_secret": first.get_secret_value()}})
    entry = {"name": name, "api_key": f"key{name}", "path": f"apps/{name}"}
    return entry | ({"primary": primary} if primary else {})


def open_managed_account(emulator: Emulator, vault: Vault, name: str, rotated_at: datetime) -> dict[str, str]:
    """Open an account that rotator manages already: its secret, its published document, its journal.

    Args:
        emulator: The provider.
        vault: Where both documents are written.
        name: The account's name.
        rotated_at: When the published secret came to be, by the journal.

    Returns:
        The account's entry in the configuration.
    """
    api_key, path = f"key{name}", f"apps/{name}"
    secret = generate(Recipe())
    emulator.open_account(Account(api_key, secret))
    [id_] = emulator.live(api_key)
    vault.write(path, {"api_key": api_key, "api_secret": secret, "secret_id": id_}, cas=0)
    current = Identity(id_, Learned.ANSWERED)
    journal = Journal(api_key=api_key, current=current, rotated_at=rotated_at, published_version=1)
    vault.write(f"rotator/journal/{name}", render_journal(journal), cas=0)
    return {"name": name, "api_key": api_key, "path": path}


@dataclass
class Daemon:
    """A `rotator run` that can be ended and started again.

    Attributes:
        log: Where its standard error goes.
        options: What follows `run`.
        environment: What it has besides this process's.
        module: What is run in rotator's place, with its arguments.
        folder: Where it is started; None: where this process runs. A package there comes before an installed one.
    """

    name: str
    config: Path
    token: SecretStr
    log: Path
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    module: Sequence[str] = ("rotator",)
    folder: Path | None = None
    process: "subprocess.Popen[bytes] | None" = None
    port: int = field(default_factory=free_port)

    def start(self, log: Path | None = None) -> None:
        """Start it; with another file for its log if one is given."""
        environment = {
            **os.environ,
            "VAULT_TOKEN": self.token.get_secret_value(),
            "ROTATOR_DAEMON__LISTEN": f"127.0.0.1:{self.port}",
            **self.environment,
        }
        with (log or self.log).open("ab") as stderr:
            command = [sys.executable, "-m", *self.module, "run", "--config", str(self.config), *self.options]
            self.process = subprocess.Popen(command, env=environment, stderr=stderr, cwd=self.folder)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        self.send(number)
        assert self.process is not None
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process is not None and self.alive:
            self.process.kill()
            self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_up(self, page: str = "healthz") -> bool:
        """Whether it says that it lives or, on the page readyz, that it has read every journal."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/{page}", timeout=5).status_code == httpx.codes.OK
        return False

    def await_ready(self) -> None:
        ends = time.monotonic() + 120
        while not self.is_up("readyz"):
            assert time.monotonic() < ends, f"{self.name} does not become ready"
            time.sleep(0.1)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the log's events of that name so far; the log is JSON."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [found for line in lines if f'"{event}"' in line and (found := json.loads(line))["event"] == event]

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=20).text


@dataclass
class Consumers:
    """Read every published secret again and again, each time from any of the servers, and try it.

    Attributes:
        reads: How many were answered.
        unanswered: How many were not: no server, or a sealed one, or one without a leader.
        failures: What nobody should ever see: a document without a secret that works.
    """

    addresses: Sequence[str]
    token: SecretStr
    emulator: Emulator
    names: Sequence[str]
    reads: int = 0
    unanswered: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def reading(self, threads: int) -> Iterator[None]:
        workers = [threading.Thread(target=self._read_all, args=(self.names[n::threads],)) for n in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _read_all(self, names: Sequence[str]) -> None:
        dice = random.Random()
        with httpx.Client(headers={"X-Vault-Token": self.token.get_secret_value()}, timeout=5) as client:
            while not self._stop.is_set():
                for name in names:
                    if self._stop.wait(0.01):
                        return
                    self._read(client, name, dice.choice(self.addresses))

    def _read(self, client: httpx.Client, name: str, address: str) -> None:
        begun = time.monotonic()
        try:
            answer = client.get(f"{address}/v1/secret/data/apps/{name}")
        except httpx.HTTPError:
            self._count(unanswered=1)
            return
        if answer.status_code == httpx.codes.NOT_FOUND:
            self._count(failure=f"{name}: nothing is published")
        if answer.status_code != httpx.codes.OK:
            self._count(unanswered=1)
            return
        document = answer.json()["data"]
        works = self.emulator.authenticates(f"key{name}", SecretStr(document["data"]["api_secret"]))
        what = (
            f"{name}: version {document['metadata']['version']} from {address} does not work, "
            f"{datetime.now(UTC):%H:%M:%S.%f}, {time.monotonic() - begun:.3f} s after it was asked for"
        )
        self._count(reads=1, failure=None if works else what)

    def _count(self, *, reads: int = 0, unanswered: int = 0, failure: str | None = None) -> None:
        with self._lock:
            self.reads += reads
            self.unanswered += unanswered
            self.failures += [failure] if failure else []


@dataclass(frozen=True)
class Look:
    """How an account stands: what is wrong with it, and what it holds that its journal does not know."""

    wrong: tuple[str, ...]
    unknown: frozenset[str]


def look_at(vault: Ask, emulator: Emulator, name: str, oldest: timedelta) -> Look:
    """Compare an account's two documents and what the provider holds; its secret may be so old."""
    journal = vault("GET", f"secret/data/rotator/journal/{name}").get("data", {}).get("data", {})
    current = (journal.get("current_id") or {}).get("id")
    if current is None:
        return Look((f"{name}: was not taken on",), frozenset())
    published = vault("GET", f"secret/data/apps/{name}")["data"]["data"]
    age = datetime.now(UTC) - datetime.fromisoformat(journal["rotated_at"])
    live = emulator.live(f"key{name}")
    unknown = live.keys() - {current, *(entry["id"] for entry in journal["retiring"])}
    wrong = {
        f"phase {journal['phase']}: {journal['last_error']}": journal["phase"] not in ("idle", "overlap"),
        f"age {age}": age > oldest,
        # Within its backoff it might become too old after this look.
        f"attempts {journal['attempts']}: {journal['last_error']}": journal["attempts"] > 0,
        f"unknown {set(unknown)}": bool(unknown),
        "the published secret does not work": live.get(current) != SecretStr(published["api_secret"]),
        f"held by {journal['holder']}": journal["holder"] is not None,
    }
    return Look(tuple(f"{name}: {what}" for what, is_so in wrong.items() if is_so), frozenset(unknown))


def rotations(vault: Ask, name: str) -> int:
    """How often something new was published for an account."""
    version: int = vault("GET", f"secret/metadata/apps/{name}")["data"]["current_version"]
    return version - 1
