"""Which value an id belongs to, as documents tell it: nothing leads rotator to revoke the secret in use."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Event, Identity, Learned
from rotator.documents import render_journal
from rotator.errors import RotatorError
from rotator.provider import LostAnswer
from rotator.rotation import Operator, Outcome, Result
from rotator.vault import Document
from testkit.model import World
from tests.rotation.worlds import FIRST, adopted, rotate, run_until

OTHER = "Dashboard00001"
TYPO = "TypoSecret0009"
DAY = timedelta(days=1)


def rotated(**settings: Any) -> tuple[World, str, str]:
    """An account whose published secret rotator created, and nothing else is listed; its value and its id."""
    world = adopted(**settings)

    def revoked(id_: str, value: str) -> None:
        assert value != world.published, f"{id_} was revoked, which consumers read"

    world.provider.on_revoke = revoked
    rotate(world)
    world.clock.wait(world.grace + DAY)
    world.rotation().run()
    assert world.published is not None
    assert world.journal.current.learned is Learned.ANSWERED
    assert set(world.live) == {world.journal.current_id}
    return world, world.published, world.journal.current_id


def delete_newest(world: World) -> None:
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))


def adopt(world: World, value: str, secret_id: str | None = None) -> Outcome:
    return Operator(world.rotation()).adopt(SecretStr(value), secret_id, replace_working=True)


def keep_versions(world: World, count: int) -> None:
    """Vault removes older versions of the published document."""
    read = world.vault.read

    def pruned(path: str, version: int | None = None) -> Document:
        newest = len(world.vault.versions["apps/shop"])
        if path == "apps/shop" and version is not None and version <= newest - count:
            return Document(version=0, data=None, read_at=world.clock())
        return read(path, version)

    world.vault.read = pruned  # type: ignore[method-assign]


def edit(world: World, times: int = 1) -> None:
    versions = world.vault.versions["apps/shop"]
    for _ in range(times):
        versions.append(versions[-1] | {"note": len(versions)})
        world.rotation(explicit=False).run()
        world.clock.wait(timedelta(minutes=1))


def changed_by_hand(**settings: Any) -> tuple[World, str, str, str]:
    """A person replaced the value and left the id: the version that named it first is version 2.

    Returns:
        The account, the previous value, its id, and the published value's id.
    """
    world, value, own = rotated(grace=2 * DAY, **settings)
    other = world.provider.add("shopkey", OTHER)
    world.publish(OTHER)
    world.identify()
    assert (world.journal.current_id, world.journal.retiring_ids) == (other, {own})
    return world, value, own, other


def run_for_days(world: World, days: int = 4) -> Outcome:
    """Scheduled runs, the first ones soon after another."""
    for pause in (1, 16, 16, 31, 31, 600, *(21_600,) * (4 * days)):
        world.rotation(explicit=False).run()
        world.clock.wait(timedelta(seconds=pause))
    return world.rotation().run()


# --- a deleted document ------------------------------------------------------------------------------------------


def test_adopt_after_deletion_asks_for_the_id() -> None:
    """The deleted version might have contained the same value: its id is not another secret's."""
    world, value, own = rotated()
    other = world.provider.add("shopkey", OTHER)
    delete_newest(world)
    with pytest.raises(RotatorError, match=f"does not say which one this value is: {own} .*{other}"):
        adopt(world, value)
    adopt(world, value, own)
    assert (world.published, world.journal.current_id, world.journal.retiring) == (value, own, ())
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_adopt_after_deletion_retires_nothing() -> None:
    world, value, own = rotated()
    delete_newest(world)
    adopt(world, value)
    assert world.journal.retiring == ()
    assert run_for_days(world).reason == "idle"
    assert (world.published, world.journal.current_id) == (value, own)


def test_restored_version_retires_nothing_when_ids_are_missing() -> None:
    """An edit of another field is deleted: the version before contains the same value, and the list lacks its id."""
    world, value, own = rotated()
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"note": "edited"})
    world.rotation().run()
    delete_newest(world)
    world.provider.listing_lag = 30 * DAY
    world.rotation(explicit=False).run()
    assert world.published == value
    assert world.journal.retiring == ()
    world.provider.listing_lag = timedelta()
    assert run_for_days(world).reason == "idle"
    assert world.journal.current_id == own


def test_restored_value_gets_no_id_of_later_value() -> None:
    """The run that adopted the value of now restores the value before: the journal no longer speaks of that one."""
    world, value, own = rotated()
    other = world.provider.add("shopkey", OTHER)
    world.publish(OTHER)
    rotation = world.rotation()
    run_until(rotation, Event.ADOPTED, then_perform=True)
    world.provider.remove("shopkey", other)
    rotation.state.learn(listing=None)
    rotation.run()
    assert world.published == value
    assert run_for_days(world).reason == "idle"
    assert (world.journal.current_id, set(world.live)) == (own, {own})


# --- an id that a person named, and what happens before it is recorded --------------------------------------------


def waiting(**settings: Any) -> tuple[World, str, str, str]:
    """An account whose candidate authenticates a moment before a command; the published value, both ids."""
    world, value, own = rotated(**settings)
    world.provider.propagation = timedelta(seconds=60)
    world.rotation(fresh_after=world.clock()).run()
    (candidate,) = world.live.keys() - {own}
    world.clock.wait(timedelta(seconds=60))
    return world, value, own, candidate


def test_named_id_says_nothing_of_the_candidate() -> None:
    world, value, own, candidate = waiting()
    assert adopt(world, value, own).published
    assert (world.journal.current.id, world.journal.current.learned) == (candidate, Learned.ANSWERED)
    assert run_for_days(world).reason == "idle"
    assert set(world.live) == {candidate}


def test_named_id_says_nothing_of_an_unanswered_candidate() -> None:
    world, value, own = rotated()
    world.provider.fault = "lost-after"
    world.provider.propagation = timedelta(seconds=60)
    world.rotation(fresh_after=world.clock()).run()
    world.clock.wait(timedelta(seconds=60))
    assert adopt(world, value, own).published
    run_for_days(world)
    assert world.live[world.journal.current_id] == world.published != value


@pytest.mark.parametrize("value_is_given", [False, True])
def test_retire_is_refused_when_candidate_is_published(value_is_given: bool) -> None:
    world, value, own, candidate = waiting()
    with pytest.raises(RotatorError) as raised:
        Operator(world.rotation()).adopt(SecretStr(value) if value_is_given else None, own, retire={candidate})
    assert str(raised.value) == (
        f"The new secret of shop that was waiting authenticates, so rotator published it: its id {candidate} cannot be "
        "retired. Nothing was revoked, and the new secret is published and works. "
        "To see the state: rotator account secrets list shop."
    )
    assert world.journal.retiring_ids == {own}
    assert world.journal.lease_holder is None
    run_for_days(world)
    assert set(world.live) == {candidate}


@pytest.mark.parametrize(("count", "verb"), [(1, "was"), (2, "were")])
def test_retire_says_that_a_candidate_was_published(count: int, verb: str) -> None:
    """The ids to retire are other secrets'."""
    world, value, own, _ = waiting(max_secrets=4)
    spare = [world.provider.add("shopkey", f"{OTHER}{number}") for number in range(count)]
    with pytest.raises(RotatorError) as raised:
        Operator(world.rotation()).adopt(SecretStr(value), own, retire=set(spare))
    assert str(raised.value).startswith(
        "The new secret of shop that was waiting authenticates, so rotator published it: "
        f"{own} is not its id, and {', '.join(spare)} {verb} not recorded. "
    )
    assert not world.journal.retiring_ids & set(spare)


def unanswered(*_: object) -> None:
    raise LostAnswer("no answer to the revocation")


def two_listed() -> tuple[World, str, str]:
    """An account with two secrets that rotator does not know; the published one's id and the other one."""
    world = World(grace=2 * DAY)
    own = world.provider.add("shopkey", FIRST)
    other = world.provider.add("shopkey", OTHER)
    world.publish(FIRST)
    world.rotation().run()
    return world, own, other


def write_elsewhere(world: World, **changes: Any) -> None:
    """Another instance writes the journal."""
    journal = replace(world.journal, **changes)
    world.vault.versions[world.settings.journal_path(world.account)].append(render_journal(journal))


def test_named_id_is_recorded_after_another_lease() -> None:
    world, own, other = two_listed()
    write_elsewhere(world, lease_holder="other", lease_until=world.clock() + timedelta(seconds=20))
    rotation = world.rotation(patience=timedelta(minutes=2))
    outcome = Operator(rotation).adopt(None, own, retire={other})
    assert outcome.reason == "grace"
    assert (world.journal.current_id, world.journal.retiring_ids) == (own, {other})


def test_adoption_says_that_its_id_was_not_recorded() -> None:
    """Another instance holds the lease for longer than the command may wait."""
    world, own, _ = two_listed()
    write_elsewhere(world, lease_holder="other", lease_until=world.clock() + timedelta(seconds=20))
    outcome = Operator(world.rotation()).adopt(None, own)
    again = Command.of("adopt", "shop", "--secret-id", own)
    assert (outcome.result, outcome.reason, outcome.next_command) == (Result.DEFERRED, "leased", again)
    said = f"The id {own} was not recorded. To repeat the adoption: {again}."
    assert (outcome.error or "").endswith(said)
    assert world.journal.current_id is None
    world.clock.wait(timedelta(minutes=1))
    Operator(world.rotation()).adopt(None, own)
    assert world.journal.current_id == own


@pytest.mark.parametrize("before", range(1, 14))
def test_named_id_is_recorded_after_a_conflict(before: int) -> None:
    """Another instance writes the journal before one of the command's requests."""
    world, own, other = two_listed()
    world.interruption.after = before
    world.interruption.happen = lambda: write_elsewhere(world)
    Operator(world.rotation()).adopt(None, own, retire={other})
    assert (world.journal.current_id, world.journal.retiring_ids) == (own, {other})
    assert world.journal.lease_holder is None


def test_named_id_replaces_no_answer_of_the_provider() -> None:
    """Another instance records the provider's answer for the value before the name is recorded."""
    world, own, other = two_listed()
    version = len(world.vault.versions["apps/shop"])
    answer = {"current": Identity(own, Learned.ANSWERED), "published_version": version}
    world.interruption.after = 3
    world.interruption.happen = lambda: write_elsewhere(world, **answer)
    with pytest.raises(RotatorError, match=f"the id {other} could not be recorded"):
        Operator(world.rotation()).adopt(None, other, retire={own})
    assert (world.journal.current_id, world.journal.current.learned) == (own, Learned.ANSWERED)
    assert world.journal.retiring_ids == frozenset()


def test_named_id_says_nothing_of_another_value() -> None:
    """A person publishes the other value before the name is recorded."""
    world, own, other = two_listed()
    world.interruption.after = 3
    world.interruption.happen = lambda: world.publish(OTHER)
    with pytest.raises(RotatorError, match="another writer replaced it since"):
        Operator(world.rotation()).adopt(None, own, retire={other})
    assert world.journal.retiring_ids == frozenset()


# --- versions that are not readable any more ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "edits"), [pytest.param(100, 9, id="ten are read"), pytest.param(2, 1, id="Vault keeps two")]
)
def test_adopt_trusts_no_id_of_oldest_version(kept: int, edits: int) -> None:
    """The oldest readable version contains the second value with the first one's id."""
    world, value, own, other = changed_by_hand()
    keep_versions(world, kept)
    edit(world, edits)
    with pytest.raises(RotatorError, match=f"does not say which one this value is: {own} .*{other}"):
        adopt(world, value)
    adopt(world, value, own)
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_adopt_trusts_no_id_behind_a_deleted_version() -> None:
    """The version that named the id first was deleted, and the version before it is still readable."""
    world, value, own, other = changed_by_hand()
    world.vault.deleted.add(("apps/shop", 2))
    with pytest.raises(RotatorError, match=f"does not say which one this value is: {own} .*{other}"):
        adopt(world, value)


def test_adopt_trusts_no_id_of_a_restored_copy() -> None:
    """A person brings the version back that contains the second value with the first one's id."""
    world, value, own, other = changed_by_hand()
    versions = world.vault.versions["apps/shop"]
    third = versions[-1] | {"api_secret": TYPO, "secret_id": "id-900", "rotated_at": "2026-01-03T00:00:00Z"}
    versions.extend([third, dict(versions[-1])])
    keep_versions(world, 2)
    world.rotation().run()
    with pytest.raises(RotatorError, match=f"does not say which one this value is: {own} .*{other}"):
        adopt(world, value)


@pytest.mark.parametrize(("edits", "kept"), [(9, 100), (0, 3)])
def test_restored_value_keeps_the_journals_id(edits: int, kept: int) -> None:
    """The journal speaks of the restored value, and knows its id better than an old version does."""
    world, _, own, other = changed_by_hand()
    keep_versions(world, kept)
    edit(world, edits)
    world.publish(TYPO)
    world.clock.wait(timedelta(minutes=1))
    world.rotation().run()
    assert (world.published, world.journal.current_id, world.journal.retiring_ids) == (OTHER, other, {own})
    assert run_for_days(world).reason == "idle"
    assert set(world.live) == {other}


def test_restored_value_gets_no_id_of_oldest_version() -> None:
    """The journal does not speak of the restored value: its id is eliminated, or a person names it."""
    world, _, own, other = changed_by_hand(max_secrets=3)
    keep_versions(world, 2)
    assert world.rotation(fresh_after=world.clock()).run().published
    world.provider.remove("shopkey", world.journal.current_id)
    for _ in range(2):
        world.clock.wait(timedelta(minutes=1))
        assert world.rotation().run().reason == "ambiguous"
    assert (world.published, world.journal.current_id) == (OTHER, None)
    with pytest.raises(RotatorError, match="one of these ids is the published secret's"):
        Operator(world.rotation()).unknown()
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_adopted_compromised_secret_stays_published() -> None:
    """A person publishes it again with --replace: the request that replaced it does not replace it once more."""
    world, value, own = rotated(grace=2 * DAY)
    revoke = world.provider.revoke_secret
    world.provider.revoke_secret = unanswered  # type: ignore[assignment]
    world.rotation(fresh_after=world.clock(), compromised=True).run()
    world.provider.revoke_secret = revoke  # type: ignore[method-assign]
    assert own in world.journal.compromised_ids
    adopt(world, value, own)
    assert world.journal.request is None
    run_for_days(world)
    assert world.published == value
    assert own in world.live


@pytest.mark.parametrize("names_another_id", [False, True])
def test_named_leaked_value_keeps_its_request(*, names_another_id: bool) -> None:
    """The person names the published secret's id, and asks for nothing else. An edit by hand leaves `secret_id`."""
    world, value, own = rotated(grace=2 * DAY, max_secrets=3)
    revoke = world.provider.revoke_secret
    world.provider.revoke_secret = unanswered  # type: ignore[assignment]
    world.rotation(fresh_after=world.clock(), compromised=True).run()
    world.provider.revoke_secret = revoke  # type: ignore[method-assign]
    successor, successor_id = world.published, world.journal.current_id
    world.clock.wait(timedelta(minutes=2))
    world.publish(value, secret_id=successor_id if names_another_id else None)
    other = world.provider.add("shopkey", "OtherSecret001")
    world.rotation(fresh_after=world.clock(), compromised=True).run()
    assert world.journal.request is not None
    Operator(world.rotation()).adopt(None, own, retire={other})
    run_for_days(world)
    assert world.published not in (value, successor)
    assert own not in world.live
