"""The secrets of an account at any instant, and lists that lag."""

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from rotator.emulator import Faults, History, Operation, listed, parse_primary
from tests.emulator.harness import CHILD, CHILD_PATH, CHILD_SECRET, KEY, NEW, PATH, SECOND, SECRET, Clock, ids, world

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


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
