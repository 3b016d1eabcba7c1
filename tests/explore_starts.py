"""The worlds in which scenarios begin."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from pydantic import SecretStr

from rotator.core.protocol import Trigger
from rotator.documents.journal import render_journal
from tests.explore_states import FIRST, KEY, REQUEST_TIMEOUT, SECOND, WINDOW
from tests.model import World

STUCK = "StuckSecret001"


def begin(name: str, grace: timedelta, max_secrets: int) -> World:
    """Return the world in which a scenario begins, with clock, provider and Vault."""
    world = World(grace=grace, max_secrets=max_secrets)
    world.provider.request_timeout, world.provider.settle = REQUEST_TIMEOUT, WINDOW
    _STARTS[name](world)
    return world


def _idle(world: World) -> None:
    """One secret, which a person published; its id was eliminated."""
    world.provider.add(KEY, FIRST)
    world.publish(FIRST)
    world.identify()


def _replaced(world: World) -> None:
    """The first secret was replaced a moment ago: it is in its grace period. The new one's id was answered."""
    _idle(world)
    world.rotation(fresh_after=world.clock()).run()


def _own(world: World) -> None:
    """One secret, which rotator created: its id was answered."""
    _replaced(world)
    world.rotation(patience=timedelta(days=1)).run()
    assert len(world.live) == 1


def _added(world: World) -> None:
    """A person added a secret this very moment."""
    _idle(world)
    world.provider.add(KEY, SECOND)


def _added_to_own(world: World) -> None:
    _own(world)
    world.provider.add(KEY, SECOND)


def _new(world: World) -> None:
    """A person added a secret this very moment and published it; rotator has never seen the account."""
    world.provider.add(KEY, FIRST)
    world.clock.wait(3 * WINDOW)
    world.provider.add(KEY, SECOND)
    world.publish(SECOND)


def _refused(world: World) -> None:
    """The published secret was revoked by hand a while ago; the one before it, which is retiring, works."""
    _replaced(world)
    world.provider.remove(KEY, world.journal.current_id)


def _stuck(world: World) -> None:
    """An instance died before it sent its candidate, and the account is full because of a retiring secret."""
    _replaced(world)
    path = world.settings.journal_path(world.account)
    journal = replace(
        world.journal,
        candidate=SecretStr(STUCK),
        rotation_id="rotation-stuck",
        trigger=Trigger.SCHEDULE,
        ids_before=frozenset(world.live),
    )
    world.vault.write(path, render_journal(journal), cas=len(world.vault.versions[path]))


def _foreign(world: World) -> None:
    """Something is retiring, and the published document names another account."""
    _replaced(world)
    versions = world.vault.versions[world.account.path]
    versions.append(versions[-1] | {"api_key": "otherkey"})


_STARTS: dict[str, Callable[[World], None]] = {
    "idle": _idle,
    "own": _own,
    "replaced": _replaced,
    "added": _added,
    "added to own": _added_to_own,
    "new": _new,
    "refused": _refused,
    "stuck": _stuck,
    "foreign": _foreign,
}
