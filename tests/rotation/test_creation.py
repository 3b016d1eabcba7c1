"""Creates: lost, refused, late, repeated, and without room."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.backoff import backoff
from rotator.core.protocol import CLOCK_RESOLUTION, Create, Prepare
from rotator.provider import Credentials, LostAnswer, SecretInfo, Unauthorized
from rotator.rotation import Operator, Result
from rotator.vault import Document
from testkit.model import World
from tests.rotation.worlds import DAY, FIRST, adopted, answered, assert_identified, assert_settled, rotate, run_until


def test_candidate_has_no_id_known_before() -> None:
    """The list before the create lacks the previous secret's id, and the answer to the create dies with the process."""
    world = adopted(grace=timedelta())
    old_id, real, left = world.journal.current_id, world.provider.list_secrets, [1]

    def listing(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos = real(auth, api_key)
        left[0] -= 1
        return () if left[0] == 0 else infos

    world.provider.list_secrets = listing  # type: ignore[method-assign]
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=True)
    world.clock.wait(timedelta(minutes=3))
    outcome = rotate(world, patience=DAY)
    assert outcome.result is Result.OK, outcome.error
    assert_identified(world)
    assert old_id not in world.live


def test_answered_id_missing_before_create_is_not_candidates() -> None:
    world = answered()
    list_secrets, lists = world.provider.list_secrets, [0]

    def lagging(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        lists[0] += 1
        return list_secrets(auth, api_key) if lists[0] > 1 else ()

    world.provider.list_secrets = lagging  # type: ignore[method-assign]
    rotation = world.rotation(fresh_after=world.clock() + DAY)
    run_until(rotation, Prepare, then_perform=True)
    world.provider.fault = "lost-after"
    assert rotation.run().published
    assert_identified(world)


def test_candidate_that_is_created_again_has_another_id() -> None:
    world = answered()
    world.provider.propagation = timedelta(minutes=6)
    assert world.rotation(fresh_after=world.clock()).run().reason == "verifying"
    world.provider.remove("shopkey", world.journal.candidate_id.id)
    world.provider.propagation = timedelta()
    world.provider.fault = "lost-after"
    for _ in range(14):
        world.rotation().run()
        world.clock.wait(timedelta(seconds=31))
    assert world.live[world.journal.current_id] == world.published
    assert world.journal.unknown_ids == frozenset()


def test_create_is_sent_once_when_answer_is_lost() -> None:
    world = adopted(max_secrets=3)
    world.provider.fault = "lost-after"
    outcome = rotate(world)
    assert outcome.published
    assert len(world.live) == 2


def test_run_awaits_lost_answer_and_slow_secret_together() -> None:
    world = adopted()
    world.provider.propagation = timedelta(seconds=20)
    world.provider.fault = "lost-after"
    outcome = rotate(world)
    assert outcome.published
    assert len(world.live) == 2


def test_run_awaits_lost_answer_and_lagging_list_together() -> None:
    world = adopted()
    world.clock.wait(DAY)
    world.provider.listing_lag = timedelta(seconds=2)
    world.provider.fault = "lost-after"
    rotate(world)
    world.clock.wait(timedelta(seconds=5))
    assert world.rotation().run().result is Result.OK


def test_lost_create_is_not_repeated_before_fence_ends() -> None:
    world = adopted(max_secrets=3)
    world.provider.fault = "late"
    sent_at = world.clock()
    outcome = rotate(world)
    assert outcome.reason == "late_create"
    assert outcome.until == sent_at + CLOCK_RESOLUTION + world.provider.request_timeout + world.provider.settle
    world.provider.land()
    assert rotate(world).published
    assert len(world.live) == 2


def in_whole_seconds(world: World) -> None:
    """Let Vault tell its time as it does: without the part of the second that has passed."""
    peek = world.vault.peek

    def told(path: str, version: int | None = None) -> Document:
        document = peek(path, version)
        read_at = document.read_at
        assert read_at is not None
        return replace(document, read_at=read_at.replace(microsecond=0))

    world.vault.peek = told  # type: ignore[method-assign]


def test_late_create_is_awaited_when_vault_truncates_seconds() -> None:
    """The run that sent the create began near the end of a second, and the next one begins with a second."""
    world = adopted(max_secrets=3)
    in_whole_seconds(world)
    world.clock.now = world.clock().replace(microsecond=999_999)
    world.provider.fault = "late"
    sent_at = world.clock()
    rotate(world)
    world.clock.now = sent_at.replace(microsecond=0) + timedelta(seconds=9)
    outcome = rotate(world)
    assert outcome.reason == "late_create"
    assert outcome.until is not None
    assert outcome.until >= sent_at + world.provider.request_timeout + world.provider.settle


def test_late_create_is_awaited_when_vault_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run reads Vault's clock with the journal, and then waits for the published document."""
    world = answered()
    read, slow = world.vault.read, [timedelta(seconds=20)]

    def slowly(path: str, version: int | None = None) -> Document:
        if path == world.account.path and slow:
            world.clock.wait(slow.pop())
        return read(path, version)

    monkeypatch.setattr(world.vault, "read", slowly)
    world.provider.fault = "late"
    rotate(world)
    (late,) = world.provider.late
    assert world.journal.create_until is not None
    assert world.journal.create_until >= late.until


def test_run_revokes_nothing_while_a_create_might_land() -> None:
    world = adopted(grace=timedelta())
    world.provider.fault = "late"
    sent_at = world.clock()
    outcome = rotate(world, compromised=True, force=True)
    assert outcome.published
    assert outcome.reason == "grace"
    assert outcome.until == sent_at + CLOCK_RESOLUTION + world.provider.request_timeout + world.provider.settle
    world.provider.land()  # refused: both slots are taken
    assert len(world.live) == 2
    world.clock.now = outcome.until
    assert_settled(world, world.rotation().run())


def test_process_revokes_nothing_after_its_unfinished_create() -> None:
    """A run loses the answer to its create, then Vault. The next run of the process finds its own lease."""
    world = adopted(grace=timedelta())
    world.provider.fault = "late"
    run_until(world.rotation(instance="daemon", fresh_after=world.clock()), Create, then_perform=True)
    outcome = world.rotation(instance="daemon").run()
    assert outcome.published
    assert outcome.until == world.clock() + CLOCK_RESOLUTION + world.provider.request_timeout + world.provider.settle
    world.provider.land()  # refused: both slots are taken
    assert len(world.live) == 2
    world.clock.now = outcome.until
    assert_settled(world, world.rotation(instance="daemon").run())


def test_late_create_is_reported_and_not_revoked() -> None:
    world = adopted(grace=timedelta())
    rotate(world)
    stray = world.provider.add("shopkey", world.published or "")  # stopped between its check and its request
    outcome = world.rotation().run()
    assert outcome.reason == "ambiguous"
    assert stray in (outcome.error or "")
    assert stray in world.live
    assert world.consumer_works()


def test_create_of_dead_instance_is_awaited_until_fence() -> None:
    world = adopted(grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=True)
    lease_until = world.journal.lease_until
    world.clock.now = lease_until
    outcome = rotate(world)
    assert outcome.published
    assert outcome.until == lease_until + world.provider.settle
    assert len(world.live) == 2


def test_failed_list_keeps_fence_of_a_lost_create() -> None:
    world = adopted(grace=timedelta())
    dead = world.rotation(fresh_after=world.clock())
    run_until(dead, Create, then_perform=False)
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


@pytest.mark.parametrize("off", [timedelta(hours=2), -timedelta(hours=2)], ids=["ahead", "behind"])
def test_create_of_wrong_clock_prevents_a_second_one(off: timedelta) -> None:
    world = adopted(grace=timedelta(), max_secrets=3)
    world.ahead = off
    dead = world.rotation(fresh_after=world.clock())
    run_until(dead, Create, then_perform=False)
    world.provider.fault = "late"
    dead.perform(dead.decide())
    world.ahead = timedelta()
    outcome = rotate(world)
    assert outcome.reason in ("leased", "late_create"), outcome
    world.provider.land()
    outcome = world.rotation(patience=DAY).run()
    assert_settled(world, outcome)
    assert len(world.provider.created_by_rotator) == 1


def test_create_fence_of_wrong_clock_lasts_no_longer() -> None:
    world = adopted(grace=timedelta())
    world.ahead = 365 * DAY
    world.provider.fault = "late"
    rotate(world, fresh_after=world.clock() + world.ahead)
    world.ahead = timedelta()
    world.clock.wait(timedelta(minutes=5))
    assert rotate(world, compromised=True, force=True).result is Result.OK


def test_create_is_sent_again_after_a_401() -> None:
    world = adopted()
    real, left = world.provider.create_secret, [1]

    def refusing(auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        if left[0]:
            left[0] -= 1
            raise Unauthorized("refused for a moment", status=401)
        return real(auth, api_key, secret)

    world.provider.create_secret = refusing  # type: ignore[method-assign]
    outcome = rotate(world)
    assert outcome.published
    assert world.consumer_works()


def test_refused_value_is_replaced() -> None:
    world = adopted()
    world.provider.fault = "refuse-value"
    outcome = rotate(world)
    assert outcome.published
    assert len(world.live) == 2


def test_refused_values_are_bounded() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock())
    outcome = None
    while outcome is None:
        world.provider.fault = "refuse-value"
        outcome = rotation.step()
    assert outcome.reason == "refused"
    assert rotation.state.seen.values == 3


def test_creates_without_effect_are_bounded() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock())
    outcome = None
    while outcome is None:
        world.provider.fault = "lost-before"
        outcome = rotation.step()
    assert outcome.reason == "unanswered"
    assert list(world.live.values()) == [FIRST]
    assert world.journal.next_attempt_at == world.clock() + backoff("shop", 1)


def test_lowered_limit_is_reported() -> None:
    world = answered(max_secrets=3)
    rotate(world)
    world.clock.wait(timedelta(minutes=3))
    outcome = rotate(world, max_secrets=2)
    assert outcome.reason == "full"
    assert len(world.live) == 2


def test_secret_in_the_free_slot_is_not_revoked() -> None:
    world = answered()
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Create, then_perform=False)
    stray = world.provider.add("shopkey", "HumanSecret001")
    began, before = world.clock(), world.published
    outcome = rotation.run()
    assert outcome.reason == "ambiguous"
    assert world.clock() == began, "what was refused is not waited for"
    assert set(world.live.values()) == {world.published, "HumanSecret001"}
    again = Operator(world.rotation())
    assert list(again.unknown()) == [stray]
    assert again.resolve(frozenset({stray})).revoked == (stray,)
    assert world.published not in (before, "HumanSecret001"), "the requested rotation went on"
