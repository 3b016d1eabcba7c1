"""Runs beside each other: leases, several instances, and clocks that step."""

from datetime import timedelta
from typing import NoReturn

import pytest

from rotator.core.protocol import Create, Revoke, transitions
from rotator.provider import ApiError, LostAnswer, Unprovisioned
from rotator.rotation import Result
from rotator.rotation.waiting import LONGEST_POLL
from tests.rotation.worlds import (
    DAY,
    FIRST,
    adopted,
    answered,
    assert_settled,
    command,
    leased,
    rotate,
    run_until,
    wait_with,
)


def test_second_instance_waits_for_lease_and_rotates_nothing() -> None:
    world = adopted()
    wanted = world.clock()
    first = world.rotation(fresh_after=wanted)
    run_until(first, Create, then_perform=True)
    second = world.rotation(fresh_after=wanted)
    deferred = world.rotation(fresh_after=wanted).run()
    assert deferred.result is Result.DEFERRED
    assert deferred.reason == "leased"
    first.run()
    outcome = second.run()
    assert outcome.result is Result.OK
    assert not outcome.published
    assert len(world.live) == 2


@pytest.mark.parametrize("lasts", [timedelta(minutes=2), timedelta(minutes=30)], ids=["within wait", "beyond wait"])
def test_run_continues_when_lease_is_released(lasts: timedelta) -> None:
    """It waits for as long as it may, whatever end the lease has."""
    world = adopted()
    began, rotation = world.clock(), world.rotation(fresh_after=world.clock(), patience=timedelta(minutes=3))
    wait_with(rotation, leased(world, lasts=lasts, released_after=timedelta(seconds=20)))
    assert rotation.run().published
    assert world.clock() <= began + timedelta(seconds=20) + LONGEST_POLL


def test_run_waits_for_lease_at_most_max_wait() -> None:
    world = adopted()
    began, rotation = world.clock(), world.rotation(fresh_after=world.clock(), patience=timedelta(seconds=42))
    wait_with(rotation, leased(world, lasts=timedelta(minutes=2), released_after=DAY))
    outcome = rotation.run()
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "leased")
    assert outcome.until == began + timedelta(minutes=2)
    assert timedelta() <= world.clock() - began - timedelta(seconds=42) < timedelta(seconds=1)


def test_run_ends_when_stopped_during_lease_wait() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock(), patience=timedelta(minutes=3))
    leased(world, lasts=timedelta(minutes=2), released_after=DAY)
    wait_with(rotation, lambda delay: True)
    assert rotation.run().result is Result.DEFERRED


def test_expired_lease_of_killed_command_is_removed() -> None:
    world = answered()
    killed = world.rotation()
    killed.state.observe()
    killed.state.write_journal(transitions.claimed(killed.state.situation))
    world.clock.wait(timedelta(minutes=5))
    world.rotation().run()
    assert world.journal.lease_holder is None
    assert world.journal.lease_until is None


@pytest.mark.parametrize("compromised", [False, True])
@pytest.mark.parametrize("after", range(12))
def test_rotation_by_another_instance_between_requests_is_harmless(after: int, compromised: bool) -> None:
    """Also between the two reads that a run begins with: an order of theirs that looks as good is not."""
    world = adopted(grace=timedelta(hours=1) if compromised else timedelta())
    slow = world.rotation(fresh_after=world.clock(), compromised=compromised, force=compromised)

    def meanwhile() -> None:
        world.clock.wait(timedelta(minutes=3))  # long enough for any lease to be over
        assert rotate(world).result is not Result.FAILED
        assert world.consumer_works()

    world.interruption.after, world.interruption.happen = after, meanwhile
    outcome = slow.run()
    assert outcome.result is not Result.FAILED, outcome
    assert world.consumer_works()
    world.clock.wait(timedelta(hours=2))
    assert_settled(world, world.rotation(patience=DAY).run())


def test_paused_process_creates_nothing_when_its_lease_expired() -> None:
    world = adopted()
    sleeper = world.rotation(fresh_after=world.clock())
    run_until(sleeper, Create, then_perform=False)
    step = sleeper.decide()
    world.clock.wait(timedelta(minutes=5))
    sleeper.perform(step)
    assert list(world.live.values()) == [FIRST]


def test_paused_process_revokes_nothing_when_its_lease_expired() -> None:
    world = adopted(grace=timedelta())
    sleeper = world.rotation(fresh_after=world.clock())
    run_until(sleeper, Revoke, then_perform=False)
    step = sleeper.decide()
    world.clock.wait(timedelta(minutes=5))
    sleeper.perform(step)
    assert FIRST in world.live.values()


def test_lease_of_wrong_clock_lasts_no_longer() -> None:
    world = adopted()
    world.ahead = 365 * DAY
    run_until(world.rotation(fresh_after=world.clock() + world.ahead), Create, then_perform=False)
    world.ahead = timedelta()
    assert rotate(world, patience=timedelta(minutes=3)).result is Result.OK


def test_lease_expires_when_vaults_clock_was_ahead() -> None:
    world = adopted()
    right = world.vault.clock
    world.vault.clock = lambda: right() + 40 * DAY  # type: ignore[assignment]
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    world.vault.clock = right
    assert world.rotation().run().reason == "leased"
    world.clock.wait(timedelta(minutes=3))
    assert world.rotation().run().published


def test_clock_step_back_causes_no_second_rotation() -> None:
    world = adopted(grace=timedelta())
    rotation = world.rotation(fresh_after=world.clock())
    world.clock.wait(-timedelta(seconds=30))
    assert_settled(world, rotation.run())
    assert len([v for v in world.vault.versions["apps/shop"] if v["api_secret"] != FIRST]) == 1


def test_clock_step_back_does_not_extend_a_wait() -> None:
    world = adopted()
    world.clock.wait(4 * DAY)
    world.provider.propagation = 3 * DAY
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Create, then_perform=True)
    world.clock.wait(-DAY)
    assert command(world, rotation).reason == "unverified"


def test_long_wait_makes_a_bounded_number_of_requests() -> None:
    world = adopted()
    world.clock.wait(4 * DAY)
    world.provider.propagation = 3 * DAY
    rotation = world.rotation(fresh_after=world.clock(), verify_timeout=DAY, lease=2 * DAY)
    assert command(world, rotation).reason == "unverified"


def test_request_is_carried_out_with_a_wrong_clock() -> None:
    world = adopted(grace=timedelta())
    rotate(world)
    published = world.published
    world.ahead = -timedelta(hours=2)
    outcome = rotate(world, fresh_after=world.clock() + DAY, compromised=True)
    assert outcome.published
    assert world.published != published


@pytest.mark.parametrize("error", [LostAnswer("no answer"), Unprovisioned("no access", status=401)])
def test_failed_look_says_that_nothing_changed(error: ApiError, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        error.maybe_done = False  # as the client says of requests that only read
        raise error

    world = answered()
    rotation = world.rotation()
    monkeypatch.setattr(world.provider, "list_secrets", refuse)
    outcome = rotation.run()
    assert "Nothing was revoked, and the published secret stays." in (outcome.error or "")
