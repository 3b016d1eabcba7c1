"""The emulator: its routes, and the provider's own view of its accounts."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from rotator.emulator import api_docs, control
from rotator.emulator.accounts import Account, Accounts, Clock, Primary, utc_now
from rotator.emulator.control import LoggedRequest
from rotator.emulator.exchange import Exchange
from rotator.emulator.faults import Fault, Faults
from rotator.emulator.limits import Limit, LimitHeaders, Limits, ResetUnit
from rotator.emulator.operations import Operation
from rotator.emulator.problems import UnknownMethodError, UnknownPathError
from rotator.emulator.profiles import Profile, Profiles
from rotator.emulator.responses import Dropped, Stamping
from rotator.emulator.revisions import Revision
from rotator.emulator.service import Service
from rotator.emulator.wire import answer_problem, read, trace_id_of

_FIRST = Profile()


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
        control_token: The token that a change through `/_emulator` needs; None: such changes are refused.
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
        control_token: SecretStr | None = None,
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
        headers = LimitHeaders(revision == Revision.V1_0_4, reset_unit, retry_after)
        self._exchange = Exchange(
            Service(
                self._accounts,
                self._profiles,
                max_calls_per_second=max_calls_per_second,
                check_callbacks=check_callbacks,
            ),
            self._accounts,
            self.faults,
            Limits(max_calls_per_second, limit, headers, clock),
            latency=latency,
            clock=clock,
        )
        self._revision = revision
        self._control_token = control_token
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
        return self._exchange.requests

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
            *control.routes(self.faults, lambda: self.requests, self.change_account, self._control_token),
        ]

    def _endpoint(self, operations: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            try:
                call = await read(request, operations[method], self._revision)
            except ClientDisconnect:
                return Dropped()
            return await self._exchange.answer(call)

        return endpoint

    async def _unknown_path(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        return answer_problem(UnknownPathError(), trace_id_of(request), self._revision)

    async def _unknown_method(self, request: Request, error: Exception) -> Response:
        allowed = getattr(error, "headers", None)  # from the router
        return answer_problem(UnknownMethodError(), trace_id_of(request), self._revision, allowed)
