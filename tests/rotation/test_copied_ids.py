"""A person copied an id into the published document: it is a claim, and proves nothing of another value's id."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Learned, Publish
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome
from testkit.model import World
from tests.rotation.test_id_owners import delete_newest, rotated, run_for_days
from tests.rotation.worlds import DAY, FIRST, rotate, run_until

OLD, NEW, THIRD, TYPO = "OldSecret0001", "NewSecret0001", "ThirdSecret01", "TypoSecret001"
PLAIN = {"api_key": "shopkey", "api_secret": OLD}
EARLIER = PLAIN | {"rotated_at": "2025-11-01T00:00:00Z"}
COPY = {"api_key": "shopkey", "api_secret": NEW, "secret_id": "id-001", "rotated_at": "2025-12-01T00:00:00Z"}


def written(*versions: dict[str, Any], **settings: Any) -> World:
    """An account with two secrets, whose document a person wrote; OLD has the id id-001."""
    world = World(**settings)

    def revoked(id_: str, value: str) -> None:
        assert value != world.published, f"{id_} was revoked, which consumers read"

    world.provider.on_revoke = revoked
    assert [world.provider.add("shopkey", OLD), world.provider.add("shopkey", NEW)] == ["id-001", "id-002"]
    world.vault.versions["apps/shop"] = [dict(version) for version in versions]
    return world


def adopt(world: World, value: str, secret_id: str | None = None) -> Outcome:
    operator = Operator(world.rotation())
    return operator.adopt(SecretStr(value), secret_id, replace_working=True, source=("--secret-stdin",))


def assert_never_offered(world: World) -> None:
    """No later run calls the published secret's own id unknown, and `resolve` does not offer it."""
    outcome = run_for_days(world)
    own = next(id_ for id_, value in world.live.items() if value == world.published)
    assert own not in world.journal.unknown_ids
    if outcome.reason == "ambiguous":
        assert outcome.next_command is not None
        assert outcome.next_command.args[0] in ("adopt", "rotate-now")
    with suppress(RotatorError):
        assert own not in Operator(world.rotation()).unknown()


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param((COPY,), id="version 1"),
        pytest.param((PLAIN, COPY), id="over a plain version"),
        pytest.param((EARLIER, COPY), id="over an earlier date"),
    ],
)
def test_adopt_trusts_no_copied_id(versions: tuple[dict[str, Any], ...]) -> None:
    """The copy names the id of the value that the person adopts."""
    world = written(*versions)
    with pytest.raises(RotatorError, match=r"does not say which one this value is: id-001 .*id-002") as caught:
        adopt(world, OLD)
    options = ("--secret-stdin", "--replace", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert caught.value.next_command == Command.of("adopt", "shop", *options)
    assert_never_offered(world)
    adopt(world, OLD, "id-001")
    assert (world.published, world.journal.current_id) == (OLD, "id-001")
    assert_never_offered(world)


def test_restored_value_gets_no_copied_id() -> None:
    world = written(COPY, COPY | {"api_secret": TYPO})
    world.rotation().run()
    assert (world.published, world.journal.current_id) == (NEW, None)
    assert world.vault.versions["apps/shop"][-1]["secret_id"] is None
    assert_never_offered(world)


def test_copy_after_metadata_deletion_proves_nothing() -> None:
    """The journal speaks of a version with the same number, which was deleted with its history."""
    world, value, own = rotated(max_secrets=3, secondary=True)
    other = world.provider.add("shopkey", NEW)
    version = world.vault.versions["apps/shop"][-1]
    world.vault.versions["apps/shop"] = [
        version | {"api_secret": text} for text in (TYPO,) * (len(world.vault.versions["apps/shop"]) - 1) + (NEW,)
    ]
    with pytest.raises(RotatorError, match=f"does not say which one this value is: {own} .*{other}"):
        adopt(world, value)
    assert_never_offered(world)


def bootstrapped() -> tuple[World, str, str]:
    """A secondary account whose version 1 rotator wrote, in the grace period of its first rotation.

    Returns:
        The account, the previous value and its id.
    """
    world = World(max_secrets=3, secondary=True, grace=2 * DAY)
    world.provider.add("shopkey", FIRST)
    assert rotate(world).published
    assert world.published is not None
    value, own = world.published, world.journal.current_id
    assert len(world.vault.versions["apps/shop"]) == 1
    world.provider.remove("shopkey", next(id_ for id_ in world.live if id_ != own))
    world.clock.wait(DAY)
    assert rotate(world).published
    assert world.journal.retiring_ids == {own}
    return world, value, own


def test_value_of_bootstrap_is_restored_with_its_id() -> None:
    """The newest version is deleted: the journal knows both ids, so the replaced secret is retiring."""
    world, value, own = bootstrapped()
    replaced = world.journal.current_id
    delete_newest(world)
    world.rotation().run()
    world.clock.wait(timedelta(minutes=5))
    world.rotation().run()
    assert (world.published, world.journal.current_id) == (value, own)
    assert world.journal.current.learned is Learned.ANSWERED
    assert world.journal.retiring_ids == {replaced}
    assert world.vault.versions["apps/shop"][-1]["secret_id"] == own


def test_adopt_after_bootstrap_asks_for_no_id() -> None:
    """The journal knows whose ids the others are."""
    world, _, own = bootstrapped()
    replaced = world.journal.current_id
    third = world.provider.add("shopkey", THIRD)
    adopt(world, THIRD)
    run_for_days(world, days=1)
    assert (world.published, world.journal.current_id) == (THIRD, third)
    assert world.journal.retiring_ids == {own, replaced}


def test_adopt_without_journal_asks_for_the_id() -> None:
    """Version 1 is rotator's, and the journal that proves it was deleted with its history."""
    world, value, own = bootstrapped()
    other = world.journal.current_id
    del world.vault.versions[world.settings.journal_path(world.account)]
    with pytest.raises(RotatorError, match=f"does not say which one this value is: {own} .*{other}"):
        adopt(world, value)


@pytest.mark.parametrize("by_hand", [True, False])
def test_id_written_beside_the_candidate_is_checked(by_hand: bool) -> None:
    """A run published the candidate and died. Then a person writes another secret's id into the document."""
    world, _, _ = rotated(max_secrets=3)
    run_until(world.rotation(fresh_after=world.clock()), Publish, then_perform=True)
    candidate = next(id_ for id_, value in world.live.items() if value == world.published)
    if by_hand:
        wrong = world.provider.add("shopkey", THIRD)
        versions = world.vault.versions["apps/shop"]
        versions.append(versions[-1] | {"secret_id": wrong})
    world.clock.wait(timedelta(minutes=3))
    world.rotation().run()
    if by_hand:
        assert world.journal.current.is_pending
        assert_never_offered(world)
    else:
        assert (world.journal.current.id, world.journal.current.learned) == (candidate, Learned.ANSWERED)
