"""The client of the Account API, against real sockets that answer well, badly, slowly or not at all."""

import base64
import gzip
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import stamina
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from rotator import __version__
from rotator import provider as account_api
from rotator.config import AccountApiSettings
from rotator.errors import ConfigError
from rotator.provider import (
    KEPT,
    AccountApi,
    ApiError,
    Budget,
    Credentials,
    Forbidden,
    InvalidRequest,
    LostAnswer,
    NotFound,
    NotSent,
    OnBudget,
    OnRequest,
    RateLimited,
    Refused,
    SecretInfo,
    Unauthorized,
    Unprovisioned,
)
from testkit.cluster import PATIENCE, eventually
from tests.net.wire import hang, in_turn, reset

KEY = "abcd1234"
OLD, NEW = "OldCanary1aaaaaaaaaaaaaaa", "NewCanary2bbbbbbbbbbbbbbb"
AUTH = Credentials(KEY, SecretStr(OLD))
BASIC = base64.b64encode(f"{KEY}:{OLD}".encode()).decode()
ID = "01234567-aaaa-bbbb-cccc-defdefdefdef"
INFO = {"id": ID, "created_at": "2018-12-03T10:07:23Z"}
CREATED = datetime(2018, 12, 3, 10, 7, 23, tzinfo=UTC)
OUR_CODE = Path(account_api.__file__).parent
TIMEOUT = 0.4  # in tests of the time limit; elsewhere it is long, because a busy machine may stop for a second

Answer = Callable[[socket.socket], None]
Operation = Callable[[AccountApi], object]


@dataclass
class Provider:
    """A listening socket that does with each connection what it is told; `answer` may be changed at any time."""

    listener: socket.socket
    answer: Answer
    tls: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, plain: socket.socket) -> None:
        with suppress(OSError), plain:
            plain.settimeout(PATIENCE)
            connection = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            with connection:
                while request := read_request(connection):
                    self.requests.append(request)
                    self.answer(connection)

    def header(self, name: str) -> str | None:
        lines = self.requests[-1].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}.get(name)


def read_request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        if not (more := connection.recv(65536)):
            return b""
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def raw(*parts: bytes, pause: float = 0) -> Answer:
    """Send these bytes, with a pause after each part, and close."""

    def answer(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        connection.close()

    return answer


def says(status: int, body: object = b"", headers: str = "") -> Answer:
    """A whole answer; the connection stays open for another request, as a real server would leave it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if not isinstance(body, bytes) and "content-type" not in headers.lower():
        headers += "Content-Type: application/json\r\n"
    # 1xx, 204 and 304 have no body by definition.
    length = "" if status < 200 or status in (204, 304) else f"Content-Length: {len(content)}\r\n"
    head = f"HTTP/1.1 {status} X\r\n{length}{headers}\r\n".encode()
    return lambda connection: connection.sendall(head + (content if length else b""))


def lists(*entries: object) -> Answer:
    return says(200, {"_links": {"self": {}}, "_embedded": {"secrets": list(entries)}})


@contextmanager
def provider(answer: Answer = hang, tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Provider(listener, answer, tls)
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


def client(
    server: Provider | str,
    *,
    timeout: float = PATIENCE,
    retries: int = 0,
    connections: int = 8,
    on_request: OnRequest | None = None,
    on_budget: OnBudget | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    kept: timedelta = KEPT,
    **more: Any,
) -> AccountApi:
    url = server if isinstance(server, str) else server.url
    more = {"max_calls_per_second": 10_000} | more
    settings = AccountApiSettings(api_url=url, timeout=timedelta(seconds=timeout), **more)
    return AccountApi(
        settings,
        retries=retries,
        connections=connections,
        on_request=on_request,
        on_budget=on_budget,
        monotonic=monotonic,
        kept=kept,
    )


def list_(api: AccountApi) -> tuple[SecretInfo, ...]:
    return api.list_secrets(AUTH, KEY)


def get(api: AccountApi) -> SecretInfo:
    return api.get_secret(AUTH, KEY, ID)


def create(api: AccountApi) -> SecretInfo:
    return api.create_secret(AUTH, KEY, SecretStr(NEW))


def revoke(api: AccountApi) -> None:
    api.revoke_secret(AUTH, KEY, ID)


OPERATIONS = pytest.mark.parametrize("operation", [list_, get, create, revoke])
WRITES = pytest.mark.parametrize("operation", [create, revoke])


def failure(answer: Answer, operation: Operation = create, **options: Any) -> ApiError:
    """The error that this answer leads to."""
    with provider(answer) as server, client(server, **options) as api, pytest.raises(ApiError) as caught:
        operation(api)
    return caught.value


@pytest.fixture(autouse=True)
def no_proxy_and_no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


# --- what is asked, and what is understood ------------------------------------------------------------------------


def test_list_secrets_sends_basic_credentials_in_the_header() -> None:
    with provider(lists(INFO)) as server, client(server) as api:
        assert list_(api) == (SecretInfo(ID, CREATED),)
        assert server.requests[0].startswith(f"GET /accounts/{KEY}/secrets HTTP/1.1\r\n".encode())
        assert server.header("authorization") == f"Basic {BASIC}"
        assert server.header("user-agent") == f"rotator/{__version__}"


def test_primary_names_its_secondary_in_the_path() -> None:
    with provider(lists()) as server, client(server) as api:
        assert api.list_secrets(AUTH, "child567") == ()
        assert server.requests[0].startswith(b"GET /accounts/child567/secrets ")
        assert server.header("authorization") == f"Basic {BASIC}"


def test_create_secret_sends_value_in_the_body_only() -> None:
    with provider(says(201, INFO)) as server, client(server) as api:
        assert create(api) == SecretInfo(ID, CREATED)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(f"POST /accounts/{KEY}/secrets ".encode())
        assert NEW.encode() not in head
        assert json.loads(body) == {"secret": NEW}


def test_revoke_secret_deletes_the_given_id() -> None:
    with provider(says(204)) as server, client(server) as api:
        revoke(api)
        assert server.requests[0].startswith(f"DELETE /accounts/{KEY}/secrets/{ID} ".encode())


def test_get_secret_returns_one_secret() -> None:
    with provider(says(200, INFO)) as server, client(server) as api:
        assert get(api) == SecretInfo(ID, CREATED)
        assert server.requests[0].startswith(f"GET /accounts/{KEY}/secrets/{ID} ".encode())


def test_client_keeps_the_path_of_the_url() -> None:
    with provider(lists()) as server, client(f"http://127.0.0.1:{server.port}/gateway") as api:
        list_(api)
        assert server.requests[0].startswith(f"GET /gateway/accounts/{KEY}/secrets ".encode())


def test_client_escapes_each_part_of_a_path() -> None:
    with provider(says(204)) as server, client(server) as api:
        api.revoke_secret(AUTH, "a/b?c#d", "x/../y z%2F")
        assert server.requests[0].startswith(b"DELETE /accounts/a%2Fb%3Fc%23d/secrets/x%2F..%2Fy%20z%252F ")


@pytest.mark.parametrize("dots", [".", ".."])
def test_list_secrets_refuses_an_id_of_dots(dots: str) -> None:
    assert isinstance(failure(lists({**INFO, "id": dots}), list_), LostAnswer)


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


def test_client_sends_no_cookies() -> None:
    """A session cookie could make a secret look as if it authenticated."""
    with provider(says(200, {"_embedded": {"secrets": []}}, "Set-Cookie: session=one\r\n")) as server:
        with client(server) as api:
            list_(api)
            list_(api)
        assert len(server.requests) == 2
        assert server.header("cookie") is None


# --- refusals ----------------------------------------------------------------------------------------------------


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


# --- nothing secret, nothing untidy ------------------------------------------------------------------------------


def everything_about(error: BaseException) -> str:
    """Text, repr, attributes, chained errors as printed, and the locals of every frame in our own code."""
    shown = [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if OUR_CODE in Path(frame.f_code.co_filename).parents:
            shown += [repr(value) for value in frame.f_locals.values()]
    return "\n".join(shown)


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


@pytest.mark.parametrize("secret", [OLD + "\udcff", "\udcff" + OLD])
def test_secret_is_not_sent_when_not_unicode(secret: str) -> None:
    """An environment variable that holds arbitrary bytes becomes such a string."""
    with provider(lists()) as server, client(server) as api, pytest.raises(NotSent) as caught:
        api.list_secrets(Credentials(KEY, SecretStr(secret)), KEY)
    assert server.requests == []
    assert OLD not in everything_about(caught.value)


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


def test_list_secrets_refuses_an_id_containing_a_secret() -> None:
    for answer in (lists({"id": OLD, "created_at": "2026-01-01T00:00:00Z"}), lists(INFO | {"id": f"x-{BASIC}"})):
        error = failure(answer, list_)
        assert isinstance(error, LostAnswer)
        assert OLD not in str(error)


def test_refusal_masks_secrets_of_other_accounts() -> None:
    other = "Another0Accounts9Secret"
    with provider(says(403, {"detail": f"not {other}"})) as server, client(server) as api:
        for secret in (other, OLD):
            with pytest.raises(Forbidden) as caught:
                api.list_secrets(Credentials(KEY, SecretStr(secret)), KEY)
    assert other not in everything_about(caught.value)


# --- large answers ------------------------------------------------------------------------------------------------


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


def test_credentials_do_not_show_their_secret() -> None:
    assert OLD not in repr(AUTH)


# --- not sent, or perhaps carried out -----------------------------------------------------------------------------


LONG_KEPT = timedelta(seconds=PATIENCE)
"""Keeps idle connections for as long as a busy machine can need between two requests."""


@OPERATIONS
def test_refused_connection_is_not_sent(operation: Operation) -> None:
    with provider() as closed:
        port = closed.port
    with (
        client(f"http://127.0.0.1:{port}") as api,
        pytest.raises(NotSent, match=rf"127\.0\.0\.1:{port} cannot be reached"),
    ):
        operation(api)


def test_host_without_address_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with client("http://nowhere.invalid") as api, pytest.raises(NotSent, match="Name or service not known"):
        create(api)


def test_request_beyond_the_kept_connections_opens_another() -> None:
    go_on = threading.Event()

    def later(connection: socket.socket) -> None:
        assert go_on.wait(PATIENCE)
        says(201, INFO)(connection)

    with provider(later) as server, client(server, connections=1) as api, ThreadPoolExecutor() as pool:
        both = [pool.submit(create, api) for _ in range(2)]
        eventually(lambda: len(server.requests) == 2)
        go_on.set()
        assert [one.result().id for one in both] == [ID, ID]


def test_list_of_many_secrets_is_read() -> None:
    """An account with 14,000 secrets is ambiguous, not a provider that gives no answer."""
    path = "/accounts/abcd1234/secrets"
    ids = [str(UUID(int=number)) for number in range(14_000)]
    secrets = [INFO | {"_links": {"self": {"href": f"{path}/{id_}"}}, "id": id_} for id_ in ids]
    body = {"_links": {"self": {"href": path}}, "_embedded": {"secrets": secrets}}
    with provider(says(200, body)) as server, client(server) as api:
        assert [info.id for info in api.list_secrets(AUTH, "abcd1234")] == ids


LOST: dict[str, Answer] = {
    "the connection is closed": lambda connection: connection.close(),
    "the connection is reset": reset,
    "the headers are cut": raw(b"HTTP/1.1 201 Cre"),
    "the body is cut": raw(b"HTTP/1.1 201 X\r\nContent-Length: 500\r\n\r\n" + json.dumps(INFO).encode()),
    "a chunk is cut": raw(b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + json.dumps(INFO).encode()),
    "it is not HTTP": raw(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "the encoding is not what it says": says(201, INFO, "Content-Encoding: gzip\r\n"),
    "the headers are endless": raw(b"HTTP/1.1 201 X\r\n" + b"A: " + b"x" * 300_000),
    "the body is huge": raw(b"HTTP/1.1 201 X\r\n\r\n" + b" " * (5 << 20) + json.dumps(INFO).encode()),
    "500": says(500, {"title": "Oops"}),
    "502": says(502, b"<html>Bad gateway</html>"),
    "599": says(599),
}


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST)
@WRITES
def test_write_is_not_repeated_when_answer_is_lost(answer: Answer, operation: Operation) -> None:
    with provider(answer) as server, client(server, retries=2) as api:
        with pytest.raises(LostAnswer) as caught:
            operation(api)
        assert caught.value.maybe_done
        assert len(server.requests) == 1


@pytest.mark.parametrize("operation", [list_, get])
def test_read_is_repeated_until_answered(operation: Operation) -> None:
    good = says(200, INFO | {"_embedded": {"secrets": [INFO]}})
    with provider(in_turn(reset, says(503), good)) as server, client(server, retries=2) as api:
        operation(api)
        assert len(server.requests) == 3


@pytest.mark.parametrize("retries", [0, 2])
def test_read_fails_after_its_retries(retries: int) -> None:
    with provider(says(503)) as server, client(server, retries=retries) as api:
        with pytest.raises(LostAnswer, match="503") as caught:
            list_(api)
        assert not caught.value.maybe_done
        assert len(server.requests) == retries + 1


def test_connection_is_reused() -> None:
    with provider(lists()) as server, client(server, kept=LONG_KEPT) as api:
        list_(api)
        list_(api)
        assert server.connections == 1


def test_threads_share_the_kept_connections() -> None:
    with (
        provider(lists()) as server,
        client(server, kept=LONG_KEPT) as api,
        ThreadPoolExecutor(1) as one,
        ThreadPoolExecutor(1) as other,
    ):
        for thread in (one, other, one, other):
            thread.submit(list_, api).result()
        assert server.connections == 1


def test_connection_is_not_reused_when_idle_too_long() -> None:
    """A server closes an idle connection when it likes; a create sent into that moment would be a lost answer."""
    with provider(lists()) as server, client(server) as api:
        list_(api)
        time.sleep(KEPT.total_seconds() + 0.1)
        list_(api)
        assert server.connections == 2


def test_create_secret_closes_its_connection() -> None:
    """One connection may lead to one of many servers, and the others may not know the secret yet."""
    with provider(in_turn(lists(), says(201, INFO), lists(INFO))) as server, client(server, kept=LONG_KEPT) as api:
        list_(api)
        create(api)
        assert server.connections == 1
        assert server.header("connection") == "close"
        list_(api)
        assert server.connections == 2


def test_read_is_repeated_when_connection_was_closed() -> None:
    def closes(connection: socket.socket) -> None:
        lists()(connection)
        connection.close()

    with provider(closes) as server, client(server, retries=2) as api:
        for _ in range(3):
            list_(api)
        assert len(server.requests) == server.connections


def test_threads_share_one_client() -> None:
    with (
        provider(lists(INFO)) as server,
        client(server, connections=4) as api,
        ThreadPoolExecutor(4) as pool,
    ):
        assert set(pool.map(lambda _: list_(api), range(100))) == {(SecretInfo(ID, CREATED),)}


# --- time ----------------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 201 X\r\n"
SLOW: dict[str, Answer] = {
    "nothing comes": hang,
    "the headers drip": raw(*[b"%c" % byte for byte in HEAD + b"X: y\r\n" * 99], pause=0.05),
    "interim answers come for ever": raw(*[b"HTTP/1.1 102 Processing\r\n\r\n"] * 99, pause=0.05),
    "the body drips": raw(HEAD + b"Content-Length: 99\r\n\r\n", *[b" "] * 99, pause=0.05),
    "a body that ends with the connection drips": raw(
        HEAD + b"\r\n" + json.dumps(INFO).encode(), *[b" "] * 99, pause=0.05
    ),
    "the body stops": raw(HEAD + b"Content-Length: 99\r\n\r\n", b" ", pause=3),
    "each part comes just in time": raw(HEAD, b"\r\n", b"{", pause=TIMEOUT * 0.55),
}


def lose_in_time(server: Provider, prepared: Callable[[], AccountApi], limit: float, *, connections: int = 1) -> None:
    """Create a secret until a create is sent once and loses its answer within the limit, in seconds.

    A busy machine makes some attempts slow, or ends their time before they are sent. A mistake makes each of them slow.
    """
    for _ in range(10):
        api = prepared()
        before = server.connections, len(server.requests)
        begun = time.monotonic()
        with pytest.raises((LostAnswer, NotSent)) as caught:
            create(api)
        took = time.monotonic() - begun
        made = server.connections - before[0], len(server.requests) - before[1]
        assert made <= (1, 1)
        if isinstance(caught.value, LostAnswer) and took < limit and made == (connections, 1):
            return
    raise AssertionError(f"no create was over in {limit} s")


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_timeout_bounds_the_whole_request(answer: Answer) -> None:
    with provider(answer) as server, client(server, timeout=TIMEOUT) as api:
        lose_in_time(server, lambda: api, TIMEOUT + 1.5)


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_timeout_bounds_a_request_on_a_kept_connection(answer: Answer) -> None:
    with provider() as server, ExitStack() as stack:

        def connected() -> AccountApi:
            server.answer = lists()
            while True:
                api = stack.enter_context(client(server, timeout=TIMEOUT))
                with suppress(ApiError):
                    list_(api)
                    server.answer = answer
                    return api

        lose_in_time(server, connected, TIMEOUT + 1.5, connections=0)


def test_slow_answer_is_accepted_within_the_timeout() -> None:
    def slowly(connection: socket.socket) -> None:
        time.sleep(7)
        says(201, INFO)(connection)

    with provider(slowly) as server, client(server, timeout=10) as api:
        assert create(api).id == ID


def test_request_is_not_sent_after_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name look-up is the system's and cannot be cut short; the lease may have ended meanwhile."""
    look_up = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(TIMEOUT + 0.6)
        return look_up(*args, **kwargs)

    with provider(says(201, INFO)) as server, client(server, timeout=TIMEOUT) as api:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with pytest.raises(NotSent):
            create(api)
        time.sleep(0.1)
        assert server.requests == []


# --- proxies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [says(407), hang, lambda connection: connection.close()])
def test_proxy_gets_no_credential_when_tunnel_fails(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    with provider(answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with client("https://api.example", timeout=3) as api, pytest.raises(NotSent):
            create(api)
        assert len(proxy.requests) == 1
        assert proxy.requests[0].startswith(b"CONNECT api.example:443 ")
        assert BASIC.encode() not in proxy.requests[0]


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_cert(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_side(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_certificate_of_the_configured_ca_is_trusted(authority: trustme.CA, ca_cert: Path) -> None:
    with provider(says(201, INFO), server_side(authority)) as server, client(server, ca_cert=ca_cert) as api:
        assert create(api).id == ID


def test_request_is_not_sent_when_ca_is_unknown(authority: trustme.CA) -> None:
    with provider(says(201, INFO), server_side(authority)) as server, client(server) as api:
        with pytest.raises(NotSent) as caught:
            create(api)
        assert server.requests == []
        assert f"The certificate of 127.0.0.1:{server.port} cannot be verified" in str(caught.value)
    assert "account_api.ca_cert" in str(caught.value)


def test_request_is_not_sent_when_certificate_name_differs(authority: trustme.CA, ca_cert: Path) -> None:
    tls = server_side(authority, "other.example")
    with provider(says(201, INFO), tls) as server, client(server, ca_cert=ca_cert) as api:
        with pytest.raises(NotSent, match="IP address mismatch"):
            create(api)
        assert server.requests == []


def test_verification_can_be_switched_off(authority: trustme.CA) -> None:
    with provider(says(201, INFO), server_side(authority)) as server, client(server, verify=False) as api:
        assert create(api).id == ID


def test_request_is_not_sent_without_tls() -> None:
    with provider(raw(b"HTTP/1.1 400 X\r\n\r\n")) as server:
        api = client(f"https://127.0.0.1:{server.port}", timeout=TIMEOUT)
        with api, pytest.raises(NotSent):
            create(api)


@pytest.mark.parametrize("answer", [hang, SLOW["the headers drip"]], ids=["nothing comes", "the headers drip"])
def test_timeout_bounds_a_request_over_tls(answer: Answer, authority: trustme.CA, ca_cert: Path) -> None:
    tls = server_side(authority)
    with provider(answer, tls) as server, client(server, timeout=1, ca_cert=ca_cert) as api:
        lose_in_time(server, lambda: api, 3)


def test_ca_cert_without_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"account_api\.ca_cert"):
        client("https://api.example", ca_cert=wrong)


# --- anything at all -----------------------------------------------------------------------------------------------


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


# --- the pace --------------------------------------------------------------------------------------------------------


def test_pace_bounds_requests_per_second_across_threads() -> None:
    arrived: list[float] = []

    def note(connection: socket.socket) -> None:
        arrived.append(time.monotonic())
        lists(INFO)(connection)

    begun = time.monotonic()
    with provider(note) as server, client(server, max_calls_per_second=20) as api, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: list_(api), range(45)))
    assert len(arrived) == 45
    # A busy machine delays each arrival by a different time, so the test holds each one to its own second.
    assert [at for turn, at in enumerate(sorted(arrived)) if at - begun < turn // 20] == []


def test_pace_below_one_per_second_is_kept() -> None:
    with provider(lists(INFO)) as server, client(server, max_calls_per_second=0.5) as api:
        begun = time.monotonic()
        list_(api)
        sent = time.monotonic()
        list_(api)
        assert time.monotonic() - sent > 1.8 - (sent - begun)


def test_request_is_not_sent_without_a_turn() -> None:
    with provider(lists(INFO)) as server, client(server, max_calls_per_second=0.1, timeout=3) as api:
        list_(api)
        with pytest.raises(NotSent):
            create(api)
        assert len(server.requests) == 1


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def wait(self, error: RateLimited) -> None:
        assert error.retry_after is not None
        self.at += error.retry_after.total_seconds()


def limited(api: AccountApi, key: str = KEY, *, of: str | None = None) -> RateLimited:
    """The refusal of a list that this key authenticates."""
    with pytest.raises(RateLimited) as caught:
        api.list_secrets(Credentials(key, SecretStr(OLD)), of or key)
    return caught.value


def test_limited_key_is_refused_locally_until_hold_ends() -> None:
    counted: list[str] = []
    clock = Clock()
    with (
        provider(says(429, b"", "Retry-After: 86400\r\n")) as server,
        client(server, monotonic=clock, on_request=lambda what, code, took: counted.append(code)) as api,
    ):
        first = limited(api)
        server.answer = lists(INFO)
        clock.at += 86399
        for operation in (list_, get, create, revoke):
            with pytest.raises(RateLimited, match=f"API key {KEY}.* did not send .*Wait 1 s") as caught:
                operation(api)
            assert (caught.value.local, caught.value.retry_after) == (True, timedelta(seconds=1))
        assert (len(server.requests), counted) == (1, ["429"]), "a request that was not sent is not counted"
        clock.at += 1
        assert list_(api)
    assert (first.local, first.retry_after) == (False, timedelta(days=1))


def test_waits_without_a_time_grow_per_limit() -> None:
    """Eleven requests in 13 seconds were sent before."""
    clock = Clock()
    with provider(says(429)) as server, client(server, monotonic=clock) as api:
        while clock.at < 1000 + 13:
            clock.wait(limited(api))
        assert len(server.requests) == 4  # after 0, 1, 3 and 7 seconds
        server.answer = lists(INFO)
        assert list_(api)
        server.answer = says(429)
        assert limited(api).retry_after == timedelta(seconds=1), "an answer begins the waits again"


def test_one_limited_key_does_not_stop_the_others() -> None:
    with provider(says(429, b"", "Retry-After: 86400\r\n")) as server, client(server, monotonic=Clock()) as api:
        limited(api)
        server.answer = lists(INFO)
        for number in range(15):
            assert api.list_secrets(Credentials(f"key{number}", SecretStr(OLD)), f"key{number}")
        assert limited(api).local
        assert len(server.requests) == 16


def test_three_limited_keys_stop_the_other_keys() -> None:
    clock = Clock()
    with provider(says(429, b"", "Retry-After: 3600\r\n")) as server, client(server, monotonic=clock) as api:
        assert [limited(api, key).local for key in ("key1", "key2", "key3")] == [False] * 3
        server.answer = lists(INFO)
        other = limited(api, "key4")
        assert (other.local, other.retry_after) == (True, timedelta(minutes=1))
        assert f"127.0.0.1:{server.port} has limited several API keys" in str(other)
        assert len(server.requests) == 3
        clock.wait(other)
        assert api.list_secrets(Credentials("key4", SecretStr(OLD)), "key4")
        assert limited(api, "key1").retry_after == timedelta(minutes=59)


def test_secondary_accounts_share_the_limit_of_their_primary() -> None:
    with provider(says(429, b"", "Retry-After: 60\r\n")) as server, client(server, monotonic=Clock()) as api:
        limited(api, "primary1", of="child1")
        assert limited(api, "primary1", of="child2").local
        assert limited(api, "primary1").local
        server.answer = lists(INFO)
        assert api.list_secrets(Credentials("child1", SecretStr(OLD)), "child1"), "its own secret is another key"


def test_request_waiting_for_turn_is_refused_after_limit() -> None:
    answer_now = threading.Event()

    def late(connection: socket.socket) -> None:
        answer_now.wait(PATIENCE)
        says(429, b"", "Retry-After: 60\r\n")(connection)

    with provider(late) as server, client(server, max_calls_per_second=0.2) as api, ThreadPoolExecutor() as pool:
        first, second = pool.submit(limited, api), pool.submit(limited, api)
        while not server.requests:
            time.sleep(0.01)
        answer_now.set()
        assert sorted([first.result().local, second.result().local]) == [False, True]
        assert len(server.requests) == 1


def test_remaining_requests_are_kept_by_authenticating_key() -> None:
    received: list[tuple[str, Budget]] = []

    def with_budget(status: int, remaining: int) -> Answer:
        return says(status, INFO, f"X-RateLimit-Remaining: {remaining}\r\nX-RateLimit-Limit: 30\r\n")

    with provider() as server, client(server, on_budget=lambda *pair: received.append(pair)) as api:
        for answer in (with_budget(200, 12), says(200, INFO), with_budget(500, 11), with_budget(429, 0)):
            server.answer = answer
            with suppress(ApiError):
                api.get_secret(Credentials("primary1", SecretStr(OLD)), "child567", ID)
        assert (api.budget("primary1"), api.budget("child567")) == (Budget(0, 30), None)
    assert received == [("primary1", Budget(remaining, 30)) for remaining in (12, 11, 0)]


def test_on_request_receives_operation_and_code() -> None:
    counted: list[tuple[str, str]] = []
    with provider() as server, client(server, on_request=lambda what, code, took: counted.append((what, code))) as api:
        server.answer = lists(INFO)
        list_(api)
        for status in (401, 503):
            server.answer = says(status, b"")
            with pytest.raises(ApiError):
                revoke(api)
        server.answer = raw(b"")
        with pytest.raises(LostAnswer):
            create(api)
    nowhere = client("http://127.0.0.1:1", on_request=lambda what, code, took: counted.append((what, code)))
    with nowhere as api, pytest.raises(NotSent):
        get(api)
    assert counted == [
        ("list", "200"),
        ("revoke", "401"),
        ("revoke", "503"),
        ("create", "no_answer"),
        ("get", "not_sent"),
    ]
