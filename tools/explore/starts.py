"""The worlds in which scenarios begin."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from pydantic import SecretStr

from rotator.core.protocol import Publishing, Trigger
from rotator.documents import render_journal
from testkit.model import World
from tools.explore.runs import Versions
from tools.explore.states import FIRST, KEY, REQUEST_TIMEOUT, SECOND, TICK, WINDOW, Request

STUCK = "StuckSecret001"


def begin(name: str, grace: timedelta, max_secrets: int) -> tuple[World, Request | None]:
    """Return the world in which a scenario begins, with clock, provider and Vault, and a write that is under way."""
    world = World(grace=grace, max_secrets=max_secrets, vault=Versions())
    world.provider.request_timeout, world.provider.settle = REQUEST_TIMEOUT, WINDOW
    return world, _STARTS[name](world)


def _idle(world: World) -> None:
    """One secret, which a person published; its id was eliminated."""
    world.provider.add(KEY, FIRST)
    world.publish(FIRST)
    world.identify()
    world.clock.wait(TICK)


def _replaced(world: World) -> None:
    """The first secret was replaced a moment ago: it is in its grace period. The new one's id was answered."""
    _idle(world)
    world.rotation(fresh_after=world.clock()).run()
    world.clock.wait(TICK)


def _own(world: World) -> None:
    """One secret, which rotator created: its id was answered."""
    _replaced(world)
    world.rotation(patience=timedelta(days=1)).run()
    assert len(world.live) == 1
    world.clock.wait(TICK)


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


def _held_up(world: World) -> Request:
    """An instance died while it published the retiring secret again. The write might be applied at any time."""
    _replaced(world)
    path, versions = world.settings.journal_path(world.account), world.vault.versions[world.account.path]
    mark = Publishing(len(versions), world.journal.retiring[0])
    journal = replace(world.journal, retiring=(), publishing=mark)
    world.vault.write(path, render_journal(journal), cas=len(world.vault.versions[path]))
    data = versions[-1] | {"api_secret": FIRST, "secret_id": mark.entry.id if mark.entry is not None else None}
    return Request("write", (world.account.path, data, len(versions)), world.clock())


_STARTS: dict[str, Callable[[World], Request | None]] = {
    "idle": _idle,
    "own": _own,
    "replaced": _replaced,
    "added": _added,
    "added to own": _added_to_own,
    "new": _new,
    "refused": _refused,
    "stuck": _stuck,
    "foreign": _foreign,
    "held up": _held_up,
}
