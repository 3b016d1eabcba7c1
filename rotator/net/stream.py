"""A connection to a server or a proxy, whose operations keep to the deadline of a request.

The sockets and TLS, also within the TLS of a proxy, are httpcore's. The limits of its streams are for each operation.
"""

import socket
import ssl
import time

import httpcore

# A piece of this size fits into the buffer of a socket that accepts data again: no piece waits twice.
_WRITE_SIZE = 16 * 1024
_READ_SIZE = 64 * 1024
_backend = httpcore.SyncBackend()


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
                return
        raise problem

    @property
    def is_readable(self) -> bool:
        """Whether there is something to read: data, or the end of the connection."""
        return bool(self._stream.get_extra_info("is_readable"))

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
        self._stream = self._stream.start_tls(context, name, _left(until, httpcore.ConnectTimeout))

    def read(self, until: float) -> bytes:
        """Return what the peer sent; nothing if it ended the connection.

        Raises:
            httpcore.ReadError: If the connection broke off.
            httpcore.ReadTimeout: If the time is up.
        """
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
            self._stream.write(data[start : start + _WRITE_SIZE], left)

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
