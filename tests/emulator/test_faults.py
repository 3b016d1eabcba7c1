"""Faults for one key, for one server and for one secret, lists that lag, and rate limits: over real sockets."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from rotator.emulator import Fault, Faults, History, Limit, Operation, listed, parse_fault, parse_limit, parse_primary
from rotator.emulator.revisions import Revision
from testkit.cluster import PATIENCE
from tests.emulator.test_emulator import KEY, NEW, PATH, SECRET, Clock, World, eventually, in_control, problem, world

CHILD, CHILD_SECRET = "child001", "Secret54321"
CHILD_PATH = f"/accounts/{CHILD}/secrets"
SECOND = timedelta(seconds=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ids(w: World, path: str = PATH) -> list[str]:
    """Ids of a list."""
    return [secret["id"] for secret in w.client.get(path).json()["_embedded"]["secrets"]]


# --- lists -----------------------------------------------------------------------------------------------------


def test_lagging_list_shows_the_earlier_state() -> None:
    clock = Clock()
    with world(faults=["list:lag:20s"], clock=clock) as w:
        old = w.ids[0]
        new = w.create().json()["id"]
        assert ids(w) == [old]
        clock.now += 19 * SECOND
        assert ids(w) == [old]
        clock.now += SECOND
        assert ids(w) == [old, new]
        w.emulator.remove_secret(KEY, new)
        assert ids(w) == [old, new]
        assert w.client.get(f"{PATH}/{new}").status_code == 404, "only the list lags"
        clock.now += 20 * SECOND
        assert ids(w) == [old]
        assert list(w.emulator.live(KEY)) == [old]


def test_lagging_list_has_the_first_secrets() -> None:
    with world(f"{KEY}:{SECRET}", f"{KEY}:{NEW}", faults=["list:lag:1h"], clock=Clock()) as w:
        assert ids(w) == list(w.ids)
        assert len(ids(w)) == 2


def test_two_servers_disagree_in_turn_per_account() -> None:
    clock = Clock()
    accounts = (f"{KEY}:{SECRET}", f"{CHILD}:{CHILD_SECRET}")
    relation = [parse_primary(f"{KEY}={CHILD}")]
    with world(*accounts, primaries=relation, faults=["list:lag:20s@in-turn"], clock=clock) as w:
        w.create()
        w.client.post(CHILD_PATH, json={"secret": NEW})
        assert [len(ids(w)) for _ in range(3)] == [1, 2, 1]
        assert [len(ids(w, CHILD_PATH)) for _ in range(2)] == [1, 2]
        assert [len(ids(w)) for _ in range(2)] == [2, 1]


def test_list_lacks_the_oldest_or_named_secret() -> None:
    with world(max_secrets=3) as w:
        w.emulator.faults.add("list:lacks")
        assert ids(w) == list(w.ids), "never the only one"
        second, third = (w.emulator.add_secret(KEY, SecretStr(value)) for value in (NEW, "Third1234567"))
        w.emulator.faults.add("list:lacks", f"list:lacks@id={second}", "list:lacks@id=no-such-id", "list:stale")
        first = w.ids[0]
        assert [ids(w) for _ in range(4)] == [[second, third], [first, third], [first, second, third], [first, second]]


def test_history_returns_items_at_any_instant() -> None:
    history = History[str]().add("a", "first").add("b", "second", since=NOON).remove("a", NOON + 10 * SECOND)
    seen = [list(history.at(NOON + second * SECOND)) for second in (-1, 0, 9, 10)]
    assert seen == [["a"], ["a", "b"], ["a", "b"], ["b"]]
    assert history.current == {"b": "second"}
    assert hash(history) == hash(History(history.spans)), "a history fits into the states of a search"


def test_history_forgets_items_that_no_list_can_show() -> None:
    history = History[str]().add("a", "first").add("b", "second", since=NOON).remove("a", NOON)
    hour = timedelta(hours=1)
    assert [span.id for span in history.remove("none", NOON + hour - SECOND).spans] == ["a", "b"]
    assert [span.id for span in history.remove("none", NOON + hour).spans] == ["b"]


def test_list_faults_work_without_a_server() -> None:
    """As the models use them: the history of their own provider, and a fault that is taken."""
    faults = Faults(["list:lag:20s@account=shop", "list:stale@account=other"])
    history = History[str]().add("a", "first").add("b", "second", since=NOON)
    lag = faults.take(Operation.LIST, account="shop", changes_content=True)
    assert list(listed(history, lag, NOON + 19 * SECOND)) == ["a"]
    assert list(listed(history, lag, NOON + 20 * SECOND)) == ["a", "b"]
    assert list(listed(history, None, NOON - SECOND)) == ["a", "b"]
    assert faults.take(Operation.LIST, account="shop") is None, "it is no fault of the exchange"
    assert faults.take(Operation.LIST, account="third", changes_content=True) is None


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


def test_server_stops_at_once_while_a_request_hangs() -> None:
    with ThreadPoolExecutor(1) as pool:
        with world(faults=["list:hang"]) as w:
            answer = pool.submit(httpx.get, w.url + PATH, auth=(KEY, SECRET), trust_env=False, timeout=2 * PATIENCE)
            assert eventually(lambda: w.emulator.faults.pending() == ())
            started = time.monotonic()
        assert time.monotonic() - started < PATIENCE
        with pytest.raises(httpx.RemoteProtocolError):
            answer.result()


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


# --- rate limits -----------------------------------------------------------------------------------------------

X_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def limited(response: httpx.Response) -> tuple[str | None, dict[str, str]]:
    """The Retry-After of a 429 and its other headers; the reset in seconds or milliseconds after the answer's date."""
    assert response.status_code == 429
    date = parsedate_to_datetime(response.headers["date"]).timestamp()
    shown = {name: response.headers[name] for name in X_HEADERS if name in response.headers}
    if "x-ratelimit-reset" in shown:
        reset = int(shown["x-ratelimit-reset"])
        shown["x-ratelimit-reset"] = f"{reset - date * 1000:.0f}ms" if reset > 1e11 else f"{reset - date:.0f}s"
    return response.headers.get("retry-after"), shown


def budget(reset: str, limit: str = "30", remaining: str = "0") -> dict[str, str]:
    return dict(zip(X_HEADERS, (limit, remaining, reset), strict=True))


@pytest.mark.parametrize(
    ("details", "retry_after", "headers"),
    [
        pytest.param("", "1", budget("1000ms"), id="as the emulator does"),
        pytest.param("@5s", "5", budget("5000ms"), id="Retry-After"),
        pytest.param("@reset=20s", None, budget("20s"), id="seconds"),
        pytest.param("@reset-ms=20s", None, budget("20000ms"), id="milliseconds"),
        pytest.param("@5s@reset=1h", "5", budget("3600s"), id="both"),
        pytest.param("@bare", None, {}, id="bare"),
    ],
)
def test_rate_limit_sends_the_headers_of_its_details(
    details: str, retry_after: str | None, headers: dict[str, str]
) -> None:
    with world(faults=[f"list:429{details}"], revision=Revision.V1_0_4, clock=Clock()) as w:
        assert limited(w.client.get(PATH)) == (retry_after, headers)
        assert w.client.get(PATH).status_code == 200


def test_first_revision_limits_with_retry_after_only() -> None:
    with world(faults=["list:429", "list:429@reset-ms=20s"], clock=Clock()) as w:
        assert limited(w.client.get(PATH)) == ("1", {})
        assert limited(w.client.get(PATH)) == (None, budget("20000ms")), "unless the fault says so"


def test_reset_and_date_follow_the_emulators_clock() -> None:
    """A provider whose clock is two hours ahead of the client's."""

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(hours=2)

    with world(faults=["list:429@reset=20s"], clock=clock) as w:
        response = w.client.get(PATH)
        assert len(response.headers.get_list("date")) == 1
        assert abs(parsedate_to_datetime(response.headers["date"]) - clock()) < 60 * SECOND
        assert limited(response)[1]["x-ratelimit-reset"] in ("20s", "21s")


def test_limit_counts_the_calls_of_each_key() -> None:
    clock = Clock()
    accounts = (f"{KEY}:{SECRET}", f"{CHILD}:{CHILD_SECRET}")
    with world(*accounts, limit=Limit(3, timedelta(hours=1)), revision=Revision.V1_0_4, clock=clock) as w:
        first = w.client.get(PATH)
        assert {name: first.headers[name] for name in X_HEADERS[:2]} == dict(zip(X_HEADERS, "32", strict=False))
        clock.now += 10 * SECOND
        assert w.client.get(f"{PATH}/unknown").headers["x-ratelimit-remaining"] == "1"
        assert w.client.get("/account/get-balance").headers["x-ratelimit-remaining"] == "0"
        assert limited(w.create()) == ("3590", budget("3590000ms", "3"))
        assert w.live() == [SECRET]
        assert w.client.get(CHILD_PATH, auth=(CHILD, CHILD_SECRET)).status_code == 200
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 401, "a refused login does not count"
        clock.now += timedelta(seconds=3590)
        assert w.create().status_code == 201


def test_limit_without_retry_after_has_reset_seconds() -> None:
    options: dict[str, Any] = {
        "limit": Limit(1, timedelta(hours=1)),
        "reset_unit": "s",
        "retry_after": False,
        "clock": Clock(),
    }
    with world(**options, revision=Revision.V1_0_4) as w:
        w.client.get(PATH)
        assert limited(w.client.get(PATH)) == (None, budget("3600s", "1"))


@pytest.mark.parametrize(
    ("text", "limit"),
    [("30/h", Limit(30, timedelta(hours=1))), ("5/10s", Limit(5, 10 * SECOND)), ("1/m", Limit(1, 60 * SECOND))],
)
def test_limit_is_read_from_its_text(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["", "30", "0/h", "30/d", "/h", "30/0s", "-1/h", "30 / h"])
def test_unreadable_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not CALLS/PERIOD"):
        parse_limit(text)


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


def test_control_interface_sets_faults_of_a_key() -> None:
    with world() as w:
        faults = [f"list:lag:20s@key={KEY}", "any:429@bare"]
        added = w.client.post("/_emulator/faults", json={"faults": faults}, auth=in_control)
        assert added.json() == {"faults": [f"list:lag:*@20000ms@key={KEY}", "any:429:1@bare"]}
        assert limited(w.client.get(PATH)) == (None, {})
        w.create()
        assert len(ids(w)) == 1
