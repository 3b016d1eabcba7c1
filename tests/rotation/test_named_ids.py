"""A person names the published secret's id, and is wrong: nothing leads rotator to revoke the secret in use."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Learned, Publish, Revoke, Step, transitions
from rotator.errors import RotatorError
from rotator.provider import NotSent
from rotator.rotation import Operator, Outcome, Result
from rotator.rotation.waiting import stopped
from rotator.vault import CasConflict, VaultDenied, VaultSealed
from testkit.model import World
from tests.rotation.worlds import rotate, run_until
from tests.system.advice import Reader

OLD, NEW, THIRD = "OldSecret00001", "NewSecret00001", "ThirdSecret001"
DAY = timedelta(days=1)
NAME_BOTH = Command.of("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")


def watched(**settings: Any) -> World:
    """A world in which no published secret may be revoked."""
    world = World(**settings)

    def revoked(id_: str, value: str) -> None:
        assert value != world.published, f"{id_} was revoked, which consumers read"

    world.provider.on_revoke = revoked
    return world


def two_secrets(**settings: Any) -> tuple[World, str, str]:
    """An account with an old and a new secret, and their ids; rotator does not know it yet."""
    world = watched(**settings)
    old = world.provider.add("shopkey", OLD)
    world.clock.wait(DAY)
    return world, old, world.provider.add("shopkey", NEW)


def adopt(world: World, value: str, secret_id: str | None = None, **options: Any) -> Outcome:
    return Operator(world.rotation()).adopt(SecretStr(value), secret_id, **options)


def run_for_days(world: World) -> Outcome:
    """Scheduled runs over four days."""
    for pause in (1, 31, 31, 600, 3600, 43_200, 86_400, 86_400, 86_400):
        world.rotation(explicit=False).run()
        world.clock.wait(timedelta(seconds=pause))
    return world.rotation().run()


def test_wrong_id_calls_no_secret_unknown() -> None:
    world, old, new = two_secrets()
    outcome = adopt(world, NEW, old)
    assert outcome.reason == "ambiguous"
    assert new not in world.journal.unknown_ids, "it is the published one"
    assert f"{old}, {new}; a person named {old}" in (outcome.error or "")
    assert outcome.next_command == NAME_BOTH
    assert run_for_days(world).next_command == NAME_BOTH
    assert set(world.live) == {old, new}


def test_resolve_refuses_published_secret_after_a_wrong_id() -> None:
    world, old, new = two_secrets()
    adopt(world, NEW, old)
    operator = Operator(world.rotation())
    with pytest.raises(RotatorError, match="one of these ids is the published secret's"):
        operator.unknown()
    operator.resolve(frozenset({new}))
    run_for_days(world)
    assert set(world.live) == {old, new}


def test_wrong_id_is_corrected_by_the_right_one() -> None:
    world, old, new = two_secrets()
    adopt(world, NEW, old)
    run_for_days(world)
    outcome = adopt(world, NEW, new, retire={old})
    assert outcome.result is Result.OK
    assert run_for_days(world).result is Result.OK
    assert set(world.live) == {new}
    assert world.journal.current_id == new
    assert world.vault.versions["apps/shop"][-1]["secret_id"] == new


def test_repeated_adoption_keeps_ids_given_up_before() -> None:
    """The user gave `old` up for this value and this id. Another id for it, or another value, begins anew."""
    world, old, new = two_secrets()
    adopt(world, NEW, new, retire={old})
    outcome = adopt(world, NEW, new)
    assert (outcome.result, outcome.error) == (Result.OK, None)
    assert world.journal.current is not None
    assert world.journal.current.foreign_ids == {old}
    assert adopt(world, NEW, old).reason == "ambiguous"
    assert old not in world.journal.current.foreign_ids
    assert adopt(world, OLD, old, replace_working=True).reason == "ambiguous"
    assert run_for_days(world).reason == "ambiguous"
    assert set(world.live) == {old, new}


def test_rotation_corrects_a_wrong_id_when_room_remains() -> None:
    world, old, new = two_secrets(max_secrets=3)
    outcome = adopt(world, NEW, old)
    assert outcome.next_command == Command.of("rotate-now", "shop")
    assert world.rotation(fresh_after=world.clock()).run().published
    outcome = run_for_days(world)
    assert world.journal.current is not None
    assert world.journal.current.is_answered
    assert {old, new} <= world.live.keys(), "none of them was retired unasked"
    assert world.journal.unknown_ids == {old, new}
    operator = Operator(world.rotation())
    assert operator.unknown().keys() == {old, new}
    assert operator.resolve(frozenset({old, new})).result is Result.OK
    assert len(world.live) == 1


def test_document_has_no_id_named_beside_others() -> None:
    world, old, _ = two_secrets()
    adopt(world, NEW, old)
    assert world.vault.versions["apps/shop"][-1]["secret_id"] is None
    with pytest.raises(RotatorError, match="does not say which one"):
        adopt(world, OLD, replace_working=True)


def one_answered_secret(**settings: Any) -> tuple[World, str, str]:
    """A world whose only secret rotator created, its id, and its value."""
    world = watched(grace=DAY, **settings)
    world.provider.add("shopkey", OLD)
    world.publish(OLD)
    world.identify()
    world.rotation(fresh_after=world.clock() + timedelta(microseconds=1)).run()
    world.clock.wait(2 * DAY)
    world.rotation().run()
    (own,) = world.live
    return world, own, world.published or ""


def back_to_a_retiring_secret(max_secrets: int = 2) -> tuple[World, str, str, str]:
    """rotator's own secret is retiring, because a person replaced it; then the person goes back to it by hand."""
    world, own, mine = one_answered_secret(max_secrets=max_secrets)
    other = world.provider.add("shopkey", THIRD)
    adopt(world, THIRD, other, replace_working=True)
    assert world.journal.retiring_ids == {own}
    return world, mine, own, other


def test_readopted_retiring_secret_survives_a_wrong_id() -> None:
    """B2: it was revoked when the grace period of its own entry was over."""
    world, mine, own, other = back_to_a_retiring_secret()
    outcome = adopt(world, mine, other, replace_working=True)
    assert outcome.reason == "ambiguous"
    assert f"{own}, {other}; a person named {other}" in (outcome.error or "")
    run_for_days(world)
    assert set(world.live) == {own, other}
    adopt(world, mine, own, retire={other})
    run_for_days(world)
    assert set(world.live) == {own}


def test_secret_retired_by_person_survives_a_wrong_id() -> None:
    """The id was given up beside another value. The person goes back, and repeats the id of the first command."""
    world, old, new = two_secrets(grace=DAY)
    assert adopt(world, NEW, new, retire={old}).result is Result.OK
    world.clock.wait(timedelta(hours=2))
    world.rotation(explicit=False).run()
    outcome = adopt(world, OLD, new, replace_working=True)
    assert outcome.reason == "ambiguous"
    run_for_days(world)
    assert set(world.live) == {old, new}
    assert adopt(world, OLD, old, retire={new}).result is Result.OK
    run_for_days(world)
    assert set(world.live) == {old}


def test_resolved_secret_survives_when_published_again() -> None:
    world, *_ = one_answered_secret(max_secrets=3)
    third, fourth = world.provider.add("shopkey", THIRD), world.provider.add("shopkey", "FourthSecret01")
    operator = Operator(world.rotation(revoke=False))
    assert operator.unknown().keys() == {third, fourth}
    operator.resolve(frozenset({third}))
    assert world.journal.retiring_ids == {third}
    outcome = adopt(world, THIRD, fourth, replace_working=True)
    assert outcome.reason == "ambiguous"
    run_for_days(world)
    assert {third, fourth} <= world.live.keys()


def test_secret_revoked_by_hand_survives_when_published_again() -> None:
    """`account secrets revoke` shortens the grace period of a retiring secret."""
    world, mine, own, other = back_to_a_retiring_secret()
    run = world.rotation()
    run.state.observe()
    sooner = world.clock() + timedelta(hours=1)
    run.state.write_journal(transitions.retired_by_hand(run.state.situation, frozenset({own}), not_before=sooner))
    outcome = adopt(world, mine, other, replace_working=True)
    assert outcome.reason == "ambiguous"
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_interrupted_adoption_with_wrong_id_never_lands() -> None:
    """I9 does not depend on the id that a person names. Its write is held up, and its process dies."""
    world, mine, _, other = back_to_a_retiring_secret()
    held: list[tuple[str, Any, int]] = []
    write = world.vault.write

    def dies(path: str, data: Any, cas: int) -> int:
        if path != "apps/shop":
            return write(path, data, cas)
        held.append((path, dict(data), cas))
        raise KeyboardInterrupt

    world.vault.write = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        adopt(world, mine, other, replace_working=True)
    world.vault.write = write  # type: ignore[method-assign]
    assert world.journal.publishing is not None
    run_for_days(world)
    assert set(world.live) == {other}
    ((path, data, cas),) = held
    with pytest.raises(CasConflict):
        write(path, data, cas)
    assert world.consumer_works()


def test_adopt_with_wrong_id_awaits_late_revocation() -> None:
    world, mine, own, other = back_to_a_retiring_secret()
    world.clock.wait(DAY)
    run_until(world.rotation(), Revoke, then_perform=False)
    world.clock.wait(timedelta(minutes=2))  # the lease is over, and the request might still be carried out
    began, rotation = world.clock(), world.rotation()

    def waits(delay: timedelta) -> bool:
        if delay >= world.provider.settle and own in world.live:
            world.provider.remove("shopkey", own)
        return world.clock.wait(delay)

    rotation.waiting.wait = waits
    with pytest.raises(RotatorError, match="refuses this secret"):
        Operator(rotation).adopt(SecretStr(mine), other, replace_working=True)
    assert world.clock() - began >= world.provider.request_timeout + world.provider.settle
    assert world.consumer_works()


def test_adopt_waits_again_after_another_instance() -> None:
    """While the adoption waits, its lease ends, and another instance sends a revocation and dies."""
    world = watched()
    own = world.provider.add("shopkey", OLD)
    world.publish(OLD)
    world.identify()
    assert world.rotation(fresh_after=world.clock()).run().published
    world.clock.wait(2 * DAY)
    rotation = world.rotation()
    waits_seen = [0]

    def waits(delay: timedelta) -> bool:
        if delay >= world.provider.settle:
            waits_seen[0] += 1
            if waits_seen[0] == 1:
                world.clock.wait(timedelta(minutes=3))
                run_until(world.rotation(), Revoke, then_perform=False)  # its request is under way
                world.clock.wait(timedelta(minutes=3))
            elif own in world.live:
                world.provider.remove("shopkey", own)
        return world.clock.wait(delay)

    rotation.waiting.wait = waits
    with pytest.raises(RotatorError, match="refuses this secret"):
        Operator(rotation).adopt(SecretStr(OLD), own, replace_working=True)
    assert waits_seen[0] == 2
    assert world.consumer_works()


@pytest.mark.parametrize("way_out", ["resolve", "remove"])
def test_replaced_secret_keeps_grace_after_wrong_id(way_out: str) -> None:
    """`rotate-now` leads out of the doubt. The grace period of the replaced secret's own entry is long over."""
    world, mine, own, other = back_to_a_retiring_secret(max_secrets=3)
    adopt(world, mine, other, replace_working=True)
    world.clock.wait(2 * DAY)
    assert world.rotation(explicit=False).run().reason == "ambiguous"
    if way_out == "remove":
        world.provider.remove("shopkey", other)
    replaced_at = world.clock()
    world.rotation(fresh_after=world.clock() + timedelta(microseconds=1)).run()
    assert world.published != mine
    if way_out == "resolve":
        operator = Operator(world.rotation())
        assert operator.unknown().keys() == {other}
        operator.resolve(frozenset({other}))
    assert own in world.live
    assert next(e for e in world.journal.retiring if e.id == own).not_before >= replaced_at + DAY
    run_for_days(world)
    assert own not in world.live


@pytest.mark.parametrize("max_secrets", [2, 3])
def test_candidate_retired_by_person_is_not_sent_again(max_secrets: int) -> None:
    """The answer to its create was lost, and a person follows the advice to name both ids."""
    world = watched(grace=DAY, max_secrets=max_secrets)
    own = world.provider.add("shopkey", OLD)
    world.publish(OLD)
    world.identify()
    world.provider.fault, world.provider.propagation = "lost-after", timedelta(minutes=3)
    world.clock.wait(timedelta(minutes=10))
    outcome = world.rotation(fresh_after=world.clock() + timedelta(microseconds=1)).run()
    assert outcome.reason == "verifying"
    (new,) = world.live.keys() - {own}
    value = world.live[new]
    adopt(world, OLD, own, retire={new})
    assert world.journal.candidate != SecretStr(value), "the request goes on with another value, if there is room"
    run_for_days(world)
    assert value not in world.live.values()
    assert value not in {version["api_secret"] for version in world.vault.versions["apps/shop"]}
    assert world.consumer_works()


def test_retiring_secret_is_revoked_beside_the_right_id() -> None:
    world, _, own, other = back_to_a_retiring_secret()
    assert run_for_days(world).result is Result.OK
    assert own not in world.live
    assert world.vault.versions["apps/shop"][-1]["secret_id"] == other


def test_answered_id_stays_when_wrong_one_is_named() -> None:
    world, own, value = one_answered_secret()
    stranger = world.provider.add("shopkey", "Stranger000001")
    with pytest.raises(RotatorError, match=f"has the id {own}: the provider named it"):
        adopt(world, value, stranger)
    assert world.journal.current_id == own
    assert world.journal.current is not None
    assert world.journal.current.is_answered
    assert adopt(world, value, own, retire={stranger}).result is Result.OK


def test_recorded_id_of_adopted_value_is_not_anothers() -> None:
    """A person published another secret by hand, and goes back before a run has seen it."""
    world, own, mine = one_answered_secret()
    world.provider.add("shopkey", THIRD)
    world.publish(THIRD)
    adopt(world, mine, own, replace_working=True)
    assert world.published == mine
    assert world.journal.current_id == own
    assert world.journal.current is not None
    assert world.journal.current.learned is Learned.PERSON


def test_wrong_id_of_compromised_secret_retires_no_other() -> None:
    world, mine, own, other = back_to_a_retiring_secret(max_secrets=4)
    third = world.provider.add("shopkey", "Elsewhere00001")
    adopt(world, mine, third, replace_working=True)
    rotated = world.rotation(fresh_after=world.clock() + timedelta(microseconds=1), compromised=True)
    assert rotated.run().published
    run_for_days(world)
    assert world.journal.unknown_ids == {other, third}, "only a wrong name connects them with a published secret"
    operator = Operator(world.rotation())
    assert operator.unknown().keys() == {other, third}
    operator.resolve(frozenset({other}))
    assert own not in world.live, "it leaked"
    assert world.live.keys() == {third, world.journal.current_id}
    world.provider.remove("shopkey", third)
    assert run_for_days(world).result is Result.OK
    assert list(world.live.values()) == [world.published]


def test_resolve_offers_unknown_id_while_own_is_pending() -> None:
    """A list was due to be noted. `resolve` noted it, offered nothing and named itself, for each list that counts."""
    world, old, new = two_secrets(max_secrets=3)
    adopt(world, NEW, new)
    world.clock.wait(timedelta(minutes=1))
    world.provider.fault = "lost-after"
    outcome = rotate(world)
    assert (outcome.published, outcome.next_command) == (True, Command.of("resolve", "shop"))
    assert world.journal.current is not None
    assert world.journal.current.is_pending
    for _ in range(4):
        world.clock.wait(timedelta(seconds=31))
        assert old in Operator(world.rotation()).unknown()
        world.rotation().run()
    operator = Operator(world.rotation())
    assert operator.unknown().keys() == {old, new}
    assert operator.resolve(frozenset({old, new})).result is Result.OK
    assert list(world.live.values()) == [world.published]


# --- messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_first_error_of_adoption_names_what_succeeds(count: int) -> None:
    """It named the id alone, which published the value and failed again, however often it was repeated."""
    world, _, new = two_secrets(max_secrets=count)
    for number in range(count - 2):
        world.provider.add("shopkey", f"MoreSecret0000{number}")
    reader = Reader(world, {"ID": new, "VALUE": NEW})
    refused = reader.run("adopt", "shop")
    assert not refused.ok
    assert f"The provider lists {count} secrets" in refused.text
    assert "Nothing was written." in refused.text
    assert refused.next_command is not None
    assert refused.next_command.count("OTHER_ID") == count - 1
    assert reader.run(*refused.next_command).ok, reader
    assert world.published == NEW
    assert world.journal.retiring_ids == set(world.live) - {new}


def test_ambiguous_adoption_says_that_it_published() -> None:
    world, _, new = two_secrets()
    outcome = adopt(world, NEW, new)
    assert outcome.reason == "ambiguous"
    assert "Nothing was revoked, and version 1 is published and works. " in (outcome.error or "")
    again = world.rotation().run()
    assert "Nothing was revoked, and the published secret stays. " in (again.error or ""), "it published nothing"


def test_stopped_adoption_says_that_it_published() -> None:
    world, _, new = two_secrets()
    rotation = world.rotation()

    def stop() -> Step:
        raise stopped(rotation.state)

    rotation.decide = stop  # type: ignore[method-assign]
    outcome = Operator(rotation).adopt(SecretStr(NEW), new)
    assert outcome.reason == "stopped"
    assert "Nothing was revoked, and version 1 is published and works. " in (outcome.error or "")


def test_adoption_that_publishes_nothing_says_so() -> None:
    """It has written the journal: the lease, and for a foreign journal a new one."""
    world, _, new = two_secrets()
    rotation = world.rotation()

    write = world.vault.write

    def refuse(path: str, data: Mapping[str, Any], cas: int) -> int:
        if path == "apps/shop":
            raise VaultDenied("the policy lacks a path", unchanged="Nothing was written there")
        return write(path, data, cas)

    world.vault.write = refuse  # type: ignore[method-assign]
    with pytest.raises(VaultDenied, match=r"the policy lacks a path\. Nothing was published\."):
        Operator(rotation).adopt(SecretStr(NEW), new)
    assert world.journal.lease_holder is None
    assert "apps/shop" not in world.vault.versions


def test_unreachable_provider_leads_to_the_same_adoption() -> None:
    """`check` does not try the provider before an account is adopted."""
    world, old, new = two_secrets()
    rotation = world.rotation()

    def unreachable(*_: object) -> None:
        raise NotSent("the provider cannot be reached")

    rotation.executor.provider.list_secrets = unreachable  # type: ignore[method-assign, assignment]
    with pytest.raises(NotSent) as raised:
        Operator(rotation).adopt(SecretStr(NEW), new, retire=frozenset({old}), replace_working=True)
    assert str(raised.value) == (
        "the provider cannot be reached. Nothing was written. To try again: "
        f"rotator adopt shop --replace --secret-id {new} --retire {old}."
    )


def test_restored_secret_is_named_in_a_later_failure() -> None:
    world, _, new = two_secrets()
    adopt(world, NEW, new)
    world.publish("NeverWorked001")
    outcome = world.rotation().run()
    assert world.published == NEW
    assert outcome.reason == "ambiguous"
    assert "Nothing was revoked, and version 3 is published and works. " in (outcome.error or "")


def test_vault_failure_after_publishing_says_that_it_published() -> None:
    """Vault refuses one write; the run published before, and its message says so."""
    world, old, new = two_secrets(max_secrets=3)
    adopt(world, NEW, new, retire={old})
    world.clock.wait(timedelta(minutes=1))
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Publish, then_perform=True)

    def refuse(*_: object) -> None:
        raise VaultSealed("Vault is sealed", maybe_done=False)

    rotation.state.write_journal = refuse  # type: ignore[method-assign, assignment]
    outcome = rotation.run()
    assert outcome.published
    assert "Vault is sealed. Nothing was revoked, and the new secret is published and works." in (outcome.error or "")


def test_advice_to_replace_keeps_the_options_given() -> None:
    world, old, new = two_secrets()
    adopt(world, OLD, old, retire=frozenset({new}))
    with pytest.raises(RotatorError, match="already contains another secret") as raised:
        adopt(world, NEW, new, retire=frozenset({old}))
    expected = Command.of("adopt", "shop", "--replace", "--secret-id", new, "--retire", old)
    assert raised.value.next_command == expected
