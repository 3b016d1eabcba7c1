"""Requests for a secret whose version is deleted: the value is not known, and an earlier version can contain it."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Event, Publish, RequestKind, RestoreEarlierVersion
from rotator.rotation import Operator, Result
from testkit.model import World
from tests.rotation.worlds import MOMENT, add, adopted, answered, ask, rotate, run_daily, run_until

KINDS = list(RequestKind)


def edited(**world: bool) -> World:
    """Return a world whose last two versions contain the same value; the newest one is deleted."""
    made = answered(**world)
    versions = made.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"note": "edited"})
    made.rotation().run()
    delete(made)
    return made


def delete(world: World) -> None:
    """Delete the newest version, so that no consumer reads it."""
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))
    assert world.published is None


def value_of(world: World) -> str:
    """Return the only secret of the account."""
    [value] = world.live.values()
    return value


def command(world: World, kind: RequestKind) -> None:
    """Run as `rotate-now` does."""
    kinds = {kind.value: True} if kind is not RequestKind.MANUAL else {}
    rotate(world, fresh_after=world.clock() + MOMENT, **kinds)


@pytest.mark.parametrize("secondary", [False, True], ids=["primary", "secondary"])
@pytest.mark.parametrize("kind", KINDS)
def test_restored_secret_is_replaced_at_once(kind: RequestKind, secondary: bool) -> None:
    world = edited(secondary=secondary)
    replaced = value_of(world)
    command(world, kind)
    assert world.published != replaced
    assert world.consumer_works()


def test_primary_creates_another_secret_than_the_leaked() -> None:
    world = edited(secondary=True)
    leaked, before = value_of(world), len(world.vault.versions["apps/shop"])
    command(world, RequestKind.COMPROMISED)
    later = world.vault.versions["apps/shop"][before:]
    assert leaked not in [version["api_secret"] for version in later]
    assert [entry.id for entry in world.journal.retiring] == []
    assert world.journal.compromised_ids == {id_ for id_, value in world.live.items() if value == leaked}


def test_leaked_secret_is_restored_in_full_account() -> None:
    world = edited(secondary=True)
    leaked = value_of(world)
    world.provider.add("shopkey", "HumanSecret001")
    command(world, RequestKind.COMPROMISED)
    assert world.published == leaked
    assert world.journal.request.kind is RequestKind.COMPROMISED


@pytest.mark.parametrize("secondary", [False, True], ids=["primary", "secondary"])
def test_daemon_carries_out_request_for_deleted_secret(secondary: bool) -> None:
    """The command died when it had recorded its request."""
    world = edited(secondary=secondary)
    leaked = value_of(world)
    ask(world)
    run_daily(world, 1)
    assert world.published not in (None, leaked)
    assert world.journal.request.kind is RequestKind.COMPROMISED
    assert leaked in world.live.values()  # its id is unknown: a person decides


def test_other_secret_is_restored_first() -> None:
    """The leaked one is in a newer version, and authenticates, too."""
    world = answered(max_secrets=3)
    world.provider.add("shopkey", "OlderSecret001")
    world.vault.versions["apps/shop"][0]["api_secret"] = "OlderSecret001"
    ask(world)
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"note": "edited"})
    delete(world)
    run_until(world.rotation(), RestoreEarlierVersion, then_perform=True)
    assert world.published == "OlderSecret001"


def test_undeleted_secret_is_replaced() -> None:
    """No earlier version works. The request waits for the deleted one."""
    world = answered()
    leaked = value_of(world)
    delete(world)
    outcome = world.rotation(fresh_after=world.clock() + MOMENT, compromised=True).run()
    assert (outcome.result, outcome.reason) == (Result.FAILED, "published_lost")
    assert outcome.recorded_request is not None
    world.vault.deleted.clear()
    run_daily(world, 1)
    assert list(world.live.values()) == [world.published]
    assert world.published != leaked
    assert world.journal.request is None


def test_candidate_in_a_deleted_version_is_replaced() -> None:
    """A run published it and died. So the leaked secret can be the candidate, which still authenticates."""
    world = adopted(max_secrets=3)
    run_until(world.rotation(fresh_after=world.clock() + MOMENT), Publish, then_perform=True)
    leaked = world.published
    delete(world)
    world.clock.wait(timedelta(minutes=5))
    command(world, RequestKind.COMPROMISED)
    assert world.published not in (None, leaked)
    assert world.journal.request.kind is RequestKind.COMPROMISED


def test_unpublished_candidate_replaces_the_deleted_secret() -> None:
    world = answered()
    leaked = value_of(world)
    run_until(world.rotation(fresh_after=world.clock() + MOMENT), Publish, then_perform=False)
    candidate = world.journal.candidate.get_secret_value()
    delete(world)
    world.clock.wait(timedelta(minutes=5))
    command(world, RequestKind.COMPROMISED)
    run_daily(world, 1)
    assert list(world.live.values()) == [world.published] == [candidate]
    assert leaked not in world.live.values()


@pytest.mark.parametrize("kind", KINDS)
def test_secret_without_any_version_is_replaced_once(kind: RequestKind) -> None:
    """The primary account creates another one. The request for the deleted one begins no further rotation."""
    world = answered(secondary=True)
    replaced = value_of(world)
    world.vault.versions["apps/shop"] = []
    command(world, kind)
    assert world.published not in (None, replaced)
    assert len(world.live) == 2
    [old] = [id_ for id_, value in world.live.items() if value == replaced]
    assert (old in world.journal.compromised_ids) == (kind is RequestKind.COMPROMISED)


@pytest.mark.parametrize("died", [False, True], ids=["command", "daemon"])
@pytest.mark.parametrize("kind", KINDS)
def test_secret_behind_refused_value_is_replaced(kind: RequestKind, died: bool) -> None:
    """A person overwrote the value, so that nobody reads it, and the command was made after that."""
    world = answered()
    leaked = value_of(world)
    world.publish("Leaked-do-not-use-1")
    if died:
        kinds = {kind.value: True} if kind is not RequestKind.MANUAL else {}
        run_until(world.rotation(fresh_after=world.clock() + MOMENT, **kinds), RestoreEarlierVersion, then_perform=True)
        run_daily(world, days=1)
    else:
        command(world, kind)
    assert world.published != leaked
    assert world.consumer_works()
    assert (leaked in world.live.values()) is (kind is not RequestKind.COMPROMISED and not died)


@pytest.mark.parametrize("cancelled", [False, True])
def test_recorded_secret_leaked_before_a_change_by_hand(cancelled: bool) -> None:
    """A person publishes another secret in its place, and reports the leak before a run sees that."""
    world = answered(max_secrets=3)
    leaked = world.journal.current_id
    add(world, "ByHandSecret02")
    run_until(world.rotation(fresh_after=world.clock() + MOMENT, compromised=True), Event.ADOPTED, then_perform=True)
    entry = next(entry for entry in world.journal.retiring if entry.id == leaked)
    assert (entry.compromised, entry.not_before <= world.clock()) == (True, True)
    if cancelled:
        Operator(world.rotation()).cancel()
        entry = next(entry for entry in world.journal.retiring if entry.id == leaked)
        assert (entry.compromised, entry.not_before > world.clock()) == (False, True)
        return
    run_daily(world, days=1)
    assert leaked not in world.live
    assert "ByHandSecret02" not in world.live.values()
    assert world.consumer_works()


def test_leaked_secret_that_is_brought_is_replaced() -> None:
    """After a deletion a person brings the secret in use, with its id: it is the leaked one."""
    world = answered()
    leaked, own = value_of(world), world.journal.current_id
    other = world.provider.add("shopkey", "OtherSecret001")
    world.clock.wait(timedelta(minutes=5))
    delete(world)
    command(world, RequestKind.COMPROMISED)
    Operator(world.rotation()).adopt(SecretStr(leaked), own, retire={other})
    run_daily(world, days=1)
    assert world.published not in (None, leaked)
    assert own not in world.live
