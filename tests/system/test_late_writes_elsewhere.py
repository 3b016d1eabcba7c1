"""A write that might land late, and a path that the configuration names for a while, or from now on."""

from datetime import timedelta
from itertools import count

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command
from rotator.errors import RotatorError
from rotator.rotation import Operator, Result
from testkit.model import World
from tests.rotation.test_renamed_field import move
from tests.system.deaths import Death, die
from tests.system.test_late_writes import FIRST, adopt, is_publish, others, overlap

OTHER_TEAMS = "OtherTeams0001"


def interrupted() -> tuple[World, Death]:
    """An adoption of the retiring secret that died at its write to the published document."""
    at = next(at for at in count() if is_publish(at))
    world = overlap()
    death = die(world, at, lambda: adopt(world))
    assert death is not None
    return world, death


def moved() -> World:
    """The same, and a person has copied the document to another path, changed the configuration and named the id."""
    world, _ = interrupted()
    world.vault.write("apps/moved", dict(world.vault.versions["apps/shop"][-1]), cas=0)
    move(world, "apps/moved")
    world.clock.wait(timedelta(minutes=5))
    Operator(world.rotation()).adopt(None, "id-002", retire=frozenset({"id-001"}))
    return world


@pytest.mark.parametrize("versions", [1, 9])
def test_wrong_path_for_one_run_ends_no_mark(versions: int) -> None:
    """Another team's document is there, with fewer or with more versions. It stays as it is."""
    world, death = interrupted()
    for _ in range(versions):
        world.publish(OTHER_TEAMS, path="apps/typo")
    move(world, "apps/typo")
    others(world)
    assert len(world.vault.versions["apps/typo"]) == versions
    assert world.journal.publishing is not None
    move(world, "apps/shop")
    others(world)
    assert world.journal.publishing is None
    assert death.last is not None
    death.last()
    assert world.consumer_works()
    assert world.published != FIRST


def test_moved_account_ends_its_mark_by_adopt() -> None:
    """The path of now is right: the failure names the command that publishes there once more."""
    world = moved()
    value = world.published
    outcome = world.rotation().run()
    assert outcome.reason == "unconfirmed_document"
    assert "a write to apps/shop was interrupted" in str(outcome.error)
    assert outcome.next_command == Command.of("adopt", "shop", "--replace", "--secret-id", "id-002")
    assert set(world.live) == {"id-001", "id-002"}
    with pytest.raises(RotatorError, match=r"add --replace|a write to apps/shop was interrupted"):
        Operator(world.rotation()).adopt(SecretStr(FIRST), "id-001")
    Operator(world.rotation()).adopt(None, "id-002", replace_working=True)
    assert world.journal.publishing is None
    world.clock.wait(timedelta(hours=2))
    assert world.rotation().run().result is Result.OK
    assert world.vault.versions["apps/moved"][-1]["api_secret"] == value
    assert set(world.live) == {"id-002"}


def test_resolve_names_the_write_elsewhere() -> None:
    world = moved()
    with pytest.raises(RotatorError, match="a write to apps/shop was interrupted"):
        Operator(world.rotation()).unknown()
