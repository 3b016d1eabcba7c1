"""The daemon's HTTP answers: metrics, health, the status page and its API.

A client that reaches the port can read every answer, so no answer contains a secret and no request changes anything.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from importlib.resources import files
from typing import Any

import pydantic_core

from rotator.monitoring import FleetStatus, Format, Metrics, content_type, expose, fleet_report, requested_format
from rotator.web.answers import Answer, Request, Response, answer, error, respond
from rotator.web.guard import Guard
from rotator.web.rendering import OverloadedError, SharedRendering, join

# An answer is rendered at most once in this time.
_REUSE = timedelta(seconds=1)
_MAX_WAITING = 64  # of each answer: fewer in all than the server has connections
_ACCOUNTS_AT_ONCE = 100  # a millisecond of work

_JSON = {"Content-Type": "application/json"}
_ALIVE = Response(200, _JSON, b'{"status":"alive"}')
_STUCK = Response(503, _JSON, b'{"status":"stuck"}')
_NOT_FOUND = Response(404, _JSON, b'{"error":"not found","paths":["/","/api/status","/healthz","/metrics","/readyz"]}')
_OVERLOADED = error(503, "too many clients; try again", {"Retry-After": "1"})
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/details.js": ("details.js", "text/javascript; charset=utf-8"),
    "/elements.js": ("elements.js", "text/javascript; charset=utf-8"),
    "/timeline.js": ("timeline.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class App:
    """The answers to requests, one rendering of each for all clients.

    Args:
        status: Returns the status of every account from memory. It must not wait.
        metrics: The counters.
        is_alive: Returns whether the process gets on with its work. It must not wait.
        allowed_hosts: Returns the names in the Host header that are allowed: see `Guard`.
        reuse: How long a rendered answer is used again.
        max_waiting: Maximum number of clients that wait for an answer; others get 503.
    """

    def __init__(
        self,
        status: Callable[[], FleetStatus],
        metrics: Metrics,
        *,
        is_alive: Callable[[], bool] = lambda: True,
        allowed_hosts: Callable[[], Iterable[str]] = tuple,
        reuse: timedelta = _REUSE,
        max_waiting: int = _MAX_WAITING,
    ) -> None:
        renderers = asyncio.Lock()  # one at a time: rotations need the rest of the processor

        def shared(render: Callable[[], Answer]) -> SharedRendering:
            return SharedRendering(render, renderers=renderers, reuse=reuse, max_waiting=max_waiting)

        self._status = status
        self._is_alive = is_alive
        self._guard = Guard(allowed_hosts)
        self._expositions = {form: shared(_rendered_metrics(status, metrics, form)) for form in Format}
        self._report = shared(lambda: _render_report(status()))
        self._files = {
            path: answer((files("rotator.web") / "page" / name).read_bytes(), media_type)
            for path, (name, media_type) in _PAGE.items()
        }

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Return the response, or an awaitable of it if something must be rendered first.

        Health checks never wait for anything, so no other request delays them.
        """
        refusal = self._guard.refusal(request)
        if refusal is not None:
            return refusal
        match request.path:
            case "/healthz":
                return _ALIVE if self._is_alive() else _STUCK
            case "/readyz":
                return _readiness(self._status())
            case "/metrics":
                return _shared(self._expositions[requested_format(request.headers.get("accept", ""))], request)
            case "/api/status":
                return _shared(self._report, request)
            case path if path in self._files:
                return respond(self._files[path], request.headers)
        return _NOT_FOUND


def _shared(rendering: SharedRendering, request: Request) -> Response | Awaitable[Response]:
    try:
        rendered = rendering.get(request)
    except OverloadedError:
        return _OVERLOADED
    return respond(rendered, request.headers) if isinstance(rendered, Answer) else _later(rendered, request)


async def _later(rendered: Awaitable[Answer], request: Request) -> Response:
    return respond(await rendered, request.headers)


def _readiness(status: FleetStatus) -> Response:
    body = pydantic_core.to_json({"ready": status.ready, "reason": status.not_ready})
    return Response(200 if status.ready else 503, _JSON, body)


def _rendered_metrics(status: Callable[[], FleetStatus], metrics: Metrics, form: Format) -> Callable[[], Answer]:
    return lambda: answer(join(expose(metrics, status(), form)), content_type(form))


def _render_report(status: FleetStatus) -> Answer:
    """Render the fleet's report.

    Its ETag does not cover the report's time, so a page that asks again gets 304 as long as nothing else is new.
    """
    rest = join(_report_after_time(status))
    etag = f'W/"{blake2b(rest, digest_size=16).hexdigest()}"'
    return answer(b'{"at":' + pydantic_core.to_json(status.at) + b"," + rest, "application/json", etag)


def _report_after_time(status: FleetStatus) -> Iterator[bytes]:
    """Yield the report without its time and opening brace, a few accounts at a time."""
    fleet = fleet_report(replace(status, accounts=()))
    del fleet["at"], fleet["accounts"]
    yield pydantic_core.to_json(fleet).removeprefix(b"{").removesuffix(b"}") + b',"accounts":['
    for start in range(0, len(status.accounts), _ACCOUNTS_AT_ONCE):
        chunk = status.accounts[start : start + _ACCOUNTS_AT_ONCE]
        rows: list[dict[str, Any]] = fleet_report(replace(status, accounts=chunk))["accounts"]
        yield (b"," if start else b"") + pydantic_core.to_json(rows).removeprefix(b"[").removesuffix(b"]")
    yield b"]}"
