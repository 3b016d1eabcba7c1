"""The tables of commands and their JSON report the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from rotator.cli.output import outcomes_json, print_outcomes
from rotator.config import Settings
from rotator.core.protocol import (
    Asked,
    Command,
    Identity,
    Journal,
    Learned,
    Outcome,
    Published,
    Request,
    RequestKind,
    Result,
    Retiring,
    Target,
    requests,
)
from rotator.demo import free_port
from testkit.cluster import Cluster
from tests.cli.harness import (
    Here,
    Payments,
    a_colourful_fleet,
    assert_table,
    everything,
    opened,
)

SETTINGS = Settings.model_validate(
    {
        "vault": {"address": "http://127.0.0.1:8200", "auth": {"method": "none"}},
        "accounts": [{"name": "shop", "api_key": "abcd1234", "path": "apps/shop"}],
    }
)
AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
FAILED = Outcome("shop", Result.FAILED, reason="vault_denied")
OWN, OTHER = SecretStr("Published0001"), SecretStr("Previous00001")


def asked_for(kind: RequestKind, id_: str = "own", secret: SecretStr = OWN) -> Asked:
    """Return the request of a command for this secret."""
    made = requests.new_request(kind, Journal(), Published(1, secret=secret), at=AT, by="bob", id_=id_)
    assert made is not None
    return Asked(made, secret)


def said(capsys: pytest.CaptureFixture[str], outcome: Outcome) -> str:
    """Return what a command says last that asked for a rotation."""
    print_outcomes([outcome], SETTINGS, AT, asks=True, adopted={})
    return capsys.readouterr().out.splitlines()[-1]


def test_tables_and_json_report_the_same(cluster: Cluster, here: Here) -> None:
    a_colourful_fleet(cluster)
    rotated = cluster.run("rotate-now", "overlap", "ambiguous")
    assert rotated.code == 1, rotated
    assert_table(rotated.out.split("ambiguous: ")[0], "account", "result", "details", "state")

    before = everything(cluster)
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


def test_request_of_another_account_is_not_shown(payments: Payments, here: Here) -> None:
    """Another deployment's journal contains a request, for another account. This command's request is not recorded."""
    here("rotate-now", "payments")
    request = {"kind": "compromised", "of": {"id": None, "version": 1}, "at": "2026-11-26T12:00:00Z"}
    payments.cluster.change_journal("payments", api_key="otherky1", request=request | {"by": "bob", "id": "r1"})
    refused = here("rotate-now", "payments", "--compromised")
    assert refused.code == 1, refused
    assert "payments: The request is not recorded. Run the command again after that" in refused.out.splitlines()
    (entry,) = here("rotate-now", "payments", "--compromised", "--json").json["accounts"]
    assert (entry["reason"], entry["request"], entry["state"]) == ("foreign_journal", None, None)


def test_request_beside_weaker_recorded_request_is_unrecorded(capsys: pytest.CaptureFixture[str]) -> None:
    """Vault refused the write of the compromised request; an older manual one is in the journal."""
    failed = replace(FAILED, journal=Journal(request=asked_for(RequestKind.MANUAL, "r1").request))
    for kind, end in (
        (RequestKind.COMPROMISED, "The request is not recorded. Run the command again"),
        (RequestKind.MANUAL, "The request (manual, by bob) is recorded. A running daemon carries it out"),
    ):
        assert said(capsys, replace(failed, asked=asked_for(kind))) == f"shop: {end}"


@pytest.mark.parametrize("kind", list(RequestKind))
def test_request_beside_one_for_another_secret_is_unrecorded(
    capsys: pytest.CaptureFixture[str], kind: RequestKind
) -> None:
    """A revocation under way keeps the request for the previous secret. The new secret's request was not written."""
    earlier = asked_for(RequestKind.COMPROMISED, "r1", OTHER).request
    failed = replace(FAILED, journal=Journal(request=earlier), asked=asked_for(kind))
    assert said(capsys, failed) == "shop: The request is not recorded. Run the command again"
    unknown = replace(failed, journal_is_unknown=True)
    assert said(capsys, unknown) == "shop: The request might not be recorded. Run the command again"
    shown = [outcomes_json([one], SETTINGS, AT)["accounts"][0] for one in (failed, unknown)]
    assert [(one["request"]["id"], one["request_recorded"]) for one in shown] == [("r1", False), ("r1", None)]


@pytest.mark.parametrize("result", [Result.OK, Result.FAILED])
def test_request_that_began_no_rotation_is_explained(capsys: pytest.CaptureFixture[str], result: Result) -> None:
    """ "idle" alone hides that the published secret stays."""
    repeat = Command.of("rotate-now", "shop", "--compromised")
    late = Outcome("shop", result, reason="idle", journal=Journal(), asked=asked_for(RequestKind.COMPROMISED))
    assert "began no rotation" not in said(capsys, late)
    late = replace(late, repeat=repeat)
    sentence = (
        "Another secret was published before the request was recorded, so the request began no rotation. "
        "To replace the published secret: rotator rotate-now shop --compromised."
    )
    assert said(capsys, late) == f"shop: {sentence}"
    (shown,) = outcomes_json([late], SETTINGS, AT)["accounts"]
    assert shown["next_command"] == list(repeat.args)
    assert shown["error"] == (sentence if result is Result.OK else None)


def test_deferral_withdraws_no_request_for_another_secret(capsys: pytest.CaptureFixture[str]) -> None:
    earlier = asked_for(RequestKind.COMPROMISED, "r1", OTHER).request
    full = Outcome("shop", Result.DEFERRED, reason="full", journal=Journal(), asked=asked_for(RequestKind.MANUAL))
    withdrawn = "shop: The request is withdrawn: the account has no room before a grace period ends"
    assert said(capsys, full) == withdrawn
    kept = replace(full, journal=Journal(request=earlier))
    assert said(capsys, kept) == "shop: The request is not recorded. Run the command again"


@pytest.mark.parametrize(
    ("failed", "recorded"),
    [
        (Outcome("shop", Result.FAILED, reason="internal_error"), "might not be"),
        (Outcome("shop", Result.FAILED, reason="vault_unreachable", journal=Journal()), "is not"),
        (
            Outcome("shop", Result.FAILED, reason="lost_answer", journal=Journal(), journal_is_unknown=True),
            "might not be",
        ),
    ],
)
def test_request_might_be_recorded_when_journal_is_unknown(
    capsys: pytest.CaptureFixture[str], failed: Outcome, recorded: str
) -> None:
    """Whatever the run failed for: if a write was not answered, nothing tells until the journal is read again."""
    assert said(capsys, failed) == f"shop: The request {recorded} recorded. Run the command again"


def test_request_of_ambiguous_account_requires_a_manual_decision(cluster: Cluster, here: Here) -> None:
    """No daemon carries a request out before the person has decided."""
    a_colourful_fleet(cluster)
    refused = here("rotate-now", "ambiguous")
    assert refused.code == 1, refused
    assert refused.out.splitlines()[-1].endswith("is recorded. A running daemon carries it out after that")


def test_request_without_an_id_requires_a_manual_decision(capsys: pytest.CaptureFixture[str]) -> None:
    """No daemon carries it out: a person decides. Nothing tells whether the secret is replaced."""
    asked = asked_for(RequestKind.COMPROMISED)
    journal = Journal(request=replace(asked.request, of=Target()))
    failed = replace(FAILED, reason="ambiguous", journal=journal, asked=asked)
    end = "The request is recorded. rotator cannot tell its secret's id: it stays until no secret is unknown"
    assert said(capsys, failed) == f"shop: {end}"


def test_request_beside_weaker_request_without_id_is_unrecorded(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(request=Request(RequestKind.MANUAL, Target(), AT, "bob", "r1"))
    failed = replace(FAILED, journal=journal, asked=asked_for(RequestKind.COMPROMISED))
    assert said(capsys, failed) == "shop: The request is not recorded. Run the command again"


def test_first_of_several_revocations_has_the_date(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2026, 11, 26, 22, 30, tzinfo=UTC)
    entries = tuple(Retiring(id_, now + timedelta(hours=hours)) for hours, id_ in enumerate("ab", 1))
    for retiring, shown in ((entries[:1], "previous revoked in 1h"), (entries, "first of 2 previous revoked in 1h")):
        journal = Journal(retiring=retiring)
        ended = Outcome("shop", Result.OK, reason="grace", until=entries[0].not_before, journal=journal)
        print_outcomes([ended], SETTINGS, now, adopted={})
        assert f" {shown} " in capsys.readouterr().out


def test_deferral_until_another_day_shows_its_date(capsys: pytest.CaptureFixture[str]) -> None:
    """A key can be limited for a day: the time alone is one that is over."""
    now = datetime(2026, 11, 26, 22, 30, tzinfo=UTC)
    for wait, shown in ((timedelta(hours=1), "23:30:00 UTC"), (timedelta(hours=24), "2026-11-27 22:30:00 UTC")):
        deferred = Outcome("shop", Result.DEFERRED, reason="rate_limited", until=now + wait, journal=Journal())
        print_outcomes([deferred], SETTINGS, now, adopted={})
        assert f" deferred until {shown}: rate limited " in capsys.readouterr().out


@pytest.mark.parametrize(("learned", "named"), [(Learned.ELIMINATED, "id-1"), (Learned.PENDING, "ID")])
def test_adoption_advises_no_guessed_id(learned: Learned, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A pending id is rotator's guess: the person who copies the command would claim it."""
    journal = Journal(current=Identity("id-1", learned), unknown_ids=frozenset({"id-2"}))
    done = Outcome("shop", Result.OK, journal=journal)
    print_outcomes([done], SETTINGS, datetime(2026, 11, 26, 12, tzinfo=UTC), adopted={"shop": "adopted"})
    advice = f"rotator adopt shop --secret-id {named} --retire id-2"
    assert capsys.readouterr().out.splitlines()[-1].endswith(advice)


def test_account_without_published_secret_keeps_none(cluster: Cluster, here: Here) -> None:
    """It was said that the published secret stays, also where nothing was published or the document is deleted."""
    missing = opened(cluster, published=False)
    cluster.configure([missing.entry()])
    refused = here("rotate-now", "payments")
    assert "Nothing was revoked, and nothing was published. " in refused.out, refused
    assert "payments: The request is not recorded. Run the command again after that" in refused.out.splitlines()
    cluster.put(missing.path, {"api_secret": missing.first.get_secret_value()})
    cluster.vault("DELETE", f"{cluster.mount}/data/{missing.path}")
    refused = here("rotate-now", "payments")
    assert "is deleted. Nothing was revoked, and nothing was published. " in refused.out, refused


def test_plan_of_compromised_secret_revokes_at_once(payments: Payments, here: Here) -> None:
    here("rotate-now", "payments")
    planned = here("rotate-now", "payments", "--compromised", "--dry-run")
    assert "revoke the old one at once (compromised)" in planned.out, planned


@pytest.mark.parametrize("command", ["plan", "account balance", "account secrets list"])
def test_failure_of_vault_is_one_line(cluster: Cluster, here: Here, command: str) -> None:
    """A fleet of a thousand accounts said it a thousand times."""
    accounts = [opened(cluster, f"a{number}", f"key{number}") for number in range(7)]
    cluster.configure([account.entry() for account in accounts], vault={"address": f"http://127.0.0.1:{free_port()}"})
    failed = here(*command.split())
    assert failed.code == 1, failed
    (line,) = [line for line in failed.out.splitlines() if "Vault" in line]
    assert line.startswith("a0, a1, a2, a3, a4 and 2 more: Vault at http://127.0.0.1:")
