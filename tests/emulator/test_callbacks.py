"""Which callback URLs are taken: their form, and whether they answer."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from rotator.emulator import Emulator, Profile, running
from testkit.cluster import PATIENCE
from tests.emulator.harness import KEY, MO, SETTINGS, refusal, world


@pytest.mark.parametrize(
    "url",
    [
        "example.com",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://user:Secret12345@example.com/",
        "https://exa mple.com/",
        "https://example.com/\n",
        "https://-example.com/",
        "https://example.com:65536/",
        "https://example.com:0/",
        "https://[::1::2]/",
        "https://example.com/größe",
        "javascript:alert(1)",
        "https://example.com/" + "x" * 2048,
    ],
)
def test_invalid_callback_is_refused_and_changes_nothing(url: str) -> None:
    with world() as w:
        response = w.client.post(SETTINGS, data={"moCallBackUrl": MO, "drCallBackUrl": url})
        label = refusal(response, 420)
        assert label.startswith("drCallBackUrl: ")
        assert url not in label
        assert w.emulator.profile(KEY) == Profile()


@pytest.mark.parametrize(
    "url", ["http://localhost", "http://127.0.0.1:8080/x", "https://[::1]:8443/?q", "https://a.b-c.example#!$&'()*+,;="]
)
def test_ordinary_callback_is_accepted_and_not_called(url: str) -> None:
    with world() as w:
        assert w.client.post(SETTINGS, data={"moCallBackUrl": url}).json()["mo-callback-url"] == url


@contextmanager
def hooks() -> Iterator[str]:
    """A server with callbacks of every kind."""

    async def hook(request: Request) -> Response:
        if request.path_params["kind"] == "moved":
            return RedirectResponse("/200")
        return Response(status_code=int(request.path_params["kind"]))

    emulator = Emulator([])
    emulator.app = Starlette(routes=[Route("/{kind}", hook)])
    with running(emulator) as url:
        yield url


def test_checked_callback_must_answer_200() -> None:
    with hooks() as url, world(check_callbacks=True) as w:
        assert w.client.post(SETTINGS, data={"moCallBackUrl": f"{url}/200"}).status_code == 200
        before = w.emulator.profile(KEY)
        for kind, why in [("204", "answered 204"), ("500", "answered 500"), ("moved", "answered 307")]:
            changes = {"moCallBackUrl": f"{url}/200?again", "drCallBackUrl": f"{url}/{kind}"}
            assert why in refusal(w.client.post(SETTINGS, data=changes), 420)
        assert w.emulator.profile(KEY) == before
        assert w.client.post(SETTINGS, data={"moCallBackUrl": ""}).json()["mo-callback-url"] == ""


def test_checked_callback_must_be_a_local_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with world(check_callbacks=True) as w:
        for url in f"http://127.0.0.1:{port}/":
            refusal(w.client.post(SETTINGS, data={"moCallBackUrl": url}), 420)
        for url in ("http://192.0.2.1/", "http://example.com/", "http://localhost.example.com/", "http://0.0.0.0/"):
            label = refusal(w.client.post(SETTINGS, data={"moCallBackUrl": url}), 420)
            assert "loopback" in label
        assert w.emulator.profile(KEY) == Profile()


def test_checked_callback_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotator.emulator.callbacks.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, world(check_callbacks=True) as w:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        started = time.monotonic()
        assert "does not answer" in refusal(w.client.post(SETTINGS, data={"moCallBackUrl": url}), 420)
        assert time.monotonic() - started < PATIENCE / 2
