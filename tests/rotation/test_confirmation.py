"""Ids that can be the published secret's: a person added its value again, and lists show its removed id for a while."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command
from rotator.errors import RotatorError
from rotator.provider import Credentials, SecretInfo
from rotator.rotation import Operator, Outcome, Result
from testkit.model import World
from tests.rotation.worlds import DAY, answered, name_id, rotate

SHOWN = timedelta(seconds=20)
WINDOW = timedelta(seconds=30)


def added_again(*, noticed: bool = False) -> tuple[World, str]:
    """Return an account whose published value has another id since a moment ago, and that id.

    Args:
        noticed: Whether it has had both for a while, and runs have noticed that.
    """
    world = answered()
    value = world.published or ""
    before = str(world.journal.current_id)
    created_at = world.provider.secrets["shopkey"][before][1]
    new = world.provider.add("shopkey", value)
    if noticed:
        world.rotation().run()
        world.clock.wait(timedelta(minutes=1))
    world.provider.remove("shopkey", before)
    real = world.provider.list_secrets
    until = world.clock() + SHOWN

    def listing(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos = real(auth, api_key)
        return (SecretInfo(before, created_at), *infos) if world.clock() < until else infos

    world.provider.list_secrets = listing  # type: ignore[method-assign]
    return world, new


def retire_beside_recorded(world: World, id_: str) -> Outcome:
    """Name the recorded id for the published value, and another one to retire."""
    value = SecretStr(world.published or "")
    return Operator(world.rotation()).adopt(value, world.journal.current_id, retire={id_})


def test_resolve_never_offers_the_value_added_again() -> None:
    world, new = added_again()
    with pytest.raises(RotatorError, match=r"does not list its id id-\d+; it lists " + new):
        Operator(world.rotation()).unknown()
    assert new in world.live


def test_run_never_calls_the_value_added_again_unknown() -> None:
    world, new = added_again()
    early = world.rotation().run()
    assert (early.reason, world.journal.unknown_ids) == ("ambiguous", frozenset())
    world.clock.wait(timedelta(minutes=2))
    outcome = world.rotation().run()
    assert outcome.reason == "unlisted"
    assert outcome.next_command == Command.of("adopt", "shop", "--secret-id", "ID")
    assert name_id(world, new).result is Result.OK
    assert world.journal.current_id == new


def test_rotation_replaces_the_value_added_again() -> None:
    world, new = added_again()
    value = world.published
    world.rotation().run()
    world.clock.wait(SHOWN)
    assert rotate(world).published
    assert world.published != value
    assert world.consumer_works()
    assert new in world.live, "rotator did not create it"


def test_value_added_again_is_not_retired() -> None:
    world, new = added_again()
    with pytest.raises(RotatorError, match="Nothing was recorded for revocation"):
        retire_beside_recorded(world, new)
    assert not world.journal.retiring
    world.clock.wait(DAY)
    world.rotation().run()
    assert new in world.live


def test_unknown_secret_is_retired_after_a_later_list() -> None:
    world = answered()
    added = world.provider.add("shopkey", "ByHand000001")
    began = world.clock()
    assert retire_beside_recorded(world, added).result is Result.OK
    assert world.clock() - began >= WINDOW
    assert world.journal.retiring_ids == {added}


def test_resolve_waits_again_for_another_new_id() -> None:
    world = answered()
    first = world.provider.add("shopkey", "ByHand000001")
    waits = world.clock.wait
    more: list[str] = []

    def wait(delay: timedelta) -> bool:
        if delay >= WINDOW and not more:
            more.append(world.provider.add("shopkey", "ByHand000002"))
        return waits(delay)

    world.clock.wait = wait  # type: ignore[method-assign]
    began = world.clock()
    assert Operator(world.rotation()).unknown().keys() == {first, *more}
    assert world.clock() - began >= 2 * WINDOW


def test_resolve_waits_for_a_list_of_its_own() -> None:
    """A person can have removed the published id after earlier runs noticed the others."""
    world = answered()
    added = world.provider.add("shopkey", "ByHand000001")
    world.rotation().run()
    world.clock.wait(timedelta(minutes=1))
    began = world.clock()
    assert Operator(world.rotation()).unknown().keys() == {added}
    assert WINDOW < world.clock() - began < 2 * WINDOW


def test_resolve_spares_second_id_of_published_value() -> None:
    world, new = added_again(noticed=True)
    with pytest.raises(RotatorError, match=r"does not list its id id-\d+; it lists " + new):
        Operator(world.rotation()).unknown()
    assert world.consumer_works()
