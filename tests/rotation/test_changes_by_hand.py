"""Published documents that a person changed, without a command of rotator."""

from datetime import timedelta

import pytest

from rotator.core.protocol import Command, Publishing
from rotator.provider import Credentials, RateLimited
from rotator.rotation import Result
from rotator.rotation.recorded import LATER_VERSIONS
from testkit.model import World
from tests.rotation.worlds import (
    DAY,
    FIRST,
    adopted,
    answered,
    assert_settled,
    in_overlap,
    name_id,
    rotate,
    store,
    wait_with,
)


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


def edit(world: World, note: str) -> None:
    """Edit another field of the published document."""
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"note": note})


@pytest.mark.parametrize("edits", [2, 12])
def test_edits_of_another_field_extend_no_grace_period(edits: int) -> None:
    world = adopted()
    rotate(world)
    for at in range(6):
        world.clock.wait(timedelta(minutes=11))
        for number in range(edits):
            edit(world, f"{at} {number}")
        world.rotation().run()
    assert_settled(world, world.rotation().run())


@pytest.mark.parametrize("change", ["went back", "deleted", "recorded version deleted", "too many"])
def test_unread_or_other_version_gives_grace(change: str) -> None:
    world = adopted()
    rotate(world)
    versions, deleted = world.vault.versions["apps/shop"], world.vault.deleted
    recorded = world.journal.published_version
    world.clock.wait(timedelta(minutes=59))
    if change == "went back":
        versions.append(dict(versions[0]))
    for number in range(LATER_VERSIONS + 2 if change == "too many" else 2):
        versions.append(versions[recorded - 1] | {"note": str(number)})
    if "deleted" in change:
        deleted.add(("apps/shop", recorded if "recorded" in change else recorded + 1))
    world.rotation().run()
    world.identify()
    world.clock.wait(timedelta(minutes=50))
    world.rotation().run()
    assert FIRST in world.live.values()


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

    def limited(auth: Credentials, api_key: str, secret_id: str) -> str:
        if left[0]:
            left[0] -= 1
            raise RateLimited("slow down", status=429, retry_after=timedelta(minutes=1))
        return real(auth, api_key, secret_id)

    world.provider.revoke_secret = limited  # type: ignore[method-assign]
    rotation = world.rotation(patience=timedelta(minutes=3))

    def waiting(delay: timedelta) -> bool:
        if delay >= timedelta(minutes=1):
            world.publish(FIRST)
        return world.clock.wait(delay)

    wait_with(rotation, waiting)
    rotation.run()
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


def test_edited_field_does_not_change_an_unlisted_id() -> None:
    world = adopted()
    rotate(world)
    current = world.journal.current_id
    world.vault.versions["apps/shop"].append(world.vault.versions["apps/shop"][-1] | {"note": "edited"})
    world.provider.listing_lag = timedelta(minutes=5)
    assert world.rotation().run().reason == "unlisted"
    assert world.journal.current_id == current


def test_candidate_published_by_hand_gets_no_previous_id() -> None:
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
