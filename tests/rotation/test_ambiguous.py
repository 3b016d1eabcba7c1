"""Ambiguous accounts: each message names a command that leads out, and none that has just failed."""

from datetime import timedelta
from typing import Any

import pytest

from rotator.core.protocol import Command, Create
from rotator.errors import RotatorError
from rotator.rotation import Operator, Result
from testkit.model import World
from tests.rotation.worlds import FIRST, adopted, answered, command, rotate, run_until

DAY = timedelta(days=1)


def renamed() -> tuple[World, str, str]:
    """An account that was renamed in its grace period: its new name has no journal; the published and previous ids."""
    world = adopted()
    rotate(world)
    previous, published = world.live
    del world.vault.versions[world.settings.journal_path(world.account)]
    return world, published, previous


def test_unknown_secret_in_use_is_moved_first() -> None:
    world = answered()
    first = world.published
    added = world.provider.add("shopkey", "ByHand000001")
    early = world.rotation().run()
    assert (early.reason, early.next_command) == ("ambiguous", Command.of("resolve", "shop"))
    assert early.error == (
        f"the provider lists {added}, and no later list confirms that the published secret has another id. "
        "Nothing was revoked, and the published secret stays. "
        "Wait for a later list, then decide: rotator resolve shop."
    )
    assert world.journal.unknown_ids == frozenset()
    world.clock.wait(timedelta(minutes=1))
    outcome = world.rotation().run()
    assert (outcome.reason, outcome.next_command) == ("ambiguous", Command.of("resolve", "shop"))
    assert world.journal.unknown_ids == {added}
    assert outcome.error == (
        f"the account holds a secret that rotator did not create: {added}. "
        "Nothing was revoked, and the published secret stays. "
        "If consumers use such a secret, move them to the published secret first. "
        "Then revoke it: rotator resolve shop."
    )
    assert Operator(resolving := world.rotation()).unknown().keys() == {added}
    assert Operator(resolving).resolve(frozenset({added})).result is Result.OK
    assert set(world.live.values()) == {first}


def test_renamed_account_names_the_id_of_its_document() -> None:
    world, published, previous = renamed()
    outcome = world.rotation().run()
    assert outcome.next_command == Command.of("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert outcome.error == (
        f"the published secret authenticates, but one of several ids is its own: {previous}, {published}. "
        "Nothing was revoked, and the published secret stays. "
        f"The published document names {published}, which is right unless a person changed the value there or copied "
        "another document. "
        "rotator takes the value from Vault. Name its id, and the other secret to revoke after the grace period: "
        "rotator adopt shop --secret-id ID --retire OTHER_ID."
    )


def test_renamed_account_is_adopted_without_its_value() -> None:
    world, published, previous = renamed()
    value, rotation = world.published, world.rotation()
    outcome = Operator(rotation).adopt(None, published, retire=frozenset({previous}))
    assert outcome.result is Result.OK, outcome
    assert (world.published, world.journal.current_id) == (value, published)
    assert world.journal.retiring_ids == {previous}
    world.clock.wait(DAY)
    assert world.rotation(patience=DAY).run().result is Result.OK
    assert set(world.live) == {published}


@pytest.mark.parametrize("foreign", [False, True], ids=["nothing published", "another account's"])
def test_adoption_asks_for_a_value_that_vault_lacks(foreign: bool) -> None:
    world = World()
    id_ = world.provider.add("shopkey", FIRST)
    options: dict[str, Any] = {}
    again = ["adopt", "shop", "--secret-stdin"]
    if foreign:
        world.vault.versions["apps/shop"] = [{"api_key": "otherkey", "api_secret": "Other0000001"}]
        options = {"replace_foreign": "otherkey"}
        again += ["--replace-foreign", "otherkey"]
    again += ["--secret-id", id_]
    with pytest.raises(RotatorError, match="whose value rotator could take") as raised:
        Operator(world.rotation()).adopt(None, id_, **options)
    assert raised.value.next_command == Command.of(*again)
    assert world.settings.journal_path(world.account) not in world.vault.versions


def test_published_value_that_is_refused_cannot_be_adopted() -> None:
    world, published, _ = renamed()
    world.provider.remove("shopkey", published)
    with pytest.raises(RotatorError, match="refuses this secret") as raised:
        Operator(world.rotation()).adopt(None, published)
    assert raised.value.next_command == Command.of("adopt", "shop")


def test_added_secret_in_free_slot_is_moved_first() -> None:
    world = answered()
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    added = world.provider.add("shopkey", "ByHand000001")
    world.clock.wait(timedelta(hours=1))
    outcome = command(world, world.rotation())
    assert (outcome.reason, outcome.next_command) == ("ambiguous", Command.of("resolve", "shop"))
    assert added in (outcome.error or "")
    assert "move them to the published secret first" in (outcome.error or "")


def test_resolve_waits_for_a_lease_with_another_command() -> None:
    world = answered()
    added = world.provider.add("shopkey", "ByHand000001")
    resolving, other = world.rotation(), world.rotation(fresh_after=world.clock())
    operator = Operator(resolving)
    operator.unknown()
    resolving.state.know(
        type(world.journal)(lease_holder=other.policy.instance, lease_until=world.clock() + timedelta(minutes=1))
    )
    with pytest.raises(RotatorError, match="holds the lease of shop") as raised:
        operator.resolve(frozenset({added}))
    assert raised.value.next_command == Command.of("rotate-now", "shop", "--due", "--wait", "5m")
    assert str(raised.value).endswith("To wait until then: rotator rotate-now shop --due --wait 5m.")


def beside_unknown_secret() -> tuple[World, str, str]:
    """An account with room and a secret of another team; the published id, and the id of that secret."""
    world = answered(max_secrets=3)
    added = world.provider.add("shopkey", "ByHand000001")
    world.rotation().run()
    world.clock.wait(timedelta(minutes=1))
    world.rotation().run()
    assert world.journal.unknown_ids == {added}
    return world, str(world.journal.current_id), added


def test_leaked_secret_is_revoked_beside_unknown() -> None:
    world, leaked, added = beside_unknown_secret()
    outcome = command(world, world.rotation(fresh_after=world.clock() + timedelta(seconds=1), compromised=True))
    assert (outcome.published, outcome.revoked) == (True, (leaked,))
    assert world.live.keys() == {added, world.journal.current_id}
    assert outcome.reason == "ambiguous", "the other team's secret is told all the same"
    assert str(outcome.error).count(f"Only {leaked} was revoked") == 1
    world.clock.wait(timedelta(minutes=1))
    world.rotation().run()
    assert (world.journal.unknown_ids, world.journal.request) == ({added}, None)


def test_named_secret_is_revoked_beside_unknown() -> None:
    world, previous, added = beside_unknown_secret()
    rotate(world)
    assert world.live.keys() == {previous, added, world.journal.current_id}
    Operator(world.rotation()).adopt(None, world.journal.current_id, retire=frozenset({previous}))
    world.clock.wait(timedelta(hours=2))
    assert world.rotation().run().reason == "ambiguous"
    assert world.live.keys() == {added, world.journal.current_id}
