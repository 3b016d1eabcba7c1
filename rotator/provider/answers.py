"""Values in the provider's answers.

The operations on secrets answer in JSON, with errors after RFC 7807. The operations on the account itself answer in
JSON or XML, as the Content-Type says, with errors of a code and a label.
"""

import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from rotator.core.instants import is_plausible
from rotator.logs import redact
from rotator.provider.errors import DONE, unreadable
from rotator.provider.models import Balance, CallbackSettings, SecretInfo
from rotator.provider.parsing import Reply, bounded, document

M = TypeVar("M", bound=BaseModel)


def _without_secret(text: str) -> str:
    """Refuse an id that repeats a secret: rotator shows ids everywhere."""
    if redact(text) != text:
        raise ValueError("repeats a secret")
    return text


def _instant(at: datetime) -> datetime:
    """The instant in UTC; rotator calculates with it."""
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not is_plausible(at):
        raise ValueError("is no date of a secret")
    return at.astimezone(UTC)


class _Secret(BaseModel):
    # Ids become part of a path: one character at least is not a dot, or the path would be another one.
    id: Annotated[
        str,
        Field(max_length=200, pattern=r"^[\x21-\x7e]*[\x21-\x2d\x2f-\x7e][\x21-\x7e]*$"),
        AfterValidator(_without_secret),
    ]
    created_at: Annotated[datetime, AfterValidator(_instant)]

    def info(self) -> SecretInfo:
        return SecretInfo(self.id, self.created_at)


class _Embedded(BaseModel, defer_build=True):
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
    return Decimal(format(amount, "f"))  # without an exponent, which is unusual in an amount


def _url(value: object) -> object:
    """A URL of printable characters; empty if it is null."""
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


class _Balance(BaseModel, defer_build=True):
    value: Annotated[Decimal, BeforeValidator(_euros)]
    auto_reload: bool | None = Field(None, alias="autoReload")


class _Settings(BaseModel, defer_build=True):
    """Every field is optional: the provider does not always return all of them."""

    mo_callback_url: _Url = Field(None, alias="mo-callback-url")
    dr_callback_url: _Url = Field(None, alias="dr-callback-url")
    max_outbound_request: _Limit = Field(None, alias="max-outbound-request")
    max_inbound_request: _Limit = Field(None, alias="max-inbound-request")
    max_calls_per_second: _Limit = Field(None, alias="max-calls-per-second")


class _ToppedUp(BaseModel, defer_build=True):
    """One revision of the API says `response`, others `error-code`, of which anything but 200 was refused before."""

    response: str | None = None
    code: str | int | None = Field(None, alias="error-code")

    @property
    def done(self) -> bool:
        return str(self.code) == DONE if self.response is None else self.response.lower() == "success"


def parse_list(reply: Reply) -> tuple[SecretInfo, ...]:
    """The secrets in a list, each id once.

    Raises:
        LostAnswer: If that is not what the answer holds; and so for all the others.
    """
    with suppress(ValueError, OverflowError):  # a ValidationError is a ValueError
        secrets = _Secrets.model_validate_json(bounded(reply)).embedded.secrets
        if len({secret.id for secret in secrets}) == len(secrets):
            return tuple(secret.info() for secret in secrets)
    raise unreadable("the list of secrets", "account_api.api_url", reply)


def parse_secret(reply: Reply) -> SecretInfo:
    """One secret."""
    with suppress(ValueError, OverflowError):
        return replace(_Secret.model_validate_json(bounded(reply)).info(), request_id=reply.request_id)
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
    if not getattr(_validate(_ToppedUp, reply), "done", False):  # no local: a traceback can show the provider's text
        raise unreadable("the word that the account was topped up", "account_api.rest_url", reply)


def _validate(model: type[M], reply: Reply) -> M | str:
    """The model, or what is wrong in words of our own."""
    try:
        return model.model_validate(document(reply))
    except ValidationError as error:
        names = {str(problem["loc"][0]) for problem in error.errors(include_input=False, include_url=False)}
        return f"{', '.join(sorted(names))} missing or not readable"
