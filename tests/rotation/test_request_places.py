"""A request names where its secret is found: by the id that the journal names by now, or by the version."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Publish, RequestKind, Target, transitions, wake_at
from rotator.daemon.account_record import AccountRecord
from rotator.rotation import Operator
from testkit.model import World
from tests.rotation.worlds import (
    BY_HAND,
    FIRST,
    MOMENT,
    add,
    adopted,
    answered,
    ask,
    roll_back,
    rotate,
    run_daily,
    run_until,
)


def edit(world: World, *, forget: bool = False) -> None:
    """Edit another field of the published document, and perhaps lose every version before."""
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"note": f"edit {len(versions)}"})
    if forget:
        world.vault.deleted.update(("apps/shop", version) for version in range(1, len(versions)))


def requested(world: World) -> RequestKind | None:
    """Return the kind of the request that would start a rotation, as a daemon sees it."""
    return AccountRecord(world.account, tried_at=world.clock(), journal=world.journal).requested


def waiting_candidate(**facts: int) -> World:
    """Return a world whose candidate does not authenticate yet, and does so from the next run on."""
    world = answered(**facts)
    world.provider.propagation = timedelta(minutes=2)
    assert world.rotation(fresh_after=world.clock() + MOMENT).run().reason == "verifying"
    world.provider.propagation = timedelta()
    return world


def test_daemon_carries_out_a_request_with_corrected_id() -> None:
    """A person names the wrong id, requests a rotation, and names the right one."""
    world = World()
    wrong = world.provider.add("shopkey", "OtherSecret001")
    right = world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    Operator(world.rotation()).adopt(SecretStr(FIRST), wrong)
    ask(world)
    for _ in range(2):
        Operator(world.rotation(begins=False)).adopt(SecretStr(FIRST), right)
        assert world.journal.request.of == Target(id=right)
    assert requested(world) is RequestKind.COMPROMISED
    assert wake_at(world.journal, world.provider.settle, world.clock()) is not None
    world.provider.remove("shopkey", wrong)
    run_daily(world, 1)
    assert (FIRST in world.live.values(), world.journal.request) == (False, None)


def test_named_id_keeps_the_published_secrets_request() -> None:
    """The journal's version is gone, so the id is pending, and a person names it."""
    world = answered()
    leaked = world.published
    ask(world)
    edit(world, forget=True)
    world.rotation(begins=False).run()
    assert world.journal.current.is_pending
    Operator(world.rotation(begins=False)).adopt(SecretStr(leaked or ""), next(iter(world.live)))
    assert world.journal.request.kind is RequestKind.COMPROMISED


def test_request_of_pending_id_ends_with_its_rotation() -> None:
    """A person goes back to the replaced secret: nothing requests another rotation."""
    world = answered(max_secrets=3)
    replaced = world.published
    ask(world, RequestKind.FORCE)
    edit(world, forget=True)
    world.rotation().run()
    assert (world.published != replaced, world.journal.request) == (True, None)


def test_candidate_over_unrecorded_leak_keeps_the_grace_period() -> None:
    """The leaked secret was published by hand over a secret that nobody knows. It is not published again."""
    world = waiting_candidate(max_secrets=3)
    before = world.journal.current_id
    add(world, BY_HAND)
    ask(world)
    world.rotation().run()
    assert [(entry.id, entry.compromised) for entry in world.journal.retiring] == [(before, False)]
    world.provider.remove("shopkey", before)
    for _ in range(3):
        world.clock.wait(timedelta(minutes=30))
        world.rotation().run()
    world.provider.remove("shopkey", world.journal.current_id)
    world.clock.wait(timedelta(minutes=2))
    world.rotation().run()
    assert world.published != BY_HAND


def test_candidate_over_an_edited_leak_makes_it_due() -> None:
    """The edited version contains the journal's secret still."""
    world = waiting_candidate()
    leaked = world.published
    edit(world)
    ask(world)
    rotate(world)
    run_daily(world, 1)
    assert leaked not in world.live.values()
    assert world.journal.request is None


def test_request_stays_while_its_secret_is_unknown() -> None:
    """Another previous secret is gone, and the compromised one has no entry, because its id was only eliminated."""
    world = adopted(max_secrets=4)
    rotate(world)
    world.clock.wait(timedelta(minutes=1))
    world.provider.fault = "lost-after"
    rotate(world)
    world.identify()
    leaked = world.journal.current_id
    ask(world)
    add(world, BY_HAND)
    world.rotation(begins=False).run()
    for id_ in world.journal.retiring_ids:
        world.provider.remove("shopkey", id_)
    for _ in range(4):
        world.clock.wait(timedelta(minutes=1))
        world.rotation(begins=False).run()
    assert leaked in world.live
    assert world.journal.retiring == ()
    assert world.journal.request.kind is RequestKind.COMPROMISED


def test_compromised_secret_that_was_added_needs_a_person() -> None:
    """A user added it, published it by hand and went back, before any run recorded that."""
    world = answered(max_secrets=3)
    added = world.provider.add("shopkey", BY_HAND)
    rotation = world.rotation()
    rotation.state.observe()
    rotation.state.write_journal(transitions.created_by_hand(rotation.state.situation, added))
    world.publish(BY_HAND)
    ask(world)
    roll_back(world)
    assert world.rotation().run().reason == "ambiguous"
    operator = Operator(world.rotation())
    assert operator.unknown().keys() == {added}
    operator.resolve(frozenset({added}))
    world.clock.wait(world.provider.settle + MOMENT * 1000)
    world.rotation().run()
    assert (BY_HAND in world.live.values(), world.journal.request) == (False, None)


def test_compromised_candidate_is_given_up_after_another_request() -> None:
    """A person goes back to the previous secret and requests its rotation as well, before a run looks again."""
    world = answered()
    run_until(world.rotation(fresh_after=world.clock() + MOMENT), Publish, then_perform=True)
    leaked = world.published
    world.clock.wait(timedelta(minutes=5))
    ask(world)
    roll_back(world)
    ask(world, RequestKind.FORCE)
    for _ in range(12):
        world.clock.wait(timedelta(minutes=1))
        world.rotation().run()
        assert world.published != leaked
    assert leaked not in world.live.values()


@pytest.mark.parametrize("kind", RequestKind)
def test_later_request_gives_up_leaked_candidate_without_id(kind: RequestKind) -> None:
    """The answer to its create was lost."""
    world = answered()
    world.provider.fault = "lost-after"
    run_until(world.rotation(fresh_after=world.clock() + MOMENT), Publish, then_perform=True)
    leaked = world.published
    world.clock.wait(timedelta(minutes=5))
    ask(world)
    roll_back(world)
    rotate(world, fresh_after=world.clock() + MOMENT, **({} if kind is RequestKind.MANUAL else {kind.value: True}))
    for _ in range(5):
        world.clock.wait(timedelta(minutes=1))
        world.rotation().run()
        assert world.published != leaked


@pytest.mark.parametrize("kind", RequestKind)
def test_later_request_restores_no_leaked_value_without_id(kind: RequestKind) -> None:
    world = adopted(max_secrets=4)
    world.provider.add("shopkey", "OtherSecret001")
    add(world, BY_HAND)
    rotate(world, compromised=True)
    fresh = world.published
    rotate(world, fresh_after=world.clock() + MOMENT, **({} if kind is RequestKind.MANUAL else {kind.value: True}))
    world.provider.remove("shopkey", next(id_ for id_, value in world.live.items() if value == fresh))
    world.clock.wait(timedelta(minutes=2))
    world.rotation().run()
    assert world.published == FIRST


def without_digest(world: World) -> None:
    """Store the request as the version before stored it."""
    versions = world.vault.versions[world.settings.journal_path(world.account)]
    asked = {key: value for key, value in versions[-1]["request"].items() if key not in ("value_digest", "earlier_ids")}
    versions.append(versions[-1] | {"request": asked})


@pytest.mark.parametrize("kind", [RequestKind.FORCE, RequestKind.COMPROMISED])
def test_request_without_a_digest_outlives_an_edit(kind: RequestKind) -> None:
    world = answered()
    leaked = world.published
    edit(world)
    ask(world, kind)
    without_digest(world)
    edit(world)
    world.rotation().run()
    assert world.published != leaked


@pytest.mark.parametrize("kind", RequestKind)
@pytest.mark.parametrize("max_secrets", [3, 4])
def test_request_begins_beside_unknown_id(kind: RequestKind, max_secrets: int) -> None:
    """A secret that somebody added stays. It does not keep a leaked one published, unless it takes the room."""
    world = adopted(max_secrets=max_secrets)
    if max_secrets == 3:
        world.provider.add("shopkey", BY_HAND)
    added = world.provider.add("shopkey", "OtherSecret001")
    world.clock.wait(timedelta(minutes=5))
    outcome = rotate(world, fresh_after=world.clock(), **({} if kind is RequestKind.MANUAL else {kind.value: True}))
    assert outcome.reason == "ambiguous"
    assert (world.published != FIRST) is (max_secrets == 4)
    assert added in world.live
