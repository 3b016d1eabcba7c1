"""The readers of the provider's answers, given anything at all: values or errors of ours come out, and nothing leaks.

ROTATOR_FUZZ=20000 tries as many examples for each test instead of the usual few hundred.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretBytes

from rotator.provider import ApiError, Balance, CallbackSettings, Refused, Reply, SecretInfo, errors
from rotator.provider import answers as account_answers

CANARY = "FuzzCanary1"
MARK = "Xq7Zmark"  # stands in answers where nobody looks
JSON_TYPE, XML_TYPE = "application/json", "application/xml"
fuzz = settings(
    max_examples=int(os.environ.get("ROTATOR_FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

RIGHT: dict[Callable[[Reply], object], object] = {
    account_answers.parse_list: {
        "_embedded": {"secrets": [{"id": "ad6dc56f", "created_at": "2018-12-03T10:07:23Z", "_links": {"self": MARK}}]}
    },
    account_answers.parse_secret: {"id": "ad6dc56f", "created_at": "2018-12-03T10:07:23Z", "_links": MARK},
    account_answers.parse_balance: {"value": 10.171275, "autoReload": False, "note": MARK},
    account_answers.parse_settings: {
        "mo-callback-url": "https://example.com/a",
        "dr-callback-url": "",
        "max-outbound-request": 30,
        "max-inbound-request": 30,
        "max-calls-per-second": 30,
        "note": MARK,
    },
    account_answers.parse_top_up: {"response": "success", "error-code": "200", "error-code-label": MARK},
}
NAMES = sorted(
    {"_embedded", "secrets", "id", "created_at", "title", "detail", "invalid_parameters", "name", "reason"}
    | {"value", "autoReload", "response", "error-code", "error-code-label", "mo-callback-url", "dr-callback-url"}
    | {"max-outbound-request", "max-inbound-request", "max-calls-per-second"}
)
ODD = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "1e999999999999999999999", "9" * 5000, "1E3", "-0.0", "true", "200", "success", ""]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ODD
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=10,
)


def xml(document: object) -> bytes:
    fields = document.items() if isinstance(document, dict) else [("value", document)]
    return "".join(["<r>", *(f"<{name}>{value}</{name}>" for name, value in fields), "</r>"]).encode(errors="replace")


def spelled(document: object) -> st.SearchStrategy[bytes]:
    return st.sampled_from([json.dumps(document).encode(), xml(document)])


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A right answer with a piece of it replaced, dropped, doubled or cut off."""
    content = draw(st.sampled_from([*RIGHT.values()]).flatmap(spelled))
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(len(content), start + 12)))
    new = draw(st.binary(max_size=6) | ODD.map(str.encode) | st.just(content[start:end] * 2))
    return content[:start] + new + (b"" if draw(st.integers(0, 9)) == 0 else content[end:])


BODIES = mutations() | mutations() | DOCUMENTS.flatmap(spelled) | st.binary()
KINDS = st.sampled_from([JSON_TYPE, XML_TYPE, "text/xml; charset=utf-16", "", "text/html", ";;", "\udcff"])


def reply(content: bytes, kind: str, status: int = 200, retry_after: str | None = None) -> Reply:
    headers = {"content-type": kind} | ({} if retry_after is None else {"retry-after": retry_after})
    return Reply(status, headers, SecretBytes(content))


def outcome(parse: Callable[[Reply], object], answered: Reply) -> object:
    try:
        return parse(answered)
    except ApiError as error:
        return error


def is_well_formed(value: object) -> bool:
    match value:
        case None:
            return True
        case tuple():
            return all(is_well_formed(one) for one in value)
        case SecretInfo():
            return value.id.isprintable() and value.created_at.tzinfo is UTC
        case Balance():
            return value.euros.is_finite() and abs(value.euros) < 10**15 and len(str(value.euros)) < 80
        case CallbackSettings():
            return f"{value.mo_callback_url}{value.dr_callback_url}".isprintable()
        case ApiError():
            text = str(value)
            return text.isprintable() and text.isascii() and len(text) < 1500 and CANARY not in text
    return False


@pytest.mark.parametrize("parse", RIGHT, ids=lambda parse: parse.__name__)
def test_unmutated_answers_are_readable(parse: Callable[[Reply], object]) -> None:
    assert is_well_formed(parse(reply(json.dumps(RIGHT[parse]).encode(), JSON_TYPE)))


@pytest.mark.parametrize("parse", RIGHT, ids=lambda parse: parse.__name__)
@fuzz
@given(content=BODIES, kind=KINDS)
@example(b'{"value":' + b"[" * 100_000, JSON_TYPE)
@example(b"<a>" * 50_000 + b"</a>" * 50_000, XML_TYPE)
@example(b'<!DOCTYPE r [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;">]><r><value>&b;</value></r>', XML_TYPE)
@example(b'<?xml version="1.0" encoding="utf-7"?><r/>', XML_TYPE)
@example(b'{"value": ' + b"9" * 100_000 + b"}", JSON_TYPE)
@example(b'{"value": 1e999999999}', JSON_TYPE)
def test_any_answer_becomes_a_value_or_clean_error(parse: Callable[[Reply], object], content: bytes, kind: str) -> None:
    result = outcome(parse, reply(content, kind))
    assert is_well_formed(result)
    assert not isinstance(result, ApiError) or MARK not in str(result), "what cannot be read is not repeated"


@fuzz
@given(
    content=BODIES
    | st.text().map(lambda said: json.dumps({"error-code-label": CANARY + said, "title": said}).encode()),
    kind=KINDS,
    status=st.integers(300, 599) | st.sampled_from([401, 420, 429]),
    retry_after=st.none() | st.text(st.characters(codec="ascii")),
)
@example(json.dumps({"detail": f"{CANARY}\r\n\x1b[31m{CANARY}" * 200}).encode(), JSON_TYPE, 400, None)
def test_any_refusal_becomes_one_printable_error(
    content: bytes, kind: str, status: int, retry_after: str | None
) -> None:
    answered = reply(content, kind, status, retry_after)
    error = errors.refusal("GET /x", answered, [CANARY], setting="account_api.rest_url")
    assert is_well_formed(error)
    assert isinstance(error, Refused) == (status < 500)
    within = errors.refusal_within("GET /x", reply(content, kind), [CANARY], setting="account_api.rest_url")
    assert is_well_formed(within)


@fuzz
@given(cents=st.decimals(-(10**14), 10**14, allow_nan=False, allow_infinity=False, places=8))
def test_balance_keeps_every_amount_in_json_and_xml(cents: Decimal) -> None:
    for content, kind in ((f'{{"value": {cents:f}}}', JSON_TYPE), (f"<r><value>{cents:f}</value></r>", XML_TYPE)):
        assert account_answers.parse_balance(reply(content.encode(), kind)).euros == cents
