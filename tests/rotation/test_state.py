"""The state of a run: a journal that is unreadable, uncertain, or has a wrong date."""

from datetime import timedelta

from rotator.core.protocol import Prepare
from rotator.rotation import Result, preview
from tests.rotation.worlds import DAY, FIRST, adopted, answered, rotate


def test_unreadable_journal_is_left_unchanged() -> None:
    world = adopted()
    path = world.settings.journal_path(world.account)
    before = len(world.vault.versions[path])
    world.vault.versions[path].append({"retiring": "yes", "attempts": "many", "candidate": 7})
    outcome = rotate(world)
    assert outcome.result is Result.FAILED
    assert "attempts, candidate, retiring" in (outcome.error or "")
    assert len(world.vault.versions[path]) == before + 1
    assert list(world.live.values()) == [FIRST]


def test_later_write_of_the_journal_ends_doubt() -> None:
    """An earlier write replaces a version that is no longer the newest."""
    world = answered()
    rotation = world.rotation(fresh_after=world.clock() + timedelta(seconds=1), compromised=True)
    world.vault.fault = "lost-before"
    rotation.step()
    assert rotation.state.write_is_unknown
    assert rotation.run().result is Result.OK
    assert not rotation.state.write_is_unknown


def test_secret_of_wrong_clock_has_its_documents_age() -> None:
    world = adopted(grace=timedelta())
    world.ahead = 365 * DAY
    rotate(world, fresh_after=world.clock() + world.ahead)
    world.ahead, published_at = timedelta(), world.clock()
    assert world.journal.rotated_at == published_at + 365 * DAY
    world.clock.wait(DAY)
    outcome = world.rotation(fresh_after=published_at, explicit=False).run()
    assert not outcome.published, "it is of this date, not of a year later, and not due yet"
    assert world.journal.rotated_at - published_at < timedelta(minutes=1)
    assert isinstance(preview(world.rotation(fresh_after=world.clock())).step, Prepare)
    assert rotate(world).published
