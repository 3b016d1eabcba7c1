"""`rotator check` names what a rotation lacks, and changes nothing."""

from pathlib import Path

from rotator.core.generator import Recipe, generate
from rotator.emulator import Account
from testkit.cluster import Cluster
from tests.cli.harness import (
    Here,
    Payments,
    everything,
    opened,
)


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


def test_secondary_is_led_to_its_primary_account(cluster: Cluster, here: Here) -> None:
    """It needs no adoption: its first run creates a secret through the primary account."""
    boss = opened(cluster, "boss", "boss0001")
    child = Payments(cluster, generate(Recipe()), "child", "child001", "apps/child")
    cluster.emulator.open_account(Account("child001", child.first), primary="boss0001")
    cluster.configure([boss.entry(), child.entry(primary="boss")])
    checked = here("check")
    assert checked.code == 0, checked
    assert "ok    account boss: the provider accepts the published secret, 1 live" in checked.out
    assert "to do account child: nothing is published yet. Its primary account can create one. " in checked.out
    assert "Run for each: rotator rotate-now NAME\n" in checked.out
    for command in ("secrets list", "balance", "settings"):
        shown = here("account", *command.split(), "child")
        text = shown.out + shown.err
        assert "Its primary account boss can create the first one: rotator rotate-now child." in text, shown
    here("rotate-now", "child")
    child.assert_works()


def test_secondary_of_new_primary_is_to_do(cluster: Cluster, here: Here) -> None:
    """Nothing is wrong: the primary account is adopted first."""
    boss = opened(cluster, "boss", "boss0001", published=False)
    names = ("left", "right")
    children = [Payments(cluster, generate(Recipe()), name, f"key{name}", f"apps/{name}") for name in names]
    for child in children:
        cluster.emulator.open_account(Account(child.api_key, child.first), primary="boss0001")
    cluster.configure([boss.entry(), *(child.entry(primary="boss") for child in children)])
    checked = here("check")
    assert checked.code == 0, checked
    to_do = "to do accounts left, right: nothing is published yet. Its primary account boss can create one"
    assert f"{to_do} as soon as it is adopted. Run: rotator adopt boss" in checked.out.splitlines()
    ran = here("rotate-now", "left", "--json")
    assert (ran.code, ran.json["accounts"][0]["reason"]) == (1, "not_adopted")
    cluster.put(boss.path, {"api_secret": boss.first.get_secret_value()})
    assert "to do accounts left, right: nothing is published yet. Its primary account can" in here("check").out


def test_check_fails_when_primarys_document_is_lost(cluster: Cluster, here: Here) -> None:
    boss = opened(cluster, "boss", "boss0001")
    child = Payments(cluster, generate(Recipe()), "child", "child001", "apps/child")
    cluster.emulator.open_account(Account("child001", child.first), primary="boss0001")
    cluster.configure([boss.entry(), child.entry(primary="boss")])
    cluster.vault("DELETE", f"{cluster.mount}/data/{boss.path}")
    checked = here("check", "child")
    assert checked.code == 1, checked
    what = "FAIL  account child: The primary account boss cannot act for child: the newest version of the published"
    undelete = f"vault kv undelete -mount={cluster.mount} -versions=1 {boss.path}"
    assert f"{what} document is deleted. Nothing was changed for child. Restore it: {undelete}. " in checked.out
    cluster.vault("DELETE", f"{cluster.mount}/metadata/{boss.path}")
    checked = here("check", "child")
    assert checked.code == 0, checked


def test_check_fails_when_a_published_document_is_lost(payments: Payments, here: Here) -> None:
    assert here("rotate-now", "payments").code == 0
    payments.cluster.vault("DELETE", f"{payments.cluster.mount}/data/{payments.path}")
    finished = here("check")
    assert finished.code == 1, finished
    assert "FAIL  account payments: " in finished.out


def test_check_distinguishes_missing_field_from_deleted_document(payments: Payments, here: Here) -> None:
    cluster = payments.cluster
    assert here("rotate-now", "payments", "--due").code == 0
    cluster.put(payments.path, {"password": "not the configured field"})
    finished = here("check")
    assert finished.code == 1, finished
    assert "the newest version of the published document has no value in the field api_secret; " in finished.out
    assert "If the field has another name, correct the configuration" in finished.out
    cluster.vault("DELETE", f"{cluster.mount}/data/{payments.path}")
    finished = here("check")
    assert "the newest version of the published document is deleted; " in finished.out
    assert f"Restore it: vault kv undelete -mount={cluster.mount} -versions=2 {payments.path}" in finished.out


def test_check_tries_the_audit_log(payments: Payments, here: Here, tmp_path: Path) -> None:
    good = here("check", ROTATOR_AUDIT__FILE=str(tmp_path / "audit.jsonl"))
    assert good.code == 0, good
    assert good.out.startswith(f"ok    the audit log {tmp_path}/audit.jsonl can be written")
    bad = here("check", ROTATOR_AUDIT__FILE=str(tmp_path / "missing" / "audit.jsonl"))
    assert bad.code == 2, bad
    assert bad.out.startswith("FAIL  audit.file: ")


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
