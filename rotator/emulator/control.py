"""The control interface over HTTP.

    POST   /_emulator/faults    {"faults": ["create:drop-after:2"]} adds faults, answers with all pending ones
    DELETE /_emulator/faults    removes them
    GET    /_emulator/requests  the requests so far, without any secret
    PATCH  /_emulator/accounts/KEY  {"balance": "2.5", "auto_reload": true} sets either or both; GET shows the account

Faults never hit it. A GET needs no credentials. A change needs the control token (`Authorization: Bearer TOKEN`), and a
browser cannot reach the interface under another site's name.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, Field, SecretStr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rotator.emulator.faults import Faults
from rotator.emulator.operations import Operation
from rotator.emulator.problems import UnknownAccountError, ValidationError
from rotator.emulator.profiles import Profile
from rotator.emulator.revisions import Revision
from rotator.emulator.wire import answer_problem, stamp, trace_id_of


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request and its answer; logged once its operation is done, before it is answered.

    Attributes:
        api_key: The account it is about; empty if the request does not name one that exists.
        secret_id: The id asked for, or the one created.
        status: The status of the answer; None if the connection was dropped or hangs instead.
        authenticated_as: The key that logged in; None if none did.
        request_id: The X-Request-Id of the answer; None in revisions that have none.
    """

    time: datetime
    operation: Operation
    api_key: str
    secret_id: str | None
    status: int | None
    authenticated_as: str | None
    request_id: str | None = None

    def document(self) -> dict[str, Any]:
        """The entry as the control interface shows it."""
        shown = asdict(self) | {"time": stamp(self.time)}
        if self.request_id is None:
            del shown["request_id"]
        return shown


# The server listens on loopback only.
_OWN_NAMES = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)


class _AccountChange(BaseModel, extra="forbid", strict=True):
    balance: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=8)] | None = None
    auto_reload: bool | None = None


def routes(
    faults: Faults,
    requests: Callable[[], Sequence[LoggedRequest]],
    change_profile: Callable[..., Profile],
    token: SecretStr | None,
) -> list[Route]:
    """The routes of the interface; without a token it refuses every change.

    Args:
        change_profile: `Emulator.change_account`.
    """

    def changing(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if request.method in ("GET", "HEAD") or _may_change(request, token):
                return await endpoint(request)
            return JSONResponse(
                {"error": "a change needs the emulator's control token: Authorization: Bearer TOKEN; nothing changed"},
                401,
                {"WWW-Authenticate": "Bearer"},
            )

        return guarded

    async def change_faults(request: Request) -> Response:
        if request.method == "DELETE":
            faults.clear()
            return Response(status_code=204)
        try:
            faults.add(*(str(fault) for fault in (await request.json())["faults"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return _refuse(request, ValidationError("faults", str(error)))
        return JSONResponse({"faults": [str(fault) for fault in faults.pending()]}, 201)

    async def change_account(request: Request) -> Response:
        try:
            body = await request.body() if request.method == "PATCH" else b""
            changes = _AccountChange.model_validate_json(body or b"{}")
            profile = change_profile(
                request.path_params["api_key"], balance=changes.balance, auto_reload=changes.auto_reload
            )
        except pydantic.ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            return _refuse(request, ValidationError(".".join(map(str, first["loc"])) or "body", first["msg"]))
        except UnknownAccountError as problem:
            return _refuse(request, problem)
        return JSONResponse(_represent(profile))

    async def show_requests(request: Request) -> Response:  # noqa: ARG001
        return JSONResponse({"requests": [entry.document() for entry in requests()]})

    return [
        Route("/_emulator/faults", changing(change_faults), methods=["POST", "DELETE"], middleware=[_OWN_NAMES]),
        Route("/_emulator/requests", show_requests, methods=["GET"], middleware=[_OWN_NAMES]),
        Route(
            "/_emulator/accounts/{api_key}",
            changing(change_account),
            methods=["GET", "PATCH"],
            middleware=[_OWN_NAMES],
        ),
    ]


def _may_change(request: Request, token: SecretStr | None) -> bool:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    # Header values are bytes, which the library decodes as Latin-1; clients send UTF-8.
    return hmac.compare_digest(sent.strip(" \t").encode("latin-1"), token.get_secret_value().encode())


def _represent(profile: Profile) -> Mapping[str, object]:
    shown: dict[str, object] = {"balance": str(profile.balance), "auto_reload": profile.auto_reload}
    return shown | ({"http_forward_method": profile.http_forward_method} if profile.http_forward_method else {})


def _refuse(request: Request, problem: UnknownAccountError | ValidationError) -> Response:
    return answer_problem(problem, trace_id_of(request), Revision.V1_0_0)
