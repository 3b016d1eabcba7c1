"""A time limit for one whole httpx request, however slowly bytes drip in.

httpx limits each read, and a server that drips never exceeds that. Here every read, write and handshake gets no more
than what is left of the request's time, on a connection that was kept just as on a new one. Only the system's name
look-up, and trying one address of a name after the other, cannot be cut short.
"""

import ssl
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import httpcore
import httpx

_running = threading.local()  # a request is sent, and its answer read, by one thread


class Deadline(AbstractContextManager["Deadline"]):
    """The time of the request that this thread sends within the context; serves as httpx's trace hook as well.

    Args:
        seconds: How long it may take.

    Attributes:
        sent: Whether any of it was sent. Once the time is up, nothing is.
    """

    def __init__(self, seconds: float) -> None:
        self.sent = False
        self._ends = time.monotonic() + seconds

    def __enter__(self) -> "Deadline":
        _running.deadline = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del _running.deadline

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        """httpx tells what it does."""
        if event.endswith("send_request_headers.started"):
            if self.left() <= 0:
                raise httpx.ConnectTimeout("the time was up before anything could be sent")
            # What a proxy is told to open a tunnel is not the request yet.
            self.sent = info["request"].method != b"CONNECT"

    def left(self) -> float:
        """Seconds until the time is up."""
        return self._ends - time.monotonic()


def bound(client: httpx.Client) -> httpx.Client:
    """Have the client's connections keep to the deadline of whoever uses them; through proxies as well.

    httpcore takes a network backend, but httpx does not pass one on: its attributes are set here. Should another
    release name them differently, this fails at once.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend(transport._pool._network_backend)
    return client


class _Backend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, left, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
    """How long the next operation may take: as long as httpx says, and no longer than is left.

    Raises:
        httpcore.TimeoutException: If nothing is left.
    """
    deadline: Deadline | None = getattr(_running, "deadline", None)
    if deadline is None:
        return timeout
    left = deadline.left()
    if left <= 0:
        raise error("the time is up")
    return left if timeout is None else min(timeout, left)
