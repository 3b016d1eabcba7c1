"""The emulator behaves like the provider, and goes wrong exactly as told: over real sockets."""

import base64
import contextlib
import itertools
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from pydantic import SecretStr

from rotator.emulator import (
    Account,
    Emulator,
    Fault,
    InvalidSecretError,
    LastSecretError,
    Operation,
    TooManySecretsError,
    UnknownAccountError,
    UnknownSecretError,
    parse_account,
    parse_fault,
    parse_primary,
    running,
)
from testkit.cluster import PATIENCE, at_best

KEY, SECRET, NEW = "abcd1234", "Secret12345", "Another67890"
CONTROL_TOKEN = "Control12345"
PATH = f"/accounts/{KEY}/secrets"
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the system's certificates takes longer than a test


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


# --- the API ---------------------------------------------------------------------------------------------------


def test_list_has_ids_dates_and_links_only() -> None:
    with world(clock=Clock()) as w:
        response = w.client.get(PATH)
        assert response.status_code == 200
        assert response.json() == {
            "_links": {"self": {"href": PATH}},
            "_embedded": {
                "secrets": [
                    {
                        "_links": {"self": {"href": f"{PATH}/{w.ids[0]}"}},
                        "id": w.ids[0],
                        "created_at": "2026-01-01T12:00:00Z",
                    }
                ]
            },
        }


def test_created_secret_is_listed_and_authenticates() -> None:
    with world() as w:
        created = w.create()
        assert created.status_code == 201
        listed = w.client.get(PATH, auth=(KEY, NEW)).json()["_embedded"]["secrets"]
        assert [info["id"] for info in listed] == [w.ids[0], created.json()["id"]]
        assert listed[1] == created.json()


def test_secret_is_fetched_by_id_or_link() -> None:
    with world() as w:
        created = w.create().json()
        assert w.client.get(f"{PATH}/{created['id']}").json() == created
        assert w.client.get(created["_links"]["self"]["href"]).json() == created


def test_revoked_secret_stops_authenticating_at_once() -> None:
    with world() as w:
        w.create()
        response = w.client.delete(f"{PATH}/{w.ids[0]}", auth=(KEY, NEW))
        assert (response.status_code, response.content) == (204, b"")
        assert w.client.get(PATH).status_code == 401
        assert w.live() == [NEW]


def test_secret_may_revoke_itself() -> None:
    with world() as w:
        w.create()
        assert w.client.delete(f"{PATH}/{w.ids[0]}").status_code == 204
        assert w.live() == [NEW]


def test_deleting_the_last_secret_is_refused() -> None:
    with world() as w:
        problem(w.client.delete(f"{PATH}/{w.ids[0]}"), 403, "Secret Deletion Forbidden")
        assert w.live() == [SECRET]


@pytest.mark.parametrize(("options", "status"), [({}, 400), ({"too_many_status": 403}, 403)])
def test_full_account_takes_no_more_secrets(options: dict[str, Any], status: int) -> None:
    with world(**options) as w:
        assert w.create().status_code == 201
        body = problem(w.create("YetAnother1"), status, "Secret Addition Forbidden")
        assert "invalid_parameters" not in body
        assert w.live() == [SECRET, NEW]


def test_max_secrets_is_an_option() -> None:
    with world(max_secrets=3) as w:
        assert [w.create(f"Secret-no-{n}").status_code for n in range(3)] == [201, 201, 400]


def test_concurrent_creates_do_not_overfill_the_account() -> None:
    with world() as w, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda n: w.create(f"Secret-no-{n}").status_code, range(8)))
        assert sorted(statuses) == [201] + [400] * 7
        assert len(w.live()) == 2


def test_same_value_twice_has_two_secrets() -> None:
    with world() as w:
        created = w.create(SECRET).json()
        assert created["id"] != w.ids[0]
        assert w.client.delete(f"{PATH}/{w.ids[0]}").status_code == 204
        assert w.client.get(PATH).status_code == 200


@pytest.mark.parametrize("value", ["Aa345678", "Aa34567890123456789012345", "pass Word:0", "Größe-12345"])
def test_valid_value_is_created_and_authenticates(value: str) -> None:
    with world() as w:
        assert w.create(value).status_code == 201
        assert w.client.get(PATH, headers={"Authorization": basic(f"{KEY}:{value}")}).status_code == 200


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "8 to 25"),
        ("Aa34567", "8 to 25"),
        ("Aa345678901234567890123456", "8 to 25"),
        ("AA345678", "lower case"),
        ("aa345678", "upper case"),
        ("Aabcdefg", "digit"),
        ("--------", "lower case character and an upper case character and a digit"),
        ("Äöabcd12", "upper case"),
    ],
)
def test_invalid_value_is_refused_with_the_reason(value: str, reason: str) -> None:
    with world() as w:
        body = problem(w.create(value), 400, "Bad Request")
        (invalid,) = body["invalid_parameters"]
        assert invalid["name"] == "secret"
        assert reason in invalid["reason"]
        assert w.live() == [SECRET]


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


def test_invalid_value_is_named_when_account_is_full() -> None:
    with world() as w:
        w.create()
        problem(w.create("short"), 400, "Bad Request")


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


def test_primary_manages_the_secrets_of_its_secondaries() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321", primaries=[parse_primary(f"{KEY}=child001")]) as w:
        created = w.client.post("/accounts/child001/secrets", json={"secret": NEW})
        assert created.status_code == 201
        assert w.client.get("/accounts/child001/secrets", auth=("child001", NEW)).status_code == 200
        assert w.client.delete(f"/accounts/child001/secrets/{created.json()['id']}").status_code == 204


def test_other_accounts_cannot_see_whether_one_exists() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321", "stranger:Secret99999", primaries=[]) as w:
        details = {
            name: problem(w.client.get(f"/accounts/{name}/secrets"), 404, "Invalid API Key")
            for name in ("stranger", "nobody01")
        }
        assert [body["detail"].replace(name, "") for name, body in details.items()] == ["API key '' not found"] * 2


def test_secondary_has_no_right_over_its_primary() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321", primaries=[parse_primary(f"{KEY}=child001")]) as w:
        problem(w.client.get(PATH, auth=("child001", "Secret54321")), 404, "Invalid API Key")


def test_secret_id_is_unknown_in_other_accounts() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321") as w:
        (foreign,) = w.emulator.live("child001")
        for secret_id in (foreign, "no-such-id"):
            problem(w.client.get(f"{PATH}/{secret_id}"), 404, "Invalid ID")
            problem(w.client.delete(f"{PATH}/{secret_id}"), 404, "Invalid ID")
        assert list(w.emulator.live("child001")) == [foreign]


@pytest.mark.parametrize(("method", "path"), [("PUT", PATH), ("DELETE", PATH), ("POST", f"{PATH}/id"), ("PATCH", PATH)])
def test_wrong_method_names_the_allowed_ones(method: str, path: str) -> None:
    with world() as w:
        response = w.client.request(method, path)
        problem(response, 405, "Method Not Allowed")
        assert "GET" in response.headers["allow"]


@pytest.mark.parametrize("path", ["/", "/accounts", f"/accounts/{KEY}", f"{PATH}/", f"{PATH}/id/more"])
def test_unknown_path_is_a_problem(path: str) -> None:
    with world() as w:
        problem(w.client.get(path), 404, "Not Found")


def test_new_secret_authenticates_only_after_propagation() -> None:
    clock = Clock()
    with world(propagation=timedelta(seconds=30), clock=clock) as w:
        assert w.create().json()["created_at"] == "2026-01-01T12:00:00Z"
        assert len(w.client.get(PATH).json()["_embedded"]["secrets"]) == 2
        clock.now += timedelta(seconds=29)
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 401
        assert not w.emulator.authenticates(KEY, SecretStr(NEW))
        clock.now += timedelta(seconds=1)
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 200
        assert w.emulator.authenticates(KEY, SecretStr(NEW))


def test_latency_delays_each_answer_separately() -> None:
    with world(latency=timedelta(milliseconds=200)) as w, ThreadPoolExecutor(5) as pool:

        def ask() -> None:
            started = time.monotonic()
            list(pool.map(lambda _: w.client.get(PATH), range(5)))
            assert time.monotonic() - started >= 0.2

        at_best(0.9, ask)


# --- faults ----------------------------------------------------------------------------------------------------


def test_create_dropped_before_is_not_done() -> None:
    with world(faults=["create:drop-before"]) as w:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            w.create()
        assert w.live() == [SECRET]
        assert w.create().status_code == 201


def test_create_with_drop_after_is_applied() -> None:
    with world(faults=["create:drop-after"]) as w:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            w.create()
        assert w.live() == [SECRET, NEW]


def test_reused_connection_is_dropped() -> None:
    with world() as w:
        assert w.client.get(PATH).status_code == 200
        w.emulator.faults.add("list:drop-before")
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            w.client.get(PATH)
        assert w.client.get(PATH).status_code == 200


def test_drop_sends_not_a_single_byte() -> None:
    with world(faults=["list:drop-after"]) as w:
        host, port = w.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as raw:
            raw.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(f'{KEY}:{SECRET}')}\r\n\r\n".encode())
            assert raw.recv(1) == b""


def test_drop_under_tls_is_a_drop_too(tmp_path: Path) -> None:
    with world(tls=trustme.CA(), folder=tmp_path, faults=["create:drop-after"]) as w:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            w.create()
        assert w.live() == [SECRET, NEW]
        assert w.client.get(PATH).status_code == 200


def test_drop_leaves_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with world(faults=["list:drop-after"]) as w, pytest.raises(httpx.RemoteProtocolError):
        w.client.get(PATH)
    assert [record.message for record in caplog.records if record.name.startswith("uvicorn.error")] == []


@pytest.mark.parametrize(("fault", "retry_after"), [("create:429", "1"), ("create:429@7", "7"), ("create:429@0s", "0")])
def test_rate_limited_call_has_retry_after_only(fault: str, retry_after: str) -> None:
    with world(faults=[fault]) as w:
        response = w.create()
        assert problem(response, 429, "Rate Limit Hit")
        assert response.headers["retry-after"] == retry_after
        assert w.live() == [SECRET]


@pytest.mark.parametrize(("fault", "live"), [("503", [SECRET]), ("504-after", [SECRET, NEW]), ("522", [SECRET])])
def test_gateway_fault_answers_with_a_page(fault: str, live: list[str]) -> None:
    with world(faults=[f"create:{fault}"]) as w:
        response = w.create()
        assert response.status_code == int(fault[:3])
        assert response.headers["content-type"].startswith("text/html")
        assert "<html>" in response.text
        assert w.live() == live


def test_slow_fault_applies_at_once_and_answers_late() -> None:
    with world(faults=["create:slow@2s"]) as w, ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        answer = pool.submit(w.create)
        assert eventually(lambda: w.live() == [SECRET, NEW])
        assert not answer.done()
        assert answer.result().status_code == 201
        assert time.monotonic() - started >= 2


def test_late_fault_applies_after_the_client_disconnects() -> None:
    with world(faults=["create:late@2s"]) as w:
        with pytest.raises(httpx.ReadTimeout):
            w.client.post(PATH, json={"secret": NEW}, timeout=httpx.Timeout(PATIENCE, read=0.05))
        w.client.close()
        assert w.live() == [SECRET]
        assert eventually(lambda: w.live() == [SECRET, NEW])


def test_late_create_sees_the_later_account() -> None:
    with world(faults=["create:late@2s"]) as w, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(w.create, "TooLate12345")
        assert eventually(lambda: w.emulator.faults.pending() == ())
        assert w.create().status_code == 201
        assert answer.result().status_code == 400
        assert w.live() == [SECRET, NEW]


def test_refusal_fault_changes_nothing() -> None:
    with world(faults=["create:401"]) as w:
        problem(w.create(NEW), 401, "Unauthorized")
        assert w.live() == [SECRET]


def test_stale_list_lacks_the_latest_secret() -> None:
    with world(faults=["list:stale:2"]) as w:
        assert len(w.client.get(PATH).json()["_embedded"]["secrets"]) == 1
        w.create(NEW)
        assert len(w.client.get(PATH).json()["_embedded"]["secrets"]) == 1
        assert len(w.client.get(PATH).json()["_embedded"]["secrets"]) == 2


def test_fault_hits_its_operation_count_times() -> None:
    with world(faults=["get:503:2"]) as w:
        path = f"{PATH}/{w.ids[0]}"
        assert [w.client.get(p).status_code for p in (path, PATH, path, path)] == [503, 200, 503, 200]


@pytest.mark.parametrize("count", ["*", "0"])
def test_endless_fault_hits_until_cleared(count: str) -> None:
    with world(faults=[f"any:500:{count}"]) as w:
        assert [w.client.get(PATH).status_code, w.create().status_code, w.client.get(PATH).status_code] == [500] * 3
        w.emulator.faults.clear()
        assert w.client.get(PATH).status_code == 200


def test_faults_come_in_the_order_they_were_added() -> None:
    with world(faults=["list:500", "any:501", "list:502"]) as w:
        assert [w.client.get(PATH).status_code for _ in range(4)] == [500, 501, 502, 200]


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


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("create:drop-after", Fault(Operation.CREATE, "drop-after")),
        ("create:drop-after:2", Fault(Operation.CREATE, "drop-after", 2)),
        ("any:503:*", Fault(None, "503", None)),
        ("any:599-after:0", Fault(None, "599-after", None)),
        ("list:429:3@5", Fault(Operation.LIST, "429", 3, timedelta(seconds=5))),
        ("revoke:late@250ms", Fault(Operation.REVOKE, "late", 1, timedelta(milliseconds=250))),
        ("get:slow:*@2s", Fault(Operation.GET, "slow", None, timedelta(seconds=2))),
    ],
)
def test_fault_is_parsed_and_printed(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not OPERATION:FAULT"),
        ("create", "is not OPERATION:FAULT"),
        ("create:drop-after:x", "is not OPERATION:FAULT"),
        ("create:slow@soon", "is not OPERATION:FAULT"),
        ("create:slow@-1s", "is not OPERATION:FAULT"),
        ("update:503", "is no operation"),
        ("create:404", "is no fault"),
        ("create:stale", "only a list can be stale"),
        ("any:stale", "only a list can be stale"),
        ("create:429-after", "is no fault"),
        ("create:drop", "is no fault"),
        ("create:503@5s", "take a detail"),
        ("create:429@500ms", "whole seconds"),
    ],
)
def test_invalid_fault_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_fault(text)


def test_fault_in_code_must_hit_once() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Fault(None, "503", 0)


# --- what was asked, and what must not be told -----------------------------------------------------------------


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


def test_no_secret_appears_in_answers_logs_or_reprs(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    refused = ["short-1", "ALLUPPERCASE1", "Full12345678"]
    seen: list[str] = []
    with world(faults=["get:503-after", "get:drop-after"]) as w:
        seen += [w.create(value).text for value in (NEW, *refused)]
        seen.append(w.client.post(PATH, content=f'{{"secret": "{NEW}"').text)
        seen.append(w.client.post("/_emulator/faults", content=f'{{"faults": "{NEW}"', auth=in_control).text)
        seen += [w.client.get(path).text for path in (PATH, f"{PATH}/{w.ids[0]}", "/_emulator/requests")]
        with pytest.raises(httpx.RemoteProtocolError):
            w.client.get(f"{PATH}/{w.ids[0]}")
        seen.append(w.client.get(PATH, auth=(KEY, "Wrong12345")).text)
        seen += [repr(thing) for thing in (w.emulator.requests, w.emulator.live(KEY), parse_account(f"{KEY}:{SECRET}"))]
    logged = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    printed = "".join(capfd.readouterr())
    assert "emulator.answered" in printed + logged  # or the next line looks for secrets where nothing is
    text = "\n".join([*seen, logged, printed])
    assert [value for value in (SECRET, NEW, *refused, "Wrong12345") if value in text] == []


# --- what only the provider knows ------------------------------------------------------------------------------


def test_manual_changes_follow_the_providers_rules() -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    (first,) = emulator.live(KEY)
    with pytest.raises(LastSecretError):
        emulator.remove_secret(KEY, first)
    with pytest.raises(InvalidSecretError):
        emulator.add_secret(KEY, SecretStr("short"))
    second = emulator.add_secret(KEY, SecretStr(NEW))
    with pytest.raises(TooManySecretsError):
        emulator.add_secret(KEY, SecretStr("YetAnother1"))
    emulator.remove_secret(KEY, first)
    assert dict(emulator.live(KEY)) == {second: SecretStr(NEW)}
    with pytest.raises(UnknownSecretError):
        emulator.remove_secret(KEY, first)
    with pytest.raises(UnknownAccountError):
        emulator.add_secret("nobody01", SecretStr(NEW))


def test_force_removes_even_the_last_secret() -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    (only,) = emulator.live(KEY)
    emulator.remove_secret(KEY, only, force=True)
    assert emulator.live(KEY) == {}
    assert not emulator.authenticates(KEY, SecretStr(SECRET))


def test_same_key_twice_has_two_secrets() -> None:
    accounts = [parse_account(f"{KEY}:{value}") for value in (SECRET, NEW)]
    emulator = Emulator(accounts)
    assert all(emulator.authenticates(KEY, SecretStr(value)) for value in (SECRET, NEW))
    with pytest.raises(ValueError, match="more than 1"):
        Emulator(accounts, max_secrets=1)


def test_account_is_split_at_the_first_colon() -> None:
    assert parse_account("abcd1234:Se:cret12345") == Account("abcd1234", SecretStr("Se:cret12345"))


@pytest.mark.parametrize("text", ["", "abcd1234", "abcd1234:", ":Secret12345", "ab cd:Secret12345", "abcd/1:Secret123"])
def test_invalid_account_is_refused_without_quoting(text: str) -> None:
    with pytest.raises(ValueError, match="is not KEY:SECRET") as caught:
        parse_account(text)
    assert "Secret12345" not in str(caught.value).replace("abcd1234:Secret12345", "")


@pytest.mark.parametrize("text", ["", "abcd1234", "abcd1234=", "=child001", "a=b=c", "abcd1234:child001"])
def test_invalid_primary_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not KEY=CHILD"):
        parse_primary(text)


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (["abcd1234=nobody01"], "no account nobody01"),
        (["nobody01=abcd1234"], "no account nobody01"),
        (["abcd1234=abcd1234"], "its own primary"),
        (["abcd1234=child001", "other001=child001"], "two primaries"),
    ],
)
def test_impossible_relations_are_refused(pairs: list[str], why: str) -> None:
    accounts = [Account(key, SecretStr(SECRET)) for key in (KEY, "child001", "other001")]
    with pytest.raises(ValueError, match=why):
        Emulator(accounts, primaries=[parse_primary(pair) for pair in pairs])


def test_account_can_be_opened_while_running() -> None:
    with world() as w:
        w.emulator.open_account(parse_account("child001:Secret54321"), primary=KEY)
        assert w.emulator.api_keys == (KEY, "child001")
        assert w.client.get("/accounts/child001/secrets").status_code == 200
        assert w.client.get("/accounts/child001/secrets", auth=("child001", "Secret54321")).status_code == 200
        with pytest.raises(ValueError, match="two primaries"):
            w.emulator.open_account(parse_account("child001:Another67890"), primary=KEY)


# --- serving ---------------------------------------------------------------------------------------------------


def test_tls_is_served_with_the_given_certificate(tmp_path: Path) -> None:
    with world(tls=trustme.CA(), folder=tmp_path) as w:
        assert w.url.startswith("https://127.0.0.1:")
        assert w.client.get(PATH).status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(w.url, verify=NO_TRUST, trust_env=False, timeout=PATIENCE)


def test_start_errors_are_raised_to_the_caller(tmp_path: Path) -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    files = issue(trustme.CA(), tmp_path)
    key = files["keyfile"]
    with pytest.raises(ValueError, match=r"key\.pem is no certificate with its key"), running(emulator, certfile=key):
        pass
    with (
        pytest.raises(ValueError, match=r"gone\.pem cannot be read"),
        running(emulator, certfile=tmp_path / "gone.pem"),
    ):
        pass
    with pytest.raises(ValueError, match="certificate"), running(emulator, keyfile=files["keyfile"]):
        pass
    with running(emulator) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), running(emulator, port=port):
            pass


def test_server_restarts_at_once_during_requests(caplog: pytest.LogCaptureFixture) -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))], faults=["list:late@300s"])
    with ThreadPoolExecutor(1) as pool:
        with running(emulator) as url:
            answer = pool.submit(httpx.get, url + PATH, verify=NO_TRUST, trust_env=False, timeout=300)
            assert eventually(lambda: emulator.faults.pending() == ())
            started = time.monotonic()
        assert time.monotonic() - started < PATIENCE / 2, "it waited for the request"
        with pytest.raises(httpx.RemoteProtocolError):
            answer.result()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, verify=NO_TRUST, trust_env=False, timeout=PATIENCE)
    assert [record.message for record in caplog.records if record.name == "uvicorn.error"] == []
    with running(emulator, port=int(url.rpartition(":")[2])) as again:
        assert again == url
        assert httpx.get(url, verify=NO_TRUST, trust_env=False, timeout=PATIENCE).status_code == 404


def test_hundred_starts_and_stops_are_quick() -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    quickest = 60.0  # of many: on a busy machine most are slow, but one that lingers is never quick
    for _ in itertools.repeat(None, 100):
        started = time.monotonic()
        with running(emulator):
            pass
        quickest = min(quickest, time.monotonic() - started)
    assert quickest < 0.05


def test_kept_connection_does_not_wait_for_acks() -> None:
    with world() as w:

        def ask() -> None:
            for _ in range(4):
                w.client.get(PATH)

        at_best(0.1, ask, attempts=100)  # 40 ms each, if they did


def test_incomplete_request_has_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    with world() as w:
        host, port = w.url.removeprefix("http://").split(":")
        login = f"Authorization: {basic(f'{KEY}:{SECRET}')}"
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{login}\r\nContent-Length: 99\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as raw:
            raw.sendall(head.encode() + json.dumps({"secret": NEW}).encode())
        assert w.client.get(PATH).status_code == 200
        assert [str(entry.operation) for entry in w.emulator.requests] == ["list"]
        assert w.live() == [SECRET]
    assert [record.message for record in caplog.records if record.name == "uvicorn.error"] == []


def test_serve_announces_its_url_until_interrupted() -> None:
    program = (
        "from rotator.emulator import Emulator, parse_account, serve\n"
        f"serve(Emulator([parse_account('{KEY}:{SECRET}')]), port=0, announce=lambda url: print(url, flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        response = httpx.get(url + PATH, auth=(KEY, SECRET), verify=NO_TRUST, trust_env=False, timeout=PATIENCE)
        assert response.status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, b"")
    finally:
        process.kill()
        process.communicate()
