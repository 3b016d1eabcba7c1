"""A published document that names no account: its value is replaced only if something shows whose it is."""

from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Create, Trigger
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome
from testkit.model import World
from tests.rotation.worlds import BY_HAND, DAY, FIRST, MOMENT, run_until

FOREIGN = "OtherTeams0001"


def new(**settings: Any) -> World:
    """A secondary account that rotator has never seen."""
    world = World(secondary=True, **settings)
    world.provider.add("shopkey", FIRST)
    return world


def run_for_a_day(world: World) -> Outcome:
    """Runs of a daemon."""
    for _ in range(24):
        world.rotation(explicit=False).run()
        world.clock.wait(DAY / 24)
    return world.rotation().run()


def waiting() -> World:
    """An account whose first secret was created through its primary account a moment ago, and is not published yet."""
    world = new()
    run_until(world.rotation(), Create, then_perform=True)
    world.clock.wait(DAY)
    return world


def test_candidate_is_not_published_over_another_accounts_value() -> None:
    world = waiting()
    world.publish(FOREIGN)
    outcome = run_for_a_day(world)
    assert (outcome.reason, world.published) == ("unconfirmed_document", FOREIGN)
    assert len(world.live) == 2
    (own, _) = world.live
    Operator(world.rotation()).adopt(SecretStr(FIRST), own, replace_working=True)
    assert world.consumer_works()
    assert world.published != FOREIGN


def test_candidate_replaces_a_value_that_authenticates() -> None:
    """A person published the secret in use while the candidate was waiting."""
    world = waiting()
    candidate = world.journal.candidate
    world.publish(FIRST)
    outcome = world.rotation().run()
    assert outcome.published
    assert SecretStr(world.published or "") == candidate
    assert FIRST in world.live.values()


def test_value_that_authenticated_once_is_rescued() -> None:
    """The journal remembers it, although the account is not adopted: the secret's id is one of two."""
    world = new(max_secrets=3)
    world.provider.add("shopkey", BY_HAND)
    world.publish(FIRST)
    assert world.rotation().run().reason == "ambiguous"
    assert world.journal.current is None
    world.provider.remove("shopkey", next(iter(world.live)))
    assert world.rotation().run().published
    assert world.journal.trigger is Trigger.RESCUE
    assert world.consumer_works()


def test_earlier_version_that_authenticates_is_restored() -> None:
    """A person mistyped the value before rotator saw the document."""
    world = new()
    world.publish(FIRST)
    world.publish(f"{FIRST}x")
    world.rotation().run()
    assert world.published == FIRST


@pytest.mark.parametrize("path", ["apps/shop", "apps/moved"])
def test_adopt_asks_before_it_replaces_unconfirmed_value(path: str) -> None:
    """Also after the path was changed in the configuration: the journal speaks of another document."""
    world = new()
    if path != "apps/shop":
        world.publish(FIRST)
        world.identify()
        moved = world.account.model_copy(update={"path": path})
        world.settings = world.settings.model_copy(update={"accounts": (moved, *world.settings.accounts[1:])})
    world.publish(FOREIGN, path=path)
    with pytest.raises(RotatorError, match=f"nothing shows that {path} is the document of shop") as raised:
        Operator(world.rotation()).adopt(SecretStr(FIRST), None)
    assert raised.value.next_command == Command.of("adopt", "shop", "--replace")
    assert world.vault.versions[path] == [{"api_secret": FOREIGN}]
    Operator(world.rotation()).adopt(SecretStr(FIRST), None, replace_working=True)
    assert world.vault.versions[path][-1]["api_secret"] == FIRST
    world.clock.wait(MOMENT)
    world.identify()
