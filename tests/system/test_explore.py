"""The search finds nothing wrong with the protocol, and finds what is wrong with protocols that are worse.

The whole search takes hours and is `make model`; here are its small scenarios and a part of the large ones.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from rotator.core.protocol import (
    Credential,
    Event,
    Identity,
    Journal,
    Learned,
    Prepare,
    RequestKind,
    Revoke,
    Situation,
    Step,
    Trigger,
    WriteJournal,
    requests,
    transitions,
)
from rotator.core.protocol import candidate as candidate_rules
from rotator.core.protocol import documents as document_rules
from rotator.core.protocol import identity as identity_rules
from rotator.core.protocol import retirement as retirement_rules
from rotator.provider import SecretInfo
from rotator.rotation import audit_trail, revocation
from rotator.rotation.access import ProviderAccess
from testkit.model import ModelVault
from tools.explore.scenarios import AT_ONCE, THREE_REQUESTS
from tools.explore.search import search
from tools.explore.states import DELETE, SECOND, TICK, WINDOW, Scenario

pytestmark = pytest.mark.timeout(1200)


HELD_UP = Scenario(
    "a write that is held up",
    start="held up",
    runners=1,
    scheduled=False,
    grace=2 * TICK,
    crashes=0,
    by_hand=1,
    hand=(DELETE,),
    needs_person=True,
)


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario("a crash", runners=1, faults=0, slowest=AT_ONCE),
        Scenario("a fault", runners=1, crashes=0, slowest=AT_ONCE),
        Scenario("a secret that takes a while", runners=1, crashes=0, faults=0, propagation=TICK),
        Scenario("a person", runners=1, crashes=0, faults=0, by_hand=1, slowest=TICK),
        Scenario(
            "lists that lag",
            start="added to own",
            runners=1,
            scheduled=False,
            adopts=SECOND,
            lag=WINDOW,
            crashes=0,
            faults=0,
            slowest=AT_ONCE,
        ),
        Scenario(
            "a list that lacks an id", start="replaced", runners=1, scheduled=False, crashes=0, answers=("lacks",)
        ),
        Scenario("unprovisioned", runners=1, crashes=0, answers=("unprovisioned",), slowest=AT_ONCE),
        Scenario("a foreign document", start="foreign", runners=1, grace=2 * TICK, needs_person=True, unchanged=True),
        Scenario(
            "a compromised request",
            start="replaced",
            runners=1,
            scheduled=False,
            requests=(RequestKind.COMPROMISED,),
            grace=4 * TICK,
            faults=0,
            slowest=AT_ONCE,
        ),
        replace(THREE_REQUESTS, name="two compromised requests", runners=2, requests=(RequestKind.COMPROMISED,) * 2),
    ],
    ids=lambda scenario: scenario.name,
)
def test_scenario_keeps_every_invariant_in_every_state(scenario: Scenario) -> None:
    found = search(scenario)
    assert found.broken is None, found.told()
    assert found.complete
    assert found.quiet


@pytest.mark.parametrize(
    "scenario",
    [Scenario("two runners", faults=0), replace(HELD_UP, slowest=AT_ONCE)],
    ids=lambda scenario: scenario.name,
)
def test_large_scenarios_keep_every_invariant_at_first(scenario: Scenario) -> None:
    found = search(scenario, most=2000)
    assert found.broken is None, found.told()
    assert found.states >= 2000


# --- worse protocols -----------------------------------------------------------------------------------------

# The package offers the function of the same name.
DECIDE = importlib.import_module("rotator.core.protocol.decide")
Rule = Callable[[Situation], Step | None]


def replace_rule(monkeypatch: pytest.MonkeyPatch, old: Rule, new: Rule) -> None:
    assert old in DECIDE.RULES
    monkeypatch.setattr(DECIDE, "RULES", tuple(new if rule is old else rule for rule in DECIDE.RULES))


def broken(scenario: Scenario, most: int = 20_000) -> str:
    found = search(scenario, most=most)
    assert found.broken is not None, "the search noticed nothing"
    assert found.trace
    return found.told()


def test_search_finds_missing_wait_for_late_creates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Situation, "late_create_until", None)
    told = broken(Scenario("no fence", runners=1, crashes=0, slowest=AT_ONCE))
    assert "I6" in told
    assert "lands late: creates" in told


def test_search_finds_takeover_that_forgets_a_create(monkeypatch: pytest.MonkeyPatch) -> None:
    def claimed(case: Situation) -> Journal:
        lease_until = case.now + case.policy.lease
        return replace(case.journal, lease_holder=case.policy.instance, lease_until=lease_until)

    monkeypatch.setattr(transitions, "claimed", claimed)
    assert "I6" in broken(Scenario("forgetful takeover", runners=1, faults=0, slowest=TICK))


def test_search_finds_second_candidate_after_a_lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(case: Situation) -> Step | None:
        lost = case.seen.create_lost_at is not None and case.seen.creates == 1
        if case.journal.candidate is not None and lost and not case.candidate_works:
            return Prepare(Trigger.SCHEDULE)
        return candidate_rules.finish(case)

    replace_rule(monkeypatch, candidate_rules.finish, hasty)
    assert "I6" in broken(Scenario("another candidate", runners=1, crashes=0, slowest=AT_ONCE))


def test_search_finds_candidate_published_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    list_as = ProviderAccess.list_as

    def believing(self: ProviderAccess, using: Credential) -> tuple[SecretInfo, ...]:
        return list_as(self, using if using is not Credential.CANDIDATE else Credential.PUBLISHED)

    monkeypatch.setattr(ProviderAccess, "list_as", believing)
    assert "I1" in broken(Scenario("unverified", runners=1, crashes=0, faults=0, propagation=TICK))


def test_search_finds_revocation_of_unknown_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def tidy(case: Situation) -> Step | None:
        return Revoke(min(case.unknown)) if case.unknown else None

    replace_rule(monkeypatch, identity_rules.name_unknown, tidy)
    monkeypatch.setattr(revocation, "refuse_if_unsafe", lambda step, state: None)
    monkeypatch.setattr(audit_trail, "has_lease", lambda journal, policy, now: True)
    assert "I4" in broken(Scenario("tidy", runners=1, crashes=0, faults=0, by_hand=1))


def test_search_finds_missing_check_and_set(monkeypatch: pytest.MonkeyPatch) -> None:
    write = ModelVault.write

    def careless(self: ModelVault, path: str, data: Mapping[str, Any], cas: int) -> int:
        return write(self, path, data, len(self.versions.get(path, [])))

    monkeypatch.setattr(ModelVault, "write", careless)
    assert "I5" in broken(Scenario("no check-and-set", crashes=0, faults=0, max_secrets=3))


def test_search_finds_elimination_by_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def pending(case: Situation, *, foreign_ids: frozenset[str], guess: str | None = None) -> Identity:
        return Identity(guess, Learned.ELIMINATED, beside=case.listed)

    monkeypatch.setattr(transitions, "pending", pending)
    assert "identity" in broken(
        Scenario("one list", start="new", runners=1, scheduled=False, crashes=0, faults=0, lag=WINDOW)
    )


def test_search_finds_revocation_while_a_mark_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(case: Situation) -> Step | None:
        mark = case.journal.publishing
        retiring = case.journal.retiring + ((mark.entry,) if mark is not None and mark.entry is not None else ())
        step = retirement_rules.revoke(replace(case, journal=replace(case.journal, publishing=None, retiring=retiring)))
        if isinstance(step, WriteJournal):
            return WriteJournal(step.event, replace(step.journal, publishing=mark, retiring=case.journal.retiring))
        return step or document_rules.end_late_write(case)

    monkeypatch.setattr(
        DECIDE, "RULES", tuple(rule for rule in DECIDE.RULES if rule is not document_rules.end_late_write)
    )
    replace_rule(monkeypatch, retirement_rules.revoke, hasty)
    monkeypatch.setattr(revocation, "refuse_if_unsafe", lambda step, state: None)
    assert "I9" in broken(HELD_UP)


def test_search_finds_mark_dropped_over_a_deleted_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(case: Situation) -> Step | None:
        mark = case.journal.publishing
        if mark is not None and mark.entry is not None and case.seen.published.secret is None:
            retiring = (*case.journal.retiring, mark.entry)
            return WriteJournal(Event.UNMARKED, replace(case.journal, publishing=None, retiring=retiring))
        return document_rules.end_late_write(case)

    replace_rule(monkeypatch, document_rules.end_late_write, forgetful)
    assert "I9" in broken(HELD_UP)


def test_search_finds_request_that_outlives_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def unfinished(case: Situation) -> bool:
        return case.journal.request is not None and not requests.is_done(
            case.journal, case.seen.published, at_rest=True
        )

    monkeypatch.setattr(Situation, "requested", property(unfinished))
    assert "requests" in broken(
        Scenario(
            "while not done",
            runners=1,
            scheduled=False,
            requests=(RequestKind.COMPROMISED,),
            crashes=0,
            slowest=AT_ONCE,
        )
    )
