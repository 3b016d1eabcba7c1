"""The provider limits requests: the run is deferred, for every instance, and has not failed."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Create, Phase
from rotator.core.protocol.limits import MAX_SENDS
from rotator.provider import Credentials, RateLimited, SecretInfo
from rotator.rotation import Result
from testkit.model import World
from tests.rotation.worlds import DAY, FIRST, adopted, limit, rotate, run_until


def test_rate_limit_defers_run_until_providers_time() -> None:
    world = adopted()
    limit(world, DAY, times=1)
    outcome = rotate(world)
    assert (outcome.result, outcome.reason, outcome.until) == (Result.DEFERRED, "rate_limited", world.clock() + DAY)
    journal = world.journal
    assert (journal.attempts, journal.last_error, journal.failure) == (0, None, None)
    assert (journal.holder, journal.next_attempt_at) == (None, world.clock() + DAY)


def test_rate_limited_account_is_deferred_by_every_instance() -> None:
    world = adopted()
    limit(world, DAY, times=1)
    asked_at = world.clock()
    rotate(world)
    world.clock.wait(DAY - timedelta(seconds=1))
    early = world.rotation(fresh_after=asked_at, explicit=False).run()
    assert (early.result, early.reason, early.until) == (Result.DEFERRED, "rate_limited", asked_at + DAY)
    assert "limits the requests" in (early.error or "")
    world.clock.wait(timedelta(seconds=2))
    assert world.rotation(fresh_after=asked_at, explicit=False).run().published
    assert world.journal.next_attempt_at is None


def test_past_rate_limit_is_forgotten_without_due_work() -> None:
    world = adopted()
    limit(world, DAY, times=1)
    rotate(world)
    world.clock.wait(2 * DAY)
    assert world.rotation(explicit=False).run().result is Result.OK
    assert world.journal.next_attempt_at is None


def test_rate_limit_during_rotation_keeps_candidate_without_lease() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Create, then_perform=True)
    limit(world, DAY, times=1)
    outcome = rotation.run()
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "rate_limited")
    assert (world.journal.holder, world.journal.phase) == (None, Phase.PREPARED)
    world.clock.wait(DAY + timedelta(seconds=1))
    assert world.rotation(explicit=False).run().published


def test_repeated_rate_limit_backs_off() -> None:
    world = adopted()
    limit(world, timedelta(seconds=1))
    outcome = rotate(world)
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "rate_limited")
    assert outcome.until is not None
    assert outcome.until >= world.clock() + timedelta(seconds=45)


def test_limited_creates_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider lists, but limits creates: three of them counted as an outage, which opened the circuit breaker."""
    world = adopted()
    create = world.provider.create_secret
    limited: list[str] = []

    def refuse(_: Credentials, api_key: str, __: SecretStr) -> SecretInfo:
        limited.append(api_key)
        raise RateLimited("slow down", status=429, retry_after=timedelta(seconds=1))

    monkeypatch.setattr(world.provider, "create_secret", refuse)
    outcome = rotate(world)
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "rate_limited")
    assert (world.journal.attempts, world.journal.failure) == (0, None)
    assert len(limited) > MAX_SENDS
    monkeypatch.setattr(world.provider, "create_secret", create)
    world.clock.wait(timedelta(minutes=2))
    assert world.rotation(explicit=False).run().published


def test_rate_limit_before_adoption_writes_no_journal() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    limit(world, DAY, times=1)
    outcome = world.rotation().run()
    assert (outcome.result, outcome.reason, outcome.until) == (Result.DEFERRED, "rate_limited", world.clock() + DAY)
    assert world.rotation().run().result is Result.OK
