"""One account, its consumer, a gate in front of the servers, and a reader who does what messages advise."""

import json
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from rotator.core.generator import Recipe, generate
from rotator.emulator import Account, Operation
from testkit import proxy
from testkit.cluster import Cluster, Consumer, Finished, Process, eventually

# A process starts in a second, and takes many on a busy machine. No test waits for this.
ENOUGH = 60.0


def new_secret() -> str:
    """Return a value that the provider accepts."""
    return generate(Recipe()).get_secret_value()


@dataclass
class ClusterAccount:
    """One account of a cluster.

    Attributes:
        cluster: The servers.
        first: The value that the account has at the beginning.
        api_key: The account's key at the provider.
        path: The published document.
        name: The account's name in the configuration.
    """

    cluster: Cluster
    first: str = field(default_factory=new_secret)
    api_key: str = "mainkey1"
    path: str = "apps/main"
    name: str = "main"

    def open(self, *, primary: str | None = None) -> "ClusterAccount":
        """Open the account at the provider, with its first value."""
        self.cluster.emulator.open_account(Account(self.api_key, SecretStr(self.first)), primary=primary)
        self.cluster.remember(self.first)
        return self

    def configure(self, *others: Mapping[str, Any], sections: Mapping[str, Any] | None = None, **account: Any) -> None:
        """Write a configuration with this account, and others."""
        own = {"name": self.name, "api_key": self.api_key, "path": self.path} | account
        wanted: dict[str, dict[str, Any]] = {
            "account_api": {"timeout": "1s", "max_calls_per_second": 100},
            "daemon": {"lease": "6s", "concurrency": 2, "resync_interval": "1s"},
            "defaults": {"grace": "1h"},
        }
        for name, values in (sections or {}).items():
            wanted[name] = wanted.get(name, {}) | dict(values)
        self.cluster.configure([own, *map(dict, others)], **wanted)

    # --- looking ---------------------------------------------------------------------------------------------------

    @property
    def live(self) -> dict[str, str]:
        """The live secrets at the provider: id to value, oldest first."""
        return {id_: value.get_secret_value() for id_, value in self.cluster.emulator.live(self.api_key).items()}

    @property
    def journal(self) -> dict[str, Any]:
        return self.cluster.journal(self.name)

    @property
    def published(self) -> str | None:
        """The published value."""
        return self.cluster.document(self.path).get("api_secret")

    def id_of(self, value: str | None) -> str:
        """Return the id of a live value."""
        return next(id_ for id_, live in self.live.items() if live == value)

    def requests(self, operation: Operation | None = None) -> int:
        """Count the requests to the provider so far."""
        return sum(operation in (None, entry.operation) for entry in self.cluster.emulator.requests)

    @contextmanager
    def consumer(self) -> Iterator[Consumer]:
        """Read and authenticate all the while; at the end, no read may have failed."""
        with Consumer(self.cluster, self.api_key, self.path) as consumer:
            yield consumer
            checks = consumer.checks
            eventually(lambda: consumer.checks > checks + 1)
        assert not consumer.failures, consumer.failures[:3]

    # --- doing -----------------------------------------------------------------------------------------------------

    def put(self, value: str, **fields: Any) -> None:
        """Write the published document by hand."""
        self.cluster.put(self.path, {"api_key": self.api_key, "api_secret": value} | fields)

    def run(self, *args: str, env: dict[str, str] | None = None, text: str | None = None) -> Finished:
        return self.cluster.run(*args, env=env, text=text)

    def rotate(self, *options: str, env: dict[str, str] | None = None) -> Finished:
        return self.cluster.run("rotate-now", self.name, *options, env=env)

    def adopt(self, value: str, *options: str, env: dict[str, str] | None = None) -> Finished:
        self.cluster.remember(value)
        return self.cluster.run("adopt", self.name, "--secret-stdin", *options, env=env, text=value)

    def start_adopt(self, value: str, *options: str, env: dict[str, str]) -> Process:
        """Start an adoption; it gets its value from a variable."""
        self.cluster.remember(value)
        environment = env | {"NEW_VALUE": value}
        return self.cluster.start("adopt", self.name, "--secret-env", "NEW_VALUE", *options, env=environment)

    def identify(self) -> None:
        """Run until the published secret's id is certain."""

        def certain() -> bool:
            if self.journal["current_id"].get("learned") == "pending":
                self.run("rotate-now", self.name, "--due")
            return bool(self.journal["current_id"].get("learned") != "pending")

        eventually(certain, timeout=ENOUGH, what=lambda: self.journal)

    def adopted(self) -> "ClusterAccount":
        """Adopt the account with its first value and the id of that."""
        assert_ok(self.adopt(self.first, "--secret-id", self.id_of(self.first)))
        return self

    # --- advice ----------------------------------------------------------------------------------------------------

    def follow(
        self,
        finished: Finished,
        answers: Mapping[str, str] | None = None,
        *,
        limit: int = 2,
        until_idle: bool = True,
    ) -> list[Finished]:
        """Do what the messages of commands advise, until the account is idle.

        Args:
            finished: The command that failed or was deferred.
            answers: What only a person knows: "ID", an id that may be chosen, and "VALUE", a value that authenticates.
            limit: How many commands may be needed.
            until_idle: Whether the last command has to end well.

        Returns:
            Every command that was run.
        """
        done: list[Finished] = []
        advised: set[tuple[Any, ...]] = set()
        while finished.code != 0:
            said = "\n".join(map(str, [*done, finished]))
            command = next_command(finished)
            assert command, f"no command is advised:\n{said}"
            case = (self.state, *command)
            assert case not in advised, f"the same command for the same state:\n{said}"
            assert len(done) < limit, f"no progress:\n{said}"
            advised.add(case)
            finished = self._carry_out(command, answers or {})
            done.append(finished)
            if len(done) == limit and not until_idle:
                break
        return done

    @property
    def state(self) -> tuple[Any, ...]:
        """What an unchanged account has unchanged."""
        journal = self.journal
        facts = ("current_id", "candidate", "retiring", "request", "failure", "unknown_ids", "publishing")
        return (*(json.dumps(journal.get(fact), sort_keys=True) for fact in facts), self.published, tuple(self.live))

    def _carry_out(self, command: list[str], answers: Mapping[str, str]) -> Finished:
        others = sorted(set(self.live) - {answers.get("ID")})
        blanks = {"ID": answers.get("ID", ""), "OTHER_ID": others[0] if others else ""}
        args = [blanks.get(arg, arg) for arg in command]
        if args[0] == "adopt":
            return self.adopt(answers["VALUE"], *[arg for arg in args[1:] if arg != self.name], "--json")
        if args[0] == "resolve" and "--revoke" not in args:
            args += ["--revoke", answers["ID"]]
        if "secrets" in args and "revoke" in args:
            args.append("--yes")
        return self.run(*args, "--json")


def next_command(finished: Finished) -> list[str]:
    """Return the command that a failure or a deferral advises, from the JSON output or from the text."""
    text = finished.err + finished.out
    if finished.out.startswith("{"):
        (row,) = finished.json["accounts"]
        if "next_command" in row:
            return list(row["next_command"] or ())
        text = row["error"] or ""
    _, found, command = text.rpartition("rotator ")
    return shlex.split(command.strip().splitlines()[0].rstrip(".")) if found else []


@dataclass
class Gate:
    """Holds, drops or counts requests on their way to servers; what is held is carried out when the gate opens.

    Attributes:
        hold: Which requests are held, and their clients left without an answer.
        lose: Which requests are carried out and their answers lost.
        refuse: Which requests never arrive.
        calls: Every request, as "server METHOD path".
    """

    hold: Callable[[str], bool] = lambda call: False
    lose: Callable[[str], bool] = lambda call: False
    refuse: Callable[[str], bool] = lambda call: False
    calls: list[str] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    carried_out: threading.Event = field(default_factory=threading.Event)
    _opened: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def before(self, cluster: Cluster) -> Iterator[dict[str, str]]:
        """Stand in front of both servers; give the environment for commands that go through it."""
        with self._before("vault", cluster.bao.address) as vault, self._before("provider", cluster.api_url) as provider:
            try:
                yield {"ROTATOR_VAULT__ADDRESS": vault, "ROTATOR_ACCOUNT_API__API_URL": provider}
            finally:
                self.open()

    @contextmanager
    def _before(self, server: str, target: str) -> Iterator[str]:
        def on_request(request: proxy.Call) -> proxy.Action:
            call = f"{server} {request.method} {request.path}"
            self.calls.append(call)
            if self.refuse(call):
                return proxy.DROP_BEFORE
            if self.hold(call) and not self._opened.is_set():
                self.held.set()
                self._opened.wait(ENOUGH)
                if self.refuse(call):
                    return proxy.DROP_BEFORE
            return proxy.FORWARD

        def on_response(request: proxy.Call, answer: proxy.Answer) -> proxy.Action:
            call = f"{server} {request.method} {request.path}"
            if self.hold(call):
                self.carried_out.set()
            return proxy.DROP_AFTER if self.lose(call) else proxy.FORWARD

        with proxy.FaultProxy(target, on_request, on_response).running() as made:
            yield made.address

    def wait_until_held(self, process: Process) -> None:
        """Wait until a request is held."""
        eventually(
            lambda: self.held.is_set() or process.popen.poll() is not None, timeout=ENOUGH, what=lambda: self.calls
        )
        assert self.held.is_set(), process.finish()

    def open(self) -> None:
        """Let everything through that was held, and hold nothing any more."""
        self._opened.set()

    def open_and_wait(self) -> None:
        """Let everything through, and wait until it was carried out."""
        self.open()
        assert self.carried_out.wait(ENOUGH), self.calls


def assert_ok(finished: Finished) -> None:
    """Fail with everything that was printed, but for debug lines."""
    said = [line for line in finished.err.splitlines() if '"debug"' not in line]
    assert finished.code == 0, "\n".join([str(finished.args), str(finished.code), finished.out, *said])


def kill(process: Process) -> None:
    """Kill a process at once, and keep what it printed."""
    process.popen.send_signal(signal.SIGKILL)
    process.finish()


def writes_to(path: str) -> Callable[[str], bool]:
    """Match writes of a document in Vault."""
    return lambda call: call.startswith(("vault POST", "vault PUT")) and call.endswith(f"/data/{path}")
