"""A typed client of the provider's Account API: all seven operations.

Every request authenticates with Basic credentials, so no secret is part of a URL unless `rest_auth` asks for it. The
client does not follow redirects, so no credential reaches another host. It does not keep cookies, so the session of one
account cannot make the secret of another account look valid.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import TracebackType
from typing import TypeVar

import structlog
from pydantic import SecretStr

from rotator.config import AccountApiSettings
from rotator.logs import register_proxies
from rotator.net import repeat
from rotator.provider import answers
from rotator.provider.errors import (
    ApiError,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    refusal,
    refusal_within,
    unreadable,
)
from rotator.provider.host import KEPT, Host
from rotator.provider.models import Balance, CallbackSettings, HttpForwardMethod, SecretInfo
from rotator.provider.parsing import Reply
from rotator.provider.rate_limiter import Budget, RateLimiter, remaining_budget
from rotator.provider.request import Call, Credentials, secrets_path

_log = structlog.get_logger()
T = TypeVar("T")

OnRequest = Callable[[str, str, float], None]
"""Called for each request with the operation, the HTTP status or `not_sent` or `no_answer`, and the seconds it took."""

OnBudget = Callable[[str, Budget], None]
"""Receives the budget of an authenticating key from each answer that contains one."""


class AccountApi(AbstractContextManager["AccountApi"]):
    """The provider's operations; safe to use from several threads.

    When `settings.timeout` is up the request is over, wherever it stands: not a byte of it is sent after that, and what
    was sent is a LostAnswer. The system's name look-up (and trying one address after the other) cannot be cut short:
    the caller waits for it, but the request is then NotSent. Reading requests are repeated a few times when they were
    not answered; changing ones never, because that is the protocol's to decide.

    No more than `settings.max_calls_per_second` are sent to a host in any second, and waiting for a turn is part of the
    timeout. After a 429 nothing is sent to that host with the same authenticating key until the wait is over, which the
    provider asks for: RateLimited at once instead, with `local` set. The whole host is held for a minute at most, after
    three different keys were limited within a minute.

    Args:
        settings: Where the provider is and how long to wait for it.
        connections: How many requests to a host may be under way at once, each by a thread.
        kept: How long an idle connection is kept for the next request.
        retries: How often an unanswered reading request is repeated.
        on_request: Told of each request that was tried.
        on_budget: Receives the remaining requests of a key from each answer that contains them.
        monotonic: Clock for the pace and for the holds after a 429, in seconds.

    Raises:
        ConfigError: If `settings.ca_cert` holds no certificate.
    """

    def __init__(
        self,
        settings: AccountApiSettings,
        *,
        connections: int = 8,
        kept: timedelta = KEPT,
        retries: int = 2,
        on_request: OnRequest | None = None,
        on_budget: OnBudget | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retries = retries
        self._on_request = on_request
        self._on_budget = on_budget
        self._budgets: dict[str, Budget] = {}
        self._closed = threading.Event()
        register_proxies()

        def connect(setting: str, url: str) -> Host:
            limiter = RateLimiter(settings.max_calls_per_second, monotonic=monotonic)
            return Host(setting, url, settings, connections=connections, kept=kept, limiter=limiter)

        self._api = connect("account_api.api_url", settings.api_url)
        self._rest = self._api  # both on one host, as an emulator or a gateway has them, are one host
        if settings.rest_url != settings.api_url:
            self._rest = connect("account_api.rest_url", settings.rest_url)
        if settings.rest_auth == "query":
            _log.warning("provider.secrets_in_urls", host=self._rest.name, setting="account_api.rest_auth")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and end all waits for a turn."""
        self._closed.set()
        self._api.close()
        self._rest.close()

    def budget(self, api_key: str) -> Budget | None:
        """The remaining requests of an authenticating key, by the last answer of either host; None if unknown."""
        return self._budgets.get(api_key)

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        """The account's live secrets.

        Args:
            auth: The account's own credentials, or its primary's.
            api_key: The account.

        Raises:
            ApiError: If the list could not be had.
        """
        call = Call("list", "GET", secrets_path(api_key), auth)
        return self._repeat(lambda: answers.parse_list(self._send(call)))

    def get_secret(self, auth: Credentials, api_key: str, secret_id: str) -> SecretInfo:
        """One live secret.

        Raises:
            ApiError: If it could not be had; NotFound if there is none of that id.
        """
        call = Call("get", "GET", secrets_path(api_key, secret_id), auth)
        return self._repeat(lambda: answers.parse_secret(self._send(call)))

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        """Add this value to the account's secrets. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been added all the same.
        """
        call = Call("create", "POST", secrets_path(api_key), auth, {"secret": secret})
        return answers.parse_secret(self._send(call))

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> str:
        """Delete one of the account's secrets; return the answer's `X-Request-Id`, empty if there is none. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been deleted all the same.
        """
        return self._send(Call("revoke", "DELETE", secrets_path(api_key, secret_id), auth)).request_id

    def get_balance(self, auth: Credentials) -> Balance:
        """The account's balance.

        Args:
            auth: The account's own credentials: a primary cannot ask for its secondaries.

        Raises:
            ApiError: If it could not be had.
        """
        call = Call("balance", "GET", "/account/get-balance", auth)
        return self._repeat(lambda: answers.parse_balance(self._send(call)))

    def top_up(self, auth: Credentials, trx: SecretStr) -> str:
        """Have the payment repeated with which auto-reload was enabled; return the answer's `X-Request-Id`.

        Sent once: it costs money.

        Args:
            auth: The account's own credentials.
            trx: The reference of that payment.

        Raises:
            ApiError: AutoReloadDisabled if there is no such payment; LostAnswer if it may have been made all the same.
        """
        reply = self._send(Call("top_up", "POST", "/account/top-up", auth, {"trx": trx}))
        answers.parse_top_up(reply)
        return reply.request_id

    def change_settings(
        self,
        auth: Credentials,
        *,
        mo_callback_url: str | None = None,
        dr_callback_url: str | None = None,
        http_forward_method: HttpForwardMethod | None = None,
    ) -> CallbackSettings:
        """Change the webhooks; return all settings. Sent once, unless it changes nothing.

        None leaves a setting as it is.

        Args:
            auth: The account's own credentials.
            mo_callback_url: URL for inbound messages; "" unsets it.
            dr_callback_url: URL for delivery receipts; "" unsets it.
            http_forward_method: How the provider calls both. Revision 1.0.0 ignores it, and no revision returns it.

        Raises:
            ApiError: InvalidRequest if the provider rejects a value, and then nothing is changed; LostAnswer if the
                settings might have been changed.
        """
        given = {
            "moCallBackUrl": mo_callback_url,
            "drCallBackUrl": dr_callback_url,
            "httpForwardMethod": http_forward_method,
        }
        fields = {name: SecretStr(value) for name, value in given.items() if value is not None}
        call = Call("settings", "POST", "/account/settings", auth, fields)
        if fields:
            return answers.parse_settings(self._send(call))
        return self._repeat(lambda: answers.parse_settings(self._send(call)))

    def _repeat(self, read: Callable[[], T]) -> T:
        """Send a request that only reads, several times if necessary. A lost answer leaves nothing in doubt."""
        try:
            return repeat(
                read,
                lambda error: isinstance(error, NotSent | LostAnswer),
                attempts=self._retries + 1,
                max_pause=2.0,
                jitter=1.0,
            )
        except LostAnswer as error:
            error.maybe_done = False
            raise

    def _send(self, call: Call) -> Reply:
        """A 2xx answer; everything else is an ApiError.

        It is raised here, where no local variable and no earlier exception holds a secret in the clear.
        """
        host = self._api if call.of_secrets else self._rest
        begun = time.monotonic()
        outcome = host.local_refusal(call) or host.exchange(call, self._closed)
        if isinstance(outcome, Reply):
            self._record_budget(call, outcome)
            outcome = _meaning(call, outcome, host.setting)
        if isinstance(outcome, RateLimited):
            if not outcome.local:
                outcome.retry_after = host.limiter.record_limit(call.auth.api_key, outcome.retry_after)
            outcome.api_key = call.auth.api_key
            outcome.until = datetime.now(UTC) + (outcome.retry_after or timedelta())
            if outcome.local:
                raise outcome
        if self._on_request is not None:
            self._on_request(call.operation, _code(outcome), time.monotonic() - begun)
        if isinstance(outcome, Reply | Refused) and not isinstance(outcome, RateLimited):
            host.limiter.record_answer(call.auth.api_key)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def _record_budget(self, call: Call, reply: Reply) -> None:
        budget = remaining_budget(reply.headers)
        if budget is None:
            return
        self._budgets[call.auth.api_key] = budget
        if self._on_budget is not None:
            self._on_budget(call.auth.api_key, budget)


def _code(outcome: Reply | ApiError) -> str:
    status = getattr(outcome, "status", None)
    return "not_sent" if isinstance(outcome, NotSent) else str(status or "no_answer")


def _meaning(call: Call, reply: Reply, setting: str) -> Reply | ApiError:
    """The answer if it says that the request was carried out; the error otherwise."""
    if not HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        return refusal(str(call), reply, call.in_the_clear(), setting=setting)
    if not call.of_secrets:
        return refusal_within(str(call), reply, call.in_the_clear(), setting=setting) or reply
    if call.method == "DELETE" and reply.status != HTTPStatus.NO_CONTENT:
        return unreadable("the word that the secret is revoked (204)", setting, reply)
    return reply
