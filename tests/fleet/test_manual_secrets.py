"""Secrets that a person adds: what is left if the process dies."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.errors import Command, ConfigError, RotatorError
from rotator.fleet import Fleet, look, manual_secrets
from rotator.fleet.account_view import NO_REQUEST
from rotator.vault import VaultUnreachable
from testkit.model import World


class Died(BaseException):
    """The process ends: nothing handles it."""


def managed(monkeypatch: pytest.MonkeyPatch, *, max_secrets: int = 2) -> tuple[World, Fleet]:
    """A world with an adopted account, and the fleet that manages it."""
    world = World(grace=timedelta(), max_secrets=max_secrets)
    world.provider.add("shopkey", "FirstSecret001")
    world.publish("FirstSecret001")
    world.identify()
    monkeypatch.setattr(Fleet, "now", staticmethod(world.clock))
    return world, Fleet(world.settings, world.provider, world.vault, threading.Event())  # type: ignore[arg-type]


def test_create_of_a_dead_process_delays_revocations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The create can still be carried out: the full account refuses it only as long as nothing is revoked."""
    world, fleet = managed(monkeypatch)

    def unreachable(*_: Any, **__: Any) -> int:
        raise VaultUnreachable("Vault does not answer")

    def dies(*_: Any) -> None:
        monkeypatch.setattr(world.vault, "write", unreachable)
        raise Died

    with monkeypatch.context() as process:
        process.setattr(world.provider, "create_secret", dies)
        writes = world.vault.write
        with pytest.raises(Died):
            manual_secrets.create(fleet, world.account, SecretStr("AddedByHand001"), generated=False)
    monkeypatch.setattr(world.vault, "write", writes)
    ends_at = world.journal.lease_until + timedelta(seconds=30)
    world.clock.now = world.journal.lease_until
    outcome = world.rotation(fresh_after=world.clock()).run()
    assert (outcome.published, outcome.revoked) == (True, ())
    world.clock.now = ends_at
    assert world.rotation().run().revoked


def test_view_bounds_vaults_clock_when_vault_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault read its clock at some moment between the request and the answer."""
    world, fleet = managed(monkeypatch)
    read = world.vault.read

    def slow(path: str, version: int | None = None) -> Any:
        answer = read(path, version)
        world.clock.wait(timedelta(seconds=10))
        return answer

    monkeypatch.setattr(world.vault, "read", slow)
    asked_at = world.clock()
    case = look(fleet, world.account).situation(fleet.policy(world.account, NO_REQUEST), world.clock())
    assert case.vault_now == asked_at + timedelta(seconds=10)
    assert case.latest_now == asked_at + timedelta(seconds=20)


def test_new_id_of_published_value_is_not_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person added the value again and removed its first id, which lists still show."""
    world, fleet = managed(monkeypatch)
    monkeypatch.setattr(Fleet, "rotation", lambda *_: world.rotation())
    assert world.rotation(fresh_after=world.clock()).run().revoked
    before = str(world.journal.current_id)
    new = world.provider.add("shopkey", world.published or "")
    real = world.provider.list_secrets
    old_list = real(look(fleet, world.account).credentials, "shopkey")
    world.provider.remove("shopkey", before)
    until = world.clock() + timedelta(seconds=20)
    monkeypatch.setattr(world.provider, "list_secrets", lambda *ask: old_list if world.clock() < until else real(*ask))
    with pytest.raises(RotatorError, match="does not list its id"):
        manual_secrets.revoke(fleet, world.account, new)
    assert new in world.live


def create_refused(world: World, fleet: Fleet, value: str) -> str:
    """Return why a create is refused before anything is sent or written."""
    before = world.live, world.vault.peek(world.settings.journal_path(world.account)).version
    with pytest.raises(ConfigError) as refused:
        manual_secrets.create(fleet, world.account, SecretStr(value), generated=False)
    assert (world.live, world.vault.peek(world.settings.journal_path(world.account)).version) == before
    assert value not in str(refused.value)
    assert refused.value.next_command == Command.of("account", "secrets", "create", "shop")
    return str(refused.value)


def test_create_refuses_a_value_that_the_account_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ids of one value cannot be told apart, whether it is published, retiring, or revoked by now."""
    world, fleet = managed(monkeypatch, max_secrets=4)
    assert "is the published secret of shop" in create_refused(world, fleet, str(world.published))
    world.rotation(fresh_after=world.clock(), grace=timedelta(days=1)).run()
    assert "is an earlier secret of shop" in create_refused(world, fleet, "FirstSecret001")
    retiring = str(world.published)
    world.clock.wait(timedelta(minutes=5))
    world.rotation(fresh_after=world.clock(), grace=timedelta(days=1)).run()
    for _ in range(12):  # other fields change, and the version is no recent one any more
        world.publish(world.published or "")
    world.clock.wait(timedelta(minutes=5))
    world.rotation(grace=timedelta(days=1)).run()
    assert retiring != world.published
    assert "is an earlier secret of shop" in create_refused(world, fleet, retiring)
    assert manual_secrets.create(fleet, world.account, SecretStr("AddedByHand001"), generated=False).id in world.live


def test_create_refuses_a_compromised_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault keeps its version no longer: the digest in the journal tells."""
    world, fleet = managed(monkeypatch)
    world.provider.listing_lag = timedelta(hours=1)
    world.rotation(fresh_after=world.clock(), compromised=True).run()
    world.vault.deleted.add(("apps/shop", 1))
    assert "is a compromised secret of shop" in create_refused(world, fleet, "FirstSecret001")
