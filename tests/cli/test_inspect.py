"""status, check and config: they look and change nothing."""

# ruff: noqa: F811 - fixtures are asked for by the names under which they were imported

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from testkit.cluster import Cluster
from tests.cli.payments import (  # noqa: F401
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


def test_check_passes_when_nothing_is_missing(payments: Payments) -> None:
    before = everything(payments.cluster)
    finished = payments.cluster.run("check")
    assert finished.code == 0, finished
    *lines, total = finished.out.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("ok    ") for line in lines)
    assert lines[-1] == "ok    account payments: the provider accepts the published secret, 1 live"
    assert total == "7 ok, 0 notes, 0 to do, 0 failed"
    assert everything(payments.cluster) == before


def test_check_lists_new_accounts_as_to_do(cluster: Cluster, here: Here) -> None:
    accounts = [opened(cluster, f"a{number}", f"key{number}", published=False) for number in range(8)]
    cluster.configure([account.entry() for account in accounts])
    finished = here("check")
    assert finished.code == 0, finished
    to_do = "to do accounts a0, a1, a2, a3, a4 and 3 more: not adopted yet. Run for each: rotator adopt NAME"
    assert to_do in finished.out.splitlines()
    assert finished.out.splitlines()[-1] == "6 ok, 0 notes, 1 to do, 0 failed"
    assert f"policy for {cluster.mount}/data/apps/* (8 paths)" in finished.out
    assert here("check", "--strict").code == 1


def test_check_fails_when_a_published_document_is_lost(payments: Payments, here: Here) -> None:
    assert here("rotate-now", "payments").code == 0
    payments.cluster.vault("DELETE", f"{payments.cluster.mount}/data/{payments.path}")
    finished = here("check")
    assert finished.code == 1, finished
    assert "FAIL  account payments: " in finished.out


def test_check_tries_the_audit_log(payments: Payments, here: Here, tmp_path: Path) -> None:
    good = here("check", ROTATOR_AUDIT__FILE=str(tmp_path / "audit.jsonl"))
    assert good.code == 0, good
    assert good.out.startswith(f"ok    the audit log {tmp_path}/audit.jsonl can be written")
    bad = here("check", ROTATOR_AUDIT__FILE=str(tmp_path / "missing" / "audit.jsonl"))
    assert bad.code == 2, bad
    assert bad.out.startswith("FAIL  audit.file: ")


def test_check_names_the_stanza_that_the_policy_lacks(payments: Payments) -> None:
    cluster = payments.cluster
    document = f'path "{cluster.mount}/data/{payments.path}" {{ capabilities = ["create", "read", "update"] }}'
    token = token_with(cluster, f"check-{cluster.mount}", document)
    before = everything(cluster)
    finished = cluster.run("check", env={"VAULT_TOKEN": token})
    assert finished.code == 2, finished
    failed, total = [line for line in finished.out.splitlines() if not line.startswith("ok   ")]
    assert total.endswith("1 failed")
    assert failed.startswith("FAIL  the policy lacks: ")
    (stanza,) = STANZA.findall(failed)
    assert stanza.startswith(f'path "{cluster.mount}/data/rotator/journal/payments"')
    assert everything(cluster) == before
    cluster.vault("PUT", f"sys/policies/acl/check-{cluster.mount}", {"policy": f"{document}\n{stanza}"})
    assert cluster.run("check", env={"VAULT_TOKEN": token}).code == 0


def test_check_fails_when_the_published_secret_is_refused(payments: Payments, here: Here) -> None:
    payments.cluster.put(payments.path, {"api_secret": "Wrong0Secret9Value"})
    payments.cluster.remember("Wrong0Secret9Value")
    payments.cluster.emulator.remove_secret(payments.api_key, payments.live[0], force=True)
    payments.cluster.vault("DELETE", f"{payments.cluster.mount}/metadata/{payments.path}")
    payments.cluster.put(payments.path, {"api_secret": "Wrong0Secret9Value"})
    finished = here("check", "--json")
    assert finished.code == 1, finished
    (failed,) = [check["what"] for check in finished.json["checks"] if not check["ok"]]
    assert "the provider refuses the published secret (401)" in failed
    assert "rotator adopt payments" in failed


def test_config_show_masks_secrets(payments: Payments, here: Here) -> None:
    finished = here("config", "show")
    assert finished.code == 0, finished
    assert finished.json["vault"]["auth"]["token"] == "**********"
    assert payments.cluster.bao.root_token.get_secret_value() not in finished.out
    assert finished.json["accounts"][0]["every"] == "30d", "defaults included"
    assert here("config", "show", ROTATOR_DEFAULTS__EVERY="7d").json["accounts"][0]["every"] == "7d"


def test_config_schema_is_json(here: Here) -> None:
    finished = here("config", "schema")
    assert finished.code == 0, finished
    assert "accounts" in finished.json["properties"]
