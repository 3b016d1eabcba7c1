"""The Account API over HTTP: routes, authentication, deeds and faults; imports the rest of the package but server.

Besides the API, a control interface for who runs the emulator, never hit by faults and open to all who reach it:

    POST   /_emulator/faults    {"faults": ["create:drop-after:2"]} adds faults, answers with all that are to come
    DELETE /_emulator/faults    forgets them
    GET    /_emulator/requests  what was asked so far, without any secret
    PATCH  /_emulator/accounts/KEY  {"balance": "2.5", "auto_reload": true} sets either or both; GET shows them
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import pydantic
import structlog
from pydantic import BaseModel, Field, SecretStr
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rotator.emulator import docs
from rotator.emulator.account import Profile, Profiles
from rotator.emulator.callbacks import require_answer, require_url
from rotator.emulator.faults import Fault, Faults
from rotator.emulator.operations import Operation
from rotator.emulator.problems import (
    BadCredentialsError,
    MalformedCredentialsError,
    MissingTransactionError,
    ProblemError,
    RateLimitedError,
    UnknownAccountError,
    UnknownMethodError,
    UnknownPathError,
    ValidationError,
)
from rotator.emulator.state import Account, Accounts, Clock, Primary, utc_now
from rotator.emulator.wire import Call, answer, link, parse_secret, read, refuse, represent, require_form, stamp

TRANSPORT = "emulator.transport"
"""Under this name the server puts a connection's transport into the ASGI scope's state, see `Dropped`."""

_LOG_LENGTH = 100_000  # the oldest entries of a long run make room, so that its memory stays bounded
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>\n"

_USUAL_LIMIT = 30  # requests and messages a second, which the provider grants by default
_TOPPED_UP = {"response": "success", "error-code": "200", "error-code-label": "success"}
_FIRST = Profile()
# As the specification spells them, then as official SDKs do.
_MO_CALLBACK = ("moCallBackUrl", "moCallbackUrl")
_DR_CALLBACK = ("drCallBackUrl", "drCallbackUrl")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request and what became of it; written down once what was asked is done, before it is answered.

    Attributes:
        api_key: The account it is about; empty if the request does not name one that exists.
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
class _Reply:
    """The answer to a call, and what its log entry needs to know."""

    response: Response
    secret_id: str | None = None
    authenticated_as: str | None = None


class _AccountChange(BaseModel, extra="forbid", strict=True):
    balance: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=8)] | None = None
    auto_reload: bool | None = None


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
        profile: How the balance and the settings of every account start.
        top_up: What one top-up adds to a balance, in euros.
        max_calls_per_second: What an account may ask in any second; None for as much as it likes.
        check_callbacks: Whether a callback must answer before it is taken; loopback addresses only are called.
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
        profile: Profile = _FIRST,
        top_up: Decimal = Decimal(10),
        max_calls_per_second: int | None = None,
        check_callbacks: bool = False,
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
        self._profiles = Profiles(profile, top_up=top_up, max_calls_per_second=max_calls_per_second, clock=clock)
        self._max_calls_per_second = max_calls_per_second
        self._check_callbacks = check_callbacks
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

    def profile(self, api_key: str) -> Profile:
        """How an account's balance and settings stand.

        Raises:
            UnknownAccountError: If there is none of that key.
        """
        self._accounts.secrets(api_key)
        return self._profiles.of(api_key)

    def change_account(
        self, api_key: str, *, balance: Decimal | None = None, auto_reload: bool | None = None
    ) -> Profile:
        """Set what the provider's dashboard would: messages that cost, a payment that may be repeated.

        Raises:
            UnknownAccountError: If there is none of that key.
        """
        self._accounts.secrets(api_key)
        return self._profiles.change(api_key, balance=balance, auto_reload=auto_reload)

    # --- the API -------------------------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in Operation:
            by_path.setdefault(operation.path, {})[operation.method] = operation
        return [
            *(Route(path, self._endpoint(found), methods=[*found]) for path, found in by_path.items()),
            *docs.routes(),
            Route("/_emulator/faults", self._change_faults, methods=["POST", "DELETE"]),
            Route("/_emulator/requests", self._show_requests, methods=["GET"]),
            Route("/_emulator/accounts/{api_key}", self._change_account, methods=["GET", "PATCH"]),
        ]

    def _endpoint(self, operations: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            try:
                call = await read(request, operations[method])
            except ClientDisconnect:
                return Dropped()
            return await self._answer(call)

        return endpoint

    async def _answer(self, call: Call) -> Response:
        """Do what was asked, unless or until a fault has it otherwise. A client that has gone changes nothing."""
        fault = self.faults.take(call.operation)
        if fault is not None:
            await _sleep(fault.delay_of_work)
        works, stale = fault is None or fault.works, fault is not None and fault.name == "stale"
        reply = await self._perform(call, stale=stale) if works else _Reply(Response(), call.secret_id)
        response = reply.response if fault is None else _spoil(call, reply.response, fault)
        self._note(call, reply, None if isinstance(response, Dropped) else response.status_code)
        await _sleep(self._latency + (fault.delay_of_answer if fault is not None else timedelta()))
        return response

    async def _perform(self, call: Call, *, stale: bool) -> _Reply:
        login = None
        try:
            login = self._log_in(call)
            self._profiles.admit(login)
            if call.api_key is not None:
                self._accounts.require_right(login, call.api_key)
            return replace(await self._do(call, call.api_key or login, stale=stale), authenticated_as=login)
        except ProblemError as problem:
            return _Reply(refuse(call, problem), call.secret_id, login)

    def _log_in(self, call: Call) -> str:
        if call.credentials is None:
            raise MalformedCredentialsError
        api_key, secret = call.credentials
        if not self._accounts.authenticates(api_key, secret):
            raise BadCredentialsError
        return api_key

    async def _do(self, call: Call, api_key: str, *, stale: bool) -> _Reply:
        match call.operation:
            case Operation.BALANCE:
                return _Reply(answer(call, _balance(self._profiles.of(api_key))))
            case Operation.TOP_UP:
                if not require_form(call).get("trx"):
                    raise MissingTransactionError
                self._profiles.top_up(api_key)
                return _Reply(answer(call, _TOPPED_UP))
            case Operation.SETTINGS:
                return _Reply(answer(call, self._settings(await self._change_settings(call, api_key))))
            case Operation.LIST:
                listed = self._accounts.secrets(api_key)
                listed = listed[:-1] if stale and len(listed) > 1 else listed
                secrets = [represent(api_key, secret) for secret in listed]
                links = link(f"/accounts/{api_key}/secrets")
                return _Reply(answer(call, {"_links": links, "_embedded": {"secrets": secrets}}))
            case Operation.CREATE:
                secret = self._accounts.create(api_key, parse_secret(call.body))
                return _Reply(answer(call, represent(api_key, secret), 201), secret.id)
            case Operation.GET:
                secret = self._accounts.secret(api_key, call.secret_id or "")
                return _Reply(answer(call, represent(api_key, secret)), secret.id)
            case Operation.REVOKE:
                self._accounts.revoke(api_key, call.secret_id or "")
                return _Reply(Response(status_code=204), call.secret_id)

    async def _change_settings(self, call: Call, api_key: str) -> Profile:
        """Both callbacks or, if one is refused, neither."""
        form = require_form(call)
        given = [(name, form[name]) for name in (*_MO_CALLBACK, *_DR_CALLBACK) if form.get(name)]
        for name, url in given:
            require_url(name, url)
        if self._check_callbacks:
            for name, url in given:
                await require_answer(name, url)
        mo, dr = (next((form[name] for name in names if name in form), None) for names in (_MO_CALLBACK, _DR_CALLBACK))
        return self._profiles.change(api_key, mo_callback_url=mo, dr_callback_url=dr)

    def _settings(self, profile: Profile) -> dict[str, str | int]:
        return {
            "mo-callback-url": profile.mo_callback_url,
            "dr-callback-url": profile.dr_callback_url,
            "max-outbound-request": _USUAL_LIMIT,
            "max-inbound-request": _USUAL_LIMIT,
            "max-calls-per-second": self._max_calls_per_second or _USUAL_LIMIT,
        }

    def _note(self, call: Call, reply: _Reply, status: int | None) -> None:
        api_key = call.api_key
        if api_key is None:
            # Only the caller says which account is meant. What is no key may be a secret in the wrong place.
            claimed = call.credentials[0] if call.credentials is not None else ""
            api_key = claimed if claimed in self._accounts.api_keys else ""
        entry = LoggedRequest(self._clock(), call.operation, api_key, reply.secret_id, status, reply.authenticated_as)
        with self._lock:
            self._requests.append(entry)
        _log.info("emulator.answered", operation=str(call.operation), api_key=api_key, status=status)

    # --- the control interface -----------------------------------------------------------------------------

    async def _change_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
            return Response(status_code=204)
        try:
            self.faults.add(*(str(fault) for fault in (await request.json())["faults"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return _problem(ValidationError("faults", str(error)))
        return JSONResponse({"faults": [str(fault) for fault in self.faults.pending()]}, 201)

    async def _change_account(self, request: Request) -> Response:
        api_key = request.path_params["api_key"]
        try:
            changes = _AccountChange.model_validate_json(await request.body() or b"{}")
            profile = self.change_account(api_key, balance=changes.balance, auto_reload=changes.auto_reload)
        except pydantic.ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            return _problem(ValidationError(".".join(map(str, first["loc"])) or "body", first["msg"]))
        except UnknownAccountError as problem:
            return _problem(problem)
        return JSONResponse({"balance": str(profile.balance), "auto_reload": profile.auto_reload})

    async def _show_requests(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"requests": [asdict(entry) | {"time": stamp(entry.time)} for entry in self.requests]})


# --- answers -------------------------------------------------------------------------------------------------


def _spoil(call: Call, response: Response, fault: Fault) -> Response:
    """What the client gets instead."""
    if fault.drops:
        return Dropped()
    if fault.status is None:
        return response
    if fault.status == BadCredentialsError.status:
        return refuse(call, BadCredentialsError())
    if fault.status == RateLimitedError.status:
        return refuse(call, RateLimitedError(fault.delay))
    return HTMLResponse(_PAGE.format(fault.status), fault.status)


def _balance(profile: Profile) -> dict[str, float | bool]:
    return {"value": float(profile.balance), "autoReload": profile.auto_reload}


def _problem(problem: ProblemError, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(problem.document(), problem.status, headers=headers)


async def _unknown_path(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _problem(UnknownPathError())


async def _unknown_method(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _problem(UnknownMethodError(), getattr(error, "headers", None))  # Allow, from the router


async def _sleep(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())
