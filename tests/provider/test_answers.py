"""Answers: what the client reads in them, and which ones it takes for lost."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.provider import AccountApi, ApiError, LostAnswer, SecretInfo
from tests.provider.harness import (
    AUTH,
    BASIC,
    CREATED,
    ID,
    INFO,
    OLD,
    OPERATIONS,
    Answer,
    Operation,
    Provider,
    client,
    create,
    failure,
    get,
    list_,
    lists,
    provider,
    raw,
    revoke,
    says,
)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2018-12-03T10:07:23Z", CREATED),
        ("2018-12-03T10:07:23", CREATED),
        ("2018-12-03T12:07:23+02:00", CREATED),
        ("2018-12-03T10:07:23.500Z", CREATED + timedelta(milliseconds=500)),
    ],
)
def test_created_at_is_in_utc(text: str, instant: datetime) -> None:
    with provider(says(200, {**INFO, "created_at": text})) as server, client(server) as api:
        created = get(api).created_at
    assert created == instant
    assert created.tzinfo is UTC


def test_unknown_fields_are_ignored() -> None:
    with provider(lists({**INFO, "last_used": [1], "_links": None})) as server, client(server) as api:
        assert list_(api) == (SecretInfo(ID, CREATED),)


def test_list_of_many_secrets_is_read() -> None:
    """An account with 14,000 secrets is ambiguous, not a provider that gives no answer."""
    path = "/accounts/abcd1234/secrets"
    ids = [str(UUID(int=number)) for number in range(14_000)]
    secrets = [INFO | {"_links": {"self": {"href": f"{path}/{id_}"}}, "id": id_} for id_ in ids]
    body = {"_links": {"self": {"href": path}}, "_embedded": {"secrets": secrets}}
    with provider(says(200, body)) as server, client(server) as api:
        assert [info.id for info in api.list_secrets(AUTH, "abcd1234")] == ids


@pytest.mark.parametrize("dots", [".", ".."])
def test_list_secrets_refuses_an_id_of_dots(dots: str) -> None:
    assert isinstance(failure(lists({**INFO, "id": dots}), list_), LostAnswer)


UNREADABLE: dict[str, object] = {
    "an empty body": b"",
    "a login page": b"<!doctype html><title>Please log in</title>",
    "cut JSON": b'{"_embedded": {"secrets": [{"id": "a", ',
    "not UTF-8": b"\xff\xfe\x00",
    "null": None,
    "a list": [INFO],
    "a number": 7,
    "nested very deeply": b"[" * 100_000,
    "without an id": {"created_at": INFO["created_at"]},
    "an id that is a number": {**INFO, "id": 7},
    "an empty id": {**INFO, "id": ""},
    "an id with a line end": {**INFO, "id": "a\nb"},
    "an id of a kilobyte": {**INFO, "id": "a" * 1000},
    "without a date": {"id": ID},
    "a date that is none": {**INFO, "created_at": "yesterday"},
    "a date before all dates": {**INFO, "created_at": "0001-01-01T00:00:00+23:00"},
    "a date that no server means": {**INFO, "created_at": "9999-12-31T23:59:59Z"},
    "a date after all dates": {**INFO, "created_at": "9999-12-31T23:59:59-23:00"},
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_create_secret_is_lost_when_answer_is_unreadable(body: object) -> None:
    error = failure(says(201, body))
    assert isinstance(error, LostAnswer)
    assert "account_api.api_url" in str(error)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_list_secrets_fails_when_answer_is_unreadable(body: object) -> None:
    wrapped = body if isinstance(body, bytes) else {"_embedded": {"secrets": [body]}}
    assert isinstance(failure(says(200, wrapped), list_), LostAnswer)


def test_list_secrets_refuses_an_id_listed_twice() -> None:
    assert isinstance(failure(lists(INFO, INFO), list_), LostAnswer)


@pytest.mark.parametrize("answer", [says(200, b"<html>Blocked</html>"), says(202), says(206, INFO)])
def test_revoke_secret_is_lost_without_a_204(answer: Answer) -> None:
    assert isinstance(failure(answer, revoke), LostAnswer)


def test_list_secrets_refuses_an_id_containing_a_secret() -> None:
    for answer in (lists({"id": OLD, "created_at": "2026-01-01T00:00:00Z"}), lists(INFO | {"id": f"x-{BASIC}"})):
        error = failure(answer, list_)
        assert isinstance(error, LostAnswer)
        assert OLD not in str(error)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "unknown"])
@OPERATIONS
def test_compressed_answer_is_not_decoded(encoding: str, operation: Operation) -> None:
    error = failure(says(200, gzip.compress(b"{}"), f"Content-Encoding: {encoding}\r\n"), operation)
    assert isinstance(error, LostAnswer)
    assert "is compressed" in str(error)


def test_identity_encoding_is_accepted() -> None:
    headers = "Content-Encoding: identity\r\nContent-Type: application/json\r\n"
    with provider(says(201, INFO, headers)) as server, client(server) as api:
        assert create(api).id == ID
        assert b"accept-encoding: identity\r\n" in server.requests[0].lower()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Provider]:
    with provider() as server:
        yield server


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([ID, "2018-12-03T10:07:23Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["_embedded", "secrets", "id", "created_at", "title", "detail", "invalid_parameters", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BODIES = (
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON).map(lambda entries: json.dumps({"_embedded": {"secrets": entries}}).encode())
    | st.text().map(lambda date: json.dumps({"id": ID, "created_at": date}).encode())
    | st.datetimes(timezones=st.timezones()).map(
        lambda at: json.dumps({"_embedded": {"secrets": [{"id": ID, "created_at": at.isoformat()}]}}).encode()
    )
)


def outcome(api: AccountApi, operation: Operation) -> object:
    try:
        return operation(api)
    except ApiError as error:
        return error


def is_well_formed(result: object) -> bool:
    if isinstance(result, ApiError):
        return str(result).isprintable()
    infos = result if isinstance(result, tuple) else (result,)
    return result is None or all(isinstance(info, SecretInfo) and info.created_at.tzinfo is UTC for info in infos)


@given(
    status=st.integers(200, 599) | st.sampled_from([200, 201, 400]),
    body=BODIES,
    operation=st.sampled_from([list_, get, create, revoke]),
)
def test_any_answer_becomes_a_value_or_an_error(
    fuzzed: Provider, status: int, body: bytes, operation: Operation
) -> None:
    fuzzed.answer = says(status, body)
    with client(fuzzed) as api:  # a new one each time: a 429 keeps its key from being asked for a while
        assert is_well_formed(outcome(api, operation))


@given(answer=st.binary(max_size=200), operation=st.sampled_from([list_, create, revoke]))
def test_answer_is_lost_when_it_is_not_http(fuzzed: Provider, answer: bytes, operation: Operation) -> None:
    fuzzed.answer = raw(answer)
    with client(fuzzed) as api, pytest.raises(LostAnswer):
        operation(api)
