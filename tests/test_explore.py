"""The search finds nothing wrong with the protocol, and finds what is wrong with protocols that are worse.

The whole search takes minutes and is `make model`; here are its small scenarios and a part of the large ones.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rotator.core import protocol
from rotator.core.protocol import Credential, Listing, Prepare, Revoke, Step, Trigger
from rotator.rotation import Rotation
from tests.explore import TICK, Scenario, search
from tests.model import ModelVault

pytestmark = pytest.mark.timeout(1200)


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario("a crash", runners=1, faults=0),
        Scenario("a fault", runners=1, crashes=0),
        Scenario("a secret that takes a while", runners=1, crashes=0, faults=0, propagation=TICK),
        Scenario("a person", runners=1, crashes=0, faults=0, by_hand=1),
    ],
    ids=lambda scenario: scenario.name,
)
def test_one_runner_keeps_every_invariant_in_every_state(scenario: Scenario) -> None:
    found = search(scenario)
    assert found.broken is None, found.told()
    assert found.complete
    assert found.quiet


def test_two_runners_keep_every_invariant_as_far_as_a_few_seconds_reach() -> None:
    found = search(Scenario("two runners", faults=0), most=3000)
    assert found.broken is None, found.told()
    assert found.states >= 3000


# --- worse protocols -----------------------------------------------------------------------------------------


def broken(scenario: Scenario) -> str:
    found = search(scenario, most=20_000)
    assert found.broken is not None, "the search noticed nothing"
    assert found.trace
    return found.told()


def test_it_finds_a_protocol_that_does_not_wait_for_late_creates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol._Case, "late_create_until", None)
    told = broken(Scenario("no fence", runners=1, crashes=0))
    assert "I6" in told
    assert "lands late: creates" in told


def test_it_finds_a_takeover_that_forgets_the_create_of_a_dead_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    def claimed(case: protocol._Case) -> protocol.Journal:
        lease_until = case.now + case.policy.lease
        return replace(case.journal, holder=case.policy.runner, lease_until=lease_until)

    monkeypatch.setattr(protocol, "_claimed", claimed)
    assert "I6" in broken(Scenario("forgetful takeover", runners=1, faults=0))


def test_it_finds_a_lost_answer_that_leads_to_another_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    original = protocol._continue

    def hasty(case: Any) -> Step | None:
        if case.journal.candidate is not None and case.seen.create_lost_at is not None and case.seen.creates == 1:
            return Prepare(Trigger.SCHEDULE)
        return original(case)

    rules = tuple(hasty if rule is original else rule for rule in protocol._RULES)
    monkeypatch.setattr(protocol, "_RULES", rules)
    assert "I6" in broken(Scenario("another candidate", runners=1, crashes=0))


def test_it_finds_a_candidate_that_is_published_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    def believing(self: Rotation, using: Credential) -> None:
        known = using if using is not Credential.CANDIDATE else Credential.PUBLISHED
        infos = self._list_as(known)
        self.seen = replace(self.seen, listing=Listing(using, {info.id: info.created_at for info in infos}))

    monkeypatch.setattr(Rotation, "_list", believing)
    assert "I1" in broken(Scenario("unverified", runners=1, crashes=0, faults=0, propagation=TICK))


def test_it_finds_a_revocation_of_whatever_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    def tidy(case: Any) -> Step | None:
        strangers = protocol.unaccounted(case.seen, case.journal)
        return Revoke(min(strangers)) if strangers else None

    rules = tuple(tidy if rule is protocol._unaccounted else rule for rule in protocol._RULES)
    monkeypatch.setattr(protocol, "_RULES", rules)
    monkeypatch.setattr(Rotation, "_refuse_unsafe_revocation", lambda self, id_: None)
    monkeypatch.setattr(protocol, "has_lease", lambda journal, policy, now: True)
    assert "I4" in broken(Scenario("tidy", runners=1, crashes=0, faults=0, by_hand=1))


def test_it_finds_that_nothing_holds_without_check_and_set(monkeypatch: pytest.MonkeyPatch) -> None:
    write = ModelVault.write

    def careless(self: ModelVault, path: str, data: Mapping[str, Any], cas: int) -> int:
        return write(self, path, data, len(self.versions.get(path, [])))

    monkeypatch.setattr(ModelVault, "write", careless)
    assert "I5" in broken(Scenario("no check-and-set", crashes=0, faults=0, max_secrets=3))
