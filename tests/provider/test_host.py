"""Connections to a host: reached or not, kept, in time, through a proxy, over TLS."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from rotator.errors import ConfigError
from rotator.provider import KEPT, AccountApi, ApiError, LostAnswer, NotSent
from testkit.cluster import PATIENCE, eventually
from tests.net.wire import hang, in_turn
from tests.provider.harness import (
    BASIC,
    ID,
    INFO,
    OPERATIONS,
    TIMEOUT,
    Answer,
    Operation,
    Provider,
    client,
    create,
    list_,
    lists,
    provider,
    raw,
    says,
)

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


@pytest.mark.parametrize("answer", [says(407), hang, lambda connection: connection.close()])
def test_proxy_gets_no_credential_when_tunnel_fails(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    with provider(answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with client("https://api.example", timeout=3) as api, pytest.raises(NotSent):
            create(api)
        assert len(proxy.requests) == 1
        assert proxy.requests[0].startswith(b"CONNECT api.example:443 ")
        assert BASIC.encode() not in proxy.requests[0]


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
