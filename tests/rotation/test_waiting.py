"""Waits of a run: each is logged once, with its reason and its end."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.documents import format_instant
from rotator.provider import Balance, Credentials, LostAnswer, Unauthorized
from rotator.rotation import Operator, Result, Rotation
from testkit.model import World
from tests.rotation.worlds import FIRST, adopted, in_overlap, leased, limit, rotate, store

WINDOW = timedelta(seconds=30)


class Log:
    """Remembers the events of a run."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def bind(self, **_: Any) -> "Log":
        return self

    def info(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    warning = error = info

    def debug(self, event: str, **fields: Any) -> None:
        """What is logged at this level is shown on request only."""

    @property
    def waits(self) -> list[tuple[str, str]]:
        return [(one["reason"], one["until"]) for one in self.events if one["event"].endswith(".waiting")]


def logged(rotation: Rotation) -> Log:
    rotation.state.log = log = Log()
    return log


def refusing(world: World, value: str, lasts: timedelta) -> Callable[[Credentials], None]:
    """Have the provider refuse a valid secret for a while."""
    until = world.clock() + lasts

    def refuse(auth: Credentials) -> None:
        if auth.api_secret.get_secret_value() == value and world.clock() < until:
            raise Unauthorized("refused for a while", status=401)

    return refuse


def test_refused_published_secret_is_one_wait() -> None:
    world, new = in_overlap()
    world.provider.on_request = refusing(world, new, timedelta(seconds=20))
    began, rotation = world.clock(), world.rotation()
    log = logged(rotation)
    assert rotation.run().result is Result.OK
    assert log.waits == [("published", format_instant(began + WINDOW))]
    assert [one["event"] for one in log.events].count("provider.refused") == 1


def test_new_secret_is_one_wait_for_each_run() -> None:
    world = adopted()
    world.clock.wait(timedelta(minutes=4))
    world.provider.propagation = timedelta(minutes=3)
    began, rotation = world.clock(), world.rotation(fresh_after=world.clock())
    log = logged(rotation)
    outcome = rotation.run()
    assert outcome.reason == "verifying"
    assert log.waits[0] == ("candidate", format_instant(began + rotation.policy.verify_timeout))
    assert outcome.until is not None
    assert log.waits[1:] == [("verifying", format_instant(outcome.until))]


def test_missing_id_is_one_wait() -> None:
    world = adopted()
    rotate(world)
    world.vault.versions["apps/shop"].append(world.vault.versions["apps/shop"][-1] | {"note": "edited"})
    world.provider.listing_lag = timedelta(minutes=5)
    began, rotation = world.clock(), world.rotation()
    log = logged(rotation)
    assert rotation.run().reason == "unlisted"
    assert log.waits == [("listed", format_instant(began + WINDOW))]


def test_lease_is_one_wait_with_its_holder() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock(), patience=timedelta(minutes=3))
    until = world.clock() + timedelta(minutes=2)
    rotation.waiting.wait = leased(world, lasts=timedelta(minutes=2), released_after=timedelta(seconds=20))
    log = logged(rotation)
    assert rotation.run().published
    assert log.waits[0] == ("leased", format_instant(until))
    assert next(one["detail"] for one in log.events if "detail" in one) == "other holds the lease"


def set_back(world: World, rotation: Rotation, *, at_wait: int) -> None:
    """Set the clock of the run's machine back by an hour during one of its waits."""
    wait = rotation.waiting.wait
    waits: list[timedelta] = []

    def waiting(delay: timedelta) -> bool:
        waits.append(delay)
        if len(waits) == at_wait:
            world.ahead -= timedelta(hours=1)
        assert len(waits) < 100, "it waits for as much longer"
        return wait(delay)

    rotation.waiting.wait = waiting


@pytest.mark.parametrize(
    ("lasts", "reason"), [(timedelta(minutes=2), "grace"), (timedelta(minutes=30), "leased")], ids=["lease", "patience"]
)
def test_clock_set_back_lengthens_no_lease(lasts: timedelta, reason: str) -> None:
    world = adopted()
    store(world, lease_holder="dead", lease_until=world.clock() + lasts)
    patience = timedelta(minutes=5)
    rotation = world.rotation(fresh_after=world.clock(), patience=patience, lease=timedelta(minutes=30))
    began = world.clock()
    set_back(world, rotation, at_wait=3)
    assert rotation.run().reason == reason
    assert world.clock() - began < min(lasts, patience) + timedelta(seconds=10)


def test_clock_set_back_lengthens_no_deferral() -> None:
    """The grace period ends within the command's patience by the clock that it began with."""
    world = adopted(grace=timedelta(minutes=4))
    rotate(world)
    patience = timedelta(minutes=5)
    began, rotation = world.clock(), world.rotation(fresh_after=world.clock(), patience=patience)
    set_back(world, rotation, at_wait=1)
    rotation.run()
    assert world.clock() - began < patience + timedelta(seconds=10)


def test_clock_set_back_lengthens_no_refusal() -> None:
    world, new = in_overlap()
    world.provider.on_request = refusing(world, new, timedelta(minutes=5))
    began, rotation = world.clock(), world.rotation()
    set_back(world, rotation, at_wait=3)
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    Operator(rotation).adopt(SecretStr(FIRST), first_id)
    assert world.clock() - began < 4 * WINDOW


def test_rate_limit_is_one_wait() -> None:
    world = adopted()
    limit(world, timedelta(seconds=3), times=1)
    until, rotation = world.clock() + timedelta(seconds=3), world.rotation(fresh_after=world.clock())
    log = logged(rotation)
    assert rotation.run().published
    assert log.waits[0] == ("rate_limited", format_instant(until))


def test_due_revocation_waits_for_a_look() -> None:
    world = World()
    world.provider.settle = timedelta(seconds=6)
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    rotate(world, compromised=True)
    [entry] = world.journal.retiring
    next_look = entry.identity.next_look
    world.clock.now = next_look - timedelta(seconds=3)
    rotation = world.rotation()
    log = logged(rotation)
    rotation.run()
    assert log.waits[0] == ("look", format_instant(next_look))


def test_adoption_waits_for_a_refused_secret() -> None:
    world = adopted()
    second = world.provider.add("shopkey", "Second000001")
    world.provider.on_request = refusing(world, FIRST, timedelta(days=1))
    began, rotation = world.clock(), world.rotation()
    log = logged(rotation)
    Operator(rotation).adopt(SecretStr("Second000001"), second)
    assert world.published == "Second000001"
    assert log.waits[0] == ("published", format_instant(began + WINDOW))


def beside_other_host(world: World, error: Exception) -> str:
    """Have the other host answer with an error while a candidate waits; return the value of the published secret."""

    def fail(auth: Credentials) -> Balance:
        raise error

    world.provider.get_balance = fail  # type: ignore[method-assign]
    published = world.published
    assert published is not None
    return published


OTHER_HOST = [LostAnswer("no answer"), Unauthorized("refused", status=401)]


@pytest.mark.parametrize("error", OTHER_HOST, ids=["lost", "refused"])
def test_unconfirmed_candidate_ends_an_outage(error: Exception) -> None:
    """A person revokes the published secret while its candidate waits for the provider's other host."""
    world = adopted(verify_balance=True)
    previous = beside_other_host(world, error)
    world.rotation(fresh_after=world.clock()).run()
    assert world.published == previous
    world.provider.remove("shopkey", "id-001")
    began = world.clock()
    world.rotation(explicit=True).run()
    assert world.consumer_works()
    assert WINDOW <= world.clock() - began < WINDOW + timedelta(seconds=10)


@pytest.mark.parametrize("error", OTHER_HOST, ids=["lost", "refused"])
def test_unconfirmed_candidate_waits_while_consumers_work(error: Exception) -> None:
    """The provider refuses the published secret for less than the consistency window."""
    world = adopted(verify_balance=True)
    previous = beside_other_host(world, error)
    world.rotation(fresh_after=world.clock()).run()
    world.provider.on_request = refusing(world, previous, WINDOW - timedelta(seconds=6))
    world.rotation().run()
    assert world.published == previous
    world.provider.on_request = refusing(world, previous, WINDOW - timedelta(seconds=6))
    world.rotation().run()
    assert world.published == previous


@pytest.mark.parametrize("error", OTHER_HOST, ids=["lost", "refused"])
def test_unconfirmed_rescue_is_published_at_once(error: Exception) -> None:
    world = adopted(verify_balance=True, secondary=True)
    beside_other_host(world, error)
    world.provider.add("shopkey", "Helper00000001")
    world.provider.remove("shopkey", str(world.journal.current_id))
    began = world.clock()
    world.rotation().run()
    assert world.consumer_works()
    assert world.clock() - began < WINDOW + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("error", "published"), [(OTHER_HOST[0], True), (OTHER_HOST[1], False)], ids=["lost", "refused"]
)
def test_unconfirmed_bootstrap_is_published_without_an_answer(error: Exception, published: bool) -> None:
    """A refusal of a new secret is over in a moment, and nothing that consumers had is lost meanwhile."""
    world = World(verify_balance=True, secondary=True)
    world.provider.add("shopkey", FIRST)

    def fail(auth: Credentials) -> Balance:
        raise error

    world.provider.get_balance = fail  # type: ignore[method-assign]
    world.rotation().run()
    assert (world.published is not None) is published
