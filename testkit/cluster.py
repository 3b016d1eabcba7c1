"""Real parts for the tests: servers, a proxy that can kill, lose and delay, the rotator command, a consumer."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from rotator.config import format_duration
from rotator.demo import OpenBao
from rotator.emulator import Emulator
from testkit import proxy
from testkit.commands import Command

FORWARD, KILL_BEFORE, KILL_AFTER, LOSE = "forward", "kill before", "kill after", "lose"
# Maximum time to wait for an event, in seconds. Only a failing test waits this long, also on a busy machine.
PATIENCE = 60.0

# Made once: it takes longer than the requests it is for.
_TLS = ssl.create_default_context()


@dataclass(frozen=True)
class Call:
    """One request that passed a proxy."""

    server: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.server} {self.method} {self.path}"


@dataclass
class Tape:
    """Every call that a process made to either server, in order, and what is to happen at which.

    Attributes:
        plan: By a call's number: KILL_BEFORE or KILL_AFTER the victim, or LOSE the answer.
        when: The same, by looking at the call.
        hold: Runs before the server gets the call, in the call's own thread, and can wait for an event.
        victim: The process to kill.
        secrets: The values that were sent to the provider.
    """

    calls: list[Call] = field(default_factory=list)
    plan: dict[int, str] = field(default_factory=dict)
    when: Callable[[Call], str | None] = lambda call: None
    hold: Callable[[Call], object] = lambda call: None
    victim: int | None = None
    secrets: set[str] = field(default_factory=set)
    _fates: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_request(self, server: str, request: proxy.Call) -> proxy.Action:
        call = Call(server, request.method, request.path)
        with self._lock:
            self.calls.append(call)
            if call.method == "POST" and call.path.endswith("/secrets"):
                self.secrets.add(json.loads(request.body)["secret"])
            fate = self.plan.get(len(self.calls) - 1) or self.when(call) or FORWARD
            self._fates[id(request)] = fate
        self.hold(call)
        if fate == KILL_BEFORE:
            self._kill()
            return proxy.DROP_BEFORE
        return proxy.FORWARD

    def on_response(self, request: proxy.Call) -> proxy.Action:
        fate = self._fates[id(request)]
        if fate == KILL_AFTER:
            self._kill()
        return proxy.FORWARD if fate == FORWARD else proxy.DROP_AFTER

    def _kill(self) -> None:
        if self.victim is not None:
            os.kill(self.victim, signal.SIGKILL)


@contextmanager
def proxied(targets: dict[str, str], tape: Tape) -> Iterator[dict[str, str]]:
    """Proxies in front of named servers, all writing on one tape; gives their addresses."""
    with ExitStack() as stack:
        addresses = {}
        for name, target in targets.items():
            made = proxy.FaultProxy(target, partial(tape.on_request, name), lambda call, _: tape.on_response(call))
            addresses[name] = stack.enter_context(made.running()).address
        yield addresses


@dataclass
class Finished:
    """A rotator command that ended."""

    args: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"rotator {' '.join(self.args)} -> {self.code}\n{self.out}\n{self.err}"


@dataclass
class Cluster:
    """An OpenBao, an emulator, a configuration for one or more accounts, and the command to try on them."""

    bao: OpenBao
    emulator: Emulator
    api_url: str
    folder: Path
    mount: str = "secret"
    settings: dict[str, str] = field(default_factory=dict)
    base: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    known_secrets: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.known_secrets.add(self.bao.root_token.get_secret_value())

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def configure(self, accounts: Sequence[dict[str, Any]], **sections: Mapping[str, Any]) -> None:
        """Write the configuration.

        Timeouts and the lease are long enough for a busy machine. A test that kills a process calls `end_lease`, and a
        test that waits for the end of a grace period calls `end_grace`.
        """
        merged: dict[str, dict[str, Any]] = {
            "vault": {"address": self.bao.address, "mount": self.mount, "timeout": "20s"},
            "account_api": {
                "api_url": self.api_url,
                "rest_url": self.api_url,
                "timeout": "20s",
                "consistency_window": "1s",
            },
            "defaults": {"grace": "0s", "verify_timeout": "1m"},
            "daemon": {"lease": "5m", "concurrency": 8, "listen": "127.0.0.1:0", "min_spacing": "0s"},
            "log": {"level": "debug", "format": "json"},
        }
        for name, values in (*self.base.items(), *sections.items()):
            merged[name] = merged.get(name, {}) | dict(values)
        write_config(self.config, merged, accounts)

    def environment(self) -> dict[str, str]:
        """The environment of a command: this one's, with the login and the configuration of this cluster."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("VAULT_", "BAO_", "ROTATOR_"))
        }
        environment |= {
            "VAULT_TOKEN": self.bao.root_token.get_secret_value(),
            "ROTATOR_CONFIG": str(self.config),
        }
        return environment | self.settings

    def start(self, *args: str, env: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL) -> "Process":
        """Start the real command, in a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "rotator", *args],
            env=self.environment() | (env or {}),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        return Process(self, args, process)

    def run(self, *args: str, env: dict[str, str] | None = None, text: str | None = None) -> Finished:
        """Run the real command to its end, in a process of its own."""
        added = self.settings | (env or {})
        if any(name.startswith(("LD_", "PYTHON")) for name in added):  # an interpreter reads these at its start
            stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
            return self.start(*args, env=env, stdin=stdin).finish(text)
        return self.fork(*args, env=env, text=text).finish()

    def fork(self, *args: str, env: dict[str, str] | None = None, text: str | None = None) -> "Forked":
        """Start the real command in a process that was forked from one that has imported it."""
        environment = self.environment() | (env or {})
        return Forked(self, args, Command(args, environment=environment, folder=self.folder, text=text))

    @contextmanager
    def daemon(self, *args: str, env: dict[str, str] | None = None) -> Iterator["Running"]:
        """A daemon as long as the context lasts; ended as an operator would, if it still runs then."""
        running = Running(self.start("run", *args, env=env))
        try:
            yield running
        finally:
            if running.process.popen.poll() is None:
                running.end()
            for stream in (running.process.popen.stdout, running.process.popen.stderr):
                assert stream is not None
                stream.close()

    def put(self, path: str, data: dict[str, Any]) -> None:
        """Write a document by hand."""
        self.vault("POST", f"{self.mount}/data/{path}", {"data": data})

    def document(self, path: str) -> dict[str, Any]:
        """What stands in a document; empty if there is none."""
        answer = self.vault("GET", f"{self.mount}/data/{path}", missing_ok=True)
        data: dict[str, Any] = ((answer or {}).get("data") or {}).get("data") or {}
        return data

    def journal(self, account: str) -> dict[str, Any]:
        return self.document(f"rotator/journal/{account}")

    def change_journal(self, account: str, **fields: Any) -> None:
        """Write fields of a journal by hand, as if time had passed or another instance had written them."""
        self.put(f"rotator/journal/{account}", self.journal(account) | fields)

    def end_grace(self, account: str) -> None:
        """Let the grace period of each previous secret end now."""
        now = datetime.now(UTC).isoformat()
        retiring = [entry | {"not_before": now} for entry in self.journal(account)["retiring"]]
        assert retiring, "the account has no previous secret"
        self.change_journal(account, retiring=retiring)

    def end_lease(self, account: str) -> None:
        """Let the lease of a process that was killed expire, if it had one."""
        if self.journal(account).get("holder"):
            self.change_journal(account, lease_until=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())

    def age(self, account: str, age: timedelta) -> None:
        """Let the published secret be older."""
        self.change_journal(account, rotated_at=(datetime.now(UTC) - age).isoformat())

    def vault(
        self, method: str, path: str, body: Any = None, *, missing_ok: bool = False, upgrading_ok: bool = False
    ) -> Any:
        """Ask OpenBao as root."""
        answer = httpx.request(
            method,
            f"{self.bao.address}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": self.bao.root_token.get_secret_value()},
            timeout=PATIENCE,
            verify=_TLS,
        )
        if missing_ok and answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if upgrading_ok and answer.status_code == httpx.codes.BAD_REQUEST:
            return None
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def await_mount(self) -> None:
        """Wait until the mount takes documents: a new one upgrades itself to version 2 first."""
        eventually(lambda: self.vault("GET", f"{self.mount}/config", upgrading_ok=True) is not None)

    def remember(self, *secrets: str) -> None:
        """Values that must never appear in anything printed."""
        self.known_secrets.update(secrets)

    def assert_nothing_leaked(self) -> None:
        """I7, by value."""
        assert self.outputs, "nothing was printed: the scan would prove nothing"
        for api_key in self.emulator.api_keys:
            self.known_secrets.update(value.get_secret_value() for value in self.emulator.live(api_key).values())
        for output in self.outputs:
            for secret in self.known_secrets:
                assert secret not in output, f"a secret value was printed:\n{output.replace(secret, '<LEAKED>')}"


@dataclass
class Process:
    """A rotator command that runs."""

    cluster: Cluster
    args: Sequence[str]
    popen: "subprocess.Popen[str]"

    def finish(self, text: str | None = None) -> Finished:
        out, err = self.popen.communicate(text, timeout=2 * PATIENCE)
        self.cluster.outputs += [out, err]
        return Finished(self.args, self.popen.returncode, out, err)


@dataclass
class Forked:
    """A rotator command that runs, without the start of an interpreter."""

    cluster: Cluster
    args: Sequence[str]
    command: Command

    def finish(self) -> Finished:
        code, out, err = self.command.finish(2 * PATIENCE)
        self.cluster.outputs += [out, err]
        return Finished(self.args, code, out, err)


@dataclass
class Running:
    """A daemon that runs, and what it has logged so far."""

    process: Process
    events: list[dict[str, Any]] = field(default_factory=list)
    _grown: threading.Condition = field(default_factory=threading.Condition)
    _asked: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.popen.stderr is not None
        for line in self.process.popen.stderr:
            self.process.cluster.outputs.append(line)
            with self._grown:
                self.events.append(json.loads(line) if line.startswith("{") else {"event": line})
                self._grown.notify_all()

    def find(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of that name with these fields."""
        return [one for one in self.events if one["event"] == event and fields.items() <= one.items()]

    def wait_for(self, event: str, *, count: int = 1, timeout: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """Wait until it was logged so often; the last one."""
        with self._grown:
            if not self._grown.wait_for(lambda: len(self.find(event, **fields)) >= count, timeout):
                raise AssertionError(f"no {event} {fields} in {timeout} s, but:\n{self}")
        return self.find(event, **fields)[-1]

    @property
    def url(self) -> str:
        return f"http://{self.wait_for('daemon.started')['listen']}"

    def get(self, path: str) -> httpx.Response:
        """The daemon's present answer: it uses an answer again for a second, so this waits until that is over."""
        if path in ("/metrics", "/api/status"):
            time.sleep(max(0.0, self._asked.get(path, 0.0) + 1.05 - time.monotonic()))
        answer = httpx.get(f"{self.url}{path}", timeout=PATIENCE)
        self._asked[path] = time.monotonic()
        return answer

    def status(self, account: str) -> dict[str, Any]:
        accounts: list[dict[str, Any]] = self.get("/api/status").json()["accounts"]
        return next(one for one in accounts if one["name"] == account)

    def eventually(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        eventually(true, what=lambda: self)

    def wait_until_ready(self) -> "Running":
        self.eventually(lambda: self.get("/readyz").status_code == httpx.codes.OK)
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.popen.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """End it; its exit code."""
        self.send(number)
        code = self.process.popen.wait(timeout)
        self._reader.join(PATIENCE)
        return code

    def __str__(self) -> str:
        return "\n".join(json.dumps(event) for event in self.events if event.get("level") != "debug")[-40000:]


def eventually(true: Callable[[], bool], *, what: Callable[[], object] = lambda: "", timeout: float = PATIENCE) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: With `what`, if it is not in time.
    """
    ends = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < ends, what()
        time.sleep(0.05)


def at_best(limit: float, attempt: Callable[[], object], *, attempts: int = 20) -> None:
    """Hold the quickest of several attempts to a limit in seconds.

    A busy machine makes some attempts slow. A mistake makes each of them slow.
    """
    took: list[float] = []
    while not took or took[-1] >= limit:
        assert len(took) < attempts, f"the quickest of {attempts} attempts took {min(took):.2f} s, not under {limit} s"
        begun = time.monotonic()
        attempt()
        took.append(time.monotonic() - begun)


@dataclass
class Consumer:
    """A service that reads its secret from Vault again and again and uses it at the provider."""

    cluster: Cluster
    api_key: str
    path: str
    checks: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Consumer":
        self._thread = threading.Thread(target=self._consume, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _consume(self) -> None:
        with httpx.Client(
            base_url=f"{self.cluster.bao.address}/v1/",
            headers={"X-Vault-Token": self.cluster.bao.root_token.get_secret_value()},
            timeout=PATIENCE,
        ) as vault:
            while not self._stop.wait(0.1):
                secret = self._read(vault)
                if secret is None:
                    continue  # a test deleted the document
                self.checks += 1
                if self._works(secret):
                    continue
                if self._read(vault) == secret:  # otherwise it was replaced and revoked between the two requests
                    self.failures.append(f"check {self.checks}: the published secret does not work")

    def _read(self, vault: httpx.Client) -> str | None:
        answer = vault.get(f"{self.cluster.mount}/data/{self.path}").json().get("data") or {}
        secret: str | None = (answer.get("data") or {}).get("api_secret")
        return secret

    def _works(self, secret: str) -> bool:
        return self.cluster.emulator.authenticates(self.api_key, SecretStr(secret))


class WallClock:
    """The time of day of one process, which can be set while it runs. Only that: how time passes stays as it is.

    libfaketime makes Python's `time.sleep` fail with "Invalid argument", so there it sleeps by another system call.
    """

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        patch = folder / "clock" / "sitecustomize.py"
        patch.parent.mkdir()
        patch.write_text("import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n")
        self.set(timedelta())
        [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": os.pathsep.join([str(patch.parent), os.environ.get("PYTHONPATH", "")]),
        }

    def set(self, offset: timedelta) -> None:
        new = self._offset.with_suffix(".new")
        new.write_text(f"{offset.total_seconds():+.0f}\n")
        new.rename(self._offset)  # whoever reads it meanwhile sees the one before


def write_config(file: Path, sections: Mapping[str, Mapping[str, Any]], accounts: Sequence[Mapping[str, Any]]) -> None:
    """Write a configuration at once: who reads it meanwhile sees the one before."""
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""]
    for account in accounts:
        lines += ["[[accounts]]", *(f"{key} = {_toml(value)}" for key, value in account.items()), ""]
    new = file.with_suffix(".new")
    new.write_text("\n".join(lines))
    new.rename(file)


def _toml(value: Any) -> str:
    if isinstance(value, timedelta):
        return json.dumps(format_duration(value))
    return json.dumps(value if not isinstance(value, Path) else str(value))
