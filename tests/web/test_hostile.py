"""The daemon's port in bad company, over real sockets: garbage, endless requests, more clients than it has room for.

What is promised: the process lives and health is answered at once, nobody's bytes make it log a line or show a place in
the code, and no number of clients takes the files away that rotations need.
"""

import logging
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import cycle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.monitoring import FleetStatus
from rotator.web import Limits, Request, Response, serving
from testkit.cluster import PATIENCE, eventually
from tests.web.harness import CALM, MANY, app, connect, open_files, served

ANSWERS = {200, 304, 400, 403, 404, 405, 413}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12).map(str.encode)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"CONNECT", b"PRI", b"get"]) | TOKENS
PATHS = st.sampled_from(b"/ /metrics /healthz /api/status * //x http://x/metrics /%00 /%ff".split())
TARGETS = PATHS | st.binary(max_size=40) | TOKENS.map(lambda path: b"/" + path)
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"http/1.1", b""])
NAMES = TOKENS | st.sampled_from(
    b"Host Content-Length Transfer-Encoding Connection Upgrade Expect Accept Accept-Encoding If-None-Match".split()
)
WORDS = b"x 0 -1 99999999999999999999 chunked gzip,chunked close keep-alive upgrade websocket h2c 100-continue".split()
VALUES = st.binary(max_size=40) | st.sampled_from([*WORDS, b"application/openmetrics-text; version=x", b"a" * 9000])
BODIES = st.binary(max_size=60) | st.sampled_from(
    [b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n", b"zz\r\n", b"5;x=y\r\nhello\r\n", HEALTH]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """What looks like a request here and there."""
    start = b" ".join([draw(METHODS), draw(TARGETS), draw(VERSIONS)])
    headers = [b": ".join(pair) for pair in draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))]
    end = draw(st.sampled_from([b"\r\n", b"\n"]))
    host = draw(st.sampled_from([[b"Host: localhost"], [b"Host: x"], []]))
    return end.join([start, *host, *headers, b"", draw(BODIES)])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    quick = Limits(max_wait=timedelta(seconds=0.25))
    with served(replace(MANY, accounts=MANY.accounts[:20]), limits=quick) as server:
        yield server.address


@contextmanager
def no_complaint() -> Iterator[None]:
    """Nothing is logged as an error, by whatever logger."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    assert not records, [record.getMessage() for record in records]


def answer_to(address: str, sent: bytes) -> bytes:
    """What comes back before the connection is closed, or the first of it."""
    with closing(connect(address)) as connection, suppress(ConnectionError):
        connection.sendall(sent)
        return connection.recv(65_536)
    return b""


@settings(max_examples=250)
@given(requests() | st.binary(max_size=200) | st.lists(requests(), min_size=2, max_size=4).map(b"".join))
@example(b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
@example(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
@example(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
@example(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x00\xff")
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
def test_any_bytes_are_answered_and_health_still_works(address: str, sent: bytes) -> None:
    with no_complaint():
        answer = answer_to(address, sent)
        assert answer_to(address, HEALTH).startswith(b"HTTP/1.1 200 ")
    if answer:
        version, status = answer.split(b" ", 2)[:2]
        assert version == b"HTTP/1.1"
        assert int(status) in ANSWERS
        for own in (b"Traceback", b".py", b"uvicorn", b"h11"):
            assert own not in answer.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 1_000_000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000,
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(100_000)),
        b"A" * 1_000_000,
        b"\r\n" * 500_000,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b"a" * 1_000_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 200_000,
    ],
    ids=["target", "header", "headers", "no line", "empty lines", "counted body", "chunked body"],
)
def test_endless_request_is_not_read_to_its_end(address: str, sent: bytes) -> None:
    with no_complaint(), closing(connect(address)) as connection:
        connection.settimeout(PATIENCE)
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(sent)
            answer = connection.recv(100)
        assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 405", b"HTTP/1.1 413")
        assert answer_to(address, HEALTH).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_one_by_one(address: str) -> None:
    with closing(connect(address)) as connection:
        connection.sendall(HEALTH * 50)
        answers = b""
        while answers.count(b'{"status":"alive"}') < 50:
            chunk = connection.recv(65_536)
            assert chunk, answers
            answers += chunk


def test_pipelined_requests_are_answered_in_order() -> None:
    """The requests come in pieces, while earlier ones are answered."""

    def echo(request: Request) -> Response:
        return Response(200, {}, request.path.encode())

    paths = [f"/{number:03}" for number in range(60)]
    sent = b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths)
    with serving(echo, "127.0.0.1:0") as address:
        for _ in range(20):
            with closing(connect(address)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(sent), 301):
                    connection.sendall(sent[start : start + 301])
                answers = b""
                while answers.count(b"HTTP/1.1 200") < len(paths) or not answers.endswith(paths[-1].encode()):
                    chunk = connection.recv(65_536)
                    assert chunk, answers[-200:]
                    answers += chunk
            assert re.findall(r"\r\n\r\n(/\d{3})", answers.decode()) == paths


def test_request_after_a_long_answer_is_answered() -> None:
    """The client reads slowly, so the long answer is sent in many pieces."""
    with served(replace(MANY, accounts=MANY.accounts * 50)) as server, closing(connect(server.address)) as connection:
        whole = server.client.get("/metrics", headers={"Accept-Encoding": "identity"}).content
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" + HEALTH)
        received = b""
        while not received.endswith(b'{"status":"alive"}'):
            chunk = connection.recv(50_000)
            assert chunk
            received += chunk
        length = int(received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = received.partition(b"\r\n\r\n")[2]
        assert length > len(whole) // 2
        assert body[length:].startswith(b"HTTP/1.1 200 OK")


class Crowd:
    """Clients that send a request a byte at a time, and come back when they are thrown out.

    Attributes:
        turn: Held while one of them does something. Another client sends its request under it, so that no busy machine
            suspends that one in between for as long as the crowd needs to take its place.
    """

    def __init__(self, address: str, size: int) -> None:
        self._address, self._size, self._over = address, size, threading.Event()
        self.turn = threading.Lock()
        self.evicted = 0

    @contextmanager
    def there(self) -> Iterator["Crowd"]:
        with ThreadPoolExecutor(1) as pool:
            pressing = pool.submit(self._press)
            try:
                yield self
            finally:
                self._over.set()
                pressing.result()

    def _press(self) -> None:
        with ExitStack() as stack:
            members = [stack.enter_context(closing(connect(self._address))) for _ in range(self._size)]
            for number in cycle(range(self._size)):
                if self._over.wait(0.001):
                    return
                with self.turn:
                    try:
                        members[number].send(b"G")
                    except OSError:
                        self.evicted += 1
                        members[number].close()
                        members[number] = stack.enter_context(closing(connect(self._address)))


def test_slow_clients_do_not_stop_other_answers() -> None:
    """More places than the server accepts clients before it reads the first one's request."""
    with no_complaint(), served(limits=Limits(connections=64)) as server, Crowd(server.address, 256).there() as crowd:
        eventually(lambda: crowd.evicted > 0)
        for path in [b"/healthz", b"/metrics", b"/readyz", b"/api/status"] * 10:
            with crowd.turn:
                connection = connect(server.address)
                connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with closing(connection):
                assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_connection_being_answered_is_kept_when_others_idle() -> None:
    go_on, begun = threading.Event(), threading.Event()

    def slow() -> FleetStatus:
        begun.set()
        assert go_on.wait(2 * PATIENCE)
        return CALM

    with serving(app(slow), "127.0.0.1:0", Limits(connections=4)) as address, ExitStack() as stack:
        patient = stack.enter_context(closing(connect(address)))
        patient.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert begun.wait(PATIENCE)
        for _ in range(12):
            stack.enter_context(closing(connect(address)))
        assert answer_to(address, HEALTH).startswith(b"HTTP/1.1 200 ")
        go_on.set()
        assert patient.recv(100).startswith(b"HTTP/1.1 200 ")


def test_clients_that_read_nothing_make_room() -> None:
    with (
        served(replace(MANY, accounts=MANY.accounts * 100), limits=Limits(connections=4)) as server,
        ExitStack() as stack,
    ):
        for _ in range(12):
            reluctant = stack.enter_context(closing(connect(server.address)))
            reluctant.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reluctant.recv(1)
        waiting = stack.enter_context(closing(connect(server.address)))
        for _ in range(2):
            stack.enter_context(closing(connect(server.address)))
        waiting.sendall(HEALTH)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200 ")


def reluctant(address: str, stack: ExitStack) -> socket.socket:
    """Return a connection that gets /metrics without gzip and takes only its first byte."""
    connection = stack.enter_context(closing(connect(address)))
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(1)
    return connection


@pytest.mark.parametrize(("stuck_after", "status"), [(timedelta(hours=1), 503), (timedelta(), 200)])
def test_long_answers_without_gzip_have_few_places(stuck_after: timedelta, status: int) -> None:
    many = replace(MANY, accounts=MANY.accounts * 100)
    limits = Limits(long_answers=2, stuck_after=stuck_after)
    with served(many, limits=limits) as server, ExitStack() as stack:
        for _ in range(2):
            reluctant(server.address, stack)
        for encoding, expected in [("gzip", 200), ("identity", status)]:
            answer = server.client.get("/metrics", headers={"Accept-Encoding": encoding}, timeout=PATIENCE)
            assert (answer.status_code, answer.headers.get("retry-after")) == (
                expected,
                "1" if expected == 503 else None,
            )


def test_pipelined_requests_are_not_read_without_end(address: str) -> None:
    with closing(connect(address)) as connection:
        connection.setblocking(False)
        sent = 0
        with suppress(BlockingIOError, ConnectionError):
            while sent < 100_000_000:
                sent += connection.send(HEALTH * 1000)
        assert sent < 100_000_000


def test_clients_never_exhaust_open_files() -> None:
    with served() as server, ExitStack() as stack:
        assert server.client.get("/healthz").status_code == 200
        before = open_files()
        clients = [stack.enter_context(closing(connect(server.address))) for _ in range(3 * Limits().connections)]
        assert answer_to(server.address, HEALTH).startswith(b"HTTP/1.1 200 ")
        # Both ends are this process's.
        assert open_files() - before - len(clients) <= Limits().connections + Limits().backlog
