"""The wire campaign: both clients against servers, proxies and certificates that do what no good one does.

Each mode says how a request must end (with a response, lost, or certainly not sent), that it ends by its one time
limit, and that no secret is in an error or in any library's log.
"""

import gzip
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from rotator.net import Deadline, Origin, Tls, Transport
from testkit.cluster import PATIENCE
from tests.net.wire import (
    ANSWERED,
    BODY,
    CLIENTS,
    JSON,
    LOST,
    NEW,
    NOT_SENT,
    SECRET,
    TOKEN,
    Answer,
    Client,
    Ended,
    Outcome,
    clean_environment,
    drip,
    full_backlog,
    hang,
    in_turn,
    provider,
    raw,
    reset,
    says,
    sends_and_hangs,
    server,
    tunnel,
    vault,
    write_pem,
)

LIMIT = 0.5
"""Time limit of a request to a server that is too slow, in seconds."""
BUSY = 2.0
"""How late a busy machine can notice it."""
PASSWORD = "Proxy0Pass9word"
OK = b"HTTP/1.1 200 X\r\n"
Opened = Callable[..., AbstractContextManager[Client]]


@pytest.fixture(params=list(CLIENTS.values()), ids=list(CLIENTS))
def opened(request: pytest.FixtureRequest) -> Opened:
    made: Opened = request.param
    return made


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    yield
    assert_silent(caplog.text)


def assert_silent(text: str) -> None:
    leaked = [secret for secret in (SECRET, NEW, TOKEN, PASSWORD) if secret in text]
    assert not leaked, text


def ends(opened: Opened, address: str, outcome: Outcome, *, write: bool = True, **options: Any) -> Ended:
    """Send a request until it ends as it must within its limit; a busy machine can spoil some attempts."""
    seen = []
    for _ in range(5):
        with opened(address, timeout=LIMIT, **options) as client:
            ended = client.write() if write else client.read()
        assert_silent(ended.text)
        if ended.outcome is outcome and ended.seconds < LIMIT + BUSY:
            return ended
        seen.append(ended)
    raise AssertionError(f"not {outcome} within {LIMIT} s: {seen}")


def ends_at_leisure(opened: Opened, address: str, *, write: bool = False, **options: Any) -> Ended:
    """Send a request that has all the time that it needs."""
    with opened(address, timeout=PATIENCE, **options) as client:
        ended = client.write() if write else client.read()
    assert_silent(ended.text)
    return ended


# --- responses that take too long ----------------------------------------------------------------------------------

SLOW: dict[str, Answer] = {
    "nothing comes": hang,
    "the status line drips": drip(b"", b"H"),
    "a header drips": drip(OK + b"A: ", b"x"),
    "headers drip one by one": drip(OK, b"A: x\r\n"),
    "interim responses come for ever": drip(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "nothing comes after 100": sends_and_hangs(b"HTTP/1.1 100 X\r\n\r\n"),
    "the body drips": drip(OK + b"Content-Length: 9999\r\n\r\n", b" "),
    "a body without length drips": drip(OK + b"\r\n" + BODY, b" "),
    "the size of a chunk drips": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "chunks drip": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "trailers drip": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: x\r\n"),
    "the body stops": sends_and_hangs(OK + b"Content-Length: 99\r\n\r\n{"),
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_slow_response_is_lost_in_time(opened: Opened, answer: Answer) -> None:
    with server(answer) as slow:
        ends(opened, slow.address, LOST)


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_slow_response_on_a_kept_connection_is_lost(opened: Opened, answer: Answer) -> None:
    for _ in range(5):
        with server(says(200)) as slow, opened(slow.address, timeout=LIMIT) as client:
            client.read()
            slow.answer = answer
            ended = client.write()
            if ended.outcome is LOST and ended.seconds < LIMIT + BUSY and slow.connections == 1:
                return
    raise AssertionError(f"not lost in time on a kept connection: {ended}")


# --- responses that are cut or malformed ---------------------------------------------------------------------------

BROKEN: dict[str, Answer] = {
    "closed at once": lambda connection: connection.close(),
    "reset at once": reset,
    "cut in the status line": raw(b"HTTP/1.1 20"),
    "cut in the headers": raw(OK + b"Content-Ty"),
    "cut after the headers": raw(OK + b"Content-Length: 500\r\n\r\n"),
    "cut in the body": raw(OK + b"Content-Length: 500\r\n\r\n" + BODY),
    "cut in a chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{"),
    "cut before the last chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"),
    "the size of a chunk is none": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n"),
    "the length is no number": raw(OK + b"Content-Length: 1e400\r\n\r\n" + BODY),
    "the length is negative": raw(OK + b"Content-Length: -1\r\n\r\n" + BODY),
    "the length has 5000 digits": raw(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + BODY),
    "two lengths": raw(OK + b"Content-Length: 2\r\nContent-Length: 99\r\n\r\n{}"),
    "a protocol is switched unasked": raw(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "SSH": raw(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "a TLS record": raw(b"\x15\x03\x01\x00\x02\x02\x46"),
    "HTTP 0.9": raw(BODY),
    "a control character in a header": raw(OK + b"A: \x07\r\n\r\n" + BODY),
    "a status of two digits": raw(b"HTTP/1.1 20 X\r\n\r\n"),
    "an endless header": raw(OK + b"A: " + b"x" * 300_000 + b"\r\n\r\n" + BODY),
    "endless headers": raw(OK + b"A: x\r\n" * 50_000 + b"\r\n" + BODY),
    "a huge body": raw(OK + b"\r\n" + b" " * (5 << 20) + BODY),
    "a huge announced body": raw(OK + b"Content-Length: %d\r\n\r\n" % (5 << 20) + b" " * (5 << 20)),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_broken_response_is_lost(opened: Opened, answer: Answer) -> None:
    with server(answer) as broken:
        assert ends_at_leisure(opened, broken.address, write=True).outcome is LOST
        assert len(broken.requests) == 1, "it was sent twice"


WHOLE: dict[str, Answer] = {
    "interim responses before it": lambda connection: connection.sendall(
        b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\nLink: x\r\n\r\n"
        + OK
        + b"Content-Length: %d\r\n\r\n" % len(BODY)
        + BODY
    ),
    "in chunks": raw(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "it ends with the connection": raw(OK + b"\r\n" + BODY),
    "a header that is not ASCII": raw(OK + b"Server: caf\xe9\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY),
    "HTTP 1.0": raw(b"HTTP/1.0 200 X\r\n\r\n" + BODY),
    "chunks and a length": raw(
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    ),
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
def test_whole_response_is_answered(opened: Opened, answer: Answer) -> None:
    with server(answer) as good:
        assert ends_at_leisure(opened, good.address).status == 200


def test_compressed_body_is_not_decompressed(opened: Opened) -> None:
    """32 MiB of blanks are 32 KiB on the wire."""
    bomb = gzip.compress(b" " * (32 << 20) + BODY)
    with server(says(200, bomb, JSON + b"Content-Encoding: gzip\r\n")) as compressed:
        ended = ends_at_leisure(opened, compressed.address)
    assert ended.outcome is (LOST if opened is not vault else ANSWERED)


# --- connections ---------------------------------------------------------------------------------------------------


def test_rest_of_a_response_starts_no_other(opened: Opened) -> None:
    """The announced length is shorter than the body, and the rest looks like a response."""
    rest = b"HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n"
    lie = OK + JSON + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY + rest
    with server(in_turn(lambda c: c.sendall(lie), says(404))) as liar, opened(liar.address, timeout=PATIENCE) as client:
        assert client.read().status == 200
        assert client.read().status in (404, None), "the rest was taken for the response"


def test_connection_is_kept_for_the_next_request(opened: Opened) -> None:
    with server(says(200)) as good, opened(good.address, timeout=PATIENCE) as client:
        assert [client.read().status for _ in range(3)] == [200, 200, 200]
        assert good.connections == 1


def test_connection_is_not_reused_when_server_ended_it(opened: Opened) -> None:
    with (
        server(says(200, BODY, JSON + b"Connection: close\r\n")) as ending,
        opened(ending.address, timeout=PATIENCE) as client,
    ):
        assert [client.read().status for _ in range(3)] == [200, 200, 200]
        assert ending.connections == 3


def test_connection_is_not_reused_after_a_create() -> None:
    """Another server than the one that created a secret must confirm it, even if a proxy keeps the connection open."""
    with server(in_turn(says(201), says(200))) as good, provider(good.address, timeout=PATIENCE) as client:
        assert client.write().outcome is ANSWERED
        assert client.read().status == 200
        assert good.connections == 2


def test_connection_is_not_reused_when_closed_while_idle(opened: Opened) -> None:
    closed = threading.Semaphore(0)

    def close(connection: socket.socket) -> None:
        says(200)(connection)
        connection.close()
        closed.release()

    with server(close) as closing, opened(closing.address, timeout=PATIENCE) as client:
        for _ in range(3):
            assert client.read().status == 200
            assert closed.acquire(timeout=PATIENCE)


def test_request_is_lost_when_its_connection_closes(opened: Opened) -> None:
    answer = in_turn(says(200), lambda connection: connection.close())
    with server(answer) as closing, opened(closing.address, timeout=PATIENCE) as client:
        client.read()
        assert client.write().outcome is LOST
        assert len(closing.requests) == 2


def test_refused_connection_is_not_sent(opened: Opened) -> None:
    with server(hang) as gone:
        address, port = gone.address, gone.port
    ended = ends_at_leisure(opened, address)
    assert ended.outcome is NOT_SENT
    assert f"127.0.0.1:{port}" in ended.text or opened is vault, "its error names host and port"


def test_request_is_unsent_when_connection_is_not_accepted(opened: Opened) -> None:
    with full_backlog() as port:
        ends(opened, f"http://127.0.0.1:{port}", NOT_SENT)


def test_unknown_name_is_not_sent(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert ends_at_leisure(opened, "http://nowhere.invalid").outcome is NOT_SENT


@pytest.mark.parametrize("first", ["dead", "hanging"])
def test_next_address_of_a_name_is_tried(opened: Opened, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo
    with server(says(200)) as good, ExitStack() as stack:
        if first == "hanging":
            stack.enter_context(full_backlog("127.0.0.2", good.port))

        def two(host: str, port: int, *args: Any, **options: Any) -> Any:
            if host != "several.invalid":
                return look_up(host, port, *args, **options)
            return [*look_up("127.0.0.2", port, *args, **options), *look_up("127.0.0.1", port, *args, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        with opened(f"http://several.invalid:{good.port}", timeout=20) as client:
            ended = client.read()
    assert ended.status == 200
    assert ended.seconds < 10


def test_request_is_lost_when_body_is_unread(opened: Opened) -> None:
    over = threading.Event()

    def wait(connection: socket.socket) -> None:
        over.wait(PATIENCE)

    with server(wait, greets=True) as deaf, opened(deaf.address, timeout=4) as client:
        ended = client.write(size=8 << 20)
        over.set()
    assert ended.outcome is LOST
    assert ended.seconds < 4 + BUSY


# --- redirects -----------------------------------------------------------------------------------------------------

REDIRECTS = [301, 302, 303, 307, 308]


def redirect(status: int, location: str) -> Answer:
    return says(status, b"", b"Location: %s\r\n" % location.encode())


@pytest.mark.parametrize("status", REDIRECTS)
def test_redirect_to_another_server_is_not_followed(opened: Opened, status: int) -> None:
    with server(says(200)) as other, server(redirect(status, f"{other.address}/x")) as first:
        for write in (False, True):
            assert ends_at_leisure(opened, first.address, write=write).status != 200
        assert other.connections == 0


@pytest.mark.parametrize(
    "location",
    ["http://0.0.0.0:{port}/", "http://[bad", "http://[::1", "ftp://127.0.0.1:{port}/", "//0.0.0.0:{port}/", "http:///x",
     "http://127.0.0.1:99999/", "http://user:{secret}@127.0.0.1:{port}/", "javascript:x"],
)  # fmt: skip
def test_redirect_to_a_bad_address_is_not_followed(opened: Opened, location: str) -> None:
    with server(says(200)) as other:
        place = location.format(port=other.port, secret=PASSWORD)
        with server(redirect(307, place)) as first:
            assert ends_at_leisure(opened, first.address).status != 200
        assert other.connections == 0


def test_redirect_in_a_loop_ends(opened: Opened) -> None:
    with server(hang) as loop:
        loop.answer = redirect(307, f"{loop.address}/v1/again")
        assert ends_at_leisure(opened, loop.address).status != 200
        assert len(loop.requests) <= 4


def test_redirect_without_a_location_ends(opened: Opened) -> None:
    with server(says(307, b"", b"")) as nowhere:
        assert ends_at_leisure(opened, nowhere.address).status in (307, None)


def test_vault_follows_a_redirect_to_a_configured_address() -> None:
    with server(says(200)) as leader, server(redirect(307, f"{leader.address}/v1/x")) as standby:
        with vault(standby.address, timeout=PATIENCE, others=(leader.address,)) as client:
            assert client.write().status == 200
        assert leader.requests[0].startswith(b"POST /v1/x ")
        assert NEW.encode() in leader.requests[0]


def test_vault_names_the_dead_server_of_a_redirect() -> None:
    with server(hang) as gone:
        dead = gone.address
    with (
        server(redirect(307, f"{dead}/v1/x")) as standby,
        vault(standby.address, timeout=PATIENCE, others=(dead,)) as client,
    ):
        ended = client.write()
    assert ended.outcome is NOT_SENT
    assert dead in ended.text


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_cert(authority: trustme.CA, tmp_path: Path) -> Path:
    return write_pem(tmp_path, "ca.pem", authority.cert_pem.bytes())


def serves(authority: trustme.CA, name: str = "127.0.0.1", **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **options).configure_cert(context)
    return context


def test_certificate_of_the_configured_ca_is_trusted(opened: Opened, authority: trustme.CA, ca_cert: Path) -> None:
    with server(says(200), serves(authority)) as good:
        assert ends_at_leisure(opened, good.address, ca_cert=ca_cert).status == 200


@pytest.mark.parametrize("fault", ["authority", "name", "date"])
def test_bad_certificate_is_not_sent(opened: Opened, authority: trustme.CA, ca_cert: Path, fault: str) -> None:
    context = {
        "authority": lambda: serves(trustme.CA()),
        "name": lambda: serves(authority, "vault.example"),
        "date": lambda: serves(authority, not_after=datetime.now(UTC) - timedelta(days=1)),
    }[fault]()
    with server(says(200), context) as bad:
        ended = ends_at_leisure(opened, bad.address, write=True, ca_cert=ca_cert)
        assert bad.requests == []
    assert ended.outcome is NOT_SENT
    assert "certificate" in ended.text.lower()


def hears(answer: Answer) -> Answer:
    """Read the client's first words before the answer."""

    def both(connection: socket.socket) -> None:
        connection.recv(65536)
        answer(connection)

    return both


HANDSHAKES: dict[str, Answer] = {
    "hangs": hang,
    "drips": drip(b"\x16\x03\x03\x40\x00\x02", b"\x00"),
    "closes": hears(lambda connection: connection.close()),
    "resets": hears(reset),
    "answers in plain text": hears(raw(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")),
    "alerts": hears(raw(b"\x15\x03\x03\x00\x02\x02\x28")),
}


@pytest.mark.parametrize("answer", HANDSHAKES.values(), ids=HANDSHAKES)
def test_failing_handshake_is_not_sent_in_time(opened: Opened, answer: Answer, ca_cert: Path) -> None:
    with server(answer, greets=True) as bad:
        ends(opened, bad.address.replace("http:", "https:"), NOT_SENT, ca_cert=ca_cert)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_missing_client_certificate_is_no_response(
    opened: Opened, authority: trustme.CA, ca_cert: Path, version: ssl.TLSVersion
) -> None:
    """In TLS 1.3 the server refuses it only after the request can have been sent."""
    context = serves(authority)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    with server(says(200), context) as strict:
        ended = ends_at_leisure(opened, strict.address, ca_cert=ca_cert)
        assert strict.requests == []
    assert ended.outcome in ((NOT_SENT,) if version is ssl.TLSVersion.TLSv1_2 else (NOT_SENT, LOST))


def test_vault_shows_its_client_certificate(authority: trustme.CA, ca_cert: Path, tmp_path: Path) -> None:
    context = serves(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    own = authority.issue_cert("rotator")
    pair: dict[str, Any] = {
        "client_cert": write_pem(tmp_path, "own.pem", *(blob.bytes() for blob in own.cert_chain_pems)),
        "client_key": write_pem(tmp_path, "own.key", own.private_key_pem.bytes()),
    }
    with server(says(200), context) as strict:
        assert ends_at_leisure(vault, strict.address, ca_cert=ca_cert, **pair).status == 200


# --- proxies -------------------------------------------------------------------------------------------------------


def through(monkeypatch: pytest.MonkeyPatch, port: int, scheme: str = "http") -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, f"{scheme}://someone:{PASSWORD}@127.0.0.1:{port}")


def test_proxy_forwards_plain_text(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(200)) as proxy:
        through(monkeypatch, proxy.port)
        assert ends_at_leisure(opened, "http://far.invalid:8200").status == 200
        assert proxy.requests[0].startswith(b"GET http://far.invalid:8200/")
        assert b"proxy-authorization: basic " in proxy.requests[0].lower()


def test_proxy_tunnels_tls(
    opened: Opened, authority: trustme.CA, ca_cert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(says(200), serves(authority, "far.invalid")) as far, server(tunnel(lambda: far.port)) as proxy:
        through(monkeypatch, proxy.port)
        assert ends_at_leisure(opened, "https://far.invalid:8200", ca_cert=ca_cert).status == 200
        assert proxy.requests[0].startswith(b"CONNECT far.invalid:8200 ")
        assert all(secret.encode() not in proxy.requests[0] for secret in (SECRET, TOKEN))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_gets_ipv6_addresses_in_brackets(
    opened: Opened, authority: trustme.CA, ca_cert: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(says(200), serves(authority, "fd00::1")) as far, server(tunnel(lambda: far.port)) as proxy:
        if scheme == "http":
            proxy.answer = says(200)
        through(monkeypatch, proxy.port)
        assert ends_at_leisure(opened, f"{scheme}://[fd00::1]:8200", ca_cert=ca_cert).status == 200
        assert b"[fd00::1]:8200" in proxy.requests[0].split(b"\r\n")[0]
        assert b"host: [fd00::1]:8200" in proxy.requests[0].lower()


@pytest.mark.parametrize("target", ["http://far.invalid", "https://far.invalid"])
def test_proxy_can_be_reached_by_tls(
    opened: Opened, authority: trustme.CA, ca_cert: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_cert))
    with (
        server(says(200), serves(authority, "far.invalid")) as far,
        server(tunnel(lambda: far.port), serves(authority)) as proxy,
    ):
        if target.startswith("http:"):
            proxy.answer = says(200)
        through(monkeypatch, proxy.port, "https")
        assert ends_at_leisure(opened, target, ca_cert=ca_cert).status == 200
        assert len(proxy.requests) == 1


def test_connection_within_proxys_tls_is_not_kept(
    authority: trustme.CA, ca_cert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells whether data waits there, such as a second answer."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_cert))
    with (
        server(says(200), serves(authority, "far.invalid")) as far,
        server(tunnel(lambda: far.port), serves(authority)) as proxy,
    ):
        through(monkeypatch, proxy.port, "https")
        origin = Origin.of("https://far.invalid")
        transport = Transport(origin, Tls(), kept=1, keep_for=timedelta(minutes=1))
        with closing(transport):
            for _ in range(2):
                assert transport.send("GET", "/", Deadline.after(PATIENCE), {}).status == 200
        assert proxy.connections == 2


TUNNELS: dict[str, Answer] = {
    "asks for credentials": says(407, b"<html>" + PASSWORD.encode()),
    "refuses": says(403),
    "fails": says(502),
    "hangs": hang,
    "drips": drip(b"HTTP/1.1 200 ", b"x"),
    "closes": lambda connection: connection.close(),
    "repeats the credentials": raw(b"HTTP/1.1 407 " + PASSWORD.encode() + b"\r\n\r\n"),
    "is no proxy": raw(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "opens and hangs": sends_and_hangs(b"HTTP/1.1 200 X\r\n\r\n"),
    "opens and drips": drip(b"HTTP/1.1 200 X\r\n\r\n\x16\x03\x03\x40\x00\x02", b"\x00"),
}


@pytest.mark.parametrize("answer", TUNNELS.values(), ids=TUNNELS)
def test_request_is_unsent_when_proxy_opens_no_tunnel(
    opened: Opened, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(answer) as proxy:
        through(monkeypatch, proxy.port)
        ended = ends(opened, "https://far.invalid:8200", NOT_SENT)
        assert f"http://127.0.0.1:{proxy.port}" in ended.text, "its error names the proxy"
        assert all(secret.encode() not in request for secret in (SECRET, TOKEN) for request in proxy.requests)


@pytest.mark.parametrize("target", ["http://far.invalid", "https://far.invalid"])
def test_request_is_unsent_when_proxy_is_gone(opened: Opened, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(hang) as gone:
        port = gone.port
    through(monkeypatch, port)
    ended = ends_at_leisure(opened, target)
    assert ended.outcome is NOT_SENT
    assert f"http://127.0.0.1:{port}" in ended.text


def test_request_is_lost_when_proxy_hangs(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(hang) as proxy:
        through(monkeypatch, proxy.port)
        ends(opened, "http://far.invalid", LOST)


def test_request_is_unsent_when_proxy_wants_credentials(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(407)) as proxy:
        through(monkeypatch, proxy.port)
        assert ends_at_leisure(opened, "http://far.invalid").outcome is NOT_SENT


def test_proxy_is_not_used_for_loopback(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(200)) as good, server(hang) as proxy:
        through(monkeypatch, proxy.port)
        assert ends_at_leisure(opened, good.address).status == 200
        assert proxy.connections == 0
