"""A request is for the value that was published when it was made, whatever happens to documents and ids."""

from datetime import timedelta

from pydantic import SecretStr

from rotator.core.protocol import Event, Publish, RequestKind, Target
from rotator.rotation import Operator, Result
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


def test_compromised_candidate_is_not_published_again() -> None:
    """A run published it and died; a person rolled the document back."""
    world = answered()
    run_until(world.rotation(fresh_after=world.clock() + MOMENT), Publish, then_perform=True)
    leaked = world.published
    world.clock.wait(timedelta(minutes=5))
    ask(world)
    roll_back(world)
    for _ in range(12):
        world.clock.wait(timedelta(minutes=1))
        world.rotation().run()
        assert world.published != leaked
    assert world.journal.request is None
    assert leaked not in world.live.values()
    assert world.consumer_works()


def test_compromised_candidate_without_an_id_needs_a_person() -> None:
    """The answer to its create was lost."""
    world = answered()
    before = world.published
    world.provider.fault = "lost-after"
    run_until(world.rotation(fresh_after=world.clock() + MOMENT), Publish, then_perform=True)
    leaked = world.published
    world.clock.wait(timedelta(minutes=5))
    ask(world)
    roll_back(world)
    outcome = world.rotation().run()
    leaked_id = next(id_ for id_, value in world.live.items() if value == leaked)
    assert (outcome.reason, world.published) == ("ambiguous", before)
    assert leaked_id in (outcome.error or "")
    assert world.journal.request.of == Target()
    operator = Operator(world.rotation())
    assert operator.unknown().keys() == {leaked_id}
    operator.resolve(frozenset({leaked_id}))
    run_daily(world, 1)
    assert (world.journal.request, list(world.live.values())) == (None, [before])


def test_second_leak_is_recorded_beside_the_first() -> None:
    """The first request waits for room; another secret is published by hand, and strangers know that one, too."""
    world = answered()
    first = world.published
    world.provider.add("shopkey", BY_HAND)
    ask(world)
    world.publish(BY_HAND)
    ask(world)
    assert world.journal.request.earlier_ids == {world.journal.current_id}
    run_daily(world)
    assert world.consumer_works()
    assert not {first, BY_HAND} & {world.published}
    assert first not in world.live.values()


def test_compromised_value_without_an_id_is_not_restored() -> None:
    """Its id was pending when it was replaced, so rotator cannot tell it."""
    world = adopted(max_secrets=5)
    world.provider.add("shopkey", "OtherSecret001")
    add(world, BY_HAND)
    assert world.rotation().run().reason == "ambiguous"
    rotate(world, compromised=True)
    fresh = world.published
    assert fresh not in (None, BY_HAND)
    assert world.journal.request.of == Target()
    world.provider.remove("shopkey", next(id_ for id_, value in world.live.items() if value == fresh))
    world.clock.wait(timedelta(minutes=2))
    world.rotation().run()
    assert world.published == FIRST


def test_force_keeps_a_compromised_request_of_same_value() -> None:
    """An edit of another field changes the version, not the secret. Its id is not certain yet."""
    world = answered()
    world.provider.fault = "lost-after"
    rotate(world)
    ask(world)
    world.vault.versions["apps/shop"].append(world.vault.versions["apps/shop"][-1] | {"note": "edited"})
    rotate(world, fresh_after=world.clock() + MOMENT, force=True)
    assert world.journal.request.kind is RequestKind.COMPROMISED


def test_request_does_not_move_to_another_value() -> None:
    """A person publishes another secret, requests its rotation and goes back."""
    world = answered(max_secrets=3)
    before = world.published
    add(world, BY_HAND)
    ask(world, RequestKind.FORCE)
    roll_back(world)
    world.rotation().run()
    assert world.published == before
    assert world.journal.current.is_answered
    by_hand = next(id_ for id_, value in world.live.items() if value == BY_HAND)
    operator = Operator(world.rotation())
    assert operator.unknown().keys() == {by_hand}
    operator.resolve(frozenset({by_hand}))
    assert (world.published, world.journal.request) == (before, None)


def test_adopted_again_ends_the_compromised_request() -> None:
    """A person insists on the secret, and its id is not certain yet."""
    world = answered()
    leaked = SecretStr(world.published or "")
    world.provider.on_revoke = lambda *_: None
    run_until(world.rotation(fresh_after=world.clock() + MOMENT, compromised=True), Event.COMMITTED, then_perform=True)
    world.clock.wait(timedelta(minutes=3))
    outcome = Operator(world.rotation()).adopt(leaked, None, replace_working=True)
    assert outcome.result is not Result.FAILED, outcome
    run_daily(world, 1)
    assert world.published == leaked.get_secret_value()


def test_deleted_document_forgets_no_compromised_request() -> None:
    """A person decides about the leaked secret: nothing shows that consumers do not use it elsewhere."""
    world = answered(secondary=True)
    leaked = world.published
    ask(world)
    versions = len(world.vault.versions["apps/shop"])
    world.vault.deleted.update(("apps/shop", version) for version in range(1, versions + 1))
    run_daily(world, 1)
    assert world.published != leaked
    assert world.consumer_works()
    [leaked_id] = world.journal.unknown_ids
    assert world.live[leaked_id] == leaked
    operator = Operator(world.rotation())
    assert operator.unknown().keys() == {leaked_id}
    operator.resolve(frozenset({leaked_id}))
    run_daily(world, 1)
    assert (world.journal.request, list(world.live.values())) == (None, [world.published])
