"""The configuration names another path or field for the value: consumers can read the secret at the earlier one."""

import pytest

from rotator.core.protocol import Trigger
from rotator.errors import RotatorError
from rotator.rotation import Operator
from testkit.model import World
from tests.rotation.test_id_owners import OTHER, TYPO, adopt, rotated, run_for_days, waiting
from tests.rotation.worlds import rename_field, rotate

# --- ids that older versions name ---------------------------------------------------------------------------------


def rotated_under_another_field() -> tuple[World, str, str, str, str]:
    """The configuration named another field while rotator bootstrapped the account, and names the first one again.

    Returns:
        The account, the value in the first field, its id, the value in the other field, and its id.
    """
    world, value, own = rotated(secondary=True)
    rename_field(world, "password")
    assert rotate(world).published
    assert world.published is not None
    later, other = world.published, world.journal.current_id
    assert set(world.live) == {own, other}
    rename_field(world, "api_secret")
    return world, value, own, later, other


def test_adopt_takes_an_id_written_for_another_field() -> None:
    """The version that names it first contains an earlier value in the field of now."""
    world, _, own, later, other = rotated_under_another_field()
    world.publish(later)
    adopt(world, later, other)
    assert (world.journal.current_id, world.journal.retiring_ids) == (other, frozenset())
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_restored_value_gets_no_id_of_another_field() -> None:
    world, value, own, _, other = rotated_under_another_field()
    world.publish(TYPO)
    world.rotation().run()
    assert (world.published, world.journal.current_id) == (value, None)
    with pytest.raises(RotatorError, match=f"one of these ids is the published secret's: {own}, {other}"):
        Operator(world.rotation()).unknown()
    run_for_days(world)
    assert set(world.live) == {own, other}


# --- the secret that is published in the earlier field ------------------------------------------------------------


def publish_in(world: World, name: str, value: str) -> None:
    """A person writes a value into a field, and leaves the others."""
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {name: value})


def test_rescue_in_another_field_retires_nothing() -> None:
    world, _, own = rotated(secondary=True)
    rename_field(world, "password")
    publish_in(world, "password", TYPO)
    assert world.rotation().run().published
    assert world.journal.trigger is Trigger.RESCUE
    assert world.journal.retiring_ids == frozenset()
    run_for_days(world)
    assert own in world.live


def test_candidate_published_in_another_field_retires_nothing() -> None:
    """The field's name changes while a candidate waits."""
    world, value, own, candidate = waiting()
    rename_field(world, "password")
    publish_in(world, "password", value)
    assert world.rotation().run().published
    assert world.journal.current_id == candidate
    assert world.journal.retiring_ids == frozenset()
    run_for_days(world)
    assert set(world.live) == {own, candidate}


def test_adoption_in_another_field_retires_nothing() -> None:
    world, value, own = rotated()
    other = world.provider.add("shopkey", OTHER)
    rename_field(world, "password")
    publish_in(world, "password", value)
    adopt(world, OTHER, other)
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_restored_version_of_another_field_retires_nothing() -> None:
    """A person filled the other field earlier, and mistypes it now."""
    world, _, own = rotated()
    other = world.provider.add("shopkey", OTHER)
    publish_in(world, "password", OTHER)
    rename_field(world, "password")
    publish_in(world, "password", TYPO)
    world.rotation().run()
    assert world.published == OTHER
    run_for_days(world)
    assert set(world.live) == {own, other}


# --- the secret that is published at the earlier path -------------------------------------------------------------


def move(world: World, path: str) -> None:
    """Change the path of the published document in the configuration."""
    moved = world.settings.accounts[0].model_copy(update={"path": path})
    world.settings = world.settings.model_copy(update={"accounts": (moved, *world.settings.accounts[1:])})


def test_rescue_at_another_path_retires_nothing() -> None:
    """A person copied the document there by hand, and mistyped the value."""
    world, _, own = rotated(secondary=True)
    move(world, "apps/moved")
    copied = world.vault.versions["apps/shop"][-1]
    world.vault.write("apps/moved", copied | {"api_secret": TYPO}, cas=0)
    assert world.rotation().run().published
    assert world.journal.trigger is Trigger.RESCUE
    run_for_days(world)
    assert own in world.live


def test_candidate_published_at_another_path_retires_nothing() -> None:
    """The path changes while a candidate waits. Nothing is published there yet."""
    world, _, own, candidate = waiting()
    move(world, "apps/moved")
    assert world.rotation().run().published
    run_for_days(world)
    assert set(world.live) == {own, candidate}
