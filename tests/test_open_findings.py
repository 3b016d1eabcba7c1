"""Histories in which rotator does the wrong thing today: each is expected to fail until it is mended.

The mark is strict: whoever mends one sees it here, takes the mark away and moves the test to test_rotation.py. They are
numbered as in docs/open-findings.md.
"""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.account_api import Credentials, LostAnswer, RateLimited, SecretInfo, Unauthorized
from rotator.protocol import Create, Revoke, Step, Trigger
from rotator.rotation import Outcome, Result, Rotation
from tests.model import World

FIRST = "FirstSecret001"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

wrong_today = pytest.mark.xfail(strict=True, raises=AssertionError)


def adopted(**world: Any) -> World:
    made = World(**world)
    made.provider.add("shopkey", FIRST)
    made.publish(FIRST)
    made.clock.wait(DAY)
    made.rotation().run()
    made.clock.wait(timedelta(minutes=1))
    return made


def rotate(world: World, **policy: Any) -> Outcome:
    return world.rotation(**({"fresh_after": world.clock()} | policy)).run()


def compromised(world: World) -> Outcome:
    return rotate(world, compromised=True, force=True, trigger=Trigger.COMPROMISED)


def in_overlap() -> tuple[World, str]:
    """A rotated account whose old secret is due to be revoked, and the new one."""
    world = adopted()
    rotate(world)
    world.clock.wait(HOUR)
    assert world.published
    return world, world.published


def stop_before(rotation: Rotation, kind: type[Step]) -> None:
    rotation.observe()
    while not isinstance(step := rotation.decide(), kind):
        rotation.perform(step)


def refuse_once(world: World) -> None:
    """The next request that logs in as the account itself is answered 401, though its secret is valid."""
    enter, left = world.provider._enter, [1]

    def entering(auth: Credentials, api_key: str) -> None:
        enter(auth, api_key)
        if left[0] and auth.api_key == "shopkey":
            left[0] -= 1
            raise Unauthorized("refused for a moment", status=401)

    world.provider._enter = entering  # type: ignore[method-assign]


def lag(world: World, by: timedelta) -> None:
    """What was created is listed only so much later."""
    real = world.provider.list_secrets

    def listing(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        return tuple(info for info in real(auth, api_key) if info.created_at + by <= world.clock())

    world.provider.list_secrets = listing  # type: ignore[method-assign]


def one_stale_list(world: World) -> None:
    """The next list does not have the newest entry yet."""
    real, left = world.provider.list_secrets, [1]

    def listing(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos = real(auth, api_key)
        left[0] -= 1
        return infos[:1] if left[0] == 0 else infos

    world.provider.list_secrets = listing  # type: ignore[method-assign]


@wrong_today
def test_1_adopting_the_old_secret_while_another_runner_is_about_to_revoke_it() -> None:
    world, _ = in_overlap()
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    runner = world.rotation()
    stop_before(runner, Revoke)
    world.rotation().adopt(SecretStr(FIRST), first_id, force=True)
    runner.perform(runner.decide())
    assert world.consumer_works()


@wrong_today
def test_2a_one_401_and_two_runners_revoke_what_consumers_read() -> None:
    world, _ = in_overlap()
    one, other = world.rotation(), world.rotation()
    other.observe()
    stop_before(one, Revoke)
    refuse_once(world)
    other.perform(other.decide())
    other.perform(other.decide())
    one.perform(one.decide())
    assert world.consumer_works()


@wrong_today
def test_2b_one_401_undoes_a_rotation() -> None:
    world, new = in_overlap()
    refuse_once(world)
    world.rotation().run()
    assert world.published == new


@wrong_today
def test_2c_one_401_publishes_a_compromised_secret_again() -> None:
    world = adopted()
    world.provider.fault = "late"
    outcome = compromised(world)
    assert outcome.until
    world.clock.now = outcome.until
    refuse_once(world)
    world.rotation().run()
    world.clock.wait(2 * DAY)
    world.rotation().run()
    assert FIRST not in world.live.values()


@wrong_today
def test_2d_a_provider_that_answers_401_to_revocations_only_flips_what_is_published() -> None:
    world, _ = in_overlap()

    def deny(auth: Credentials, api_key: str, secret_id: str) -> None:
        raise Unauthorized("no", status=401)

    world.provider.revoke_secret = deny  # type: ignore[method-assign]
    published = set()
    for _ in range(6):
        world.rotation().run()
        published.add(world.published)
        world.clock.wait(HOUR + timedelta(minutes=1))
    assert len(published) == 1


@wrong_today
def test_2e_one_401_rotates_a_secondary_that_is_not_due() -> None:
    world = adopted(secondary=True)
    refuse_once(world)
    assert not world.rotation().run().published


@wrong_today
def test_3_a_look_that_fails_forgets_that_a_dead_runner_s_create_may_land() -> None:
    world = adopted(grace=timedelta())
    dead = world.rotation(fresh_after=world.clock())
    stop_before(dead, Create)
    world.clock.now = world.journal.lease_until - world.provider.request_timeout - timedelta(seconds=1)
    world.provider.fault = "late"
    dead.perform(dead.decide())
    world.clock.now = world.journal.lease_until + timedelta(seconds=1)
    real = world.provider.list_secrets

    def unanswered(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        raise LostAnswer("no answer")

    world.provider.list_secrets = unanswered  # type: ignore[method-assign]
    world.rotation().run()
    world.provider.list_secrets = real  # type: ignore[method-assign]
    world.clock.wait(timedelta(seconds=2))
    world.rotation().run()
    world.provider.land()
    assert world.rotation().run().result is not Result.FAILED


@wrong_today
def test_4a_a_list_that_lags_for_longer_than_it_is_waited_for_and_a_person_who_resolves() -> None:
    world = adopted()
    world.clock.wait(DAY)
    lag(world, timedelta(minutes=6))
    rotate(world)
    world.clock.wait(timedelta(minutes=10))
    world.rotation().run()
    rotation = world.rotation()
    rotation.resolve(frozenset(rotation.unaccounted()))
    assert world.consumer_works()


@wrong_today
def test_4b_one_stale_list_makes_the_old_id_the_published_one() -> None:
    world = adopted()
    rotate(world)
    right = world.journal.current_id
    one_stale_list(world)
    world.rotation().run()
    assert world.journal.current_id == right


@wrong_today
def test_4c_one_stale_list_and_a_person_who_resolves() -> None:
    world = adopted()
    rotate(world)
    one_stale_list(world)
    world.rotation().run()
    rotation = world.rotation()
    rotation.resolve(frozenset(rotation.unaccounted()))
    assert world.consumer_works()


@wrong_today
def test_4d_a_lost_answer_and_a_list_that_lags_for_two_seconds() -> None:
    world = adopted()
    world.clock.wait(DAY)
    lag(world, timedelta(seconds=2))
    world.provider.fault = "lost-after"
    rotate(world)
    world.clock.wait(timedelta(seconds=5))
    assert world.rotation().run().result is Result.OK


@wrong_today
def test_5b_a_lease_from_a_clock_a_year_ahead_keeps_every_runner_away() -> None:
    world = adopted()
    world.clock.wait(365 * DAY)
    stop_before(world.rotation(fresh_after=world.clock()), Create)
    world.clock.wait(-364 * DAY)
    assert rotate(world, patience=timedelta(minutes=3)).result is Result.OK


@wrong_today
def test_5c_a_late_create_of_a_clock_a_year_ahead_keeps_the_account_full() -> None:
    world = adopted(grace=timedelta())
    world.clock.wait(365 * DAY)
    world.provider.fault = "late"
    rotate(world)
    world.clock.wait(-364 * DAY)
    assert rotate(world, compromised=True, force=True).result is Result.OK


@wrong_today
def test_6_a_document_deleted_with_its_history_and_written_again_passes_for_the_old_one() -> None:
    world = World()
    world.provider.add("shopkey", "OlderSecret001")
    world.clock.wait(DAY)
    world.publish(FIRST, secret_id=world.provider.add("shopkey", FIRST))
    world.rotation().run()
    world.vault.versions["apps/shop"] = [{"api_secret": "OlderSecret001"}]
    world.clock.wait(2 * HOUR)
    world.rotation().run()
    assert world.consumer_works()


@wrong_today
def test_7_going_back_by_hand_while_a_run_waits_for_a_rate_limit() -> None:
    world, _ = in_overlap()
    real, left = world.provider.revoke_secret, [1]

    def limited(auth: Credentials, api_key: str, secret_id: str) -> None:
        if left[0]:
            left[0] -= 1
            raise RateLimited("slow down", status=429, retry_after=timedelta(minutes=1))
        real(auth, api_key, secret_id)

    world.provider.revoke_secret = limited  # type: ignore[method-assign]
    rotation = world.rotation(patience=timedelta(minutes=3))

    def waiting(delay: timedelta) -> bool:
        if delay >= timedelta(minutes=1):
            world.publish(FIRST)
        return world.clock.wait(delay)

    rotation._wait = waiting
    rotation.run()
    assert world.consumer_works()


@wrong_today
def test_8_a_secret_replaced_by_hand_while_a_candidate_waits() -> None:
    world = adopted()
    stop_before(world.rotation(fresh_after=world.clock()), Create)
    old = next(iter(world.live))
    by_hand = world.provider.add("shopkey", "HumanSecret001")
    world.rotation().adopt(SecretStr("HumanSecret001"), by_hand, force=True)
    world.provider.remove("shopkey", old)
    world.clock.wait(timedelta(minutes=5))
    for _ in range(3):
        outcome = rotate(world)
        world.clock.wait(DAY)
    assert outcome.result is Result.OK
