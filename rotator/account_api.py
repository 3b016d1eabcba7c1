"""A typed client of the provider's Account API; imports config, errors and the version.

Only the secrets' operations are here yet. Every request authenticates with Basic credentials, so no secret is
ever part of a URL; redirects are not followed, so no credential travels to another host; cookies are not kept, so
no account's session makes another account's secret look as if it worked.

ApiError
├── NotSent            the request certainly did not reach the provider
├── LostAnswer         it may have been carried out: no answer, a cut one, an unreadable one, or a 5xx
└── Refused            the provider answered that it did not do it
    ├── Unauthorized   401, the credential does not work
    ├── Forbidden      403
    ├── NotFound       404, the key or the secret's id is unknown
    ├── InvalidRequest 400 or 422
    └── RateLimited    429
"""

import json
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import stamina
import structlog
from pydantic import BaseModel, Field, SecretBytes, SecretStr, ValidationError

from rotator import __version__
from rotator.config import AccountApiSettings
from rotator.errors import ConfigError, RotatorError

# The longest that one request takes once it is being sent, in units of the configured timeout: its end is a timer's
# work, and a busy machine may be late with it.
WORST_CASE = 1.5

_MAX_BODY = 1 << 20
_MAX_TEXT = 300
_LONGEST_WAIT = timedelta(days=1)
# A 429 may be about one key only: for the sake of the others the host is asked again after this at the latest.
_LONGEST_HOLD = timedelta(minutes=1)
_STATUS_PAGE = "If it goes on, look at the provider's status page"
_log = structlog.get_logger()
T = TypeVar("T")

OnRequest = Callable[[str, str, float], None]
"""Told of each request: the operation, the HTTP status or what came instead of one, the seconds it took."""


class ApiError(RotatorError):
    """The provider answered badly, or not at all."""


class NotSent(ApiError):
    """The request certainly did not reach the provider: nothing was changed there."""


class LostAnswer(ApiError):
    """The request may have been carried out: look before sending it again.

    Attributes:
        status: The HTTP status, a 5xx one, if there was an answer.
    """

    def __init__(self, what: str, *, status: int | None = None, next_step: str = "") -> None:
        super().__init__(what, next_step=next_step)
        self.status = status


class Refused(ApiError):
    """The provider answered, and did not do it.

    Attributes:
        status: The HTTP status.
        invalid_parameters: Names and reasons of what the provider found wrong.
    """

    def __init__(
        self, what: str, *, status: int, invalid_parameters: tuple[tuple[str, str], ...] = (), next_step: str = ""
    ) -> None:
        super().__init__(what, next_step=next_step)
        self.status = status
        self.invalid_parameters = invalid_parameters

    @property
    def rejects_the_value(self) -> bool:
        """Whether it was the secret's own value that the provider did not like."""
        return any(name == "secret" for name, _ in self.invalid_parameters)


class Unauthorized(Refused):
    """401: the key or the secret it was authenticated with does not work."""


class Forbidden(Refused):
    """403: not allowed, or one secret too many, or the last one that has to stay."""


class NotFound(Refused):
    """404: the key or the secret's id is unknown, or not this credential's to see."""


class InvalidRequest(Refused):
    """400 or 422: the value breaks the rules, or the account has too many secrets."""


class RateLimited(Refused):
    """429: too many requests.

    Attributes:
        retry_after: How long the provider asks to wait, if it says so; never more than a day.
    """

    def __init__(self, what: str, *, retry_after: timedelta | None, **details: Any) -> None:
        super().__init__(what, **details)
        self.retry_after = retry_after


_BY_STATUS: dict[int, type[Refused]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    422: InvalidRequest,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and one of its secrets."""

    api_key: str
    api_secret: SecretStr


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What the provider tells of a secret: never its value."""

    id: str
    created_at: datetime


class _Secret(BaseModel):
    # Ids become part of a path: one character at least is not a dot, or the path would be another one.
    id: str = Field(max_length=200, pattern=r"^[\x21-\x7e]*[\x21-\x2d\x2f-\x7e][\x21-\x7e]*$")
    created_at: datetime

    def info(self) -> SecretInfo:
        at = self.created_at
        return SecretInfo(self.id, at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC))


class _Embedded(BaseModel):
    secrets: list[_Secret]


class _Secrets(BaseModel):
    embedded: _Embedded = Field(alias="_embedded")


# The status and body of a 2xx answer, or why there is none.
_Outcome = tuple[int, SecretBytes] | ApiError


class _Limit(AbstractContextManager["_Limit"]):
    """One request's time limit, and whether any of the request was sent; serves as httpx's trace hook.

    httpx limits each read, which a server that drips never exceeds. Here the connection is shut down when the
    time is up, which ends whatever read or write is going on; and what was not begun by then is never sent.
    """

    def __init__(self, seconds: float) -> None:
        self.sent = False
        self.over = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()  # between the request's thread and the timer's
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> "_Limit":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        with self._lock:
            if event.endswith(("connect_tcp.complete", "start_tls.complete")):
                self._socket = info["return_value"].get_extra_info("socket")
            if event.endswith("send_request_headers.started"):
                if self.over:
                    raise httpx.ConnectTimeout("the time was up before anything could be sent")
                # What a proxy is told to open a tunnel is not the request yet.
                self.sent = info["request"].method != b"CONNECT"

    def _end(self) -> None:
        with self._lock:
            self.over = True
            if self._socket is not None:
                with suppress(OSError):  # closed already
                    # Not SSLSocket's own method, which takes the TLS state away under the thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Pace:
    """When a request may go: so many a second and no more, and none while the host has asked to be left alone."""

    def __init__(self, calls_per_second: float) -> None:
        self._sent: deque[float] = deque(maxlen=max(1, int(calls_per_second)))
        self._window = (self._sent.maxlen or 1) / calls_per_second
        self._held_until = 0.0
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take the next turn; how many seconds to wait for it."""
        with self._lock:
            now = time.monotonic()
            full = len(self._sent) == self._sent.maxlen
            at = max(now, self._sent[0] + self._window) if full else now
            self._sent.append(at)
            return at - now

    def hold(self, duration: timedelta) -> None:
        """Send nothing for so long."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + min(duration, _LONGEST_HOLD).total_seconds())

    def held(self) -> timedelta | None:
        """How long nothing may be sent yet; None if it may."""
        left = self._held_until - time.monotonic()
        return timedelta(seconds=left) if left > 0 else None


class AccountApi(AbstractContextManager["AccountApi"]):
    """The provider's secrets' operations; safe to use from several threads.

    When `settings.timeout` is up the request is over, wherever it stands: not a byte of it is sent after that, and what
    was sent is a LostAnswer. The system's name look-up (and trying one address after the other) cannot be cut short:
    the caller waits for it, but the request is then NotSent. Reading requests are repeated a few times when they were
    not answered; changing ones never, because that is the protocol's to decide.

    No more than `settings.max_calls_per_second` are sent in any second, and waiting for a turn is part of the timeout.
    After a 429 that says when to come back, nothing is sent until then (a minute at most): RateLimited at once instead.

    Args:
        settings: Where the provider is and how long to wait for it.
        connections: How many requests may be under way at once.
        retries: How often an unanswered reading request is repeated.
        on_request: Told of each request that was tried.

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
    ) -> None:
        self._timeout = settings.timeout.total_seconds()
        self._retries = retries
        self._on_request = on_request
        self._pace = _Pace(settings.max_calls_per_second)
        self._closed = threading.Event()
        self._host = httpx.URL(settings.api_url).host
        if not settings.verify:
            _log.warning("provider.tls_verification_off", host=self._host)
        self._client = httpx.Client(
            base_url=settings.api_url,
            headers={"Accept": "application/json", "User-Agent": f"rotator/{__version__}"},
            verify=_tls(settings),
            # _Limit ends the whole; these leave most of the time to the answer.
            timeout=httpx.Timeout(self._timeout, connect=self._timeout * 0.2, pool=self._timeout * 0.1),
            # A connection kept for later may be closed by the server in the moment in which a create is sent into
            # it: an answer lost for the sake of a handshake, where a rotation needs about ten.
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=0),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; whoever waits for a turn gets it now."""
        self._closed.set()
        self._client.close()

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        """The account's live secrets.

        Args:
            auth: The account's own credentials, or its primary's.
            api_key: The account.

        Raises:
            ApiError: If the list could not be had.
        """
        path = f"/accounts/{quote(api_key, safe='')}/secrets"
        return self._repeat(lambda: _parse_list(self._send("list", "GET", path, auth)))

    def get_secret(self, auth: Credentials, api_key: str, secret_id: str) -> SecretInfo:
        """One live secret.

        Raises:
            ApiError: If it could not be had; NotFound if there is none of that id.
        """
        return self._repeat(lambda: _parse_secret(self._send("get", "GET", _path(api_key, secret_id), auth)))

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        """Add this value to the account's secrets. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been added all the same.
        """
        path = f"/accounts/{quote(api_key, safe='')}/secrets"
        return _parse_secret(self._send("create", "POST", path, auth, secret))

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> None:
        """Delete one of the account's secrets. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been deleted all the same.
        """
        self._send("revoke", "DELETE", _path(api_key, secret_id), auth)

    def _repeat(self, read: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=(NotSent, LostAnswer), attempts=self._retries + 1, wait_initial=0.2, wait_max=2.0, timeout=None
        ):
            with attempt:
                return read()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send(
        self, operation: str, method: str, path: str, auth: Credentials, secret: SecretStr | None = None
    ) -> SecretBytes:
        """The body of a 2xx answer; everything else is an ApiError.

        It is raised here, where no local variable and no earlier exception holds a secret in the clear.
        """
        held = self._pace.held()
        if held is not None:
            raise RateLimited(f"{self._host} has asked to be left alone for a while", status=429, retry_after=held)
        begun = time.monotonic()
        outcome = self._exchange(method, path, auth, secret)
        if self._on_request is not None:
            self._on_request(operation, _code(outcome), time.monotonic() - begun)
        if isinstance(outcome, RateLimited) and outcome.retry_after is not None:
            self._pace.hold(outcome.retry_after)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome[1]

    def _exchange(self, method: str, path: str, auth: Credentials, secret: SecretStr | None) -> _Outcome:
        request, limit = f"{method} {path}", _Limit(self._timeout)
        try:
            hidden = _in_the_clear(auth, secret)
            basic = httpx.BasicAuth(auth.api_key, auth.api_secret.get_secret_value())
            body = None if secret is None else {"secret": secret.get_secret_value()}
            with limit:
                self._closed.wait(self._pace.turn())
                with self._client.stream(method, path, auth=basic, json=body, extensions={"trace": limit}) as response:
                    content = _read(response)
        except UnicodeEncodeError:  # its text would show the value
            return NotSent(f"{request} was not sent: the key or the secret holds characters that are not Unicode")
        except (httpx.RequestError, httpx.StreamError) as error:
            return self._unanswered(request, limit, error)
        if limit.over:  # the end of the connection, which may end an answer, was our own doing
            return self._unanswered(request, limit, httpx.ReadTimeout("too slow"))
        if content is None:
            return LostAnswer(
                f"The answer to {request} is longer than any of the Account API's", next_step=_STATUS_PAGE
            )
        if not response.is_success:
            return _refusal(request, response, content, hidden)
        if method == "DELETE" and response.status_code != httpx.codes.NO_CONTENT:
            return _unreadable("the word that the secret is revoked (204)")
        return response.status_code, SecretBytes(content)

    def _unanswered(self, request: str, limit: _Limit, error: Exception) -> ApiError:
        if limit.sent:
            return LostAnswer(f"{self._host} did not answer {request} ({type(error).__name__})", next_step=_STATUS_PAGE)
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            reason = re.sub(r".*certificate verify failed: | \(_ssl.*", "", text)
            return NotSent(
                f"The certificate of {self._host} cannot be verified ({_clean(reason)})",
                next_step="If a proxy with a CA of its own stands between, name that CA in account_api.ca_cert",
            )
        return NotSent(
            f"{self._host} cannot be reached ({type(error).__name__}: {_clean(text)})",
            next_step="Look at the network and at account_api.api_url",
        )


def _tls(settings: AccountApiSettings) -> ssl.SSLContext | bool:
    if not settings.verify:
        return False
    if settings.ca_cert is None:
        return True
    try:
        return ssl.create_default_context(cafile=settings.ca_cert)
    except OSError as error:  # an SSLError is one
        raise ConfigError(
            f"account_api.ca_cert: {settings.ca_cert} cannot be used ({_clean(str(error))})",
            next_step="Name a PEM file with the CA's certificate",
        ) from None


def _code(outcome: _Outcome) -> str:
    if isinstance(outcome, tuple):
        return str(outcome[0])
    status = getattr(outcome, "status", None)
    return "not_sent" if isinstance(outcome, NotSent) else str(status or "no_answer")


def _path(api_key: str, secret_id: str) -> str:
    return f"/accounts/{quote(api_key, safe='')}/secrets/{quote(secret_id, safe='')}"


def _in_the_clear(auth: Credentials, secret: SecretStr | None) -> list[str]:
    """What a provider that echoes a request could show: the values and the credential as it was sent."""
    value = auth.api_secret.get_secret_value()
    basic = b64encode(f"{auth.api_key}:{value}".encode()).decode().rstrip("=")
    values = [basic, value] if secret is None else [basic, value, secret.get_secret_value()]
    return sorted(values, key=len, reverse=True)  # one may begin with another


def _read(response: httpx.Response) -> bytes | None:
    """The whole body; None if it is too long to be any of this API's."""
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > _MAX_BODY:
            return None
    return bytes(content)


def _parse_list(content: SecretBytes) -> tuple[SecretInfo, ...]:
    with suppress(ValidationError, OverflowError):
        secrets = _Secrets.model_validate_json(content.get_secret_value()).embedded.secrets
        if len({secret.id for secret in secrets}) == len(secrets):
            return tuple(secret.info() for secret in secrets)
    raise _unreadable("the list of secrets")


def _parse_secret(content: SecretBytes) -> SecretInfo:
    with suppress(ValidationError, OverflowError):
        return _Secret.model_validate_json(content.get_secret_value()).info()
    raise _unreadable("a secret's id and date")


def _unreadable(what: str) -> LostAnswer:
    return LostAnswer(
        f"The provider's answer does not hold {what}",
        next_step="Make sure that account_api.api_url is the Account API's, not a proxy's login page",
    )


def _refusal(request: str, response: httpx.Response, content: bytes, hidden: list[str]) -> ApiError:
    """The error that an answer other than 2xx means; its text is the provider's and not to be trusted."""
    status = response.status_code
    problem = _problem(content)
    texts = [problem.get("title"), problem.get("detail")]
    said = ": ".join(text for text in (_clean(text, hidden) for text in texts if isinstance(text, str)) if text)
    what = f"The provider answered {status} to {request}" + (f" ({said})" if said else "")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return LostAnswer(what, status=status, next_step=_STATUS_PAGE)
    if response.has_redirect_location:
        next_step = "Put the Account API's own address into account_api.api_url: redirects are never followed"
        return Refused(what, status=status, next_step=next_step)
    wrong = _invalid_parameters(problem, hidden)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited(what, status=status, retry_after=_retry_after(response.headers.get("Retry-After")))
    return _BY_STATUS.get(status, Refused)(what, status=status, invalid_parameters=wrong)


def _problem(content: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _invalid_parameters(problem: dict[str, Any], hidden: list[str]) -> tuple[tuple[str, str], ...]:
    entries = problem.get("invalid_parameters")
    if not isinstance(entries, list):
        return ()
    pairs = [(entry.get("name"), entry.get("reason")) for entry in entries[:20] if isinstance(entry, dict)]
    return tuple(
        (_clean(name, hidden), _clean(reason, hidden) if isinstance(reason, str) else "")
        for name, reason in pairs
        if isinstance(name, str)
    )


def _clean(text: str, hidden: Sequence[str] = ()) -> str:
    """Somebody else's text, fit for one line of ours: no control characters, no secret of ours, not too long."""
    for value in hidden:
        text = text.replace(value, "********")
    return re.sub(r"[^\x20-\x7e]+", " ", text)[:_MAX_TEXT].strip()


def _retry_after(header: str | None) -> timedelta | None:
    """Both forms of the header, seconds and date; None for anything else."""
    if header is None:
        return None
    if re.fullmatch(r"[0-9]+", header):
        return timedelta(seconds=min(int(header[:9]), _LONGEST_WAIT.total_seconds()))
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(at - datetime.now(UTC), timedelta()), _LONGEST_WAIT)
