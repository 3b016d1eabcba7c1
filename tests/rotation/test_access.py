"""Primary and secondary accounts: the credentials that a run lists and creates with."""

from datetime import timedelta

from rotator.core.protocol import Prepare, Trigger
from testkit.model import World
from tests.rotation.worlds import adopted, run_until


def test_primary_account_bootstraps_secondary_without_published_secret() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    outcome = world.rotation().run()
    assert outcome.published
    assert world.journal.trigger is Trigger.BOOTSTRAP
    assert world.consumer_works()
    world.clock.wait(timedelta(hours=30))
    assert world.rotation().run().reason == "ambiguous"
    assert "InitialSecret1" in world.live.values(), "what rotator did not publish is nobody's to revoke unasked"


def test_full_unknown_secondary_asks_for_adoption() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    world.provider.add("shopkey", "InitialSecret2")
    outcome = world.rotation().run()
    assert outcome.reason == "full"
    assert len(world.live) == 2


def test_rotated_primary_is_read_again_once() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    rotation = world.rotation()
    run_until(rotation, Prepare, then_perform=True)
    old = next(iter(world.provider.secrets["parentkey"]))
    world.provider.add("parentkey", "ParentSecret002")
    world.publish("ParentSecret002", path="apps/parent")
    world.provider.remove("parentkey", old)
    assert rotation.run().published


def test_error_names_a_primary_without_published_secret() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    del world.vault.versions["apps/parent"]
    outcome = world.rotation().run()
    assert "rotator adopt parent" in (outcome.error or "")


def test_single_401_rotates_no_secondary_early() -> None:
    world = adopted(secondary=True)
    world.provider.refusals = 1
    assert not world.rotation().run().published
