"""Versions of rotator that meet: unknown fields stay, and a newer journal is left alone."""

from typing import Any

import pytest

from rotator.emulator import Operation
from testkit.cluster import eventually
from tests.system.harness import ENOUGH, ClusterAccount, assert_ok, new_secret

pytestmark = pytest.mark.timeout(280)

JOURNAL = "rotator/journal/main"


def test_unknown_fields_survive_rotations(shop: ClusterAccount) -> None:
    """B9: a field that this version does not know was gone after one rotation. It is kept at every level."""
    shop.configure(grace="1h")
    assert_ok(shop.rotate())
    journal = shop.journal
    news: dict[str, Any] = {"paused_by": {"who": "someone", "until": None}, "list_of_news": [1, {"a": "b"}]}
    journal |= news
    journal["current_id"] |= {"fingerprint": "sha256:0123", "seen": [1, 2]}
    journal["retiring"][0] |= {"confirmed_by": ["shop", "billing"]}
    journal["retiring"][0]["identity"] |= {"region": "eu"}
    shop.cluster.put(JOURNAL, journal)
    replaced = journal["current_id"]["id"]
    with shop.consumer():
        assert_ok(shop.rotate("--force"))
    after = shop.journal
    assert {name: after[name] for name in news} == news
    [entry] = after["retiring"]
    assert entry["id"] == replaced
    assert entry["identity"]["fingerprint"] == "sha256:0123"
    assert "fingerprint" not in after["current_id"], "what is said of one secret is not said of another"
    entry |= {"confirmed_by": ["shop"]}
    shop.cluster.put(JOURNAL, after)
    assert_ok(shop.rotate("--due"))
    shop.run("account", "secrets", "list")
    assert shop.journal["retiring"][0]["confirmed_by"] == ["shop"]
    shop.cluster.emulator.faults.add("any:503:*")
    assert shop.rotate("--due").code == 0 or shop.journal["failure"]
    assert {name: shop.journal[name] for name in news} == news


NEWER = [
    "rotate-now main --json",
    "rotate-now main --force",
    "rotate-now main --compromised",
    "rotate-now --due",
    "rotate-now main --cancel",
    "rotate-now main --dry-run",
    "plan",
    "forecast --until 90d",
    "status",
    "check",
    "adopt main --secret-env NEW_VALUE --replace",
    "resolve main --revoke {id}",
    "account balance main",
    "account settings main --mo-callback-url https://example.com/in --yes",
    "account top-up main --trx-env NEW_VALUE --yes",
    "account secrets list main",
    "account secrets show main {id}",
    "account secrets create main --secret-env NEW_VALUE --yes",
    "account secrets revoke main {id} --yes",
]


def test_newer_journal_stops_every_command(shop: ClusterAccount) -> None:
    """B9: nothing of the account is written, and nothing is sent to the provider."""
    value = new_secret()
    shop.cluster.remember(value)
    newer = shop.journal | {"format": 99, "tense": "future"}
    shop.cluster.put(JOURNAL, newer)
    document, asked = shop.cluster.document(shop.path), shop.requests()
    processes = []
    for command in NEWER:
        args = command.format(id=shop.id_of(shop.first)).split()
        processes.append(shop.cluster.start(*args, env={"NEW_VALUE": value}))
    for finished in [process.finish() for process in processes]:
        said = finished.out + "".join(line for line in finished.err.splitlines() if not line.startswith("{"))
        assert "newer version" in said, finished
        assert "delete" not in said, finished
        assert "Traceback" not in said, finished
        if finished.args[0] != "status" and "--until" not in finished.args:
            assert finished.code == 1, finished
        if "--json" in finished.args:
            assert finished.json["accounts"][0]["reason"] == "journal_newer"
    assert shop.journal == newer
    assert shop.cluster.document(shop.path) == document
    assert shop.requests() == asked


def test_newer_journal_hides_no_other_account(shop: ClusterAccount) -> None:
    other = ClusterAccount(shop.cluster, api_key="otherky1", path="apps/other", name="other").open()
    shop.configure({"name": other.name, "api_key": other.api_key, "path": other.path})
    other.adopted()
    newer = shop.journal | {"format": 99}
    shop.cluster.put(JOURNAL, newer)
    status = shop.run("status")
    assert other.name in status.out, status
    assert "newer version" in status.out + status.err, status
    with other.consumer():
        assert shop.run("rotate-now", "--all").code == 1
    assert other.published != other.first
    assert shop.journal == newer


def test_daemon_leaves_a_newer_journal_unchanged(shop: ClusterAccount) -> None:
    newer = shop.journal | {"format": 99, "rotated_at": "2025-01-01T00:00:00Z"}
    shop.cluster.put(JOURNAL, newer)
    asked = {operation: shop.requests(operation) for operation in Operation}
    with shop.cluster.daemon() as daemon, shop.consumer():
        eventually(
            lambda: "newer version" in (daemon.status(shop.name)["last_error"] or ""),
            timeout=ENOUGH,
            what=lambda: daemon,
        )
    assert shop.journal == newer
    assert {operation: shop.requests(operation) for operation in Operation} == asked


@pytest.mark.parametrize(
    "strange",
    [{"trigger": "telepathy"}, {"current_id": {"id": "x", "learned": "guessed"}}, {"retiring": [{"id": 7}]}],
    ids=lambda strange: next(iter(strange)),
)
def test_unreadable_journal_is_left_unchanged(shop: ClusterAccount, strange: dict[str, Any]) -> None:
    """B9: an unknown value was answered with the advice to delete the journal."""
    journal = shop.journal | strange
    shop.cluster.put(JOURNAL, journal)
    asked = shop.requests()
    failed = shop.rotate("--compromised", "--json")
    assert failed.code == 1, failed
    row = failed.json["accounts"][0]
    assert row["reason"] == "journal_unreadable"
    assert "delete" not in row["error"].lower()
    assert next(iter(strange)) in row["error"]
    assert shop.journal == journal
    assert shop.requests() == asked


def test_plain_write_lowers_format_after_a_marked_write(shop: ClusterAccount) -> None:
    """Only the mark of a write in flight restricts others: the next plain write lowers the format."""
    assert_ok(shop.rotate())
    marked = shop.journal
    mark = {"over_version": marked["published_version"], "entry": marked["retiring"][0]}
    shop.cluster.put(JOURNAL, marked | {"format": 2, "publishing": mark, "retiring": []})
    before = shop.cluster.document(shop.path)
    with shop.consumer():
        assert_ok(shop.rotate("--due"))
    after = shop.journal
    assert after["format"] == 1
    assert after["publishing"] is None
    assert [entry["id"] for entry in after["retiring"]] == [mark["entry"]["id"]]
    assert shop.cluster.document(shop.path) == before
