"""Outages of a secondary account: the published secret is refused, and the primary account lists the others."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Create
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome, Result
from testkit.model import World
from tests.rotation.worlds import answered, command, run_until

BY_HAND = "ByHand00000001"


def mistyped(*, max_secrets: int = 2) -> tuple[World, str]:
    """A candidate is in hand, and a user replaces the published secret, with a typing error in Vault.

    Returns:
        The world, and the id of the user's secret.
    """
    world = answered(secondary=True, max_secrets=max_secrets)
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    world.provider.remove("shopkey", next(iter(world.live)))
    added = world.provider.add("shopkey", BY_HAND)
    world.publish("Mistyped000001")
    world.clock.wait(timedelta(minutes=3))
    return world, added


def again_and_again(world: World) -> Outcome:
    """Run until nothing changes any more, as a daemon does."""
    for _ in range(3):
        outcome = command(world, world.rotation())
        world.clock.wait(timedelta(minutes=10))
    return outcome


@pytest.mark.parametrize("create", [None, "lost-before", "lost-after", "refuse-value"])
@pytest.mark.parametrize("max_secrets", [2, 3])
def test_candidate_ends_outage_beside_unknown_secret(create: str | None, max_secrets: int) -> None:
    """The candidate was never created. The next create has a fault."""
    world, added = mistyped(max_secrets=max_secrets)
    world.provider.fault = create
    outcome = again_and_again(world)
    assert world.consumer_works()
    assert world.live[added] == BY_HAND
    assert outcome.reason == "ambiguous"
    assert added in (outcome.error or "")
    if create == "lost-after":  # the provider did not answer the id of the published secret
        return
    assert outcome.next_command == Command.of("resolve", "shop")
    resolving = Operator(world.rotation())
    assert set(resolving.unknown()) == {added}
    assert resolving.resolve(frozenset({added})).result is Result.OK
    assert world.consumer_works()
    assert list(world.live.values()) == [world.published]


def test_outage_without_room_names_the_recovery_command() -> None:
    world, added = mistyped()
    other = world.provider.add("shopkey", "OtherByHand0001")
    outcome = again_and_again(world)
    assert (outcome.reason, outcome.next_command) == ("full", Command.of("adopt", "shop", "--replace"))
    with pytest.raises(RotatorError, match="does not say which one this value is") as raised:
        Operator(world.rotation()).adopt(SecretStr(BY_HAND), None, replace_working=True)
    named = ("--secret-id", "ID", "--retire", "OTHER_ID")
    assert raised.value.next_command == Command.of("adopt", "shop", "--replace", *named)
    Operator(world.rotation()).adopt(SecretStr(BY_HAND), added, retire={other})
    assert (world.published, world.consumer_works()) == (BY_HAND, True)


@pytest.mark.parametrize("max_secrets", [2, 3])
def test_bootstrap_ends_outage_beside_unknown_secret(max_secrets: int) -> None:
    """The process died before it created the first secret, and a user adds one."""
    world = World(secondary=True, max_secrets=max_secrets)
    world.provider.add("shopkey", "InitialSecret1")
    run_until(world.rotation(), Create, then_perform=False)
    world.provider.remove("shopkey", next(iter(world.live)))
    added = world.provider.add("shopkey", BY_HAND)
    world.clock.wait(timedelta(minutes=3))
    outcome = again_and_again(world)
    assert world.consumer_works()
    assert (outcome.reason, outcome.next_command) == ("ambiguous", Command.of("resolve", "shop"))
    assert world.live[added] == BY_HAND


def test_unverified_candidate_is_given_up_in_outage() -> None:
    """The command that the failure names offers the candidate, and another secret ends the outage."""
    world = answered(secondary=True)
    world.provider.propagation = timedelta(minutes=1)
    world.rotation(fresh_after=world.clock()).run()
    world.provider.propagation = timedelta()
    world.provider.remove("shopkey", world.journal.current_id)
    (candidate,) = world.live
    world.provider.secrets["shopkey"][candidate] = "NotTheCandidate1", world.clock()
    world.clock.wait(timedelta(minutes=3))
    outcome = again_and_again(world)
    assert (outcome.reason, outcome.next_command) == (
        "unverified",
        Command.of("resolve", "shop", "--revoke", candidate),
    )
    resolving = Operator(world.rotation())
    assert set(resolving.unknown()) == {candidate}
    resolving.resolve(frozenset({candidate}))
    command(world, world.rotation())
    assert world.consumer_works()
