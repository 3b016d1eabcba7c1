"""Refuse requests that are not plain questions to a known name, and add security headers to every answer."""

import ipaddress
import socket
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
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
# Probes come with any name, and these answers say nothing of the fleet.
_ANY_HOST = frozenset({"/healthz", "/readyz"})


class Guard:
    """Middleware that checks each request and marks each answer.

    Args:
        app: The application.
        allowed_hosts: Returns the names in the Host header that are allowed, besides IP addresses, "localhost" and this
            machine's name. "*.NAME" allows every name below NAME.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Callable[[], Iterable[str]]) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._own_names = frozenset({"localhost", socket.gethostname().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        app = self._refusal(scope) or self._app
        await app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return JSONResponse({"error": "only GET and HEAD"}, 405, {"Allow": "GET, HEAD", "Connection": "close"})
        headers = Headers(scope=scope)
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return JSONResponse({"error": "a request must not have a body"}, 413, {"Connection": "close"})
        if scope["path"] not in _ANY_HOST and not self._allows(headers.get("host", "")):
            return JSONResponse({"error": "unknown host name; daemon.allowed_hosts can allow it"}, 403)
        return None

    def _allows(self, host: str) -> bool:
        """Return whether a Host header is allowed.

        A web site can make its own name resolve to rotator's address (DNS rebinding), but it cannot use another name. A
        client without the header is no browser.
        """
        name = _without_port(host).lower().rstrip(".")
        if not host or name in self._own_names or _is_ip_address(name):
            return True
        return any(_matches(name, allowed.lower()) for allowed in self._allowed_hosts())


def _matches(name: str, allowed: str) -> bool:
    return name.endswith(allowed.removeprefix("*")) if allowed.startswith("*.") else name == allowed


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
