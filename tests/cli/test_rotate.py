"""rotate-now and plan: what they do, refuse and print."""

import json
import re
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trustme

from rotator.cli.rotate import withdrawal
from rotator.core.generator import Recipe, generate
from rotator.core.protocol import Journal, RequestKind, Retiring
from rotator.demo import running_openbao
from rotator.documents import render_journal
from rotator.emulator import Account, Operation, running
from rotator.rotation.creation import Creation
from testkit.cluster import PATIENCE, Cluster, Finished, Process
from tests.cli.harness import CHANGING, Here, Payments, everything, opened, said
from tests.core.protocol.situations import AT_REST, LATER, NOW, PREPARED, request

GRACE = f". Grace periods last as before: a until {LATER:%Y-%m-%d %H:%M} UTC"


def test_all_omits_a_disabled_account(payments: Payments, here: Here) -> None:
    payments.cluster.configure([payments.entry(enabled=False)])
    before = everything(payments.cluster)
    finished = here("rotate-now", "--all", "--json")
    assert (finished.code, finished.json["accounts"]) == (0, [])
    assert everything(payments.cluster) == before


def test_named_account_is_retried_during_its_backoff(payments: Payments, here: Here) -> None:
    here("rotate-now", "payments")
    journal = payments.cluster.journal("payments")
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    failed = {"attempts": 6, "next_attempt_at": later, "last_error": "it failed", "failure": "unanswered"}
    payments.cluster.put("rotator/journal/payments", journal | failed)
    deferred = here("rotate-now", "--due", "--json")
    assert (deferred.code, deferred.json["accounts"][0]["reason"]) == (3, "backoff"), deferred
    retried = here("rotate-now", "payments", "--due")
    assert retried.code == 0, retried
    assert not payments.cluster.journal("payments").get("attempts")


def test_missing_mount_is_refused(payments: Payments) -> None:
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments", env={"ROTATOR_VAULT__MOUNT": "nowhere"})
    assert finished.code == 2, finished
    assert 'no mount "nowhere"' in said(finished)
    assert "Nothing was written" in said(finished)
    assert everything(payments.cluster) == before


def test_mount_of_kv_version_1_is_refused(payments: Payments) -> None:
    cluster, old = payments.cluster, f"{payments.cluster.mount}old"
    cluster.vault("POST", f"sys/mounts/{old}", {"type": "kv", "options": {"version": "1"}})
    before = everything(cluster)
    finished = cluster.run("rotate-now", "payments", env={"ROTATOR_VAULT__MOUNT": old})
    assert finished.code == 2, finished
    assert f'mount "{old}" is KV version 1' in said(finished)
    assert everything(cluster) == before
    assert cluster.vault("GET", f"{old}/?list=true", missing_ok=True) is None, "something was written to it"


def test_sealed_vault_is_named(payments: Payments) -> None:
    with running_openbao() as other:
        payments.cluster.remember(other.root_token.get_secret_value())
        root = {"X-Vault-Token": other.root_token.get_secret_value()}
        httpx.put(f"{other.address}/v1/sys/seal", headers=root, timeout=PATIENCE).raise_for_status()
        env = {"ROTATOR_VAULT__ADDRESS": other.address, "VAULT_TOKEN": other.root_token.get_secret_value()}
        finished = payments.cluster.run("rotate-now", "payments", env=env)
    assert finished.code == 1, finished
    assert said(finished).startswith(
        f"Vault at {other.address} is sealed. Nothing was written. The request is not recorded, so repeat the command "
    )
    assert not payments.cluster.emulator.requests


def test_unavailable_vault_is_named(payments: Payments) -> None:
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments", env={"ROTATOR_VAULT__ADDRESS": "http://127.0.0.1:1"})
    assert finished.code == 1, finished
    assert said(finished).startswith("Vault at http://127.0.0.1:1 does not answer")
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests


def test_provider_of_an_unknown_ca_is_refused(payments: Payments, tmp_path: Path) -> None:
    cluster, ours, theirs = payments.cluster, trustme.CA(), trustme.CA()
    issued = theirs.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    before = everything(cluster)
    with running(cluster.emulator, certfile=tmp_path / "cert.pem", keyfile=tmp_path / "key.pem") as url:
        cluster.configure([payments.entry()], account_api={"api_url": url, "ca_cert": tmp_path / "ca.pem"})
        finished = cluster.run("rotate-now", "payments")
    assert finished.code == 1, finished
    assert "Traceback" not in finished.err
    line, request = (line for line in finished.out.splitlines() if line.startswith("payments: "))
    assert request == "payments: The request is not recorded. Run the command again"
    assert "The certificate of" in line
    assert "account_api.ca_cert" in line
    assert not cluster.emulator.requests
    assert everything(cluster) == before


def test_unknown_token_is_refused(payments: Payments) -> None:
    token = "hvs.NobodyEverIssuedThisOne"
    payments.cluster.remember(token)
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 1, finished
    assert re.match("Vault refuses .*token", said(finished))
    assert "VAULT_TOKEN" in said(finished), "what to do about it"
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests


def test_unreadable_journal_stays_unchanged(payments: Payments) -> None:
    payments.cluster.put("rotator/journal/payments", {"retiring": "not a list", "current_id": 3})
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments")
    assert finished.code == 1, finished
    assert "payments: The journal is not readable, wrong in: current_id, retiring." in finished.out
    assert "Traceback" not in finished.err
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests


def test_rotation_reports_its_result_as_json(payments: Payments) -> None:
    (first,) = payments.live
    finished = payments.cluster.run("rotate-now", "payments", "--json")
    assert finished.code == 0, finished
    (second,) = payments.live
    payments.assert_works()
    (rotation_id,) = [account["rotation_id"] for account in finished.json["accounts"]]
    assert re.fullmatch("[0-9a-f]{16}", rotation_id)
    assert finished.json == {
        "rotated": 1,
        "revoked": 1,
        "ok": 1,
        "deferred": 0,
        "failed": 0,
        "accounts": [
            {
                "account": "payments",
                "result": "ok",
                "state": "idle",
                "rotated": True,
                "revoked": [first],
                "reason": "idle",
                "until": None,
                "error": None,
                "next_command": None,
                "request": None,
                "request_recorded": False,
                "rotation_id": rotation_id,
            }
        ],
    }
    assert second != first
    for line in finished.err.splitlines():
        assert json.loads(line)["event"], "the log is JSON lines, and it is all on standard error"
    assert "rotation.published" in finished.err


def test_dry_run_changes_nothing(payments: Payments, here: Here) -> None:
    before = everything(payments.cluster)
    for args in (["--json"], ["--force"], ["--compromised"], []):
        finished = here("rotate-now", "payments", "--dry-run", *args)
        assert finished.code == 0, finished
        assert "payments" in finished.out
    assert "record the account in the journal" in finished.out
    assert everything(payments.cluster) == before
    assert payments.cluster.emulator.requests, "it did look"


def test_full_account_waits_unless_forced(payments: Payments) -> None:
    cluster = payments.cluster
    cluster.configure([payments.entry(grace="1h")])
    begun = cluster.run("rotate-now", "payments")
    assert begun.code == 0, begun
    assert begun.out.splitlines()[1].split(maxsplit=2)[2].strip() == (
        "new secret published, previous revoked in 1h  grace_period"
    )
    first, second = payments.live
    waiting = cluster.run("rotate-now", "payments", "--wait", "0")
    assert waiting.code == 3, waiting
    assert "full" in waiting.out
    assert f"payments: the account is full until {first} is revoked; --force does not wait for that" in waiting.out
    assert payments.live == [first, second]
    forced = cluster.run("rotate-now", "payments", "--force", "--json")
    assert forced.code == 0, forced
    assert forced.json["accounts"][0]["revoked"] == [first]
    assert payments.live[0] == second, "the one before keeps its own grace"
    assert len(payments.live) == 2
    payments.assert_works()


def test_compromised_secret_is_revoked_without_grace_period(payments: Payments) -> None:
    payments.cluster.configure([payments.entry(grace="1h")])
    (first,) = payments.live
    finished = payments.cluster.run("rotate-now", "payments", "--compromised", "--json")
    assert finished.code == 0, finished
    assert finished.json["accounts"][0]["revoked"] == [first]
    assert len(payments.live) == 1
    assert not payments.cluster.emulator.authenticates(payments.api_key, payments.first)
    payments.assert_works()


def test_due_rotates_due_accounts_only(payments: Payments) -> None:
    cluster = payments.cluster
    finished = cluster.run("rotate-now", "--due", "--json")
    assert (finished.code, finished.json["rotated"]) == (0, 0), finished
    assert not [request for request in cluster.emulator.requests if request.operation in CHANGING]
    other = opened(cluster, "alerts", "alerts01")
    cluster.configure([payments.entry(), other.entry(every="1ms")])
    finished = cluster.run("rotate-now", "--due", "--json")
    assert (finished.code, finished.json["rotated"]) == (0, 1), finished
    created = [request.api_key for request in cluster.emulator.requests if request.operation is Operation.CREATE]
    assert created == ["alerts01"]
    assert cluster.journal("alerts")["trigger"] == "schedule"


def interrupt(process: Process, number: signal.Signals = signal.SIGINT) -> Finished:
    """Ctrl-C or another signal once the process says that it waits; what it printed. It must not go on waiting."""
    popen = process.popen
    assert popen.stderr is not None
    assert popen.stdout is not None
    log = ""
    while "rotation.waiting" not in log:
        line = popen.stderr.readline()
        assert line, f"it never waited:\n{log}"
        log += line
    time.sleep(0.1)
    popen.send_signal(number)
    code = popen.wait(timeout=PATIENCE)
    out, log = popen.stdout.read(), log + popen.stderr.read()
    popen.stdout.close()
    popen.stderr.close()
    process.cluster.outputs += [out, log]
    return Finished(process.args, code, out, log)


def test_ctrl_c_ends_the_wait_for_grace(payments: Payments) -> None:
    payments.cluster.configure([payments.entry(grace="1h")])
    finished = interrupt(payments.cluster.start("rotate-now", "payments", "--wait", "2h", "--json"))
    assert finished.code == 0, finished
    assert finished.json["accounts"][0]["reason"] == "grace"
    assert "Traceback" not in finished.err
    assert len(payments.live) == 2
    assert payments.cluster.journal("payments")["holder"] is None
    payments.assert_works()


def test_ctrl_c_ends_the_wait_for_leases(payments: Payments) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    journal = {"current_id": payments.live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    payments.cluster.put("rotator/journal/payments", journal)
    before = everything(payments.cluster)
    finished = interrupt(payments.cluster.start("rotate-now", "payments", "--wait", "2h", "--json"))
    assert finished.code == 3, finished
    (account,) = finished.json["accounts"]
    command = ["rotate-now", "payments", "--wait", "5m"]
    assert account["error"] == f"host/1/x holds the lease. To continue: rotator {' '.join(command)}."
    assert account["next_command"] == command
    assert "Traceback" not in finished.err
    after = everything(payments.cluster)
    assert (after["live"], after["changing requests"]) == (before["live"], before["changing requests"])
    recorded = payments.cluster.journal("payments")
    assert (recorded["holder"], recorded["request"]["kind"]) == ("host/1/x", "manual"), "the lease holder continues"
    assert account["request"]["id"] == recorded["request"]["id"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_before_any_change_is_the_exit_code(payments: Payments, number: signal.Signals) -> None:
    """Without a request to record, a run under another instance's lease has written nothing."""
    payments.cluster.configure([payments.entry(every="1ms")])
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    journal = {"current_id": payments.live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    payments.cluster.put("rotator/journal/payments", journal)
    before = everything(payments.cluster)
    command = ["rotate-now", "payments", "--due", "--wait", "2h", "--json"]
    finished = interrupt(payments.cluster.start(*command), number)
    assert finished.code == 128 + number, finished
    assert finished.json["accounts"][0]["result"] == "deferred"
    assert everything(payments.cluster) == before


def test_internal_error_says_that_the_request_is_recorded(
    payments: Payments, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("prepare")

    monkeypatch.setattr(Creation, "prepare", fail)
    finished = here("rotate-now", "payments", "--compromised")
    assert finished.code == 1, finished
    assert "An internal error (KeyError at" in finished.out
    assert "The request (compromised, by " in finished.out
    assert payments.cluster.journal("payments")["request"]["kind"] == "compromised"


def test_primary_is_rotated_after_its_secondaries(cluster: Cluster) -> None:
    boss = opened(cluster, "boss", "boss0001")
    children = [opened(cluster, f"child{number}", f"child{number}") for number in range(3)]
    cluster.configure([boss.entry(), *(child.entry(primary="boss") for child in children)])
    finished = cluster.run("rotate-now", "--all", "--json")
    assert (finished.code, finished.json["rotated"]) == (0, 4), finished
    requests = cluster.emulator.requests
    last_of_the_children = max(at for at, request in enumerate(requests) if request.api_key != "boss0001")
    first_of_the_boss = min(at for at, request in enumerate(requests) if request.api_key == "boss0001")
    assert last_of_the_children < first_of_the_boss
    for account in (boss, *children):
        account.assert_works()


def test_secondary_is_adopted_through_its_primary(cluster: Cluster) -> None:
    boss = opened(cluster, "boss", "boss0001")
    child = Payments(cluster, generate(Recipe()), "child", "child001", "apps/child")
    cluster.emulator.open_account(Account("child001", child.first), primary="boss0001")
    cluster.configure([boss.entry(), child.entry(primary="boss")])
    finished = cluster.run("rotate-now", "child", "--json")
    assert (finished.code, finished.json["rotated"]) == (1, 1), finished
    (account,) = finished.json["accounts"]
    assert (account["reason"], account["next_command"]) == ("ambiguous", ["resolve", "child"])
    assert child.first in cluster.emulator.live("child001").values(), "it might be in use elsewhere"
    (created,) = [request for request in cluster.emulator.requests if request.operation is Operation.CREATE]
    assert (created.api_key, created.authenticated_as) == ("child001", "boss0001")
    assert cluster.document("apps/child")["api_key"] == "child001"
    child.assert_works()
    boss_s = cluster.emulator.live("boss0001")
    assert [value.get_secret_value() for value in boss_s.values()] == [boss.first.get_secret_value()]


def test_thirty_accounts_are_rotated_at_once(cluster: Cluster) -> None:
    accounts = [opened(cluster, f"a{number:02}", f"key{number:02}") for number in range(30)]
    cluster.configure([account.entry() for account in accounts])
    finished = cluster.run("rotate-now", "--all")
    assert finished.code == 0, finished
    names = [line.split()[0] for line in finished.out.splitlines()[1:]]
    assert names == [account.name for account in accounts], "a line an account, in order"
    for account in accounts:
        account.assert_works()
        assert len(account.live) == 1
    keys = [request.api_key for request in cluster.emulator.requests if request.operation is Operation.CREATE]
    assert sorted(keys) == [account.api_key for account in accounts]
    asked = [request.api_key for request in cluster.emulator.requests]
    assert asked != sorted(asked), "they went one after the other, not at once"


def test_accounts_with_one_failure_share_a_line(cluster: Cluster, here: Here) -> None:
    accounts = [opened(cluster, f"a{number}", f"key{number}", published=False) for number in range(8)]
    cluster.configure([account.entry() for account in accounts])
    finished = here("rotate-now", "--all")
    assert finished.code == 1, finished
    requests = [line for line in finished.out.splitlines() if "request" in line]
    assert len(requests) == 1, finished
    assert requests[0].startswith("a0, a1, a2, a3, a4 and 3 more: ")


@pytest.mark.parametrize(
    ("journal", "holder", "rest"),
    [
        (AT_REST, None, ""),
        (replace(AT_REST, retiring=(Retiring("a", LATER),)), None, GRACE),
        (
            replace(AT_REST, retiring=(Retiring("a", LATER),)),
            "host-1",
            f"{GRACE}. host-1 holds the lease and might still revoke them",
        ),
        (PREPARED, None, ". The rotation that began goes on"),
        (
            replace(AT_REST, retiring=(Retiring("a", NOW, compromised=True), Retiring("c", LATER))),
            None,
            f"{GRACE.replace('a until', 'c until')}. These ids are compromised and stay due: a",
        ),
    ],
    ids=["none", "grace period", "leased", "candidate", "compromised"],
)
def test_withdrawal_names_the_rest_of_the_request(journal: Journal, holder: str | None, rest: str) -> None:
    asked = request(RequestKind.COMPROMISED)
    assert withdrawal(asked, journal, holder) == f"the request (compromised) is withdrawn{rest}"
    assert withdrawal(None, journal, holder) == "no request is recorded"


@pytest.mark.parametrize(("minutes", "is_named"), [(4, True), (-1, False)], ids=["leased", "expired"])
def test_withdrawal_names_the_holder_of_a_lease(payments: Payments, here: Here, minutes: int, is_named: bool) -> None:
    """An instance that died leaves its name in the journal."""
    now = datetime.now(UTC)
    journal = replace(
        AT_REST,
        api_key=None,
        retiring=(Retiring("a", now + timedelta(hours=1)),),
        request=request(RequestKind.COMPROMISED),
        lease_holder="host/1/x",
        lease_until=now + timedelta(minutes=minutes),
    )
    payments.cluster.put("rotator/journal/payments", dict(render_journal(journal)))
    withdrawn = here("rotate-now", "payments", "--cancel")
    assert "the request (compromised) is withdrawn. Grace periods last as before: " in withdrawn.out, withdrawn
    assert ("host/1/x holds the lease and might still revoke them" in withdrawn.out) == is_named


@pytest.mark.parametrize("kind", [RequestKind.MANUAL, RequestKind.FORCE])
def test_withdrawal_of_other_requests_names_no_grace(kind: RequestKind) -> None:
    """They made nothing due."""
    journal = replace(AT_REST, retiring=(Retiring("a", LATER),))
    assert withdrawal(request(kind), journal) == f"the request ({kind}) is withdrawn"
