"""`rotator status`: its columns, its JSON, and the daemon's /api/status, which is the same model."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import Doubt, Gone, Identity, Journal, Learned, Request, RequestKind, Retiring, Target
from rotator.documents import render_journal
from testkit.cluster import Cluster
from tests.cli.harness import CHANGING, Here, Payments, a_colourful_fleet, assert_table, everything, opened

# These are known to a daemon only: it reads balances, and remembers failures that no journal contains.
DAEMON_ONLY = {"balance"}
DAEMON_ONLY_UNTIL_ADOPTED = DAEMON_ONLY | {"published", "state", "last_error", "failure", "next_attempt_at"}
FLEET_KEYS_OF_A_COMMAND = {"at", "version", "accounts"}


@pytest.fixture
def statuses(cluster: Cluster, here: Here) -> dict[str, Payments]:
    """A fleet with an account of each state. The grace period of one ends in 55 minutes."""
    fleet = a_colourful_fleet(cluster)
    assert here("rotate-now", "overlap", "ambiguous").code == 1
    (retiring,) = cluster.journal("overlap")["retiring"]
    ends = datetime.now(UTC) + timedelta(minutes=55)  # whatever the commands take of the hour
    cluster.change_journal("overlap", retiring=[retiring | {"not_before": ends.isoformat()}])
    return fleet


def test_status_prints_its_columns(here: Here, statuses: dict[str, Payments]) -> None:
    table = here("status")
    assert table.code == 0, table
    rows = assert_table(table.out.split("ambiguous: ")[0], "account", "state", "age", "due", "revokes", "details")
    assert statuses["ambiguous"].api_key not in table.out
    assert "--secret-id" not in rows["ambiguous"], "ids stand below the table, unbroken, to be copied"
    columns = r"overlap +grace_period +(\d+m)?\d+s +in 29d(1[89]|2[0-3])h +in 5([0-4]m\d+s|5m)"
    assert re.fullmatch(columns, rows["overlap"])
    assert rows["ambiguous"].split()[1] == "ambiguous"
    assert rows["missing"].endswith("nothing published")
    assert "disabled" in rows["off"]


def test_status_json_has_each_account(cluster: Cluster, here: Here, statuses: dict[str, Payments]) -> None:
    before = everything(cluster)
    status = here("status", "--json")
    assert status.code == 0, status
    entries = {entry["name"]: entry for entry in status.json["accounts"]}
    assert list(entries) == list(statuses), "every account, in the order of the file"
    assert (entries["overlap"]["state"], len(entries["overlap"]["retiring"])) == ("grace_period", 1)
    assert entries["overlap"]["secret_id"] == cluster.document("apps/overlap")["secret_id"]
    due = datetime.fromisoformat(entries["overlap"]["due_at"])
    age = due - datetime.fromisoformat(entries["overlap"]["rotated_at"])
    assert timedelta(days=30) - timedelta(hours=6) < age <= timedelta(days=30), "less its part of the jitter"
    assert (entries["ambiguous"]["state"], entries["ambiguous"]["attempts"]) == ("ambiguous", 1)
    assert (entries["missing"]["published"], entries["off"]["enabled"]) == (False, False)
    assert everything(cluster) == before


def test_command_and_daemon_report_one_model(cluster: Cluster, here: Here) -> None:
    """An account's report is the same key by key, whatever its state is."""
    fleet = a_colourful_fleet(cluster)
    assert here("rotate-now", "overlap").code == 0
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    leased = {"current_id": fleet["new"].live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    cluster.put("rotator/journal/new", leased)
    assert here("rotate-now", "new", "--force", "--wait", "0").code == 3
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        daemon.eventually(lambda: daemon.status("ambiguous")["attempts"] > 0)
        daemon.eventually(lambda: daemon.status("missing")["failure"] is not None)

        def shown() -> tuple[dict[str, Any], dict[str, Any]]:
            return here("status", "--json").json, daemon.get("/api/status").json()

        def differ() -> list[tuple[str, str]]:
            told, seen = shown()
            assert FLEET_KEYS_OF_A_COMMAND == set(told) < set(seen)
            found = []
            for one, other in zip(told["accounts"], seen["accounts"], strict=True):
                assert list(one) == list(other)
                known = DAEMON_ONLY if one["secret_id"] else DAEMON_ONLY_UNTIL_ADOPTED
                found += [(one["name"], key) for key in one.keys() - known if one[key] != other[key]]
            return found

        daemon.eventually(lambda: not differ())
        told, _ = shown()
    states = {one["name"]: one["state"] for one in told["accounts"]}
    assert states.pop("a-" + "long-" * 8 + "name") == "idle"
    assert states == {
        "new": "idle",
        "overlap": "grace_period",
        "ambiguous": "ambiguous",
        "missing": "pending",
        "off": "disabled",
    }
    (new,) = [one for one in told["accounts"] if one["name"] == "new"]
    assert (new["request"]["kind"], new["lease_holder"]) == ("force", "host/1/x")


def test_daemon_shows_a_command_before_its_resync(payments: Payments, here: Here) -> None:
    cluster = payments.cluster
    cluster.configure([payments.entry(grace="1h")], daemon={"resync_interval": "1h", "verify_interval": "1h"})
    assert here("rotate-now", "payments").code == 0
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        assert here("rotate-now", "payments", "--compromised").code == 0
        daemon.wait_for("account.changed_elsewhere", account="payments")
        (told,) = here("status", "--json").json["accounts"]
        daemon.eventually(lambda: daemon.status("payments")["secret_id"] == told["secret_id"])


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        ("rotate-now payments --force", True),
        ("adopt payments --secret-env MINE", False),
        ("account secrets create payments --out {folder}/value --yes", True),
        ("rotate-now payments --due", False),
        ("status", False),
    ],
)
def test_command_announces_the_journals_that_it_changed(
    payments: Payments, here: Here, command: str, changes: bool
) -> None:
    cluster = payments.cluster
    assert here("rotate-now", "payments").code == 0
    before = cluster.document("rotator/journal/_fleet")
    assert before["changes"] == [{"api_key": payments.api_key, "sequence": before["sequence"]}]
    secret = cluster.document(payments.path)["api_secret"]
    cluster.remember(secret)
    finished = here(*command.format(folder=cluster.folder).split(), MINE=secret)
    assert finished.code == 0, finished
    assert (cluster.document("rotator/journal/_fleet") != before) == changes


def test_adoption_is_announced(cluster: Cluster, here: Here) -> None:
    account = opened(cluster, published=False)
    cluster.configure([account.entry()])
    assert here("adopt", "payments", "--secret-env", "MINE", MINE=account.first.get_secret_value()).code == 0
    assert cluster.document("rotator/journal/_fleet")["changes"] == [{"api_key": account.api_key, "sequence": 1}]


def test_status_shows_a_request_until_it_is_withdrawn(payments: Payments, here: Here) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    journal = {"current_id": payments.live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    payments.cluster.put("rotator/journal/payments", journal)
    asked = here("rotate-now", "payments", "--force", "--wait", "0")
    assert asked.code == 3, asked
    assert "payments: The request (force, by " in asked.out
    assert "A running daemon carries it out" in asked.out
    request = payments.cluster.journal("payments")["request"]
    at = datetime.fromisoformat(request["at"])
    shown = here("status")
    assert f"payments: {request['by']} requested a rotation (force) at {at:%Y-%m-%d %H:%M:%S} UTC." in shown.out
    assert "rotator rotate-now payments --cancel" in shown.out
    (row,) = here("status", "--json").json["accounts"]
    assert row["request"] == {name: request[name] for name in ("kind", "by", "at", "id")}

    withdrawn = here("rotate-now", "payments", "--cancel", "--json")
    assert (withdrawn.code, withdrawn.json["accounts"][0]["withdrawn"]["id"]) == (0, request["id"])
    after = payments.cluster.journal("payments")
    assert (after["request"], after["holder"]) == (None, "host/1/x"), "the lease stays"
    assert here("rotate-now", "payments", "--cancel").out == "payments: no request is recorded\n"
    assert "requested" not in here("status").out
    assert not [request for request in payments.cluster.emulator.requests if request.operation in CHANGING]


def test_status_says_that_an_id_is_in_doubt(payments: Payments, here: Here) -> None:
    """The answer to the create was lost, so lists must tell which of the two secrets is the published one."""
    cluster = payments.cluster
    assert here("rotate-now", "payments").code == 0
    cluster.configure([payments.entry(grace="1h")])
    cluster.emulator.faults.add("create:drop-after")
    assert here("rotate-now", "payments").code == 0
    secrets = here("account", "secrets", "list", "--json").json["accounts"][0]["secrets"]
    assert [secret["is"] for secret in secrets] == ["retiring", "in doubt"]
    awaited = "later lists tell which id is the published secret's"
    shown = here("status", "payments")
    assert shown.out.splitlines()[1].endswith(awaited), shown
    assert here("status", "--json").json["accounts"][0]["secret_id_learned"] == "pending"
    payments.identify()
    assert awaited not in here("status", "payments").out


@pytest.mark.parametrize("year", [9999, 1])
def test_wrong_dates_do_not_hide_other_accounts(cluster: Cluster, here: Here, year: int) -> None:
    """One `rotated_at` in the year 9999 ended the command for the whole fleet."""
    at = datetime(year, 12 if year > 1 else 1, 31, 23, 59, 59, tzinfo=UTC)
    made = [opened(cluster, name, f"key{name}") for name in ("good", "wrong")]
    cluster.configure([account.entry() for account in made])
    journal = Journal(
        api_key="keywrong",
        current=Identity("id-1", Learned.PENDING, next_look=at),
        rotated_at=at,
        published_at=at,
        published_version=1,
        next_attempt_at=at,
        lease_holder="other",
        lease_until=at,
        create_until=at,
        retiring=(Retiring("id-2", at, missing_since=at),),
        gone=(Gone("id-3", at),),
        last_doubt=Doubt(frozenset({"id-4"}), at),
        request=Request(RequestKind.MANUAL, Target("id-1", 1, at), at, "you", "r1"),
    )
    cluster.put("rotator/journal/wrong", render_journal(journal))
    for args in (("status",), ("status", "--json"), ("plan",), ("forecast", "--until", "30d"), ("check",)):
        finished = here(*args)
        assert "Traceback" not in finished.err, (args, finished)
        assert "internal error" not in finished.out + finished.err, (args, finished)
        assert "good" in finished.out, (args, finished)
