"""A server that answers well, badly, slowly or not at all, and a client of the Account API that asks it."""

import base64
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rotator import provider as account_api
from rotator.config import AccountApiSettings
from rotator.provider import KEPT, AccountApi, ApiError, Credentials, OnBudget, OnRequest, SecretInfo
from testkit.cluster import PATIENCE
from tests.net.wire import hang

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


def everything_about(error: BaseException) -> str:
    """Text, repr, attributes, chained errors as printed, and the locals of every frame in our own code."""
    shown = [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if OUR_CODE in Path(frame.f_code.co_filename).parents:
            shown += [repr(value) for value in frame.f_locals.values()]
    return "\n".join(shown)
