"""Which rotations may start: secondary accounts first, the circuit breaker, slow candidates, spacing, requests."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.circuit_breaker import LONGEST_COOLDOWN, Cause, CircuitBreaker
from rotator.core.protocol import Journal, RequestKind, Target, Verification
from rotator.daemon.account_record import AccountRecord
from rotator.daemon.admission import FAMILY_WAIT, PROBE_WAIT, VERIFYING_WAIT, Admission, Decision, Situation
from tests.daemon.harness import DAY, MINUTE, NOW, SECOND, Bench, failed, ok, requested, rotated

URGENT = [RequestKind.FORCE, RequestKind.COMPROMISED]


class Door:
    """An admission, and the records of the accounts a, b and c."""

    def __init__(self, bench: Bench, min_spacing: str = "10s") -> None:
        settings = bench.configure("a", "b", "c", daemon={"min_spacing": min_spacing})
        self.admission = Admission(settings, NOW)
        self.settings = settings
        self.records = {account.name: AccountRecord(account, NOW) for account in settings.accounts}
        self.running: frozenset[str] = frozenset()
        self.verifying = 0
        self.secondaries: tuple[str, ...] = ()

    def set(self, **journals: Journal) -> "Door":
        for name, journal in journals.items():
            self.records[name] = replace(self.records[name], journal=journal)
        return self

    def open_breaker(self, until: timedelta = MINUTE, cause: Cause = Cause.PROVIDER) -> None:
        self.admission.breaker = replace(self.admission.breaker, cause=cause, until=NOW + until, openings=1)

    def ask(self, name: str, after: timedelta = timedelta()) -> Decision:
        secondaries = tuple(self.records[secondary] for secondary in self.secondaries)
        decision = self.admission.decide(
            self.records[name], Situation(secondaries, self.running, self.verifying, NOW + after)
        )
        self.records[name] = decision.record
        return decision


@pytest.fixture
def door(bench: Bench) -> Door:
    return Door(bench).set(a=rotated(40 * DAY), b=rotated(40 * DAY), c=rotated(40 * DAY))


# --- the schedule ------------------------------------------------------------------------------------------------


def test_rotation_does_not_start_before_it_is_due(door: Door) -> None:
    door.set(a=rotated(DAY))
    decision = door.ask("a")
    assert (decision.starts, decision.is_due, decision.deferred) == (False, False, None)


def test_rotation_of_unknown_age_does_not_start(door: Door) -> None:
    assert not door.set(a=Journal()).ask("a").starts


def test_due_rotation_starts_and_says_why(door: Door) -> None:
    decision = door.ask("a")
    assert (decision.starts, decision.is_due, decision.overridden) == (True, True, False)


def test_due_rotations_start_min_spacing_apart(door: Door) -> None:
    assert [door.ask(name).starts for name in "abc"] == [True, False, False]
    assert [door.records[name].start.not_before for name in "bc"] == [NOW + 10 * SECOND, NOW + 20 * SECOND]
    assert not door.ask("c", 10 * SECOND).starts
    assert door.ask("b", 10 * SECOND).starts
    assert door.ask("c", 20 * SECOND).starts


# --- the circuit breaker -----------------------------------------------------------------------------------------


def test_held_rotation_waits_for_a_slot_after_cooldown(door: Door) -> None:
    door.open_breaker()
    held = [door.ask(name) for name in "abc"]
    assert [(decision.starts, decision.deferred) for decision in held] == [(False, "circuit_breaker")] * 3
    assert door.records["a"].start.not_before == NOW + MINUTE + FAMILY_WAIT
    door.admission.breaker = CircuitBreaker(5, 10, MINUTE)
    assert [door.ask(name, 2 * MINUTE).starts for name in "abc"] == [True, False, False]
    later = NOW + 2 * MINUTE
    assert [door.records[name].start.not_before for name in "bc"] == [later + 10 * SECOND, later + 20 * SECOND]
    assert door.ask("b", 2 * MINUTE + 10 * SECOND).starts


def test_single_account_is_the_probe_after_cooldown(door: Door) -> None:
    door.open_breaker()
    assert door.ask("a", MINUTE).starts
    assert door.admission.breaker.probe == "a"
    assert not door.ask("b", MINUTE).starts
    door.admission.after_run(ok("a", published=True), NOW + MINUTE)
    assert not door.admission.breaker.is_open


def test_probe_without_a_result_makes_room_for_another(door: Door) -> None:
    door.open_breaker()
    assert door.ask("a", MINUTE).starts
    door.admission.without_result("a")
    assert door.ask("b", MINUTE + 10 * SECOND).starts


def test_clock_step_shortens_slots_and_cooldown(door: Door) -> None:
    door.open_breaker(400 * DAY)
    door.admission.next_slot = NOW + 400 * DAY
    door.admission.after_clock_step(NOW)
    assert door.admission.next_slot == NOW + 10 * SECOND
    assert door.admission.breaker.until == NOW + LONGEST_COOLDOWN


def test_shorter_spacing_makes_slots_void(door: Door, bench: Bench) -> None:
    assert [door.ask(name).starts for name in "ab"] == [True, False]
    assert door.admission.load_settings(bench.configure("a", "b", daemon={"min_spacing": "1s"}), NOW)
    assert door.admission.next_slot == NOW + SECOND
    assert not door.admission.load_settings(bench.configure("a", "b", daemon={"min_spacing": "1s"}), NOW)


def test_changed_breaker_settings_close_the_breaker(door: Door, bench: Bench) -> None:
    door.open_breaker()
    settings = bench.configure("a", **{"daemon.circuit_breaker": {"failures": 3, "window": 5}})
    door.admission.load_settings(settings, NOW)
    assert (door.admission.breaker.is_open, door.admission.breaker.failures) == (False, 3)


# --- slow candidates ---------------------------------------------------------------------------------------------


def test_scheduled_rotation_waits_beside_many_slow_candidates(door: Door) -> None:
    door.verifying = 4 * door.settings.daemon.concurrency
    decision = door.ask("a")
    assert (decision.starts, decision.deferred) == (False, "provider_slow")
    assert door.records["a"].start.not_before == NOW + VERIFYING_WAIT
    door.verifying -= 1
    assert door.ask("a", VERIFYING_WAIT).starts


# --- secondary accounts ------------------------------------------------------------------------------------------


def test_primary_waits_for_a_due_secondary(door: Door) -> None:
    door.secondaries = ("b",)
    assert not door.ask("a").starts
    assert door.records["a"].start.not_before == NOW + FAMILY_WAIT
    door.set(b=rotated())
    assert door.ask("a", FAMILY_WAIT).starts


def test_primary_waits_for_a_running_or_verifying_secondary(door: Door) -> None:
    door.secondaries = ("b",)
    door.running = frozenset("b")
    assert not door.ask("a").starts
    door.running = frozenset()
    looks = Verification("r", NOW, NOW + MINUTE)
    door.set(b=rotated(40 * DAY, candidate=SecretStr("Candidate0001"), rotation_id="r", verification=looks))
    assert not door.ask("a").starts


@pytest.mark.parametrize("why", ["disabled", "failing", "waiting", "rotated since the primary was due"])
def test_primary_does_not_wait_for_other_secondaries(door: Door, why: str) -> None:
    door.secondaries = ("b",)
    b = door.records["b"]
    if why == "disabled":
        b = replace(b, settings=b.settings.model_copy(update={"enabled": False}))
    if why == "failing":
        b = replace(b, journal=replace(b.journal or Journal(), attempts=1))
    if why == "waiting":
        b = replace(b, retry=replace(b.retry, at=NOW + MINUTE))
    if why == "rotated since the primary was due":
        b = replace(b, journal=rotated(DAY))
    door.records["b"] = b
    assert door.ask("a").starts


def test_primary_waits_for_a_secondary_that_only_pauses(door: Door) -> None:
    door.secondaries = ("b",)
    b = door.records["b"]
    door.records["b"] = replace(b, retry=replace(b.retry, at=NOW + SECOND))
    assert not door.ask("a").starts


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RequestKind)
def test_recorded_request_starts_a_rotation(door: Door, kind: RequestKind) -> None:
    decision = door.set(a=requested(kind)).ask("a")
    assert (decision.starts, decision.is_due) == (True, False)


def test_request_whose_candidate_waits_starts_nothing(door: Door) -> None:
    door.set(a=requested(RequestKind.FORCE, candidate=SecretStr("Candidate0001")))
    door.open_breaker()
    assert not door.ask("a").starts
    assert door.records["a"].start.not_before is None


def test_request_for_a_replaced_secret_starts_nothing(door: Door) -> None:
    journal = requested(RequestKind.COMPROMISED)
    assert journal.current is not None
    door.set(a=replace(journal, current=replace(journal.current, id="another")))
    assert not door.ask("a").starts
    assert journal.request is not None
    door.set(a=replace(journal, request=replace(journal.request, of=Target())))
    assert not door.ask("a").starts


def test_manual_request_waits_for_breaker_and_spacing(door: Door) -> None:
    door.set(a=requested(RequestKind.MANUAL), b=requested(RequestKind.MANUAL))
    door.open_breaker()
    assert door.ask("a").deferred == "circuit_breaker"
    door.admission.breaker = CircuitBreaker(5, 10, MINUTE)
    assert [door.ask(name, 2 * MINUTE).starts for name in "ab"] == [True, False]


@pytest.mark.parametrize("kind", URGENT)
def test_urgent_request_does_not_wait_for_spacing(door: Door, kind: RequestKind) -> None:
    door.set(b=requested(kind), c=requested(kind))
    assert [door.ask(name).starts for name in "abc"] == [True, True, True]
    assert door.admission.next_slot == NOW + 10 * SECOND


@pytest.mark.parametrize("kind", URGENT)
def test_urgent_request_does_not_wait_for_others(door: Door, kind: RequestKind) -> None:
    door.set(a=requested(kind))
    door.secondaries = ("b",)
    door.verifying = 1000
    assert door.ask("a").starts


@pytest.mark.parametrize("kind", URGENT)
def test_single_urgent_request_probes_an_open_breaker(door: Door, kind: RequestKind) -> None:
    door.set(a=requested(kind), b=requested(kind))
    door.open_breaker()
    assert door.ask("a").starts
    held = door.ask("b")
    assert (held.starts, held.deferred) == (False, "circuit_breaker")
    assert door.records["b"].start.not_before == NOW + PROBE_WAIT
    door.admission.after_run(failed("a", "not_sent"), NOW + SECOND)
    assert door.ask("b", PROBE_WAIT).starts


def test_urgent_probes_change_neither_cooldown_nor_breaker(door: Door) -> None:
    door.set(a=requested(RequestKind.FORCE))
    door.open_breaker()
    for outcome in (failed("a", "not_sent"), ok("a", published=True)):
        assert door.ask("a").starts
        door.admission.after_run(outcome, NOW + SECOND)
        breaker = door.admission.breaker
        assert (breaker.is_open, breaker.until, breaker.openings, breaker.probe) == (True, NOW + MINUTE, 1, None)
