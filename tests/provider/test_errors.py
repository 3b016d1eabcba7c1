"""Errors: their kind, the provider's words in them, its request id, and no secret."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from rotator.provider import (
    Credentials,
    Forbidden,
    InvalidRequest,
    LostAnswer,
    NotFound,
    NotSent,
    RateLimited,
    Refused,
    Unauthorized,
    Unprovisioned,
)
from tests.provider.harness import (
    BASIC,
    KEY,
    NEW,
    OLD,
    OPERATIONS,
    Answer,
    Operation,
    client,
    create,
    everything_about,
    failure,
    lists,
    provider,
    raw,
    says,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, Refused),
        (422, InvalidRequest),
        (429, RateLimited),
        (304, Refused),
    ],
)
@OPERATIONS
def test_status_decides_the_kind_of_refusal_without_retry(
    status: int, kind: type[Refused], operation: Operation
) -> None:
    with provider(says(status, {"title": "Nope", "detail": "Because."})) as server, client(server, retries=2) as api:
        with pytest.raises(Refused) as caught:
            operation(api)
        assert len(server.requests) == 1
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert str(status) in str(caught.value)


def test_refusal_quotes_the_provider() -> None:
    error = failure(says(400, {"title": "Bad Request", "detail": "Too many secrets"}))
    assert "(Bad Request: Too many secrets)" in str(error)


def test_refusal_contains_the_invalid_parameters() -> None:
    wrong = [{"name": "secret", "reason": "Does not meet complexity requirements"}]
    error = failure(says(400, {"title": "Bad Request", "invalid_parameters": wrong}))
    assert isinstance(error, InvalidRequest)
    assert error.invalid_parameters == (("secret", "Does not meet complexity requirements"),)
    assert error.rejects_the_value


def test_value_is_rejected_when_reason_is_missing() -> None:
    error = failure(says(400, {"invalid_parameters": [{"name": "secret", "reason": None}]}))
    assert isinstance(error, InvalidRequest)
    assert error.rejects_the_value


@pytest.mark.parametrize(
    "wrong", [None, "secret", [], ["secret"], [{}], [{"name": 7}], [{"name": ["secret"]}], [{"reason": "secret"}]]
)
def test_value_is_not_rejected_when_refusal_omits_it(wrong: object) -> None:
    error = failure(says(400, {"invalid_parameters": wrong}))
    assert isinstance(error, InvalidRequest)
    assert not error.rejects_the_value


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null", b"\xff", b"[" * 100_000, b'{"title": {"a": 1}}'])
def test_status_decides_the_refusal_when_body_is_unreadable(body: bytes) -> None:
    assert type(failure(says(401, body))) is Unauthorized


TYPES = "https://developer.nexmo.com/api-errors"


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (f"{TYPES}/#unprovisioned", Unprovisioned),
        (f"{TYPES}#unprovisioned", Unprovisioned),
        ("x" * 1000 + "unprovisioned", Unprovisioned),
        (f"{TYPES}/#unathorized", Unauthorized),
        (f"{TYPES}/#unauthorized", Unauthorized),
        (f"{TYPES}/#unprovisioned-yet", Unauthorized),
        ("", Unauthorized),
        (None, Unauthorized),
        (["unprovisioned"], Unauthorized),
    ],
)
@OPERATIONS
def test_unprovisioned_is_no_refusal_of_the_secret(type_: object, kind: type[Refused], operation: Operation) -> None:
    error = failure(says(401, {"type": type_, "title": "Unauthorized", "detail": "No access."}), operation)
    assert type(error) is kind
    assert isinstance(error, Unauthorized) == (kind is Unauthorized)
    assert "(Unauthorized: No access.)" in str(error), "the provider's own words are kept"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("media_type", ["application/json", "application/problem+json; charset=utf-8"])
@OPERATIONS
def test_problem_documents_are_read_in_both_media_types(status: int, media_type: str, operation: Operation) -> None:
    problem = {"type": f"{TYPES}#any", "title": "Some title", "detail": "Some detail"}
    error = failure(says(status, problem, f"Content-Type: {media_type}\r\n"), operation)
    assert f"answered {status}" in str(error)
    assert "(Some title: Some detail)" in str(error)


REQUEST_ID, INSTANCE = "5f2c1d9e-1111-4222-8333-444455556666", "797a8f199c45014ab7b08bfe9cc1c12c"
ID_HEADER = f"X-Request-Id: {REQUEST_ID}\r\n"


@pytest.mark.parametrize("type_", ["#unathorized", "#unprovisioned"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 302])
@OPERATIONS
def test_every_refusal_names_request_id_and_instance(status: int, type_: str, operation: Operation) -> None:
    problem = {"type": type_, "title": "Some title", "instance": INSTANCE}
    error = failure(says(status, problem, ID_HEADER), operation)
    assert (error.request_id, error.instance) == (REQUEST_ID, INSTANCE)
    assert error.what.endswith(f"(Some title) (request id {REQUEST_ID}, instance {INSTANCE})")


WITH_AN_ID: dict[str, Answer] = {
    "no JSON": says(200, b"<html>", ID_HEADER),
    "too long": says(200, b"x" * (1 << 21), ID_HEADER),
    "cut off": raw(f"HTTP/1.1 200 X\r\n{ID_HEADER}Content-Length: 999\r\n\r\n".encode()),
    "refused without a document": says(503, b"", ID_HEADER),
}


@pytest.mark.parametrize("answer", WITH_AN_ID.values(), ids=WITH_AN_ID)
@OPERATIONS
def test_unreadable_answers_name_their_request_id(answer: Answer, operation: Operation) -> None:
    error = failure(answer, operation)
    assert isinstance(error, LostAnswer)
    assert (error.request_id, error.instance) == (REQUEST_ID, "")
    assert error.what.endswith(f" (request id {REQUEST_ID})")


def test_errors_without_ids_do_not_mention_them() -> None:
    for answer in (says(400), says(500), lambda connection: connection.close()):
        assert "request id" not in str(failure(answer))


def test_ids_are_cleaned_masked_and_short() -> None:
    error = failure(
        says(400, {"instance": f"\x1b[31m{NEW}" + "i" * 1000}, f"X-Request-Id: {OLD} {BASIC}{'r' * 1000}\r\n")
    )
    assert error.request_id.startswith("******** ********==rrr")
    assert error.instance.startswith("[31m********iii")
    assert (len(error.request_id), len(error.instance)) == (100, 100)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@OPERATIONS
def test_redirect_is_not_followed(status: int, operation: Operation) -> None:
    with provider(lists()) as elsewhere:
        to = f"Location: http://127.0.0.1:{elsewhere.port}/\r\n"
        error = failure(says(status, b"", to), operation)
        assert elsewhere.connections == 0
    assert type(error) is Refused
    assert "account_api.api_url" in str(error)


def retry_after(headers: str) -> timedelta | None:
    error = failure(says(429, b"", headers))
    assert isinstance(error, RateLimited)
    assert not error.local
    return error.retry_after


def test_rate_limit_waits_by_date_of_the_answer() -> None:
    """The answer is years away from the local clock."""
    date = "Date: Sat, 03 Feb 2001 04:05:06 GMT\r\n"
    assert retry_after(f"{date}Retry-After: 120\r\n") == timedelta(minutes=2)
    assert retry_after(f"{date}Retry-After: Sat, 03 Feb 2001 04:06:06 GMT\r\n") == timedelta(minutes=1)
    reset = int(datetime(2001, 2, 3, 4, 5, 36, tzinfo=UTC).timestamp())
    assert retry_after(f"{date}X-RateLimit-Reset: {reset}\r\n") == timedelta(seconds=30)
    assert retry_after(f"{date}X-RateLimit-Reset: {reset}000\r\n") == timedelta(seconds=30)


@pytest.mark.parametrize("headers", ["", "Retry-After: soon\r\n", "X-RateLimit-Reset: 1\r\nX-RateLimit-Limit: 30\r\n"])
def test_rate_limit_without_a_time_waits_one_second(headers: str) -> None:
    assert retry_after(headers) == timedelta(seconds=1)


ECHO = f"{KEY}:{OLD} as {BASIC} wanted {NEW}"
ECHOES: dict[str, Answer] = {
    "in a refusal": says(400, {"title": ECHO, "detail": ECHO, "invalid_parameters": [{"name": ECHO, "reason": ECHO}]}),
    "across the cut": says(400, {"detail": "x" * 290 + ECHO}),
    "in a server error": says(500, {"title": ECHO, "detail": ECHO}),
    "in a readable answer of the wrong shape": says(201, {"id": [OLD], "created_at": NEW}),
    "in an unreadable answer": says(201, f'{{"id": "{NEW}'.encode()),
    "in a rate limit": says(429, {"detail": ECHO}, f"Retry-After: {OLD}\r\n"),
    "in an id": says(400, {"instance": ECHO}, f"X-Request-Id: {ECHO}\r\n"),
    "in the id of an unreadable answer": says(201, b"<html>", f"X-Request-Id: {ECHO}\r\n"),
    "in a redirect": says(302, b"", f"Location: http://{KEY}:{OLD}@elsewhere/{NEW}\r\n"),
    "in something that is not HTTP": raw(ECHO.encode()),
    "in a bad header": raw(f"HTTP/1.1 200 {BASIC}\r\n{OLD}\r\n\r\n{NEW}".encode()),
    "in a body that does not end": raw(b"HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n" + ECHO.encode()),
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
def test_error_masks_echoed_secrets(answer: Answer) -> None:
    shown = everything_about(failure(answer))
    for secret in (OLD, NEW, BASIC):
        for half in (secret[:12], secret[-12:]):
            assert half not in shown


def test_error_contains_no_secret_when_nothing_was_sent() -> None:
    with client("http://127.0.0.1:9") as api, pytest.raises(NotSent) as caught:
        create(api)
    shown = everything_about(caught.value)
    assert not [secret for secret in (OLD, NEW, BASIC) if secret in shown]


def test_error_masks_a_secret_that_extends_another() -> None:
    longer = "Secret12andTheRest"
    answer = says(400, {"detail": f"not {longer}, not Secret12"})
    with provider(answer) as server, client(server) as api, pytest.raises(Refused) as caught:
        api.create_secret(Credentials(KEY, SecretStr("Secret12")), KEY, SecretStr(longer))
    assert "not ********, not ********)" in str(caught.value)


def test_provider_text_is_one_short_line() -> None:
    error = failure(says(403, {"title": "a\r\nb\x1b[31m\u202ec", "detail": "d" * 10_000}))
    assert str(error).isprintable()
    assert str(error).isascii()
    assert len(str(error)) < 800
    assert "(a b [31m c: ddd" in str(error)


WORDS = {"title": "Title0fTheirs", "detail": "Detail0fTheirs", "error-code-label": "Label0fTheirs"}


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json", "Application/JSON; charset=utf-8"])
def test_refusal_quotes_json_documents(kind: str) -> None:
    assert "(Title0fTheirs: Detail0fTheirs: Label0fTheirs)" in str(
        failure(says(403, WORDS, f"Content-Type: {kind}\r\n"))
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says(403, WORDS, "Content-Type: text/html\r\n"), "with 91 bytes of text/html"),
        (says(503, json.dumps(WORDS).encode()), "with 91 bytes of no media type"),
        (says(429, WORDS, "Content-Type: text/Theirs\r\n"), "with 91 bytes of another media type"),
        (says(401, b"<html>Theirs</html>", "Content-Type: application/json\r\n"), "with 19 bytes of application/json"),
        (says(404, ["Theirs"]), "with 10 bytes of application/json"),
        (says(403), "without content"),
        (says(403, b"<r><title>Theirs</title></r>", "Content-Type: text/xml\r\n"), "with 28 bytes of text/xml"),
    ],
)
def test_refusal_names_size_and_type_of_other_content(answer: Answer, told: str) -> None:
    shown = str(failure(answer))
    assert told in shown
    assert "Theirs" not in shown


def test_refusal_masks_secrets_of_other_accounts() -> None:
    other = "Another0Accounts9Secret"
    with provider(says(403, {"detail": f"not {other}"})) as server, client(server) as api:
        for secret in (other, OLD):
            with pytest.raises(Forbidden) as caught:
                api.list_secrets(Credentials(KEY, SecretStr(secret)), KEY)
    assert other not in everything_about(caught.value)
