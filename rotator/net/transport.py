"""The HTTP transport of both clients: one request, in bounded time.

A server that drips bytes never exceeds a limit for each read. So a request has one deadline, and every connection
attempt, handshake, read and write gets no more than the rest of its time.

The name look-up of the system cannot be cut short. If the time is up after it, the request is not sent. Inside a tunnel
through an `https` proxy, TLS has a limit for each read.
"""

import logging
import time
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import httpcore
import structlog

from rotator.logs import foreign
from rotator.net.addresses import Origin
from rotator.net.answers import MAX_CONTENT
from rotator.net.connection import Connection, InvalidRequest, InvalidResponse, open_tunnel, proxy_headers
from rotator.net.proxies import Proxy, find_proxy
from rotator.net.stream import Deadline, Stream
from rotator.net.tls import Tls, TlsFailure, UntrustedProxy

# Share of the remaining time that a connection can take, and the least time for it in seconds: the rest is for the
# answer, or for another server.
_CONNECT_SHARE, _CONNECT_LEAST = 0.2, 1.0
# Only a proxy asks for credentials so. It did not forward the request.
_PROXY_CREDENTIALS = 407
_log = structlog.get_logger()
_MAX_ID = 100  # characters of a request id
_root = logging.getLogger()
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProxyError,
    InvalidResponse,
    OSError,  # a certificate file that cannot be read
    ValueError,  # InvalidRequest, or a name that TLS does not accept
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
        refusal: The proxy that refused the request, and the HTTP status of its answer.
        tls_failure: The failure of rotator's certificate files, or of the proxy's TLS, if that is the reason.
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
        refusal: tuple[Proxy, str] | None = None,
        tls_failure: TlsFailure | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.reason = reason
        self.sent = sent
        self.cut = cut
        self.headers = headers or {}
        self.refusal = refusal
        self.tls_failure = tls_failure

    @property
    def code(self) -> str:
        """The word in metrics in place of an HTTP status."""
        return "no_answer" if self.sent else "not_sent"


class TooLong(Unanswered):
    """The body of the response is longer than the transport accepts."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("the answer is too long", sent=True, headers=headers)


class Transport:
    """Connections to one server; safe to use from several threads.

    Args:
        origin: The server.
        tls: How to verify the server; None for `http`.
        kept: Number of idle connections to keep.
        keep_for: How long to keep an idle connection.

    Attributes:
        proxy: The proxy on the way; None if there is none.
        forwarder: The same proxy, if it forwards requests and can answer in place of the server.

    Raises:
        ConfigError: If the environment names a proxy that cannot be used.
    """

    def __init__(self, origin: Origin, tls: Tls | None, *, kept: int, keep_for: timedelta) -> None:
        self.proxy = find_proxy(origin)
        self._origin = origin
        self._tls = tls if origin.scheme == "https" else None
        # The certificate of a proxy is of an authority that the environment or the system trusts.
        self._proxy_tls = Tls() if self.proxy is not None and self.proxy.origin.scheme == "https" else None
        self._headers = [("Host", origin.location)]
        self._address = ""
        self.forwarder = self.proxy if self._tls is None else None
        if self.forwarder is not None:
            self._headers += proxy_headers(self.forwarder)
            self._address = str(origin)
        self._kept = kept
        self._keep_for = keep_for.total_seconds()
        self._idle: deque[Connection] = deque()
        self._closed = False
        weakref.finalize(self, _close, self._idle)

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
        connection: Connection | None = None
        problem: Exception
        began_at = time.monotonic()
        try:
            connection = self._take() or self._connect(deadline)
            connection.send(
                method, self._address + target, (*self._headers, *headers.items(), *length), content, deadline
            )
            status, received = connection.receive_head(deadline)
            response = Response(status, received, self._read(connection, deadline, received))
            if self.forwarder is not None and status == _PROXY_CREDENTIALS:
                raise httpcore.ProxyError(str(status))
        except _FAILURES as error:
            problem = error
        else:
            self._log_request(method, target, began_at, response.status, received)
            return response
        finally:
            if connection is not None:
                self._release(connection)
        self._log_request(method, target, began_at, None, received)
        raise self._unanswered(problem, deadline, received)

    def close(self) -> None:
        """Close the idle connections; the others when their requests end."""
        self._closed = True
        _close(self._idle)

    def _log_request(
        self, method: str, target: str, began_at: float, status: int | None, received: Mapping[str, str]
    ) -> None:
        """Log a request without its query, which can contain a secret."""
        if not _root.isEnabledFor(logging.DEBUG):
            return  # making an event that is then dropped would take 3 % of a rotation
        request_id = foreign(received.get("x-request-id", ""), _MAX_ID)
        _log.debug(
            "http.request",
            method=method,
            server=self._origin.location,
            path=target.partition("?")[0],
            status=status,
            duration_seconds=round(time.monotonic() - began_at, 3),
            **({"request_id": request_id} if request_id else {}),
        )

    def _take(self) -> Connection | None:
        """The connection that was used last, if it can be used again."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread has taken it
                break
            if connection.can_be_used:
                return connection
            connection.close()
        return None

    def _connect(self, deadline: Deadline) -> Connection:
        until = min(deadline, time.monotonic() + max(_CONNECT_SHARE * deadline.left(), _CONNECT_LEAST))
        proxy = self.proxy
        first = self._origin if self.proxy is None else self.proxy.origin
        stream = Stream(first.host, first.port, until)
        try:
            if proxy is not None and self._proxy_tls is not None:
                _start_proxy_tls(stream, proxy, self._proxy_tls, until)
            if self._tls is not None:
                if proxy is not None:
                    open_tunnel(stream, self._origin, proxy, float(deadline))  # the request itself is not sent yet
                stream.start_tls(self._tls.context(), self._tls.server_name or self._origin.host, until)
        except BaseException:
            stream.close()
            raise
        return Connection(stream, self._keep_for)

    def _release(self, connection: Connection) -> None:
        # Nothing tells whether there is something to read within the TLS of a proxy's TLS.
        is_opaque = self._tls is not None and self._proxy_tls is not None
        if self._closed or is_opaque or not connection.can_be_kept():
            connection.close()
            return
        with suppress(IndexError):  # there is none left
            while len(self._idle) >= self._kept or self._idle[0].has_expired:
                self._idle.popleft().close()
        self._idle.append(connection)

    def _read(self, connection: Connection, deadline: Deadline, headers: Mapping[str, str]) -> bytes:
        content = bytearray()
        while part := connection.receive(deadline):
            content += part
            if len(content) > MAX_CONTENT:
                raise TooLong(headers)
        return bytes(content)

    def _unanswered(self, error: Exception, deadline: Deadline, headers: Mapping[str, str]) -> Unanswered:
        kind = _event(error)
        if self.proxy is not None:
            kind += f", through {self.proxy}"
        # Other errors repeat text of a server or a proxy.
        reason = str(error) if isinstance(error, httpcore.NetworkError | OSError) else ""
        cut = isinstance(error, httpcore.ReadError | httpcore.WriteError | InvalidResponse)
        refusal = (self.proxy, str(error)) if self.proxy and isinstance(error, httpcore.ProxyError) else None
        failure = error if isinstance(error, TlsFailure) else None
        sent = deadline.sent and refusal is None
        return Unanswered(kind, reason, sent=sent, cut=cut, headers=headers, refusal=refusal, tls_failure=failure)


def _start_proxy_tls(stream: Stream, proxy: Proxy, tls: Tls, until: float) -> None:
    try:
        stream.start_tls(tls.context(), proxy.origin.host, until)
    except httpcore.ConnectError as error:
        raise UntrustedProxy(proxy, error) from error


def _event(error: Exception) -> str:
    """Return what happened, in a few words without foreign text."""
    match error:
        case httpcore.ProxyError():
            return f"the proxy answered {error}"
        case httpcore.ConnectTimeout():
            return "no connection within the time limit"
        case httpcore.TimeoutException() | TimeoutError():
            return "no answer within the time limit"
        case httpcore.ConnectError():
            return "no connection"
        case httpcore.ReadError() | httpcore.WriteError():
            return "the connection broke off"
        case InvalidResponse():
            return "the answer is incomplete, or is not HTTP"
        case InvalidRequest():
            return "the request is not valid HTTP"
    return "a network error"


def _close(connections: deque[Connection]) -> None:
    while connections:
        connections.pop().close()
