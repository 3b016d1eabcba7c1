"""A server of the status page, clients of it, and statuses."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from rotator.core.protocol import Phase, RequestKind
from rotator.monitoring import AccountStatus, FleetStatus, Metrics, RequestStatus, RetiringStatus
from rotator.web import App, Limits, Request, Response, serving
from testkit.cluster import PATIENCE

NOW = datetime(2026, 11, 23, 18, 5, 7, 250_000, tzinfo=UTC)
SHOP = AccountStatus(
    name="shop",
    api_key="ef567890",
    path="nexmo/shop",
    primary="main",
    enabled=True,
    phase=Phase.OVERLAP,
    secret_id="id-2",
    rotated_at=NOW - timedelta(hours=3),
    due_at=NOW + timedelta(days=30),
    retiring=(RetiringStatus("id-1", NOW + timedelta(hours=21)),),
    live_secrets=2,
    request=RequestStatus(RequestKind.COMPROMISED, "ann", NOW - timedelta(minutes=7), "5f2c1d9e"),
)
CALM = FleetStatus(NOW, "1.2.3", "host-1", NOW - timedelta(days=2), True, None, None, None, (SHOP,))
MANY = replace(CALM, accounts=tuple(replace(SHOP, name=f"shop-{number}") for number in range(200)))
LONG = b"x" * 32_000_000  # more than the buffers between a server and a client hold
EVERYWHERE = [
    "/",
    "/page.js",
    "/details.js",
    "/elements.js",
    "/timeline.js",
    "/page.css",
    "/icon.svg",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/status",
    "/nowhere",
]


def long_answer(request: Request) -> Response:
    return Response(200, {}, LONG)


@dataclass
class Served:
    """A server whose status can be changed."""

    status: FleetStatus
    address: str = ""
    client: httpx.Client = None  # type: ignore[assignment]
    error: Exception | None = None

    def tell(self) -> FleetStatus:
        if self.error is not None:
            raise self.error
        return self.status


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)


def app(status: Callable[[], FleetStatus]) -> App:
    """An application that renders each answer when it is requested."""
    return App(status, Metrics(), reuse=timedelta())


@contextmanager
def served(status: FleetStatus = CALM, listen: str = "127.0.0.1:0", limits: Limits | None = None) -> Iterator[Served]:
    made = Served(status)
    with (
        serving(app(made.tell), listen, limits) as made.address,
        httpx.Client(base_url=f"http://{made.address}", trust_env=False, timeout=PATIENCE) as made.client,
    ):
        yield made


@pytest.fixture
def server() -> Iterator[Served]:
    with served() as made:
        yield made


class Slow:
    """A status that takes until the test says so; it records its calls."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.calls = threading.Semaphore(0)
        self.count = 0

    def tell(self) -> FleetStatus:
        if threading.current_thread().name == "web":  # /readyz takes the status as it is, and never waits
            return CALM
        self.count += 1
        self.calls.release()
        assert self.go_on.wait(2 * PATIENCE)
        return CALM


def half_closed(address: str, *paths: str) -> socket.socket:
    """A client that sends its requests, closes its sending side, and can still read."""
    client = connect(address)
    client.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths))
    client.shutdown(socket.SHUT_WR)
    return client


def all_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def connections_to(address: str) -> int:
    """Number of established connections to a server of this machine."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def refuses(connection: socket.socket, line: bytes) -> bool:
    try:
        connection.sendall(line)
    except ConnectionError:
        return True
    return False
