"""Vault's answers are dated by another clock than the one that stores versions."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.vault import Document
from testkit.model import World
from tests.rotation.worlds import FIRST

NONE = timedelta()
HOUR = timedelta(hours=1)


def unadopted() -> World:
    world = World(grace=timedelta(minutes=5))
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    return world


def date_answers(world: World, behind: timedelta) -> None:
    """Have the answers of Vault dated by a clock that is behind."""
    read = world.vault.read

    def dated(path: str, version: int | None = None) -> Document:
        document = read(path, version)
        assert document.read_at is not None
        return replace(document, read_at=(document.read_at - behind).replace(microsecond=0))

    world.vault.read = dated  # type: ignore[method-assign]


def rotate_and_revoke(world: World) -> timedelta:
    """How long it takes until the previous secret is revoked."""
    began = world.clock()
    assert world.rotation(fresh_after=began).run().published
    while len(world.live) > 1:
        world.clock.wait(timedelta(seconds=30))
        world.rotation(explicit=False).run()
        assert world.clock() - began < HOUR
    return world.clock() - began


def journal_path(world: World) -> str:
    return world.settings.journal_path(world.account)


def journal_versions(world: World) -> int:
    return len(world.vault.versions[journal_path(world)])


def first_day(behind: timedelta) -> tuple[timedelta, timedelta, int]:
    """How long the first id and the first revocation take, and the number of journal writes."""
    world = unadopted()
    date_answers(world, behind)
    began = world.clock()
    world.identify()
    return world.clock() - began, rotate_and_revoke(world), journal_versions(world)


@pytest.mark.parametrize("behind", [timedelta(minutes=5), timedelta(minutes=59), 2 * HOUR, timedelta(days=3)])
def test_date_that_is_behind_delays_nothing(behind: timedelta) -> None:
    """Each run took the journal for one from the future. It waited as long, or wrote the journal again, for ever."""
    assert first_day(behind) == first_day(NONE)


@pytest.mark.parametrize("behind", [timedelta(minutes=5), 2 * HOUR])
def test_date_that_falls_behind_causes_one_write(behind: timedelta) -> None:
    """Vault was put behind a proxy a moment ago: the journal does not say yet when it was written."""
    world, usual = unadopted(), unadopted()
    world.identify()
    usual.identify()
    date_answers(world, behind)
    assert rotate_and_revoke(world) == rotate_and_revoke(usual)
    assert journal_versions(world) - journal_versions(usual) in (0, 1)


def test_date_that_is_right_needs_no_note() -> None:
    world = unadopted()
    world.identify()
    assert all("written" not in version for version in world.vault.versions[journal_path(world)])
