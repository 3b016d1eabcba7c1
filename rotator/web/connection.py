"""One HTTP connection: requests in, answers out, with limits for slow clients and for many of them."""

import asyncio
import resource
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import cast

import h11
import structlog

from rotator.web.answers import Request, Response, error

Application = Callable[[Request], Response | Awaitable[Response]]

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ALWAYS = "".join(f"{name}: {value}\r\n" for name, value in _SECURITY_HEADERS.items())
# The server holds one piece for a client that reads slowly, and not the whole answer.
_PIECE = 64 * 1024
_LONG_ANSWER = 256 * 1024
# How long a stop waits for answers that are being sent, in seconds.
_STOP_TIMEOUT = 1.0

_INVALID = error(400, "not a valid HTTP request", closes=True)
_NO_GZIP = error(503, "too many clients that do not accept gzip; try again", {"Retry-After": "1"})
_FAILED = error(500, "internal error; the log has the traceback")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's limits.

    Attributes:
        max_wait: Maximum time to send a request, and again to take the answer. Longer than the usual 15 s between two
            scrapes, so that those keep their connection.
        connections: Maximum number of connections. At one more, the server closes the one that has waited longest.
            Every connection is an open file, so it is at most half of the files that the process may open: rotations
            need some.
        backlog: Maximum number of connections that wait in the kernel until the server accepts them. A client beyond
            them tries again after a second.
        header_bytes: Maximum size of a request's headers.
        long_answers: Maximum number of clients that take an answer of more than 256 KiB without gzip at the same time.
        stuck_after: A client that takes nothing of such an answer for this time makes room for another one.
    """

    max_wait: timedelta = timedelta(seconds=20)
    connections: int = field(default_factory=lambda: min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))
    backlog: int = 1024
    header_bytes: int = 16_384
    long_answers: int = 8
    stuck_after: timedelta = timedelta(seconds=1)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class Connections:
    """The open connections of a server.

    Args:
        limits: The server's limits.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.is_stopping = False
        self._open: set[Connection] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()

    def add(self, connection: "Connection") -> None:
        """Add a connection. Beyond the limit, abort the first of the others by `Connection.close_order`."""
        if len(self._open) >= self.limits.connections:
            first = min(self._open, key=Connection.close_order)
            self.discard(first)  # at once: the next call must not choose it again
            first.abort()
        self._open.add(connection)
        self._none_open.clear()

    def discard(self, connection: "Connection") -> None:
        """Remove a connection that is closed."""
        self._open.discard(connection)
        if not self._open:
            self._none_open.set()

    def admit_long_answer(self) -> bool:
        """Return whether one more client may take a long answer without gzip; a client that is stuck makes room."""
        taking = [connection for connection in self._open if connection.takes_long_answer]
        if len(taking) < self.limits.long_answers:
            return True
        slowest = max(taking, key=Connection.stuck_for)
        if slowest.stuck_for() < self.limits.stuck_after.total_seconds():
            return False
        self.discard(slowest)
        slowest.abort()
        return True

    async def stop(self) -> None:
        """Close every connection; answers that are being sent have a second."""
        self.is_stopping = True
        for connection in list(self._open):
            connection.close_when_answered()
        try:
            await asyncio.wait_for(self._none_open.wait(), _STOP_TIMEOUT)
        except TimeoutError:
            for connection in list(self._open):
                connection.abort()


class Connection(asyncio.Protocol):
    """A connection: parses a request, sends its answer, and then parses the next one.

    Args:
        app: Answers the requests.
        connections: The connections of the server.
    """

    _transport: asyncio.Transport
    _deadline: asyncio.TimerHandle

    def __init__(self, app: Application, connections: Connections) -> None:
        self._app = app
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = self._new_parser()
        self._early = b""  # bytes that are not parsed yet: those of the next requests, while this one is answered
        self._is_answering = False
        self._closes = False
        self._has_ended = False  # whether the client has sent its last byte; it might still read
        self._knows_interim_responses = False
        self._task: asyncio.Task[None] | None = None
        self._is_rendering = False  # nothing of the answer is sent yet
        self._rest = memoryview(b"")
        self._paused_since: float | None = None
        self.takes_long_answer = False

    # --- for the other connections --------------------------------------------------------------------------------

    def close_order(self) -> tuple[int, float]:
        """Return the sort key for closing, lowest first.

        First the connections whose client does not take its answer, then those without a request, then the others: a
        request that this process has not answered yet is not its client's fault.
        """
        if self._paused_since is not None:
            return 0, self._paused_since
        return (2 if self._is_answering else 1), self._deadline.when()

    def stuck_for(self) -> float:
        """Return for how many seconds the client has taken nothing of its answer."""
        return 0.0 if self._paused_since is None else time.monotonic() - self._paused_since

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def close_when_answered(self) -> None:
        """Close the connection after the answer that is being sent, or now."""
        self._closes = True
        if not self._is_answering:
            self._transport.close()

    # --- called by asyncio ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._set_deadline()
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._deadline.cancel()
        if self._task is not None:
            self._task.cancel()
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._early += data
        if not self._is_answering:
            self._read_early()
        elif len(self._early) > self._connections.limits.header_bytes:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Keep the connection until its requests are answered: the client might have closed its sending side only.

        A client that has closed its connection looks the same, but its system refuses anything that the server sends.
        So an interim response tells the two apart while an answer is rendered (RFC 9110, section 15.2).
        """
        self._has_ended = True
        if self._is_rendering and self._knows_interim_responses:
            self._transport.write(_CONTINUE)
        return self._is_answering or bool(self._early)

    def pause_writing(self) -> None:
        self._paused_since = time.monotonic()

    def resume_writing(self) -> None:
        self._paused_since = None
        # Not at once: if a write within this call fails, asyncio reports the end of the connection twice.
        self._loop.call_soon(self._send_rest)

    # --- one request ----------------------------------------------------------------------------------------------

    def _new_parser(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._connections.limits.header_bytes)

    def _set_deadline(self) -> None:
        self._deadline = self._loop.call_later(self._connections.limits.max_wait.total_seconds(), self._transport.abort)

    def _read_early(self) -> None:
        """Read the bytes that came, in their order, unless a request is being answered."""
        if self._is_answering or self._transport.is_closing() or not self._early:
            return
        data = self._early
        self._early = b""
        self._parser.receive_data(data)
        try:
            event = self._parser.next_event()
            if not isinstance(event, h11.Request):
                if self._has_ended:
                    self._transport.close()
                return  # more must come
            self._parser.next_event()  # the end of a request without a body: what follows belongs to the next one
        except h11.RemoteProtocolError:
            self._begin_answer()
            self._send(_INVALID)
            return
        self._begin_answer()
        self._answer(self._request_of(event))

    def _begin_answer(self) -> None:
        self._is_answering = True
        self._early = bytes(self._parser.trailing_data[0])
        self._deadline.cancel()
        self._set_deadline()

    def _request_of(self, event: h11.Request) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name = raw_name.decode("ascii")
            value = raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        tokens = headers.get("connection", "").lower().replace(" ", "").split(",")
        self._knows_interim_responses = event.http_version == b"1.1"
        self._closes = self._closes or not self._knows_interim_responses or "close" in tokens
        path = event.target.decode("latin-1").partition("?")[0]
        return Request(event.method.decode("ascii"), path, headers, self._is_gone)

    def _is_gone(self) -> bool:
        """Return whether the client has closed its connection. asyncio watches no socket after its end."""
        ended = self._has_ended and not self._transport.is_closing()
        if ended and self._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._transport.abort()
        return self._transport.is_closing()

    def _answer(self, request: Request) -> None:
        try:
            response = self._app(request)
        except Exception:  # noqa: BLE001 - a bug costs one answer, not the server
            self._report_failure(request)
            return
        if isinstance(response, Response):
            self._send(response, request)
        else:
            self._is_rendering = True
            self._task = self._loop.create_task(self._answer_later(response, request))

    async def _answer_later(self, response: Awaitable[Response], request: Request) -> None:
        try:
            found = await response
        except Exception:  # noqa: BLE001 - the same
            self._report_failure(request)
        else:
            self._send(found, request)

    def _report_failure(self, request: Request) -> None:
        _log.exception("request.failed", path=request.path)
        self._send(_FAILED, request)

    # --- one answer -----------------------------------------------------------------------------------------------

    def _send(self, response: Response, request: Request | None = None) -> None:
        self._is_rendering = False
        if self._transport.is_closing():
            return
        is_head = request is not None and request.method == "HEAD"
        if response.lacks_gzip and len(response.body) > _LONG_ANSWER and not is_head:
            if self._connections.admit_long_answer():
                self.takes_long_answer = True
            else:
                response = _NO_GZIP
        self._closes = self._closes or response.closes or self._connections.is_stopping
        self._rest = memoryview(b"" if is_head else response.body)
        first = self._rest[:_PIECE]
        self._rest = self._rest[_PIECE:]
        self._transport.write(b"".join((self._head(response), first)))
        self._send_rest()

    def _head(self, response: Response) -> bytes:
        lines = [
            f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}\r\n",
            f"Date: {_date(int(time.time()))}\r\n",
            *(f"{name}: {value}\r\n" for name, value in response.headers.items()),
        ]
        if response.status_code != HTTPStatus.NOT_MODIFIED:
            lines.append(f"Content-Length: {len(response.body)}\r\n")
        if self._closes:
            lines.append("Connection: close\r\n")
        return "".join((*lines, _ALWAYS, "\r\n")).encode("latin-1")

    def _send_rest(self) -> None:
        """Send the next piece when the client has taken the previous ones; then read the next request."""
        waits = self._is_rendering or self._paused_since is not None
        if not self._is_answering or waits or self._transport.is_closing():
            return
        if self._rest:
            piece = self._rest[:_PIECE]
            self._rest = self._rest[_PIECE:]
            self._transport.write(piece)
            if self._paused_since is None:  # otherwise `resume_writing` continues
                self._loop.call_soon(self._send_rest)  # a long answer keeps no other client waiting
            return
        self.takes_long_answer = False
        if self._closes:
            self._transport.close()
            return
        self._is_answering = False
        self._deadline.cancel()
        self._set_deadline()
        self._task = None
        self._parser = self._new_parser()
        self._transport.resume_reading()
        if self._early:
            self._loop.call_soon(self._read_early)
        elif self._has_ended:
            self._transport.close()
