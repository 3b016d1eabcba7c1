"""A connection to a server or a proxy, whose operations keep to the deadline of a request.

httpcore opens the sockets and starts TLS, also within the TLS of a proxy.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import httpcore

# A piece of this size fits into the buffer of a socket that accepts data again: no piece waits twice.
_WRITE_SIZE = 16 * 1024
_READ_SIZE = 64 * 1024
# In seconds: the system takes no number of milliseconds above 2 ** 31.
_LONGEST_WAIT = 1_000_000
_backend = httpcore.SyncBackend()
T = TypeVar("T")


class Deadline(float):
    """The instant, by the monotonic clock, at which a request ends.

    Attributes:
        sent: Whether any byte of the request was sent. After the deadline none is.
    """

    sent = False

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline of a request that can take this long."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left; not negative."""
        return max(0.0, self - time.monotonic())


class _Socket:
    """A socket, or TLS on one, that waits only where it has to.

    httpcore's streams set a time limit before each read and write, and a socket with a limit waits before each. Both
    are system calls, and at each a thread gives its turn to another. Without them, a rotation takes 4 % less CPU.
    """

    def __init__(self, opened: socket.socket) -> None:
        opened.settimeout(0)
        self._socket = opened
        self._poll = select.poll()
        self._poll.register(opened)

    @property
    def is_readable(self) -> bool:
        """Whether there is something to read: data, or the end of the connection."""
        self._poll.modify(self._socket, select.POLLIN)
        return bool(self._poll.poll(0))

    def read(self, until: float) -> bytes:
        """See `Stream.read`."""
        try:
            if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                self._wait(select.POLLIN, until, httpcore.ReadTimeout)
            return self._done(lambda: self._socket.recv(_READ_SIZE), select.POLLIN, until, httpcore.ReadTimeout)
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, data: bytes, until: float) -> None:
        """See `Stream.write`."""
        try:
            while data:
                sent = self._done(partial(self._socket.send, data), select.POLLOUT, until, httpcore.WriteTimeout)
                data = data[sent:]
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def _done(self, operation: Callable[[], T], event: int, until: float, error: type[httpcore.TimeoutException]) -> T:
        """The result of an operation, as soon as it does not block."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                self._wait(event, until, error)
            except ssl.SSLWantReadError:  # TLS can have to receive before it sends, and the other way round
                self._wait(select.POLLIN, until, error)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, until, error)

    def _wait(self, event: int, until: float, error: type[httpcore.TimeoutException]) -> None:
        self._poll.modify(self._socket, event)
        if not self._poll.poll(1000 * min(_left(until, error), _LONGEST_WAIT)):
            raise error("the time is up")


class Stream:
    """A connection.

    Args:
        host: A name or an IP address. One address of a name is tried after the other.
        port: The port.
        until: The end of the attempt, by the monotonic clock.

    Raises:
        httpcore.ConnectError: If there is none.
        httpcore.ConnectTimeout: If the time is up.
    """

    def __init__(self, host: str, port: int, until: float) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from None
        problem: Exception = httpcore.ConnectError("the name has no address")
        for number, (*_, address) in enumerate(found):
            left = _left(until, httpcore.ConnectTimeout) / (len(found) - number)
            try:
                self._stream = _backend.connect_tcp(str(address[0]), port, left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
            else:
                self._socket: _Socket | None = _Socket(self._stream.get_extra_info("socket"))
                return
        raise problem

    @property
    def is_readable(self) -> bool:
        """Whether there is something to read: data, or the end of the connection."""
        return self._socket is None or self._socket.is_readable

    def start_tls(self, context: ssl.SSLContext, name: str, until: float) -> None:
        """Continue with TLS.

        Args:
            context: How to verify the peer.
            name: The name that its certificate must contain.
            until: The end of the handshake, by the monotonic clock.

        Raises:
            httpcore.ConnectError: If that fails.
            httpcore.ConnectTimeout: If the time is up.
        """
        below = self._stream.get_extra_info("socket")
        self._stream = self._stream.start_tls(context, name, _left(until, httpcore.ConnectTimeout))
        opened = self._stream.get_extra_info("socket")
        # Within the TLS of a proxy, TLS has no socket of its own.
        self._socket = None if opened is below else _Socket(opened)

    def read(self, until: float) -> bytes:
        """Return what the peer sent; nothing if it ended the connection.

        Raises:
            httpcore.ReadError: If the connection broke off.
            httpcore.ReadTimeout: If the time is up.
        """
        if self._socket is not None:
            return self._socket.read(until)
        return self._stream.read(_READ_SIZE, _left(until, httpcore.ReadTimeout))

    def write(self, data: bytes, until: float) -> None:
        """Send data. If `until` is a Deadline, it is part of its request.

        Raises:
            httpcore.WriteError: If the connection broke off.
            httpcore.WriteTimeout: If the time is up.
        """
        for start in range(0, len(data), _WRITE_SIZE):
            left = _left(until, httpcore.WriteTimeout)
            if isinstance(until, Deadline):
                until.sent = True
            piece = data[start : start + _WRITE_SIZE]
            if self._socket is not None:
                self._socket.write(piece, until)
            else:
                self._stream.write(piece, left)

    def close(self) -> None:
        """End the connection."""
        self._stream.close()


def _left(until: float, error: type[httpcore.TimeoutException]) -> float:
    """Seconds until an instant.

    Raises:
        httpcore.TimeoutException: If none are left.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise error("the time is up")
    return left
