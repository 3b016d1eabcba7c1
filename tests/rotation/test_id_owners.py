"""Which value an id belongs to, as documents tell it: nothing leads rotator to revoke the secret in use."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Learned
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome
from testkit.model import World
from tests.rotation.test_rotation import adopted, rotate

OTHER = "Dashboard00001"
DAY = timedelta(days=1)


def rotated() -> tuple[World, str, str]:
    """An account whose published secret rotator created, and nothing else is listed; its value and its id."""
    world = adopted()

    def revoked(id_: str, value: str) -> None:
        assert value != world.published, f"{id_} was revoked, which consumers read"

    world.provider.on_revoke = revoked
    rotate(world)
    world.clock.wait(world.grace + DAY)
    world.rotation().run()
    assert world.published is not None
    assert world.journal.current.learned is Learned.ANSWERED
    assert set(world.live) == {world.journal.current_id}
    return world, world.published, world.journal.current_id


def delete_newest(world: World) -> None:
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))


def adopt(world: World, value: str, secret_id: str | None = None) -> Outcome:
    return Operator(world.rotation()).adopt(SecretStr(value), secret_id, replace_working=True)


def run_for_days(world: World, days: int = 4) -> Outcome:
    """Scheduled runs, the first ones soon after another."""
    for pause in (1, 16, 16, 31, 31, 600, *(21_600,) * (4 * days)):
        world.rotation(explicit=False).run()
        world.clock.wait(timedelta(seconds=pause))
    return world.rotation().run()


# --- a deleted document ------------------------------------------------------------------------------------------


def test_adopt_after_deletion_asks_for_the_id() -> None:
    """The deleted version might have contained the same value: its id is not another secret's."""
    world, value, own = rotated()
    other = world.provider.add("shopkey", OTHER)
    delete_newest(world)
    with pytest.raises(RotatorError, match=f"does not say which one this value is: {own} .*{other}"):
        adopt(world, value)
    adopt(world, value, own)
    assert (world.published, world.journal.current_id, world.journal.retiring) == (value, own, ())
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_adopt_after_deletion_retires_nothing() -> None:
    world, value, own = rotated()
    delete_newest(world)
    adopt(world, value)
    assert world.journal.retiring == ()
    assert run_for_days(world).reason == "idle"
    assert (world.published, world.journal.current_id) == (value, own)


def test_restored_version_retires_nothing_when_ids_are_missing() -> None:
    """An edit of another field is deleted: the version before contains the same value, and the list lacks its id."""
    world, value, own = rotated()
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"note": "edited"})
    world.rotation().run()
    delete_newest(world)
    world.provider.listing_lag = 30 * DAY
    world.rotation(explicit=False).run()
    assert world.published == value
    assert world.journal.retiring == ()
    world.provider.listing_lag = timedelta()
    assert run_for_days(world).reason == "idle"
    assert world.journal.current_id == own
