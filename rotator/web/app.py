"""The daemon's HTTP answers: metrics, health, the status page and its API.

A client that reaches the port can read every answer, so no answer contains a secret and no request changes anything.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from hashlib import blake2b
from importlib.resources import files

import pydantic_core
from anyio import Semaphore
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rotator.monitoring import FleetStatus, Format, Metrics, expose, fleet_report, requested_format
from rotator.web.guard import SECURITY_HEADERS, Guard
from rotator.web.rendering import Answer, OverloadedError, SharedRendering, answer, respond

# An answer is rendered at most once in this time, and a health check in this time.
_REUSE = timedelta(seconds=1)
_READINESS_REUSE = timedelta(milliseconds=100)
# Renderings at the same time. Rotations need the rest of the processor.
_RENDERERS = 1
_MAX_WAITING = 64  # of each answer: fewer in all than the server has connections

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    status: Callable[[], FleetStatus],
    metrics: Metrics,
    *,
    allowed_hosts: Callable[[], Iterable[str]] = tuple,
    reuse: timedelta = _REUSE,
    max_waiting: int = _MAX_WAITING,
) -> Starlette:
    """Return the application.

    Args:
        status: Returns the status of every account; called in a thread.
        metrics: The counters.
        allowed_hosts: Returns the names in the Host header that are allowed: see `Guard`.
        reuse: How long a rendered answer is used again.
        max_waiting: Maximum number of clients that wait for an answer; others get 503.
    """
    renderers = Semaphore(_RENDERERS)

    def shared(render: Callable[[], Answer]) -> SharedRendering:
        return SharedRendering(render, renderers=renderers, reuse=reuse, max_waiting=max_waiting)

    expositions = {form: shared(_exposition(status, metrics, form)) for form in Format}
    report = shared(lambda: _report(status()))
    readiness = SharedRendering(
        lambda: _readiness(status()),
        renderers=Semaphore(1),
        reuse=min(reuse, _READINESS_REUSE),
        max_waiting=max_waiting,
    )

    async def metrics_endpoint(request: Request) -> Response:
        rendering = expositions[requested_format(request.headers.get("accept", ""))]
        return await _shared_response(rendering, request)

    async def status_endpoint(request: Request) -> Response:
        return await _shared_response(report, request)

    async def readyz(request: Request) -> Response:
        return await _shared_response(readiness, request)

    async def healthz(request: Request) -> Response:  # noqa: ARG001
        return JSONResponse({"status": "alive"})

    routes = [
        Route("/metrics", metrics_endpoint),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/api/status", status_endpoint),
        *(Route(path, _static(*file)) for path, file in _PAGE.items()),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, 500: _internal_error})
    app.router.redirect_slashes = False  # a path is right or wrong
    app.add_middleware(Guard, allowed_hosts=allowed_hosts)
    return app


async def _shared_response(rendering: SharedRendering, request: Request) -> Response:
    try:
        rendered = await rendering.get(request)
    except OverloadedError:
        return JSONResponse({"error": "too many clients; try again"}, 503, {"Retry-After": "1"})
    if rendered is None:
        return Response(status_code=503)  # the client has gone, so nothing is sent
    return respond(rendered, request.headers)


def _exposition(status: Callable[[], FleetStatus], metrics: Metrics, form: Format) -> Callable[[], Answer]:
    def render() -> Answer:
        return answer(*expose(metrics, status(), form))

    return render


def _readiness(status: FleetStatus) -> Answer:
    body = pydantic_core.to_json({"ready": status.ready, "reason": status.not_ready})
    return Answer(body, "application/json", status_code=200 if status.ready else 503)


def _report(status: FleetStatus) -> Answer:
    """Render the fleet's report.

    Its ETag does not cover the report's time, so a page that asks again gets 304 as long as nothing else is new.
    """
    report = fleet_report(status)
    at = pydantic_core.to_json({"at": report.pop("at")})
    rest = pydantic_core.to_json(report)
    etag = f'W/"{blake2b(rest, digest_size=16).hexdigest()}"'
    return answer(at.removesuffix(b"}") + b"," + rest.removeprefix(b"{"), "application/json", etag)


def _static(name: str, content_type: str) -> _Endpoint:
    content = answer((files("rotator.web") / "page" / name).read_bytes(), content_type)

    async def endpoint(request: Request) -> Response:
        return respond(content, request.headers)

    return endpoint


async def _not_found(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse({"error": "not found", "paths": ["/", "/api/status", "/healthz", "/metrics", "/readyz"]}, 404)


async def _internal_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Starlette sends this response from outside of every middleware.
    return JSONResponse({"error": "internal error; the log has the traceback"}, 500, SECURITY_HEADERS)
