"""A typed client of the provider's Account API: all seven operations.

Every request authenticates with Basic credentials, so that no secret is part of a URL, unless `rest_auth` asks for just
that; redirects are not followed, so no credential travels to another host; cookies are not kept, so no account's
session makes another account's secret look as if it worked. What an answer means, its errors among it, is
account_answers' business; the errors and values can be imported from here.
"""

import itertools
import logging
import math
import re
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Literal, TypeVar
from urllib.parse import quote, quote_plus

import httpx
import stamina
import structlog
from pydantic import SecretStr

from rotator import __version__
from rotator.config import AccountApiSettings, in_plain_text
from rotator.errors import ConfigError
from rotator.logs import register_proxies, register_secret
from rotator.net.answers import is_encoded
from rotator.net.deadline import Deadline, bound
from rotator.provider import answers as account_answers
from rotator.provider.answers import (
    STATUS_PAGE,
    ApiError,
    Balance,
    CallbackSettings,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    Reply,
    SecretInfo,
    clean,
    unreadable,
)
from rotator.provider.models import HttpForwardMethod
from rotator.provider.rate_limiter import Budget, RateLimiter, remaining_budget

# The longest that one request takes once it is being sent, in units of the configured timeout: a busy machine may be
# late with its end.
WORST_CASE = 1.5
# How long a connection is kept for the next request. A server closes an idle one when it likes, and a create that is
# sent into that moment is a lost answer: servers keep theirs for longer than this, proxies for a minute.
KEPT = timedelta(seconds=2)
# How many threads share a pool of connections: httpcore compares all of a pool's with one another, twice a request.
_POOL = 8

_MAX_BODY = 1 << 20
_log = structlog.get_logger()
T = TypeVar("T")

OnRequest = Callable[[str, str, float], None]
"""Told of each request: the operation, the HTTP status or what came instead of one, the seconds it took."""

OnBudget = Callable[[str, Budget], None]
"""Receives the budget of an authenticating key from each answer that contains one."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and one of its secrets."""

    api_key: str
    api_secret: SecretStr


@dataclass(frozen=True, slots=True)
class _Call:
    """What to send.

    Attributes:
        fields: The body's, each of them hidden: a form to the account's own operations, JSON to those on secrets.
    """

    operation: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    auth: Credentials
    fields: Mapping[str, SecretStr] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def of_secrets(self) -> bool:
        return self.path.startswith("/accounts/")

    @property
    def headers(self) -> dict[str, str]:
        """What says that the connection ends after a create.

        A connection may lead to one of many servers. That a new secret works is to be seen anywhere but at the one that
        has just created it.
        """
        return {"Connection": "close"} if self.operation == "create" else {}

    def register(self) -> None:
        """Have every secret of it masked wherever its answer is repeated."""
        callbacks = self.operation == "settings"
        for value in (self.auth.api_secret, *(() if callbacks else self.fields.values())):
            register_secret(value, passing=True)

    def in_the_clear(self) -> list[str]:
        """What a provider that echoes a request could show: the credential as it was sent, and every value."""
        secret = self.auth.api_secret.get_secret_value()
        basic = b64encode(f"{self.auth.api_key}:{secret}".encode()).decode().rstrip("=")
        values = [secret, *(value.get_secret_value() for value in self.fields.values())]
        shown = {basic, *values, *map(quote_plus, values), *(quote(value, safe="") for value in values)} - {""}
        return sorted(shown, key=len, reverse=True)  # one may begin with another

    def body(self) -> dict[str, str] | None:
        """The fields in the clear; None if there are none."""
        return {name: value.get_secret_value() for name, value in self.fields.items()} or None


class _Unshown(httpx.URL):
    """A URL with a secret in its query, which it never shows: httpx logs URLs, and its errors carry them."""

    def __str__(self) -> str:
        return str(self.copy_with(query=None))

    def __repr__(self) -> str:
        return repr(self.copy_with(query=None))


class _InQuery(httpx.Auth):
    """Adds key and secret to the URL when everything that logs or keeps the request has seen it without them."""

    def __init__(self, auth: Credentials) -> None:
        self._auth = auth

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        auth = {"api_key": self._auth.api_key, "api_secret": self._auth.api_secret.get_secret_value()}
        request.url = _Unshown(request.url.copy_merge_params(auth))
        yield request


class _Host:
    """One host of the provider: the connections to it, its rate limiter, and the errors for what is not answered.

    Attributes:
        setting: Where its address stands.
        url: Its address.
        name: Its name, or IP address.
        limiter: When a request to it may be sent.
    """

    def __init__(
        self,
        setting: str,
        url: str,
        settings: AccountApiSettings,
        tls: ssl.SSLContext,
        *,
        connections: int,
        limiter: RateLimiter,
    ) -> None:
        self.setting, self.url = setting, url
        self.name = httpx.URL(url).host
        self.limiter = limiter
        self._clients = tuple(_client(settings, tls, connections) for _ in range(-(-connections // _POOL)))
        self._turns = itertools.count()
        self._thread = threading.local()
        if in_plain_text(url):
            _log.warning("provider.in_plain_text", host=self.name, next_step="Use https: secrets go along")
        if not settings.verify:
            _log.warning("provider.tls_verification_off", host=self.name)

    @property
    def client(self) -> httpx.Client:
        """The one that this thread uses."""
        if not hasattr(self._thread, "client"):
            self._thread.client = self._clients[next(self._turns) % len(self._clients)]
        client: httpx.Client = self._thread.client
        return client

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            client.close()

    def local_refusal(self, call: _Call) -> RateLimited | None:
        """The refusal of a request that must not be sent now; None if it may be sent."""
        hold = self.limiter.hold(call.auth.api_key)
        if hold is None:
            return None
        limited = "several API keys" if hold.of_host else f"API key {call.auth.api_key}"
        return RateLimited(
            f"{self.name} has limited {limited}, so rotator did not send {call}",
            status=httpx.codes.TOO_MANY_REQUESTS,
            retry_after=hold.left,
            local=True,
            next_step=f"Wait {math.ceil(hold.left.total_seconds())} s",
        )

    def unanswered(self, call: _Call, deadline: Deadline, error: Exception, request_id: str) -> ApiError:
        """The error that no answer means, or one that was cut off after its headers."""
        if deadline.sent:
            what = f"{self.name} did not answer {call} ({type(error).__name__})"
            return LostAnswer(what, next_step=STATUS_PAGE, request_id=request_id)
        # Only the system and OpenSSL write the text of a ConnectError. Other errors repeat what a proxy sent.
        text = str(error) if isinstance(error, httpx.ConnectError) else ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            reason = re.sub(r".*certificate verify failed: | \(_ssl.*", "", text)
            return NotSent(
                f"The certificate of {self.name} cannot be verified ({clean(reason)})",
                next_step="If a proxy with a CA of its own stands between, name that CA in account_api.ca_cert",
            )
        reason = ": ".join(part for part in (type(error).__name__, clean(text)) if part)
        return NotSent(
            f"{self.name} cannot be reached ({reason})",
            next_step=f"Look at the network and at {self.setting}",
        )


def _client(settings: AccountApiSettings, tls: ssl.SSLContext, connections: int) -> httpx.Client:
    timeout = settings.timeout.total_seconds()
    try:
        client = httpx.Client(
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a small encoded body can decode to gigabytes
                "User-Agent": f"rotator/{__version__}",
            },
            verify=tls,
            # The deadline ends the whole; these leave most of the time to the answer.
            timeout=httpx.Timeout(timeout, connect=timeout * 0.2, pool=timeout * 0.1),
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=KEPT.total_seconds()),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        )
    except (ValueError, ImportError, httpx.InvalidURL):  # their text contains the proxy's URL, and with it the password
        client = None
    if client is None:
        raise ConfigError(
            "A proxy in the environment is not the URL of an HTTP proxy",
            next_step="Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the provider's hosts in NO_PROXY",
        )
    return bound(client)


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
        retries: int = 2,
        on_request: OnRequest | None = None,
        on_budget: OnBudget | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = settings.timeout.total_seconds()
        self._retries = retries
        self._on_request = on_request
        self._on_budget = on_budget
        self._budgets: dict[str, Budget] = {}
        self._closed = threading.Event()
        self._in_query = settings.rest_auth == "query"
        register_proxies()
        tls = _tls(settings)

        def connect(setting: str, url: str) -> _Host:
            limiter = RateLimiter(settings.max_calls_per_second, monotonic=monotonic)
            return _Host(setting, url, settings, tls, connections=connections, limiter=limiter)

        self._api = connect("account_api.api_url", settings.api_url)
        self._rest = self._api  # both on one host, as an emulator or a gateway has them, are one host
        if settings.rest_url != settings.api_url:
            self._rest = connect("account_api.rest_url", settings.rest_url)
        if self._in_query:
            # Its debug lines show where a redirect leads to, which may repeat the whole URL.
            logging.getLogger("httpcore.http11").setLevel(logging.INFO)
            _log.warning("provider.secrets_in_urls", host=self._rest.name, setting="account_api.rest_auth")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; whoever waits for a turn gets it now."""
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
        call = _Call("list", "GET", _path(api_key), auth)
        return self._repeat(lambda: account_answers.parse_list(self._send(call)))

    def get_secret(self, auth: Credentials, api_key: str, secret_id: str) -> SecretInfo:
        """One live secret.

        Raises:
            ApiError: If it could not be had; NotFound if there is none of that id.
        """
        call = _Call("get", "GET", _path(api_key, secret_id), auth)
        return self._repeat(lambda: account_answers.parse_secret(self._send(call)))

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        """Add this value to the account's secrets. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been added all the same.
        """
        call = _Call("create", "POST", _path(api_key), auth, {"secret": secret})
        return account_answers.parse_secret(self._send(call))

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> None:
        """Delete one of the account's secrets. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been deleted all the same.
        """
        self._send(_Call("revoke", "DELETE", _path(api_key, secret_id), auth))

    def get_balance(self, auth: Credentials) -> Balance:
        """What the account has left.

        Args:
            auth: The account's own credentials: a primary cannot ask for its secondaries.

        Raises:
            ApiError: If it could not be had.
        """
        call = _Call("balance", "GET", "/account/get-balance", auth)
        return self._repeat(lambda: account_answers.parse_balance(self._send(call)))

    def top_up(self, auth: Credentials, trx: SecretStr) -> None:
        """Have the payment repeated with which auto-reload was enabled. Sent once: it costs money.

        Args:
            auth: The account's own credentials.
            trx: The reference of that payment.

        Raises:
            ApiError: AutoReloadDisabled if there is no such payment; LostAnswer if it may have been made all the same.
        """
        account_answers.parse_top_up(self._send(_Call("top_up", "POST", "/account/top-up", auth, {"trx": trx})))

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
        call = _Call("settings", "POST", "/account/settings", auth, fields)
        if fields:
            return account_answers.parse_settings(self._send(call))
        return self._repeat(lambda: account_answers.parse_settings(self._send(call)))

    def _repeat(self, read: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=(NotSent, LostAnswer), attempts=self._retries + 1, wait_initial=0.2, wait_max=2.0, timeout=None
        ):
            with attempt:
                return read()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send(self, call: _Call) -> Reply:
        """A 2xx answer; everything else is an ApiError.

        It is raised here, where no local variable and no earlier exception holds a secret in the clear.
        """
        host = self._api if call.of_secrets else self._rest
        begun = time.monotonic()
        outcome = host.local_refusal(call) or self._exchange(host, call)
        if isinstance(outcome, RateLimited) and outcome.local:
            raise outcome
        if self._on_request is not None:
            self._on_request(call.operation, _code(outcome), time.monotonic() - begun)
        if isinstance(outcome, RateLimited):
            outcome.retry_after = host.limiter.record_limit(call.auth.api_key, outcome.retry_after)
        elif isinstance(outcome, Reply | Refused):
            host.limiter.record_answer(call.auth.api_key)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def _exchange(self, host: _Host, call: _Call) -> Reply | ApiError:
        deadline = Deadline(self._timeout)
        request_id = ""
        call.register()
        try:
            hidden = call.in_the_clear()
            login: httpx.Auth = httpx.BasicAuth(call.auth.api_key, call.auth.api_secret.get_secret_value())
            if self._in_query and not call.of_secrets:
                login = _InQuery(call.auth)
            with deadline:
                self._closed.wait(min(host.limiter.take_turn(), max(0.0, deadline.left())))
                refusal = host.local_refusal(call)  # another thread may have met a 429 during the wait
                if refusal is not None:
                    return refusal
                with host.client.stream(
                    call.method,
                    host.url + call.path,
                    auth=login,
                    json=call.body() if call.of_secrets else None,
                    data=None if call.of_secrets else call.body(),
                    headers=call.headers,
                    extensions={"trace": deadline},
                ) as response:
                    request_id = account_answers.request_id(response, hidden)
                    encoded = is_encoded(response.headers.get("Content-Encoding"))
                    content = None if encoded else _read(response)
        except UnicodeEncodeError:  # its text would show the value
            return NotSent(f"{call} was not sent: a value of it, or the secret, holds characters that are not Unicode")
        except httpx.InvalidURL:
            return NotSent(f"{call} was not sent: its URL would be longer than any that is taken")
        except (httpx.RequestError, httpx.StreamError) as error:
            return host.unanswered(call, deadline, error, request_id)
        if encoded:
            return LostAnswer(
                f"The answer to {call} is compressed, although rotator asked for one that is not",
                next_step=f"Switch off compression in the proxy in front of {host.name}, or look at {host.setting}",
                request_id=request_id,
            )
        if content is None:
            what = f"The answer to {call} is longer than any of the Account API's"
            return LostAnswer(what, next_step=STATUS_PAGE, request_id=request_id)
        reply = Reply.of(response, content, request_id)
        self._record_budget(call, reply)
        if not response.is_success:
            return account_answers.refusal(str(call), reply, hidden, setting=host.setting)
        if not call.of_secrets:
            return account_answers.refusal_within(str(call), reply, hidden, setting=host.setting) or reply
        if call.method == "DELETE" and response.status_code != httpx.codes.NO_CONTENT:
            return unreadable("the word that the secret is revoked (204)", host.setting, reply)
        return reply

    def _record_budget(self, call: _Call, reply: Reply) -> None:
        budget = remaining_budget(reply.headers)
        if budget is None:
            return
        self._budgets[call.auth.api_key] = budget
        if self._on_budget is not None:
            self._on_budget(call.auth.api_key, budget)


def _tls(settings: AccountApiSettings) -> ssl.SSLContext:
    if settings.ca_cert is None or not settings.verify:
        return httpx.create_ssl_context(verify=settings.verify)
    try:
        return ssl.create_default_context(cafile=settings.ca_cert)
    except OSError as error:  # an SSLError is one
        raise ConfigError(
            f"account_api.ca_cert: {settings.ca_cert} cannot be used ({clean(str(error))})",
            next_step="Name a PEM file with the CA's certificate",
        ) from None


def _code(outcome: Reply | ApiError) -> str:
    status = getattr(outcome, "status", None)
    return "not_sent" if isinstance(outcome, NotSent) else str(status or "no_answer")


def _path(api_key: str, secret_id: str | None = None) -> str:
    collection = f"/accounts/{quote(api_key, safe='')}/secrets"
    return collection if secret_id is None else f"{collection}/{quote(secret_id, safe='')}"


def _read(response: httpx.Response) -> bytes | None:
    """The whole body; None if it is too long to be any of this API's."""
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > _MAX_BODY:
            return None
    return bytes(content)
