"""When a connection can be used for the next request."""

from collections import deque
from typing import cast

import h11
import pytest

from rotator.net.connection import Connection
from rotator.net.stream import Stream


class Received:
    """What a stream receives, piece by piece; nothing is the end of the server's side."""

    is_readable = False

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = deque(pieces)

    def write(self, data: bytes, until: float) -> None:
        """Take the request."""

    def read(self, until: float) -> bytes:
        """Return the next piece."""
        return self._pieces.popleft()


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ((HEAD + b"Content-Length: 2\r\n\r\nok",), True),
        ((HEAD + b"Content-Length: 2\r\n\r\nok" + HEAD,), False),
        ((HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",), False),
        # TLS can end while TCP stays open, so that nothing tells the end of the connection.
        ((HEAD + b"\r\nok", b""), False),
    ],
)
def test_connection_is_kept_after_a_complete_answer(pieces: tuple[bytes, ...], kept: bool) -> None:
    connection = Connection(cast("Stream", Received(*pieces)), keep_for=60)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]), b"", until=0)
    assert connection.receive_head(0).status_code == 200
    while isinstance(connection.receive(0), h11.Data):
        pass
    assert connection.can_be_kept() is kept
