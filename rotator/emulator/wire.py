"""Calls as they come off the wire, and answers as they go onto it.

The two families of operations differ here and nowhere else, and so do the revisions in what they have in common:

                 of the account itself                        of its secrets
credentials      query, Basic, or a form; 1.0.4: Basic        Basic
body             a form                                       JSON
answer           JSON, or XML if the client likes it better   JSON
error            a code and a label; 1.0.4: RFC 7807          an RFC 7807 document
"""

import base64
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rotator.emulator.accounts import Secret
from rotator.emulator.operations import Operation
from rotator.emulator.problems import ProblemError, ValidationError
from rotator.emulator.revisions import Revision

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_XML = "application/xml"
_PROBLEM = "application/problem+json"
_MOST_FIELDS = 100
_ROOTS = {
    Operation.BALANCE: "accountBalance",
    Operation.TOP_UP: "response",
    Operation.SETTINGS: "account-settings",
}

Credentials = tuple[str, SecretStr]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, taken off the wire.

    Attributes:
        api_key: The account in the path; None where the path names none.
        credentials: The caller's, not yet checked; None if the request has none, or several that differ.
        body: As it came: it may hold a secret.
        form: The body's fields but for the credentials; None if it is no form.
        prefers_xml: Whether the client likes XML better than JSON.
        revision: The revision in which the call is answered.
        trace_id: The id of the request, as the provider knows it.
    """

    operation: Operation
    api_key: str | None
    secret_id: str | None
    credentials: Credentials | None
    body: SecretStr
    form: Mapping[str, str] | None
    prefers_xml: bool
    revision: Revision
    trace_id: str

    @property
    def claimed_key(self) -> str | None:
        """The key that the call says it authenticates with."""
        return self.credentials[0] if self.credentials is not None else None


async def read(request: Request, operation: Operation, revision: Revision = Revision.V1_0_0) -> Call:
    """Read the whole request first: an operation that is carried out late must not need the client any more.

    Raises:
        ClientDisconnect: If the client left before its body was complete.
    """
    body = await request.body()
    basic = request.headers.getlist("authorization")
    form: dict[str, str] | None = None
    if operation.is_of_secrets:
        credentials = _parse_basic(basic) if basic else None
    else:
        fields = _parse_form(request.headers.get("content-type", _FORM), body)
        if revision == Revision.V1_0_4:
            credentials = _parse_basic(basic) if basic else None
        else:
            credentials = _agreed(basic, request.query_params.multi_items(), fields or [])
        if fields is not None:
            form = {name: value for name, value in fields if name not in ("api_key", "api_secret")}
    return Call(
        operation,
        request.path_params.get("api_key"),
        request.path_params.get("secret_id"),
        credentials,
        SecretStr(body.decode(errors="surrogateescape")),
        form,
        not operation.is_of_secrets and _prefers_xml(",".join(request.headers.getlist("accept"))),
        revision,
        trace_id_of(request),
    )


def trace_id_of(request: Request) -> str:
    """The id that the emulator gave to a request, or a new one if it was not asked to give any."""
    found: str | None = getattr(request.state, "trace_id", None)
    return found or uuid.uuid4().hex


# --- requests ------------------------------------------------------------------------------------------------


def _agreed(
    basic: list[str], query: Iterable[tuple[str, str]], fields: Iterable[tuple[str, str]]
) -> Credentials | None:
    """Return the credentials of one place; of several places only if they agree."""
    said = {_parse_basic(basic)} if basic else set()
    for pairs in (query, fields):
        keys, secrets = ([value for name, value in pairs if name == of] for of in ("api_key", "api_secret"))
        if keys or secrets:
            said.add((keys[0], SecretStr(secrets[0])) if len(keys) == len(secrets) == 1 else None)
    return said.pop() if len(said) == 1 else None


def _parse_basic(headers: list[str]) -> Credentials | None:
    """Return the key and the secret of a Basic header, read strictly: errors in it are not corrected."""
    if len(headers) != 1:
        return None
    scheme, _, encoded = headers[0].partition(" ")
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return None
    api_key, colon, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        return None
    return api_key, SecretStr(secret)


def _parse_form(content_type: str, body: bytes) -> list[tuple[str, str]] | None:
    if not body:
        return []
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return None
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        return None


def parse_secret(body: SecretStr) -> SecretStr:
    """The secret in a body. No error quotes the body or carries one that does."""
    if not body:
        raise ValidationError("body", "Is required")
    try:
        document = json.loads(body.get_secret_value())
    except (ValueError, RecursionError):
        raise ValidationError("body", "Is not JSON") from None
    if not isinstance(document, dict):
        raise ValidationError("body", "Is not an object")
    if "secret" not in document:
        raise ValidationError("secret", "Is required")
    if not isinstance(document["secret"], str):
        raise ValidationError("secret", "Is not a string")
    return SecretStr(document["secret"])


def require_form(call: Call) -> Mapping[str, str]:
    """The fields of a form; no body is a form without any."""
    if call.form is None:
        raise ValidationError("body", "Is not a form in UTF-8")
    return call.form


def _prefers_xml(accept: str) -> bool:
    """JSON is what comes by default, and when both are as good."""
    weights = {}
    for part in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            weights[media_type] = float(weight)
        except ValueError:
            weights[media_type] = 0.0
    rest = weights.get("application/*", weights.get("*/*", 0.0))
    return weights.get(_XML, rest) > weights.get(_JSON, rest)


# --- answers -------------------------------------------------------------------------------------------------


def answer(
    call: Call, document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A document in the form that the client asked for."""
    if not call.prefers_xml:
        return JSONResponse(document, status, headers=headers, media_type=_JSON)
    root = _ROOTS[call.operation]
    inside = "".join(f"<{name}>{escape(_xml_text(value), quote=False)}</{name}>" for name, value in document.items())
    text = f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<{root}>{inside}</{root}>\n'
    return Response(text, status, headers=headers, media_type=_XML)


def refuse(call: Call, problem: ProblemError) -> Response:
    """The answer of the provider that refuses the call."""
    if call.revision == Revision.V1_0_4 or call.operation.is_of_secrets:
        return answer_problem(problem, call.trace_id, call.revision)
    return answer(call, problem.code_and_label(), problem.status, problem.headers)


def answer_problem(
    problem: ProblemError, trace_id: str, revision: Revision, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem document, which is always in JSON."""
    document = problem.document(trace_id, revision)
    media_type = _PROBLEM if revision == Revision.V1_0_4 else _JSON
    return JSONResponse(document, problem.status, headers={**problem.headers, **(headers or {})}, media_type=media_type)


def represent(api_key: str, secret: Secret) -> dict[str, Any]:
    """A secret as the provider shows it: without its value."""
    return {
        "_links": link(f"/accounts/{api_key}/secrets/{secret.id}"),
        "id": secret.id,
        "created_at": stamp(secret.created_at),
    }


def link(href: str) -> dict[str, Any]:
    """Where a thing itself is found."""
    return {"self": {"href": href}}


def stamp(instant: datetime) -> str:
    """A moment as the provider writes it, to the second."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _xml_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.8f}" if isinstance(value, float) else str(value)
