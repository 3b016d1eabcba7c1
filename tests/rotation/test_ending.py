"""How a run ends: failures, backoff, and what its outcome says."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from rotator.core.backoff import backoff
from rotator.core.protocol import Publish
from rotator.errors import Blame
from rotator.provider import Credentials, LostAnswer, Unauthorized
from rotator.rotation import Operator, Result
from rotator.vault import VaultSealed
from tests.rotation.worlds import DAY, FIRST, adopted, answered, rotate, run_until, wait_with


def test_backoff_doubles_to_an_hour_until_a_success() -> None:
    world = adopted()
    waits = []
    for _ in range(8):
        rotation = world.rotation(fresh_after=world.clock())
        outcome = None
        while outcome is None:
            world.provider.fault = "lost-before"
            outcome = rotation.step()
        world.provider.fault = None
        waits.append(world.journal.next_attempt_at - world.clock())
    assert waits == [backoff("shop", attempts) for attempts in range(1, 9)]
    assert world.journal.attempts == 8
    rotate(world)
    assert world.journal.attempts == 0
    assert world.journal.last_error is None


@pytest.mark.parametrize("ahead", [365 * DAY, timedelta(hours=20)])
def test_backoff_is_independent_of_the_instances_clock(ahead: timedelta) -> None:
    world = adopted()
    world.ahead = ahead
    world.provider.add("shopkey", "HumanSecret001")
    assert rotate(world).result is Result.FAILED
    world.ahead = timedelta()
    world.provider.remove("shopkey", next(id_ for id_, value in world.live.items() if value == "HumanSecret001"))
    assert world.rotation(explicit=False).run().reason == "backoff"
    world.clock.wait(2 * backoff("shop", 1))
    assert world.rotation(explicit=False).run().result is Result.OK


def test_journal_contains_failure_code_until_next_success() -> None:
    world = answered()
    told = []
    stray = world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    told.append(world.journal.failure)
    resolving = Operator(world.rotation())
    assert [*resolving.unknown()] == [stray]
    resolving.resolve(frozenset({stray}))
    told.append(world.journal.failure)
    world.clock.wait(timedelta(hours=2))
    world.rotation().run()
    world.provider.add("shopkey", "HumanSecret002")
    world.provider.remove("shopkey", world.journal.current_id)
    rotate(world)
    told.append(world.journal.failure)
    world.publish("HumanSecret002")
    world.rotation().run()
    told.append(world.journal.failure)
    assert told == ["ambiguous", None, "credentials", None]


def test_stopped_run_defers_and_begins_nothing() -> None:
    world = adopted()
    rotation = world.rotation(fresh_after=world.clock())
    wait_with(rotation, lambda delay: True)
    outcome = rotation.run()
    assert outcome.result is Result.DEFERRED
    assert outcome.reason == "stopped"
    assert world.journal.attempts == 0
    assert world.journal.lease_holder is None
    assert list(world.live.values()) == [FIRST]


def test_failure_after_publishing_names_the_change() -> None:
    world = adopted(grace=timedelta(), max_secrets=3)
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Publish, then_perform=False)
    world.provider.add("shopkey", "HumanSecret001")
    outcome = rotation.run()
    assert outcome.published
    assert outcome.reason == "ambiguous"
    assert "the new secret is published and works" in (outcome.error or "")


REFERENCE = "(request id 5f2c1d9e, instance 7b1e)"


@pytest.mark.parametrize("refused", ["published", "create", "revocation"])
def test_failure_names_the_providers_request_id(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """The provider's support asks for it, also where rotator's own words tell the failure."""

    def answer(*_: Any) -> None:
        raise Unauthorized("refused", status=401, request_id="5f2c1d9e", instance="7b1e")

    world = adopted()
    if refused == "published":
        world.provider.on_request = answer
    else:
        operation = "create_secret" if refused == "create" else "revoke_secret"
        monkeypatch.setattr(world.provider, operation, answer)
    outcome = rotate(world, grace=timedelta())
    code = {"published": "credentials"}.get(refused, "unanswered")
    assert (outcome.result, outcome.reason) == (Result.FAILED, code)
    assert f"{REFERENCE}. Nothing was revoked" in (outcome.error or "")
    assert REFERENCE in (world.journal.last_error or "")


@pytest.mark.parametrize(("fault", "is_unknown"), [(None, False), ("lost-before", True), ("lost-after", True)])
def test_outcome_reports_whether_last_write_is_unknown(fault: str | None, *, is_unknown: bool) -> None:
    """The provider fails, and so does Vault, which was to record the request and the failure."""
    world = answered()

    def fail(_: Credentials) -> None:
        world.vault.fault = fault
        raise LostAnswer("no answer")

    world.provider.on_request = fail
    outcome = world.rotation(fresh_after=world.clock() + timedelta(seconds=1), compromised=True).run()
    assert outcome.blame is Blame.PROVIDER
    assert outcome.journal_is_unknown == is_unknown


@pytest.mark.parametrize(("count", "said"), [(1, "Only id-001 was revoked"), (2, "Only id-001, id-002 were revoked")])
def test_failure_after_revocations_names_them(count: int, said: str) -> None:
    world = adopted(max_secrets=count + 1)
    for _ in range(count):
        rotate(world)
        world.clock.wait(timedelta(minutes=2))
    world.clock.wait(timedelta(hours=2))
    revoked: list[str] = []
    world.provider.on_revoke = lambda id_, _: revoked.append(id_)
    write = world.vault.write

    def writes(path: str, data: Mapping[str, Any], cas: int) -> int:
        if len(revoked) == count:
            raise VaultSealed("Vault is sealed", maybe_done=False)
        return write(path, data, cas)

    world.vault.write = writes  # type: ignore[method-assign]
    assert f"{said}, and the published secret stays" in (world.rotation().run().error or "")
