"""The owner of the account records: facts in, records and work out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from rotator.core.circuit_breaker import LONGEST_COOLDOWN, Cause
from rotator.core.protocol import Journal, RequestKind, Result
from rotator.daemon.account_record import SHORTEST_PAUSE, VAULT_RETRIES
from rotator.daemon.admission import Admission
from rotator.daemon.facts import (
    ClockStepped,
    DocumentSeen,
    Due,
    JournalLoaded,
    JournalsChanged,
    JournalUnreadable,
    JournalWritten,
    LookFailed,
    ResyncEnded,
    Stopping,
    TaskBroke,
    Tick,
    VaultStateChanged,
)
from rotator.daemon.registry import LOST_AFTER
from rotator.daemon.tasks import LoadJournal, ReadBalance, Resync, Run
from rotator.errors import Code, RotatorError
from rotator.fleet import Wanted
from rotator.rotation import Outcome
from rotator.vault import Document, Vault, VaultSealed, VaultUnauthorized
from tests.daemon.harness import DAY, NOW, SECOND, Bench, failed, ok, requested, rotated

MINUTE = timedelta(minutes=1)
SEALED = VaultSealed("Vault is sealed", unchanged="Nothing was changed", next_step="Unseal it")
# Nothing is tried at the provider by itself, and no resync comes in between.
CALM: dict[str, Any] = {"daemon": {"verify_interval": "365d", "resync_interval": "30d"}, "balance": {"every": "off"}}


class Unreadable(RotatorError):
    code = Code.JOURNAL_UNREADABLE


def run_of(bench: Bench, name: str) -> Run:
    """Return the run of an account that was handed out, and leave the others."""
    [task] = [task for task in bench.submitted if isinstance(task, Run) and task.target.name == name]
    bench.submitted.remove(task)
    return task


# --- the start ---------------------------------------------------------------------------------------------------


def test_start_does_nothing_until_vault_is_available(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    assert bench.submitted == []
    assert bench.status.not_ready == "Vault was not asked yet"
    bench.available()
    assert [task.target.name for task in bench.take(LoadJournal)] == ["a", "b"]
    assert bench.status.not_ready == "2 of 2 journals were not read yet"


def test_start_reads_every_journal_and_rotates_nothing(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.load(a=rotated(DAY), b=rotated(2 * DAY))
    assert bench.status.ready
    bench.advance()
    assert bench.submitted == []
    assert NOW + 29 * DAY <= bench.jobs.at["a"] <= NOW + 29 * DAY + SECOND


def test_start_reads_a_few_journals_at_a_time(bench: Bench) -> None:
    bench.start(*(f"n{number}" for number in range(5)), **(CALM | {"daemon": CALM["daemon"] | {"concurrency": 2}}))
    bench.available()
    first, second = bench.take(LoadJournal)
    bench.feed(JournalLoaded(first, rotated()))
    assert len(bench.take(LoadJournal)) == 1
    bench.feed(JournalLoaded(second, rotated()))
    assert len(bench.take(LoadJournal)) == 1


def test_new_account_runs_at_once(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load()
    bench.advance()
    assert bench.take_one(Run).request.wanted is Wanted.NOTHING_NEW


def test_overdue_rotation_runs_as_due(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    assert run.request.wanted is Wanted.DUE
    assert bench.record("a").job_at is None
    assert bench.count("rotator_job_start_delay_seconds_count") == 1


def test_unreadable_journal_is_a_failure_and_read_again(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.available()
    bench.feed(JournalUnreadable(bench.take_one(LoadJournal), Unreadable("No journal")))
    said = "No journal. To see whether it works now: rotator check."
    assert (bench.account("a").failure, bench.account("a").last_error) == (Code.JOURNAL_UNREADABLE, said)
    assert bench.status.ready, "a failure of one account's own"
    bench.advance(SECOND)
    assert bench.submitted == []
    bench.advance(MINUTE)
    bench.feed(JournalLoaded(bench.take_one(LoadJournal), rotated()))
    assert bench.account("a").failure is None


def test_disabled_account_is_not_read(bench: Bench) -> None:
    bench.start({"name": "a", "api_key": "keya", "path": "apps/a", "enabled": False}, **CALM)
    bench.load()
    bench.advance(DAY)
    assert bench.submitted == []
    assert bench.status.ready


# --- runs --------------------------------------------------------------------------------------------------------


def test_account_never_runs_twice_at_once(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    bench.jobs.at["a"] = bench.now
    bench.advance(SECOND)
    assert bench.running() == ["a"]


def test_runs_are_at_most_concurrency(bench: Bench) -> None:
    bench.start("a", "b", "c", **(CALM | {"daemon": CALM["daemon"] | {"concurrency": 2}}))
    bench.load(**{name: rotated(31 * DAY) for name in "abc"})
    bench.advance(SECOND)
    first, second = bench.take(Run)
    assert bench.registry.snapshot(bench.now).worker_is_wanted
    bench.end(first, ok(first.target.name, rotated(), published=True))
    assert len(bench.take(Run)) == 1
    assert not bench.registry.snapshot(bench.now).worker_is_wanted
    assert second.target.name in bench.registry.snapshot(bench.now).running


def test_progress_of_a_run_is_visible(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.feed(JournalWritten(run, rotated(31 * DAY, lease_holder="me")))
    assert bench.account("a").lease_holder == "me"


def test_run_without_changes_is_not_repeated_at_once(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load()
    bench.advance()
    bench.end(bench.take_one(Run), ok("a", Journal()))
    assert bench.jobs.at["a"] == NOW + SHORTEST_PAUSE


def test_successful_run_counts_as_verification(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "1h", "resync_interval": "30d"}, balance={"every": "off"})
    bench.load(a=rotated())
    bench.advance(timedelta(hours=1))
    bench.end(bench.take_one(Run), ok("a"))
    assert bench.record("a").tried_at == bench.now
    assert bench.jobs.at["a"] == bench.now + timedelta(hours=1)


def test_recorded_failure_waits_for_its_next_attempt(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    journal = rotated(31 * DAY, attempts=1, failure="not_sent", next_attempt_at=bench.now + 7 * MINUTE)
    bench.end(bench.take_one(Run), failed("a", "not_sent", journal=journal))
    assert bench.jobs.at["a"] == bench.now + 7 * MINUTE
    assert bench.record("a").retry.failures == 0


def test_failure_without_a_journal_backs_off(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    bench.end(bench.take_one(Run), failed("a", "vault_denied"))
    assert bench.account("a").failure is Code.VAULT_DENIED
    assert 45 * SECOND <= bench.jobs.at["a"] - bench.now <= MINUTE
    assert bench.jobs.at["a"] == bench.account("a").next_attempt_at


def test_deferred_run_continues_at_the_outcomes_time(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    until = bench.now + 5 * MINUTE
    bench.end(bench.take_one(Run), Outcome("a", Result.DEFERRED, reason="leased", until=until, journal=rotated(DAY)))
    assert bench.record("a").retry.at == until


def test_internal_error_of_a_run_is_retried_later(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.registry.admission.breaker = replace(
        bench.registry.admission.breaker, cause=Cause.PROVIDER, until=NOW, openings=1
    )
    bench.advance(SECOND)
    run = bench.take_one(Run)
    assert bench.probe() == "a"
    bench.feed(TaskBroke(run, "somewhere"))
    assert bench.account("a").failure is Code.INTERNAL_ERROR
    assert bench.probe() is None
    bench.advance(SECOND)
    assert bench.running() == []
    bench.advance(2 * MINUTE)
    assert bench.running() == ["a"]


def test_internal_error_of_a_load_is_retried_later(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.available()
    bench.feed(TaskBroke(bench.take_one(LoadJournal), "somewhere"))
    assert bench.account("a").failure is Code.INTERNAL_ERROR
    bench.advance(MINUTE)
    assert len(bench.take(LoadJournal)) == 1


def test_internal_error_of_a_start_is_retried_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    with monkeypatch.context() as patch:
        patch.setattr(Admission, "decide", lambda *_: 1 // 0)
        bench.advance(SECOND)
    assert bench.account("a").failure is Code.INTERNAL_ERROR
    assert bench.count("rotator_internal_errors_total") == 1
    bench.advance(MINUTE)
    assert bench.running() == ["a"]


def test_internal_error_after_a_run_blocks_no_account(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    with monkeypatch.context() as patch:
        patch.setattr(Admission, "after_run", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            bench.end(run, ok("a", rotated(31 * DAY)))
    bench.advance(SECOND)
    assert bench.running() == ["a"]


def test_expiring_document_is_rewritten_when_account_waits(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    waits = rotated(31 * DAY, next_attempt_at=NOW + 30 * MINUTE, attempts=1)
    bench.load(a=waits)
    bench.advance(MINUTE)
    [look] = bench.take_one(Resync).looks
    bench.feed(DocumentSeen(look, Document(0, None), waits, refresh_at=bench.now))
    bench.advance()
    assert bench.running() == ["a"]


# --- Vault -------------------------------------------------------------------------------------------------------


def test_expiring_document_starts_no_requested_rotation(bench: Bench) -> None:
    """The circuit breaker is open: the run rewrites the document, and the request waits."""
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    admission = bench.registry.admission
    admission.breaker = replace(admission.breaker, cause=Cause.NEW_SECRETS, until=NOW + timedelta(hours=1), openings=1)
    journal = requested(RequestKind.MANUAL)
    bench.load(a=journal)
    bench.advance(SECOND)
    assert bench.running() == []
    bench.advance(MINUTE)
    [look] = bench.take_one(Resync).looks
    bench.feed(DocumentSeen(look, Document(0, None), journal, refresh_at=bench.now))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    assert not run.request.begins
    bench.end(run, ok("a", journal))
    bench.advance(MINUTE)
    assert bench.running() == []
    bench.advance(timedelta(hours=1))
    assert run_of(bench, "a").request.begins


def test_unavailable_vault_starts_nothing_and_says_why(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.feed(VaultStateChanged(bench.fleet.vault, SEALED))
    assert bench.jobs.paused
    assert bench.status.not_ready == "Vault is sealed", "without advice: the log has it"
    bench.advance(MINUTE)
    assert bench.submitted == []
    bench.available()
    assert bench.status.ready
    bench.advance()
    assert bench.running() == ["a"]


def test_outage_is_logged_once_per_kind_of_failure(bench: Bench) -> None:
    """The texts differ: countdowns, and the addresses of a cluster in another order."""
    bench.start("a", **CALM)
    with capture_logs() as logs:
        for seconds in (8, 7, 6):
            refused = VaultUnauthorized(f"Vault refuses the login (the next login is tried in {seconds} s)")
            bench.feed(VaultStateChanged(bench.fleet.vault, refused), VaultStateChanged(bench.fleet.vault, SEALED))
    assert [str(line["error"])[:20] for line in logs] == ["Vault refuses the lo", "Vault is sealed. Not"]
    assert bench.status.not_ready == "Vault is sealed"
    bench.available()
    with capture_logs() as logs:
        bench.feed(VaultStateChanged(bench.fleet.vault, SEALED))
        other = Vault(bench.fleet.settings.vault)
        bench.reload("a", vault_session=other, **CALM)
        bench.feed(VaultStateChanged(other, SEALED))
    assert [line["event"] for line in logs] == ["vault.unavailable"] * 2, "a later outage, and another Vault"


def test_account_due_before_an_outage_runs_afterwards(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.now += SECOND
    due = bench.jobs.due(bench.now)
    bench.feed(VaultStateChanged(bench.fleet.vault, SEALED))
    bench.feed(*(Due(name) for name in due))
    assert bench.submitted == []
    bench.available()
    bench.advance(SECOND)
    assert bench.running() == ["a"]


def test_failure_because_of_vault_is_deferred(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    checks = bench.checks
    with capture_logs() as logs:
        bench.end(bench.take_one(Run), failed("a", "vault_sealed", rotation_id="0a1b"))
    [line] = logs
    assert (line["event"], line["log_level"], line["rotation_id"]) == ("account.deferred", "warning", "0a1b")
    assert bench.checks > checks
    assert (bench.account("a").failure, bench.account("a").last_error) == (None, None)
    assert bench.registry.admission.breaker.recent == ()
    assert bench.count("rotator_deferrals_total", reason="vault_unavailable") == 1
    assert bench.jobs.at["a"] == bench.now + SECOND


def test_deferred_runs_continue_when_vault_is_available(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.feed(VaultStateChanged(bench.fleet.vault, None))
    bench.advance(SECOND)
    bench.end(bench.take_one(Run), failed("a", "vault_sealed"))
    bench.feed(VaultStateChanged(bench.fleet.vault, SEALED))
    bench.available()
    bench.advance(SECOND)
    assert bench.running() == ["a"]
    assert bench.record("a").retry.vault_deferrals == 0


def test_vault_failure_of_one_account_ends_with_failure(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    with capture_logs() as logs:
        for _ in range(VAULT_RETRIES + 1):
            assert bench.account("a").failure is None
            bench.advance(timedelta(seconds=5))
            bench.end(bench.take_one(Run), failed("a", "vault_error"))
    assert [line["event"] for line in logs] == ["account.deferred"] * VAULT_RETRIES + ["rotation.failed"]
    assert bench.account("a").failure is Code.VAULT_ERROR
    assert bench.count("rotator_deferrals_total", reason="vault_unavailable") == VAULT_RETRIES
    assert bench.count("rotator_failures_total", reason="vault_error") == 1


def test_journal_unreadable_because_of_vault_is_no_failure(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.available()
    bench.feed(JournalUnreadable(bench.take_one(LoadJournal), SEALED))
    assert bench.account("a").failure is None
    assert not bench.status.ready
    bench.advance(SECOND)
    assert len(bench.take(LoadJournal)) == 1


def test_state_of_a_replaced_vault_is_ignored(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.available()
    other = Vault(bench.fleet.settings.vault)
    bench.feed(VaultStateChanged(other, SEALED))
    assert "sealed" not in (bench.status.not_ready or "")
    assert bench.checks == 1


# --- commands and other instances --------------------------------------------------------------------------------


def test_change_reloads_the_named_journals(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.load(a=rotated(), b=rotated())
    bench.announce_changes("a")
    bench.feed(JournalLoaded(bench.take_one(LoadJournal), requested(RequestKind.FORCE)))
    bench.advance()
    assert bench.running() == ["a"]


def test_change_of_all_reloads_every_journal(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.load(a=rotated(), b=rotated())
    bench.feed(JournalsChanged(None))
    assert [task.target.name for task in bench.take(LoadJournal)] == ["a", "b"]


def test_change_during_a_run_leads_to_another_run(bench: Bench) -> None:
    """The run may have read the journal before the command changed it."""
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.announce_changes("a")
    assert bench.submitted == [], "not while it runs"
    bench.end(run, ok("a", rotated(), published=True))
    bench.feed(JournalLoaded(bench.take_one(LoadJournal), requested(RequestKind.COMPROMISED)))
    bench.advance()
    assert bench.running() == ["a"]
    bench.advance(DAY)
    assert bench.running() == []


def test_change_during_a_load_is_not_missed(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.available()
    load = bench.take_one(LoadJournal)
    bench.announce_changes("a")
    bench.feed(JournalLoaded(load, rotated()))
    bench.feed(JournalLoaded(bench.take_one(LoadJournal), requested(RequestKind.FORCE)))
    bench.advance()
    assert bench.running() == ["a"]


def test_change_with_an_unreadable_journal_is_not_forgotten(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated())
    bench.announce_changes("a")
    bench.feed(JournalUnreadable(bench.take_one(LoadJournal), SEALED))
    bench.advance(SECOND)
    bench.feed(JournalUnreadable(bench.take_one(LoadJournal), Unreadable("No journal")))
    assert bench.account("a").failure is Code.JOURNAL_UNREADABLE
    bench.advance(MINUTE)
    bench.feed(JournalLoaded(bench.take_one(LoadJournal), rotated()))
    assert bench.account("a").failure is None


def test_change_of_another_deployment_is_ignored(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated())
    bench.feed(JournalsChanged(frozenset({"another"})))
    assert bench.submitted == []


CHANGED = {
    "event": "account.changed_elsewhere",
    "log_level": "info",
    "account": "a",
    "state": "idle",
    "secret_id": "id",
}


@pytest.mark.parametrize("learned", ["change", "resync", "run"])
def test_change_by_another_instance_is_logged(bench: Bench, learned: str) -> None:
    bench.start("a", daemon={"verify_interval": "1m", "resync_interval": "2m"}, balance={"every": "off"})
    bench.load(a=rotated())
    changed = replace(rotated(), published_version=2)
    with capture_logs() as log:
        if learned == "change":
            bench.announce_changes("a")
            bench.answer_loads(a=changed)
        bench.advance(MINUTE)
        bench.end(bench.take_one(Run), ok("a", rotated() if learned == "resync" else changed))
        if learned == "resync":
            bench.now += MINUTE
            bench.feed(Tick())
            [look] = bench.take_one(Resync).looks
            bench.feed(DocumentSeen(look, Document(0, None), changed, refresh_at=None))
    assert [entry for entry in log if entry["event"] == CHANGED["event"]] == [CHANGED]


def test_lease_of_another_instance_is_not_logged(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated())
    bench.announce_changes("a")
    with capture_logs() as log:
        bench.answer_loads(a=rotated(lease_holder="another", lease_until=NOW + MINUTE))
    assert log == []


def test_urgent_requests_probe_an_open_breaker_in_turn(bench: Bench) -> None:
    bench.start("a", "b", "c", **CALM)
    bench.load(a=rotated(), b=rotated(), c=rotated())
    breaker = bench.registry.admission.breaker
    bench.registry.admission.breaker = replace(
        breaker, cause=Cause.PROVIDER, until=NOW + timedelta(hours=1), openings=1
    )
    bench.announce_changes("a", "b", "c")
    kinds = {"a": RequestKind.FORCE, "b": RequestKind.COMPROMISED, "c": RequestKind.MANUAL}
    bench.answer_loads(**{name: requested(kind) for name, kind in kinds.items()})
    bench.advance(SECOND)
    [probe] = bench.take(Run)
    bench.advance(10 * SECOND)
    assert bench.running() == []
    bench.end(probe, ok(probe.target.name, published=True))
    bench.advance(10 * SECOND)
    [other] = bench.take(Run)
    assert {probe.target.name, other.target.name} == {"a", "b"}
    bench.end(other, ok(other.target.name, published=True))
    bench.advance(timedelta(hours=1))
    assert bench.running() == ["c"]


@pytest.mark.parametrize("learned", ["change", "resync", "run"])
def test_urgent_request_waits_less_than_the_schedule(bench: Bench, learned: str) -> None:
    """The rotation is overdue and held by the circuit breaker when a command records the request."""
    bench.start("a", daemon={"verify_interval": "1m", "resync_interval": "2m"}, balance={"every": "off"})
    bench.load(a=rotated(31 * DAY))
    breaker, hour = bench.registry.admission.breaker, timedelta(hours=1)
    bench.registry.admission.breaker = replace(breaker, cause=Cause.PROVIDER, until=NOW + hour, openings=1)
    bench.advance(SECOND)
    urgent = replace(requested(RequestKind.FORCE), rotated_at=NOW - 31 * DAY)
    if learned == "change":
        bench.announce_changes("a")
        bench.answer_loads(a=urgent)
    if learned == "run":
        bench.advance(MINUTE)
        bench.end(bench.take_one(Run), ok("a", urgent))
    if learned == "resync":
        bench.advance(MINUTE)
        bench.end(bench.take_one(Run), ok("a", rotated(31 * DAY)))
        bench.now += MINUTE
        bench.feed(Tick())
        [look] = bench.take_one(Resync).looks
        bench.feed(DocumentSeen(look, Document(0, None), urgent, refresh_at=None))
    bench.advance(2 * SECOND)
    assert bench.running() == ["a"]
    assert bench.probe() == "a"


def test_manual_requests_alone_keep_min_spacing(bench: Bench) -> None:
    bench.start("a", "b", "c", "d", daemon={"verify_interval": "365d", "resync_interval": "30d", "min_spacing": "1m"})
    bench.load(**{name: rotated() for name in "abcd"})
    bench.feed(JournalsChanged(None))
    bench.answer_loads(
        a=requested(RequestKind.MANUAL),
        b=requested(RequestKind.MANUAL),
        c=requested(RequestKind.FORCE),
        d=requested(RequestKind.COMPROMISED),
    )
    bench.advance(SECOND)
    started = bench.running()
    assert {"c", "d"} < set(started)
    assert len(started) == 3
    bench.advance(MINUTE)
    assert sorted([*started, *bench.running()]) == ["a", "b", "c", "d"]


def test_resync_loads_the_changes_of_another_instance(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    bench.load(a=rotated(31 * DAY, lease_holder="other", lease_until=NOW + timedelta(hours=1)))
    bench.advance(MINUTE)
    [look] = bench.take_one(Resync).looks
    bench.feed(
        DocumentSeen(look, Document(2, {}, NOW), rotated(published_version=2, published_at=NOW), refresh_at=None)
    )
    assert bench.account("a").rotated_at == NOW
    assert bench.jobs.at["a"] > NOW + 29 * DAY


def test_document_changed_by_hand_is_tried_at_once(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    journal = rotated(published_version=2, published_at=NOW)
    bench.load(a=journal)
    for _ in range(2):
        bench.advance(MINUTE)
        resync = bench.take_one(Resync)
        bench.feed(DocumentSeen(resync.looks[0], Document(3, {}, NOW), journal, refresh_at=None), ResyncEnded())
    bench.advance()
    assert bench.running() == ["a"], "once, however often it is seen"


def test_look_is_void_if_the_account_ran_meanwhile(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    bench.load(a=rotated(30 * DAY - MINUTE))
    bench.now += MINUTE
    bench.advance(SECOND)
    [look] = bench.take_one(Resync).looks
    run = bench.take_one(Run)
    seen = DocumentSeen(look, Document(1, {}, NOW), rotated(29 * DAY), refresh_at=None)
    bench.feed(seen)
    assert bench.record("a").journal == rotated(30 * DAY - MINUTE)
    bench.end(run, ok("a", rotated(), published=True))
    bench.feed(seen)
    assert bench.record("a").journal == rotated()


def test_failed_look_waits_for_its_next_turn(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    bench.load(a=rotated())
    bench.advance(MINUTE)
    resync, checks = bench.take_one(Resync), bench.checks
    bench.feed(LookFailed(resync.looks[0], SEALED), ResyncEnded())
    assert bench.record("a").looked_at == bench.now
    assert bench.checks == checks + 1


def test_lost_job_is_set_again(bench: Bench) -> None:
    """Nothing is known to lose one."""
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    bench.load(a=rotated(30 * DAY - 10 * SECOND))
    bench.jobs.at.clear()
    bench.advance(10 * SECOND + LOST_AFTER / 2)
    assert bench.jobs.at == {}
    for _ in bench.take(Resync):
        bench.feed(ResyncEnded())
    bench.advance(LOST_AFTER)
    assert bench.jobs.at["a"] == bench.now + SHORTEST_PAUSE
    assert bench.count("rotator_jobs_missed_total") == 1
    bench.advance(SECOND)
    assert bench.running() == ["a"]


# --- jobs that cannot be set -------------------------------------------------------------------------------------


def test_job_that_cannot_be_set_is_retried(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.jobs.broken = {"b"}
    bench.load(a=rotated(), b=rotated())
    assert bench.status.ready, "one account's own failure"
    assert bench.account("b").failure is Code.INTERNAL_ERROR
    assert "could not set a job" in (bench.account("b").last_error or "")
    assert bench.count("rotator_planning_failures_total") == 1
    bench.advance(9 * SECOND)
    assert bench.count("rotator_planning_failures_total") == 1
    bench.advance(SECOND)
    assert bench.count("rotator_planning_failures_total") == 2
    bench.jobs.broken = set()
    assert bench.registry.next_at() == bench.now + 10 * SECOND
    bench.advance(10 * SECOND)
    assert bench.account("b").failure is None
    assert "b" in bench.jobs.at
    assert bench.registry.next_at() == NOW + 30 * DAY, "the next resync"


def test_daemon_is_not_ready_without_any_job(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.jobs.broken = {"a", "b"}
    bench.load(a=rotated(), b=rotated())
    assert "could not set a job" in (bench.status.not_ready or "")
    bench.jobs.broken = set()
    bench.advance(10 * SECOND)
    assert bench.status.ready
    assert set(bench.jobs.at) == {"a", "b"}, "the others at once"


# --- reloads -----------------------------------------------------------------------------------------------------


def test_added_account_is_read_and_removed_one_forgotten(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated())
    bench.reload("b", **CALM)
    assert [task.target.name for task in bench.take(LoadJournal)] == ["b"]
    assert list(bench.registry.records) == ["b"]
    assert bench.jobs.at == {}


def test_changed_account_is_read_again(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.load(a=rotated(), b=rotated())
    bench.reload({"name": "a", "api_key": "keya", "path": "apps/a", "every": "7d"}, "b", **CALM)
    bench.answer_loads(a=rotated())
    assert bench.jobs.at["a"] < NOW + 8 * DAY
    assert bench.submitted == []


def test_disabled_account_halts_its_run(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.reload({"name": "a", "api_key": "keya", "path": "apps/a", "enabled": False}, **CALM)
    assert run.control.stop.is_set()
    assert run.control.halt.is_set()
    bench.end(run, ok("a", rotated()))
    bench.advance(DAY)
    assert bench.submitted == []
    assert bench.account("a").enabled is False


def test_returning_account_waits_for_its_old_run(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.load(a=rotated(31 * DAY), b=rotated())
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.reload("b", **CALM)
    assert (run.control.stop.is_set(), run.control.halt.is_set()) == (True, False)
    bench.reload("a", "b", **CALM)
    assert bench.submitted == []
    bench.end(run, ok("a", rotated(), published=True))
    assert bench.submitted == [], "its journal is known from the run"
    assert bench.record("a").journal == rotated()


def test_outcome_about_documents_elsewhere_is_no_news(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.reload("a", vault={"address": "http://127.0.0.1:8200", "journal_prefix": "elsewhere"}, **CALM)
    bench.feed(JournalWritten(run, rotated(lease_holder="me")))
    assert bench.record("a").journal is None
    bench.end(run, ok("a", rotated()))
    assert bench.record("a").journal is None
    assert bench.take_one(LoadJournal).target.fleet is bench.fleet


def test_evidence_about_replaced_servers_frees_the_probe_only(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    breaker = bench.registry.admission.breaker
    bench.registry.admission.breaker = replace(breaker, cause=Cause.PROVIDER, until=NOW, openings=1)
    bench.advance(SECOND)
    run = bench.take_one(Run)
    other = Vault(bench.fleet.settings.vault)
    bench.reload("a", vault_session=other, **CALM)
    bench.end(run, ok("a", rotated(), published=True))
    assert bench.probe() is None
    assert bench.registry.admission.breaker.is_open


def test_reload_leaves_the_verdict_to_the_next_run(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.reload({"name": "a", "api_key": "keya", "path": "apps/a", "every": "7d"}, **CALM)
    bench.end(run, failed("a", "vault_denied", journal=rotated(31 * DAY)))
    assert bench.account("a").failure is None
    bench.advance(SECOND)
    assert bench.running() == ["a"]


def test_shorter_spacing_holds_for_accounts_that_wait(bench: Bench) -> None:
    slow = CALM | {"daemon": CALM["daemon"] | {"min_spacing": "1h"}}
    bench.start("a", "b", **slow)
    bench.load(a=rotated(31 * DAY), b=rotated(31 * DAY))
    bench.advance(SECOND)
    [first] = bench.take(Run)
    bench.end(first, ok(first.target.name, rotated(), published=True))
    bench.reload("a", "b", **CALM)
    bench.advance(SECOND)
    assert len(bench.running()) == 1


# --- the clock and the end ---------------------------------------------------------------------------------------


def test_clock_step_corrects_times_in_the_future(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "1h", "resync_interval": "5m"})
    bench.now = NOW + 400 * DAY
    bench.load(a=rotated())
    bench.advance(SECOND)
    bench.end(bench.take_one(Run), ok("a"))
    admission = bench.registry.admission
    admission.breaker = replace(admission.breaker, cause=Cause.PROVIDER, until=bench.now, openings=1)
    assert bench.record("a").tried_at == bench.now
    bench.take(ReadBalance)
    bench.now = NOW
    bench.feed(ClockStepped(-400 * DAY))
    record = bench.record("a")
    assert (record.tried_at, record.looked_at, record.retry.at) == (NOW, NOW, None)
    assert admission.breaker.until is not None
    assert admission.breaker.until <= NOW + LONGEST_COOLDOWN
    assert bench.jobs.at["a"] == NOW + timedelta(hours=1)
    at = bench.registry.next_at()
    assert at is None or at <= NOW + 5 * MINUTE


def test_stopping_starts_nothing_and_ends_waits(bench: Bench) -> None:
    bench.start("a", "b", **(CALM | {"daemon": CALM["daemon"] | {"concurrency": 1}}))
    bench.load(a=rotated(31 * DAY), b=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.feed(Stopping())
    assert (run.control.stop.is_set(), run.control.halt.is_set()) == (True, False)
    snapshot = bench.registry.snapshot(bench.now)
    assert (snapshot.running, snapshot.is_idle) == ((run.target.name,), False)
    bench.feed(Stopping(halt=True))
    assert run.control.halt.is_set()
    bench.end(run, ok(run.target.name, rotated()))
    bench.advance(DAY)
    assert bench.submitted == []
    assert bench.registry.snapshot(bench.now).is_idle


def test_run_sets_the_next_refresh(bench: Bench) -> None:
    """No resync comes before the document that a run wrote expires."""
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "5m"}, balance={"every": "off"})
    bench.load(a=rotated())
    bench.announce_changes("a")
    bench.answer_loads(a=rotated(31 * DAY))
    bench.advance(SECOND)
    run = bench.take_one(Run)
    bench.end(run, replace(ok("a", rotated()), refresh_at=NOW + MINUTE))
    assert bench.jobs.at["a"] == NOW + MINUTE
    bench.advance(MINUTE)
    assert bench.running() == ["a"]


def test_loaded_journal_sets_the_next_refresh(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "5m"}, balance={"every": "off"})
    bench.available()
    bench.feed(JournalLoaded(bench.take_one(LoadJournal), rotated(), NOW + MINUTE))
    assert bench.jobs.at["a"] == NOW + MINUTE
