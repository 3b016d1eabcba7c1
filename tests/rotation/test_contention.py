"""Documents that change whenever a run reads them: each run ends, after pauses, and says why."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome, Rotation, preview
from rotator.rotation.run import MAX_CONFLICTS
from rotator.rotation.waiting import LONGEST_POLL
from rotator.vault import Document
from testkit.model import World
from tests.rotation.worlds import FIRST, adopted, in_overlap, store, wait_with

PUBLISHED, JOURNAL = "apps/shop", "rotator/journal/shop"


@dataclass
class Restless:
    """A store where one document is another one at each read, or at each second one.

    Attributes:
        kind: "edited": another writer edits the document before each read. "older" and "absent": each second read is
            answered by a server that has the version before, or none.
    """

    world: World
    path: str
    kind: str
    reads: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.vault, name)

    def read(self, path: str, version: int | None = None) -> Document:
        vault = self.world.vault
        if path == self.path and version is None:
            self.reads += 1
            versions = vault.versions[path]
            if self.kind == "edited":
                versions.append(versions[-1] | {"note": self.reads})
            elif self.reads % 2:
                return vault.read(path, len(versions) - 1 if self.kind == "older" else 0)
        return vault.read(path, version)


def in_due_overlap() -> World:
    world, _ = in_overlap()
    return world


def slow() -> World:
    world = adopted()
    world.provider.propagation = timedelta(seconds=100)
    world.clock.wait(timedelta(minutes=5))
    return world


def refused() -> World:
    world = adopted()
    world.provider.refusals = 10_000
    return world


def deleted() -> World:
    world, _ = in_overlap()
    world.vault.versions[PUBLISHED].append({"api_key": "shopkey"})
    return world


WORLDS: dict[str, Callable[[], World]] = {
    "idle": adopted,
    "due": in_due_overlap,
    "slow": slow,
    "refused": refused,
    "deleted": deleted,
}


def adopt(rotation: Rotation, world: World) -> object:
    return Operator(rotation).adopt(SecretStr(FIRST), next(iter(world.live)), replace_working=True)


COMMANDS: dict[str, Callable[[Rotation, World], object]] = {
    "run": lambda rotation, _: rotation.run(),
    "adopt": adopt,
    "unknown": lambda rotation, _: Operator(rotation).unknown(),
    "cancel": lambda rotation, _: Operator(rotation).cancel(),
    "preview": lambda rotation, _: preview(rotation),
}


@pytest.mark.parametrize("kind", ["edited", "older", "absent"])
@pytest.mark.parametrize("path", [PUBLISHED, JOURNAL])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("made", WORLDS)
def test_command_ends_when_reads_keep_changing(made: str, command: str, path: str, kind: str) -> None:
    """With an outcome, or an error that says what to do; never with an internal error."""
    world = WORLDS[made]()
    rotation = world.rotation(fresh_after=world.clock(), patience=timedelta(hours=1))
    rotation.state.store = Restless(world, path, kind)
    with suppress(RotatorError):
        COMMANDS[command](rotation, world)
    assert rotation.conflicts_since_turn <= MAX_CONFLICTS + 2, "a command can run once more at the end"


@pytest.mark.parametrize("kind", ["edited", "older", "absent"])
@pytest.mark.parametrize("path", [PUBLISHED, JOURNAL])
@pytest.mark.parametrize("made", WORLDS)
def test_run_waits_for_lease_when_reads_keep_changing(made: str, path: str, kind: str) -> None:
    world = WORLDS[made]()
    store(world, lease_holder="other", lease_until=world.clock() + timedelta(minutes=80))
    rotation = world.rotation(fresh_after=world.clock(), patience=timedelta(hours=3))
    rotation.state.store = restless = Restless(world, path, kind)
    rotation.run()
    assert rotation.conflicts_since_turn <= MAX_CONFLICTS + 1
    assert restless.reads < 2 * (timedelta(minutes=80) / LONGEST_POLL) + 200


@pytest.mark.parametrize("path", [PUBLISHED, JOURNAL])
def test_changes_during_wait_end_the_run_as_contention(path: str) -> None:
    world = refused()
    began = world.clock()
    rotation = world.rotation(fresh_after=world.clock())
    rotation.state.store = Restless(world, path, "edited")
    outcome = rotation.run()
    assert outcome.reason == "contention"
    assert f"{path} changed again and again ({MAX_CONFLICTS + 1} times)" in str(outcome.error)
    assert "whether a cache is in front of Vault" in str(outcome.error)
    assert timedelta(seconds=20) < world.clock() - began < timedelta(minutes=1), "the pauses grow"


def test_edits_between_own_journal_writes_end_the_run() -> None:
    """The run notes each version in the journal before it loses the published document again."""
    world = in_due_overlap()
    rotation = world.rotation(fresh_after=world.clock())
    rotation.state.store = Restless(world, PUBLISHED, "edited")
    assert rotation.run().reason == "contention"


def test_pauses_look_at_stop() -> None:
    world = refused()
    rotation = world.rotation(fresh_after=world.clock())
    rotation.state.store = Restless(world, JOURNAL, "edited")
    waits: list[timedelta] = []

    def wait(delay: timedelta) -> bool:
        waits.append(delay)
        return len(waits) == 8

    wait_with(rotation, wait)
    outcome = rotation.run()
    assert (outcome.reason, len(waits)) == ("stopped", 8)
    assert max(waits) <= LONGEST_POLL


def test_polls_grow_while_one_instance_holds_the_lease() -> None:
    """Also if another server's answer has another version each time."""
    world = adopted()
    store(world, lease_holder="other", lease_until=world.clock() + timedelta(minutes=2))
    rotation = world.rotation(fresh_after=world.clock(), patience=timedelta(minutes=5))
    rotation.state.store = restless = Restless(world, JOURNAL, "older")
    outcome = rotation.run()
    assert isinstance(outcome, Outcome)
    assert outcome.published
    assert restless.reads < 100
