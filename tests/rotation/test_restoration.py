"""The published secret is refused or deleted: an earlier version that works, or another way out."""

from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Create, RestoreEarlierVersion, Revoke, Trigger
from rotator.provider import Credentials, Unauthorized
from rotator.rotation import Operator, Result
from testkit.model import World
from tests.rotation.worlds import (
    DAY,
    FIRST,
    adopted,
    answered,
    assert_identified,
    assert_settled,
    in_overlap,
    interrupted_return_of_a_compromised_secret,
    lost_lease,
    rotate,
    run_until,
    without_journal,
)


def test_earlier_version_is_restored_when_published_is_refused() -> None:
    world = adopted()
    rotate(world)
    world.provider.remove("shopkey", world.journal.current_id)
    assert not world.consumer_works()
    outcome = world.rotation().run()
    assert outcome.result is Result.OK
    assert world.published == FIRST
    assert_identified(world)


def test_recorded_version_is_restored_after_many_edits() -> None:
    """Vault keeps more versions than the last ones that are tried."""
    world = adopted()
    world.publish("MistypedSecret1")
    for _ in range(12):
        world.publish("MistypedSecret1")
    outcome = world.rotation().run()
    assert world.published == FIRST, outcome
    assert world.consumer_works()


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


def test_old_snapshot_fails_without_a_primary_account() -> None:
    world = adopted(grace=timedelta())
    snapshot = {path: list(versions) for path, versions in world.vault.versions.items()}
    rotate(world)
    after = dict(world.live)
    world.vault.versions = snapshot
    assert rotate(world).reason == "credentials"
    assert world.live == after


def test_rescue_without_journal_revokes_nothing() -> None:
    """The document names the account: that shows whose it is."""
    world = adopted(grace=timedelta(), secondary=True)
    world.provider.add("shopkey", "HumanSecret001")
    world.provider.remove("shopkey", world.journal.current_id)
    world.vault.versions["apps/shop"][-1]["api_key"] = "shopkey"
    del world.vault.versions[world.settings.journal_path(world.account)]
    outcome = rotate(world)
    assert outcome.published
    assert "HumanSecret001" in world.live.values()
    assert world.consumer_works()


def test_earlier_secret_is_restored_under_the_lease_only() -> None:
    """While this run asks the earlier versions one by one, another takes the account over."""
    world, new = in_overlap()
    world.provider.remove("shopkey", world.journal.current_id)
    rotation = world.rotation(lease=timedelta(minutes=1))
    run_until(rotation, RestoreEarlierVersion, then_perform=False)
    assert world.journal.lease_holder == rotation.policy.instance
    world.clock.wait(timedelta(minutes=2))
    run_until(world.rotation(), RestoreEarlierVersion, then_perform=False)
    rotation.perform(RestoreEarlierVersion())
    assert world.published == new, "stopped past its lease it writes nothing"
    world.clock.wait(timedelta(minutes=3))
    world.rotation().run()
    assert_identified(world)


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
    revoking = world.rotation(instance="daemon")
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
    assert outcome.reason == "published_lost" if lands else world.consumer_works()


@pytest.mark.parametrize("lands", [True, False])
def test_deleted_document_without_journal_awaits_late_revocation(*, lands: bool) -> None:
    """The account was renamed, or the journal deleted with its metadata: nothing tells of the DELETE on its way."""
    world = answered()
    (own,) = world.live
    value = world.live[own]
    rotate(world)
    world.clock.wait(timedelta(hours=2))
    world.provider.fault = "late"
    run_until(world.rotation(), Revoke, then_perform=True)
    without_journal(world)
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))
    ends = world.clock() + lost_lease(world)
    for _ in range(3):
        outcome = world.rotation().run()
        assert (outcome.reason, outcome.until) == ("late_revocation", ends)
        assert world.published is None
        world.clock.wait(timedelta(seconds=20))
    if lands:
        world.provider.remove("shopkey", own)
    world.clock.now = ends
    outcome = world.rotation().run()
    assert world.published == (None if lands else value)
    assert outcome.reason == "published_lost" if lands else world.consumer_works()


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


def test_compromised_secret_is_not_restored_when_nothing_authenticates() -> None:
    world = adopted()
    world.provider.fault = "late"
    rotate(world, compromised=True, force=True, trigger=Trigger.COMPROMISED)
    assert [entry.compromised for entry in world.journal.retiring] == [True]
    world.provider.remove("shopkey", world.journal.current_id)
    outcome = world.rotation().run()
    assert outcome.reason == "credentials"
    assert world.published != FIRST


def test_withheld_secret_is_told_and_can_be_adopted() -> None:
    """The only secret that works leaked. A person can publish it again with the command that the failure names."""
    world = adopted()
    world.provider.fault = "late"
    rotate(world, compromised=True, force=True, trigger=Trigger.COMPROMISED)
    world.provider.remove("shopkey", world.journal.current_id)
    outcome = world.rotation().run()
    assert outcome.error is not None
    assert "no other earlier version of it authenticates, and rotator does not publish version 1, " in outcome.error
    assert outcome.next_command is not None
    assert outcome.next_command.args == ("adopt", "shop", "--replace")
    Operator(world.rotation()).adopt(SecretStr(FIRST), None, replace_working=True)
    assert world.published == FIRST
    assert world.consumer_works()


def test_compromised_secret_in_a_mark_is_not_restored() -> None:
    world = interrupted_return_of_a_compromised_secret()
    world.vault.deleted.add(("apps/shop", len(world.vault.versions["apps/shop"])))
    world.rotation().run()
    assert world.published != FIRST


def test_compromised_secret_without_entry_is_not_restored() -> None:
    world = World(max_secrets=4)
    leaked = world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    rotate(world, compromised=True, fresh_after=world.clock() + DAY)
    stranger = world.provider.add("shopkey", "Stranger00001")
    for _ in range(2):
        world.clock.wait(timedelta(minutes=1))
        world.rotation().run()
    assert world.journal.unknown_ids == {leaked, stranger}
    world.provider.remove("shopkey", world.journal.current_id)
    outcome = world.rotation().run()
    assert world.published != FIRST
    assert "rotator does not publish version 1, which might be compromised" in (outcome.error or "")


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
