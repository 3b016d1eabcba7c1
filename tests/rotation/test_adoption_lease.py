"""The lease of an adoption: other instances, late revocations, and another account's documents."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Publishing, Retiring, Revoke
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome, Result
from rotator.rotation.waiting import LONGEST_POLL
from testkit.model import World
from tests.rotation.worlds import (
    FIRST,
    adopt_first,
    adopted,
    answered,
    in_overlap,
    leased,
    lost_lease,
    of_another_account,
    rotate,
    run_until,
    store,
    wait_with,
    without_journal,
)


@pytest.mark.parametrize("lasts", [timedelta(minutes=2), timedelta(minutes=30)], ids=["within wait", "beyond wait"])
def test_adoption_continues_when_lease_is_released(lasts: timedelta) -> None:
    world = adopted()
    world.provider.add("shopkey", "OtherSecret0001")
    began, rotation = world.clock(), world.rotation(patience=timedelta(minutes=3))
    wait_with(rotation, leased(world, lasts=lasts, released_after=timedelta(seconds=20)))
    Operator(rotation).adopt(SecretStr("OtherSecret0001"), "id-002", replace_working=True)
    assert world.published == "OtherSecret0001"
    assert world.clock() <= began + timedelta(seconds=20) + LONGEST_POLL


def test_adopt_is_refused_while_another_instance_revokes() -> None:
    world, new = in_overlap()
    runner = world.rotation()
    run_until(runner, Revoke, then_perform=False)
    with pytest.raises(RotatorError, match=r"holds the lease of shop\. Nothing was published"):
        adopt_first(world)
    runner.perform(runner.decide())
    assert world.published == new
    assert world.consumer_works()


def test_adopt_waits_for_lease_then_finds_secret_revoked() -> None:
    world, new = in_overlap()
    runner = world.rotation()
    run_until(runner, Revoke, then_perform=False)
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    rotation = world.rotation(patience=timedelta(minutes=3))

    def waiting(delay: timedelta) -> bool:
        if FIRST in world.live.values():
            runner.perform(runner.decide())
        return world.clock.wait(delay)

    wait_with(rotation, waiting)
    with pytest.raises(RotatorError, match="refuses this secret"):
        Operator(rotation).adopt(SecretStr(FIRST), first_id, replace_working=True)
    assert world.published == new
    assert world.journal.lease_holder is None
    assert world.consumer_works()


def test_adopt_of_due_secret_awaits_revocation_in_progress() -> None:
    world, new = in_overlap()
    runner = world.rotation()
    run_until(runner, Revoke, then_perform=False)
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    world.clock.wait(timedelta(minutes=2))  # the runner died with its request on its way
    rotation = world.rotation()

    def waiting(delay: timedelta) -> bool:
        if world.provider.settle <= delay and FIRST in world.live.values():
            world.provider.remove("shopkey", first_id)  # and now it is carried out
        return world.clock.wait(delay)

    wait_with(rotation, waiting)
    with pytest.raises(RotatorError, match="refuses this secret"):
        Operator(rotation).adopt(SecretStr(FIRST), first_id, replace_working=True)
    assert world.published == new
    assert world.consumer_works()


def test_adopt_of_retiring_secret_awaits_late_revocation() -> None:
    world = adopted()
    rotate(world)
    began = world.clock()
    assert adopt_first(world).result is Result.OK
    assert world.published == FIRST
    assert world.clock() - began >= world.provider.request_timeout + world.provider.settle


def test_adopt_awaits_late_revocation_when_journal_is_lost() -> None:
    """The journal of before might have called the value a retiring secret."""
    world = adopted()
    rotate(world)
    path = world.settings.journal_path(world.account)
    world.vault.deleted.add((path, len(world.vault.versions[path])))
    began = world.clock()
    assert world.rotation().run().reason == "journal_lost"
    adopt_first(world)
    assert world.published == FIRST
    assert world.clock() - began >= world.provider.request_timeout + world.provider.settle


@pytest.mark.parametrize("run_before", [False, True], ids=["first command", "after a run"])
def test_adopt_awaits_late_revocation_when_journal_vanished(run_before: bool) -> None:
    """Its metadata was deleted, or the account was renamed: the published document is all that is left."""
    world = adopted()
    rotate(world)
    without_journal(world)
    began = world.clock()
    if run_before:  # it writes a journal that calls nothing retiring
        world.rotation().run()
    adopt_first(world)
    assert world.published == FIRST
    assert world.clock() - began >= lost_lease(world)


def test_adopt_awaits_late_revocation_of_replaced_foreign_journal() -> None:
    """The other account's journal took the place of this account's."""
    world = adopted()
    rotate(world)
    store(world, api_key="otherkey", current=None, retiring=())
    began = world.clock()
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    operator = Operator(world.rotation())
    operator.adopt(SecretStr(FIRST), first_id, replace_working=True, replace_foreign="otherkey")
    assert world.published == FIRST
    assert world.clock() - began >= lost_lease(world)


def test_adopt_of_long_lost_journal_waits_for_nothing() -> None:
    """A run sends a revocation under a lease, which began when the last version was stored at the latest."""
    world = adopted()
    rotate(world)
    path = world.settings.journal_path(world.account)
    world.vault.deleted.add((path, len(world.vault.versions[path])))
    world.clock.wait(timedelta(hours=1))
    began = world.clock()
    adopt_first(world)
    assert world.published == FIRST
    assert world.clock() - began < world.provider.request_timeout


@pytest.mark.parametrize("written", [False, True], ids=["no document", "written by a person"])
def test_first_adoption_waits_for_nothing(written: bool) -> None:
    world = World()
    if written:
        world.vault.write("apps/shop", {"api_key": "shopkey", "api_secret": "Mistyped00001"}, cas=0)
        world.vault.write("apps/shop", {"api_key": "shopkey", "api_secret": "Mistyped00002"}, cas=1)
    world.provider.add("shopkey", FIRST)
    began = world.clock()
    adopt_first(world)
    assert world.published == FIRST
    assert world.clock() == began
    assert world.journal.lost_journal_until is None


def test_retiring_by_hand_respects_another_instances_lease() -> None:
    world = answered(max_secrets=3)
    (own,) = world.live
    extra = world.provider.add("shopkey", "ByHand000001")
    rotation = world.rotation()
    run, until = rotation.run, world.clock() + timedelta(minutes=2)

    def after_another_one_began() -> Outcome:
        store(
            world, lease_holder="other", lease_until=until, candidate=SecretStr("Candidate00001"), rotation_id="other"
        )
        return run()

    rotation.run = after_another_one_began  # type: ignore[method-assign]
    with pytest.raises(RotatorError, match="other holds the lease"):
        Operator(rotation).adopt(SecretStr(world.published or ""), own, retire={extra})
    assert (world.journal.lease_holder, world.journal.lease_until) == ("other", until)
    assert not world.journal.retiring


def test_foreign_journal_beside_foreign_document_is_refused() -> None:
    world = answered()
    foreign = Retiring("id-of-other", world.clock())
    of_another_account(world, retiring=(foreign,))
    brought = world.provider.add("shopkey", "Brought00001")
    Operator(world.rotation()).adopt(SecretStr("Brought00001"), brought, replace_foreign="otherkey")
    assert world.published == "Brought00001"
    assert world.journal.api_key == "shopkey"
    assert world.journal.current_id == brought
    assert not world.journal.retiring


@pytest.mark.parametrize("unfinished", ["candidate", "lease", "publishing"])
def test_foreign_journal_of_unfinished_rotation_is_not_replaced(unfinished: str) -> None:
    world = answered()
    changes: dict[str, dict[str, Any]] = {
        "candidate": {"candidate": SecretStr("OtherCandidate1"), "rotation_id": "other"},
        "lease": {"lease_holder": "other", "lease_until": world.clock() + timedelta(minutes=1)},
        "publishing": {"publishing": Publishing(3)},
    }
    of_another_account(world, **changes[unfinished])
    world.provider.add("shopkey", "Brought00001")
    before = world.journal
    with pytest.raises(RotatorError, match=r"is not finished .* try again after 2026-") as raised:
        Operator(world.rotation()).adopt(SecretStr("Brought00001"), "id-003", replace_foreign="otherkey")
    assert raised.value.next_command == Command.of(
        "adopt", "shop", "--replace-foreign", "otherkey", "--secret-id", "id-003"
    )
    assert world.journal == before
    assert world.published != "Brought00001"


@pytest.mark.parametrize("unfinished", [{"candidate": SecretStr("OtherCandidate1")}, {"publishing": Publishing(3)}])
def test_journal_of_closed_account_is_replaced_later(unfinished: dict[str, Any]) -> None:
    """Its rotation can never be finished: the provider refuses each request of that key."""
    world = answered()
    of_another_account(world, **unfinished)
    brought = world.provider.add("shopkey", "Brought00001")
    world.clock.wait(timedelta(minutes=10))
    Operator(world.rotation()).adopt(SecretStr("Brought00001"), brought, replace_foreign="otherkey")
    assert (world.published, world.journal.api_key) == ("Brought00001", "shopkey")
    assert (world.journal.candidate, world.journal.publishing) == (None, None)


def test_adopt_replaces_named_foreign_account_only() -> None:
    world = answered()
    of_another_account(world, api_key="thirdkey")
    world.provider.add("shopkey", "Brought00001")
    for named in ("otherkey", "thirdkey"):
        with pytest.raises(RotatorError, match="belongs to the account"):
            Operator(world.rotation()).adopt(SecretStr("Brought00001"), "id-003", replace_foreign=named)
    assert world.journal.api_key == "thirdkey"


def test_foreign_journal_changed_during_adoption_is_read_again() -> None:
    world = answered()
    of_another_account(world)
    brought = world.provider.add("shopkey", "Brought00001")
    operator = Operator(world.rotation())
    writes: list[str] = []
    write = world.vault.write

    def interrupted(path: str, data: Any, cas: int) -> int:
        writes.append(path)
        if len(writes) == 1:
            world.vault.write = write  # type: ignore[method-assign]
            store(world, candidate=SecretStr("OtherCandidate1"), rotation_id="other")
        return write(path, data, cas)

    world.vault.write = interrupted  # type: ignore[method-assign]
    with pytest.raises(RotatorError, match="not finished"):
        operator.adopt(SecretStr("Brought00001"), brought, replace_foreign="otherkey")
    assert world.journal.api_key == "otherkey"
