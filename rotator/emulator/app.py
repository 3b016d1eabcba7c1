"""The Account API over HTTP: routes, authentication, answers and faults; imports the rest of the package but server.

Besides the API, a control interface for who runs the emulator, never hit by faults and open to all who reach it:

    POST   /_emulator/faults    {"faults": ["create:drop-after:2"]} adds faults, answers with all that are to come
    DELETE /_emulator/faults    forgets them
    GET    /_emulator/requests  what was asked so far, without any secret
"""

import asyncio
import base64
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rotator.emulator.faults import Fault, Faults, Operation
from rotator.emulator.problems import (
    BadCredentialsError,
    MalformedCredentialsError,
    ProblemError,
    RateLimitedError,
    UnknownMethodError,
    UnknownPathError,
    ValidationError,
)
from rotator.emulator.state import Account, Accounts, Clock, Primary, Secret, utc_now

TRANSPORT = "emulator.transport"
"""Under this name the server puts a connection's transport into the ASGI scope's state, see `Dropped`."""

_LOG_LENGTH = 100_000  # the oldest entries of a long run make room, so that its memory stays bounded
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>\n"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request and what became of it; written down once what was asked is done, before it is answered.

    Attributes:
        secret_id: The id asked for, or the one created.
        status: What was answered; None if the connection was dropped instead.
        authenticated_as: The key of who logged in; None if nobody did.
    """

    time: datetime
    operation: Operation
    api_key: str
    secret_id: str | None
    status: int | None
    authenticated_as: str | None


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, taken off the wire.

    Attributes:
        credentials: Who calls, not yet checked; None if the request does not say in the expected form.
        body: As it came: it may hold a secret.
    """

    operation: Operation
    api_key: str
    secret_id: str | None
    credentials: tuple[str, SecretStr] | None
    body: SecretStr


@dataclass(frozen=True, slots=True)
class _Reply:
    """The answer to a call, and what its log entry needs to know."""

    response: Response
    secret_id: str | None
    authenticated_as: str | None = None


class Dropped(Response):
    """No answer at all: closes the connection under the client's feet."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Abort the connection, then wait until the server knows, or it would answer 500 for us."""
        scope["state"][TRANSPORT].abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class Emulator:
    """The provider: an ASGI application in `app`, and what only the provider could know.

    Args:
        accounts: With their first secrets, see `parse_account`.
        primaries: Who may act for whom, see `parse_primary`.
        faults: What is to go wrong, see the faults module; `faults.add` adds to it at any time.
        max_secrets: How many secrets an account may have.
        too_many_status: What a full account answers, 400 or 403.
        propagation: How long a new secret takes until it authenticates; it is listed at once.
        latency: How late every answer comes.
        clock: Tells the time, aware UTC.
    """

    def __init__(
        self,
        accounts: Iterable[Account],
        *,
        primaries: Iterable[Primary] = (),
        faults: Iterable[Fault | str] = (),
        max_secrets: int = 2,
        too_many_status: Literal[400, 403] = 400,
        propagation: timedelta = timedelta(),
        latency: timedelta = timedelta(),
        clock: Clock = utc_now,
    ) -> None:
        self.faults = Faults(faults)
        self._accounts = Accounts(
            accounts,
            primaries,
            max_secrets=max_secrets,
            too_many_status=too_many_status,
            propagation=propagation,
            clock=clock,
        )
        self._latency = latency
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=_LOG_LENGTH)
        self.app = Starlette(routes=self._routes(), exception_handlers={404: _unknown_path, 405: _unknown_method})
        self.app.router.redirect_slashes = False  # a path is right or wrong

    # --- what only the provider knows ----------------------------------------------------------------------

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """Every request for an operation so far, oldest first."""
        with self._lock:
            return tuple(self._requests)

    @property
    def api_keys(self) -> tuple[str, ...]:
        """Every account there is."""
        return self._accounts.api_keys

    @property
    def propagation(self) -> timedelta:
        """How long a new secret takes until it authenticates; may be changed for those to come."""
        return self._accounts.propagation

    @propagation.setter
    def propagation(self, propagation: timedelta) -> None:
        self._accounts.propagation = propagation

    def open_account(self, account: Account, *, primary: str | None = None) -> None:
        """Add an account while running, as a secondary of `primary` if that is given."""
        self._accounts.open(account)
        if primary is not None:
            self._accounts.relate(Primary(primary, account.api_key))

    def live(self, api_key: str) -> Mapping[str, SecretStr]:
        """The live secrets of an account by id, oldest first."""
        return {secret.id: secret.value for secret in self._accounts.secrets(api_key)}

    def authenticates(self, api_key: str, secret: SecretStr) -> bool:
        """Whether the provider would let this in right now."""
        return self._accounts.authenticates(api_key, secret)

    def add_secret(self, api_key: str, secret: SecretStr) -> str:
        """Add a secret as a human would in the dashboard, under the same rules; returns its id."""
        return self._accounts.create(api_key, secret).id

    def remove_secret(self, api_key: str, secret_id: str, *, force: bool = False) -> None:
        """Remove a secret as a human would; the last one only by force."""
        self._accounts.revoke(api_key, secret_id, force=force)

    # --- the API -------------------------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        collection = {"GET": Operation.LIST, "POST": Operation.CREATE}
        item = {"GET": Operation.GET, "DELETE": Operation.REVOKE}
        return [
            Route("/accounts/{api_key}/secrets", self._endpoint(collection), methods=[*collection]),
            Route("/accounts/{api_key}/secrets/{secret_id}", self._endpoint(item), methods=[*item]),
            Route("/_emulator/faults", self._change_faults, methods=["POST", "DELETE"]),
            Route("/_emulator/requests", self._show_requests, methods=["GET"]),
        ]

    def _endpoint(self, operations: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            try:
                call = await _read(request, operations[method])
            except ClientDisconnect:
                return Dropped()
            return await self._answer(call)

        return endpoint

    async def _answer(self, call: _Call) -> Response:
        """Do what was asked, unless or until a fault has it otherwise. A client that has gone changes nothing."""
        fault = self.faults.take(call.operation)
        if fault is not None:
            await _sleep(fault.delay_of_work)
        reply = self._perform(call) if fault is None or fault.works else _Reply(Response(), call.secret_id)
        response = reply.response if fault is None else _spoil(reply.response, fault)
        self._note(call, reply, None if isinstance(response, Dropped) else response.status_code)
        await _sleep(self._latency + (fault.delay_of_answer if fault is not None else timedelta()))
        return response

    def _perform(self, call: _Call) -> _Reply:
        login = None
        try:
            login = self._log_in(call)
            self._accounts.require_right(login, call.api_key)
            match call.operation:
                case Operation.LIST:
                    return _Reply(self._list(call.api_key), None, login)
                case Operation.CREATE:
                    secret = self._accounts.create(call.api_key, _parse_body(call.body))
                    return _Reply(JSONResponse(_represent(call.api_key, secret), 201), secret.id, login)
                case Operation.GET:
                    secret = self._accounts.secret(call.api_key, call.secret_id or "")
                    return _Reply(JSONResponse(_represent(call.api_key, secret)), secret.id, login)
                case Operation.REVOKE:
                    self._accounts.revoke(call.api_key, call.secret_id or "")
                    return _Reply(Response(status_code=204), call.secret_id, login)
        except ProblemError as problem:
            return _Reply(_refuse(problem), call.secret_id, login)

    def _log_in(self, call: _Call) -> str:
        if call.credentials is None:
            raise MalformedCredentialsError
        api_key, secret = call.credentials
        if not self._accounts.authenticates(api_key, secret):
            raise BadCredentialsError
        return api_key

    def _list(self, api_key: str) -> Response:
        secrets = [_represent(api_key, secret) for secret in self._accounts.secrets(api_key)]
        return JSONResponse({"_links": _link(f"/accounts/{api_key}/secrets"), "_embedded": {"secrets": secrets}})

    def _note(self, call: _Call, reply: _Reply, status: int | None) -> None:
        entry = LoggedRequest(
            self._clock(), call.operation, call.api_key, reply.secret_id, status, reply.authenticated_as
        )
        with self._lock:
            self._requests.append(entry)
        _log.info("emulator.answered", operation=str(call.operation), api_key=call.api_key, status=status)

    # --- the control interface -----------------------------------------------------------------------------

    async def _change_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
            return Response(status_code=204)
        try:
            self.faults.add(*(str(fault) for fault in (await request.json())["faults"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return _refuse(ValidationError("faults", str(error)))
        return JSONResponse({"faults": [str(fault) for fault in self.faults.pending()]}, 201)

    async def _show_requests(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"requests": [asdict(entry) | {"time": _stamp(entry.time)} for entry in self.requests]})


# --- requests ------------------------------------------------------------------------------------------------


async def _read(request: Request, operation: Operation) -> _Call:
    """Take everything off the wire first: what is done late must not need the client any more."""
    return _Call(
        operation,
        request.path_params["api_key"],
        request.path_params.get("secret_id"),
        _parse_basic(request.headers.getlist("authorization")),
        SecretStr((await request.body()).decode(errors="surrogateescape")),
    )


def _parse_basic(headers: list[str]) -> tuple[str, SecretStr] | None:
    """The key and the secret of a Basic header, read strictly: what is wrong about it is not guessed right."""
    if len(headers) != 1:
        return None
    scheme, _, encoded = headers[0].partition(" ")
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return None
    api_key, colon, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        return None
    return api_key, SecretStr(secret)


def _parse_body(body: SecretStr) -> SecretStr:
    """The secret in a body. No error quotes the body or carries one that does."""
    if not body:
        raise ValidationError("body", "Is required")
    try:
        document = json.loads(body.get_secret_value())
    except (ValueError, RecursionError):
        raise ValidationError("body", "Is not JSON") from None
    if not isinstance(document, dict):
        raise ValidationError("body", "Is not an object")
    if "secret" not in document:
        raise ValidationError("secret", "Is required")
    if not isinstance(document["secret"], str):
        raise ValidationError("secret", "Is not a string")
    return SecretStr(document["secret"])


# --- answers -------------------------------------------------------------------------------------------------


def _represent(api_key: str, secret: Secret) -> dict[str, Any]:
    return {
        "_links": _link(f"/accounts/{api_key}/secrets/{secret.id}"),
        "id": secret.id,
        "created_at": _stamp(secret.created_at),
    }


def _link(href: str) -> dict[str, Any]:
    return {"self": {"href": href}}


def _stamp(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _refuse(problem: ProblemError, headers: Mapping[str, str] | None = None) -> Response:
    challenge = {"WWW-Authenticate": "Basic"} if problem.status == MalformedCredentialsError.status else {}
    return JSONResponse(problem.document(), problem.status, headers=challenge | dict(headers or {}))


def _spoil(response: Response, fault: Fault) -> Response:
    """What the client gets instead."""
    if fault.drops:
        return Dropped()
    if fault.status is None:
        return response
    if fault.status == RateLimitedError.status:
        return _refuse(RateLimitedError(), {"Retry-After": str(int(fault.delay.total_seconds()))})
    return HTMLResponse(_PAGE.format(fault.status), fault.status)


async def _unknown_path(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _refuse(UnknownPathError())


async def _unknown_method(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _refuse(UnknownMethodError(), getattr(error, "headers", None))  # Allow, from the router


async def _sleep(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())
