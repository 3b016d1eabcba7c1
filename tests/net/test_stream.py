"""Reads and writes of a connection, which wait no longer than they have to."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpcore
import pytest
import trustme

from rotator.net.stream import Stream
from testkit.cluster import PATIENCE

# More than the buffers of both sockets hold.
BODY = bytes(range(256)) * 32 * 1024
Serve = Callable[[socket.socket], None]


@contextmanager
def connected(serve: Serve, authority: trustme.CA | None = None) -> Iterator[Stream]:
    """A connection to a server, by TLS if there is an authority."""

    def answer() -> None:
        opened, _ = listener.accept()
        with opened:
            if authority is None:
                serve(opened)
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            with context.wrap_socket(opened, server_side=True) as secured:
                serve(secured)

    until = time.monotonic() + PATIENCE
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as server:
        served = server.submit(answer)
        with closing(Stream("127.0.0.1", listener.getsockname()[1], until)) as stream:
            if authority is not None:
                context = ssl.create_default_context()
                authority.configure_trust(context)
                stream.start_tls(context, "127.0.0.1", until)
            yield stream
        served.result()


def echo(opened: socket.socket) -> None:
    """Receive everything, then send it back."""
    received = b""
    while len(received) < len(BODY):
        received += opened.recv(1 << 16)
    opened.sendall(received)


@pytest.fixture(params=["plain text", "TLS"])
def authority(request: pytest.FixtureRequest) -> trustme.CA | None:
    return trustme.CA() if request.param == "TLS" else None


def test_stream_carries_more_than_the_buffers_hold(authority: trustme.CA | None) -> None:
    until = time.monotonic() + PATIENCE
    with connected(echo, authority) as stream:
        stream.write(BODY, until)
        received = b""
        while len(received) < len(BODY):
            received += stream.read(until)
        assert received == BODY
        assert stream.read(until) == b""


def test_write_ends_when_nothing_is_taken(authority: trustme.CA | None) -> None:
    def wait(opened: socket.socket) -> None:
        while opened.recv(1 << 16):
            time.sleep(0.2)

    with connected(wait, authority) as stream, pytest.raises(httpcore.WriteTimeout):
        stream.write(4 * BODY, time.monotonic() + 0.5)


def test_read_ends_when_nothing_comes(authority: trustme.CA | None) -> None:
    def wait(opened: socket.socket) -> None:
        assert opened.recv(1) == b""

    with connected(wait, authority) as stream, pytest.raises(httpcore.ReadTimeout):
        stream.read(time.monotonic() + 0.3)


def test_read_ends_within_a_record_of_tls() -> None:
    """There is something to read then, and nothing to return."""
    authority = trustme.CA()

    def begin(opened: socket.socket) -> None:
        assert opened.recv(2) == b"go"
        with socket.socket(fileno=opened.detach()) as below:
            below.sendall(b"\x17\x03\x03\x40\x00" + b"x" * 100)
            assert below.recv(1) == b""

    with connected(begin, authority) as stream:
        stream.write(b"go", time.monotonic() + PATIENCE)
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(time.monotonic() + 0.5)


def test_read_and_write_set_no_socket_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit would be a system call, and one more to wait: a thread loses its turn at both."""

    def limit(self: socket.socket, value: float | None) -> None:
        raise AssertionError(f"a limit of {value}")

    until = time.monotonic() + 10**9
    with connected(lambda opened: opened.sendall(opened.recv(2))) as stream:
        monkeypatch.setattr(socket.socket, "settimeout", limit)
        stream.write(b"ok", until)
        assert stream.read(until) == b"ok"
