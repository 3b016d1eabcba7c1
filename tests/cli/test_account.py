"""`rotator account`: the whole Account API by hand, against a real OpenBao and the emulator."""

import os
import pty
import re
import stat
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.config import AccountSettings, load
from rotator.core.generator import Recipe, generate
from rotator.demo import free_port
from rotator.emulator import Operation
from rotator.fleet import Fleet, Request, Wanted
from rotator.fleet.permissions import Permissions
from rotator.provider import AccountApi
from rotator.rotation import Result
from rotator.vault import Vault
from testkit.cluster import Cluster, Finished, eventually
from tests.cli.harness import Here, Payments, everything, opened, said
from tests.provider.harness import provider, says

TRX = "payment-reference-4711"
NOBODY = "5f2c1d9e-0000-4000-8000-000000000000"


def visit(payments: Payments, wanted: Wanted) -> None:
    """What a run of rotator does to the account."""
    settings = load(payments.cluster.config)
    with AccountApi(settings.account_api) as api:
        fleet = Fleet(settings, api, Vault(settings.vault), threading.Event())
        (account,) = settings.accounts
        assert fleet.rotation(account, Request(wanted)).run().result is Result.OK


@pytest.fixture
def adopted(payments: Payments, monkeypatch: pytest.MonkeyPatch) -> Payments:
    """Taken on by rotator, with one secret."""
    payments.cluster.remember(TRX)
    monkeypatch.setenv("VAULT_TOKEN", payments.cluster.bao.root_token.get_secret_value())

    def identified() -> bool:
        visit(payments, Wanted.NOTHING_NEW)
        return bool(payments.cluster.journal(payments.name)["current_id"]["learned"] == "eliminated")

    eventually(identified)
    return payments


@pytest.fixture
def rotated(adopted: Payments) -> Payments:
    """Rotated: the provider itself named the published secret's id."""
    visit(adopted, Wanted.NOW)
    assert len(adopted.live) == 1
    return adopted


@pytest.fixture
def overlapping(adopted: Payments) -> Payments:
    """Just rotated: the secret before is in its grace, for an hour."""
    adopted.cluster.configure([adopted.entry(grace="1h")])
    visit(adopted, Wanted.NOW)
    assert len(adopted.live) == 2
    return adopted


def change_journal(payments: Payments, **changes: Any) -> None:
    path = f"rotator/journal/{payments.name}"
    payments.cluster.put(path, payments.cluster.document(path) | changes)


def later(**duration: float) -> str:
    return (datetime.now(UTC) + timedelta(**duration)).isoformat()


def asked_for(payments: Payments, operation: Operation) -> int:
    return sum(request.operation is operation for request in payments.cluster.emulator.requests)


def added_by_hand(payments: Payments) -> str:
    """A secret that somebody adds in the dashboard; its id."""
    value = generate(Recipe())
    payments.cluster.remember(value.get_secret_value())
    return payments.cluster.emulator.add_secret(payments.api_key, value)


# --- balance, top-up, settings -------------------------------------------------------------------------------


def test_balance_shows_every_account(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.change_account(adopted.api_key, balance=Decimal("7.25"), auto_reload=True)
    finished = here("account", "balance", "--json")
    assert finished.code == 0, finished
    row = {"account": "payments", "euros": 7.25, "low": False, "auto_reload": True, "error": None}
    assert finished.json == {"accounts": [row]}
    table = here("account", "balance", "payments")
    assert re.search(r"payments +7\.25 +no +yes", table.out), table
    adopted.cluster.configure([adopted.entry(balance_threshold="7.26")])
    assert re.search(r"payments +7\.25 +yes +yes", here("account", "balance").out)


def test_balance_shows_others_when_one_account_fails(cluster: Cluster, adopted: Payments, here: Here) -> None:
    other = opened(cluster, "alerts", "ef567890")
    cluster.configure([adopted.entry(), other.entry()])
    cluster.put(other.path, {"api_secret": "NoLongerValid1"})
    finished = here("account", "balance", "--json")
    assert finished.code == 1
    first, second = finished.json["accounts"]
    assert (first["euros"], second["euros"]) == (10, None)
    assert second["error"] == (
        "The provider refuses the published secret of alerts (ef567890). Nothing was changed. "
        "Find out why: rotator check alerts."
    )
    assert "alerts: The provider refuses the published secret" in here("account", "balance").out


def test_missing_published_secret_is_one_clear_line(cluster: Cluster, here: Here) -> None:
    cluster.configure([opened(cluster, published=False).entry()])
    assert said(here("account", "settings", "payments")).startswith(
        "Nothing is published for payments at apps/payments. Nothing was changed. Bring the secret in use"
    )


@pytest.mark.parametrize("how", ["file", "env", "stdin"])
def test_top_up_reads_its_reference_from_a_file(adopted: Payments, here: Here, how: str) -> None:
    cluster = adopted.cluster
    cluster.emulator.change_account(adopted.api_key, auto_reload=True)
    if how == "stdin":
        finished = cluster.run("account", "top-up", "payments", "--trx-stdin", "--yes", "--json", text=f"{TRX}\n")
    else:
        (cluster.folder / "trx").write_text(f"{TRX}\n")
        place = {"file": str(cluster.folder / "trx"), "env": "MY_TRX"}[how]
        finished = here("account", "top-up", "payments", f"--trx-{how}", place, "--yes", "--json", MY_TRX=TRX)
    assert (finished.code, finished.json) == (0, {"account": "payments", "topped_up": True}), finished
    assert cluster.emulator.profile(adopted.api_key).balance == 20


def test_refused_top_up_says_why(adopted: Payments, here: Here) -> None:
    line = said(here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=TRX))
    assert "401" in line
    assert "auto-reload" in line
    assert "payments was not topped up" in line


@pytest.mark.parametrize("nothing", ["", " \t"], ids=["empty", "blank"])
def test_top_up_is_not_sent_without_a_reference(adopted: Payments, here: Here, nothing: str) -> None:
    finished = here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=nothing)
    assert (finished.code, said(finished)) == (2, "MY_TRX: The value is empty.")
    assert asked_for(adopted, Operation.TOP_UP) == 0


def test_top_up_is_sent_once_when_unanswered(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.change_account(adopted.api_key, auto_reload=True)
    adopted.cluster.emulator.faults.add("top-up:drop-after")
    line = said(here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=TRX))
    assert "Whether payments was topped up is not known. Look before you try again: rotator account balance" in line
    assert asked_for(adopted, Operation.TOP_UP) == 1


def test_callbacks_are_shown_set_and_unset(adopted: Payments, here: Here) -> None:
    url = "https://example.com/inbound"
    finished = here("account", "settings", "payments", "--mo-callback-url", url, "--yes", "--json")
    assert finished.code == 0, finished
    assert finished.json["mo_callback_url"] == url
    here("account", "settings", "payments", "--dr-callback-url", "https://example.com/dr", "--yes")
    unset = here("account", "settings", "payments", "--mo-callback-url", "", "--yes", "--json")
    assert (unset.json["mo_callback_url"], unset.json["dr_callback_url"]) == ("", "https://example.com/dr")
    shown = here("account", "settings", "payments")
    assert re.search(r"dr callback url +https://example.com/dr", shown.out), shown
    assert re.search(r"max calls per second +30", shown.out), shown


def test_forward_method_is_set_without_reported_limits(adopted: Payments, here: Here) -> None:
    url = "https://example.com/inbound"
    with provider(says(200, {"mo-callback-url": url, "dr-callback-url": ""})) as rest:
        adopted.cluster.configure([adopted.entry()], account_api={"rest_url": rest.url})
        args = ("account", "settings", "payments")
        finished = here(*args, "--http-forward-method", "POST_JSON", "--yes", "--json")
        assert rest.requests[-1].endswith(b"\r\n\r\nhttpForwardMethod=POST_JSON")
        assert (finished.code, finished.json) == (
            0,
            {
                "account": "payments",
                "mo_callback_url": url,
                "dr_callback_url": "",
                "max_outbound_request": None,
                "max_inbound_request": None,
                "max_calls_per_second": None,
                "http_forward_method": "POST_JSON",
            },
        )
        shown = here(*args)
    assert shown.code == 0, shown
    for setting in ("max outbound request", "max inbound request", "max calls per second", "http forward method"):
        assert re.search(rf"{setting} +not reported", shown.out), shown
    assert re.search(r"dr callback url +-", shown.out), shown


def test_unknown_forward_method_is_a_usage_error(adopted: Payments, here: Here) -> None:
    finished = here("account", "settings", "payments", "--http-forward-method", "PUT_XML", "--yes")
    assert finished.code == 2
    assert "POST_JSON" in finished.err
    assert asked_for(adopted, Operation.SETTINGS) == 0


def test_unanswered_settings_change_says_where_to_look(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.faults.add("settings:drop-after")
    line = said(here("account", "settings", "payments", "--mo-callback-url", "https://example.com/in", "--yes"))
    assert "Whether the settings of payments were changed is not known. Look before you try again: rotator acc" in line
    assert asked_for(adopted, Operation.SETTINGS) == 1


def test_refused_settings_change_says_that_nothing_changed(adopted: Payments, here: Here) -> None:
    line = said(here("account", "settings", "payments", "--mo-callback-url", "nowhere", "--yes"))
    assert "420" in line
    assert "The settings of payments were not changed. Correct the URL" in line
    assert line.endswith("To see the settings: rotator account settings payments.")


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("--http-forward-method", "POST_JSON", "Correct the forward method. To see the settings: "),
        ("--mo-callback-url", "", "To see the settings: "),
    ],
)
def test_refused_settings_are_named_in_advice(
    adopted: Payments, here: Here, option: str, value: str, advice: str
) -> None:
    """The advice was about a URL, whatever was sent."""
    adopted.cluster.emulator.faults.add("settings:400")
    line = said(here("account", "settings", "payments", option, value, "--yes"))
    assert f"The settings of payments were not changed. {advice}" in line
    assert "URL" not in line


def test_refused_transaction_leads_to_another_one(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.change_account(adopted.api_key, auto_reload=True)
    with provider(says(401, {"error-code": "401", "error-code-label": "trx does not match"})) as rest:
        adopted.cluster.configure([adopted.entry()], account_api={"rest_url": rest.url})
        line = said(here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=TRX))
    assert "payments was not topped up. Give the reference of the payment" in line
    assert line.endswith(": rotator account top-up payments.")


@pytest.mark.parametrize(
    ("command", "unchanged", "again"),
    [
        ("balance payments", "", "account balance payments"),
        ("settings payments", "", "account settings payments"),
        ("top-up payments --trx-env MY_TRX --yes", "payments was not topped up", "account balance payments"),
        (
            "settings payments --mo-callback-url https://example.com/in --yes",
            "The settings of payments were not changed",
            "account settings payments",
        ),
        ("secrets list payments", "", "account secrets list payments"),
        ("secrets create payments --out new --yes", "Nothing was added", "account secrets list payments"),
        (f"secrets revoke payments {NOBODY} --yes", "Nothing was revoked", "account secrets list payments"),
    ],
)
def test_error_of_unreachable_provider_names_diagnostic_command(
    adopted: Payments, here: Here, command: str, unchanged: str, again: str
) -> None:
    """`check` tries one of the two hosts, and that only with an adopted account."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    adopted.cluster.configure([adopted.entry()], account_api={"api_url": nowhere, "rest_url": nowhere})
    before = everything(adopted.cluster)
    finished = here("account", *command.split(), MY_TRX=TRX)
    assert finished.code == 1, finished
    line = finished.out + finished.err
    assert "cannot be reached" in line
    assert unchanged in line
    assert f"To see whether it works now: rotator {again}." in line
    assert everything(adopted.cluster) == before
    assert here(*again.split()).code == 1


# --- asking first --------------------------------------------------------------------------------------------

CHANGING = [
    "top-up payments --trx-env MY_TRX",
    "settings payments --mo-callback-url https://example.com/in",
    "settings payments --http-forward-method POST_JSON",
    "secrets create payments --out new",
    f"secrets revoke payments {NOBODY}",
]


@pytest.mark.parametrize("command", CHANGING)
def test_change_requires_yes_without_a_terminal(payments: Payments, here: Here, command: str) -> None:
    before = everything(payments.cluster)
    finished = here("account", *command.split(), MY_TRX=TRX)
    assert finished.code == 2
    assert said(finished) == "There is no terminal to ask on: if you mean it, add --yes."
    assert everything(payments.cluster) == before


def on_a_terminal(cluster: Cluster, *args: str, answers: list[str]) -> Finished:
    ours, theirs = pty.openpty()
    try:
        process = cluster.start(*args, stdin=theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        return process.finish()
    finally:
        os.close(ours)
        os.close(theirs)


def test_change_is_not_made_when_declined(adopted: Payments) -> None:
    args = ["account", "settings", "payments", "--mo-callback-url", "https://example.com/in", "--json"]
    declined = on_a_terminal(adopted.cluster, *args, answers=["n"])
    assert declined.code == 1
    assert declined.json == {"error": "Nothing was changed.", "reason": "other", "next_command": None}
    assert "payments: send inbound messages to https://example.com/in?" in declined.err
    assert adopted.cluster.emulator.profile(adopted.api_key).mo_callback_url == ""
    agreed = on_a_terminal(adopted.cluster, *args, answers=["y"])
    assert (agreed.code, agreed.json["mo_callback_url"]) == (0, "https://example.com/in")


# --- looking at secrets --------------------------------------------------------------------------------------


def standings(finished: Finished) -> dict[str, str]:
    assert finished.code == 0, finished
    return {secret["id"]: secret["is"] for row in finished.json["accounts"] for secret in row["secrets"]}


def test_list_distinguishes_published_and_retiring_secrets(overlapping: Payments, here: Here) -> None:
    old, new = overlapping.live
    finished = here("account", "secrets", "list", "--json")
    assert standings(finished) == {old: "retiring", new: "published"}
    entry = overlapping.cluster.journal("payments")["retiring"][0]
    until = {secret["id"]: secret["revoked_from"] for secret in finished.json["accounts"][0]["secrets"]}[old]
    assert datetime.fromisoformat(until) == datetime.fromisoformat(entry["not_before"])
    assert re.search(rf"{old[:8]}", here("account", "secrets", "list", "payments").out)


def test_secret_added_by_hand_is_unknown(rotated: Payments, here: Here) -> None:
    published = rotated.live[0]
    stranger = added_by_hand(rotated)
    assert standings(here("account", "secrets", "list", "--json")) == {published: "published", stranger: "unknown"}


def test_added_secret_puts_an_eliminated_id_in_doubt(adopted: Payments, here: Here) -> None:
    """Which one of them consumers read is not certain: nothing is called unknown, and nothing is revoked."""
    published = adopted.live[0]
    stranger = added_by_hand(adopted)
    assert standings(here("account", "secrets", "list", "--json")) == {published: "in doubt", stranger: "in doubt"}
    finished = here("account", "secrets", "revoke", "payments", stranger, "--yes")
    assert finished.code == 1, finished
    ids = ", ".join(sorted((published, stranger)))
    assert f"One of these ids is the published secret's: {ids}. Nothing was revoked." in said(finished)
    assert "rotator adopt payments --secret-id ID --retire OTHER_ID" in said(finished)
    assert set(adopted.live) == {published, stranger}


def test_adopt_with_both_ids_ends_the_doubt(adopted: Payments, here: Here) -> None:
    """The published secret's id alone does not tell what the other one is."""
    published = adopted.live[0]
    stranger = added_by_hand(adopted)
    adopt = ("adopt", "payments", "--secret-env", "MINE", "--secret-id", published)
    named = here(*adopt, MINE=adopted.first.get_secret_value())
    assert f"a person named {published}" in named.out
    assert standings(here("account", "secrets", "list", "--json")) == {published: "in doubt", stranger: "in doubt"}
    assert here("account", "secrets", "revoke", "payments", stranger, "--yes").code == 1
    both = here(*adopt, "--retire", stranger, MINE=adopted.first.get_secret_value())
    assert both.code == 0, both
    assert adopted.live == [published]


def test_published_secret_stays_known_after_an_edit(overlapping: Payments, here: Here) -> None:
    old, new = overlapping.live
    overlapping.cluster.put(overlapping.path, overlapping.cluster.document(overlapping.path) | {"note": "mine"})
    assert standings(here("account", "secrets", "list", "--json")) == {old: "retiring", new: "published"}


def test_list_is_in_doubt_after_another_publish(overlapping: Payments, here: Here) -> None:
    old, new = overlapping.live
    overlapping.cluster.put(overlapping.path, {"api_secret": overlapping.first.get_secret_value()})
    assert standings(here("account", "secrets", "list", "--json")) == {old: "in doubt", new: "in doubt"}
    line = said(here("account", "secrets", "revoke", "payments", old, "--yes"))
    assert "The published secret of payments is one of 2, and its id is not certain yet. Nothing was revoked." in line
    assert overlapping.live == [old, new]


def test_show_prints_one_secret_or_one_error_line(adopted: Payments, here: Here) -> None:
    (only,) = adopted.live
    finished = here("account", "secrets", "show", "payments", only, "--json")
    assert (finished.json["id"], finished.json["is"]) == (only, "published")
    assert f"The provider knows no secret {NOBODY} of payments" in said(
        here("account", "secrets", "show", "payments", NOBODY)
    )


# --- adding one ----------------------------------------------------------------------------------------------


def test_generated_secret_is_readable_by_its_owner_only(adopted: Payments, here: Here) -> None:
    file = adopted.cluster.folder / "new"
    finished = here("account", "secrets", "create", "payments", "--out", str(file), "--yes", "--json")
    assert finished.code == 0, finished
    value = file.read_text().strip()
    adopted.cluster.remember(value)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert adopted.cluster.emulator.authenticates(adopted.api_key, SecretStr(value))
    assert list(adopted.cluster.emulator.live(adopted.api_key)) == [adopted.live[0], finished.json["id"]]
    assert f"until you revoke it: rotator account secrets revoke payments {finished.json['id']}" in finished.err
    assert adopted.cluster.journal("payments")["holder"] is None, "the account was given back"


@pytest.mark.parametrize("account", ["adopted", "rotated"])
def test_added_secret_stops_rotations_when_account_is_full(
    account: str, request: pytest.FixtureRequest, here: Here
) -> None:
    """rotator knows the id: the account is not ambiguous, and the failure names what frees the place."""
    payments: Payments = request.getfixturevalue(account)
    published, mine = payments.live[0], generate(Recipe()).get_secret_value()
    payments.cluster.remember(mine)
    create = ("account", "secrets", "create", "payments", "--secret-env", "MINE", "--yes", "--json")
    added = here(*create, MINE=mine).json["id"]
    assert standings(here("account", "secrets", "list", "--json")) == {published: "published", added: "added"}
    assert here("rotate-now", "--due").code == 0
    assert payments.cluster.journal("payments")["phase"] == "idle"
    full = here("rotate-now", "payments", "--json")
    (row,) = full.json["accounts"]
    assert (full.code, row["reason"], row["next_command"]) == (1, "full", ["resolve", "payments", "--revoke", added])
    assert "because of a secret that a person added" in row["error"]
    assert payments.live == [published, added]
    freed = here("account", "secrets", "revoke", "payments", added, "--yes", "--json")
    assert (freed.code, freed.json["revoked"]) == (0, True), freed
    assert here("rotate-now", "payments").code == 0
    assert added not in payments.live


def test_added_secret_is_not_revoked_when_published(rotated: Payments, here: Here) -> None:
    """A person publishes the secret that they added: what rotator remembered of it does not hold any more."""
    mine = generate(Recipe()).get_secret_value()
    rotated.cluster.remember(mine)
    create = ("account", "secrets", "create", "payments", "--secret-env", "MINE", "--yes", "--json")
    added = here(*create, MINE=mine).json["id"]
    rotated.cluster.put(rotated.path, rotated.cluster.document(rotated.path) | {"api_secret": mine})
    for command in (
        ("resolve", "payments", "--revoke", added),
        ("account", "secrets", "revoke", "payments", added, "--yes"),
        ("rotate-now", "--due"),
        ("resolve", "payments", "--revoke", added),
    ):
        here(*command)
        assert added in rotated.live, command
        assert added not in rotated.cluster.journal("payments")["added_ids"] or command[0] != "rotate-now"


def test_own_secret_is_added_when_the_rules_allow(adopted: Payments, here: Here) -> None:
    create = ["account", "secrets", "create", "payments", "--secret-env", "MINE", "--yes"]
    assert here(*create, MINE="tooshort").code == 2
    mine = generate(Recipe()).get_secret_value()
    adopted.cluster.remember(mine)
    assert here(*create, MINE=mine).code == 0
    assert adopted.cluster.emulator.authenticates(adopted.api_key, SecretStr(mine))


def test_create_leaves_an_existing_file_unchanged(adopted: Payments, here: Here) -> None:
    file = adopted.cluster.folder / "new"
    file.write_text("mine")
    finished = here("account", "secrets", "create", "payments", "--out", str(file), "--yes")
    assert (finished.code, file.read_text(), len(adopted.live)) == (2, "mine", 1)


def test_create_is_refused_when_account_is_full(overlapping: Payments, here: Here) -> None:
    file = overlapping.cluster.folder / "new"
    line = said(here("account", "secrets", "create", "payments", "--out", str(file), "--yes"))
    assert "payments has 2 of 2 secrets: there is no room for another" in line
    mine = here("account", "secrets", "create", "payments", "--secret-env", "MINE", "--yes", MINE="bad")
    assert said(mine) == line, "that is said before anything is asked for"
    assert not file.exists()


def test_create_is_refused_when_unfinished_or_leased(adopted: Payments, here: Here) -> None:
    file = adopted.cluster.folder / "new"
    create = ["account", "secrets", "create", "payments", "--out", str(file), "--yes"]
    candidate = generate(Recipe()).get_secret_value()
    adopted.cluster.remember(candidate)
    change_journal(adopted, candidate=candidate)
    assert "A rotation of payments is unfinished" in said(here(*create))
    change_journal(adopted, candidate=None, holder="another", lease_until=later(minutes=4))
    finished = here(*create)
    assert (finished.code, len(adopted.live)) == (3, 1)
    assert "another holds the lease of payments" in said(finished)


def test_create_keeps_its_file_only_when_unanswered(adopted: Payments, here: Here) -> None:
    file = adopted.cluster.folder / "new"
    create = ["account", "secrets", "create", "payments", "--out", str(file), "--yes"]
    adopted.cluster.emulator.faults.add("create:429")
    assert here(*create).code == 1
    assert not file.exists()
    adopted.cluster.emulator.faults.add("create:drop-after")
    assert f"Whether the secret was added is not known; its value is in {file}" in said(here(*create))
    adopted.cluster.remember(file.read_text().strip())
    assert adopted.cluster.emulator.authenticates(adopted.api_key, SecretStr(file.read_text().strip()))
    assert adopted.cluster.journal("payments")["create_until"], "nothing is revoked while it may still land"


def test_create_says_nothing_was_added_when_list_fails(
    adopted: Payments, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list right before the create gets no answer: a read leaves nothing in doubt."""
    cluster = adopted.cluster
    file = cluster.folder / "new"
    preflight = Permissions.preflight

    def then_lists_fail(permissions: Permissions, accounts: Sequence[AccountSettings]) -> None:
        preflight(permissions, accounts)
        cluster.emulator.faults.add("list:503:*")

    monkeypatch.setattr(Permissions, "preflight", then_lists_fail)
    finished = here("account", "secrets", "create", "payments", "--out", str(file), "--yes")
    assert (finished.code, file.exists(), len(adopted.live)) == (1, False, 1)
    assert "Nothing was added. " in said(finished)
    assert "not known" not in said(finished)


# --- revoking one --------------------------------------------------------------------------------------------


def refused(payments: Payments, here: Here, secret_id: str, *, code: int = 1) -> str:
    """What a revocation says that must change nothing."""
    before = everything(payments.cluster)
    finished = here("account", "secrets", "revoke", "payments", secret_id, "--yes")
    assert everything(payments.cluster) == before
    assert finished.code == code, finished
    return said(finished)


def test_revoke_ends_a_grace_period_early(overlapping: Payments, here: Here) -> None:
    old, new = overlapping.live
    finished = here("account", "secrets", "revoke", "payments", old, "--yes", "--json")
    assert finished.code == 0, finished
    assert finished.json == {"account": "payments", "id": old, "revoked": True, "until": None, "error": None}
    assert overlapping.live == [new]
    overlapping.assert_works()
    assert overlapping.cluster.journal("payments")["retiring"] == []


def test_revoke_of_an_unknown_secret_recovers_the_account(rotated: Payments, here: Here) -> None:
    published = rotated.live[0]
    stranger = added_by_hand(rotated)
    assert here("rotate-now", "payments", "--due").code == 1, "it is ambiguous"
    assert here("account", "secrets", "revoke", "payments", stranger, "--yes").code == 0
    assert rotated.live == [published]
    assert rotated.cluster.journal("payments")["ambiguity"] is None


def test_revoke_refuses_the_published_secret(overlapping: Payments, here: Here) -> None:
    assert "is the published secret of payments" in refused(overlapping, here, overlapping.live[1])


def test_revoke_refuses_the_id_of_the_published_document(overlapping: Payments, here: Here) -> None:
    cluster, old = overlapping.cluster, overlapping.live[0]
    cluster.put(overlapping.path, cluster.document(overlapping.path) | {"secret_id": old})
    assert "is the published secret of payments" in refused(overlapping, here, old)


def test_revoke_refuses_the_last_secret(adopted: Payments, here: Here) -> None:
    assert "is the last secret of payments" in refused(adopted, here, adopted.live[0])


def test_revoke_refuses_an_id_that_is_not_listed(overlapping: Payments, here: Here) -> None:
    assert f"The provider lists no {NOBODY} for payments" in refused(overlapping, here, NOBODY)


def test_revoke_is_refused_when_leased(overlapping: Payments, here: Here) -> None:
    change_journal(overlapping, holder="another", lease_until=later(minutes=4))
    assert "another holds the lease" in refused(overlapping, here, overlapping.live[0], code=3)
    # A lease from a clock that is a year ahead lasts as long as any other lease.
    asked = datetime.now(UTC)
    change_journal(overlapping, holder="another", lease_until=later(days=365, hours=5))
    (until,) = re.findall(
        r"lease of \w+ until (\d\d):(\d\d):\d\d UTC", refused(overlapping, here, overlapping.live[0], code=3)
    )
    minutes = 60 * int(until[0]) + int(until[1]) - (60 * asked.hour + asked.minute)
    assert 5 <= minutes % (24 * 60) <= 7


def test_revoke_is_refused_while_rotation_is_unfinished(overlapping: Payments, here: Here) -> None:
    candidate = generate(Recipe()).get_secret_value()
    overlapping.cluster.remember(candidate)
    change_journal(overlapping, candidate=candidate)
    assert "A rotation of payments is unfinished" in refused(overlapping, here, overlapping.live[0])


def test_revoke_is_refused_when_not_adopted(payments: Payments, here: Here) -> None:
    stranger = added_by_hand(payments)
    assert "its id is not certain yet" in refused(payments, here, stranger)


def test_revoke_is_refused_while_a_create_might_land(overlapping: Payments, here: Here) -> None:
    change_journal(overlapping, create_until=later(minutes=4))
    finished = here("account", "secrets", "revoke", "payments", overlapping.live[0], "--yes", "--json")
    assert (finished.code, finished.json["revoked"], len(overlapping.live)) == (3, False, 2), finished
