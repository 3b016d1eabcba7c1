"""What the daemon answers over HTTP: metrics, health, the status page.

Whoever reaches the port may read everything here, so nothing here is secret and nothing here changes anything.
"""

import asyncio
import contextlib
import gzip
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from hashlib import blake2b
from importlib.resources import files
from typing import Any

import h11
import pydantic_core
import uvicorn
from anyio import CapacityLimiter, to_thread
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from rotator.errors import ConfigError
from rotator.monitoring import FleetStatus, Metrics, state

# A client has so long to send its request, and so long again to take the answer. Longer than the usual 15 s between two
# scrapes, so that those keep their connection.
PATIENCE = 20.0
# One more than this, and whoever was waited for for longest has to go. Every connection is an open file, of which a
# process may have a thousand, and of which rotations need some.
_CONNECTIONS = 256
_BACKLOG = 128
# Answers that are being made at once: whoever asks for more waits, while health checks are answered all the same.
_RENDERERS = 2
# How long a stop waits for answers that are on their way.
_GRACE = 1
_HEADER_BYTES = 16_384
_WORTH_COMPRESSING = 1024

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_SECURITY = {
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
_FLEET = TypeAdapter(FleetStatus)


def create_app(status: Callable[[], FleetStatus], metrics: Metrics) -> Starlette:
    """The application.

    Args:
        status: Tells where every account stands; called in a thread, for each answer that needs it.
        metrics: What was counted.
    """
    renderers = CapacityLimiter(_RENDERERS)

    def rendered(render: Callable[[FleetStatus, Headers], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await to_thread.run_sync(lambda: render(status(), request.headers), limiter=renderers)

        return endpoint

    async def healthz(request: Request) -> Response:  # noqa: ARG001
        return JSONResponse({"status": "alive"})

    routes = [
        Route("/metrics", rendered(partial(_metrics, metrics))),
        Route("/healthz", healthz),
        Route("/readyz", rendered(_readiness)),
        Route("/api/status", rendered(_status)),
        *(Route(path, _static(*file)) for path, file in _PAGE.items()),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, 500: _mistake})
    app.router.redirect_slashes = False  # a path is right or wrong
    app.add_middleware(_Guard)
    return app


@contextlib.contextmanager
def serving(app: ASGIApp, listen: str) -> Iterator[str]:
    """Serve in a thread as long as the context lasts.

    Args:
        app: What to serve.
        listen: "HOST:PORT", the host an IP address, "[…]" around IPv6; port 0 for any free one. ":PORT" is every
            address of the host, of both families.

    Yields:
        The real address, in the same form.

    Raises:
        ConfigError: If it is not to be had.
    """
    listener = _listen(listen)
    host, port = listener.getsockname()[:2]
    server = _Server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    server.up.wait()
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _listen(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _any_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((host, int(port)), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {listen}: {os.strerror(error.errno) if error.errno else error}",
            next_step="Stop whatever listens there, or choose another address with daemon.listen",
        ) from None
    # Inherited by every connection. asyncio sets it only on sockets that name their protocol, which this one does not;
    # without it each answer on a kept connection takes 40 ms, the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _any_address() -> str:
    """Every address of the host: of both families, or of IPv4 alone if the host has no IPv6."""
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6).close()
    except OSError:
        return ""
    return "::" if socket.has_dualstack_ipv6() else ""


class _Protocol(H11Protocol):
    """HTTP that does not wait for ever for a request, nor for an answer to be taken."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # uvicorn's own switch takes the logger's handlers away, for the whole process

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._give_time()
        if len(self.connections) > _CONNECTIONS:
            self._make_room()

    @property
    def _turn(self) -> tuple[bool, float]:
        """Those that are being answered go last, of the others those that have been waited for for longest go first."""
        answering = not getattr(self.cycle, "response_complete", True)  # there is no cycle before a request
        return answering, self._deadline.when() if self._deadline is not None else 0.0

    def _make_room(self) -> None:
        """However many send nothing, or slowly: who sends a request at once is served."""
        others = (other for other in self.connections if isinstance(other, _Protocol) and other is not self)
        first = min(others, key=lambda other: other._turn)
        first.connections.discard(first)  # at once: the next one is not to choose it again
        first.transport.abort()

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._give_time()

    def on_response_complete(self) -> None:
        self._give_time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is wrong after the beginning of a request has no answer of its own: one is under way, or was sent."""
        if self.conn.our_state is not h11.IDLE:
            self.transport.abort()
            return
        super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _give_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(PATIENCE, self.transport.abort)


class _Server(uvicorn.Server):
    """A server that says when it is up, and leaves logging as it is."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=int(PATIENCE) + 1,  # later than _Protocol's deadline, which is the one that counts
            timeout_graceful_shutdown=_GRACE,
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # whoever has not taken the answer by now
            connection.transport.abort()
        await asyncio.sleep(0)


class _Guard:
    """Refuses whatever is not a plain question, and says how every answer is to be treated."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers[name] = value
            await send(message)

        app = _refusal(scope) or self._app
        await app(scope, receive, guarded)


def _refusal(scope: Scope) -> Response | None:
    if scope["method"] not in ("GET", "HEAD"):
        return JSONResponse({"error": "only GET and HEAD"}, 405, {"Allow": "GET, HEAD", "Connection": "close"})
    headers = Headers(scope=scope)
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return JSONResponse({"error": "a request must not have a body"}, 413, {"Connection": "close"})
    return None


def _metrics(metrics: Metrics, status: FleetStatus, headers: Headers) -> Response:
    body, content_type = metrics.exposition(status, headers.get("accept", ""))
    return _compressed(body, content_type, headers)


def _readiness(status: FleetStatus, headers: Headers) -> Response:  # noqa: ARG001
    if status.ready:
        return JSONResponse({"ready": True, "reason": None})
    return JSONResponse({"ready": False, "reason": status.not_ready}, 503)


def _status(status: FleetStatus, headers: Headers) -> Response:
    """Everything in the status, and for each account the `state` that metrics count.

    Its ETag leaves out when it was looked at: a page that asks again gets 304 as long as nothing else is new.
    """
    answer = _FLEET.dump_python(status)
    for row, account in zip(answer["accounts"], status.accounts, strict=True):
        row["state"] = state(account, status.at)
    at = pydantic_core.to_json({"at": answer.pop("at")})
    rest = pydantic_core.to_json(answer)
    etag = f'W/"{blake2b(rest, digest_size=16).hexdigest()}"'
    if etag == headers.get("if-none-match"):
        return Response(status_code=304, headers={"ETag": etag})
    body = at.removesuffix(b"}") + b"," + rest.removeprefix(b"{")
    answered = _compressed(body, "application/json", headers)
    answered.headers["ETag"] = etag
    return answered


def _compressed(body: bytes, content_type: str, headers: Headers) -> Response:
    answer = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if len(body) >= _WORTH_COMPRESSING and "gzip" in headers.get("accept-encoding", ""):
        return Response(gzip.compress(body, 1), headers=answer | {"Content-Encoding": "gzip"})
    return Response(body, headers=answer)


def _static(name: str, content_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = (files("rotator.web") / "page" / name).read_bytes()

    async def endpoint(request: Request) -> Response:
        return _compressed(content, content_type, request.headers)

    return endpoint


async def _not_found(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse({"error": "not found", "paths": ["/", "/api/status", "/healthz", "/metrics", "/readyz"]}, 404)


async def _mistake(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Starlette sends this one from outside of every middleware.
    return JSONResponse({"error": "a mistake in rotator; its log has the place"}, 500, _SECURITY)
