"""A write to the published document that lands late never publishes a revoked secret (invariant I9)."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.errors import RotatorError
from rotator.rotation import Operator, Result
from testkit.cluster import Cluster
from testkit.model import World
from tests.system.deaths import check_revocations, die
from tests.system.harness import ClusterAccount, Gate, assert_ok, kill, writes_to

pytestmark = pytest.mark.timeout(280)

FIRST, OTHER = "FirstSecret001", "OtherSecret001"


def test_interrupted_adoption_never_publishes_a_revoked_secret(cluster: Cluster) -> None:
    """B3: `adopt` of a retiring secret, its write held up, the process killed; another instance revokes what is due."""
    shop = ClusterAccount(cluster).open()
    shop.configure()
    retiring = shop.id_of(shop.first)
    assert_ok(shop.adopted().rotate())
    gate = Gate(hold=writes_to(shop.path))
    with shop.consumer(), gate.before(cluster) as env:
        adoption = shop.start_adopt(shop.first, "--replace", "--secret-id", retiring, env=env)
        gate.wait_until_held(adoption)
        kill(adoption)
        assert shop.journal["publishing"]["entry"]["id"] == retiring
        assert shop.journal["format"] == 2
        # Another instance takes over, and somebody does not want to wait for the end of the grace period.
        assert_ok(shop.rotate("--due", "--wait", "60s"))
        shop.run("account", "secrets", "revoke", shop.name, retiring, "--yes")
        assert shop.journal["publishing"] is None
        gate.open_and_wait()
        assert shop.published != shop.first
        assert shop.journal["retiring"] == []
    assert list(shop.live.values()) == [shop.published]


# --- with a clock of its own -------------------------------------------------------------------------------------


def overlap(*, compromised: bool = False) -> World:
    """One hour after a rotation: the first secret is retiring and due, the second one is published."""
    world = World(grace=timedelta(hours=1))
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.identify()
    world.rotation(fresh_after=world.clock(), compromised=compromised, revoke=False).run()
    assert [entry.id for entry in world.journal.retiring] == ["id-001"]
    world.clock.wait(timedelta(hours=2))
    check_revocations(world)
    return world


def adopt(world: World, value: str = FIRST, secret_id: str | None = "id-001") -> None:
    with suppress(RotatorError):
        Operator(world.rotation()).adopt(SecretStr(value), secret_id, replace_working=True)


def resolve(world: World) -> None:
    """Revoke whatever may be revoked by hand."""
    try:
        operator = Operator(world.rotation())
        unknown = frozenset(operator.unknown())
        if unknown:
            operator.resolve(unknown)
    except RotatorError:
        pass


def settle(world: World) -> None:
    """Run now and then until nothing is left to do."""
    for _ in range(4):
        world.rotation(explicit=False).run()
        assert world.consumer_works()
        world.clock.wait(timedelta(hours=1))
    outcome = world.rotation().run()
    assert outcome.result is Result.OK or outcome.reason in ("ambiguous", "full"), outcome
    assert world.journal.publishing is None


def others(world: World) -> None:
    """What other instances do after the lease of the dead one has ended."""
    world.clock.wait(timedelta(minutes=5))
    world.rotation(explicit=False).run()
    resolve(world)
    world.clock.wait(timedelta(minutes=5))
    world.rotation().run()


def land_at_every_request(make: Callable[[], World], act: Callable[[World], None]) -> int:
    """Let an act die at each request, and carry that request out before each request of others; count the cases."""
    cases = 0
    for at in count():
        for landing in count():
            world = make()
            death = die(world, at, lambda: act(world))  # noqa: B023
            if death is None:
                return cases
            assert death.last is not None
            world.interruption.after, world.interruption.happen = landing, death.last
            others(world)
            over = world.interruption.happen is not None
            world.interruption.happen = None
            if over:
                death.last()  # later than everything
            assert world.consumer_works(), (at, death.name, landing)
            settle(world)
            cases += 1
            if over or death.name in ("read", "list_secrets"):
                break
    return cases


@pytest.mark.parametrize("secret_id", ["id-001", None], ids=["named", "unnamed"])
@pytest.mark.parametrize("compromised", [False, True])
def test_killed_adoption_of_a_retiring_secret_is_harmless(secret_id: str | None, compromised: bool) -> None:
    """It dies at each request; a write that it sent lands before each request of two other instances, or after."""
    cases = land_at_every_request(
        lambda: overlap(compromised=compromised), lambda world: adopt(world, secret_id=secret_id)
    )
    assert cases > 20


def stranger() -> World:
    """Beside the published secret, whose id is certain, there is one that rotator knows nothing of."""
    world = overlap()
    world.rotation().run()
    assert list(world.live) == ["id-002"]
    world.provider.add("shopkey", OTHER)
    world.rotation().run()
    return world


@pytest.mark.parametrize("secret_id", ["id-003", None], ids=["named", "unnamed"])
def test_killed_adoption_of_an_unknown_secret_is_harmless(secret_id: str | None) -> None:
    """The same, where a person then gives the secret up with `resolve`."""
    cases = land_at_every_request(stranger, lambda world: adopt(world, OTHER, secret_id))
    assert cases > 10


def refused() -> World:
    """The published secret was deleted by hand; an earlier version's secret still authenticates, and is due."""
    world = overlap()
    world.provider.remove("shopkey", world.journal.current_id)
    world.clock.wait(timedelta(minutes=1))
    return world


def test_killed_restore_of_an_earlier_secret_is_harmless() -> None:
    """What is published does not work to begin with: once it does, it stays so."""
    for at in count():
        world = refused()
        death = die(world, at, lambda: world.rotation().run())  # noqa: B023
        if death is None:
            break
        assert death.last is not None
        world.interruption.after, world.interruption.happen = at % 7, death.last
        world.clock.wait(timedelta(minutes=5))
        world.rotation().run()
        if world.interruption.happen is not None:
            world.interruption.happen = None
            death.last()
        world.clock.wait(timedelta(minutes=5))
        world.rotation().run()
        assert world.consumer_works()
        settle(world)


@pytest.mark.parametrize("edit", ["same version deleted", "another value"])
def test_edit_by_hand_after_killed_adoption_is_harmless(edit: str) -> None:
    """A dead adoption's mark, and a person who deletes and undeletes the document, or writes another value."""
    at = next(at for at in count() if is_publish(at))
    for landing in range(30):
        world = overlap()
        death = die(world, at, lambda: adopt(world))  # noqa: B023
        assert death is not None
        assert death.last is not None
        world.clock.wait(timedelta(minutes=5))
        versions = world.vault.versions["apps/shop"]
        kept = versions[-1]
        if edit == "another value":
            versions.append(dict(kept))
        else:
            versions[-1] = {}
            world.vault.taken_at(versions[-1], world.clock())
            world.rotation().run()
            assert "id-001" in world.live, "nothing is revoked while the marked version holds no value"
            versions[-1] = kept
        world.interruption.after, world.interruption.happen = landing, death.last
        others(world)
        if world.interruption.happen is not None:
            world.interruption.happen = None
            death.last()
        assert world.consumer_works(), landing
        settle(world)


def is_publish(at: int) -> bool:
    """Whether a dying adoption's request of this number is the write of the published document."""
    world = overlap()
    before = len(world.vault.versions["apps/shop"])
    death = die(world, at, lambda: adopt(world))
    if death is None or death.name != "write" or death.last is None:
        return False
    death.last()
    return len(world.vault.versions["apps/shop"]) > before


def test_second_killed_instance_is_harmless() -> None:
    """The instance that ends a dead adoption's write dies as well, and both writes land late, in either order."""
    at = next(at for at in count() if is_publish(at))
    for second_at in count():
        ended = False
        for order in (0, 1):
            world = overlap()
            first = die(world, at, lambda: adopt(world))  # noqa: B023
            world.clock.wait(timedelta(minutes=5))
            second = die(world, second_at, lambda: world.rotation().run())  # noqa: B023
            assert first is not None
            assert first.last is not None
            landings = [first.last, second.last if second is not None else None]
            ended = second is None
            for land in landings[::-1] if order else landings:
                if land is not None:
                    land()
                assert world.consumer_works(), (second_at, order)
                world.clock.wait(timedelta(minutes=5))
                world.rotation().run()
                assert world.consumer_works(), (second_at, order)
            settle(world)
        if ended:
            break


@pytest.mark.parametrize("pause", [timedelta(), timedelta(minutes=5)], ids=["at once", "after its lease"])
@pytest.mark.parametrize("other", ["run", "compromised", "resolve", "adopt", "delete and undelete"])
def test_adoption_beside_another_command_is_harmless(other: str, pause: timedelta) -> None:
    """Another command runs, whole, before each request of an adoption; the adoption may be stopped for a while."""
    for after in count():
        world = overlap()

        def happen(world: World = world) -> None:
            world.clock.wait(pause)
            match other:
                case "run":
                    world.rotation(explicit=False).run()
                case "compromised":
                    world.rotation(fresh_after=world.clock(), compromised=True).run()
                case "resolve":
                    resolve(world)
                case "adopt":
                    adopt(world, world.published or "", "id-002")
                case _:
                    versions = world.vault.versions["apps/shop"]
                    kept, versions[-1] = versions[-1], {}
                    world.rotation().run()
                    versions[-1] = kept

        world.interruption.after, world.interruption.happen = after, happen
        adopt(world)
        ended = world.interruption.happen is not None
        world.interruption.happen = None
        assert world.consumer_works(), (other, after)
        settle(world)
        assert world.journal.lease_holder is None
        if ended:
            assert after > 8
            break


@pytest.mark.parametrize("fate", ["lost-before", "lost-after"])
def test_adoption_is_harmless_when_writes_are_unanswered(fate: str) -> None:
    """The run goes on after the lost answer, or fails; neither loses a secret."""
    for number in count():
        world = overlap()
        write, writes = world.vault.write, count()

        def lossy(*args: Any, number: int = number, world: World = world, **named: Any) -> int:
            if next(writes) == number:  # noqa: B023
                world.vault.fault = fate
            return write(*args, **named)  # noqa: B023

        world.vault.write = lossy  # type: ignore[method-assign]
        adopt(world)
        done = next(writes)
        world.clock.wait(timedelta(minutes=5))
        world.rotation().run()
        assert world.consumer_works(), number
        settle(world)
        if done <= number:
            assert number > 3
            break


def test_adoption_waits_for_a_revocation_in_progress() -> None:
    """A DELETE is on its way when its secret is adopted: it lands before the secret is published, or not at all."""
    for at in count():
        for landing in count():
            world = overlap()
            death = die(world, at, lambda: world.rotation().run())  # noqa: B023
            if death is None:
                assert at > 3
                return
            if death.name != "revoke_secret":
                break
            assert death.last is not None
            over = world.clock() + world.provider.request_timeout + world.provider.settle

            def land(world: World = world, over: Any = over, last: Any = death.last) -> None:
                if world.clock() <= over:
                    last()

            world.interruption.after, world.interruption.happen = landing, land
            with suppress(RotatorError):
                operator = Operator(world.rotation(patience=timedelta(minutes=10)))
                operator.adopt(SecretStr(FIRST), "id-001", replace_working=True)
            ended = world.interruption.happen is not None
            world.interruption.happen = None
            assert world.consumer_works(), landing
            settle(world)
            if ended:
                assert landing > 5
                break
