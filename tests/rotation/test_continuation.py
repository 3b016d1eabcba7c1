"""The command that a run names when it ends early: it continues what was asked for, and begins nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.core.protocol import Command, Create, Publish
from rotator.documents import format_instant, render_journal
from rotator.errors import Blame, RotatorError
from rotator.provider import NotSent, Unprovisioned
from rotator.rotation import Outcome, Result, Rotation
from rotator.rotation.run import MAX_CONFLICTS
from rotator.vault import CasConflict, VaultDenied, VaultSealed
from testkit.model import World
from tests.rotation.worlds import adopted, in_overlap, limit, rotate, run_until
from tests.system.advice import Reader

UNFINISHED = Command.of("rotate-now", "shop", "--due", "--wait", "5m")


def unreachable(world: World, error: RotatorError | None = None) -> None:
    """Have every request to the provider fail."""

    def fail(_: object) -> None:
        raise error or NotSent("the provider is unavailable")

    world.provider.on_request = fail


def fail_once_published(world: World) -> None:
    if len(world.vault.versions["apps/shop"]) > 1:
        raise NotSent("the provider is unavailable")


def reachable(world: World) -> None:
    world.provider.on_request = lambda _: None


class Conflicting:
    """A store where another writer is always ahead."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, path: str, data: Any, cas: int) -> int:
        raise CasConflict(path)


def conflicting(rotation: Rotation) -> None:
    rotation.state.store = Conflicting(rotation.state.store)


def assert_names(outcome: Outcome, purpose: str, command: Command) -> None:
    assert outcome.next_command == command
    assert (outcome.error or "").endswith(f"{purpose}: {command}.")


def due() -> tuple[World, Rotation]:
    world, _ = in_overlap()
    return world, world.rotation()


def asked(**policy: Any) -> Callable[[], tuple[World, Rotation]]:
    def make() -> tuple[World, Rotation]:
        world = adopted()
        return world, world.rotation(fresh_after=world.clock(), **policy)

    return make


def unfinished() -> tuple[World, Rotation]:
    world = adopted()
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    world.clock.wait(timedelta(hours=1))
    return world, world.rotation()


@pytest.mark.parametrize(
    ("make", "command"),
    [
        pytest.param(due, UNFINISHED, id="due revocation"),
        pytest.param(asked(), Command.of("rotate-now", "shop"), id="manual"),
        pytest.param(asked(force=True), UNFINISHED, id="force, recorded at once"),
        pytest.param(asked(compromised=True), UNFINISHED, id="compromised, recorded at once"),
        pytest.param(unfinished, Command.of("rotate-now", "shop"), id="unfinished candidate"),
    ],
)
def test_provider_failure_names_command_that_continues(
    make: Callable[[], tuple[World, Rotation]], command: Command
) -> None:
    world, rotation = make()
    published = len(world.vault.versions["apps/shop"])
    unreachable(world)
    outcome = rotation.run()
    assert (outcome.result, outcome.blame) == (Result.FAILED, Blame.PROVIDER)
    assert_names(outcome, "To retry now", command)
    assert world.journal.last_error == outcome.error
    reachable(world)
    ended = Reader(world).run(*command.args)
    assert ended.ok, ended
    rotations = 0 if make is due else 1
    assert len(world.vault.versions["apps/shop"]) == published + rotations


def test_failure_after_publishing_begins_no_other_rotation() -> None:
    world = World(grace=timedelta())
    world.provider.add("shopkey", "FirstSecret001")
    world.publish("FirstSecret001")
    world.identify()
    rotation = world.rotation(fresh_after=world.clock())
    world.provider.on_request = lambda _: None if len(world.live) == 1 else fail_once_published(world)
    outcome = rotation.run()
    assert outcome.published
    assert_names(outcome, "To retry now", UNFINISHED)


@pytest.mark.parametrize("asked", [False, True])
def test_secret_of_earlier_run_begins_no_other_rotation(asked: bool) -> None:
    """A run died after it had published. The next one cannot write: it repeats only what its own caller wants."""
    world = adopted()
    run_until(world.rotation(fresh_after=world.clock()), Publish, then_perform=True)
    world.clock.wait(timedelta(hours=1))
    rotation = world.rotation(fresh_after=world.clock() if asked else None, compromised=True)
    conflicting(rotation)
    outcome = rotation.run()
    assert "Nothing was revoked, and the new secret is published and works" in (outcome.error or "")
    repeated = Command.of("rotate-now", "shop", "--compromised")
    assert outcome.next_command == (repeated if asked else UNFINISHED)
    published = len(world.vault.versions["apps/shop"])
    assert Reader(world).run(*outcome.next_command.args).ok
    assert len(world.vault.versions["apps/shop"]) == published + asked


@pytest.mark.parametrize("error", [VaultSealed("Vault is sealed"), VaultDenied("the policy lacks a path")])
def test_vault_failure_names_check(error: RotatorError) -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock())

    def read(*_: object) -> None:
        raise error

    rotation.state.store.read = read  # type: ignore[method-assign, assignment]
    assert_names(rotation.run(), "To see whether it works now", Command.of("check", "shop"))


def test_unprovisioned_account_names_check() -> None:
    world = adopted()
    unreachable(world, Unprovisioned("no access", status=401))
    outcome = world.rotation(fresh_after=world.clock()).run()
    assert_names(outcome, "To see whether it works now", Command.of("check", "shop"))


def test_stopped_run_repeats_its_request() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock())
    rotation.waiting.wait = lambda _: True
    outcome = rotation.run()
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "stopped")
    assert outcome.error == (
        "The process stopped before the run over shop was complete. "
        "Nothing was revoked, and the published secret stays. To continue: rotator rotate-now shop."
    )
    assert_names(outcome, "To continue", Command.of("rotate-now", "shop"))


def test_rate_limit_names_command_and_time() -> None:
    world = adopted()
    limit(world, timedelta(days=1), times=1)
    outcome = rotate(world)
    until = format_instant(world.clock() + timedelta(days=1))
    assert_names(outcome, f"To retry after {until}", Command.of("rotate-now", "shop"))


@pytest.mark.parametrize(
    ("kind", "options"), [({}, ()), ({"force": True}, ("--force",)), ({"compromised": True}, ("--compromised",))]
)
def test_repeated_conflicts_name_command_that_continues(kind: dict[str, bool], options: tuple[str, ...]) -> None:
    """The journal does not contain the request: the command repeats it."""
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock(), **kind)
    conflicting(rotation)
    outcome = rotation.run()
    assert outcome.reason == "contention"
    purpose = "Find out what else writes there, or whether a cache is in front of Vault. Then continue"
    assert_names(outcome, purpose, Command.of("rotate-now", "shop", *options))


class Busy(Conflicting):
    """A store where another instance acquires the lease a moment before this one, some times."""

    def __init__(self, world: World, times: int) -> None:
        super().__init__(world.vault)
        self.world, self.left = world, times
        self.path = world.settings.journal_path(world.account)

    def write(self, path: str, data: Any, cas: int) -> int:
        if self.left and self.world.journal.lease_holder is None:
            self.left -= 1
            self.hold(lease_holder="other", lease_until=self.world.clock() + timedelta(minutes=2))
        return self.world.vault.write(path, data, cas)

    def hold(self, **lease: Any) -> None:
        held = render_journal(replace(self.world.journal, **lease))
        self.world.vault.write(self.path, held, cas=len(self.world.vault.versions[self.path]))

    def wait(self, delay: timedelta) -> bool:
        self.world.clock.wait(delay)
        if self.world.journal.lease_holder == "other":
            self.hold(lease_holder=None, lease_until=None)
        return False


def test_conflicts_between_lease_waits_end_no_run() -> None:
    """A patient command among busy instances."""
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock(), patience=timedelta(hours=1))
    busy = Busy(world, times=2 * MAX_CONFLICTS)
    rotation.state.store, rotation.waiting.wait = busy, busy.wait
    outcome = rotation.run()
    assert (outcome.published, busy.left) == (True, 0)
    assert outcome.conflicts > MAX_CONFLICTS


def test_deferral_contains_the_command_it_names() -> None:
    world, _ = in_overlap()
    world.clock.wait(-timedelta(minutes=59))
    outcome = world.rotation(fresh_after=world.clock()).run()
    assert outcome.reason == "full"
    assert_names(outcome, "To continue", Command.of("rotate-now", "shop", "--force"))
