"""An account's way through the daemon: planned, due, admitted, running, ended."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.core.circuit_breaker import Cause
from rotator.core.protocol import Journal, RequestKind, Result
from rotator.daemon.account_record import SHORTEST_PAUSE
from rotator.daemon.admission import Admission
from rotator.daemon.facts import DocumentSeen, JournalsChanged, JournalWritten, TaskBroke, Tick
from rotator.daemon.tasks import LoadJournal, Resync, Run
from rotator.errors import Code
from rotator.fleet import Wanted
from rotator.rotation import Outcome
from rotator.vault import Document, Vault
from tests.daemon.harness import CALM, DAY, MINUTE, NOW, SECOND, Bench, failed, ok, requested, rotated, run_of


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
