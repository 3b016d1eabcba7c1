"""The control interface over HTTP: faults, accounts and the requests so far."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from rotator.emulator import Profile, UnknownAccountError, parse_primary
from testkit.cluster import PATIENCE
from tests.emulator.harness import (
    BALANCE,
    CONTROL_TOKEN,
    KEY,
    LOGIN,
    NEW,
    PATH,
    RICH,
    SECRET,
    SETTINGS,
    TOP_UP,
    Clock,
    ask,
    ids,
    in_control,
    limited,
    problem,
    world,
)


def test_faults_are_added_shown_and_cleared_over_http() -> None:
    with world() as w:
        added = w.client.post("/_emulator/faults", json={"faults": ["list:503", "any:429:*@2s"]}, auth=in_control)
        assert (added.status_code, added.json()) == (201, {"faults": ["list:503:1", "any:429:*@2000ms"]})
        assert [w.client.get(PATH).status_code for _ in range(3)] == [503, 429, 429]
        assert w.client.delete("/_emulator/faults", auth=in_control).status_code == 204
        assert w.client.get(PATH).status_code == 200


@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer Wrong12345", f"Basic {CONTROL_TOKEN}"])
def test_change_without_control_token_is_refused(token: str | None) -> None:
    def sent(request: httpx.Request) -> httpx.Request:
        if token is not None:
            request.headers["Authorization"] = token
        return request

    with world(faults=["list:500"]) as w:
        for method, path in [("POST", "faults"), ("DELETE", "faults"), ("PATCH", f"accounts/{KEY}")]:
            changes = {"faults": ["list:503"], "balance": "1"}
            refused = w.client.request(method, f"/_emulator/{path}", json=changes, auth=sent)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert [str(fault) for fault in w.emulator.faults.pending()] == ["list:500:1"]
        assert w.emulator.profile(KEY).balance == 10


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read_with_a_body_changes_nothing(method: str) -> None:
    with world() as w:
        before = w.emulator.profile(KEY)
        body = {"balance": "77", "auto_reload": True}
        assert w.client.request(method, f"/_emulator/accounts/{KEY}", json=body).status_code == 200
        assert w.emulator.profile(KEY) == before


@pytest.mark.parametrize("token", ["t\xf6k\xe9n", "\u0442\u043e\u043a\u0435\u043d", "voil\xe0"])
def test_non_ascii_control_token_is_accepted_in_utf8(token: str) -> None:
    """The last byte of the third one is a blank in Latin-1."""
    with world(control_token=SecretStr(token)) as w:
        for sent, status in ((token, 204), (token[:-1], 401)):
            headers = [(b"Authorization", b"Bearer " + sent.encode())]
            assert (
                httpx.delete(
                    f"{w.url}/_emulator/faults", headers=headers, trust_env=False, timeout=PATIENCE
                ).status_code
                == status
            )


def test_emulator_without_control_token_refuses_every_change() -> None:
    with world(control_token=None) as w:
        assert w.client.delete("/_emulator/faults", auth=in_control).status_code == 401


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("127.0.0.1:8081", 200), ("evil.example.com", 400)])
def test_control_interface_answers_its_own_names_only(host: str, status: int) -> None:
    with world() as w:
        for path in ("requests", f"accounts/{KEY}"):
            assert w.client.get(f"/_emulator/{path}", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[]", b'{"faults": 1}', b'{"faults": ["list:503", "list:oops"]}']
)
def test_invalid_faults_are_refused_and_not_added(content: bytes) -> None:
    with world() as w:
        problem(w.client.post("/_emulator/faults", content=content, auth=in_control), 400, "Bad Request")
        assert w.emulator.faults.pending() == ()


def test_request_log_has_operation_caller_and_status() -> None:
    clock = Clock()
    options: dict[str, Any] = {"primaries": [parse_primary(f"{KEY}=child001")], "clock": clock}
    with world(f"{KEY}:{SECRET}", "child001:Secret54321", faults=["get:drop-after", "revoke:503"], **options) as w:
        new_id = w.client.post("/accounts/child001/secrets", json={"secret": NEW}).json()["id"]
        with pytest.raises(httpx.RemoteProtocolError):
            w.client.get(f"{PATH}/{w.ids[0]}")
        w.client.delete(f"{PATH}/{w.ids[0]}")
        w.client.get(PATH, auth=(KEY, "Wrong12345"))
        entries = [
            (str(e.operation), e.api_key, e.secret_id, e.status, e.authenticated_as) for e in w.emulator.requests
        ]
        assert entries == [
            ("create", "child001", new_id, 201, KEY),
            ("get", KEY, w.ids[0], None, KEY),
            ("revoke", KEY, w.ids[0], 503, None),
            ("list", KEY, None, 401, None),
        ]
        assert {e.time for e in w.emulator.requests} == {clock.now}
        shown = w.client.get("/_emulator/requests", auth=None).json()["requests"]
        assert shown[0] == {
            "time": "2026-01-01T12:00:00Z",
            "operation": "create",
            "api_key": "child001",
            "secret_id": new_id,
            "status": 201,
            "authenticated_as": KEY,
        }
        assert len(shown) == 4


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


def test_control_interface_sets_faults_of_a_key() -> None:
    with world() as w:
        faults = [f"list:lag:20s@key={KEY}", "any:429@bare"]
        added = w.client.post("/_emulator/faults", json={"faults": faults}, auth=in_control)
        assert added.json() == {"faults": [f"list:lag:*@20000ms@key={KEY}", "any:429:1@bare"]}
        assert limited(w.client.get(PATH)) == (None, {})
        w.create()
        assert len(ids(w)) == 1
