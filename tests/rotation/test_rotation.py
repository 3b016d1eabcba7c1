"""Every row of the crash table and every corner case as a sentence: the real interpreter in a model world."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.backoff import backoff
from rotator.core.protocol import (
    CLOCK_RESOLUTION,
    Command,
    Create,
    Event,
    Learned,
    Phase,
    Prepare,
    Publish,
    Publishing,
    Record,
    Request,
    RequestKind,
    Rest,
    Retiring,
    Revoke,
    Step,
    Target,
    Trigger,
    TryEarlier,
    transitions,
    wake_at,
)
from rotator.core.protocol.limits import MAX_SENDS
from rotator.documents.journal import render_journal
from rotator.errors import Blame, RotatorError
from rotator.provider import Credentials, LostAnswer, RateLimited, SecretInfo, Unauthorized
from rotator.rotation import Operator, Outcome, Result, Rotation, preview
from rotator.rotation.interfaces import Waiter
from rotator.rotation.waiting import LONGEST_POLL
from rotator.vault import Document, VaultDenied, VaultSealed
from testkit.model import World

FIRST = "FirstSecret001"
DAY = timedelta(days=1)


def adopted(**world: Any) -> World:
    """A world with one account that rotator knows, with one secret."""
    made = World(**world)

    def revoked(id_: str, value: str) -> None:
        """Looked at in the moment itself: a run that broke what consumers read may well mend it before it ends."""
        assert value != made.published, f"{id_} was revoked, which consumers read"

    made.provider.on_revoke = revoked
    made.provider.add("shopkey", FIRST)
    made.publish(FIRST)
    made.identify()
    made.clock.wait(timedelta(minutes=1))
    return made


def answered(**world: Any) -> World:
    """A world whose published secret was created by rotator: the provider answered its id."""
    made = adopted(**world)
    rotate(made)
    made.clock.wait(timedelta(hours=2))
    made.rotation().run()
    assert made.journal.current is not None
    assert made.journal.current.is_answered
    assert len(made.live) == 1
    return made


def name_id(world: World, id_: str) -> Outcome:
    """What a person does who knows the published secret's id."""
    return Operator(world.rotation()).adopt(SecretStr(world.published or ""), id_)


def wait_with(rotation: Rotation, wait: Waiter) -> None:
    """Have a run wait in another way."""
    rotation.waiting.wait = wait


def command(world: World, rotation: Rotation) -> Outcome:
    """Run, and run again as long as the runs wait for a candidate: what a command does."""
    outcome = rotation.run()
    while outcome.resume_at is not None:
        world.clock.now = max(world.clock.now, outcome.resume_at)
        outcome = world.rotation(verify_timeout=rotation.policy.verify_timeout, lease=rotation.policy.lease).run()
    return outcome


def rotate(world: World, **policy: Any) -> Outcome:
    """Run, and run again as long as the runs wait for a candidate: what a command does."""
    outcome = world.rotation(**({"fresh_after": world.clock()} | policy)).run()
    while outcome.resume_at is not None:
        world.clock.now = max(world.clock.now, outcome.resume_at)
        outcome = world.rotation(**policy).run()
    return outcome


def run_until(rotation: Rotation, kind: type[Step] | Event, *, then_perform: bool) -> None:
    """Run up to the first step of a kind, and perhaps do that one, too; then the process dies."""
    rotation.state.observe()
    for _ in range(100):
        step = rotation.decide()
        matches = isinstance(step, Record) and step.event is kind if isinstance(kind, Event) else isinstance(step, kind)
        if matches and not then_perform:
            return
        rotation.perform(step)
        if matches:
            return
    pytest.fail(f"no {kind} came up")


def assert_settled(world: World, outcome: Outcome, *, secrets: int = 1) -> None:
    assert outcome.result is Result.OK, outcome
    assert world.journal.phase is (Phase.IDLE if secrets == 1 else Phase.OVERLAP)
    assert world.journal.candidate is None
    assert world.journal.holder is None
    assert len(world.live) == secrets
    assert world.live[world.journal.current_id] == world.published
    assert world.consumer_works()


def assert_identified(world: World) -> None:
    """The published secret's id becomes certain, and everything else is revoked or gone."""
    world.identify()
    world.clock.wait(timedelta(hours=2))
    assert_settled(world, world.rotation(patience=DAY).run())


def in_overlap() -> tuple[World, str]:
    """A rotated account whose old secret is due to be revoked, and the new one."""
    world = adopted()
    rotate(world)
    world.clock.wait(timedelta(hours=1))
    assert world.published
    return world, world.published


def one_stale_list(world: World) -> None:
    """The next list does not have the newest entry yet."""
    real, left = world.provider.list_secrets, [1]

    def listing(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos = real(auth, api_key)
        left[0] -= 1
        return infos[:1] if left[0] == 0 else infos

    world.provider.list_secrets = listing  # type: ignore[method-assign]


# --- the ordinary course -------------------------------------------------------------------------------------


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


def test_adoption_takes_age_from_provider_and_rotates_nothing() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.clock.wait(DAY)
    outcome = world.rotation(due_at=lambda rotated_at: rotated_at + 2 * DAY).run()
    assert not outcome.published
    assert world.journal.rotated_at == world.clock() - DAY
    assert world.published == FIRST


def test_start_rotates_nothing_when_nothing_is_due() -> None:
    world = adopted()
    for _ in range(3):
        assert not world.rotation(fresh_after=world.clock() - DAY).run().published
    assert list(world.live.values()) == [FIRST]


def test_rotation_keeps_other_fields() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.vault.versions["apps/shop"] = [{"api_secret": FIRST, "region": "eu", "limits": {"rps": 30}}]
    world.clock.wait(DAY)
    rotate(world)
    document = world.vault.versions["apps/shop"][-1]
    assert document["region"] == "eu"
    assert document["limits"] == {"rps": 30}
    assert document["api_secret"] != FIRST


# --- the crash table -----------------------------------------------------------------------------------------

CRASHES = [
    pytest.param(kind, after, id=f"{'after' if after else 'before'}-{getattr(kind, '__name__', kind)}")
    for kind in (Prepare, Create, Publish, Event.COMMITTED, Revoke, Event.SETTLED)
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


def test_run_sends_same_value_after_crash_before_create() -> None:
    world = adopted()
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    candidate = world.journal.candidate.get_secret_value()
    world.clock.wait(timedelta(minutes=3))
    rotate(world)
    assert world.published == candidate


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


def test_late_create_is_awaited_when_vault_tells_whole_seconds() -> None:
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


def test_lowered_limit_is_reported() -> None:
    world = answered(max_secrets=3)
    rotate(world)
    world.clock.wait(timedelta(minutes=3))
    outcome = rotate(world, max_secrets=2)
    assert outcome.reason == "full"
    assert len(world.live) == 2


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
    run_until(world.rotation(runner="daemon", fresh_after=world.clock()), Create, then_perform=True)
    outcome = world.rotation(runner="daemon").run()
    assert outcome.published
    assert outcome.until == world.clock() + CLOCK_RESOLUTION + world.provider.request_timeout + world.provider.settle
    world.provider.land()  # refused: both slots are taken
    assert len(world.live) == 2
    world.clock.now = outcome.until
    assert_settled(world, world.rotation(runner="daemon").run())


@pytest.mark.parametrize("dies", [True, False])
@pytest.mark.parametrize("lands", [True, False])
def test_deleted_document_waits_for_a_late_revocation(*, dies: bool, lands: bool) -> None:
    """A person deletes the published document while a DELETE of the previous secret is on its way."""
    world = answered(grace=timedelta(hours=1))
    (own,) = world.live
    value = world.live[own]
    rotate(world)
    world.clock.wait(timedelta(hours=2))
    world.provider.fault = "late"
    revoking = world.rotation(runner="daemon")
    run_until(revoking, Revoke, then_perform=True)
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))
    if dies:
        world.clock.wait(timedelta(minutes=2))  # its lease ends
        outcome = world.rotation().run()
    else:
        revoking.state.forget()
        outcome = revoking.run()
    assert outcome.reason == "late_revocation"
    assert world.published is None
    if lands:
        world.provider.remove("shopkey", own)
    for _ in range(3):
        world.clock.now = outcome.until or world.clock()
        outcome = world.rotation().run()
    assert world.published == (None if lands else value)
    assert outcome.reason == "not_adopted" if lands else world.consumer_works()


def test_document_deleted_under_the_lease_waits_too() -> None:
    """The dead holder's DELETE can still be on its way when another run has acquired the lease."""
    world = answered(grace=timedelta(hours=1))
    rotate(world)
    world.clock.wait(timedelta(hours=2))
    world.provider.fault = "late"
    run_until(world.rotation(), Revoke, then_perform=True)
    world.clock.wait(timedelta(minutes=2))  # its lease ends
    run = world.rotation()
    run_until(run, Revoke, then_perform=False)
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))
    run.state.forget()
    assert run.run().reason == "late_revocation"
    assert world.published is None


def test_late_create_is_reported_and_not_revoked() -> None:
    world = adopted(grace=timedelta())
    rotate(world)
    stray = world.provider.add("shopkey", world.published or "")  # stopped between its check and its request
    outcome = world.rotation().run()
    assert outcome.reason == "ambiguous"
    assert stray in (outcome.error or "")
    assert stray in world.live
    assert world.consumer_works()


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


def leased(world: World, *, lasts: timedelta, released_after: timedelta) -> Waiter:
    """Let another instance hold the lease, and release it while a run waits; the run's waiter."""
    path, began = world.settings.journal_path(world.account), world.clock()
    held = replace(world.journal, holder="other", lease_until=began + lasts)
    world.vault.write(path, render_journal(held), cas=len(world.vault.versions[path]))

    def wait(delay: timedelta) -> bool:
        assert delay <= LONGEST_POLL
        world.clock.wait(delay)
        if world.journal.holder == "other" and world.clock() >= began + released_after:
            free = replace(world.journal, holder=None, lease_until=None)
            world.vault.write(path, render_journal(free), cas=len(world.vault.versions[path]))
        return False

    return wait


@pytest.mark.parametrize("lasts", [timedelta(minutes=2), timedelta(minutes=30)], ids=["within wait", "beyond wait"])
def test_run_continues_when_lease_is_released(lasts: timedelta) -> None:
    """It waits for as long as it may, whatever end the lease has."""
    world = adopted()
    began, rotation = world.clock(), world.rotation(fresh_after=world.clock(), patience=timedelta(minutes=3))
    wait_with(rotation, leased(world, lasts=lasts, released_after=timedelta(seconds=20)))
    assert rotation.run().published
    assert world.clock() <= began + timedelta(seconds=20) + LONGEST_POLL


@pytest.mark.parametrize("lasts", [timedelta(minutes=2), timedelta(minutes=30)], ids=["within wait", "beyond wait"])
def test_adoption_continues_when_lease_is_released(lasts: timedelta) -> None:
    world = adopted()
    world.provider.add("shopkey", "OtherSecret0001")
    began, rotation = world.clock(), world.rotation(patience=timedelta(minutes=3))
    wait_with(rotation, leased(world, lasts=lasts, released_after=timedelta(seconds=20)))
    Operator(rotation).adopt(SecretStr("OtherSecret0001"), "id-002", replace_working=True)
    assert world.published == "OtherSecret0001"
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


def test_create_of_dead_instance_is_awaited_until_fence() -> None:
    world = adopted(grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=True)
    lease_until = world.journal.lease_until
    world.clock.now = lease_until
    outcome = rotate(world)
    assert outcome.published
    assert outcome.until == lease_until + world.provider.settle
    assert len(world.live) == 2


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


# --- the candidate -------------------------------------------------------------------------------------------


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


def test_candidate_published_by_hand_has_not_the_previous_id() -> None:
    """The document names the previous secret's id still."""
    world = answered()
    previous = world.journal.current_id
    world.provider.fault = "lost-after"
    world.provider.propagation = timedelta(minutes=6)
    world.rotation(fresh_after=world.clock()).run()
    world.publish(world.journal.candidate.get_secret_value())
    world.provider.propagation = timedelta()
    world.rotation().run()
    assert world.journal.candidate is None
    assert world.journal.current_id != previous


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


def test_backoff_doubles_to_an_hour_until_a_success() -> None:
    world = adopted()
    waits = []
    for _ in range(8):
        rotation = world.rotation(fresh_after=world.clock())
        outcome = None
        while outcome is None:
            world.provider.fault = "lost-before"
            outcome = rotation.step()
        world.provider.fault = None
        waits.append(world.journal.next_attempt_at - world.clock())
    assert waits == [backoff("shop", attempts) for attempts in range(1, 9)]
    assert world.journal.attempts == 8
    rotate(world)
    assert world.journal.attempts == 0
    assert world.journal.last_error is None


def test_journal_contains_failure_code_until_next_success() -> None:
    world = answered()
    told = []
    stray = world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    told.append(world.journal.failure)
    resolving = Operator(world.rotation())
    assert [*resolving.unknown()] == [stray]
    resolving.resolve(frozenset({stray}))
    told.append(world.journal.failure)
    world.clock.wait(timedelta(hours=2))
    world.rotation().run()
    world.provider.add("shopkey", "HumanSecret002")
    world.provider.remove("shopkey", world.journal.current_id)
    rotate(world)
    told.append(world.journal.failure)
    world.publish("HumanSecret002")
    world.rotation().run()
    told.append(world.journal.failure)
    assert told == ["ambiguous", None, "credentials", None]


# --- the full account ----------------------------------------------------------------------------------------


def test_full_account_in_grace_period_is_deferred() -> None:
    world = adopted()
    until = rotate(world).until
    world.clock.wait(timedelta(seconds=1))
    outcome = rotate(world)
    assert outcome.result is Result.DEFERRED
    assert outcome.reason == "full"
    assert outcome.until == until
    assert len(world.live) == 2


def test_force_does_not_wait_for_grace_period() -> None:
    world = adopted()
    rotate(world)
    second = world.published
    world.clock.wait(timedelta(seconds=1))
    outcome = rotate(world, force=True)
    assert outcome.published
    assert FIRST not in world.live.values()
    assert second in world.live.values()


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


# --- adoption and ambiguity ----------------------------------------------------------------------------------


def test_adoption_retires_no_other_secret_unasked() -> None:
    world = World()
    world.provider.add("shopkey", "OlderSecret001")
    world.clock.wait(DAY)
    id_ = world.provider.add("shopkey", FIRST)
    world.publish(FIRST, secret_id=id_)
    outcome = world.rotation().run()
    assert outcome.reason == "ambiguous"
    assert world.journal.retiring == ()
    world.clock.wait(timedelta(hours=30))
    world.rotation().run()
    assert len(world.live) == 2
    assert world.published == FIRST


def test_adoption_does_not_trust_an_id_left_behind() -> None:
    world = World(grace=timedelta())
    world.provider.add("shopkey", FIRST)
    world.clock.wait(DAY)
    world.publish("HumanSecret001", secret_id=world.provider.add("shopkey", "HumanSecret001"))
    world.publish(FIRST)  # went back, and left the id
    assert world.rotation().run().reason == "ambiguous"
    assert world.consumer_works()
    assert len(world.live) == 2


def test_adoption_does_not_revoke_a_younger_secret() -> None:
    world = World()
    id_ = world.provider.add("shopkey", FIRST)
    world.publish(FIRST, secret_id=id_)
    world.clock.wait(DAY)
    world.provider.add("shopkey", "YoungerSecret1")
    assert world.rotation().run().reason == "ambiguous"
    assert world.journal.phase is Phase.AMBIGUOUS
    world.clock.wait(30 * DAY)
    rotate(world)
    assert len(world.live) == 2


def test_published_id_is_ambiguous_when_two_are_possible() -> None:
    world = World()
    world.provider.add("shopkey", "OlderSecret001")
    world.clock.wait(DAY)
    id_ = world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    outcome = world.rotation().run()
    assert outcome.reason == "ambiguous"
    assert "--secret-id" in (outcome.error or "")
    outcome = name_id(world, id_)
    assert world.journal.current_id == id_
    assert outcome.reason == "ambiguous", "the other one is nobody's to revoke unasked"


def test_run_names_adopt_when_nothing_is_published() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    outcome = rotate(world)
    assert outcome.reason == "not_adopted"
    assert "rotator adopt shop" in (outcome.error or "")
    assert "apps/shop" not in world.vault.versions
    assert world.settings.journal_path(world.account) not in world.vault.versions


def test_added_secret_is_ambiguous_until_it_is_gone() -> None:
    world = adopted()
    stray = world.provider.add("shopkey", "HumanSecret001")
    assert rotate(world).reason == "ambiguous"
    assert world.journal.phase is Phase.AMBIGUOUS
    assert world.published == FIRST
    world.provider.remove("shopkey", stray)
    assert rotate(world).published
    assert world.journal.ambiguity is None


def test_resolve_revokes_named_ids_only() -> None:
    world = answered()
    stray = world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    rotation = Operator(world.rotation())
    assert list(rotation.unknown()) == [stray]
    outcome = rotation.resolve(frozenset({stray}))
    assert outcome.revoked == (stray,)
    assert world.journal.retiring_ids < world.live.keys(), "the requested rotation went on"


def test_resolve_refuses_the_published_secret() -> None:
    world = answered()
    world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    rotation = Operator(world.rotation())
    rotation.unknown()
    outcome = rotation.resolve(frozenset({world.journal.current_id}))
    assert outcome.revoked == ()
    assert world.consumer_works()


def test_unknown_secrets_are_not_told_when_the_journal_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault can refuse writes and allow reads: an empty answer would say that nothing is unknown."""
    world = answered()
    world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    world.publish(world.published or "", secret_id=None)

    def refuse(*_args: object, **_options: object) -> int:
        raise VaultDenied("Vault denies the write", next_step="Add it to the policy")

    monkeypatch.setattr(world.vault, "write", refuse)
    with pytest.raises(RotatorError, match=r"before unknown secrets are known\. Vault denies the write"):
        Operator(world.rotation()).unknown()


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


# --- changes by hand -----------------------------------------------------------------------------------------


def test_replacement_by_hand_is_adopted_and_previous_retires() -> None:
    world = answered()
    new = world.provider.add("shopkey", "HumanSecret001")
    world.publish("HumanSecret001")
    outcome = world.rotation().run()
    assert outcome.reason == "grace"
    world.identify()
    assert world.journal.current_id == new
    world.clock.wait(timedelta(hours=1))
    assert_settled(world, world.rotation().run())
    assert world.published == "HumanSecret001"


def test_edit_of_another_field_changes_nothing() -> None:
    world = adopted()
    world.vault.versions["apps/shop"].append(world.vault.versions["apps/shop"][-1] | {"note": "hello"})
    before = world.journal
    assert world.rotation().run().reason == "idle"
    assert world.journal.current_id == before.current_id
    assert world.journal.published_version == before.published_version + 1


def test_return_to_previous_version_keeps_its_secret() -> None:
    world = adopted()
    first_id = world.journal.current_id
    rotate(world)
    second = world.published
    world.vault.versions["apps/shop"].append(world.vault.versions["apps/shop"][0])
    world.clock.wait(timedelta(minutes=50))
    assert world.rotation().run().reason == "grace"
    world.identify()
    assert world.journal.current_id == first_id
    world.clock.wait(timedelta(hours=1))
    assert_settled(world, world.rotation().run())
    assert world.published == FIRST
    assert second not in world.live.values()


def test_change_by_hand_is_ambiguous_without_certain_id() -> None:
    world = adopted(max_secrets=3)
    world.provider.add("shopkey", "HumanSecret001")
    world.provider.add("shopkey", "HumanSecret002")
    world.publish("HumanSecret001")
    assert world.rotation().run().reason == "ambiguous"
    assert len(world.live) == 3


def test_missing_recorded_version_proves_nothing() -> None:
    world = answered(max_secrets=3)
    new = world.provider.add("shopkey", "HumanSecret001")
    world.vault.versions["apps/shop"][-1].clear()
    world.publish("HumanSecret001", secret_id=world.journal.current_id)  # the field was left as it was
    assert world.rotation().run().reason == "ambiguous"
    assert name_id(world, new).reason == "ambiguous"
    assert world.journal.current_id == new


# --- rescue --------------------------------------------------------------------------------------------------


def test_earlier_version_is_restored_when_published_is_refused() -> None:
    world = adopted()
    rotate(world)
    world.provider.remove("shopkey", world.journal.current_id)
    assert not world.consumer_works()
    outcome = world.rotation().run()
    assert outcome.result is Result.OK
    assert world.published == FIRST
    assert_identified(world)


def test_candidate_is_published_when_published_secret_is_refused() -> None:
    world = adopted()
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=True)
    world.provider.remove("shopkey", next(iter(world.live)))
    world.clock.wait(timedelta(minutes=3))
    outcome = world.rotation().run()
    assert outcome.published
    assert world.consumer_works()


def test_run_names_adopt_when_no_secret_authenticates() -> None:
    world = adopted()
    world.provider.add("shopkey", "HumanSecret001")
    world.provider.remove("shopkey", world.journal.current_id)
    outcome = rotate(world)
    assert outcome.result is Result.FAILED
    assert outcome.reason == "credentials"
    assert "rotator adopt shop" in (outcome.error or "")
    assert list(world.live.values()) == ["HumanSecret001"]


def test_old_snapshot_of_vault_revokes_nothing() -> None:
    world = adopted(grace=timedelta(), secondary=True)
    snapshot = {path: list(versions) for path, versions in world.vault.versions.items()}
    rotate(world)
    after = set(world.live)
    world.vault.versions = snapshot
    outcome = rotate(world)
    assert outcome.published, "the primary brought a new secret in"
    assert after <= set(world.live), "what the snapshot does not know is not revoked"
    assert world.consumer_works()
    assert outcome.reason == "ambiguous"


def test_rescue_without_journal_revokes_nothing() -> None:
    world = adopted(grace=timedelta(), secondary=True)
    world.provider.add("shopkey", "HumanSecret001")
    world.provider.remove("shopkey", world.journal.current_id)
    del world.vault.versions[world.settings.journal_path(world.account)]
    outcome = rotate(world)
    assert outcome.published
    assert "HumanSecret001" in world.live.values()
    assert world.consumer_works()


def test_candidate_without_certain_id_is_published_revoking_nothing() -> None:
    world = adopted(grace=timedelta(), max_secrets=3)
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=True)
    world.provider.add("shopkey", "HumanSecret001")
    candidate = world.journal.candidate.get_secret_value()
    world.clock.wait(timedelta(minutes=3))
    outcome = rotate(world)
    assert outcome.published
    assert outcome.reason == "ambiguous"
    assert world.published == candidate
    assert len(world.live) == 3
    ours = next(id_ for id_, value in world.live.items() if value == candidate)
    stray = next(id_ for id_, value in world.live.items() if value == "HumanSecret001")
    name_id(world, ours)
    assert world.journal.current_id == ours
    assert stray in world.live


def test_old_snapshot_fails_without_a_primary_account() -> None:
    world = adopted(grace=timedelta())
    snapshot = {path: list(versions) for path, versions in world.vault.versions.items()}
    rotate(world)
    after = dict(world.live)
    world.vault.versions = snapshot
    assert rotate(world).reason == "credentials"
    assert world.live == after


# --- primaries and secondaries -------------------------------------------------------------------------------


def test_primary_account_bootstraps_secondary_without_published_secret() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    outcome = world.rotation().run()
    assert outcome.published
    assert world.journal.trigger is Trigger.BOOTSTRAP
    assert world.consumer_works()
    world.clock.wait(timedelta(hours=30))
    assert world.rotation().run().reason == "ambiguous"
    assert "InitialSecret1" in world.live.values(), "what rotator did not publish is nobody's to revoke unasked"


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


def rename_field(world: World, name: str) -> None:
    """Change the name of the field for the value in the configuration."""
    account = world.settings.accounts[0]
    renamed = account.model_copy(update={"fields": account.fields.model_copy(update={"api_secret": name})})
    world.settings = world.settings.model_copy(update={"accounts": (renamed, *world.settings.accounts[1:])})


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


def test_compromised_request_outlives_a_pending_id() -> None:
    """A person edited another field, and the version that the journal speaks of is gone."""
    world = answered()
    leaked = world.published
    versions = world.vault.versions["apps/shop"]
    run_until(world.rotation(fresh_after=world.clock(), compromised=True), Event.REQUESTED, then_perform=True)
    world.vault.deleted.add(("apps/shop", len(versions)))
    versions.append(dict(versions[-1]) | {"note": "edited"})
    for _ in range(10):
        world.clock.wait(timedelta(minutes=2))
        world.rotation(explicit=False).run()
    assert world.published != leaked
    assert leaked not in world.live.values()


def test_requested_rotation_leads_out_of_doubt_with_room() -> None:
    """The id of the published secret is pending, and a person added another secret."""
    world = adopted(max_secrets=3)
    world.provider.fault = "lost-after"
    rotate(world)
    world.provider.add("shopkey", "HumanSecret001")
    world.provider.remove("shopkey", next(id_ for id_, value in world.live.items() if value == FIRST))
    world.clock.wait(2 * DAY)
    outcome = world.rotation(explicit=False).run()
    assert outcome.next_command == Command.of("rotate-now", "shop")
    world.clock.wait(DAY)
    assert rotate(world).published
    assert world.journal.current is not None
    assert world.journal.current.is_answered


def test_full_unknown_secondary_asks_for_adoption() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    world.provider.add("shopkey", "InitialSecret2")
    outcome = world.rotation().run()
    assert outcome.reason == "full"
    assert len(world.live) == 2


def test_rotated_primary_is_read_again_once() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    rotation = world.rotation()
    run_until(rotation, Prepare, then_perform=True)
    old = next(iter(world.provider.secrets["parentkey"]))
    world.provider.add("parentkey", "ParentSecret002")
    world.publish("ParentSecret002", path="apps/parent")
    world.provider.remove("parentkey", old)
    assert rotation.run().published


def test_error_names_a_primary_without_published_secret() -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", "InitialSecret1")
    del world.vault.versions["apps/parent"]
    outcome = world.rotation().run()
    assert "rotator adopt parent" in (outcome.error or "")


# --- adopt ---------------------------------------------------------------------------------------------------


def sealed_after_publish(world: World) -> None:
    """Vault is sealed as soon as it has written the published document."""
    write = world.vault.write

    def sealed(*_: Any, **__: Any) -> Any:
        raise VaultSealed("Vault is sealed", maybe_done=False)

    def writes(path: str, data: Mapping[str, Any], cas: int) -> int:
        version = write(path, data, cas)
        if path == "apps/shop":
            world.vault.read = world.vault.write = sealed  # type: ignore[method-assign]
        return version

    world.vault.write = writes  # type: ignore[method-assign]


def test_run_says_that_it_published_when_vault_is_sealed_then() -> None:
    world = adopted()
    sealed_after_publish(world)
    outcome = rotate(world)
    assert (outcome.result, outcome.published) == (Result.FAILED, True)
    assert "Nothing was revoked, and the new secret is published and works" in str(outcome.error)


def test_adopt_says_that_it_published_when_vault_is_sealed_then() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    sealed_after_publish(world)
    with pytest.raises(RotatorError, match="Nothing was revoked, and version 1 is published and works"):
        Operator(world.rotation()).adopt(SecretStr(FIRST), None)


def test_adopt_publishes_a_value_that_authenticates() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    outcome = Operator(world.rotation()).adopt(SecretStr(FIRST), None)
    assert outcome.result is Result.OK
    world.identify()
    assert_settled(world, world.rotation().run())
    assert world.vault.versions["apps/shop"][-1]["api_key"] == "shopkey"


def adopt_error(world: World, value: str, secret_id: str | None = None) -> str:
    before = {path: len(versions) for path, versions in world.vault.versions.items()}
    with pytest.raises(RotatorError) as caught:
        Operator(world.rotation()).adopt(SecretStr(value), secret_id)
    assert {path: len(versions) for path, versions in world.vault.versions.items()} == before, "nothing was written"
    assert value not in str(caught.value)
    return str(caught.value)


def test_adopt_refuses_a_value_that_is_refused() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    assert "refuses this secret" in adopt_error(world, "WrongSecret001")


def test_adopt_asks_for_the_id_of_two() -> None:
    world = World()
    id_ = world.provider.add("shopkey", FIRST)
    world.provider.add("shopkey", "OtherSecret001")
    assert "--secret-id" in adopt_error(world, FIRST)
    assert "does not list" in adopt_error(world, FIRST, "id-999")
    Operator(world.rotation()).adopt(SecretStr(FIRST), id_)
    assert world.published == FIRST
    assert world.journal.current_id == id_


def test_adopt_replaces_working_secret_only_with_replace() -> None:
    world = adopted()
    new = world.provider.add("shopkey", "OtherSecret001")
    assert "--replace" in adopt_error(world, "OtherSecret001", new)
    Operator(world.rotation()).adopt(SecretStr("OtherSecret001"), new, replace_working=True)
    assert world.published == "OtherSecret001"


def test_adopt_replaces_a_refused_published_secret() -> None:
    world = adopted()
    world.provider.add("shopkey", "HumanSecret001")
    world.provider.remove("shopkey", world.journal.current_id)
    outcome = Operator(world.rotation()).adopt(SecretStr("HumanSecret001"), None)
    assert outcome.result is Result.OK
    world.identify()
    assert_settled(world, world.rotation().run())


# --- a provider that contradicts itself ----------------------------------------------------------------------


def test_published_secret_stays_after_401_with_two_instances() -> None:
    world, _ = in_overlap()
    one, other = world.rotation(), world.rotation()
    other.state.observe()
    run_until(one, Revoke, then_perform=False)
    world.provider.refusals = 1
    other.perform(other.decide())
    other.perform(other.decide())
    one.perform(one.decide())
    assert world.consumer_works()


def test_single_401_undoes_no_rotation() -> None:
    world, new = in_overlap()
    world.provider.refusals = 1
    world.rotation().run()
    assert world.published == new


def test_single_401_republishes_no_compromised_secret() -> None:
    world = adopted()
    world.provider.fault = "late"
    outcome = rotate(world, compromised=True, force=True, trigger=Trigger.COMPROMISED)
    assert outcome.until
    world.clock.now = outcome.until
    world.provider.refusals = 1
    world.rotation().run()
    world.clock.wait(2 * DAY)
    world.rotation().run()
    assert FIRST not in world.live.values()


def test_published_secret_stays_when_revocations_get_401() -> None:
    world, _ = in_overlap()

    def deny(auth: Credentials, api_key: str, secret_id: str) -> None:
        raise Unauthorized("no", status=401)

    world.provider.revoke_secret = deny  # type: ignore[method-assign]
    published = set()
    for _ in range(6):
        world.rotation().run()
        published.add(world.published)
        world.clock.wait(timedelta(hours=1) + timedelta(minutes=1))
    assert len(published) == 1


def test_single_401_rotates_no_secondary_early() -> None:
    world = adopted(secondary=True)
    world.provider.refusals = 1
    assert not world.rotation().run().published


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


def test_resolve_is_harmless_while_lists_lag_for_long() -> None:
    world = adopted()
    world.clock.wait(DAY)
    world.provider.listing_lag = timedelta(minutes=6)
    rotate(world)
    world.clock.wait(timedelta(minutes=10))
    world.rotation().run()
    rotation = Operator(world.rotation())
    rotation.resolve(frozenset(rotation.unknown()))
    assert world.consumer_works()


def test_stale_list_does_not_change_published_id() -> None:
    world = adopted()
    rotate(world)
    right = world.journal.current_id
    one_stale_list(world)
    world.rotation().run()
    assert world.journal.current_id == right


def test_resolve_is_harmless_after_one_stale_list() -> None:
    world = adopted()
    rotate(world)
    one_stale_list(world)
    world.rotation().run()
    rotation = Operator(world.rotation())
    rotation.resolve(frozenset(rotation.unknown()))
    assert world.consumer_works()


def test_run_awaits_lost_answer_and_lagging_list_together() -> None:
    world = adopted()
    world.clock.wait(DAY)
    world.provider.listing_lag = timedelta(seconds=2)
    world.provider.fault = "lost-after"
    rotate(world)
    world.clock.wait(timedelta(seconds=5))
    assert world.rotation().run().result is Result.OK


# --- clocks, histories, waits --------------------------------------------------------------------------------


def test_lease_of_wrong_clock_lasts_no_longer() -> None:
    world = adopted()
    world.ahead = 365 * DAY
    run_until(world.rotation(fresh_after=world.clock() + world.ahead), Create, then_perform=False)
    world.ahead = timedelta()
    assert rotate(world, patience=timedelta(minutes=3)).result is Result.OK


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


def test_secret_of_wrong_clock_has_its_documents_age() -> None:
    world = adopted(grace=timedelta())
    world.ahead = 365 * DAY
    rotate(world, fresh_after=world.clock() + world.ahead)
    world.ahead, published_at = timedelta(), world.clock()
    assert world.journal.rotated_at == published_at + 365 * DAY
    world.clock.wait(DAY)
    outcome = world.rotation(fresh_after=published_at, explicit=False).run()
    assert not outcome.published, "it is of this date, not of a year later, and not due yet"
    assert world.journal.rotated_at - published_at < timedelta(minutes=1)
    assert isinstance(preview(world.rotation(fresh_after=world.clock())).step, Prepare)
    assert rotate(world).published


def test_preview_ignores_a_wrong_date() -> None:
    world = adopted()
    world.ahead = 365 * DAY
    rotate(world, fresh_after=world.clock() + world.ahead, grace=timedelta())
    world.ahead = timedelta()
    world.clock.wait(DAY)
    assert isinstance(preview(world.rotation(due_at=lambda rotated_at: rotated_at + timedelta(hours=1))).step, Prepare)


def test_request_is_carried_out_with_a_wrong_clock() -> None:
    world = adopted(grace=timedelta())
    rotate(world)
    published = world.published
    world.ahead = -timedelta(hours=2)
    outcome = rotate(world, fresh_after=world.clock() + DAY, compromised=True)
    assert outcome.published
    assert world.published != published


def test_document_recreated_after_deletion_is_not_the_recorded() -> None:
    world = World()
    world.provider.add("shopkey", "OlderSecret001")
    world.clock.wait(DAY)
    world.publish(FIRST, secret_id=world.provider.add("shopkey", FIRST))
    world.rotation().run()
    world.vault.versions["apps/shop"] = [{"api_secret": "OlderSecret001"}]
    world.clock.wait(timedelta(hours=2))
    world.rotation().run()
    assert world.consumer_works()


def test_return_by_hand_is_seen_after_rate_limit() -> None:
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

    wait_with(rotation, waiting)
    rotation.run()
    assert world.consumer_works()


def test_refused_published_secret_is_tried_for_consistency_window() -> None:
    world, new = in_overlap()
    asked: list[datetime] = []

    def refuse(auth: Credentials) -> None:
        if auth.api_secret.get_secret_value() == new and len(asked) < 8:
            asked.append(world.clock())
            raise Unauthorized("refused for a while", status=401)

    world.provider.on_request = refuse
    outcome = world.rotation().run()
    assert len(asked) == 8
    assert asked[-1] - asked[0] < world.provider.settle
    assert_settled(world, outcome)
    assert world.published == new


def test_late_create_is_awaited_for_long_enough_when_vault_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(("fault", "is_unknown"), [(None, False), ("lost-before", True), ("lost-after", True)])
def test_outcome_tells_whether_a_write_at_the_end_is_unknown(fault: str | None, *, is_unknown: bool) -> None:
    """The provider fails, and so does Vault, which was to record the request and the failure."""
    world = answered()

    def fail(_: Credentials) -> None:
        world.vault.fault = fault
        raise LostAnswer("no answer")

    world.provider.on_request = fail
    outcome = world.rotation(fresh_after=world.clock() + timedelta(seconds=1), compromised=True).run()
    assert outcome.blame is Blame.PROVIDER
    assert outcome.journal_is_unknown == is_unknown


def test_later_write_of_the_journal_ends_doubt() -> None:
    """An earlier write replaces a version that is no longer the newest."""
    world = answered()
    rotation = world.rotation(fresh_after=world.clock() + timedelta(seconds=1), compromised=True)
    world.vault.fault = "lost-before"
    rotation.step()
    assert rotation.state.write_is_unknown
    assert rotation.run().result is Result.OK
    assert not rotation.state.write_is_unknown


def test_compromised_secret_is_not_restored_when_nothing_authenticates() -> None:
    world = adopted()
    world.provider.fault = "late"
    rotate(world, compromised=True, force=True, trigger=Trigger.COMPROMISED)
    assert [entry.compromised for entry in world.journal.retiring] == [True]
    world.provider.remove("shopkey", world.journal.current_id)
    outcome = world.rotation().run()
    assert outcome.reason == "credentials"
    assert world.published != FIRST


def test_earlier_secret_is_restored_under_the_lease_only() -> None:
    """While this run asks the earlier versions one by one, another takes the account over."""
    world, new = in_overlap()
    world.provider.remove("shopkey", world.journal.current_id)
    rotation = world.rotation(lease=timedelta(minutes=1))
    run_until(rotation, TryEarlier, then_perform=False)
    assert world.journal.holder == rotation.policy.runner
    world.clock.wait(timedelta(minutes=2))
    run_until(world.rotation(), TryEarlier, then_perform=False)
    rotation.perform(TryEarlier())
    assert world.published == new, "stopped past its lease it writes nothing"
    world.clock.wait(timedelta(minutes=3))
    world.rotation().run()
    assert_identified(world)


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


def test_replacement_by_hand_is_identified_when_listed() -> None:
    """The list still shows the old id and not yet the new one; with one listed that would be the published one's."""
    world = answered()
    old = world.journal.current_id
    world.clock.wait(DAY)
    world.provider.listing_lag = timedelta(seconds=20)
    new = world.provider.add("shopkey", "HumanSecret001")
    world.publish("HumanSecret001")
    assert world.rotation().run().result is Result.OK
    world.identify()
    assert world.journal.current_id == new
    assert world.journal.retiring_ids == {old}


def test_unlisted_id_is_reported_and_can_be_corrected() -> None:
    world = answered()
    value = world.published or ""
    new = world.provider.add("shopkey", value)  # a person made the same value anew
    world.provider.remove("shopkey", world.journal.current_id)
    outcome = world.rotation().run()
    assert outcome.reason == "unlisted"
    assert new in (outcome.error or "")
    with pytest.raises(RotatorError, match="does not list its id"):
        Operator(world.rotation()).unknown()
    assert Operator(world.rotation()).adopt(SecretStr(value), new).result is Result.OK
    assert world.journal.current_id == new


def test_edited_field_does_not_change_an_unlisted_id() -> None:
    world = adopted()
    rotate(world)
    current = world.journal.current_id
    world.vault.versions["apps/shop"].append(world.vault.versions["apps/shop"][-1] | {"note": "edited"})
    world.provider.listing_lag = timedelta(minutes=5)
    assert world.rotation().run().reason == "unlisted"
    assert world.journal.current_id == current


def test_run_revokes_only_due_secrets_of_several() -> None:
    world = adopted(max_secrets=3)
    for _ in range(2):
        rotate(world)
        world.clock.wait(timedelta(minutes=40))
    second = next(version["api_secret"] for version in world.vault.versions["apps/shop"][-2:])
    assert world.rotation().run().result is Result.OK
    assert set(world.live.values()) == {second, world.published}


def test_id_of_published_document_is_never_offered() -> None:
    world = answered()
    stray = world.provider.add("shopkey", "HumanSecret001")
    world.vault.versions["apps/shop"][-1]["secret_id"] = stray
    outcome = world.rotation().run()
    assert outcome.reason == "ambiguous"
    assert outcome.next_command == Command.of("adopt", "shop", "--secret-id", world.journal.current_id)
    rotation = Operator(world.rotation())
    with pytest.raises(RotatorError):
        rotation.unknown()
    rotation.resolve(frozenset({stray}))
    assert stray in world.live


def test_expired_lease_of_killed_command_is_removed() -> None:
    world = answered()
    killed = world.rotation()
    killed.state.observe()
    killed.state.write_journal(transitions.claimed(killed.state.situation))
    world.clock.wait(timedelta(minutes=5))
    world.rotation().run()
    assert world.journal.holder is None
    assert world.journal.lease_until is None


# --- adoption beside other runners ---------------------------------------------------------------------------


def adopt_first(world: World, **policy: Any) -> Outcome:
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    return Operator(world.rotation(**policy)).adopt(SecretStr(FIRST), first_id, replace_working=True)


def test_adopt_is_refused_while_another_instance_revokes() -> None:
    world, new = in_overlap()
    runner = world.rotation()
    run_until(runner, Revoke, then_perform=False)
    with pytest.raises(RotatorError, match=r"holds the lease of shop\. Nothing was published"):
        adopt_first(world)
    runner.perform(runner.decide())
    assert world.published == new
    assert world.consumer_works()


def test_adopt_waits_for_lease_then_finds_secret_revoked() -> None:
    world, new = in_overlap()
    runner = world.rotation()
    run_until(runner, Revoke, then_perform=False)
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    rotation = world.rotation(patience=timedelta(minutes=3))

    def waiting(delay: timedelta) -> bool:
        if FIRST in world.live.values():
            runner.perform(runner.decide())
        return world.clock.wait(delay)

    wait_with(rotation, waiting)
    with pytest.raises(RotatorError, match="refuses this secret"):
        Operator(rotation).adopt(SecretStr(FIRST), first_id, replace_working=True)
    assert world.published == new
    assert world.journal.holder is None
    assert world.consumer_works()


def test_adopt_of_due_secret_awaits_revocation_in_progress() -> None:
    world, new = in_overlap()
    runner = world.rotation()
    run_until(runner, Revoke, then_perform=False)
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    world.clock.wait(timedelta(minutes=2))  # the runner died with its request on its way
    rotation = world.rotation()

    def waiting(delay: timedelta) -> bool:
        if world.provider.settle <= delay and FIRST in world.live.values():
            world.provider.remove("shopkey", first_id)  # and now it is carried out
        return world.clock.wait(delay)

    wait_with(rotation, waiting)
    with pytest.raises(RotatorError, match="refuses this secret"):
        Operator(rotation).adopt(SecretStr(FIRST), first_id, replace_working=True)
    assert world.published == new
    assert world.consumer_works()


def test_adopt_of_retiring_secret_awaits_late_revocation() -> None:
    world = adopted()
    rotate(world)
    began = world.clock()
    assert adopt_first(world).result is Result.OK
    assert world.published == FIRST
    assert world.clock() - began >= world.provider.request_timeout + world.provider.settle


def test_adopt_awaits_late_revocation_when_journal_is_lost() -> None:
    """The journal of before might have called the value a retiring secret."""
    world = adopted()
    rotate(world)
    path = world.settings.journal_path(world.account)
    world.vault.deleted.add((path, len(world.vault.versions[path])))
    began = world.clock()
    assert world.rotation().run().reason == "journal_lost"
    adopt_first(world)
    assert world.published == FIRST
    assert world.clock() - began >= world.provider.request_timeout + world.provider.settle


def test_replacement_by_hand_beside_candidate_is_replaced_next() -> None:
    world = adopted()
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    old = next(iter(world.live))
    by_hand = world.provider.add("shopkey", "HumanSecret001")
    Operator(world.rotation(patience=timedelta(minutes=3))).adopt(
        SecretStr("HumanSecret001"), by_hand, replace_working=True
    )
    assert world.consumer_works()
    world.provider.remove("shopkey", old)
    world.clock.wait(timedelta(minutes=5))
    for _ in range(3):
        outcome = rotate(world)
        world.clock.wait(DAY)
    assert outcome.result is Result.OK
    assert by_hand not in world.live


def test_paused_process_publishes_nothing_when_its_lease_expired() -> None:
    world = adopted()
    runner = world.rotation(fresh_after=world.clock())
    run_until(runner, Publish, then_perform=False)
    step = runner.decide()
    world.clock.wait(timedelta(minutes=3))
    runner.perform(step)
    assert world.published == FIRST


@pytest.mark.parametrize("ahead", [365 * DAY, timedelta(hours=20)])
def test_backoff_does_not_depend_on_the_clock_of_the_instance(ahead: timedelta) -> None:
    world = adopted()
    world.ahead = ahead
    world.provider.add("shopkey", "HumanSecret001")
    assert rotate(world).result is Result.FAILED
    world.ahead = timedelta()
    world.provider.remove("shopkey", next(id_ for id_, value in world.live.items() if value == "HumanSecret001"))
    assert world.rotation(explicit=False).run().reason == "backoff"
    world.clock.wait(2 * backoff("shop", 1))
    assert world.rotation(explicit=False).run().result is Result.OK


def test_lease_from_a_vault_whose_clock_was_ahead_ends() -> None:
    world = adopted()
    right = world.vault.clock
    world.vault.clock = lambda: right() + 40 * DAY  # type: ignore[assignment]
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    world.vault.clock = right
    assert world.rotation().run().reason == "leased"
    world.clock.wait(timedelta(minutes=3))
    assert world.rotation().run().published


# --- looking without touching --------------------------------------------------------------------------------


def test_preview_changes_nothing() -> None:
    world = adopted()
    before = {path: len(versions) for path, versions in world.vault.versions.items()}
    previewed = preview(world.rotation(fresh_after=world.clock()))
    assert isinstance(previewed.step, Prepare)
    assert {path: len(versions) for path, versions in world.vault.versions.items()} == before
    assert list(world.live.values()) == [FIRST]


# --- documents -----------------------------------------------------------------------------------------------


def test_unreadable_journal_is_left_unchanged() -> None:
    world = adopted()
    path = world.settings.journal_path(world.account)
    before = len(world.vault.versions[path])
    world.vault.versions[path].append({"retiring": "yes", "attempts": "many", "candidate": 7})
    outcome = rotate(world)
    assert outcome.result is Result.FAILED
    assert "attempts, candidate, retiring" in (outcome.error or "")
    assert len(world.vault.versions[path]) == before + 1
    assert list(world.live.values()) == [FIRST]


def test_unsafe_revocation_of_published_secret_is_refused() -> None:
    world = adopted(grace=timedelta())
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Revoke, then_perform=False)
    with pytest.raises(AssertionError, match="not be safe"):
        rotation.perform(Revoke(world.journal.current_id))
    assert world.consumer_works()


def test_stopped_run_defers_and_begins_nothing() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock())
    wait_with(rotation, lambda delay: True)
    outcome = rotation.run()
    assert outcome.result is Result.DEFERRED
    assert outcome.reason == "stopped"
    assert world.journal.attempts == 0
    assert world.journal.holder is None
    assert list(world.live.values()) == [FIRST]


def test_failure_after_publishing_names_the_change() -> None:
    world = adopted(grace=timedelta(), max_secrets=3)
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Publish, then_perform=False)
    world.provider.add("shopkey", "HumanSecret001")
    outcome = rotation.run()
    assert outcome.published
    assert outcome.reason == "ambiguous"
    assert "the new secret is published and works" in (outcome.error or "")


REFERENCE = "(request id 5f2c1d9e, instance 7b1e)"


@pytest.mark.parametrize("refused", ["published", "create", "revocation"])
def test_failure_names_the_providers_request_id(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """The provider's support asks for it, also where rotator's own words tell the failure."""

    def answer(*_: Any) -> None:
        raise Unauthorized("refused", status=401, request_id="5f2c1d9e", instance="7b1e")

    world = adopted()
    if refused == "published":
        world.provider.on_request = answer
    else:
        operation = "create_secret" if refused == "create" else "revoke_secret"
        monkeypatch.setattr(world.provider, operation, answer)
    outcome = rotate(world, grace=timedelta())
    code = {"published": "credentials"}.get(refused, "unanswered")
    assert (outcome.result, outcome.reason) == (Result.FAILED, code)
    assert f"{REFERENCE}. Nothing was revoked" in (outcome.error or "")
    assert REFERENCE in (world.journal.last_error or "")


# --- rate limits -------------------------------------------------------------------------------------------------


def limit(world: World, retry_after: timedelta | None, *, times: int = 1000) -> None:
    """Have the provider answer 429 to the next requests."""
    left = [times]

    def refuse(_: Credentials) -> None:
        if left[0]:
            left[0] -= 1
            raise RateLimited("slow down", status=429, retry_after=retry_after)

    world.provider.on_request = refuse


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


# --- doubt, requests and waits that have to end ------------------------------------------------------------------


def test_naming_both_ids_ends_the_doubt() -> None:
    world = adopted()
    (own,) = world.live
    stranger = world.provider.add("shopkey", "Stranger0001")
    command = Command.of("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert world.rotation().run().next_command == command
    assert name_id(world, own).next_command == command
    assert not world.journal.unknown_ids
    assert world.journal.current.learned is Learned.PERSON
    adoption = Operator(world.rotation())
    assert adoption.adopt(SecretStr(FIRST), own, retire={stranger}).result is Result.OK
    assert world.journal.retiring_ids == {stranger}


def test_naming_an_answered_id_keeps_it_answered() -> None:
    world = answered()
    (own,) = world.live
    assert name_id(world, own).result is Result.OK
    assert world.journal.current.is_answered


def test_lists_without_new_id_are_repeated_with_pauses() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    assert world.journal.current.is_pending
    world.clock.wait(timedelta(seconds=40))
    world.provider.listing_lag = timedelta(seconds=20)
    rotation = world.rotation(fresh_after=world.clock(), compromised=True)
    waited: list[timedelta] = []

    def wait(delay: timedelta) -> bool:
        waited.append(delay)
        return world.clock.wait(delay)

    wait_with(rotation, wait)
    assert rotation.run().published
    assert all(delay >= timedelta() for delay in waited)
    assert sum(waited, timedelta()) >= timedelta(seconds=20)


@pytest.mark.parametrize("compromised", [False, True])
def test_request_survives_an_edit_of_another_field(compromised: bool) -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    assert world.journal.current.is_pending
    rotation = world.rotation(fresh_after=world.clock() + DAY, compromised=compromised)
    rotation.state.observe()
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"region": "eu"})
    world.rotation().run()
    assert rotation.run().published


def test_request_of_a_version_ends_with_its_secret() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    rotation = world.rotation(fresh_after=world.clock() + DAY)
    rotation.state.observe()
    world.provider.add("shopkey", "ByHand000001")
    world.publish("ByHand000001")
    assert not rotation.run().published
    assert world.published == "ByHand000001"


def test_wrongly_named_id_can_be_named_again() -> None:
    world = World()
    first, second = world.provider.add("shopkey", FIRST), world.provider.add("shopkey", "Second000001")
    Operator(world.rotation()).adopt(SecretStr(FIRST), second)
    with pytest.raises(RotatorError, match="Name its id"):
        Operator(world.rotation()).adopt(SecretStr("Second000001"), None, replace_working=True)
    outcome = Operator(world.rotation()).adopt(SecretStr("Second000001"), second, replace_working=True)
    assert world.published == "Second000001"
    assert world.journal.current_id == second
    assert f"one of these ids is the published secret's: {first}, {second}" in (outcome.error or "")


# --- another account's documents ---------------------------------------------------------------------------------


def of_another_account(world: World, **changes: Any) -> None:
    """Both documents name another account: the key in the configuration was changed."""
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"api_key": "otherkey"})
    published = world.vault.peek("apps/shop")
    known = {"api_key": "otherkey", "published_version": published.version, "published_at": published.created}
    store(world, **(known | changes))


def store(world: World, **changes: Any) -> None:
    """Write the journal with other fields, as another instance does."""
    path = world.settings.journal_path(world.account)
    journal = render_journal(replace(world.journal, **changes))
    world.vault.write(path, journal, cas=world.vault.peek(path).version)


def test_foreign_journal_beside_foreign_document_is_refused() -> None:
    world = answered()
    foreign = Retiring("id-of-other", world.clock())
    of_another_account(world, retiring=(foreign,))
    brought = world.provider.add("shopkey", "Brought00001")
    Operator(world.rotation()).adopt(SecretStr("Brought00001"), brought, replace_foreign="otherkey")
    assert world.published == "Brought00001"
    assert world.journal.api_key == "shopkey"
    assert world.journal.current_id == brought
    assert not world.journal.retiring


@pytest.mark.parametrize("unfinished", ["candidate", "lease", "publishing"])
def test_foreign_journal_of_unfinished_rotation_is_not_replaced(unfinished: str) -> None:
    world = answered()
    changes: dict[str, dict[str, Any]] = {
        "candidate": {"candidate": SecretStr("OtherCandidate1"), "rotation_id": "other"},
        "lease": {"holder": "other", "lease_until": world.clock() + timedelta(minutes=1)},
        "publishing": {"publishing": Publishing(3)},
    }
    of_another_account(world, **changes[unfinished])
    world.provider.add("shopkey", "Brought00001")
    before = world.journal
    with pytest.raises(RotatorError, match="not finished"):
        Operator(world.rotation()).adopt(SecretStr("Brought00001"), "id-003", replace_foreign="otherkey")
    assert world.journal == before
    assert world.published != "Brought00001"


def test_adopt_replaces_named_foreign_account_only() -> None:
    world = answered()
    of_another_account(world, api_key="thirdkey")
    world.provider.add("shopkey", "Brought00001")
    for named in ("otherkey", "thirdkey"):
        with pytest.raises(RotatorError, match="belongs to the account"):
            Operator(world.rotation()).adopt(SecretStr("Brought00001"), "id-003", replace_foreign=named)
    assert world.journal.api_key == "thirdkey"


def test_foreign_journal_changed_during_adoption_is_read_again() -> None:
    world = answered()
    of_another_account(world)
    brought = world.provider.add("shopkey", "Brought00001")
    operator = Operator(world.rotation())
    writes: list[str] = []
    write = world.vault.write

    def interrupted(path: str, data: Any, cas: int) -> int:
        writes.append(path)
        if len(writes) == 1:
            world.vault.write = write  # type: ignore[method-assign]
            store(world, candidate=SecretStr("OtherCandidate1"), rotation_id="other")
        return write(path, data, cas)

    world.vault.write = interrupted  # type: ignore[method-assign]
    with pytest.raises(RotatorError, match="not finished"):
        operator.adopt(SecretStr("Brought00001"), brought, replace_foreign="otherkey")
    assert world.journal.api_key == "otherkey"


def test_request_in_foreign_journal_is_not_withdrawn() -> None:
    world = answered()
    request = Request(RequestKind.COMPROMISED, Target(id="id-of-other"), world.clock(), "somebody", "request")
    of_another_account(world, request=request)
    with pytest.raises(RotatorError, match="belongs to the account otherkey"):
        Operator(world.rotation()).cancel()
    assert world.journal.request == request


# --- documents that were deleted, numbers that come again, clocks ------------------------------------------------


def written_again_by_hand(world: World, value: str) -> None:
    """The published document is deleted with its history; another value gets the number of the recorded version."""
    number = world.journal.published_version
    world.vault.versions["apps/shop"] = [{"api_key": "shopkey", "api_secret": value} for _ in range(number)]
    world.clock.wait(timedelta(minutes=1))


def test_rewritten_version_with_recorded_number_has_no_id() -> None:
    world = answered()
    store(world, publishing=Publishing(world.journal.published_version))
    own = world.provider.add("shopkey", "ByHand000001")
    written_again_by_hand(world, "ByHand000001")
    outcome = world.rotation().run()
    assert world.journal.publishing is None
    assert outcome.next_command == Command.of("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert own not in world.journal.unknown_ids
    name_id(world, own)
    assert world.journal.current_id == own


def test_mark_ends_after_document_was_deleted_with_history() -> None:
    world = answered()
    store(world, publishing=Publishing(world.journal.published_version + 7))
    assert world.rotation().run().result is Result.OK
    assert world.journal.publishing is None
    assert wake_at(world.journal, world.provider.settle, world.clock()) is None
    assert world.consumer_works()


def test_clock_ahead_rewrites_no_document_too_early() -> None:
    world = answered()
    world.ahead = timedelta(hours=2)
    peek = world.vault.peek

    def expiring(path: str, version: int | None = None) -> Document:
        document = peek(path, version)
        expires_at = document.created + timedelta(hours=6) if document.created else None
        return replace(document, expires_at=expires_at)

    world.vault.peek = expiring  # type: ignore[method-assign]
    before = {path: len(versions) for path, versions in world.vault.versions.items()}
    assert world.rotation().run().result is Result.OK
    assert {path: len(versions) for path, versions in world.vault.versions.items()} == before


def test_clock_ahead_counts_no_list_too_early() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.clock.wait(DAY)
    world.rotation().run()
    assert world.journal.current.is_pending
    world.clock.wait(timedelta(seconds=3))
    world.ahead = timedelta(hours=2)
    rotation = world.rotation(fresh_after=world.clock() + DAY, compromised=True)
    run_until(rotation, Event.REQUESTED, then_perform=True)
    run_until_next(rotation)
    assert world.journal.current.looks == 0


def run_until_next(rotation: Rotation) -> None:
    """Go on up to the first step that changes something at the provider, or to the end."""
    for _ in range(20):
        step = rotation.decide()
        if isinstance(step, Create | Revoke | Rest):
            return
        rotation.perform(step)


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


def interrupted_return_of_a_compromised_secret() -> World:
    """A person publishes a compromised secret again, with --replace, and the process dies before it is published."""
    world = adopted()
    (leaked,) = world.live
    world.provider.listing_lag = timedelta(days=1)  # nothing is revoked meanwhile
    rotate(world, compromised=True)
    world.provider.listing_lag = timedelta()
    write = world.vault.write

    def dies(path: str, data: Any, cas: int) -> int:
        if path == "apps/shop":
            raise KeyboardInterrupt
        return write(path, data, cas)

    world.vault.write = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        Operator(world.rotation()).adopt(SecretStr(FIRST), leaked, replace_working=True)
    world.vault.write = write  # type: ignore[method-assign]
    assert world.journal.publishing.entry.id == leaked
    world.clock.wait(timedelta(minutes=10))
    return world


def test_compromised_secret_in_a_mark_is_not_adopted() -> None:
    world = interrupted_return_of_a_compromised_secret()
    own = next(id_ for id_, value in world.live.items() if value == FIRST)
    with pytest.raises(RotatorError, match="might be compromised"):
        Operator(world.rotation()).adopt(SecretStr(FIRST), own)
    assert world.published != FIRST


def test_wrong_id_does_not_clear_a_compromised_secret() -> None:
    world = interrupted_return_of_a_compromised_secret()
    wrong = world.provider.add("shopkey", "Stranger000001")
    with pytest.raises(RotatorError, match="might be compromised"):
        Operator(world.rotation()).adopt(SecretStr(FIRST), wrong)
    assert world.published != FIRST


def test_compromised_secret_in_a_mark_is_not_restored() -> None:
    world = interrupted_return_of_a_compromised_secret()
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))
    world.rotation().run()
    assert world.published != FIRST


def test_restored_version_does_not_get_an_edits_id() -> None:
    world = answered(max_secrets=3)
    (left,) = world.live
    by_hand = world.provider.add("shopkey", "ByHand000001")
    world.publish("ByHand000001")
    world.identify()
    assert world.journal.current_id == by_hand
    rotate(world)
    assert len(world.live) == 3
    world.provider.remove("shopkey", world.journal.current_id)
    rotate(world, fresh_after=None)
    assert world.published == "ByHand000001"
    for _ in range(6):
        world.clock.wait(timedelta(hours=4))
        world.rotation().run()
        assert world.consumer_works()
    assert left not in (world.journal.current_id, world.vault.versions["apps/shop"][-1]["secret_id"])


def test_adoption_leaves_an_edits_id_to_previous_value() -> None:
    world = answered()
    ((own, value),) = world.live.items()
    world.provider.add("shopkey", "ByHand000001")
    world.publish("ByHand000001")
    world.identify()
    assert own in world.journal.retiring_ids
    Operator(world.rotation()).adopt(SecretStr(value), own, replace_working=True)
    assert world.published == value
    for _ in range(6):
        world.clock.wait(timedelta(minutes=40))
        world.rotation().run()
        assert world.consumer_works()
    assert world.journal.current_id == own


def test_adoption_without_id_takes_no_other_values_id() -> None:
    world = answered()
    ((_, value),) = world.live.items()
    world.provider.add("shopkey", "ByHand000001")
    world.publish("ByHand000001")
    world.identify()
    with pytest.raises(RotatorError, match="Name its id"):
        Operator(world.rotation()).adopt(SecretStr(value), None, replace_working=True)
    for _ in range(6):
        world.clock.wait(timedelta(minutes=40))
        world.rotation().run()
        assert world.consumer_works()


def test_unknown_secret_named_by_edit_can_be_resolved() -> None:
    world = adopted()
    (left,) = world.live
    world.publish(FIRST, secret_id=left)
    own = world.provider.add("shopkey", "ByHand000001")
    world.rotation().run()
    world.publish("ByHand000001")
    naming = Command.of("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert world.rotation().run().next_command == naming
    assert name_id(world, own).reason == "ambiguous"
    Operator(world.rotation()).adopt(SecretStr("ByHand000001"), own, retire={left})
    assert_settled(world, world.rotation(patience=DAY).run())
    assert world.vault.versions["apps/shop"][-1]["secret_id"] == own


def test_urgent_request_does_not_wait_for_older_backoff() -> None:
    world = answered()
    hour = world.clock() + timedelta(hours=1)
    store(world, attempts=9, next_attempt_at=hour, last_error="it failed", failure="unanswered")
    run_until(world.rotation(fresh_after=world.clock(), compromised=True), Event.REQUESTED, then_perform=True)
    assert world.journal.next_attempt_at <= world.clock() + timedelta(seconds=30)
    world.clock.wait(timedelta(seconds=31))
    assert world.rotation(explicit=False).run().published


def test_urgent_request_does_not_shorten_a_rate_limit() -> None:
    world = answered()
    until = world.clock() + timedelta(minutes=15)
    for waits in ({"attempts": 1, "failure": "unprovisioned"}, {"attempts": 0}):
        store(world, next_attempt_at=until, request=None, **waits)
        run_until(world.rotation(fresh_after=world.clock(), compromised=True), Event.REQUESTED, then_perform=True)
        assert world.journal.next_attempt_at == until


def test_compromised_request_after_publish_concerns_previous_secret() -> None:
    world = adopted(max_secrets=3, grace=DAY)
    run_until(world.rotation(fresh_after=world.clock()), Publish, then_perform=True)
    world.clock.wait(timedelta(minutes=3))
    rotate(world, compromised=True, fresh_after=world.clock() + DAY)
    for _ in range(4):
        world.clock.wait(timedelta(minutes=1))
        world.rotation().run()
    assert list(world.live.values()) == [world.published]


def test_compromised_secret_without_entry_is_not_restored() -> None:
    world = World(max_secrets=4)
    leaked = world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    rotate(world, compromised=True, fresh_after=world.clock() + DAY)
    stranger = world.provider.add("shopkey", "Stranger00001")
    world.clock.wait(timedelta(minutes=1))
    world.rotation().run()
    assert world.journal.unknown_ids == {leaked, stranger}
    world.provider.remove("shopkey", world.journal.current_id)
    world.rotation().run()
    assert world.published != FIRST


def test_id_is_eliminated_beside_an_unknown_one() -> None:
    world = World(max_secrets=4)
    own = world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    added = world.provider.add("shopkey", "ByHand000001")
    store(world, current=replace(world.journal.current, foreign_ids=frozenset({added})))
    for _ in range(4):
        world.clock.wait(timedelta(minutes=5))
        assert world.rotation().run().next_command == Command.of("resolve", "shop")
    assert world.journal.current_id == own


def test_retiring_by_hand_respects_another_instances_lease() -> None:
    world = answered(max_secrets=3)
    (own,) = world.live
    extra = world.provider.add("shopkey", "ByHand000001")
    rotation = world.rotation()
    run, until = rotation.run, world.clock() + timedelta(minutes=2)

    def after_another_one_began() -> Outcome:
        store(world, holder="other", lease_until=until, candidate=SecretStr("Candidate00001"), rotation_id="other")
        return run()

    rotation.run = after_another_one_began  # type: ignore[method-assign]
    with pytest.raises(RotatorError, match="other holds the lease"):
        Operator(rotation).adopt(SecretStr(world.published or ""), own, retire={extra})
    assert (world.journal.holder, world.journal.lease_until) == ("other", until)
    assert not world.journal.retiring
