"""One whole rotation: its order, its grace period, and every row of the crash table."""

from datetime import timedelta

import pytest

from rotator.core.protocol import Create, Event, Phase, Prepare, Publish, Revoke, Step
from rotator.rotation import Result
from tests.rotation.worlds import DAY, FIRST, adopted, assert_settled, rotate, run_until


def test_rotation_keeps_previous_secret_for_its_grace_period() -> None:
    world = adopted()
    outcome = rotate(world)
    assert outcome.published
    assert outcome.reason == "grace"
    assert_settled(world, outcome, secrets=2)
    assert FIRST in world.live.values()


def test_run_revokes_previous_secret_when_grace_period_ended() -> None:
    world = adopted()
    until = rotate(world).until
    assert until is not None
    world.clock.now = until
    outcome = world.rotation().run()
    assert len(outcome.revoked) == 1
    assert_settled(world, outcome)
    assert FIRST not in world.live.values()


def test_run_without_grace_period_does_everything() -> None:
    world = adopted(grace=timedelta())
    began = world.clock()
    outcome = rotate(world)
    assert outcome.published
    assert len(outcome.revoked) == 1
    assert world.clock() == began, "nothing was waited for"
    assert_settled(world, outcome)


def test_start_rotates_nothing_when_nothing_is_due() -> None:
    world = adopted()
    for _ in range(3):
        assert not world.rotation(fresh_after=world.clock() - DAY).run().published
    assert list(world.live.values()) == [FIRST]


CRASHES = [
    pytest.param(kind, after, id=f"{'after' if after else 'before'}-{getattr(kind, '__name__', kind)}")
    for kind in (Prepare, Create, Publish, Event.COMMITTED, Revoke, Event.GONE)
    for after in (False, True)
]


@pytest.mark.parametrize(("kind", "after"), CRASHES)
def test_run_converges_after_a_crash_anywhere(kind: type[Step] | Event, after: bool) -> None:
    world = adopted(grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), kind, then_perform=after)
    assert world.consumer_works()
    world.clock.wait(timedelta(seconds=1))
    outcome = rotate(world, patience=DAY)
    assert_settled(world, outcome)
    assert FIRST not in world.live.values()


def test_run_takes_live_candidate_after_a_crash() -> None:
    world = adopted()
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=True)
    candidate = world.journal.candidate.get_secret_value()
    world.clock.wait(timedelta(minutes=3))
    rotate(world)
    assert world.published == candidate
    assert list(world.live.values()) == [FIRST, candidate]


def test_run_sends_same_value_after_crash_before_create() -> None:
    world = adopted()
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    candidate = world.journal.candidate.get_secret_value()
    world.clock.wait(timedelta(minutes=3))
    rotate(world)
    assert world.published == candidate


def test_slow_candidate_is_published_when_it_authenticates() -> None:
    world = adopted()
    world.clock.wait(timedelta(minutes=1))
    world.provider.propagation = timedelta(seconds=45)
    began = world.clock()
    outcome = rotate(world)
    assert outcome.published
    assert world.clock() - began >= timedelta(seconds=45)
    assert world.consumer_works()


def test_candidate_is_published_when_other_host_accepts_it() -> None:
    world = adopted(verify_balance=True)
    world.provider.rest_propagation = timedelta(seconds=40)
    began = world.clock()
    outcome = rotate(world)
    assert outcome.published
    assert world.clock() - began >= timedelta(seconds=40)
    assert_settled(world, outcome, secrets=2)


def test_balance_is_not_requested_without_verify_balance() -> None:
    world = adopted()
    world.provider.rest_propagation = timedelta(days=1)
    began = world.clock()
    assert rotate(world).published
    assert world.clock() == began


def test_candidate_is_kept_when_it_never_authenticates() -> None:
    world = adopted()
    world.clock.wait(2 * DAY)
    world.provider.propagation = DAY
    outcome = rotate(world)
    assert outcome.reason == "unverified"
    assert world.published == FIRST
    assert world.journal.phase is Phase.PREPARED
    candidate = world.journal.candidate.get_secret_value()
    again = world.rotation(fresh_after=world.clock(), explicit=False).run()
    assert again.reason == "backoff"
    world.clock.wait(DAY)
    assert rotate(world).published
    assert world.published == candidate


def test_full_account_in_grace_period_is_deferred() -> None:
    world = adopted()
    until = rotate(world).until
    world.clock.wait(timedelta(seconds=1))
    outcome = rotate(world)
    assert outcome.result is Result.DEFERRED
    assert outcome.reason == "full"
    assert outcome.until == until
    assert len(world.live) == 2
