"""Faults: their text, what they do to a request, and faults for one key, for one server and for one secret."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
import trustme
from pydantic import SecretStr

from rotator.emulator import Fault, Operation, parse_fault, parse_primary
from testkit.cluster import PATIENCE
from tests.emulator.harness import (
    BALANCE,
    CHILD,
    CHILD_PATH,
    CHILD_SECRET,
    KEY,
    NEW,
    PATH,
    RICH,
    SECOND,
    SECRET,
    SETTINGS,
    TOP_UP,
    Clock,
    ask,
    basic,
    eventually,
    ids,
    problem,
    refusal,
    world,
)

# --- one key ---------------------------------------------------------------------------------------------------


def test_fault_of_a_key_hits_its_requests() -> None:
    accounts = (f"{KEY}:{SECRET}", f"{CHILD}:{CHILD_SECRET}")
    relation = [parse_primary(f"{KEY}={CHILD}")]
    with world(*accounts, primaries=relation, faults=[f"any:unprovisioned:*@key={CHILD}"]) as w:
        body = problem(w.client.get(CHILD_PATH, auth=(CHILD, CHILD_SECRET)), 401, "Unprovisioned")
        assert body["type"].endswith("#unprovisioned")
        assert w.client.get(CHILD_PATH).status_code == 200, "its primary is another key"
        assert w.client.get(PATH).status_code == 200


def test_content_fault_of_a_key_spares_its_primary() -> None:
    accounts = (f"{KEY}:{SECRET}", f"{CHILD}:{CHILD_SECRET}")
    relation = [parse_primary(f"{KEY}={CHILD}")]
    with world(*accounts, primaries=relation, max_secrets=3, faults=[f"list:stale:*@key={CHILD}"]) as w:
        w.client.post(CHILD_PATH, json={"secret": NEW})
        assert len(ids(w, CHILD_PATH)) == 2
        own = w.client.get(CHILD_PATH, auth=(CHILD, CHILD_SECRET)).json()
        assert len(own["_embedded"]["secrets"]) == 1


def test_fault_of_an_account_hits_requests_about_it() -> None:
    accounts = (f"{KEY}:{SECRET}", f"{CHILD}:{CHILD_SECRET}")
    relation = [parse_primary(f"{KEY}={CHILD}")]
    with world(*accounts, primaries=relation, faults=[f"any:unauthorized:*@account={CHILD}"]) as w:
        for auth in ((CHILD, CHILD_SECRET), (KEY, SECRET)):
            body = problem(w.client.get(CHILD_PATH, auth=auth), 401, "Unauthorized")
            assert not body["type"].endswith("#unprovisioned")
        assert w.client.get(PATH).status_code == 200
        assert w.client.get("/account/get-balance", auth=(CHILD, CHILD_SECRET)).status_code == 401


def test_fault_in_turn_counts_its_hits_only() -> None:
    with world(faults=["list:503:2@in-turn"]) as w:
        assert [w.client.get(PATH).status_code for _ in range(5)] == [503, 200, 503, 200, 200]


def test_exchange_and_content_faults_hit_one_request() -> None:
    with world(faults=["create:unverified", "create:504-after", "create:503"]) as w:
        assert w.create().status_code == 504
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 401
        assert [str(fault) for fault in w.emulator.faults.pending()] == ["create:503:1"]


@pytest.mark.parametrize(("fault", "values"), [("create:hang", [SECRET]), ("create:hang-after", [SECRET, NEW])])
def test_hanging_request_is_never_answered(fault: str, values: list[str]) -> None:
    with world(faults=[fault]) as w:
        with pytest.raises(httpx.ReadTimeout):
            w.client.post(PATH, json={"secret": NEW}, timeout=httpx.Timeout(PATIENCE, read=0.2))
        assert eventually(lambda: len(w.emulator.requests) == 1)
        assert w.live() == values
        assert w.client.get(PATH).status_code == 200
        assert [request.status for request in w.emulator.requests] == [None, 200]


def test_unverified_secret_is_listed_and_refused() -> None:
    clock = Clock()
    with world(faults=["create:unverified@30s"], clock=clock) as w:
        assert w.create().status_code == 201
        assert len(ids(w)) == 2
        clock.now += 29 * SECOND
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 401
        clock.now += SECOND
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 200


def test_unverified_secret_is_refused_for_ever_without_detail() -> None:
    clock = Clock()
    with world(faults=[f"create:unverified:*@account={KEY}"], clock=clock) as w:
        w.create()
        clock.now += timedelta(days=365)
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 401
        assert not w.emulator.authenticates(KEY, SecretStr(NEW))


@pytest.mark.parametrize(
    ("fault", "title"), [("400", "Bad Request"), ("403", "Forbidden"), ("500-problem", "Internal Error")]
)
def test_refusal_of_an_operation_changes_nothing(fault: str, title: str) -> None:
    with world(faults=[f"revoke:{fault}"]) as w:
        w.create()
        problem(w.client.delete(f"{PATH}/{w.ids[0]}"), int(fault[:3]), title)
        assert len(w.live()) == 2


# --- the text of a fault ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("list:lag:20s", Fault(Operation.LIST, "lag", None, 20 * SECOND)),
        ("list:lag@20s", Fault(Operation.LIST, "lag", None, 20 * SECOND)),
        ("list:lag:3@1m", Fault(Operation.LIST, "lag", 3, 60 * SECOND)),
        ("list:lag:20s@in-turn", Fault(Operation.LIST, "lag", None, 20 * SECOND, in_turn=True)),
        ("list:stale:3@account=abcd1234", Fault(Operation.LIST, "stale", 3, account="abcd1234")),
        ("list:lacks@id=3f0d-7c", Fault(Operation.LIST, "lacks", secret_id="3f0d-7c")),
        ("any:unauthorized@key=12345678", Fault(None, "401", key="12345678")),
        ("any:unprovisioned:*@key=5s", Fault(None, "unprovisioned", None, key="5s")),
        ("create:unverified", Fault(Operation.CREATE, "unverified", 1, None)),
        ("create:unverified:*@1h", Fault(Operation.CREATE, "unverified", None, timedelta(hours=1))),
        ("list:429@bare", Fault(Operation.LIST, "429", 1, None)),
        ("list:429@reset=20", Fault(Operation.LIST, "429", 1, None, reset=20 * SECOND, reset_unit="s")),
        ("any:429:*@5@reset-ms=1h", Fault(None, "429", None, 5 * SECOND, reset=3600 * SECOND, reset_unit="ms")),
        ("settings:no-limits:*", Fault(Operation.SETTINGS, "no-limits", None)),
        ("get:hang", Fault(Operation.GET, "hang")),
        ("any:500-problem", Fault(None, "500-problem")),
    ],
)
def test_fault_is_read_from_its_text_and_back(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("list:lag", "at most an hour"),
        ("list:lag:20", "at most an hour"),
        ("list:lag:0s", "at most an hour"),
        ("list:lag:61m", "at most an hour"),
        ("list:lag:20s@30s", "contradicts"),
        ("any:lag:20s", "only a list can be lag"),
        ("list:unverified", "only a create can be unverified"),
        ("list:stale:20s", "is not OPERATION:FAULT"),
        ("list:stale:3@abcd1234", "take a detail"),
        ("list:stale@key=", "is no detail"),
        ("list:503@id=x", "is no detail"),
        ("list:503@reset=5s", "is no detail"),
        ("list:429@reset=soon", "is no detail"),
        ("list:429@bare@5s", "contradicts"),
        ("list:429@reset=5s@reset-ms=5s", "contradicts"),
        ("list:501-problem", "is no fault"),
    ],
)
def test_unreadable_fault_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_fault(text)


def test_documented_faults_can_be_read() -> None:
    page = Path(__file__).parents[2] / "docs" / "emulator.md"
    documented = re.findall(r"--fault '?([a-z-]+:[^' ]+)|`(list:lag[^`]*)`", page.read_text())
    assert len(documented) > 7
    for texts in documented:
        fault = parse_fault("".join(texts))
        assert parse_fault(str(fault)) == fault


def test_fault_without_duration_cannot_be_made_in_code() -> None:
    with pytest.raises(ValueError, match="takes a duration"):
        Fault(Operation.LIST, "slow", 1, None)


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
