"""The configuration names another field for the value: consumers can read the secret in the earlier one."""

import pytest

from rotator.errors import RotatorError
from rotator.rotation import Operator
from testkit.model import World
from tests.rotation.test_id_owners import TYPO, adopt, rotated, run_for_days
from tests.rotation.test_rotation import rename_field, rotate

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
