"""Requests and responses on one connection, and when it can be used for the next request."""

import sys
from collections import deque
from types import FrameType
from typing import cast

import pytest

from rotator.net.connection import Connection, InvalidRequest, InvalidResponse
from rotator.net.stream import Stream


class Received:
    """What a stream receives, piece by piece; nothing is the end of the server's side."""

    is_readable = False

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = deque(pieces)
        self.written = b""

    def write(self, data: bytes, until: float) -> None:
        """Take the request."""
        self.written += data

    def read(self, until: float) -> bytes:
        """Return the next piece."""
        return self._pieces.popleft()


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
LENGTH = HEAD + b"Content-Length: 2\r\n\r\nok"


def sent(*pieces: bytes) -> Connection:
    connection = Connection(cast("Stream", Received(*pieces)), keep_for=60)
    connection.send("GET", "/", [("Host", "a")], b"", until=0)
    return connection


def content(connection: Connection) -> bytes:
    return b"".join(iter(lambda: connection.receive(0), b""))


def whole(connection: Connection) -> bytes:
    connection.receive_head(0)
    return content(connection)


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ((LENGTH,), True),
        ((CHUNKS + b"\r\n",), True),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", LENGTH), True),
        ((LENGTH + HEAD,), False),
        ((LENGTH + b"x",), False),
        ((HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",), False),
        ((HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok" + HEAD,), False),
        ((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",), False),
        # TLS can end while TCP stays open, so that nothing tells the end of the connection.
        ((HEAD + b"\r\nok", b""), False),
        ((b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"\r\nok", b""), False),
        ((b"HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok",), False),
    ],
)
def test_connection_is_kept_after_a_complete_answer(pieces: tuple[bytes, ...], kept: bool) -> None:
    connection = sent(*pieces)
    assert connection.receive_head(0)[0] == 200
    assert content(connection) == b"ok"
    assert connection.can_be_kept() is kept


def test_connection_with_unread_body_is_not_kept() -> None:
    connection = sent(HEAD + b"Content-Length: 3\r\n\r\nok")
    connection.receive_head(0)
    assert connection.receive(0) == b"ok"
    assert not connection.can_be_kept()


@pytest.mark.parametrize("header", [("Connection", "close"), ("connection", "Close")])
def test_connection_is_not_kept_when_request_closes_it(header: tuple[str, str]) -> None:
    """A server closes it after its answer, and need not say so."""
    connection = Connection(cast("Stream", Received(LENGTH)), keep_for=60)
    connection.send("POST", "/", [("Host", "a"), header], b"", until=0)
    assert whole(connection) == b"ok"
    assert not connection.can_be_kept()


def test_responses_on_one_connection_have_separate_headers() -> None:
    connection = sent(HEAD + b"A: 1\r\nContent-Length: 2\r\n\r\nok", HEAD + b"B: 2\r\nContent-Length: 0\r\n\r\n")
    assert connection.receive_head(0) == (200, {"a": "1", "content-length": "2"})
    assert content(connection) == b"ok"
    connection.send("GET", "/", [("Host", "a")], b"", until=0)
    assert connection.receive_head(0) == (200, {"b": "2", "content-length": "0"})
    assert content(connection) == b""


def test_interim_responses_and_trailers_add_no_headers() -> None:
    connection = sent(b"HTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\n" + CHUNKS + b"B: 2\r\n\r\n")
    assert connection.receive_head(0) == (200, {"transfer-encoding": "chunked"})
    assert content(connection) == b"ok"
    assert connection.receive_head(0) == (200, {"transfer-encoding": "chunked"})


def test_lines_can_end_with_lf_only() -> None:
    connection = sent(b"HTTP/1.1 200 OK\nA: 1\nContent-Length: 2\n\nok")
    assert connection.receive_head(0) == (200, {"a": "1", "content-length": "2"})
    assert content(connection) == b"ok"


def test_headers_of_one_name_are_joined() -> None:
    assert sent(HEAD + b"A: 1\r\na: 2\r\nB:\r\n\r\n").receive_head(0) == (200, {"a": "1, 2", "b": ""})


def test_spaces_beside_values_and_chunk_sizes_are_ignored() -> None:
    connection = sent(HEAD + b"A: \t1 \t\r\nTransfer-Encoding: chunked \r\n\r\n2  \r\nok\r\n0 \r\n\r\n")
    assert connection.receive_head(0) == (200, {"a": "1", "transfer-encoding": "chunked"})
    assert content(connection) == b"ok"
    assert connection.can_be_kept()


@pytest.mark.parametrize(
    "piece",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n" + LENGTH,
        b"HTTP/1.1 104 X\r\nContent-Length: 2\r\n\r\nno" + LENGTH,
        b"HTTP/1.1 104 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n" + LENGTH,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"A : 1\r\n\r\n",
        HEAD + b"A: 1\r\n 2\r\n\r\n",
        HEAD + b"A: 1\x00\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"",
    ],
)
def test_head_that_cannot_be_read_is_refused(piece: bytes) -> None:
    with pytest.raises(InvalidResponse):
        sent(piece).receive_head(0)


@pytest.mark.parametrize("start", [HEAD, CHUNKS, HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;a="])
def test_endless_headers_trailers_and_chunk_sizes_are_refused(start: bytes) -> None:
    connection = sent(start, *[b"A: x\r\n" * 10_000 if start.endswith(b"\n") else b"x" * 60_000] * 2)
    with pytest.raises(InvalidResponse):
        whole(connection)


@pytest.mark.parametrize("end", [b"Content-Length: 3\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"])
def test_body_that_ends_early_is_refused(end: bytes) -> None:
    with pytest.raises(InvalidResponse):
        whole(sent(HEAD + end, b""))


@pytest.mark.parametrize("callback", ["on_header", "on_headers_complete", "on_body", "on_message_complete"])
def test_interrupt_while_a_response_is_read_is_raised(callback: str) -> None:
    """A second Ctrl-C ends a command at once. It must not become a lost answer."""

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == callback:
            raise KeyboardInterrupt

    connection, before = sent(LENGTH), sys.getprofile()
    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            connection.receive_head(0)
    finally:
        sys.setprofile(before)
    assert not connection.can_be_kept()


def test_request_is_sent_as_one_message() -> None:
    stream = Received()
    Connection(cast("Stream", stream), 60).send("POST", "/a?b", [("Host", "a"), ("X", "b c")], b"d", until=0)
    assert stream.written == b"POST /a?b HTTP/1.1\r\nHost: a\r\nX: b c\r\n\r\nd"


@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("/a b", ("X", "y")),
        ("/a\r\nX: y", ("X", "y")),
        ("/\u00e9", ("X", "y")),
        ("", ("X", "y")),
        ("/", ("X", "y\r\nZ: z")),
        ("/", ("X", "y\n")),
        ("/", ("X", "\u00e9")),
        ("/", ("X", "\x00")),
        ("/", ("X: y\r\nZ", "z")),
        ("/", ("X y", "z")),
        ("/", ("", "z")),
    ],
)
def test_invalid_request_is_not_sent(target: str, header: tuple[str, str]) -> None:
    stream = Received()
    with pytest.raises(InvalidRequest):
        Connection(cast("Stream", stream), 60).send("GET", target, [header], b"", until=0)
    assert stream.written == b""
