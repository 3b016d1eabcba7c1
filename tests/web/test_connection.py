"""One connection: half closed, slow, interrupted, and with too many beside it."""

import asyncio
import logging
import resource
import socket
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.monitoring import FleetStatus
from rotator.web import Limits, Response, serving
from testkit.cluster import PATIENCE, eventually
from tests.web.harness import (
    CALM,
    LONG,
    MANY,
    Served,
    Slow,
    all_of,
    app,
    closed_within,
    connect,
    half_closed,
    long_answer,
    open_files,
    refuses,
    served,
)


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


def test_kept_connection_has_no_delayed_answers(server: Served) -> None:
    server.client.get("/healthz")
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        server.client.get("/healthz")
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.03  # a delayed ACK costs every one of them 0.04


def test_connections_leave_files_for_rotations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (200, 4096))
    assert Limits().connections == 100
