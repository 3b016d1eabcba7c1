"""The transport's use of the system's sockets."""

import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from rotator.net import Deadline, Origin, Transport, Unanswered


def test_transport_sends_head_and_body_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second piece would cost another system call, another TLS record and another packet."""
    pieces: list[bytes] = []

    def send(self: socket.socket, data: bytes, flags: int = 0) -> int:
        pieces.append(data)
        return super(socket.socket, self).send(data, flags)

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    monkeypatch.setattr(socket.socket, "send", send)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as server:
        server.submit(answer)
        origin = Origin("http", "127.0.0.1", listener.getsockname()[1])
        transport = Transport(origin, None, kept=1, keep_for=timedelta(seconds=2))
        with closing(transport):
            assert transport.send("POST", "/", Deadline.after(30), {}, b"the body").status == 204
    assert [piece.partition(b"\r\n\r\n")[2] for piece in pieces] == [b"the body"]


def test_log_of_a_request_lacks_its_query(caplog: pytest.LogCaptureFixture) -> None:
    """Some URLs of the provider contain the secret."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as server:
        server.submit(answer)
        origin = Origin("http", "127.0.0.1", listener.getsockname()[1])
        transport = Transport(origin, None, kept=0, keep_for=timedelta())
        caplog.set_level(logging.DEBUG)
        with closing(transport), capture_logs() as logged:
            transport.send("GET", "/balance?api_secret=Hidden0001", Deadline.after(30), {})
            listener.close()
            with pytest.raises(Unanswered):
                transport.send("GET", "/balance?api_secret=Hidden0001", Deadline.after(30), {})
    assert [(line["event"], line["path"], line["status"]) for line in logged] == [
        ("http.request", "/balance", 204),
        ("http.request", "/balance", None),
    ]
    assert "Hidden0001" not in str(logged)
