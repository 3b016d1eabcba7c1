"""The daemon's HTTP side over real sockets: what it answers, what it refuses, how it starts and stops."""

import asyncio
import errno
import gzip
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from rotator.core.protocol import Phase, RequestKind
from rotator.errors import ConfigError
from rotator.monitoring import AccountStatus, FleetStatus, Metrics, RequestStatus, RetiringStatus
from rotator.web import App, Limits, Request, Response, serving
from rotator.web.answers import Answer
from rotator.web.rendering import OverloadedError, SharedRendering
from testkit.cluster import PATIENCE, at_best, eventually

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


# --- answers ------------------------------------------------------------------------------------------------------


def test_status_has_every_field_and_utc_times(server: Served) -> None:
    answer = server.client.get("/api/status")

    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {field.name for field in fields(FleetStatus)}
    assert set(told["accounts"][0]) == {field.name for field in fields(AccountStatus)} - {"phase"} | {
        "state",
        "rotating",
    }
    assert told["at"] == "2026-11-23T18:05:07.250000Z"
    assert told["accounts"][0]["retiring"] == [
        {"id": "id-1", "not_before": "2026-11-24T15:05:07.250000Z", "compromised": False}
    ]
    assert told["accounts"][0]["request"] == {
        "kind": "compromised",
        "by": "ann",
        "at": "2026-11-23T17:58:07.250000Z",
        "id": "5f2c1d9e",
    }
    assert (told["accounts"][0]["state"], told["accounts"][0]["rotating"]) == ("grace_period", False)


def test_known_status_is_304_until_something_changes(server: Served) -> None:
    known = {"If-None-Match": server.client.get("/api/status").headers["etag"]}

    server.status = replace(CALM, at=NOW + timedelta(minutes=1))
    same = server.client.get("/api/status", headers=known)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["date"]

    server.status = replace(CALM, accounts=(replace(SHOP, attempts=1),))
    assert server.client.get("/api/status", headers=known).json()["accounts"][0]["state"] == "failing"


def test_metrics_have_the_requested_format(server: Served) -> None:
    plain = server.client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'rotator_account_live_secrets{account="shop"} 2' in plain.text

    asked = server.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families: Iterable[Metric] = parse_openmetrics(asked.text)  # type: ignore[no-untyped-call]
    assert "rotator_ready" in {family.name for family in families}


@pytest.mark.parametrize("path", ["/metrics", "/api/status", "/page.js"])
def test_long_answers_are_compressed_when_client_accepts_gzip(path: str) -> None:
    with served(MANY) as server:
        for accepts in ("gzip, deflate", "identity", ""):
            with server.client.stream("GET", path, headers={"Accept-Encoding": accepts}) as answer:
                raw = b"".join(answer.iter_raw())
            assert answer.headers.get("content-encoding") == ("gzip" if "gzip" in accepts else None)
            assert "Accept-Encoding" in answer.headers["vary"]
            content = gzip.decompress(raw) if "gzip" in accepts else raw
            assert len(content) > 1024


def test_healthz_answers_without_a_status(server: Served) -> None:
    server.error = RuntimeError("no status")
    assert server.client.get("/healthz").status_code == 200


def test_readyz_gives_the_reason_when_not_ready(server: Served) -> None:
    assert (server.client.get("/readyz").status_code, server.client.get("/readyz").json()["ready"]) == (200, True)
    server.status = replace(CALM, ready=False, not_ready="3 of 7 journals were not read yet")
    answer = server.client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "3 of 7 journals were not read yet")


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


def test_health_is_answered_while_metrics_are_rendered() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address, ThreadPoolExecutor(1) as pool:
        try:
            asked = pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE)
            assert slow.calls.acquire(timeout=PATIENCE)
            for path in ("/healthz", "/readyz"):
                assert httpx.get(f"http://{address}{path}", timeout=PATIENCE).status_code == 200
        finally:
            slow.go_on.set()
        assert asked.result().status_code == 200


def test_rendering_is_shared_by_waiting_clients() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address, ThreadPoolExecutor(6) as pool:
        try:
            first = pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE)
            assert slow.calls.acquire(timeout=PATIENCE)
            others = [pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE) for _ in range(5)]
            eventually(lambda: connections_to(address) == 6)
        finally:
            slow.go_on.set()
        assert [asked.result().status_code for asked in (first, *others)] == [200] * 6
    assert slow.count <= 2  # a request can reach the application after the rendering


def test_answer_is_reused_for_its_period() -> None:
    calls = []

    def counted() -> FleetStatus:
        calls.append(1)
        return CALM

    with serving(App(counted, Metrics(), reuse=timedelta(hours=1)), "127.0.0.1:0") as address:
        for _ in range(5):
            for accept in ("*/*", "application/openmetrics-text"):
                assert (
                    httpx.get(f"http://{address}/metrics", headers={"Accept": accept}, timeout=PATIENCE).status_code
                    == 200
                )
            assert httpx.get(f"http://{address}/api/status", timeout=PATIENCE).status_code == 200
    assert len(calls) == 3  # two formats, and the status


def test_rendering_is_skipped_for_clients_that_have_gone() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE)
        assert slow.calls.acquire(timeout=PATIENCE)
        for _ in range(20):
            with closing(connect(address)) as hasty:
                hasty.sendall(
                    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n"
                )
        assert httpx.get(f"http://{address}/healthz", timeout=PATIENCE).status_code == 200  # after all of them
        slow.go_on.set()
        assert first.result().status_code == 200
        assert httpx.get(f"http://{address}/healthz", timeout=PATIENCE).status_code == 200
    assert slow.count == 1


def half_closed(address: str, *paths: str) -> socket.socket:
    """A client that sends its requests, closes its sending side, and can still read."""
    client = connect(address)
    client.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths))
    client.shutdown(socket.SHUT_WR)
    return client


def all_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def test_client_that_closed_its_sending_side_is_answered() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address:
        with closing(half_closed(address, "/metrics", "/healthz", "/metrics", "/healthz")) as client:
            assert slow.calls.acquire(timeout=PATIENCE)
            slow.go_on.set()
            answers = all_of(client)
        with closing(half_closed(address, "/healthz")) as client:
            assert all_of(client).count(b"HTTP/1.1 200 OK") == 1
        with closing(connect(address)) as client:
            client.sendall(b"GET /healthz HT")
            client.shutdown(socket.SHUT_WR)
            assert all_of(client) == b""
    assert answers.count(b"HTTP/1.1 200 OK") == 4
    assert answers.endswith(b'{"status":"alive"}')


def test_half_closed_client_gets_an_unbroken_body() -> None:
    """It closes its sending side while it takes a long answer, in which an interim response would be foreign bytes."""
    body = b"x" * (8 << 20)

    async def answer() -> Response:
        await asyncio.sleep(0)
        return Response(200, {"Content-Type": "text/plain"}, body)

    with serving(lambda _: answer(), "127.0.0.1:0") as address, closing(connect(address)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = client.recv(1000)
        client.shutdown(socket.SHUT_WR)
        received += all_of(client)
    assert received.partition(b"\r\n\r\n")[2] == body


def test_old_client_gets_no_interim_response() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address, closing(connect(address)) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert slow.calls.acquire(timeout=PATIENCE)
        slow.go_on.set()
        assert all_of(client).startswith(b"HTTP/1.1 200 OK")


def test_bound_counts_requests_of_one_moment() -> None:
    """Requests that the server reads in one step are counted one by one, not when their tasks begin."""

    async def ask() -> list[str]:
        lock = asyncio.Lock()
        rendering = SharedRendering(
            lambda: Answer(b"x", "text/plain"), renderers=lock, reuse=timedelta(), max_waiting=2
        )
        found: list[Answer | Awaitable[Answer] | None] = []
        async with lock:
            for _ in range(4):
                try:
                    found.append(rendering.get(Request("GET", "/metrics", {})))
                except OverloadedError:
                    found.append(None)
        return [str((await one).body) if isinstance(one, asyncio.Future) else "503" for one in found]

    assert asyncio.run(ask()) == ["b'x'", "b'x'", "503", "503"]


def test_clients_beyond_the_bound_get_503() -> None:
    slow = Slow()
    bounded = App(slow.tell, Metrics(), reuse=timedelta(), max_waiting=1)
    with serving(bounded, "127.0.0.1:0") as address, ThreadPoolExecutor(1) as pool:
        try:
            first = pool.submit(httpx.get, f"http://{address}/api/status", timeout=PATIENCE)
            assert slow.calls.acquire(timeout=PATIENCE)
            refused = httpx.get(f"http://{address}/api/status", timeout=PATIENCE)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            for path in ("/healthz", "/readyz"):
                assert httpx.get(f"http://{address}{path}", timeout=PATIENCE).status_code == 200
        finally:
            slow.go_on.set()
        assert first.result().status_code == 200


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("*", True),
        ("", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=x", False),
        ("xgzip", False),
    ],
)
def test_gzip_weight_is_respected(header: str, expected: bool) -> None:
    with served(MANY) as server, server.client.stream("GET", "/metrics", headers={"Accept-Encoding": header}) as answer:
        assert (answer.headers.get("content-encoding") == "gzip") is expected


def test_internal_error_shows_no_details(server: Served) -> None:
    server.error = RuntimeError("hunter2")
    answer = server.client.get("/api/status")
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error; the log has the traceback"}


def test_unknown_path_is_not_repeated_in_the_answer(server: Served) -> None:
    for path in ("/nowhere<script>", "/metrics/", "/%2e%2e/status.py", "/index.html"):
        answer = server.client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "not found")
        assert "script" not in answer.text


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:9464", True),
        ("[::1]:9464", True),
        ("10.2.3.4", True),
        ("localhost:9464", True),
        ("LOCALHOST", True),
        ("rotator.ops.svc:9464", True),
        ("Rotator.ops.svc.:9464", True),
        (socket.gethostname(), True),
        ("rotator-0.shards.svc:9464", True),
        ("shards.svc", False),
        ("evil-shards.svc", False),
        ("evil.example.com", False),
        ("localhost.evil.example.com", False),
        ("127.0.0.1.evil.example.com", False),
        ("[evil]", False),
        ("rotator.ops.svc.evil.example.com:9464", False),
    ],
)
def test_unknown_hosts_are_refused_except_for_health(host: str, allowed: bool) -> None:
    named = App(lambda: CALM, Metrics(), allowed_hosts=lambda: ["rotator.ops.svc", "*.shards.svc"])
    with (
        serving(named, "127.0.0.1:0") as address,
        httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=PATIENCE) as client,
    ):
        for path in ("/", "/metrics", "/api/status", "/nowhere"):
            answer = client.get(path, headers={"Host": host})
            assert (answer.status_code == 403) is not allowed
            assert "evil" not in answer.text
        for path in ("/healthz", "/readyz"):
            assert client.get(path, headers={"Host": host}).status_code == 200


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_methods_except_get_and_head_are_refused(server: Served, method: str) -> None:
    answer = server.client.request(method, "/api/status")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", EVERYWHERE[:-1])
def test_head_is_get_without_the_body(server: Served, path: str) -> None:
    get, head = server.client.get(path), server.client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("content", [b"x", iter([b"x"])], ids=["counted", "chunked"])
def test_request_with_a_body_is_refused(server: Served, content: bytes | Iterator[bytes]) -> None:
    assert server.client.request("GET", "/metrics", content=content).status_code == 413


@pytest.mark.parametrize("path", EVERYWHERE)
def test_answers_have_security_headers(server: Served, path: str) -> None:
    headers = server.client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_refusals_and_errors_have_security_headers(server: Served) -> None:
    server.error = RuntimeError()
    for answer in (server.client.post("/"), server.client.get("/readyz")):
        assert answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


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


def test_slow_client_is_disconnected_after_max_wait() -> None:
    with serving(long_answer, "127.0.0.1:0", Limits(max_wait=timedelta(seconds=0.5))) as address:
        with closing(connect(address)) as silent:
            assert closed_within(silent, PATIENCE)
        with closing(connect(address)) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")
            eventually(lambda: refuses(slow, b"X-A: b\r\n"))
        with closing(connect(address)) as reluctant:
            reluctant.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # It takes nothing, and there is more to take than fits into the buffers.
            taken = len(reluctant.recv(1))
            accepted = open_files()
            eventually(lambda: open_files() < accepted)  # the server closes its end
            with suppress(ConnectionResetError):
                while chunk := reluctant.recv(1 << 20):
                    taken += len(chunk)
            assert 0 < taken < len(LONG)
    with serving(long_answer, "127.0.0.1:0") as address, closing(connect(address)) as quick:
        quick.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert quick.recv(100).startswith(b"HTTP/1.1 200")


def test_answer_deadline_starts_with_its_request() -> None:
    def slow() -> FleetStatus:
        time.sleep(0.7)
        return CALM

    def is_answered() -> bool:
        limits = Limits(max_wait=timedelta(seconds=1))
        with serving(app(slow), "127.0.0.1:0", limits) as address, closing(connect(address)) as patient:
            time.sleep(0.6)
            with suppress(ConnectionError):
                patient.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return patient.recv(100).startswith(b"HTTP/1.1 200")
            return False

    # A busy machine can take longer than either time. If both counted together, no attempt would be answered.
    assert any(is_answered() for _ in range(20))


def test_headers_and_connections_are_limited(server: Served) -> None:
    with closing(connect(server.address)) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * Limits().header_bytes)
        assert endless.recv(100).startswith(b"HTTP/1.1 400")
    with served(limits=Limits(connections=3)) as small, ExitStack() as stack:
        waiting = [stack.enter_context(closing(connect(small.address))) for _ in range(3)]
        assert small.client.get("/healthz").status_code == 200
        assert closed_within(waiting[0], PATIENCE), "who was waited for for longest made room"
        assert not closed_within(waiting[1], 0.1)


def test_client_closing_during_an_answer_logs_no_error(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    server.status = replace(MANY, accounts=MANY.accounts * 50)
    with closing(connect(server.address)) as connection:
        connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(1)
    assert server.client.get("/healthz").status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# --- start and stop -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "begins", "reached_at"),
    [
        ("127.0.0.1:0", "127.0.0.1:", ["127.0.0.1"]),
        ("0.0.0.0:0", "0.0.0.0:", ["127.0.0.1"]),
        ("[::1]:0", "[::1]:", ["[::1]"]),
        ("[::]:0", "[::]:", ["[::1]", "127.0.0.1"]),
        (":0", "[::]:", ["[::1]", "127.0.0.1"]),
    ],
)
def test_server_listens_on_and_reports_its_address(listen: str, begins: str, reached_at: list[str]) -> None:
    with served(listen=listen) as server:
        assert server.address.startswith(begins)
        port = int(server.address.removeprefix(begins))
        assert port > 0
        for host in reached_at:
            assert httpx.get(f"http://{host}:{port}/healthz", trust_env=False, timeout=PATIENCE).status_code == 200


def test_port_alone_is_ipv4_when_ipv6_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with served(listen=":0") as server:
        assert server.address.startswith("0.0.0.0:")


def test_port_in_use_is_one_line(server: Served) -> None:
    with pytest.raises(ConfigError) as caught, serving(App(lambda: CALM, Metrics()), server.address):
        pass
    assert str(caught.value) == (
        f"Cannot listen on {server.address}: Address already in use. "
        "Stop the process that listens there, or choose another address with daemon.listen."
    )


def test_foreign_address_is_one_line() -> None:
    nowhere = serving(App(lambda: CALM, Metrics()), "192.0.2.1:80")
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1:80"), nowhere:
        pass


def test_server_without_free_file_descriptors_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("asyncio.events.new_event_loop", refuse)
    with pytest.raises(ConfigError) as caught, serving(App(lambda: CALM, Metrics()), "127.0.0.1:0"):
        pass
    assert str(caught.value) == (
        "Cannot listen on 127.0.0.1:0: Too many open files. Raise the limit of open files (ulimit -n, LimitNOFILE)."
    )
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]


def test_server_stops_at_once_when_clients_are_connected(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    addresses = []

    def start_and_stop() -> None:
        with served() as server, closing(connect(server.address)) as half:
            half.sendall(b"GET / HT")
            server.client.get("/healthz")  # keeps its connection
            addresses.append(server.address)

    at_best(3, start_and_stop)
    assert not [thread.name for thread in threading.enumerate() if thread.name == "web"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    with serving(App(lambda: CALM, Metrics()), addresses[-1]) as again:
        assert again == addresses[-1]


def test_server_stops_soon_when_client_reads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def start_and_stop() -> None:
        with ExitStack() as stack:
            address = stack.enter_context(serving(long_answer, "127.0.0.1:0"))
            with closing(connect(address)) as reluctant:
                reluctant.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert reluctant.recv(1)
                stack.close()

    at_best(4, start_and_stop)
    assert not [record for record in caplog.records if record.exc_info]


def test_kept_connection_has_no_delayed_answers(server: Served) -> None:
    server.client.get("/healthz")
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        server.client.get("/healthz")
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.03  # a delayed ACK costs every one of them 0.04


def test_invalid_and_valid_requests_log_nothing(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.client.get("/healthz")
    with closing(connect(server.address)) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert not [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "asyncio"))]


def test_ten_thousand_accounts_are_served_within_a_second() -> None:
    """Of CPU, the client's share included: what else the machine does is not the page's to answer for."""
    with served(replace(MANY, accounts=MANY.accounts * 50)) as server:
        for path in ("/api/status", "/metrics"):
            begun = time.process_time()
            answer = server.client.get(path)
            assert time.process_time() - begun < 1
            assert answer.status_code == 200
        assert len(json.loads(server.client.get("/api/status").content)["accounts"]) == 10_000
