"""What the provider's answers mean: values or errors, nothing is sent here.

The two families of operations answer in two dialects: those on secrets in JSON, with errors after RFC 7807, those on
the account itself in JSON or XML, as the Content-Type says, with errors of a code and a label. Every text in an answer
is foreign: an error repeats known fields of a document of the right media type, masked and cleaned, and of anything
else only the size and the media type.

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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypedDict, TypeVar, Unpack

import httpx
from defusedxml import ElementTree
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretBytes, ValidationError

from rotator.errors import Code, RotatorError
from rotator.logs import MASK, foreign, redact
from rotator.net.answers import JSON, PROBLEM, XML, check_structure, described, media_type, parse_json
from rotator.provider.rate_limiter import HEADERS, requested_wait

STATUS_PAGE = "If it goes on, look at the provider's status page"
_NO_ACCESS = "Ask the provider to give this API key access to the Account API; the secret need not be wrong"
_TOO_FAST = "If this happens often, lower account_api.max_calls_per_second"
_MAX_REFERENCE = 100
# The longest real answer lists a handful of secrets.
_MOST_VALUES = 10_000
_DONE = "200"  # the error-code of what worked
M = TypeVar("M", bound=BaseModel)


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
    """The request may have been carried out: look before sending it again.

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
    """

    code = Code.RATE_LIMITED

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


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What the provider tells of a secret: never its value."""

    id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has left.

    Attributes:
        euros: Exactly as the provider writes it; below zero if the account owes.
        auto_reload: Whether the account tops itself up; None if the provider does not say.
    """

    euros: Decimal
    auto_reload: bool | None


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Webhooks and limits of an account; None for each value that the answer does not contain.

    Attributes:
        mo_callback_url: URL for inbound messages; empty if unset.
        dr_callback_url: URL for delivery receipts; empty if unset.
        max_outbound_request: Messages sent per second.
        max_inbound_request: Messages received per second.
        max_calls_per_second: API calls per second.
    """

    mo_callback_url: str | None
    dr_callback_url: str | None
    max_outbound_request: int | None
    max_inbound_request: int | None
    max_calls_per_second: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. The body may repeat what was sent.

    Attributes:
        headers: Those that are looked at, by their names in lower case.
        request_id: The `X-Request-Id`, fit for an error's text; empty if there is none.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: SecretBytes
    request_id: str = ""

    @property
    def media_type(self) -> str:
        """What kind of document the body is said to be."""
        return media_type(self.headers.get("content-type"))

    @classmethod
    def of(cls, response: httpx.Response, content: bytes, request_id: str) -> "Reply":
        """What is needed of a response, and its body."""
        headers = {name: response.headers[name] for name in ("content-type", *HEADERS) if name in response.headers}
        return cls(response.status_code, headers, SecretBytes(content), request_id)


def request_id(response: httpx.Response, hidden: Sequence[str]) -> str:
    """The provider's id of a request, fit for an error's text; empty if there is none."""
    return _reference(response.headers.get("x-request-id"), hidden)


# --- values -------------------------------------------------------------------------------------------------------


def _without_secret(text: str) -> str:
    """Ids are shown everywhere, to everybody: one that repeats a secret is none."""
    if redact(text) != text:
        raise ValueError("repeats a secret")
    return text


class _Secret(BaseModel):
    # Ids become part of a path: one character at least is not a dot, or the path would be another one.
    id: Annotated[
        str,
        Field(max_length=200, pattern=r"^[\x21-\x7e]*[\x21-\x2d\x2f-\x7e][\x21-\x7e]*$"),
        AfterValidator(_without_secret),
    ]
    created_at: datetime

    def info(self) -> SecretInfo:
        at = self.created_at
        return SecretInfo(self.id, at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC))


class _Embedded(BaseModel):
    secrets: list[_Secret]


class _Secrets(BaseModel):
    embedded: _Embedded = Field(alias="_embedded")


def _euros(value: object) -> Decimal:
    """An amount as JSON or XML spells it; Decimal alone would also take "1_0", "Infinity" and 1E+999999999."""
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([Ee][+-]?[0-9]{1,2})?", text):
        raise ValueError("is no amount")
    amount = Decimal(text)
    if amount.adjusted() >= 15 or len(format(amount, "f")) > 60:  # noqa: PLR2004 more than all money
        raise ValueError("is no amount")
    return Decimal(format(amount, "f"))  # without an exponent, which nobody expects in an amount


def _url(value: object) -> object:
    """Unset may be empty, or nothing at all. What is no plain text would upset whoever prints it."""
    if value is None:
        return ""
    if isinstance(value, str) and not value.isprintable():
        raise ValueError("is no URL")
    return value


def _limit(value: object) -> object:
    """An empty XML element contains no limit."""
    return None if value == "" else value


_Url = Annotated[Annotated[str, Field(max_length=8192)] | None, BeforeValidator(_url)]
_Limit = Annotated[Annotated[int, Field(gt=-(2**31), lt=2**31)] | None, BeforeValidator(_limit)]


class _Balance(BaseModel):
    value: Annotated[Decimal, BeforeValidator(_euros)]
    auto_reload: bool | None = Field(None, alias="autoReload")


class _Settings(BaseModel):
    """Every field is optional: the provider does not always return all of them."""

    mo_callback_url: _Url = Field(None, alias="mo-callback-url")
    dr_callback_url: _Url = Field(None, alias="dr-callback-url")
    max_outbound_request: _Limit = Field(None, alias="max-outbound-request")
    max_inbound_request: _Limit = Field(None, alias="max-inbound-request")
    max_calls_per_second: _Limit = Field(None, alias="max-calls-per-second")


class _ToppedUp(BaseModel):
    """One revision of the API says `response`, others `error-code`, of which anything but 200 was refused before."""

    response: str | None = None
    code: str | int | None = Field(None, alias="error-code")

    @property
    def done(self) -> bool:
        return str(self.code) == _DONE if self.response is None else self.response.lower() == "success"


def parse_list(reply: Reply) -> tuple[SecretInfo, ...]:
    """The secrets in a list, each id once.

    Raises:
        LostAnswer: If that is not what the answer holds; and so for all the others.
    """
    with suppress(ValueError, OverflowError):  # a ValidationError is a ValueError
        secrets = _Secrets.model_validate_json(_bounded(reply)).embedded.secrets
        if len({secret.id for secret in secrets}) == len(secrets):
            return tuple(secret.info() for secret in secrets)
    raise unreadable("the list of secrets", "account_api.api_url", reply)


def parse_secret(reply: Reply) -> SecretInfo:
    """One secret."""
    with suppress(ValueError, OverflowError):
        return _Secret.model_validate_json(_bounded(reply)).info()
    raise unreadable("a secret's id and date", "account_api.api_url", reply)


def parse_balance(reply: Reply) -> Balance:
    """The balance, not a cent of it rounded."""
    found = _validate(_Balance, reply)
    if isinstance(found, _Balance):
        return Balance(found.value, found.auto_reload)
    raise unreadable(f"the balance: {found}", "account_api.rest_url", reply)


def parse_settings(reply: Reply) -> CallbackSettings:
    """The settings; one field at least, or the answer is another document."""
    found = _validate(_Settings, reply)
    if isinstance(found, _Settings) and found.model_fields_set:
        return CallbackSettings(**found.model_dump())
    wrong = f": {found}" if isinstance(found, str) else ""
    raise unreadable(f"the account's settings{wrong}", "account_api.rest_url", reply)


def parse_top_up(reply: Reply) -> None:
    """Nothing, if it says that the account was topped up."""
    if not getattr(_validate(_ToppedUp, reply), "done", False):  # what it holds instead must not be a local here
        raise unreadable("the word that the account was topped up", "account_api.rest_url", reply)


def unreadable(what: str, setting: str, reply: Reply) -> LostAnswer:
    """The error for an answer without what it should hold."""
    return LostAnswer(
        f"The provider's answer does not hold {what}",
        next_step=f"Make sure that {setting} is the Account API's, not a proxy's login page",
        request_id=reply.request_id,
    )


def _validate(model: type[M], reply: Reply) -> M | str:
    """The model, or what is wrong in words of our own."""
    try:
        return model.model_validate(_document(reply))
    except ValidationError as error:
        names = {str(problem["loc"][0]) for problem in error.errors(include_input=False, include_url=False)}
        return f"{', '.join(sorted(names))} missing or not readable"


# --- refusals -----------------------------------------------------------------------------------------------------


def refusal(request: str, reply: Reply, hidden: Sequence[str], *, setting: str) -> ApiError:
    """The error that an answer other than 2xx means.

    Args:
        request: What was asked, without any secret.
        reply: The answer.
        hidden: What must not be repeated of it.
        setting: Where the host's address stands.
    """
    return _refusal(request, reply, reply.status, hidden, setting)


def refusal_within(request: str, reply: Reply, hidden: Sequence[str], *, setting: str) -> ApiError | None:
    """The error that an answer means whose status says that all is well and whose error-code says otherwise."""
    code = _document(reply).get("error-code")
    if not isinstance(code, str | int) or str(code) == _DONE:
        return None
    status = int(code) if re.fullmatch("[45][0-9]{2}", str(code), re.ASCII) else reply.status
    return _refusal(request, reply, status, hidden, setting)


def _refusal(request: str, reply: Reply, status: int, hidden: Sequence[str], setting: str) -> ApiError:
    problem = _document(reply) if reply.media_type in (JSON, PROBLEM, *XML) else {}
    label = _text(problem.get("error-code-label"), hidden)
    texts = [] if reply.media_type in XML else [_text(problem.get(name), hidden) for name in ("title", "detail")]
    said = ": ".join(text for text in (*texts, label) if text)
    said = said or described(reply.media_type, len(reply.content.get_secret_value()))
    what = f"The provider answered {status} to {request} ({said})"
    ids: _Ids = {"request_id": reply.request_id, "instance": _reference(problem.get("instance"), hidden)}
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return LostAnswer(what, status=status, next_step=STATUS_PAGE, **ids)
    if status in (301, 302, 303, 307, 308):
        next_step = f"Put the Account API's own address into {setting}: redirects are never followed"
        return Refused(what, status=status, next_step=next_step, **ids)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        retry_after = requested_wait(reply.headers)
        return RateLimited(what, status=status, retry_after=retry_after, next_step=_TOO_FAST, **ids)
    if status == httpx.codes.UNAUTHORIZED:
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
    pairs = [(entry.get("name"), entry.get("reason")) for entry in entries[:20] if isinstance(entry, dict)]
    return tuple((clean(name, hidden), _text(reason, hidden)) for name, reason in pairs if isinstance(name, str))


# --- what the bytes say -------------------------------------------------------------------------------------------


def _document(reply: Reply) -> dict[str, Any]:
    """An answer's fields; none if it cannot be read. A bare word is taken for the field `response`."""
    try:
        document = _xml(_bounded(reply)) if reply.media_type in XML else _json(reply)
    # Numbers beyond all limits are an ArithmeticError, unknown codecs a LookupError.
    except (ValueError, SyntaxError, ArithmeticError, LookupError, RecursionError):
        return {}
    if isinstance(document, str):
        return {"response": document}
    return document if isinstance(document, dict) else {}


def _bounded(reply: Reply) -> bytes:
    """The body, if no more can be parsed from it than from any of this API's.

    Raises:
        ValueError: If it is another one's.
    """
    content = reply.content.get_secret_value()
    check_structure(content, _MOST_VALUES)
    return content


def _json(reply: Reply) -> Any:
    # An amount that passes through a float is another amount.
    return parse_json(reply.content.get_secret_value(), _MOST_VALUES, parse_float=Decimal)


def _xml(content: bytes) -> str | dict[str, str]:
    root = ElementTree.fromstring(content)
    if len(root) == 0:
        return (root.text or "").strip()
    return {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in root if len(child) == 0}


def _text(value: object, hidden: Sequence[str]) -> str:
    return clean(value, hidden) if isinstance(value, str) else ""


def _reference(value: object, hidden: Sequence[str]) -> str:
    return _text(value, hidden)[:_MAX_REFERENCE]


def clean(text: str, hidden: Sequence[str] = ()) -> str:
    """Foreign text, fit for one line of an error: no control characters, no secret, not too long.

    Args:
        text: The text.
        hidden: Values of the request, which can be too short to be registered.
    """
    for value in hidden:
        text = text.replace(value, MASK)
    return re.sub(r"[^\x20-\x7e]+", " ", foreign(text)).strip()
