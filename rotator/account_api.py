"""A typed client of the provider's Account API; imports config, errors and the version.

Only the secrets' operations are here yet. Every request authenticates with Basic credentials, so no secret is
ever part of a URL; redirects are not followed, so no credential travels to another host.

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
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import stamina
import structlog
from pydantic import BaseModel, Field, SecretStr, ValidationError

from rotator import __version__
from rotator.config import AccountApiSettings
from rotator.errors import RotatorError

# The longest that one request takes, in units of the configured timeout: a server that stops in the middle of
# an answer is noticed only when the read that waits for the rest times out.
WORST_CASE = 1.5

_MAX_BODY = 1 << 20
_MAX_TEXT = 300
_log = structlog.get_logger()
T = TypeVar("T")


class ApiError(RotatorError):
    """The provider answered badly, or not at all."""


class NotSent(ApiError):
    """The request certainly did not reach the provider: nothing was changed there."""


class LostAnswer(ApiError):
    """The request may have been carried out: look before sending it again."""


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
        retry_after: How long the provider asks to wait, if it says so.
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
    id: str = Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")
    created_at: datetime

    def info(self) -> SecretInfo:
        at = self.created_at
        return SecretInfo(self.id, at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC))


class _Embedded(BaseModel):
    secrets: list[_Secret]


class _Secrets(BaseModel):
    embedded: _Embedded = Field(alias="_embedded")


class AccountApi(AbstractContextManager["AccountApi"]):
    """The provider's secrets' operations; safe to use from several threads.

    A request is given up when connecting, sending and waiting for the first byte of the answer have taken
    `settings.timeout` in all, and at most `WORST_CASE` times that if the answer stops in the middle. Reading requests
    are repeated a few times when they were not answered; changing ones never, because that is the protocol's to decide.

    Args:
        settings: Where the provider is and how long to wait for it.
        connections: How many requests may be under way at once.
        retries: How often an unanswered reading request is repeated.
    """

    def __init__(self, settings: AccountApiSettings, *, connections: int = 8, retries: int = 2) -> None:
        self._timeout = settings.timeout.total_seconds()
        self._retries = retries
        self._host = httpx.URL(settings.api_url).host
        if not settings.verify:
            _log.warning("provider.tls_verification_off", host=self._host)
        self._client = httpx.Client(
            base_url=settings.api_url,
            headers={"Accept": "application/json", "User-Agent": f"rotator/{__version__}"},
            verify=_tls(settings),
            timeout=httpx.Timeout(
                connect=self._timeout * 0.2,
                pool=self._timeout * 0.1,
                write=self._timeout * 0.1,
                read=self._timeout * 0.6,
            ),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
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
        return self._repeat(lambda: _parse_list(self._send("GET", path, auth)))

    def get_secret(self, auth: Credentials, api_key: str, secret_id: str) -> SecretInfo:
        """One live secret.

        Raises:
            ApiError: If it could not be had; NotFound if there is none of that id.
        """
        return self._repeat(lambda: _parse_secret(self._send("GET", _path(api_key, secret_id), auth)))

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        """Add this value to the account's secrets. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been added all the same.
        """
        path = f"/accounts/{quote(api_key, safe='')}/secrets"
        return _parse_secret(self._send("POST", path, auth, secret))

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> None:
        """Delete one of the account's secrets. Sent once.

        Raises:
            ApiError: LostAnswer if it may have been deleted all the same.
        """
        self._send("DELETE", _path(api_key, secret_id), auth)

    def _repeat(self, read: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=(NotSent, LostAnswer), attempts=self._retries + 1, wait_initial=0.2, wait_max=2.0, timeout=None
        ):
            with attempt:
                return read()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send(self, method: str, path: str, auth: Credentials, secret: SecretStr | None = None) -> bytes:
        """The body of a 2xx answer; everything else is an ApiError. No chained exception holds the request."""
        deadline = time.monotonic() + self._timeout
        basic = httpx.BasicAuth(auth.api_key, auth.api_secret.get_secret_value())
        body = None if secret is None else {"secret": secret.get_secret_value()}
        try:
            with self._client.stream(method, path, auth=basic, json=body) as response:
                content = _read(response, deadline)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            failure: ApiError = self._not_sent(error)
        except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as error:
            failure = LostAnswer(
                f"{self._host} did not answer {method} {path} ({type(error).__name__})",
                next_step="If it goes on, look at the provider's status page",
            )
        else:
            if response.is_success:
                return content
            hidden = [auth.api_secret] if secret is None else [auth.api_secret, secret]
            failure = _refusal(f"{method} {path}", response, content, hidden)
        raise failure

    def _not_sent(self, error: httpx.TransportError) -> NotSent:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
            return NotSent(
                f"The certificate of {self._host} cannot be verified",
                next_step="If a proxy with a CA of its own stands between, name that CA in account_api.ca_cert",
            )
        return NotSent(
            f"{self._host} cannot be reached ({type(error).__name__}: {_clean(text)})",
            next_step="Look at the network and at account_api.api_url",
        )


def _tls(settings: AccountApiSettings) -> ssl.SSLContext | bool:
    if not settings.verify:
        return False
    return ssl.create_default_context(cafile=settings.ca_cert) if settings.ca_cert else True


def _path(api_key: str, secret_id: str) -> str:
    return f"/accounts/{quote(api_key, safe='')}/secrets/{quote(secret_id, safe='')}"


def _read(response: httpx.Response, deadline: float) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > _MAX_BODY or time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer does not end")
    return bytes(content)


def _parse_list(content: bytes) -> tuple[SecretInfo, ...]:
    try:
        entries = _Secrets.model_validate_json(content).embedded.secrets
    except ValidationError:
        raise _unreadable("the list of secrets") from None
    if len({entry.id for entry in entries}) < len(entries):
        raise _unreadable("the list of secrets")
    return tuple(entry.info() for entry in entries)


def _parse_secret(content: bytes) -> SecretInfo:
    try:
        return _Secret.model_validate_json(content).info()
    except (ValidationError, OverflowError):
        raise _unreadable("a secret's id and date") from None


def _unreadable(what: str) -> LostAnswer:
    return LostAnswer(
        f"The provider's answer does not hold {what}",
        next_step="Make sure that account_api.api_url is the Account API's, not a proxy's login page",
    )


def _refusal(request: str, response: httpx.Response, content: bytes, hidden: list[SecretStr]) -> ApiError:
    """The error that an answer other than 2xx means; its text is the provider's and not to be trusted."""
    status = response.status_code
    problem = _problem(content)
    texts = [problem.get("title"), problem.get("detail")]
    said = ": ".join(text for text in (_clean(text, hidden) for text in texts if isinstance(text, str)) if text)
    what = f"The provider answered {status} to {request}" + (f" ({said})" if said else "")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return LostAnswer(what, next_step="If it goes on, look at the provider's status page")
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


def _invalid_parameters(problem: dict[str, Any], hidden: list[SecretStr]) -> tuple[tuple[str, str], ...]:
    entries = problem.get("invalid_parameters")
    if not isinstance(entries, list):
        return ()
    return tuple(
        (_clean(str(entry.get("name")), hidden), _clean(str(entry.get("reason")), hidden))
        for entry in entries[:20]
        if isinstance(entry, dict)
    )


def _clean(text: str, hidden: list[SecretStr] | None = None) -> str:
    """Somebody else's text, fit for one line of ours: no control characters, no secret of ours, not too long."""
    for secret in hidden or []:
        text = text.replace(secret.get_secret_value(), "********")
    return re.sub(r"[^\x20-\x7e]+", " ", text)[:_MAX_TEXT].strip()


def _retry_after(header: str | None) -> timedelta | None:
    """Both forms of the header, seconds and date; None for anything else."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,6}", header):
        return timedelta(seconds=int(header))
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(at - datetime.now(UTC), timedelta())
