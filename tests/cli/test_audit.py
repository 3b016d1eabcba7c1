"""`rotator audit`, and the audit lines of commands and of the daemon."""

import json
from pathlib import Path

import pytest

from rotator import audit
from rotator.audit.verify import verify
from testkit.cluster import Cluster
from tests.audit.harness import WHOLE, acts, fields
from tests.cli.harness import Payments, opened


@pytest.fixture
def payments(cluster: Cluster, audit_file: Path) -> Payments:
    made = opened(cluster)
    cluster.configure([made.entry()], audit={"file": audit_file}, defaults={"grace": "1h"})
    return made


def test_log_leads_from_leaked_value_to_its_rotation(cluster: Cluster, payments: Payments, audit_file: Path) -> None:
    rotated = cluster.run("rotate-now", "payments", "--json", env={"SUDO_USER": "alice"})
    assert rotated.code == 0, rotated
    assert acts(audit_file) == WHOLE[:4]
    lines = fields(audit_file)
    assert {line["actor"]["sudo_user"] for line in lines} == {"alice"}
    logged = [json.loads(line) for line in rotated.err.splitlines()]
    assert [line["audit"] for line in logged if line["event"] == "audit.recorded"] == [line["hash"] for line in lines]

    leaked = cluster.document(payments.path)["api_secret"]
    asked = cluster.run("audit", "fingerprint", payments.api_key, "--secret-stdin", text=leaked + "\n")
    (rotation_id,) = {line["rotation_id"] for line in lines if line["fingerprint"] == asked.out.strip()}
    assert rotation_id == rotated.json["accounts"][0]["rotation_id"]

    verified = cluster.run("audit", "verify", "--head", lines[-1]["hash"])
    assert (verified.code, verified.out) == (0, f"ok: 4 lines, the last one's hash is {lines[-1]['hash']}\n")
    audit_file.write_text(audit_file.read_text().replace('"manual"', '"schedule"', 1))
    verified = cluster.run("audit", "verify")
    assert (verified.code, verified.out) == (1, f"{audit_file}:1 was changed\n")
    assert cluster.run("audit", "verify", "--json").json == {
        "ok": False,
        "lines": 0,
        "head": None,
        "problem": f"{audit_file}:1 was changed",
        "notes": [],
    }


def test_manual_commands_are_audited(cluster: Cluster, payments: Payments, audit_file: Path) -> None:
    assert cluster.run("rotate-now", "payments", "--compromised").code == 0
    before = len(acts(audit_file))

    added = cluster.run("account", "secrets", "create", "payments", "--out", "new", "--yes", "--json")
    assert added.code == 0, added
    made_up = (cluster.folder / "new").read_text().strip()
    cluster.remember(made_up)
    assert cluster.run("account", "secrets", "revoke", "payments", added.json["id"], "--yes").code == 0
    assert cluster.run("account", "top-up", "payments", "--trx-stdin", "--yes", text="00X123456Y7890123Z").code == 1
    changed = cluster.run("account", "settings", "payments", "--mo-callback-url", "http://127.0.0.1:1/", "--yes")
    assert changed.code == 0, changed

    lines = fields(audit_file)[before:]
    assert [f"{line['event']} {line['result']}" for line in lines] == [
        *("create started", "create succeeded"),
        *("retire started", "retire succeeded"),
        *("revoke started", "revoke succeeded"),
        *("top_up started", "top_up failed"),
        *("callbacks started", "callbacks succeeded"),
    ]
    assert lines[0]["fingerprint"] == audit.fingerprint(payments.api_key, made_up)
    assert {line["secret_id"] for line in lines[1:6]} == {added.json["id"]}
    assert verify([audit_file]).problem is None


def test_unopenable_log_stops_every_changing_command(cluster: Cluster, payments: Payments, tmp_path: Path) -> None:
    nowhere = {"ROTATOR_AUDIT__FILE": str(tmp_path / "nowhere" / "audit.jsonl")}
    assert cluster.run("rotate-now", "payments", "--due").code == 0
    before = payments.live
    for args in (
        ["run"],
        ["rotate-now", "payments"],
        ["adopt", "payments", "--secret-stdin"],
        ["account", "secrets", "create", "payments", "--out", "new", "--yes"],
        ["account", "top-up", "payments", "--trx-stdin", "--yes"],
        ["account", "settings", "payments", "--mo-callback-url", "", "--yes"],
    ):
        refused = cluster.run(*args, env=nowhere, text=payments.first.get_secret_value() + "\n")
        assert refused.code == 2, refused
        assert "cannot be opened for writing: No such file or directory. Nothing was written anywhere." in refused.err
    assert payments.live == before
    assert not (cluster.folder / "new").exists()
    assert cluster.run("status", env=nowhere).code == 0


def test_verify_refuses_a_missing_log(cluster: Cluster, audit_file: Path) -> None:
    cluster.configure([opened(cluster).entry()])
    for args, says in [
        ([], "There is no audit log"),
        ([str(audit_file)], f"{audit_file} cannot be read: No such file"),
    ]:
        found = cluster.run("audit", "verify", *args)
        assert (found.code, found.out) == (2, "")
        assert says in found.err


def test_daemon_keeps_its_log_when_new_one_fails(cluster: Cluster, payments: Payments, audit_file: Path) -> None:
    every = {"every": "3s", "grace": "0s", "jitter": "0s"}
    cluster.configure([payments.entry()], audit={"file": audit_file}, defaults=every)
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.revoked")
        assert acts(audit_file)[: len(WHOLE)] == WHOLE
        assert {line["trigger"] for line in fields(audit_file)} == {"schedule"}
        cluster.configure([payments.entry()], audit={"file": audit_file.parent / "nowhere" / "x"}, defaults=every)
        refused = daemon.wait_for("config.reload_failed")
        assert "No such file or directory" in refused["error"]
        count = len(daemon.find("rotation.revoked"))
        daemon.wait_for("rotation.revoked", count=count + 1)
        assert len(acts(audit_file)) >= 2 * len(WHOLE)
    assert verify([audit_file]).problem is None
