"""Adoption: by a run that finds an account, and by a person who brings a value."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Create, Phase
from rotator.errors import RotatorError
from rotator.rotation import Operator, Result
from testkit.model import World
from tests.rotation.worlds import (
    DAY,
    FIRST,
    adopted,
    assert_settled,
    interrupted_return_of_a_compromised_secret,
    rotate,
    run_until,
    sealed_after_publish,
)


def test_adoption_takes_age_from_provider_and_rotates_nothing() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.clock.wait(DAY)
    outcome = world.rotation(due_at=lambda rotated_at: rotated_at + 2 * DAY).run()
    assert not outcome.published
    assert world.journal.rotated_at == world.clock() - DAY
    assert world.published == FIRST


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


def test_run_names_adopt_when_nothing_is_published() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    outcome = rotate(world)
    assert outcome.reason == "not_adopted"
    assert "rotator adopt shop" in (outcome.error or "")
    assert "apps/shop" not in world.vault.versions
    assert world.settings.journal_path(world.account) not in world.vault.versions


def test_adopt_reports_its_publication_when_vault_seals_afterwards() -> None:
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
