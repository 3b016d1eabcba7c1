"""Preview of a run: reads alone."""

from datetime import timedelta

from rotator.core.protocol import Prepare
from rotator.rotation import preview
from tests.rotation.worlds import DAY, FIRST, adopted, rotate


def test_preview_changes_nothing() -> None:
    world = adopted()
    before = {path: len(versions) for path, versions in world.vault.versions.items()}
    previewed = preview(world.rotation(fresh_after=world.clock()))
    assert isinstance(previewed.step, Prepare)
    assert {path: len(versions) for path, versions in world.vault.versions.items()} == before
    assert list(world.live.values()) == [FIRST]


def test_preview_ignores_a_wrong_date() -> None:
    world = adopted()
    world.ahead = 365 * DAY
    rotate(world, fresh_after=world.clock() + world.ahead, grace=timedelta())
    world.ahead = timedelta()
    world.clock.wait(DAY)
    assert isinstance(preview(world.rotation(due_at=lambda rotated_at: rotated_at + timedelta(hours=1))).step, Prepare)
