"""Revocations: due, urgent, unsafe, and of secrets that consumers might read."""

from datetime import timedelta

import pytest

from rotator.core.protocol import Create, Event, Publish, Revoke, Trigger
from rotator.errors import RotatorError
from rotator.provider import Credentials, Unauthorized
from rotator.rotation import Operator, Result
from tests.rotation.worlds import (
    DAY,
    FIRST,
    adopted,
    answered,
    assert_settled,
    in_overlap,
    rename_field,
    rotate,
    run_until,
)


def test_run_revokes_only_due_secrets_of_several() -> None:
    world = adopted(max_secrets=3)
    for _ in range(2):
        rotate(world)
        world.clock.wait(timedelta(minutes=40))
    second = next(version["api_secret"] for version in world.vault.versions["apps/shop"][-2:])
    assert world.rotation().run().result is Result.OK
    assert set(world.live.values()) == {second, world.published}


def test_revocations_without_effect_are_bounded() -> None:
    world = adopted(grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), Revoke, then_perform=False)
    world.clock.wait(timedelta(minutes=3))
    rotation = world.rotation()
    outcome = None
    while outcome is None:
        world.provider.fault = "lost-before"
        outcome = rotation.step()
    assert outcome.reason == "unanswered"
    assert_settled(world, world.rotation().run())


def test_published_secret_stays_when_revocations_get_401() -> None:
    world, _ = in_overlap()

    def deny(auth: Credentials, api_key: str, secret_id: str) -> str:
        raise Unauthorized("no", status=401)

    world.provider.revoke_secret = deny  # type: ignore[method-assign]
    published = set()
    for _ in range(6):
        world.rotation().run()
        published.add(world.published)
        world.clock.wait(timedelta(hours=1) + timedelta(minutes=1))
    assert len(published) == 1


def test_unsafe_revocation_of_published_secret_is_refused() -> None:
    world = adopted(grace=timedelta())
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Revoke, then_perform=False)
    with pytest.raises(AssertionError, match="not be safe"):
        rotation.perform(Revoke(world.journal.current_id))
    assert world.consumer_works()


def test_force_does_not_wait_for_grace_period() -> None:
    world = adopted()
    rotate(world)
    second = world.published
    world.clock.wait(timedelta(seconds=1))
    outcome = rotate(world, force=True)
    assert outcome.published
    assert FIRST not in world.live.values()
    assert second in world.live.values()


def test_force_ends_one_grace_period_only() -> None:
    """The new secret needs the room of one. Consumers might still have the other."""
    world = adopted(max_secrets=3)
    for _ in range(2):
        rotate(world)
        world.clock.wait(timedelta(seconds=1))
    second, third = world.journal.retiring[-1].id, world.journal.current_id
    outcome = rotate(world, force=True)
    assert outcome.published
    assert FIRST not in world.live.values()
    assert {second, third} <= set(world.live)


def test_force_revokes_nothing_without_a_rotation() -> None:
    world = adopted()
    rotate(world)
    outcome = world.rotation(force=True).run()
    assert outcome.revoked == ()


def test_compromised_secret_has_no_grace_period() -> None:
    world = adopted()
    rotate(world)
    world.clock.wait(timedelta(seconds=1))
    outcome = rotate(world, compromised=True, force=True, trigger=Trigger.COMPROMISED)
    assert_settled(world, outcome)


def test_compromised_secret_has_no_grace_period_after_crash() -> None:
    world = adopted()
    compromised = world.rotation(fresh_after=world.clock(), compromised=True, trigger=Trigger.COMPROMISED)
    run_until(compromised, Create, then_perform=True)
    assert_settled(world, world.rotation(patience=DAY).run())


def test_early_revocation_is_recorded_before_its_request() -> None:
    world = adopted()
    rotate(world)
    run_until(world.rotation(fresh_after=world.clock() + DAY, compromised=True), Event.REQUESTED, then_perform=True)
    assert [(entry.compromised, entry.not_before <= world.clock()) for entry in world.journal.retiring] == [
        (True, True)
    ]
    world.clock.wait(timedelta(minutes=3))
    assert_settled(world, rotate(world, patience=DAY))
    assert FIRST not in world.live.values()


def test_compromised_request_after_publish_concerns_previous_secret() -> None:
    world = adopted(max_secrets=3, grace=DAY)
    run_until(world.rotation(fresh_after=world.clock()), Publish, then_perform=True)
    world.clock.wait(timedelta(minutes=3))
    rotate(world, compromised=True, fresh_after=world.clock() + DAY)
    for _ in range(4):
        world.clock.wait(timedelta(minutes=1))
        world.rotation().run()
    assert list(world.live.values()) == [world.published]


def test_bootstrap_at_another_path_revokes_nothing() -> None:
    """Consumers read the previous secret at the path that the configuration had before."""
    world = answered(secondary=True)
    in_use = world.published
    del world.vault.versions["apps/shop"]
    assert world.rotation().run().reason == "ambiguous"
    world.clock.wait(2 * DAY)
    world.rotation().run()
    assert world.consumer_works()
    assert world.published != in_use
    assert in_use in world.live.values()


def test_value_in_a_renamed_field_is_not_revoked() -> None:
    """The document keeps the previous value in the earlier field, which a later configuration names again."""
    world = answered(secondary=True)
    before = world.published
    rename_field(world, "password")
    assert rotate(world).published
    assert world.published != before
    rename_field(world, "api_secret")
    assert world.published == before
    for _ in range(3):
        world.clock.wait(DAY)
        outcome = world.rotation(explicit=False).run()
    assert outcome.reason == "ambiguous"
    assert world.consumer_works()
    with pytest.raises(RotatorError):
        Operator(world.rotation()).unknown()
