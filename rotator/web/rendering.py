"""Render an answer once for all clients that request it within a second, and send it in pieces."""

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from anyio import Lock, Semaphore, to_thread
from anyio.lowlevel import checkpoint
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_WORTH_COMPRESSING = 1024
# How much longer an answer is used while the next one is rendered: many clients must not wait for it.
_OVERTIME = 4.0
# The server holds up to two pieces for a client that reads slowly, and not the whole answer.
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A rendered answer, for any number of clients.

    Attributes:
        body: The content.
        content_type: Its media type.
        compressed: The content in gzip; None if it is too short for that.
        etag: Its ETag, if it has one.
        status_code: The HTTP status.
    """

    body: bytes
    content_type: str
    compressed: bytes | None = None
    etag: str | None = None
    status_code: int = 200


class OverloadedError(Exception):
    """Too many clients wait for the same answer."""


def answer(body: bytes, content_type: str, etag: str | None = None) -> Answer:
    """Return an answer, compressed as well if that is worthwhile."""
    compressed = gzip.compress(body, 1) if len(body) >= _WORTH_COMPRESSING else None
    return Answer(body, content_type, compressed, etag)


def respond(rendered: Answer, headers: Headers) -> Response:
    """Return the response to a request with these headers."""
    if rendered.etag is not None and rendered.etag == headers.get("if-none-match"):
        return Response(status_code=304, headers={"ETag": rendered.etag})
    fields = {"Content-Type": rendered.content_type, "Vary": "Accept, Accept-Encoding"}
    if rendered.etag is not None:
        fields["ETag"] = rendered.etag
    if rendered.compressed is not None and accepts_gzip(headers.get("accept-encoding", "")):
        return _InPieces(rendered.compressed, headers=fields | {"Content-Encoding": "gzip"})
    return _InPieces(rendered.body, rendered.status_code, headers=fields)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether a client with this Accept-Encoding header accepts gzip (RFC 9110, section 12.5.3)."""
    weights = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


class SharedRendering:
    """One answer, rendered in a thread at most once in a period, however many clients request it.

    Args:
        render: Renders the answer.
        renderers: Limits how many renderings run at the same time.
        reuse: How long an answer is used again, and four times longer while the next one is rendered.
        max_waiting: Maximum number of clients that wait for a rendering.
    """

    def __init__(
        self, render: Callable[[], Answer], *, renderers: Semaphore, reuse: timedelta, max_waiting: int
    ) -> None:
        self._render = render
        self._renderers = renderers
        self._reuse = reuse.total_seconds()
        self._max_waiting = max_waiting
        self._turn = Lock()
        self._waiting = 0
        self._latest: Answer | None = None
        self._usable_until = 0.0

    async def get(self, request: Request) -> Answer | None:
        """Return the answer; None if the client has closed its connection before the rendering.

        Raises:
            OverloadedError: If too many clients wait already.
        """
        arrived = time.monotonic()
        overtime = _OVERTIME * self._reuse if self._waiting else 0.0
        if self._latest is not None and arrived < self._usable_until + overtime:
            return self._latest
        if self._waiting >= self._max_waiting:
            raise OverloadedError
        self._waiting += 1
        try:
            async with self._turn:
                # An answer that was finished during the wait is recent enough.
                if self._latest is not None and arrived <= self._usable_until:
                    return self._latest
                async with self._renderers:
                    if await request.is_disconnected():
                        return None
                    self._latest = await to_thread.run_sync(self._render)
                self._usable_until = time.monotonic() + self._reuse
                return self._latest
        finally:
            self._waiting -= 1


class _InPieces(Response):
    """A response that is sent piece by piece: the next piece waits until the client has taken the previous ones."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), _PIECE):
            await send({"type": "http.response.body", "body": self.body[start : start + _PIECE], "more_body": True})
            await checkpoint()  # a long answer keeps no other client waiting
        await send({"type": "http.response.body", "body": b"", "more_body": False})
