"""`rotator account secrets`: list, show, create and revoke, against a real OpenBao and the emulator."""

import re
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.config import AccountSettings
from rotator.core.generator import Recipe, generate
from rotator.fleet.permissions import Permissions
from testkit.cluster import Finished, eventually
from tests.cli.harness import Here, Payments, everything, said
from tests.cli.managed import NOBODY, added_by_hand


def change_journal(payments: Payments, **changes: Any) -> None:
    path = f"rotator/journal/{payments.name}"
    payments.cluster.put(path, payments.cluster.document(path) | changes)


def later(**duration: float) -> str:
    return (datetime.now(UTC) + timedelta(**duration)).isoformat()


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
    # Right after it was added, it can be the published secret's id: an old list shows removed ids.
    assert standings(here("account", "secrets", "list", "--json")) == {published: "published", stranger: "in doubt"}
    assert here("rotate-now", "payments", "--due").code == 1
    eventually(
        lambda: standings(here("account", "secrets", "list", "--json")) == {published: "published", stranger: "unknown"}
    )


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


def test_create_refuses_the_published_value(adopted: Payments, here: Here) -> None:
    """One value with two ids: no list tells which one consumers use."""
    before = everything(adopted.cluster)
    create = ["account", "secrets", "create", "payments", "--secret-env", "MINE", "--yes"]
    finished = here(*create, MINE=adopted.cluster.document("apps/payments")["api_secret"])
    assert finished.code == 2, finished
    assert said(finished) == (
        "This value is the published secret of payments. A second id of one value cannot be told from the first. "
        "Nothing was added. Bring another value: rotator account secrets create payments."
    )
    assert everything(adopted.cluster) == before


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
