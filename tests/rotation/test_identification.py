"""Which id the published secret has: named, listed, eliminated or in doubt."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Create, Event, Learned, Revoke, Stop
from rotator.errors import RotatorError
from rotator.rotation import Operator, Result, Rotation
from testkit.model import World
from tests.rotation.worlds import (
    DAY,
    FIRST,
    adopted,
    answered,
    name_id,
    one_stale_list,
    rotate,
    run_until,
    store,
    wait_with,
)


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


@pytest.mark.parametrize(
    ("value", "source", "said"),
    [
        ("Stranger0001", ("--secret-env", "MINE"), "Name its id"),
        ("Stranger0001", (), "and type the value again"),
        (None, (), "rotator takes the value from Vault"),
    ],
    ids=["brought", "typed", "published"],
)
def test_advice_says_where_the_value_comes_from(value: str | None, source: tuple[str, ...], said: str) -> None:
    world = adopted()
    world.provider.add("shopkey", "Stranger0001")
    world.publish(FIRST)
    secret = SecretStr(value) if value is not None else None
    with pytest.raises(RotatorError, match=said) as caught:
        Operator(world.rotation()).adopt(secret, "wrong", replace_working=True, source=source)
    command = Command.of("adopt", "shop", *source, "--replace", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert caught.value.next_command == command


def test_naming_an_answered_id_keeps_it_answered() -> None:
    world = answered()
    (own,) = world.live
    assert name_id(world, own).result is Result.OK
    assert world.journal.current.is_answered


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


def test_stale_list_does_not_change_published_id() -> None:
    world = adopted()
    rotate(world)
    right = world.journal.current_id
    one_stale_list(world)
    world.rotation().run()
    assert world.journal.current_id == right


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


def run_until_next(rotation: Rotation) -> None:
    """Go on up to the first step that changes something at the provider, or to the end."""
    for _ in range(20):
        step = rotation.decide()
        if isinstance(step, Create | Revoke | Stop):
            return
        rotation.perform(step)


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
