"""The operations on secrets: what the client sends, how often, and what it tells of it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from rotator import __version__
from rotator.provider import ApiError, Credentials, LostAnswer, NotSent, SecretInfo
from tests.net.wire import in_turn, reset
from tests.provider.harness import (
    AUTH,
    BASIC,
    CREATED,
    ID,
    INFO,
    KEY,
    NEW,
    OLD,
    WRITES,
    Answer,
    Operation,
    client,
    create,
    everything_about,
    get,
    list_,
    lists,
    provider,
    raw,
    revoke,
    says,
)


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


def test_client_sends_no_cookies() -> None:
    """A session cookie could make a secret look as if it authenticated."""
    with provider(says(200, {"_embedded": {"secrets": []}}, "Set-Cookie: session=one\r\n")) as server:
        with client(server) as api:
            list_(api)
            list_(api)
        assert len(server.requests) == 2
        assert server.header("cookie") is None


def test_credentials_do_not_show_their_secret() -> None:
    assert OLD not in repr(AUTH)


@pytest.mark.parametrize("secret", [OLD + "\udcff", "\udcff" + OLD])
def test_secret_is_not_sent_when_not_unicode(secret: str) -> None:
    """An environment variable that holds arbitrary bytes becomes such a string."""
    with provider(lists()) as server, client(server) as api, pytest.raises(NotSent) as caught:
        api.list_secrets(Credentials(KEY, SecretStr(secret)), KEY)
    assert server.requests == []
    assert OLD not in everything_about(caught.value)


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


def test_threads_share_one_client() -> None:
    with (
        provider(lists(INFO)) as server,
        client(server, connections=4) as api,
        ThreadPoolExecutor(4) as pool,
    ):
        assert set(pool.map(lambda _: list_(api), range(100))) == {(SecretInfo(ID, CREATED),)}


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
