"""The HTTP transport of both clients: one request, in bounded time.

A server that drips bytes never exceeds a limit for each read. So a request has one deadline, and every connection
attempt, handshake, read and write gets no more than the rest of its time. httpcore passes the timeouts of a request to
the network backend unchanged. The backend here gets instants of the monotonic clock in their place.

The name look-up of the system cannot be cut short. If the time is up after it, the request is not sent. Inside a tunnel
through an `https` proxy httpcore does TLS itself, with a limit for each read.
"""

import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpcore

from rotator.net.addresses import Origin
from rotator.net.proxies import Proxy, find_proxy
from rotator.net.tls import Tls

# Share of the remaining time that a connection can take, and the least time for it in seconds: the rest is for the
# answer, or for another server.
_CONNECT_SHARE, _CONNECT_LEAST = 0.2, 1.0
# A piece of this size fits into the buffer of a socket that accepts data again: no piece waits twice.
_WRITE_SIZE = 16 * 1024
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    OSError,  # a certificate file that cannot be read
    ValueError,  # a number in a header that is too long for Python
)


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response.

    Attributes:
        status: The HTTP status.
        headers: Values by their names in lower case.
        content: The body as it was sent, even if it is compressed.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class Unanswered(Exception):
    """There is no complete response.

    Attributes:
        kind: The event in a few words, without foreign text.
        reason: The words of the system or of OpenSSL; empty for anything that a server or a proxy can write.
        sent: Whether the server might have received the request.
        cut: Whether the connection ended, as a kept one does that the server closes at that moment.
        headers: Headers of a response whose body was cut.
        redirected_to: The server that a redirect led to; empty without a redirect.
    """

    redirected_to = ""

    def __init__(
        self,
        kind: str,
        reason: str = "",
        *,
        sent: bool,
        cut: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind, self.reason, self.sent, self.cut = kind, reason, sent, cut
        self.headers = headers or {}

    @property
    def code(self) -> str:
        """The word in metrics in place of an HTTP status."""
        return "no_answer" if self.sent else "not_sent"


class TooLong(Unanswered):
    """The body of the response is longer than the transport accepts."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("the answer is too long", sent=True, headers=headers)


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


class Transport:
    """Connections to one server; safe to use from several threads.

    Args:
        origin: The server.
        tls: How to verify the server; None for `http`.
        kept: Number of idle connections to keep.
        keep_for: How long to keep an idle connection.
        max_content: Longest body to accept, in bytes.

    Attributes:
        proxy: The proxy on the way; None if there is none.

    Raises:
        ConfigError: If the environment names a proxy that cannot be used.
    """

    def __init__(self, origin: Origin, tls: Tls | None, *, kept: int, keep_for: timedelta, max_content: int) -> None:
        self.proxy = find_proxy(origin)
        self._origin = httpcore.Origin(origin.scheme.encode(), origin.url_host.encode(), origin.port)
        self._host = [("Host", origin.location)]
        self._max_content = max_content
        self._kept = kept
        self._idle: deque[httpcore.ConnectionInterface] = deque()
        self._closed = False
        weakref.finalize(self, _close, self._idle)
        backend = _Backend(tls)
        self._factory = httpcore.ConnectionPool(
            ssl_context=backend.placeholder,
            proxy=None if self.proxy is None else _proxy(self.proxy),
            keepalive_expiry=keep_for.total_seconds(),
            network_backend=backend,
        )

    def send(
        self, method: str, target: str, deadline: Deadline, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        """Send a request and return the response, of any status.

        Args:
            method: The HTTP method.
            target: Path and query, in ASCII.
            deadline: When the request ends.
            headers: In addition to Host and Content-Length.
            content: The body.

        Raises:
            Unanswered: If there is no complete response.
            TooLong: If its body is too long.
        """
        length = [("Content-Length", str(len(content)))] if content or method == "POST" else []
        received: dict[str, str] = {}
        problem: Exception
        connection = self._take()
        try:
            request = httpcore.Request(
                method,
                httpcore.URL(scheme=self._origin.scheme, host=self._origin.host, port=self._origin.port, target=target),
                headers=[*self._host, *headers.items(), *length],
                content=content,
                extensions={"timeout": _timeouts(deadline)},
            )
            response = connection.handle_request(request)
            try:
                _check(response)
                received |= _headers(response)
                return Response(response.status, received, self._read(response, received))
            finally:
                response.close()
        except _FAILURES as error:
            problem = error
        finally:
            self._release(connection)
        raise self._unanswered(problem, deadline, received)

    def close(self) -> None:
        """Close the idle connections; the others when their requests end."""
        self._closed = True
        _close(self._idle)

    def _take(self) -> httpcore.ConnectionInterface:
        """The connection that was used last, if it can be used again; else a new one."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread has taken it
                break
            if not connection.has_expired():
                return connection
            connection.close()
        return self._factory.create_connection(self._origin)

    def _release(self, connection: httpcore.ConnectionInterface) -> None:
        if not connection.is_available() or self._closed:
            connection.close()
            return
        with suppress(IndexError):  # there is none left
            while len(self._idle) >= self._kept or self._idle[0].has_expired():
                self._idle.popleft().close()
        self._idle.append(connection)

    def _read(self, response: httpcore.Response, headers: Mapping[str, str]) -> bytes:
        content = bytearray()
        for chunk in response.iter_stream():
            content += chunk
            if len(content) > self._max_content:
                raise TooLong(headers)
        return bytes(content)

    def _unanswered(self, error: Exception, deadline: Deadline, headers: Mapping[str, str]) -> Unanswered:
        kind = _event(error)
        if self.proxy is not None:
            kind += f", through the proxy {self.proxy.origin}"
        # Other errors repeat text of a server or a proxy.
        reason = str(error) if isinstance(error, httpcore.NetworkError | OSError) else ""
        cut = isinstance(error, httpcore.ReadError | httpcore.WriteError | httpcore.RemoteProtocolError)
        return Unanswered(kind, reason, sent=deadline.sent, cut=cut, headers=headers)


def _event(error: Exception) -> str:
    """Return what happened, in a few words without foreign text."""
    match error:
        case httpcore.ProxyError():
            return f"the proxy answered {str(error)[:3]}"
        case httpcore.ConnectTimeout():
            return "no connection within the time limit"
        case httpcore.TimeoutException() | TimeoutError():
            return "no answer within the time limit"
        case httpcore.ConnectError():
            return "no connection"
        case httpcore.ReadError() | httpcore.WriteError():
            return "the connection broke off"
        case httpcore.RemoteProtocolError():
            return "the answer is incomplete, or is not HTTP"
        case httpcore.LocalProtocolError():
            return "the request is not valid HTTP"
    return "a network error"


class _Backend(httpcore.NetworkBackend):
    """Connects within the time of a request, one address of a name after the other.

    Attributes:
        placeholder: Stands for the context that `tls` makes for each connection, because its files can change.
    """

    def __init__(self, tls: Tls | None) -> None:
        self.tls = tls
        self.placeholder = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from None
        problem: Exception = httpcore.ConnectError("the name has no address")
        for number, (*_, address) in enumerate(found):
            left = _left(timeout, httpcore.ConnectTimeout) / (len(found) - number)
            try:
                stream = self._backend.connect_tcp(str(address[0]), port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
            else:
                return _Stream(stream, self)
        raise problem


class _Stream(httpcore.NetworkStream):
    """A connection whose operations keep to the deadline of the request.

    httpcore writes the head and the body of a request separately. They are sent together, before the first read.

    Attributes:
        has_answered: Whether the server sent anything after the last byte that was written.
    """

    def __init__(self, stream: httpcore.NetworkStream, backend: _Backend) -> None:
        self._stream, self._backend = stream, backend
        self._unsent = b""
        self.has_answered = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # A server can answer and close the connection before it received everything.
        with suppress(httpcore.WriteError):
            self._send(timeout)
        data = self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))
        self.has_answered = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the signature is the library's
        self.has_answered = False
        self._unsent += buffer

    def _send(self, timeout: float | None) -> None:
        buffer, self._unsent = self._unsent, b""
        for start in range(0, len(buffer), _WRITE_SIZE):
            left = _left(timeout, httpcore.WriteTimeout)
            # The request for a tunnel is for the proxy.
            if isinstance(timeout, Deadline) and not buffer.startswith(b"CONNECT "):
                timeout.sent = True
            self._stream.write(buffer[start : start + _WRITE_SIZE], left)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        tls, name = self._backend.tls, (server_hostname or "").strip("[]")
        try:
            if tls is not None and ssl_context is self._backend.placeholder:  # not the context for the proxy
                ssl_context, name = tls.context(), tls.server_name or name
            stream = self._stream.start_tls(ssl_context, name, _left(timeout, httpcore.ConnectTimeout))
        except BaseException:
            self.close()
            raise
        return _Stream(stream, self._backend)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _close(connections: deque[httpcore.ConnectionInterface]) -> None:
    while connections:
        connections.pop().close()


def _proxy(proxy: Proxy) -> httpcore.Proxy:
    origin = proxy.origin
    url = httpcore.URL(scheme=origin.scheme, host=origin.url_host, port=origin.port, target="/")
    # Its certificate is of an authority that the environment or the system trusts.
    return httpcore.Proxy(url, proxy.credentials, ssl_context=Tls().context() if origin.scheme == "https" else None)


def _timeouts(deadline: Deadline) -> dict[str, float]:
    left = deadline.left()
    connect = min(deadline, time.monotonic() + max(_CONNECT_SHARE * left, _CONNECT_LEAST))
    return {"connect": connect, "read": deadline, "write": deadline}


def _left(until: float | None, error: type[httpcore.TimeoutException]) -> float:
    """Seconds until an instant.

    Raises:
        httpcore.TimeoutException: If none are left.
    """
    left = (until or 0.0) - time.monotonic()
    if left <= 0:
        raise error("the time is up")
    return left


def _check(response: httpcore.Response) -> None:
    """Check that this is the response to the request, and no rest of the one before.

    A server can send more than the length that it announces. The rest would be read as the next response.

    Raises:
        httpcore.RemoteProtocolError: If it is not.
    """
    stream = response.extensions["network_stream"]
    if not (isinstance(stream, _Stream) and stream.has_answered):
        raise httpcore.RemoteProtocolError("this is not the response to the request")


def _headers(response: httpcore.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
