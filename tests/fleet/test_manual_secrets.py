"""Secrets that a person adds: what is left if the process dies."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.errors import RotatorError
from rotator.fleet import Fleet, look, manual_secrets
from rotator.fleet.account_view import NO_REQUEST
from rotator.vault import VaultUnreachable
from testkit.model import World


class Died(BaseException):
    """The process ends: nothing handles it."""


def managed(monkeypatch: pytest.MonkeyPatch) -> tuple[World, Fleet]:
    """A world with an adopted account, and the fleet that manages it."""
    world = World(grace=timedelta())
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
