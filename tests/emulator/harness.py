"""An emulator that runs, a client that may log in, and checks of its answers."""

import base64
import contextlib
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import trustme
from pydantic import SecretStr

from rotator.emulator import Emulator, Profile, parse_account, running
from testkit.cluster import PATIENCE

KEY, SECRET, NEW = "abcd1234", "Secret12345", "Another67890"
CONTROL_TOKEN = "Control12345"
PATH = f"/accounts/{KEY}/secrets"
SECOND = timedelta(seconds=1)
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the system's certificates takes longer than a test
BALANCE, TOP_UP, SETTINGS = "/account/get-balance", "/account/top-up", "/account/settings"
LOGIN = {"api_key": KEY, "api_secret": SECRET}
RICH = Profile(Decimal("10.5"), auto_reload=True)
MO, DR = "https://example.com/inbound", "https://example.com/receipts?to=1"
CHILD, CHILD_SECRET = "child001", "Secret54321"
CHILD_PATH = f"/accounts/{CHILD}/secrets"
X_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """An emulator that runs, and a client that may log in."""

    emulator: Emulator
    url: str
    client: httpx.Client
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = tuple(self.emulator.live(KEY))

    def create(self, value: str = NEW) -> httpx.Response:
        return self.client.post(PATH, json={"secret": value})

    def live(self) -> list[str]:
        return [secret.get_secret_value() for secret in self.emulator.live(KEY).values()]


@contextlib.contextmanager
def world(*accounts: str, tls: trustme.CA | None = None, folder: Path = Path(), **options: Any) -> Iterator[World]:
    options = {"control_token": SecretStr(CONTROL_TOKEN)} | options
    emulator = Emulator([parse_account(text) for text in accounts or (f"{KEY}:{SECRET}",)], **options)
    files: dict[str, Any] = {}
    trust = NO_TRUST
    if tls is not None:
        files = issue(tls, folder)
        trust = ssl.create_default_context(cadata=tls.cert_pem.bytes().decode())
    with (
        running(emulator, **files) as url,
        httpx.Client(base_url=url, auth=(KEY, SECRET), verify=trust, trust_env=False, timeout=PATIENCE) as client,
    ):
        yield World(emulator, url, client)


def in_control(request: httpx.Request) -> httpx.Request:
    """Authorize a request for a change of the emulator."""
    request.headers["Authorization"] = f"Bearer {CONTROL_TOKEN}"
    return request


def issue(ca: trustme.CA, folder: Path) -> dict[str, Path]:
    issued = ca.issue_cert("127.0.0.1")
    files = {"certfile": folder / "cert.pem", "keyfile": folder / "key.pem"}
    issued.cert_chain_pems[0].write_to_path(files["certfile"])
    issued.private_key_pem.write_to_path(files["keyfile"])
    return files


def problem(response: httpx.Response, status: int, title: str) -> dict[str, Any]:
    """The body of an error, which must look like the provider's."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["title"]) == (status, title)
    assert response.headers["content-type"] == "application/json"
    assert set(body) - {"invalid_parameters"} == {"type", "title", "detail", "instance"}
    assert body["type"].startswith("https://")
    assert re.fullmatch("[0-9a-f]{32}", body["instance"])
    return body


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def eventually(condition: Callable[[], bool], within: float = PATIENCE) -> bool:
    deadline = time.monotonic() + within
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def ask(w: World, path: str, **options: Any) -> httpx.Response:
    method = "GET" if path == BALANCE else "POST"
    if path == TOP_UP:
        options["data"] = {"trx": "8ef2447e"} | options.get("data", {})
    return w.client.request(method, path, **options)


def refusal(response: httpx.Response, status: int) -> str:
    body = response.json()
    assert (response.status_code, set(body)) == (status, {"error-code", "error-code-label"})
    assert body["error-code"] == str(status)
    label: str = body["error-code-label"]
    return label


def xml(response: httpx.Response) -> tuple[str, dict[str, str | None]]:
    assert response.headers["content-type"] == "application/xml"
    root = ElementTree.fromstring(response.text)
    return root.tag, {child.tag: child.text for child in root}


def ids(w: World, path: str = PATH) -> list[str]:
    """Ids of a list."""
    return [secret["id"] for secret in w.client.get(path).json()["_embedded"]["secrets"]]


def document(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal."""
    body: dict[str, Any] = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert set(body) - {"invalid_parameters"} == {"type", "title", "detail", "instance"}
    return body


def limited(response: httpx.Response) -> tuple[str | None, dict[str, str]]:
    """The Retry-After of a 429 and its other headers; the reset in seconds or milliseconds after the answer's date."""
    assert response.status_code == 429
    date = parsedate_to_datetime(response.headers["date"]).timestamp()
    shown = {name: response.headers[name] for name in X_HEADERS if name in response.headers}
    if "x-ratelimit-reset" in shown:
        reset = int(shown["x-ratelimit-reset"])
        shown["x-ratelimit-reset"] = f"{reset - date * 1000:.0f}ms" if reset > 1e11 else f"{reset - date:.0f}s"
    return response.headers.get("retry-after"), shown
