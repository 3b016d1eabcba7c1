"""Writes of the published document: a new secret, a rewrite, and the mark before them."""

from dataclasses import replace
from datetime import timedelta

from rotator.core.protocol import Publish, Publishing, wake_at
from rotator.rotation import Result
from rotator.vault import Document
from testkit.model import World
from tests.rotation.worlds import DAY, FIRST, adopted, answered, rotate, run_until, sealed_after_publish, store


def test_rotation_keeps_other_fields() -> None:
    world = World()
    world.provider.add("shopkey", FIRST)
    world.vault.versions["apps/shop"] = [{"api_secret": FIRST, "region": "eu", "limits": {"rps": 30}}]
    world.clock.wait(DAY)
    rotate(world)
    document = world.vault.versions["apps/shop"][-1]
    assert document["region"] == "eu"
    assert document["limits"] == {"rps": 30}
    assert document["api_secret"] != FIRST


def test_run_reports_its_publication_when_vault_seals_afterwards() -> None:
    world = adopted()
    sealed_after_publish(world)
    outcome = rotate(world)
    assert (outcome.result, outcome.published) == (Result.FAILED, True)
    assert "Nothing was revoked, and the new secret is published and works" in str(outcome.error)


def test_paused_process_publishes_nothing_when_its_lease_expired() -> None:
    world = adopted()
    runner = world.rotation(fresh_after=world.clock())
    run_until(runner, Publish, then_perform=False)
    step = runner.decide()
    world.clock.wait(timedelta(minutes=3))
    runner.perform(step)
    assert world.published == FIRST


def test_clock_ahead_rewrites_no_document_too_early() -> None:
    world = answered()
    world.ahead = timedelta(hours=2)
    peek = world.vault.peek

    def expiring(path: str, version: int | None = None) -> Document:
        document = peek(path, version)
        expires_at = document.created + timedelta(hours=6) if document.created else None
        return replace(document, expires_at=expires_at)

    world.vault.peek = expiring  # type: ignore[method-assign]
    before = {path: len(versions) for path, versions in world.vault.versions.items()}
    assert world.rotation().run().result is Result.OK
    assert {path: len(versions) for path, versions in world.vault.versions.items()} == before


def test_mark_ends_after_document_was_deleted_with_history() -> None:
    world = answered()
    store(world, publishing=Publishing(world.journal.published_version + 7))
    assert world.rotation().run().result is Result.OK
    assert world.journal.publishing is None
    assert wake_at(world.journal, world.provider.settle, world.clock()) is None
    assert world.consumer_works()
