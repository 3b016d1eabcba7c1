"""The provider limits requests: the run is deferred, for every instance, and has not failed."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Create, Journal, Phase
from rotator.core.protocol.limits import MAX_SENDS
from rotator.documents import load_journal, render_journal
from rotator.provider import Credentials, RateLimited, SecretInfo
from rotator.rotation import Result
from rotator.vault import CasConflict, VaultSealed
from testkit.model import World
from tests.rotation.worlds import DAY, FIRST, adopted, limit, rotate, run_until, wait_with


def test_rate_limit_defers_run_until_providers_time() -> None:
    world = adopted()
    limit(world, DAY, times=1)
    outcome = rotate(world)
    assert (outcome.result, outcome.reason, outcome.until) == (Result.DEFERRED, "rate_limited", world.clock() + DAY)
    journal = world.journal
    assert (journal.attempts, journal.last_error, journal.failure) == (0, None, None)
    assert (journal.lease_holder, journal.next_attempt_at) == (None, world.clock() + DAY)


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
    assert (world.journal.lease_holder, world.journal.phase) == (None, Phase.PREPARED)
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


PARENT_JOURNAL = "rotator/journal/parent"


def secondary_of_managed_primary(**journal: Any) -> World:
    """A secondary without a published secret and without a journal; its primary account has a journal."""
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    stored = Journal(api_key="parentkey", **journal)
    world.vault.write(PARENT_JOURNAL, render_journal(stored), cas=0)
    return world


def parent_journal(world: World) -> Journal:
    return load_journal(world.vault.read(PARENT_JOURNAL)).journal


def count_requests(world: World) -> list[str]:
    asked: list[str] = []
    world.provider.on_request = lambda auth: asked.append(auth.api_key)
    return asked


def test_limited_primary_gets_no_request_from_any_run() -> None:
    world = secondary_of_managed_primary()
    limit(world, DAY)
    first = world.rotation().run()
    assert (first.result, first.until) == (Result.DEFERRED, world.clock() + DAY)
    assert parent_journal(world).next_attempt_at == first.until
    asked = count_requests(world)
    for explicit in (True, False):
        world.clock.wait(timedelta(hours=1))
        later = world.rotation(explicit=explicit).run()
        assert (later.result, later.reason, later.until) == (Result.DEFERRED, "rate_limited", first.until)
        assert "limits the requests of the primary account parent until " in (later.error or "")
        assert "To retry after " in (later.error or "")
    assert asked == []
    world.clock.wait(DAY)
    assert world.rotation().run().published


def test_run_waits_for_short_limit_of_primary() -> None:
    world = World(secondary=True)
    world = secondary_of_managed_primary(next_attempt_at=world.clock() + timedelta(seconds=3))
    asked = count_requests(world)
    rotation = world.rotation()

    def wait(delay: timedelta) -> bool:
        assert asked or delay == timedelta(seconds=3)
        world.clock.wait(delay)
        return False

    wait_with(rotation, wait)
    assert rotation.run().published


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"api_key": "otherkey"}, id="of another key"),
        pytest.param({"next_attempt_at": "9999-12-31T23:59:59Z"}, id="further ahead than a limit"),
        pytest.param({"attempts": 2, "failure": "unverified"}, id="backoff of its own"),
        pytest.param({"attempts": "many"}, id="unreadable"),
    ],
)
def test_journal_without_limit_of_primary_delays_nothing(changes: dict[str, Any]) -> None:
    world = secondary_of_managed_primary()
    tomorrow = (world.clock() + DAY).isoformat()
    world.vault.write(PARENT_JOURNAL, {"format": 1, "next_attempt_at": tomorrow} | changes, cas=1)
    assert world.rotation().run().published


def test_deleted_journal_of_primary_delays_nothing() -> None:
    world = secondary_of_managed_primary()
    world.vault.deleted.add((PARENT_JOURNAL, 1))
    limit(world, DAY, times=1)
    assert world.rotation().run().reason == "rate_limited"
    assert world.vault.peek(PARENT_JOURNAL).version == 1, "a lost journal is not written"
    assert world.rotation().run().published


def test_limit_leaves_journal_of_leased_primary_unchanged() -> None:
    held = {"lease_holder": "other", "lease_until": World().clock() + DAY}
    world = secondary_of_managed_primary(**held)
    limit(world, DAY)
    assert world.rotation().run().reason == "rate_limited"
    assert parent_journal(world).next_attempt_at is None


def test_limit_of_own_key_says_nothing_about_primary() -> None:
    world = adopted(secondary=True)
    world.vault.write(PARENT_JOURNAL, render_journal(Journal(api_key="parentkey")), cas=0)
    limit(world, DAY)
    assert rotate(world).reason == "rate_limited"
    assert parent_journal(world).next_attempt_at is None


@pytest.mark.parametrize("error", [VaultSealed("sealed", maybe_done=False), CasConflict(PARENT_JOURNAL)])
def test_unrecordable_limit_of_primary_defers_the_run(error: Exception) -> None:
    world = secondary_of_managed_primary()
    limit(world, DAY)

    def fail(*_: object, **__: object) -> int:
        raise error

    world.vault.write = fail  # type: ignore[method-assign]
    outcome = world.rotation().run()
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "rate_limited")
