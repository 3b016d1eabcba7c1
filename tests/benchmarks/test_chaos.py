"""The fault campaign itself: that it does what its plan says, and would say so if a bar were missed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from benchmarks.chaos import GRACE, PAST_EVERYTHING, SETTLE, TIMEOUT, Fault, Plan, Sent, Stops, draw, missed
from benchmarks.fleet import look_at
from benchmarks.links import Link, Network, Owners, State
from rotator.emulator import Account, Emulator
from testkit.cluster import PATIENCE

NAMES = [f"n{number}" for number in range(50)]
GOOD = {
    "storm_seconds": 720.0,
    "accounts": 120,
    "rotations": 1000,
    "consumer_reads": 1,
    "consumer_failures": 0,
    "accounts_converged": 120,
    "unknown_secrets_of_rotator": 0,
}


def faults(plan: Plan, kind: str) -> list[Fault]:
    return [fault for layer in plan.layers.values() for fault in layer if fault.kind.startswith(kind)]


def test_draw_returns_one_plan_per_seed() -> None:
    assert str(draw(7, 600, NAMES)) == str(draw(7, 600, NAMES))
    assert str(draw(7, 600, NAMES)) != str(draw(8, 600, NAMES))


def test_plan_stays_within_documented_limits() -> None:
    plans = [draw(seed, 720, NAMES) for seed in range(20)]
    assert {plan.standby_reads for plan in plans} == {True, False}
    late = SETTLE + TIMEOUT
    for plan in plans:
        assert all(0 <= fault.at < 720 for layer in plan.layers.values() for fault in layer)
        # A request that is held and then done late is still done before the provider may no longer do it.
        assert all(fault.seconds + 1.5 < late.total_seconds() for fault in faults(plan, "provider link held"))
        # Whatever a server missed is younger than the grace when it is back.
        assert all(fault.seconds < GRACE.total_seconds() / 3 for fault in faults(plan, "server"))
        if plan.standby_reads:
            assert not [fault for fault in faults(plan, "rotate-now") if fault.detail]
            assert all(abs(int(step.detail)) < GRACE.total_seconds() / 2 for step in faults(plan, "clock step"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"consumer_failures": 1}, "1 reads failed"),
        ({"consumer_reads": 0}, "nothing was read"),
        ({"accounts_converged": 119}, "only 119 accounts converged"),
        ({"unknown_secrets_of_rotator": 1}, "1 secrets that rotator created are unknown to it"),
        ({"rotations": 999}, "999 rotations, fewer than 1000"),
    ],
)
def test_missed_names_each_bar(change: dict[str, Any], said: str) -> None:
    assert missed(GOOD) == []
    assert missed(GOOD | change) == [said]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, None),
        ({"attempts": 1, "last_error": "no answer"}, "n0: attempts 1: no answer"),
        ({"phase": "prepared"}, "n0: phase prepared: None"),
        ({"holder": "someone"}, "n0: held by someone"),
        ({"current_id": {"id": None}}, "n0: was not taken on"),
    ],
)
def test_account_is_converged_when_nothing_is_pending(change: dict[str, Any], wrong: str | None) -> None:
    """Seed 104: an account that had failed in the storm was well at first, and too old at the end of its backoff."""
    emulator = Emulator([Account("keyn0", SecretStr("FirstSecret001"))])
    [id_] = emulator.live("keyn0")
    journal = {"current_id": {"id": id_}, "rotated_at": datetime.now(UTC).isoformat(), "retiring": [], "phase": "idle"}
    journal |= {"attempts": 0, "last_error": None, "holder": None} | change
    documents = {"secret/data/rotator/journal/n0": journal, "secret/data/apps/n0": {"api_secret": "FirstSecret001"}}
    found = look_at(lambda _, path: {"data": {"data": documents[path]}}, emulator, "n0", timedelta(minutes=1))
    assert found.wrong == (() if wrong is None else (wrong,))


def test_past_everything_before_excuses_creates_after_long_stops() -> None:
    long, stops = PAST_EVERYTHING.total_seconds(), Stops()
    stops.note("a", 100, 100 + long + 1)
    stops.note("b", 100, 100 + long - 1)
    woken = 100 + long + 1
    assert stops.past_everything_before(Sent(woken + 0.1, "a"))
    assert not stops.past_everything_before(Sent(woken - 5, "a"))
    assert not stops.past_everything_before(Sent(woken + 10, "a"))
    assert not stops.past_everything_before(Sent(woken + 0.1, "b"))
    assert not stops.past_everything_before(Sent(woken + 0.1, "c"))


@pytest.fixture
def network() -> Iterator[Network]:
    with Network().running() as network:
        yield network


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets, in capitals; its port."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data.upper())

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def linked(network: Network, port: int) -> tuple[Link, int, threading.Event]:
    """A link, the port to reach it by, and what is set once something went on to the server."""
    sent = threading.Event()
    link = network.link("a to b", lambda _: sent.set())
    return link, network.listen(port, lambda _: link), sent


def is_broken(client: socket.socket) -> bool:
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def test_link_carries_both_ways_until_cut(network: Network, echo: int) -> None:
    link, port, _ = linked(network, echo)
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"HELLO"
        link.become(State.CUT)
        assert is_broken(client)
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        assert is_broken(client)
    link.become(State.OPEN)
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        client.sendall(b"again")
        assert client.recv(100) == b"AGAIN"


def test_held_link_delivers_after_its_sender_closed(network: Network, echo: int) -> None:
    link, port, sent = linked(network, echo)
    link.become(State.HELD)
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        client.sendall(b"hello")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(100)
    assert not sent.is_set()
    link.become(State.OPEN)
    assert sent.wait(PATIENCE)


def test_owners_finds_the_owner_of_a_socket(echo: int) -> None:
    mine = Path("/proc/self/cmdline").read_text()
    with closing(socket.create_connection(("127.0.0.1", echo), PATIENCE)) as client:
        port = client.getsockname()[1]
        assert Owners({mine: "mine"}).of(port) == "mine"
        assert Owners({"no such command": "somebody's"}).of(port) is None
        assert Owners({mine: "mine"}).of(1) is None
