"""The tables of commands and their JSON report the same."""

# ruff: noqa: F811 - fixtures are asked for by the names under which they were imported

import re
from datetime import UTC, datetime, timedelta

from testkit.cluster import Cluster
from tests.cli.harness import (  # noqa: F401
    CHANGING,
    STANZA,
    Here,
    Payments,
    a_colourful_fleet,
    assert_table,
    commands,
    everything,
    here,
    opened,
    payments,
    token_with,
)


def test_tables_and_json_report_the_same(cluster: Cluster, here: Here) -> None:
    fleet = a_colourful_fleet(cluster)
    rotated = cluster.run("rotate-now", "overlap", "ambiguous")
    assert rotated.code == 1, rotated
    assert_table(rotated.out.split("ambiguous: ")[0], "account", "result", "details", "state")

    (retiring,) = cluster.journal("overlap")["retiring"]
    ends = datetime.now(UTC) + timedelta(minutes=55)  # whatever the two commands take of the hour
    cluster.change_journal("overlap", retiring=[retiring | {"not_before": ends.isoformat()}])
    table = cluster.run("status")
    assert table.code == 0, table
    rows = assert_table(table.out.split("ambiguous: ")[0], "account", "state", "age", "due", "revokes", "details")
    assert fleet["ambiguous"].api_key not in table.out
    assert "--secret-id" not in rows["ambiguous"], "ids stand below the table, unbroken, to be copied"
    columns = r"overlap +grace_period +(\d+m)?\d+s +in 29d(1[89]|2[0-3])h +in 5([0-4]m\d+s|5m)"
    assert re.fullmatch(columns, rows["overlap"])
    assert rows["ambiguous"].split()[1] == "ambiguous"
    assert rows["missing"].endswith("nothing published")
    assert "disabled" in rows["off"]

    before = everything(cluster)
    status = here("status", "--json")
    assert status.code == 0, status
    entries = {entry["name"]: entry for entry in status.json["accounts"]}
    assert list(entries) == list(fleet), "every account, in the order of the file"
    assert (entries["overlap"]["state"], len(entries["overlap"]["retiring"])) == ("grace_period", 1)
    assert entries["overlap"]["secret_id"] == cluster.document("apps/overlap")["secret_id"]
    due = datetime.fromisoformat(entries["overlap"]["due_at"])
    age = due - datetime.fromisoformat(entries["overlap"]["rotated_at"])
    assert timedelta(days=30) - timedelta(hours=6) < age <= timedelta(days=30), "less its part of the jitter"
    assert (entries["ambiguous"]["state"], entries["ambiguous"]["attempts"]) == ("ambiguous", 1)
    assert (entries["missing"]["published"], entries["off"]["enabled"]) == (False, False)

    table = cluster.run("plan")
    assert table.code == 1, "an account that cannot go on is a failure of the plan"
    rows = assert_table(table.out, "account", "state", "age", "would")
    assert "off" not in rows
    plan = here("plan", "--json")
    assert plan.code == 1, plan
    steps = {entry["account"]: entry["step"] for entry in plan.json["accounts"]}
    assert (steps["new"], steps["overlap"], steps["ambiguous"], steps["missing"]) == ("record", "wait", "wait", "fail")
    for name in ("new", "overlap", "missing"):
        assert f" {steps[name]}:" in rows[name]
    assert here("plan", "new", "overlap").code == 0
    assert everything(cluster) == before
