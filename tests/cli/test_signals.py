"""SIGINT and SIGTERM to commands, sent at events: a request that a server received, a step of the command."""

import functools
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.emulator import Operation
from rotator.fleet import Fleet, manual_secrets
from rotator.rotation import Operator
from testkit.cluster import Cluster, Finished, Process, eventually
from tests.cli.harness import Here, Payments, opened
from tests.cli.managed import TRX

FIRST = "rotator: {}: stopping after the step in progress. A second signal ends the command at once.\n"


# --- during a change -----------------------------------------------------------------------------------------


def hanging(account: Payments, operation: Operation, *args: str, fault: str = "hang") -> Process:
    """Start a command, and wait until its request hangs at the provider."""
    cluster = account.cluster
    cluster.configure([account.entry(grace="1h")], account_api={"timeout": "5m"}, daemon={"lease": "20m"})
    cluster.emulator.faults.add(f"{operation.value}:{fault}:*")

    def received() -> int:
        return sum(request.operation is operation for request in cluster.emulator.requests)

    before = received()
    process = cluster.start(*args, env={"MY_TRX": TRX, "MINE": account.first.get_secret_value()})
    eventually(lambda: received() > before or process.popen.poll() is not None, what=lambda: process.args)
    if process.popen.poll() is not None:
        pytest.fail(f"no request hung: {process.finish()}")
    return process


def signal_twice(process: Process, number: signal.Signals) -> Finished:
    """Send a signal, wait until the command says that it stops, and send it again; how the command ended."""
    popen = process.popen
    assert popen.stderr is not None
    assert popen.stdout is not None
    popen.send_signal(number)
    said_so_far = ""
    while FIRST.format(number.name) not in said_so_far:
        line = popen.stderr.readline()
        assert line, f"it never said that it stops:\n{said_so_far}"
        said_so_far += line
    assert popen.poll() is None
    popen.send_signal(number)
    finished = process.finish()
    return Finished(process.args, finished.code, finished.out, finished.err)


@pytest.mark.parametrize(
    ("command", "operation", "look"),
    [
        ("account top-up payments --trx-env MY_TRX --yes", Operation.TOP_UP, "account balance payments"),
        (
            "account settings payments --mo-callback-url https://example.com/in --yes",
            Operation.SETTINGS,
            "account settings payments",
        ),
        ("account secrets create payments --out new --yes", Operation.CREATE, "account secrets list payments"),
        ("rotate-now payments --force", Operation.CREATE, "status payments"),
        ("rotate-now --all", Operation.CREATE, "status"),
        ("adopt payments --replace --secret-env MINE", Operation.LIST, "status payments"),
    ],
)
def test_second_signal_names_the_command_to_look_with(
    rotated: Payments, command: str, operation: Operation, look: str
) -> None:
    process = hanging(rotated, operation, *command.split(), "--json", fault="hang-after")
    finished = signal_twice(process, signal.SIGINT)
    sentence = f"SIGINT: stopped. The outcome is not known. Look before you try again: rotator {look}."
    assert (finished.code, said_last(finished)) == (130, sentence), finished
    assert finished.json == {"error": sentence, "reason": "stopped", "next_command": look.split()}


def test_second_sigterm_ends_a_revocation_at_once(payments: Payments) -> None:
    payments.cluster.configure([payments.entry(grace="1h")])
    assert payments.cluster.run("rotate-now", "payments").code == 0
    revoke = ["account", "secrets", "revoke", "payments", payments.live[0], "--yes"]
    finished = signal_twice(hanging(payments, Operation.REVOKE, *revoke), signal.SIGTERM)
    assert finished.code == 143, finished
    assert said_last(finished).endswith("Look before you try again: rotator account secrets list payments."), finished


def said_last(finished: Finished) -> str:
    """The last line of standard error, without the program's name."""
    return finished.err.splitlines()[-1].removeprefix("rotator: ")


def and_then(function: Callable[..., Any], act: Callable[[], object], *, after: int = 1) -> Callable[..., Any]:
    """Wrap a function: at the end of its call with this number, do something."""
    calls: list[None] = []

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        calls.append(None)
        if len(calls) == after:
            act()
        return result

    return wrapper


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_signal_before_the_create_sends_no_create(
    rotated: Payments, here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second look at the room for it is the one under the lease."""
    monkeypatch.setattr(manual_secrets, "require_room", and_then(manual_secrets.require_room, interrupt, after=2))
    file = tmp_path / "new"
    finished = here("account", "secrets", "create", "payments", "--out", str(file), "--yes")
    assert finished.code == 130, finished
    assert said_last(finished) == "The process stopped before it changed payments. Nothing was changed."
    assert (len(rotated.live), file.exists()) == (1, False)
    assert rotated.cluster.journal("payments")["holder"] is None


def test_signal_stops_before_the_next_withdrawal(cluster: Cluster, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.configure([opened(cluster, name, f"key{name}").entry() for name in ("one", "two")])
    calls: list[str] = []

    def count() -> None:
        calls.append("cancel")
        interrupt()

    monkeypatch.setattr(Operator, "cancel", and_then(Operator.cancel, count))
    finished = here("rotate-now", "--all", "--cancel")
    assert (finished.code, calls) == (130, ["cancel"]), finished
    assert said_last(finished) == "The process stopped before every request was withdrawn. Start again."


def test_signal_before_the_question_of_resolve_asks_nothing(
    rotated: Payments, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated.cluster.remember("Stranger0Stranger1")
    stranger = rotated.cluster.emulator.add_secret(rotated.api_key, SecretStr("Stranger0Stranger1"))
    monkeypatch.setattr(Operator, "unknown", and_then(Operator.unknown, interrupt))
    finished = here("resolve", "payments", "--revoke", stranger)
    assert finished.code == 130, finished
    assert "No unknown secret was revoked. Start again: rotator resolve payments." in said_last(finished)
    assert len(rotated.live) == 2


def test_signal_stops_before_the_next_adoption(
    cluster: Cluster, here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    accounts = [opened(cluster, name, f"key{name}", published=False) for name in ("one", "two")]
    cluster.configure([account.entry() for account in accounts], daemon={"concurrency": 1})
    folder = tmp_path / "values"
    folder.mkdir()
    for account in accounts:
        (folder / account.name).write_text(account.first.get_secret_value())
        (folder / account.name).chmod(0o600)
    stops: list[threading.Event] = []
    select = Fleet.select

    def selected(fleet: Fleet, names: list[str]) -> Any:
        stops.append(fleet.stop)
        return select(fleet, names)

    monkeypatch.setattr(Fleet, "select", selected)
    monkeypatch.setattr(Operator, "adopt", and_then(Operator.adopt, lambda: stops[-1].set()))  # noqa: PLW0108 - not yet selected
    finished = here("adopt", "--all", "--secret-dir", str(folder), "--json")
    assert finished.code == 3, finished
    assert [account["reason"] for account in finished.json["accounts"]][1] == "stopped"
    assert cluster.document("apps/one")
    assert not cluster.document("apps/two")


# --- commands that change nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_reading_command_at_once(payments: Payments, number: signal.Signals) -> None:
    process = hanging(payments, Operation.BALANCE, "account", "balance", "payments", "--json")
    process.popen.send_signal(number)
    finished = process.finish()
    assert finished.code == 128 + number, finished
    sentence = f"{number.name}: stopped. Nothing was changed."
    assert said_last(finished) == sentence
    assert finished.json == {"error": sentence, "reason": "stopped", "next_command": None}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_early_signal_ends_a_command_with_a_line(cluster: Cluster, number: signal.Signals) -> None:
    """The command waits for a line that never comes, so it cannot end before the signal."""
    process = cluster.start("audit", "fingerprint", "abcd1234", "--secret-stdin", stdin=subprocess.PIPE)
    status = Path(f"/proc/{process.popen.pid}/status")
    eventually(lambda: handles(status.read_text(), signal.SIGTERM), what=lambda: process.args)
    process.popen.send_signal(number)
    code = process.popen.wait()
    finished = process.finish()
    assert (code, finished.err) == (128 + number, f"rotator: {number.name}: stopped. Nothing was changed.\n")


def handles(status: str, number: signal.Signals) -> bool:
    """Whether a process has a handler for the signal, by its status in /proc."""
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << number - 1)
