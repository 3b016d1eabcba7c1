"""The emulator's description for tools and for people: /openapi.json and /docs.

The page is static, needs nothing from outside, and may load and do nothing but what it needs.
"""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rotator.emulator.openapi import document
from rotator.emulator.revisions import Revision

_PAGE = {
    "/docs": ("index.html", "text/html; charset=utf-8"),
    "/docs/page.css": ("page.css", "text/css; charset=utf-8"),
    "/docs/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def routes(revision: Revision) -> list[Route]:
    """The routes of the description of a revision."""

    async def openapi(request: Request) -> Response:  # noqa: ARG001
        return JSONResponse(document(revision), headers=_SECURITY)

    return [Route("/openapi.json", openapi), *(Route(path, _static(*file)) for path, file in _PAGE.items())]


def _static(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = (files("rotator.emulator") / "page" / name).read_bytes()

    async def endpoint(request: Request) -> Response:  # noqa: ARG001
        return Response(content, media_type=media_type, headers=_SECURITY)

    return endpoint
