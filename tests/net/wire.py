"""A server that answers byte by byte, and both clients behind one face: parts of the wire campaign."""

import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import pytest
from pydantic import SecretStr

from rotator.config import AccountApiSettings, VaultAuth, VaultSettings
from rotator.provider import AccountApi, ApiError, Credentials, LostAnswer, NotSent
from rotator.vault.http import Http, RedirectRefused, Unanswered
from testkit.cluster import PATIENCE

SECRET, NEW, TOKEN = "OldCanary1aaaaaaaaaaaaaaa", "NewCanary2bbbbbbbbbbbbbbb", "hvs.Canary3cccccccccccccc"
AUTH = Credentials("abcd1234", SecretStr(SECRET))
INFO = b'{"id": "ad6dc56f", "created_at": "2018-12-03T10:07:23Z"}'
BODY = b'{"_embedded": {"secrets": [' + INFO + b']}, "id": "ad6dc56f", "created_at": "2018-12-03T10:07:23Z"}'
JSON = b"Content-Type: application/json\r\n"

Answer = Callable[[socket.socket], None]


class Outcome(Enum):
    """How a request ended: with a response, perhaps received without one, or certainly not received."""

    ANSWERED = "answered"
    LOST = "lost"
    NOT_SENT = "not sent"


ANSWERED, LOST, NOT_SENT = Outcome


@dataclass(frozen=True)
class Ended:
    """The end of a request.

    Attributes:
        outcome: Its class.
        status: The HTTP status, if there is a response.
        text: Everything that an error says.
        seconds: The time that it took.
    """

    outcome: Outcome
    status: int | None
    text: str
    seconds: float


class Client(Protocol):
    """A client as the campaign uses it."""

    def read(self) -> Ended: ...

    def write(self, size: int = 0) -> Ended: ...


def _timed(ask: Callable[[], tuple[Outcome, int | None, str]]) -> Ended:
    begun = time.monotonic()
    outcome, status, text = ask()
    return Ended(outcome, status, text, time.monotonic() - begun)


@dataclass
class Provider:
    """The client of the Account API."""

    api: AccountApi

    def read(self) -> Ended:
        return _timed(lambda: self._ask(lambda: self.api.list_secrets(AUTH, "abcd1234")))

    def write(self, size: int = 0) -> Ended:
        value = SecretStr(NEW + "x" * size)
        return _timed(lambda: self._ask(lambda: self.api.create_secret(AUTH, "abcd1234", value)))

    def _ask(self, ask: Callable[[], object]) -> tuple[Outcome, int | None, str]:
        try:
            ask()
        except NotSent as error:
            return NOT_SENT, None, f"{error} {error!r}"
        except ApiError as error:
            status = getattr(error, "status", None)
            lost = isinstance(error, LostAnswer) and status is None
            return LOST if lost else ANSWERED, status, f"{error} {error!r}"
        return ANSWERED, 200, ""


@dataclass
class Vault:
    """The way of the Vault client to a server."""

    http: Http
    address: str

    def read(self) -> Ended:
        return _timed(lambda: self._ask("GET", None))

    def write(self, size: int = 0) -> Ended:
        return _timed(lambda: self._ask("POST", {"data": NEW + "x" * size}))

    def _ask(self, method: str, body: object) -> tuple[Outcome, int | None, str]:
        until = time.monotonic() + PATIENCE
        try:
            answer = self.http.send(
                "read",
                method,
                self.address,
                "/v1/secret/data/a",
                headers={"X-Vault-Token": TOKEN},
                until=until,
                body=body,
            )
        except Unanswered as error:
            shown = f"{error} {error.kind} {error.reason} {error.redirected_to}"
            return LOST if error.sent else NOT_SENT, None, shown
        except RedirectRefused as error:
            return NOT_SENT, None, f"{error} {error.reason} {error.target}"
        return ANSWERED, answer.status, ""


@contextmanager
def provider(address: str, *, timeout: float, others: tuple[str, ...] = (), **tls: Any) -> Iterator[Provider]:
    """The client of the Account API; it knows one address only."""
    settings = AccountApiSettings(
        api_url=address, timeout=timedelta(seconds=timeout), max_calls_per_second=10_000, ca_cert=tls.get("ca_cert")
    )
    with AccountApi(settings, retries=0, kept=timedelta(seconds=PATIENCE)) as api:
        yield Provider(api)


@contextmanager
def vault(address: str, *, timeout: float, others: tuple[str, ...] = (), **tls: Any) -> Iterator[Vault]:
    """The way of the Vault client to an address, with others in its configuration."""
    settings = VaultSettings(
        address=",".join((address, *others)),
        timeout=timedelta(seconds=timeout),
        auth=VaultAuth(token=SecretStr(TOKEN)),
        **tls,
    )
    with closing(Http(settings, pool_size=4, on_request=lambda *_: None)) as http:
        yield Vault(http, address)


CLIENTS: dict[str, Callable[..., AbstractContextManager[Client]]] = {"provider": provider, "vault": vault}


# --- the server ----------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A listening socket that answers every request as `answer` says; `answer` can be changed at any time."""

    listener: socket.socket
    answer: Answer
    tls: ssl.SSLContext | None
    greets: bool
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, plain: socket.socket) -> None:
        with suppress(OSError, ValueError), plain:
            plain.settimeout(PATIENCE)
            connection = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            with connection:
                if self.greets:
                    self.answer(connection)
                    return
                while request := read_request(connection):
                    self.requests.append(request)
                    self.answer(connection)

    def stop(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def read_request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        if not (more := connection.recv(65536)):
            return b""
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length and (more := connection.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body


@contextmanager
def server(answer: Answer, tls: ssl.SSLContext | None = None, *, greets: bool = False) -> Iterator[Server]:
    """A server on a free port; with `greets` it answers before it reads anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Server(listener, answer, tls, greets)
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
        made.stop()
        thread.join(PATIENCE)


# --- answers -------------------------------------------------------------------------------------------------------


def raw(*parts: bytes) -> Answer:
    """Send these bytes and close."""

    def answer(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        connection.close()

    return answer


def drip(first: bytes, each: bytes) -> Answer:
    """Send the first bytes, then a few every 50 ms, for ten times the limit of the campaign."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(120):
            connection.sendall(each)
            time.sleep(0.05)
        connection.close()

    return answer


def says(status: int, body: bytes = BODY, headers: bytes = JSON) -> Answer:
    """Send a whole response and leave the connection open."""
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), headers)
    return lambda connection: connection.sendall(head + body)


def in_turn(*answers: Answer) -> Answer:
    """One after the other, the last one for ever."""
    left = list(answers)

    def answer(connection: socket.socket) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        now(connection)

    return answer


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.recv(1)
    connection.close()


def sends_and_hangs(data: bytes) -> Answer:
    """Send these bytes and nothing more."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        hang(connection)

    return answer


def tunnel(target: Callable[[], int]) -> Answer:
    """A proxy that opens a tunnel to a port, whatever host it is asked for."""

    def answer(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", target()), PATIENCE) as other:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pump(connection, other)

    return answer


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Pass on what each side sends until both have ended, in one thread: OpenSSL's connections allow no more."""
    sinks = {one: other, other: one}
    with suppress(OSError):
        while sinks:
            kept = [source for source in sinks if isinstance(source, ssl.SSLSocket) and source.pending()]
            ready = kept or select.select(list(sinks), [], [], PATIENCE)[0]
            if not ready:
                return
            for source in ready:
                if data := source.recv(65536):
                    sinks[source].sendall(data)
                else:
                    sinks.pop(source).shutdown(socket.SHUT_WR)


@contextmanager
def full_backlog(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port at which the system neither accepts nor refuses a further connection."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every variable that names a proxy, a certificate or a Vault."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("VAULT_", "BAO_", "SSL_CERT_", "REQUESTS_CA_")):
            monkeypatch.delenv(name)


def write_pem(folder: Path, name: str, *blobs: bytes) -> Path:
    path = folder / name
    path.write_bytes(b"".join(blobs))
    return path
