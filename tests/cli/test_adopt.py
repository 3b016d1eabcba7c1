"""adopt and resolve: values from safe places, and only what a person names."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from rotator.demo import free_port
from testkit.cluster import Cluster, Tape, eventually, proxied
from tests.cli.harness import CHANGING, Here, Payments, everything, opened, said
from tests.cli.pseudo_terminal import on_terminal

LOOK = "No unknown secret was revoked. To see the secrets and their state: rotator account secrets list payments."


def test_adopted_value_is_never_among_the_arguments(cluster: Cluster) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    seen: list[bytes] = []
    tape = Tape()

    def look(_: object) -> None:
        seen.append(Path(f"/proc/{tape.victim}/cmdline").read_bytes())

    tape.when = look
    with proxied({"vault": cluster.bao.address, "provider": cluster.api_url}, tape) as urls:
        env = {"ROTATOR_VAULT__ADDRESS": urls["vault"], "ROTATOR_ACCOUNT_API__API_URL": urls["provider"]}
        process = cluster.start(
            "adopt", "payments", "--secret-env", "MINE", env=env | {"MINE": new.first.get_secret_value()}
        )
        tape.victim = process.popen.pid
        finished = process.finish()
    assert finished.code == 0, finished
    assert seen
    for arguments in seen:
        assert b"--secret-env\0MINE" in arguments
        assert new.first.get_secret_value().encode() not in arguments
    new.assert_adopted()
    new.identify()
    new.assert_works()
    current = cluster.journal("payments")["current_id"]
    assert (current["id"], current["learned"]) == (new.live[0], "eliminated")
    assert not [request for request in cluster.emulator.requests if request.operation in CHANGING]


def test_adopt_reads_standard_input(cluster: Cluster) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    finished = cluster.run("adopt", "payments", "--secret-stdin", "--json", text=new.first.get_secret_value() + "\n")
    assert finished.code == 0, finished
    assert finished.json["accounts"][0]["state"] == "idle"
    new.assert_adopted()


def test_adopt_reads_a_file(cluster: Cluster, here: Here, tmp_path: Path) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    (tmp_path / "secret").write_text(new.first.get_secret_value() + "\r\n")
    finished = here("adopt", "payments", "--secret-file", str(tmp_path / "secret"))
    assert finished.code == 0, finished
    assert f"payments: secret id {new.live[0]} (later lists confirm it)" in finished.out
    new.assert_adopted()


def test_adopt_reports_its_result(cluster: Cluster, here: Here) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    first = here("adopt", "payments", "--secret-env", "MINE", MINE=new.first.get_secret_value())
    assert first.code == 0, first
    assert re.search(r"^payments +ok +adopted, version 1 published +idle$", first.out, re.MULTILINE), first
    again = here("adopt", "payments", "--secret-env", "MINE")
    assert again.code == 0, again
    assert re.search(r"version \d contained this secret already: it needed no adoption", again.out), again


def secret_files(cluster: Cluster, folder: Path, *accounts: Payments) -> Path:
    folder.mkdir()
    for account in accounts:
        file = folder / account.name
        file.touch(mode=0o600)
        file.write_text(account.first.get_secret_value() + "\n")
    return folder


def test_adopt_all_reads_one_file_per_account(cluster: Cluster, here: Here, tmp_path: Path) -> None:
    accounts = [opened(cluster, f"a{number}", f"key{number}", published=False) for number in range(5)]
    cluster.configure([account.entry() for account in accounts])
    folder = secret_files(cluster, tmp_path / "values", *accounts[:4])
    (folder / "a3").write_text("Wrong0Secret9Value")
    finished = here("adopt", "--all", "--secret-dir", str(folder))
    assert finished.code == 1, finished
    assert finished.out.count("adopted, version 1 published") == 3
    assert "a3: The provider refuses this secret for a3 (key3). Nothing was written." in finished.out
    for account in accounts[:3]:
        account.assert_adopted()
    assert cluster.document("apps/a3") == cluster.document("apps/a4") == {}


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [("payments", 0o640, "Other users may read "), ("shop", 0o600, "/shop is named like no account.")],
)
def test_adopt_all_refuses_a_file_before_it_writes(
    payments: Payments, here: Here, name: str, mode: int, message: str
) -> None:
    folder = secret_files(payments.cluster, payments.cluster.folder / "values")
    (folder / name).touch()
    (folder / name).chmod(mode)
    before = everything(payments.cluster)
    finished = here("adopt", "--all", "--secret-dir", str(folder))
    assert finished.code == 2, finished
    assert message in said(finished)
    assert everything(payments.cluster) == before


def test_adopt_refuses_a_wrong_secret(cluster: Cluster) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    cluster.remember("Wrong0Secret9Value")
    before = everything(cluster)
    finished = cluster.run("adopt", "payments", "--secret-env", "MINE", env={"MINE": "Wrong0Secret9Value"})
    assert finished.code == 1, finished
    assert said(finished).startswith("The provider refuses this secret for payments (abcd1234). Nothing was written.")
    assert everything(cluster) == before


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_id_is_named_without_pasting_the_published_value(payments: Payments, here: Here, terminal: bool) -> None:
    cluster = payments.cluster
    (published,) = payments.live
    other = cluster.emulator.add_secret(payments.api_key, SecretStr("Other0Other1Other2"))
    cluster.remember("Other0Other1Other2")
    ambiguous = here("rotate-now", "payments", "--due")
    assert ambiguous.code == 1, ambiguous
    assert "rotator takes the value from Vault. " in ambiguous.out
    assert ": rotator adopt payments --secret-id ID --retire OTHER_ID." in ambiguous.out
    args = ("adopt", "payments", "--secret-id", published, "--retire", other)
    if terminal:
        code, shown = on_terminal(cluster, *args, prompt="(empty: the published one): ")
    else:
        finished = here(*args)
        code, shown = finished.code, finished.out + finished.err
    assert code == 0, shown
    assert cluster.journal("payments")["current_id"]["id"] == published
    assert cluster.document(payments.path)["api_secret"] == payments.first.get_secret_value()
    assert list(payments.live) == [published]


@pytest.mark.parametrize("source", ["stdin", "file", "env"])
def test_advice_brings_the_same_value_again(payments: Payments, here: Here, tmp_path: Path, source: str) -> None:
    """Without a value, the command would take the published one: the ids would be named for the wrong secret."""
    cluster = payments.cluster
    (published,) = payments.live
    mine = cluster.emulator.add_secret(payments.api_key, SecretStr("Mine0Mine1Mine2"))
    cluster.remember("Mine0Mine1Mine2")
    (tmp_path / "secret").write_text("Mine0Mine1Mine2")
    options = {"stdin": "--secret-stdin", "file": f"--secret-file {tmp_path}/secret", "env": "--secret-env MINE"}
    before = everything(cluster)
    args = ("adopt", "payments", *options[source].split(), "--replace", "--json")
    finished = cluster.run(*args, text="Mine0Mine1Mine2", env={"MINE": "Mine0Mine1Mine2"})
    assert finished.code == 1, finished
    assert everything(cluster) == before
    advised = ["adopt", "payments", *options[source].split(), "--replace", "--secret-id", "ID", "--retire", "OTHER_ID"]
    assert finished.json["next_command"] == advised
    ids = {"ID": mine, "OTHER_ID": published}
    args = tuple(ids.get(arg, arg) for arg in advised)
    adopted = cluster.run(*args, text="Mine0Mine1Mine2", env={"MINE": "Mine0Mine1Mine2"})
    assert adopted.code == 0, adopted
    assert cluster.document(payments.path)["api_secret"] == "Mine0Mine1Mine2"
    assert list(payments.live) == [mine]


def test_adopt_replaces_a_working_secret_only_on_request(payments: Payments, here: Here) -> None:
    cluster = payments.cluster
    known = here("adopt", "payments", "--secret-env", "MINE", MINE=payments.first.get_secret_value())
    assert known.code == 0, known
    (before_id,) = payments.live
    cluster.remember("Mine0Mine1Mine2")
    mine = cluster.emulator.add_secret(payments.api_key, SecretStr("Mine0Mine1Mine2"))
    before = everything(cluster)
    finished = here("adopt", "payments", "--secret-env", "MINE", "--secret-id", mine, MINE="Mine0Mine1Mine2")
    assert finished.code == 1, finished
    assert "already contains another secret, which authenticates" in said(finished)
    assert everything(cluster) == before
    finished = here("adopt", "payments", "--secret-env", "MINE", "--secret-id", mine, "--replace")
    assert finished.code == 1, finished
    assert f"a person named {mine}" in finished.out
    assert before_id in payments.live, "adoption retires nothing unasked"
    document = cluster.document(payments.path)
    assert (document["api_secret"], document["secret_id"]) == ("Mine0Mine1Mine2", None), "the id is not certain"


def test_unknown_secret_stops_the_account_until_resolved(payments: Payments, here: Here) -> None:
    cluster = payments.cluster
    adopted = cluster.run("rotate-now", "payments")
    assert adopted.code == 0, adopted
    stranger = cluster.emulator.add_secret(payments.api_key, SecretStr("Stranger0Stranger1"))
    cluster.remember("Stranger0Stranger1")

    early = cluster.run("rotate-now", "payments")
    assert early.code == 1, early
    assert f"the provider lists {stranger}, and no later list confirms" in early.out
    assert "rotator resolve payments" in early.out
    eventually(lambda: f"a secret that rotator did not create: {stranger}" in cluster.run("rotate-now", "payments").out)
    assert cluster.journal("payments")["phase"] == "ambiguous"

    before = everything(cluster)
    published = cluster.document(payments.path)["secret_id"]
    for wrong in (published, "00000000-0000-4000-8000-000000000000"):
        mistaken = here("resolve", "payments", "--revoke", wrong)
        assert mistaken.code == 2, mistaken
        assert said(mistaken) == f"{wrong} is not among the unknown secrets of payments: {stranger}. {LOOK}"
    silent = cluster.run("resolve", "payments")
    assert silent.code == 2, silent
    assert f"rotator resolve payments --revoke {stranger}" in said(silent)
    assert everything(cluster) == before

    resolved = cluster.run("resolve", "payments", "--revoke", stranger, "--json")
    assert resolved.code == 0, resolved
    assert resolved.json["accounts"][0]["revoked"] == [stranger, published], "the request is carried out as well"
    assert len(payments.live) == 1
    assert (cluster.journal("payments")["phase"], cluster.journal("payments")["request"]) == ("idle", None)
    payments.assert_works()


def test_first_error_of_two_secrets_leads_to_success(cluster: Cluster, here: Here) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry(grace="1h")])
    (own,) = new.live
    other = cluster.emulator.add_secret(new.api_key, SecretStr("Other0Other1Other2"))
    cluster.remember("Other0Other1Other2")
    value = {"MINE": new.first.get_secret_value()}
    before = everything(cluster)
    refused = said(here("adopt", "payments", "--secret-env", "MINE", **value))
    assert "The provider lists 2 secrets" in refused
    assert everything(cluster) == before
    command = refused.partition("after the grace period: rotator ")[2].removesuffix(".")
    args = command.replace("OTHER_ID", other).replace(" ID", f" {own}").split()
    adopted = here(*args, "--secret-env", "MINE", **value)
    assert adopted.code == 0, adopted
    assert cluster.document(new.path)["api_secret"] == new.first.get_secret_value()
    assert [entry["id"] for entry in cluster.journal("payments")["retiring"]] == [other]


def test_ambiguous_adoption_reports_the_version_it_published(cluster: Cluster, here: Here) -> None:
    """It said that the published secret stays, where there had been none."""
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    (own,) = new.live
    cluster.emulator.add_secret(new.api_key, SecretStr("Other0Other1Other2"))
    cluster.remember("Other0Other1Other2")
    args = ("adopt", "payments", "--secret-env", "MINE", "--secret-id", own)
    failed = here(*args, MINE=new.first.get_secret_value())
    assert failed.code == 1, failed
    assert "version 1 published, ambiguous" in failed.out
    assert "Nothing was revoked, and version 1 is published and works. " in failed.out
    again = here(*args, MINE=new.first.get_secret_value())
    assert "Nothing was revoked, and the published secret stays. " in again.out


def test_unreachable_provider_leads_to_the_same_command(cluster: Cluster, here: Here) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()], account_api={"api_url": f"http://127.0.0.1:{free_port()}"})
    before = everything(cluster)
    line = said(here("adopt", "payments", "--secret-env", "MINE", MINE=new.first.get_secret_value()))
    assert "cannot be reached" in line
    assert " Nothing was written. " in line
    assert line.endswith(" To try again: rotator adopt payments --secret-env MINE.")
    assert everything(cluster) == before
