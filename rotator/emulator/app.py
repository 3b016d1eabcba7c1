"""The Account API over HTTP: routes, authentication, operations, faults."""

import asyncio
import threading
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Literal

import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from rotator.emulator import api_docs, control
from rotator.emulator.accounts import FOREVER, Account, Accounts, Clock, Primary, utc_now
from rotator.emulator.callbacks import require_answer, require_url
from rotator.emulator.control import LoggedRequest
from rotator.emulator.faults import Fault, Faults
from rotator.emulator.limits import USUAL_CALLS, Budget, Limit, LimitHeaders, Limits, ResetUnit, retry_after_header
from rotator.emulator.operations import Operation
from rotator.emulator.problems import (
    BadCredentialsError,
    BadRequestError,
    ForbiddenError,
    MalformedCredentialsError,
    MissingTransactionError,
    ProblemError,
    RateLimitedError,
    ServerError,
    UnknownMethodError,
    UnknownPathError,
    UnprovisionedError,
    ValidationError,
)
from rotator.emulator.profiles import FORWARD_METHODS, Profile, Profiles
from rotator.emulator.responses import Dropped, Stamping, Unanswered
from rotator.emulator.revisions import Revision
from rotator.emulator.wire import (
    Call,
    answer,
    answer_problem,
    link,
    parse_secret,
    read,
    refuse,
    represent,
    require_form,
    trace_id_of,
)

_LOG_LENGTH = 100_000  # the oldest entries of a long run make room, so that its memory stays bounded
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>\n"

_TOPPED_UP = {"error-code": "200", "error-code-label": "success"}
_REFUSALS: dict[str, Callable[[], ProblemError]] = {
    "400": BadRequestError,
    "401": BadCredentialsError,
    "403": ForbiddenError,
    "unprovisioned": UnprovisionedError,
    "500-problem": ServerError,
}
_FIRST = Profile()
# As the specification spells them, then as official SDKs do.
_MO_CALLBACK = ("moCallBackUrl", "moCallbackUrl")
_DR_CALLBACK = ("drCallBackUrl", "drCallbackUrl")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Reply:
    """The answer to a call, and what its log entry needs to know."""

    response: Response
    secret_id: str | None = None
    authenticated_as: str | None = None


class Emulator:
    """The provider: an ASGI application in `app`, and what only the provider could know.

    Args:
        accounts: With their first secrets, see `parse_account`.
        primaries: Which primary account may act for which secondary account, see `parse_primary`.
        faults: Faults to inject, see the faults module; `faults.add` adds one at any time.
        max_secrets: How many secrets an account may have.
        too_many_status: The status of a create in a full account, 400 or 403.
        propagation: How long a new secret takes until it authenticates; it is listed at once.
        latency: How late every answer comes.
        profile: How the balance and the settings of every account start.
        top_up: Amount that one top-up adds to a balance, in euros.
        max_calls_per_second: Requests that an account may send in any second; None: no limit.
        limit: How many calls a key may make in a longer period; None for no such limit.
        reset_unit: The unit of X-RateLimit-Reset in 1.0.4: seconds or milliseconds of Unix time.
        retry_after: Whether a 429 has a Retry-After.
        check_callbacks: Whether a callback must answer before it is taken; loopback addresses only are called.
        revision: The revision of the API to speak.
        clock: Tells the time, aware UTC; also the time of the answers' Date header.
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
        limit: Limit | None = None,
        reset_unit: ResetUnit = "ms",
        retry_after: bool = True,
        check_callbacks: bool = False,
        revision: Revision = Revision.V1_0_0,
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
        self._profiles = Profiles(profile, top_up=top_up)
        self._max_calls_per_second = max_calls_per_second
        self._limit = limit
        self._limit_headers = LimitHeaders(revision == Revision.V1_0_4, reset_unit, retry_after)
        self._limits = Limits(max_calls_per_second, limit, self._limit_headers, clock)
        self._revision = revision
        self._check_callbacks = check_callbacks
        self._latency = latency
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=_LOG_LENGTH)
        self.app = Starlette(
            routes=self._routes(),
            exception_handlers={404: self._unknown_path, 405: self._unknown_method},
            middleware=[Middleware(Stamping, clock, revision)],
        )
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

    def listed(self, api_key: str, fault: Fault | None = None) -> tuple[str, ...]:
        """The ids that a list shows right now, oldest first, under a fault of its content or without one."""
        return tuple(secret.id for secret in self._accounts.listed(api_key, fault))

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
            *api_docs.routes(self._revision),
            *control.routes(self),
        ]

    def _endpoint(self, operations: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            try:
                call = await read(request, operations[method], self._revision)
            except ClientDisconnect:
                return Dropped()
            return await self._answer(call)

        return endpoint

    async def _answer(self, call: Call) -> Response:
        """Perform the operation, unless or until a fault prevents it. A client that has left changes nothing."""
        fault = self.faults.take(call.operation, key=call.claimed_key, account=call.api_key or call.claimed_key)
        if fault is not None:
            await _sleep(fault.delay_of_work)
        works = fault is None or fault.works
        reply = await self._perform(call) if works else _Reply(Response(), call.secret_id)
        response = reply.response if fault is None else self._spoil(call, reply.response, fault)
        self._note(call, reply, None if isinstance(response, Unanswered) else response.status_code)
        await _sleep(self._latency + (fault.delay_of_answer if fault is not None else timedelta()))
        return response

    async def _perform(self, call: Call) -> _Reply:
        login = budget = None
        try:
            login = self._log_in(call)
            budget = self._limits.admit(login)
            if call.api_key is not None:
                self._accounts.require_right(login, call.api_key)
            reply = await self._do(call, login, call.api_key or login)
        except ProblemError as problem:
            reply = _Reply(refuse(call, problem), call.secret_id)
        reply.response.headers.update(self._limit_headers.of_answer(budget))
        return replace(reply, authenticated_as=login)

    def _log_in(self, call: Call) -> str:
        if call.credentials is None:
            raise MalformedCredentialsError
        api_key, secret = call.credentials
        if not self._accounts.authenticates(api_key, secret):
            raise BadCredentialsError
        return api_key

    async def _do(self, call: Call, login: str, api_key: str) -> _Reply:
        fault = self.faults.take_content(call.operation, key=login, account=api_key)
        match call.operation:
            case Operation.BALANCE:
                return _Reply(answer(call, _balance(self._profiles.of(api_key))))
            case Operation.TOP_UP:
                if not require_form(call).get("trx"):
                    raise MissingTransactionError
                self._profiles.top_up(api_key)
                said = _TOPPED_UP if call.revision == Revision.V1_0_4 else {"response": "success"} | _TOPPED_UP
                return _Reply(answer(call, said))
            case Operation.SETTINGS:
                settings = self._settings(await self._change_settings(call, api_key))
                return _Reply(answer(call, settings if fault is None else _without_limits(settings)))
            case Operation.LIST:
                secrets = [represent(api_key, secret) for secret in self._accounts.listed(api_key, fault)]
                links = link(f"/accounts/{api_key}/secrets")
                return _Reply(answer(call, {"_links": links, "_embedded": {"secrets": secrets}}))
            case Operation.CREATE:
                propagation = None if fault is None else fault.delay or FOREVER
                secret = self._accounts.create(api_key, parse_secret(call.body), propagation=propagation)
                return _Reply(answer(call, represent(api_key, secret), 201), secret.id)
            case Operation.GET:
                secret = self._accounts.secret(api_key, call.secret_id or "")
                return _Reply(answer(call, represent(api_key, secret)), secret.id)
            case Operation.REVOKE:
                self._accounts.revoke(api_key, call.secret_id or "")
                return _Reply(Response(status_code=204), call.secret_id)

    async def _change_settings(self, call: Call, api_key: str) -> Profile:
        """Change all settings of the form or, if one is refused, none."""
        form = require_form(call)
        method = form.get("httpForwardMethod") if call.revision == Revision.V1_0_4 else None
        if method is not None and method not in FORWARD_METHODS:
            raise ValidationError("httpForwardMethod", f"Is none of {', '.join(FORWARD_METHODS)}")
        given = [(name, form[name]) for name in (*_MO_CALLBACK, *_DR_CALLBACK) if form.get(name)]
        for name, url in given:
            require_url(name, url)
        if self._check_callbacks:
            for name, url in given:
                await require_answer(name, url)
        mo, dr = (next((form[name] for name in names if name in form), None) for names in (_MO_CALLBACK, _DR_CALLBACK))
        return self._profiles.change(api_key, mo_callback_url=mo, dr_callback_url=dr, http_forward_method=method)

    def _settings(self, profile: Profile) -> dict[str, str | int]:
        return {
            "mo-callback-url": profile.mo_callback_url,
            "dr-callback-url": profile.dr_callback_url,
            "max-outbound-request": USUAL_CALLS,
            "max-inbound-request": USUAL_CALLS,
            "max-calls-per-second": self._max_calls_per_second or USUAL_CALLS,
        }

    def _spoil(self, call: Call, response: Response, fault: Fault) -> Response:
        """The answer that the client gets instead."""
        if fault.drops:
            return Dropped()
        if fault.hangs:
            return Unanswered()
        if fault.name in _REFUSALS:
            return refuse(call, _REFUSALS[fault.name]())
        if fault.name == "429":
            return refuse(call, RateLimitedError(self._headers_of_limit(fault)))
        return response if fault.status is None else HTMLResponse(_PAGE.format(fault.status), fault.status)

    def _headers_of_limit(self, fault: Fault) -> Mapping[str, str]:
        """The headers that a fault of 429 asks for, or else those that the emulator sends anyway."""
        ahead = fault.reset or fault.delay
        if ahead is None:
            return {}
        calls = USUAL_CALLS if self._limit is None else self._limit.calls
        budget = Budget(calls, 0, self._clock() + ahead)
        if fault.reset_unit is None:
            return self._limit_headers.of_refusal(ahead, budget)
        return budget.headers(fault.reset_unit) | ({} if fault.delay is None else retry_after_header(fault.delay))

    def _note(self, call: Call, reply: _Reply, status: int | None) -> None:
        api_key = call.api_key
        if api_key is None:
            # Only the caller names the account. A text that is no key can be a secret in the wrong place.
            api_key = call.claimed_key if call.claimed_key in self._accounts.api_keys else ""
        request_id = str(uuid.UUID(call.trace_id)) if call.revision == Revision.V1_0_4 else None
        entry = LoggedRequest(
            self._clock(), call.operation, api_key or "", reply.secret_id, status, reply.authenticated_as, request_id
        )
        with self._lock:
            self._requests.append(entry)
        _log.info("emulator.answered", operation=str(call.operation), api_key=api_key, status=status)

    async def _unknown_path(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        return answer_problem(UnknownPathError(), trace_id_of(request), self._revision)

    async def _unknown_method(self, request: Request, error: Exception) -> Response:
        allowed = getattr(error, "headers", None)  # from the router
        return answer_problem(UnknownMethodError(), trace_id_of(request), self._revision, allowed)


def _balance(profile: Profile) -> dict[str, float | bool]:
    return {"value": float(profile.balance), "autoReload": profile.auto_reload}


def _without_limits(settings: Mapping[str, str | int]) -> Mapping[str, str | int]:
    return {name: value for name, value in settings.items() if not name.startswith("max-")}


async def _sleep(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())
