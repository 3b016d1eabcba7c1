"""The balance, the top-up and the settings of the emulator: every way in, both forms of answers, over real sockets."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from rotator.emulator import Emulator, Operation, Profile, UnknownAccountError, parse_euros, running
from rotator.emulator.wire import read
from testkit.cluster import PATIENCE
from tests.emulator.test_emulator import KEY, NEW, NO_TRUST, PATH, SECRET, Clock, World, in_control, problem, world

BALANCE, TOP_UP, SETTINGS = "/account/get-balance", "/account/top-up", "/account/settings"
LOGIN = {"api_key": KEY, "api_secret": SECRET}
RICH = Profile(Decimal("10.5"), auto_reload=True)
MO, DR = "https://example.com/inbound", "https://example.com/receipts?to=1"


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


# --- who may ask -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [BALANCE, TOP_UP, SETTINGS])
def test_query_and_basic_both_authenticate(path: str) -> None:
    with world(profile=RICH) as w:
        assert ask(w, path).status_code == 200
        assert ask(w, path, auth=None, params=LOGIN).status_code == 200
        assert ask(w, path, params=LOGIN).status_code == 200, "both at once, as long as they say the same"


@pytest.mark.parametrize("path", [TOP_UP, SETTINGS])
def test_form_of_a_post_authenticates(path: str) -> None:
    with world(profile=RICH) as w:
        assert ask(w, path, auth=None, data=LOGIN).status_code == 200
        assert refusal(w.client.request("POST", path, auth=None, json=LOGIN), 401)


@pytest.mark.parametrize("path", [BALANCE, TOP_UP, SETTINGS])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"params": {"api_key": KEY}},
        {"params": {"api_secret": SECRET}},
        {"params": LOGIN | {"api_secret": "Wrong12345"}},
        {"params": LOGIN | {"api_secret": ""}},
        {"params": LOGIN | {"api_key": "nobody01"}},
        {"params": {"api_key": KEY, "api_secret": [SECRET, "Wrong12345"]}},
        {"params": LOGIN, "auth": (KEY, "Wrong12345")},
        {"params": {"api_key": "nobody01", "api_secret": SECRET}, "auth": (KEY, SECRET)},
        {"params": LOGIN, "headers": {"Authorization": "Bearer abc"}},
        {"auth": (KEY, "Wrong12345")},
    ],
)
def test_ambiguous_credentials_are_refused(path: str, options: dict[str, Any]) -> None:
    with world(profile=RICH) as w:
        response = ask(w, path, **{"auth": None, **options})
        assert refusal(response, 401) == "authentication failed"
        assert response.headers["www-authenticate"] == "Basic"
        assert w.emulator.profile(KEY) == RICH


def test_secret_operations_accept_basic_only() -> None:
    with world() as w:
        problem(w.client.get(PATH, auth=None, params=LOGIN), 401, "Unauthorized")
        bodies: list[dict[str, Any]] = [{"json": {"secret": NEW} | LOGIN}, {"data": {"secret": NEW} | LOGIN}]
        for body in bodies:
            problem(w.client.request("POST", PATH, auth=None, **body), 401, "Unauthorized")
        assert w.live() == [SECRET]


def test_every_live_secret_reads_the_balance() -> None:
    with world() as w:
        w.create()
        assert ask(w, BALANCE, auth=(KEY, NEW)).status_code == 200
        w.client.delete(f"{PATH}/{w.ids[0]}")
        assert ask(w, BALANCE).status_code == 401


# --- the balance -----------------------------------------------------------------------------------------------


def test_balance_is_json_unless_xml_is_preferred() -> None:
    with world(profile=Profile(Decimal("10.171275"))) as w:
        response = ask(w, BALANCE)
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {"value": 10.171275, "autoReload": False}
        told = xml(ask(w, BALANCE, headers={"Accept": "application/xml"}))
        assert told == ("accountBalance", {"value": "10.17127500", "autoReload": "false"})


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/json, application/xml", "json"),
        ("application/xml;q=0.5, application/json;q=0.9", "json"),
        ("application/xml;q=oops, */*;q=0.1", "json"),
        ("text/plain", "json"),
        ("application/xml", "xml"),
        ("Application/XML; Q=1", "xml"),
        ("application/xml, */*;q=0.5", "xml"),
        ("application/json;q=0, */*", "xml"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "xml"),
    ],
)
def test_accept_header_decides_the_format(accept: str, kind: str) -> None:
    with world() as w:
        response = ask(w, BALANCE, headers={"Accept": accept})
        assert response.headers["content-type"].partition(";")[0] == f"application/{kind}"


def test_secret_operations_always_answer_json() -> None:
    with world() as w:
        assert "_embedded" in w.client.get(PATH, headers={"Accept": "application/xml"}).json()


@pytest.mark.parametrize(
    ("path", "root"), [(BALANCE, "accountBalance"), (TOP_UP, "response"), (SETTINGS, "account-settings")]
)
def test_refusal_is_xml_when_xml_is_preferred(path: str, root: str) -> None:
    with world() as w:
        response = ask(w, path, auth=None, headers={"Accept": "application/xml"})
        assert response.status_code == 401
        assert xml(response) == (root, {"error-code": "401", "error-code-label": "authentication failed"})


# --- the top-up ------------------------------------------------------------------------------------------------


def test_top_up_adds_to_the_callers_balance_only() -> None:
    with world(f"{KEY}:{SECRET}", f"child001:{SECRET}", profile=RICH, top_up=Decimal("2.25")) as w:
        assert ask(w, TOP_UP).json() == {"response": "success", "error-code": "200", "error-code-label": "success"}
        root, fields = xml(ask(w, TOP_UP, headers={"Accept": "application/xml"}))
        assert (root, fields["response"], fields["error-code"]) == ("response", "success", "200")
        assert ask(w, BALANCE).json() == {"value": 15.0, "autoReload": True}
        assert w.emulator.profile("child001") == RICH


def test_without_auto_reload_there_is_no_top_up() -> None:
    with world() as w:
        assert refusal(ask(w, TOP_UP), 401) == "not auto-reload enabled"
        w.emulator.change_account(KEY, auto_reload=True)
        assert ask(w, TOP_UP).status_code == 200
        assert w.emulator.profile(KEY).balance == 20


@pytest.mark.parametrize("data", [{}, {"trx": ""}, {"TRX": "8ef2447e"}])
def test_top_up_requires_a_transaction(data: dict[str, str]) -> None:
    with world(profile=RICH) as w:
        assert refusal(w.client.post(TOP_UP, data=data), 401) == "trx is required"
        assert w.emulator.profile(KEY) == RICH


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"trx": "8ef2447e"}', "application/json"),
        (b"trx=%ff", "application/x-www-form-urlencoded"),
        (b"trx=\xff", "application/x-www-form-urlencoded"),
        (b"&".join(b"trx=1" for _ in range(101)), "application/x-www-form-urlencoded"),
    ],
)
def test_body_without_a_form_is_refused(content: bytes, kind: str) -> None:
    with world(profile=RICH) as w:
        response = w.client.post(TOP_UP, content=content, headers={"Content-Type": kind})
        assert "form" in refusal(response, 400)
        assert w.emulator.profile(KEY) == RICH


# --- the settings ----------------------------------------------------------------------------------------------


def test_settings_without_a_change_show_usual_limits() -> None:
    with world() as w:
        assert w.client.post(SETTINGS).json() == {
            "mo-callback-url": "",
            "dr-callback-url": "",
            "max-outbound-request": 30,
            "max-inbound-request": 30,
            "max-calls-per-second": 30,
        }
        root, fields = xml(w.client.post(SETTINGS, headers={"Accept": "application/xml"}))
        assert (root, fields["max-calls-per-second"]) == ("account-settings", "30")


@pytest.mark.parametrize(("mo", "dr"), [("moCallBackUrl", "drCallBackUrl"), ("moCallbackUrl", "drCallbackUrl")])
def test_callback_is_set_and_unset_in_either_spelling(mo: str, dr: str) -> None:
    def callbacks(response: httpx.Response) -> tuple[str, str]:
        return response.json()["mo-callback-url"], response.json()["dr-callback-url"]

    with world() as w:
        assert callbacks(w.client.post(SETTINGS, data={mo: MO})) == (MO, "")
        assert callbacks(w.client.post(SETTINGS, data={dr: DR})) == (MO, DR)
        assert callbacks(w.client.post(SETTINGS, data={"something": "else"})) == (MO, DR)
        assert callbacks(w.client.post(SETTINGS, data={mo: ""})) == ("", DR)
        assert callbacks(w.client.post(SETTINGS)) == ("", DR)


def test_documented_spelling_of_a_callback_wins() -> None:
    with world() as w:
        both = {"moCallbackUrl": DR, "moCallBackUrl": MO}
        assert w.client.post(SETTINGS, data=both).json()["mo-callback-url"] == MO
        assert "moCallbackUrl" in refusal(w.client.post(SETTINGS, data=both | {"moCallbackUrl": "no URL"}), 420)


def test_callback_in_xml_keeps_its_ampersands() -> None:
    with world() as w:
        url = "https://example.com/?a=1&b=<2>"
        _, fields = xml(w.client.post(SETTINGS, data={"moCallBackUrl": url}, headers={"Accept": "application/xml"}))
        assert fields["mo-callback-url"] == url


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


# --- limits and faults -----------------------------------------------------------------------------------------


def test_calls_per_second_are_limited_by_account() -> None:
    clock = Clock()
    with world(f"{KEY}:{SECRET}", f"child001:{SECRET}", max_calls_per_second=3, clock=clock) as w:
        assert w.client.post(SETTINGS).json()["max-calls-per-second"] == 3
        assert [w.client.get(PATH).status_code for _ in range(2)] == [200, 200]
        response = ask(w, BALANCE)
        assert refusal(response, 429) == "rate limit hit"
        assert response.headers["retry-after"] == "1"
        assert problem(w.create(), 429, "Rate Limit Hit")
        assert w.live() == [SECRET], "what is refused is not done"
        assert ask(w, BALANCE, auth=("child001", SECRET)).status_code == 200
        clock.now += timedelta(seconds=1)
        assert [ask(w, BALANCE).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_unauthenticated_calls_do_not_count() -> None:
    with world(max_calls_per_second=1, clock=Clock()) as w:
        assert [ask(w, BALANCE, auth=(KEY, "Wrong12345")).status_code for _ in range(3)] == [401] * 3
        assert ask(w, BALANCE).status_code == 200


@pytest.mark.parametrize(("path", "name"), [(BALANCE, "balance"), (TOP_UP, "top-up"), (SETTINGS, "settings")])
def test_faults_hit_these_operations_as_well(path: str, name: str) -> None:
    with world(profile=RICH, faults=[f"{name}:429@7s", f"{name}:503", f"{name}:drop-before", "list:500"]) as w:
        limited = ask(w, path)
        assert refusal(limited, 429) == "rate limit hit"
        assert limited.headers["retry-after"] == "7"
        assert ask(w, path).status_code == 503
        with pytest.raises(httpx.RemoteProtocolError):
            ask(w, path)
        assert w.emulator.profile(KEY) == RICH
        assert ask(w, path).status_code == 200
        assert [request.status for request in w.emulator.requests] == [429, 503, None, 200]


def test_top_up_with_lost_answer_is_applied() -> None:
    with world(profile=RICH, faults=["top-up:drop-after", "top-up:504-after"]) as w:
        with pytest.raises(httpx.RemoteProtocolError):
            ask(w, TOP_UP)
        assert ask(w, TOP_UP).status_code == 504
        assert w.emulator.profile(KEY).balance == Decimal("30.5")


# --- who runs it -----------------------------------------------------------------------------------------------


def test_control_interface_sets_balance_and_auto_reload() -> None:
    path = f"/_emulator/accounts/{KEY}"
    with world() as w:
        assert w.client.get(path).json() == {"balance": "10", "auto_reload": False}
        changed = w.client.patch(path, json={"balance": "0.5", "auto_reload": True}, auth=in_control)
        assert changed.json() == {"balance": "0.5", "auto_reload": True}
        assert ask(w, BALANCE).json() == {"value": 0.5, "autoReload": True}
        w.client.patch(path, json={"auto_reload": False}, auth=in_control)
        assert w.emulator.profile(KEY) == Profile(Decimal("0.5"), auto_reload=False)
        assert not w.emulator.requests[1:], "looking and setting is not asking the provider"


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"balance": -1}', b'{"balance": "NaN"}', b'{"auto_reload": "yes"}', b'{"secret": "Secret12345"}'],
)
def test_invalid_change_is_refused(content: bytes) -> None:
    with world() as w:
        refused = w.client.patch(f"/_emulator/accounts/{KEY}", content=content, auth=in_control)
        body = problem(refused, 400, "Bad Request")
        assert SECRET not in str(body)
        assert w.emulator.profile(KEY) == Profile()


def test_unknown_account_cannot_be_changed() -> None:
    with world() as w:
        refused = w.client.patch("/_emulator/accounts/nobody01", json={"balance": 1}, auth=in_control)
        problem(refused, 404, "Invalid API Key")
        with pytest.raises(UnknownAccountError):
            w.emulator.change_account("nobody01", auto_reload=True)
        with pytest.raises(UnknownAccountError):
            w.emulator.profile("nobody01")


def test_request_log_names_accounts_and_no_secret() -> None:
    with world(profile=RICH) as w:
        ask(w, BALANCE, auth=None, params=LOGIN)
        ask(w, TOP_UP, auth=None, data=LOGIN)
        ask(w, SETTINGS, auth=None, params=LOGIN | {"api_secret": "Wrong12345"})
        ask(w, SETTINGS, auth=None, params={"api_key": SECRET, "api_secret": KEY})
        ask(w, SETTINGS, auth=None)
        shown = w.client.get("/_emulator/requests")
        assert [
            (entry["operation"], entry["api_key"], entry["status"], entry["authenticated_as"])
            for entry in shown.json()["requests"]
        ] == [
            ("balance", KEY, 200, KEY),
            ("top-up", KEY, 200, KEY),
            ("settings", KEY, 401, None),
            ("settings", "", 401, None),
            ("settings", "", 401, None),
        ]
        assert SECRET not in shown.text
        assert "Wrong12345" not in shown.text


def test_parsed_call_does_not_show_its_secret() -> None:
    body = f"api_key={KEY}&api_secret={SECRET}&trx=1".encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    scope = {"type": "http", "method": "POST", "path": TOP_UP, "headers": [], "query_string": body, "path_params": {}}
    call = asyncio.run(read(Request(scope, receive), Operation.TOP_UP))
    assert call.credentials == (KEY, SecretStr(SECRET))
    assert call.form == {"trx": "1"}
    assert SECRET not in repr(call)


@pytest.mark.parametrize("text", ["", "-1", "1,5", "1.", ".5", "NaN", "1e9", "ten", "1234567890"])
def test_invalid_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="euros"):
        parse_euros(text)


def test_amount_is_read_exactly() -> None:
    assert parse_euros("10.17127500") == Decimal("10.171275")


def test_command_passes_options_to_the_emulator() -> None:
    options = "--balance 2.5 --top-up 1.25 --auto-reload --max-calls-per-second 4 --check-callbacks"
    arguments = [sys.executable, "-m", "rotator", "emulator", "--port", "0", "--account", f"{KEY}:{SECRET}"]
    with subprocess.Popen([*arguments, *options.split()], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert found is not None
            with httpx.Client(
                base_url=found[0], auth=(KEY, SECRET), verify=NO_TRUST, trust_env=False, timeout=PATIENCE
            ) as client:
                assert client.post(TOP_UP, data={"trx": "1"}).status_code == 200
                assert client.get(BALANCE).json() == {"value": 3.75, "autoReload": True}
                assert client.post(SETTINGS).json()["max-calls-per-second"] == 4
                refused = client.post(SETTINGS, data={"moCallBackUrl": "http://192.0.2.1/"})
                assert "loopback" in refusal(refused, 420)
        finally:
            server.send_signal(signal.SIGINT)
