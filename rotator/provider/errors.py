"""Errors of the Account API's client, and what an answer other than success means.

Text of an answer is foreign. An error repeats known fields of a document of the right media type, masked and cleaned.
Of any other answer it repeats the size and the media type.

ApiError
├── NotSent            the request certainly did not reach the provider
├── LostAnswer         it may have been carried out: no answer, a cut one, an unreadable one, or a 5xx
└── Refused            the provider answered that it did not do it
    ├── Unauthorized   401, the credential does not work
    ├── Unprovisioned  401, the account has no access to the product; says nothing about the credential
    ├── Forbidden      403
    ├── NotFound       404, the key or the secret's id is unknown
    ├── InvalidRequest 400, 420 or 422
    ├── AutoReloadDisabled  401, but because there is no payment that a top-up could repeat
    └── RateLimited    429
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, TypedDict, Unpack

from rotator.errors import Advice, Code, RotatorError
from rotator.net import JSON, PROBLEM, XML, described
from rotator.provider.parsing import Reply, clean, document, reference, text_field
from rotator.provider.rate_limiter import requested_wait

STATUS_PAGE = "If the failure continues, read the provider's status page"
DONE = "200"
"""The `error-code` of a success."""
_NO_ACCESS = "Ask the provider to give this API key access to the Account API; the secret need not be wrong"
_TOO_FAST = "If this happens often, lower account_api.max_calls_per_second"
_MAX_PARAMETERS = 20


class _Ids(TypedDict, total=False):
    request_id: str
    instance: str


class _Details(_Ids, total=False):
    next_step: str


class ApiError(RotatorError):
    """The provider answered badly, or not at all.

    Attributes:
        request_id: The `X-Request-Id` of the answer, for the provider's support; empty if there was none.
        instance: The `instance` of the answer's problem document, likewise.
    """

    code = Code.PROVIDER_ERROR

    def __init__(self, what: str, *, next_step: str = "", request_id: str = "", instance: str = "") -> None:
        self.request_id = request_id
        self.instance = instance
        super().__init__(what + self.reference, next_step=next_step)

    @property
    def reference(self) -> str:
        """Both ids in brackets, for the end of a sentence; empty if there are none."""
        ids = (("request id", self.request_id), ("instance", self.instance))
        text = ", ".join(f"{name} {value}" for name, value in ids if value)
        return f" ({text})" if text else ""


class NotSent(ApiError):
    """The request certainly did not reach the provider: nothing was changed there."""

    code = Code.NOT_SENT


class LostAnswer(ApiError):
    """The request may have been carried out: look before sending it again. `maybe_done` is false if it only read.

    Attributes:
        status: The HTTP status, a 5xx one, if there was an answer.
    """

    maybe_done = True
    code = Code.ANSWER_LOST

    def __init__(self, what: str, *, status: int | None = None, **details: Unpack[_Details]) -> None:
        super().__init__(what, **details)
        self.status = status


class Refused(ApiError):
    """The provider answered, and did not do it.

    Attributes:
        status: The HTTP status, or the answer's own error-code if that says otherwise.
        invalid_parameters: Names and reasons of what the provider found wrong.
    """

    code = Code.UNEXPECTED_STATUS

    def __init__(
        self,
        what: str,
        *,
        status: int,
        invalid_parameters: tuple[tuple[str, str], ...] = (),
        **details: Unpack[_Details],
    ) -> None:
        super().__init__(what, **details)
        self.status = status
        self.invalid_parameters = invalid_parameters

    @property
    def rejects_the_value(self) -> bool:
        """Whether it was the secret's own value that the provider did not like."""
        return any(name == "secret" for name, _ in self.invalid_parameters)


class Unauthorized(Refused):
    """401: the key or the secret it was authenticated with does not work."""

    code = Code.UNAUTHORIZED


class Unprovisioned(Refused):
    """401: the account has no access to the product. This is no evidence that the secret works, or that it does not."""

    code = Code.UNPROVISIONED


class Forbidden(Refused):
    """403: not allowed, or one secret too many, or the last one that has to stay."""

    code = Code.FORBIDDEN


class NotFound(Refused):
    """404: the key or the secret's id is unknown, or not this credential's to see."""

    code = Code.NOT_FOUND


class InvalidRequest(Refused):
    """400, 420 or 422: a value breaks the rules, a callback is none, or the account has too many secrets."""

    code = Code.INVALID_REQUEST


class AutoReloadDisabled(Refused):
    """401 to a top-up: the account has no payment that could be repeated."""

    code = Code.AUTO_RELOAD_DISABLED


class RateLimited(Refused):
    """429: too many requests.

    Attributes:
        retry_after: How long to wait before the next request, a day at most. Every error that AccountApi raises has it,
            whether or not the provider's answer does.
        local: Whether rotator itself refused, because of an earlier 429. Nothing was sent then, so the error is no
            evidence about the provider or the account.
        until: When the next request may be sent: each command that a message names helps after that.
        api_key: The key that is limited: the one that authenticated the request. Set for every error of AccountApi.
    """

    code = Code.RATE_LIMITED
    until: datetime | None = None
    api_key = ""

    def __init__(
        self,
        what: str,
        *,
        status: int,
        retry_after: timedelta | None,
        local: bool = False,
        **details: Unpack[_Details],
    ) -> None:
        super().__init__(what, status=status, **details)
        self.retry_after = retry_after
        self.local = local

    @property
    def _advice(self) -> list[Advice]:
        *reasons, last = super()._advice
        if self.until is not None and last.command is not None:
            last = Advice(f"To retry after {self.until.isoformat().replace('+00:00', 'Z')}", last.command)
        return [*reasons, last]


_BY_STATUS: dict[int, type[Refused]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    420: InvalidRequest,
    422: InvalidRequest,
}
# A top-up's refusals are all 401, and only one kind of them is about the credential.
_BY_LABEL: tuple[tuple[str, type[Refused], str], ...] = (
    ("auto-reload", AutoReloadDisabled, "Enable auto-reload in the provider's dashboard first"),
    ("trx", InvalidRequest, "Give the reference of the payment with which auto-reload was enabled"),
)


def unreadable(what: str, setting: str, reply: Reply) -> LostAnswer:
    """The error for an answer without what it should hold."""
    return LostAnswer(
        f"The provider's answer does not hold {what}",
        next_step=f"Make sure that {setting} is the Account API's, not a proxy's login page",
        request_id=reply.request_id,
    )


def refusal(request: str, reply: Reply, hidden: Sequence[str], *, setting: str) -> ApiError:
    """The error that an answer other than 2xx means.

    Args:
        request: The request in words, without any secret.
        reply: The answer.
        hidden: Values that the error must not repeat.
        setting: Where the host's address stands.
    """
    return _refusal(request, reply, reply.status, hidden, setting)


def refusal_within(request: str, reply: Reply, hidden: Sequence[str], *, setting: str) -> ApiError | None:
    """The error that an answer means whose status says that all is well and whose error-code says otherwise."""
    code = document(reply).get("error-code")
    if not isinstance(code, str | int) or str(code) == DONE:
        return None
    status = int(code) if re.fullmatch("[45][0-9]{2}", str(code), re.ASCII) else reply.status
    return _refusal(request, reply, status, hidden, setting)


def _refusal(request: str, reply: Reply, status: int, hidden: Sequence[str], setting: str) -> ApiError:
    problem = document(reply) if reply.media_type in (JSON, PROBLEM, *XML) else {}
    label = text_field(problem.get("error-code-label"), hidden)
    texts = [] if reply.media_type in XML else [text_field(problem.get(name), hidden) for name in ("title", "detail")]
    said = ": ".join(text for text in (*texts, label) if text)
    said = said or described(reply.media_type, len(reply.content.get_secret_value()))
    forwarder = None if problem else reply.forwarder
    sender = f"The provider, or {forwarder}," if forwarder else "The provider"
    what = f"{sender} answered {status} to {request} ({said})"
    ids: _Ids = {"request_id": reply.request_id, "instance": reference(problem.get("instance"), hidden)}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        next_step = forwarder.advice(str(status)) if forwarder else STATUS_PAGE
        return LostAnswer(what, status=status, next_step=next_step, **ids)
    if status in (301, 302, 303, 307, 308):
        next_step = f"Put the Account API's own address into {setting}: redirects are never followed"
        return Refused(what, status=status, next_step=next_step, **ids)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after = requested_wait(reply.headers)
        return RateLimited(what, status=status, retry_after=retry_after, next_step=_TOO_FAST, **ids)
    if status == HTTPStatus.UNAUTHORIZED:
        type_ = problem.get("type")
        if isinstance(type_, str) and type_.endswith("unprovisioned"):
            return Unprovisioned(what, status=status, next_step=_NO_ACCESS, **ids)
        for word, kind, next_step in _BY_LABEL:
            if word in label.lower():
                return kind(what, status=status, next_step=next_step, **ids)
    wrong = _invalid_parameters(problem, hidden)
    return _BY_STATUS.get(status, Refused)(what, status=status, invalid_parameters=wrong, **ids)


def _invalid_parameters(problem: dict[str, Any], hidden: Sequence[str]) -> tuple[tuple[str, str], ...]:
    entries = problem.get("invalid_parameters")
    if not isinstance(entries, list):
        return ()
    pairs = [(entry.get("name"), entry.get("reason")) for entry in entries[:_MAX_PARAMETERS] if isinstance(entry, dict)]
    return tuple((clean(name, hidden), text_field(reason, hidden)) for name, reason in pairs if isinstance(name, str))
