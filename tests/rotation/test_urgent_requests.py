"""Urgent requests beside pending ids: no run delays the lists that make the ids certain."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.core.protocol import Command, Create, Event, Publish, Request, RequestKind, Target, transitions, wake_at
from rotator.core.protocol.requests import URGENT_BACKOFF, URGENT_REFUSALS
from rotator.provider import Credentials, LostAnswer, RateLimited, SecretInfo, Unauthorized
from rotator.rotation import Operator, Outcome, Result, Rotation
from rotator.rotation.interfaces import Waiter
from testkit.model import World
from tests.rotation.worlds import FIRST, MOMENT, answered, rotate, run_until, store
from tests.system.advice import Reader


def lost_answer(world: World, **policy: object) -> World:
    """Rotate; the answer to the create is lost, so the new id is pending."""
    world.provider.fault = "lost-after"
    assert world.rotation(fresh_after=world.clock() + MOMENT, **policy).run().published
    assert world.journal.current.is_pending
    return world


def eliminated(window: timedelta) -> World:
    """Return a world whose published secret's id was eliminated, so that it becomes pending when replaced."""
    world = World(grace=timedelta(days=1))
    world.provider.settle = window
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    for _ in range(5):
        world.rotation().run()
        world.clock.wait(window)
    return world


def run_when_due(world: World, within: timedelta, **policy: object) -> None:
    """Run as often as a daemon does, until no request is left or the time is over."""
    until = world.clock() + within
    while world.journal.request is not None and world.clock() < until:
        journal = world.journal
        wished = wake_at(journal, world.provider.settle, world.clock()) or world.clock()
        due = max(wished, journal.next_attempt_at or wished, world.clock() + timedelta(seconds=1))
        world.clock.now = due
        outcome = world.rotation(explicit=False, **policy).run()
        if outcome.until is not None and outcome.until > world.clock():
            world.clock.now = outcome.until


@pytest.mark.parametrize("seconds", [30, 60])
def test_compromised_secret_is_replaced_after_lost_answer(seconds: int) -> None:
    """Each run of a full account wrote its journal, and each write delayed the next list that counts."""
    window = timedelta(seconds=seconds)
    world = lost_answer(eliminated(window))
    leaked = world.published
    world.clock.wait(timedelta(seconds=5))
    outcome = world.rotation(fresh_after=world.clock() + MOMENT, compromised=True).run()
    assert (outcome.reason, world.published) == ("full", leaked)
    run_when_due(world, 6 * window)
    assert world.journal.request is None
    assert leaked not in world.live.values()


@pytest.mark.parametrize("seconds", [30, 45, 60])
def test_compromised_secret_is_replaced_after_refused_creates(seconds: int) -> None:
    """The provider allows fewer secrets than max_secrets; each failure's write delayed the next list that counts."""
    window = timedelta(seconds=seconds)
    world = answered()
    world.provider.settle = window
    lost_answer(world, max_secrets=3)
    leaked = world.published
    outcome = world.rotation(fresh_after=world.clock() + MOMENT, compromised=True, max_secrets=3).run()
    assert outcome.reason == "full"
    run_when_due(world, 8 * window, max_secrets=3)
    assert world.journal.request is None
    assert leaked not in world.live.values()


class KilledError(BaseException):
    """The process dies here."""


def die(_: timedelta) -> bool:
    raise KilledError


@pytest.mark.parametrize("kind", ["force", "compromised"])
def test_urgent_request_outlives_command_killed_while_waiting(kind: str) -> None:
    world = lost_answer(eliminated(timedelta(seconds=30)))
    replaced = world.published
    rotation = world.rotation(fresh_after=world.clock() + MOMENT, patience=timedelta(minutes=4), **{kind: True})
    rotation.waiting.wait = die
    with pytest.raises(KilledError):
        rotation.run()
    assert world.journal.request.kind == kind
    run_when_due(world, timedelta(minutes=3))
    assert world.journal.request is None
    assert world.published != replaced


def test_force_request_stays_when_account_is_full() -> None:
    world = lost_answer(eliminated(timedelta(seconds=60)))
    outcome = world.rotation(fresh_after=world.clock() + MOMENT, force=True).run()
    assert outcome.reason == "full"
    assert world.journal.request.kind == "force"
    assert outcome.next_command is not None
    assert Reader(world).run(*outcome.next_command.args).ok


def beside_a_candidate() -> World:
    """Return a full account whose candidate has no room, because the id of the secret to be revoked is pending."""
    world = lost_answer(eliminated(timedelta(seconds=30)))
    world.provider.listing_lag = timedelta(seconds=20)  # the list has room, the account has none
    outcome = world.rotation(fresh_after=world.clock() + MOMENT, compromised=True).run()
    assert outcome.reason == "full"
    assert world.journal.candidate is not None
    world.provider.listing_lag = timedelta()
    return world


@pytest.mark.parametrize("kind", ["force", "compromised"])
def test_command_waits_for_the_id_that_makes_room(kind: str) -> None:
    """The provider allows fewer secrets than `max_secrets`. The command was refused each time, and named itself."""
    world = lost_answer(eliminated(timedelta(seconds=30)), max_secrets=3)
    first = world.published
    refused = world.rotation(fresh_after=world.clock() + MOMENT, max_secrets=3).run()
    assert (refused.reason, refused.next_command) == ("refused", Command.of("rotate-now", "shop", "--force"))
    early = world.rotation(fresh_after=world.clock() + MOMENT, max_secrets=3, **{kind: True}).run()
    assert (early.result, early.reason) == (Result.DEFERRED, "full")
    patience = timedelta(minutes=5)
    outcome = world.rotation(fresh_after=world.clock() + MOMENT, max_secrets=3, patience=patience, **{kind: True}).run()
    assert outcome.result is Result.OK
    assert world.published != first
    assert FIRST not in world.live.values()


def test_compromised_secret_is_revoked_soon_beside_weaker_request() -> None:
    """A weaker request takes the place of the one that replaced it. The retry does not wait for the backoff."""
    world = answered()
    leaked = world.published
    unanswered = LostAnswer("no answer")

    def silent(auth: Credentials, api_key: str, secret_id: str) -> str:
        del auth, api_key, secret_id
        raise unanswered

    world.provider.revoke_secret = silent  # type: ignore[method-assign]
    world.rotation(fresh_after=world.clock() + MOMENT, compromised=True).run()
    for _ in range(4):
        world.clock.wait(timedelta(seconds=1))
        world.rotation(fresh_after=world.clock() + MOMENT).run()
        assert world.journal.next_attempt_at - world.clock() <= URGENT_BACKOFF
    assert world.journal.request.kind is RequestKind.MANUAL
    assert leaked in world.live.values()


def test_candidate_without_room_is_published_after_eliminations() -> None:
    world = beside_a_candidate()
    leaked = world.published
    run_when_due(world, timedelta(minutes=4))
    assert world.journal.request is None
    assert leaked not in world.live.values()


def test_command_publishes_candidate_after_eliminations() -> None:
    world = beside_a_candidate()
    world.rotation(fresh_after=world.clock() + MOMENT, force=True, patience=timedelta(minutes=5)).run()
    assert world.journal.candidate is None
    assert len(world.live) == 1


def test_urgent_request_is_retried_soon_after_many_refusals() -> None:
    """Refusals from before the request say nothing about how long it may be retried."""
    world = answered()

    def refuse(_: Credentials) -> None:
        raise Unauthorized("refused", status=401)

    world.provider.on_request = refuse
    for _ in range(URGENT_REFUSALS + 2):
        world.rotation().run()
    assert world.journal.attempts > URGENT_REFUSALS
    world.rotation(fresh_after=world.clock() + MOMENT, compromised=True).run()
    assert world.journal.next_attempt_at - world.clock() <= URGENT_BACKOFF


def too_late(world: World, leaked_id: str | None) -> Request:
    """Return the request of a command for a secret that was replaced before the command read the account."""
    return Request(RequestKind.COMPROMISED, Target(id=leaked_id), world.clock(), "somebody", "request-late")


def replaced_long_ago() -> tuple[World, str]:
    """Return a world whose first secret is gone, with its id; the second one did not leak."""
    world = World(grace=timedelta(hours=6))
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.identify()
    leaked_id = world.journal.current_id
    assert leaked_id is not None
    rotate(world)
    world.clock.wait(timedelta(hours=7))
    world.rotation().run()
    return world, leaked_id


def assert_grace_is_kept(world: World, outcome: Outcome, secret_id: str) -> None:
    [entry] = world.journal.retiring
    assert (entry.id, entry.compromised, outcome.revoked) == (secret_id, False, ())
    assert entry.not_before > world.clock()
    assert world.journal.request is None


def test_late_compromised_request_spares_the_candidates_predecessor() -> None:
    """The run finds nothing to revoke and publishes a waiting candidate. The secret that this replaces did not leak."""
    world, leaked_id = replaced_long_ago()
    second = world.journal.current_id
    world.provider.propagation = timedelta(seconds=40)
    world.rotation(fresh_after=world.clock()).run()
    assert world.journal.candidate is not None
    world.clock.wait(timedelta(seconds=45))
    outcome = world.rotation(asked=too_late(world, leaked_id)).run()
    assert outcome.published
    assert_grace_is_kept(world, outcome, second)


def test_late_compromised_request_spares_what_another_instance_replaces() -> None:
    """The command waits for a lease. Its holder replaces a secret that did not leak."""
    world, leaked_id = replaced_long_ago()
    second = world.journal.current_id
    holder = world.rotation(fresh_after=world.clock())
    run_until(holder, Create, then_perform=False)
    command = world.rotation(asked=too_late(world, leaked_id), patience=timedelta(minutes=3))
    command.waiting.wait = interrupted_once(world, holder)
    outcome = command.run()
    assert not outcome.published
    assert_grace_is_kept(world, outcome, second)


def interrupted_once(world: World, other: Rotation) -> Waiter:
    """Return the waiter of a run during whose first wait another run ends."""
    left = [other]

    def wait(delay: timedelta) -> bool:
        if left:
            left.pop().run()
        return world.clock.wait(delay)

    return wait


def test_circuit_breaker_withdraws_no_manual_request() -> None:
    """No grace period is in the way: a daemon may revoke nothing while its circuit breaker is open."""
    world = answered()
    rotate(world)
    world.clock.wait(timedelta(minutes=61))
    replaced = world.published
    outcome = world.rotation(fresh_after=world.clock(), revoke=False).run()
    assert outcome.reason == "full"
    assert world.journal.request.kind is RequestKind.MANUAL
    assert world.rotation(explicit=False).run().published
    assert world.published != replaced


def test_grace_period_withdraws_a_manual_request() -> None:
    world = answered()
    rotate(world)
    world.clock.wait(timedelta(minutes=1))
    rest = world.rotation(fresh_after=world.clock()).run()
    assert (rest.reason, world.journal.request) == ("full", None)


def test_lagging_list_withdraws_no_manual_request() -> None:
    """The list shows a revoked id for a moment: the account has room."""
    world = answered()
    world.provider.settle = timedelta(minutes=3)
    world.rotation(fresh_after=world.clock(), compromised=True).run()
    world.clock.wait(timedelta(seconds=2))
    revoked = world.journal.gone[-1]
    replaced = world.published
    list_secrets = world.provider.list_secrets
    shown_until = world.clock() + timedelta(minutes=1)

    def lagging(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos = list_secrets(auth, api_key)
        return (*infos, SecretInfo(revoked.id, revoked.at)) if world.clock() < shown_until else infos

    world.provider.list_secrets = lagging  # type: ignore[method-assign]
    outcome = world.rotation(fresh_after=world.clock()).run()
    assert outcome.reason == "full"
    assert world.journal.request.kind is RequestKind.MANUAL
    world.clock.now = shown_until
    assert world.rotation(explicit=False).run().published
    assert world.published != replaced


def while_leased(world: World, event: Callable[[World], object], **kind: bool) -> Outcome:
    """Return how a command ends that records its request under a lease; something happens before the lease ends."""
    holder = world.rotation(explicit=False)
    holder.state.observe()
    holder.state.write_journal(transitions.claimed(holder.state.situation))
    command = world.rotation(fresh_after=world.clock() + MOMENT, patience=timedelta(minutes=3), **kind)
    wait = command.waiting.wait
    events = [event]

    def waits(delay: timedelta) -> bool:
        if events:
            assert world.journal.request is not None
            events.pop()(world)
            holder.run()
        return wait(delay)

    command.waiting.wait = waits
    return command.run()


def test_request_that_lease_holder_withdraws_is_deferred() -> None:
    """The account is full until a grace period ends: the holder withdraws the request, the command says so."""
    world = answered()
    rotate(world)
    world.clock.wait(timedelta(minutes=1))
    outcome = while_leased(world, lambda _: None)
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "withdrawn")
    assert outcome.next_command is not None
    assert outcome.next_command.args == ("rotate-now", "shop")


@pytest.mark.parametrize("kind", ["force", "compromised"])
def test_request_that_person_cancels_is_deferred(kind: str) -> None:
    world = answered()
    replaced = world.published
    outcome = while_leased(world, lambda world: Operator(world.rotation()).cancel(), **{kind: True})
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "withdrawn")
    assert outcome.next_command is not None
    assert outcome.next_command.args == ("rotate-now", "shop", f"--{kind}")
    assert world.published == replaced


@pytest.mark.parametrize("kind", [{}, {"force": True}, {"compromised": True}], ids=["manual", "force", "compromised"])
def test_request_that_lease_holder_carries_out_is_done(kind: dict[str, bool]) -> None:
    world = answered()
    replaced = world.published
    outcome = while_leased(world, lambda _: None, **kind)
    assert outcome.result is Result.OK
    assert world.published != replaced


@pytest.mark.parametrize("published", [False, True], ids=["waits", "published"])
def test_cancelled_compromised_request_keeps_the_grace_period(published: bool) -> None:
    """The candidate waits, or is published and not recorded: the rotation goes on, and nothing is revoked at once."""
    world = answered()
    previous = world.journal.current_id
    rotation = world.rotation(fresh_after=world.clock(), compromised=True)
    run_until(rotation, Publish, then_perform=published)
    request = Operator(world.rotation()).cancel()
    assert request is not None
    assert request.kind is RequestKind.COMPROMISED
    world.clock.wait(timedelta(minutes=5))
    outcome = world.rotation(explicit=False).run()
    [entry] = world.journal.retiring
    assert (entry.id, entry.compromised, outcome.revoked) == (previous, False, ())
    assert entry.not_before == world.clock() + world.grace


def test_secret_published_by_hand_keeps_grace_from_candidate() -> None:
    """A compromised secret's candidate waits, and a person replaces the secret by hand: theirs has not leaked."""
    world = answered()
    leaked = world.journal.current_id
    rotation = world.rotation(fresh_after=world.clock() + MOMENT, compromised=True)
    run_until(rotation, Create, then_perform=False)
    own = world.provider.add("shopkey", "HumanSecret001")
    world.publish("HumanSecret001")
    for _ in range(30):
        world.clock.wait(timedelta(minutes=2))
        world.rotation(explicit=False).run()
    assert world.journal.candidate is None
    assert leaked not in world.live
    assert world.published != "HumanSecret001"
    assert world.live[own] == "HumanSecret001"
    assert [(entry.id, entry.compromised) for entry in world.journal.retiring] == [(own, False)]


def test_cancelled_compromised_request_gives_grace_back() -> None:
    """The report was wrong, and the provider had not answered yet: nothing was revoked."""
    world = answered()
    rotate(world)
    [before] = world.journal.retiring
    rotation = world.rotation(fresh_after=world.clock() + MOMENT, compromised=True)
    run_until(rotation, Event.REQUESTED, then_perform=True)
    [due] = world.journal.retiring
    assert (due.compromised, due.not_before) == (True, world.clock())
    Operator(world.rotation()).cancel()
    outcome = world.rotation(explicit=False).run()
    assert (world.journal.retiring, outcome.revoked) == ((before,), ())
    assert before.id in world.live


def test_cancel_spares_replaced_secret_until_its_grace_ends() -> None:
    """The secret was replaced, and the provider was unavailable when it was to be revoked."""
    world = answered()
    previous = world.journal.current_id
    rotation = world.rotation(fresh_after=world.clock() + MOMENT, compromised=True)
    run_until(rotation, Event.COMMITTED, then_perform=True)
    replaced_at = world.clock()
    Operator(world.rotation()).cancel()
    world.clock.wait(timedelta(minutes=5))
    outcome = world.rotation(explicit=False).run()
    [entry] = world.journal.retiring
    assert (entry.id, entry.compromised, outcome.revoked) == (previous, False, ())
    assert entry.not_before == replaced_at + world.grace
    world.clock.now = entry.not_before
    assert world.rotation(explicit=False).run().revoked == (previous,)


@pytest.mark.parametrize("kind", ["force", "compromised"])
def test_urgent_request_keeps_rate_limit_after_failures(kind: str) -> None:
    """The provider says when it accepts requests again: that is no backoff."""
    world = answered()
    answers: list[Exception] = [LostAnswer("no answer")]

    def answer(_: Credentials) -> None:
        raise answers[0]

    world.provider.on_request = answer
    assert world.rotation().run().reason == "answer_lost"
    answers[0] = RateLimited("429", status=429, retry_after=timedelta(hours=2))
    until = world.clock() + timedelta(hours=2)
    assert world.rotation().run().reason == "rate_limited"
    world.clock.wait(timedelta(minutes=1))
    run_until(world.rotation(fresh_after=world.clock(), **{kind: True}), Event.REQUESTED, then_perform=True)
    assert world.journal.next_attempt_at == until
    rest = world.rotation(explicit=False).run()
    assert (rest.reason, rest.until) == ("rate_limited", until)
    world.provider.on_request = lambda _: None
    world.clock.now = until
    assert world.rotation(explicit=False).run().published


@pytest.mark.parametrize("kind", ["force", "compromised"])
def test_run_for_other_work_carries_out_no_request(kind: str) -> None:
    """The circuit breaker holds the request back, and a document expires: the run neither rotates nor makes room."""
    world = answered()
    rotate(world)
    world.clock.wait(timedelta(minutes=1))
    published = world.published
    run_until(world.rotation(fresh_after=world.clock(), **{kind: True}), Event.REQUESTED, then_perform=True)
    outcome = world.rotation(explicit=False, begins=False).run()
    assert (outcome.result, world.published) == (Result.OK, published)
    assert len(world.live) == (1 if kind == "compromised" else 2)
    assert world.journal.request.kind == kind
    assert world.rotation(explicit=False).run().published


def test_run_for_other_work_continues_a_rotation() -> None:
    """It makes room for the candidate that waits, too: a forced rotation has begun."""
    world = answered()
    world.provider.propagation = timedelta(seconds=20)
    replaced = world.published
    world.rotation(fresh_after=world.clock(), force=True).run()
    assert world.journal.candidate is not None
    world.clock.wait(timedelta(minutes=1))
    assert world.rotation(explicit=False, begins=False).run().published
    assert world.published != replaced
    assert world.journal.request is None


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
