"""Calls as they come off the wire, and answers as they go onto it."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request

from rotator.emulator import Operation, Profile
from rotator.emulator.wire import read
from testkit.cluster import PATIENCE
from tests.emulator.harness import (
    BALANCE,
    KEY,
    LOGIN,
    NEW,
    NO_TRUST,
    PATH,
    RICH,
    SECRET,
    SETTINGS,
    TOP_UP,
    ask,
    basic,
    problem,
    refusal,
    world,
    xml,
)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"secret=Another67890", "body"),
        (b'["Another67890"]', "body"),
        (b"[" * 100_000, "body"),
        (b"{}", "secret"),
        (b'{"secret": null}', "secret"),
        (b'{"secret": 12345678}', "secret"),
        (b'{"secret": "Aa345678\\ud800"}', "secret"),
        (b'{"secret": "Aa345678\xff"}', "secret"),
    ],
)
def test_body_without_a_secret_is_refused(content: bytes, name: str) -> None:
    with world() as w:
        body = problem(w.client.post(PATH, content=content), 400, "Bad Request")
        assert [invalid["name"] for invalid in body["invalid_parameters"]] == [name]
        assert w.live() == [SECRET]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Basic")],
        [("Authorization", "Basic !!!")],
        [("Authorization", basic(f"{KEY}{SECRET}"))],
        [("Authorization", basic(f"{KEY}:{SECRET}").replace("Basic", "Bearer"))],
        [("Authorization", basic(f"{KEY}:{SECRET}") + "\u00e9")],
        [("Authorization", basic(f"{KEY}:".encode() + b"\xff"))],
        [("Authorization", basic(f"{KEY}:{SECRET}").replace("Basic ", "Basic !"))],
        [("Authorization", basic(f"{KEY}:{SECRET}").replace("Basic ", "Basic  "))],
        [("Authorization", basic(f"{KEY}:{SECRET}"))] * 2,
    ],
)
def test_undocumented_form_of_credentials_is_refused(headers: list[tuple[str, str]]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    with world() as w:
        response = httpx.get(f"{w.url}{PATH}", headers=encoded, verify=NO_TRUST, trust_env=False, timeout=PATIENCE)
        body = problem(response, 401, "Unauthorized")
        assert "format" in body["detail"]
        assert response.headers["www-authenticate"] == "Basic"


@pytest.mark.parametrize("login", [(KEY, "Wrong12345"), (KEY, ""), (KEY, SECRET + "6"), ("nobody01", SECRET), ("", "")])
def test_secret_of_another_key_is_refused(login: tuple[str, str]) -> None:
    with world() as w:
        body = problem(w.client.get(PATH, auth=login), 401, "Unauthorized")
        assert "format" not in body["detail"]


def test_scheme_may_be_spelled_in_any_case() -> None:
    with world() as w:
        header = basic(f"{KEY}:{SECRET}").replace("Basic", "bAsIc")
        assert w.client.get(PATH, headers={"Authorization": header}).status_code == 200


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


def test_parsed_call_does_not_show_its_secret() -> None:
    body = f"api_key={KEY}&api_secret={SECRET}&trx=1".encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    scope = {"type": "http", "method": "POST", "path": TOP_UP, "headers": [], "query_string": body, "path_params": {}}
    call = asyncio.run(read(Request(scope, receive), Operation.TOP_UP))
    assert call.credentials == (KEY, SecretStr(SECRET))
    assert call.form == {"trx": "1"}
    assert SECRET not in repr(call)
