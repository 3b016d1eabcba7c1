"""The owner of the account records: facts in, records and work out."""

from dataclasses import replace
from datetime import timedelta

from structlog.testing import capture_logs

from rotator.core.circuit_breaker import LONGEST_COOLDOWN, Cause
from rotator.core.protocol import RequestKind
from rotator.daemon.account_record import SHORTEST_PAUSE, VAULT_RETRIES
from rotator.daemon.facts import (
    ClockStepped,
    Due,
    JournalLoaded,
    JournalsChanged,
    JournalUnreadable,
    ResyncEnded,
    Stopping,
    VaultStateChanged,
)
from rotator.daemon.registry import LOST_AFTER
from rotator.daemon.tasks import LoadJournal, ReadBalance, Resync, Run
from rotator.errors import Code
from rotator.vault import Vault, VaultUnauthorized
from tests.daemon.harness import (
    CALM,
    DAY,
    MINUTE,
    NOW,
    SEALED,
    SECOND,
    Bench,
    Unreadable,
    failed,
    ok,
    requested,
    rotated,
)


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


# --- Vault -------------------------------------------------------------------------------------------------------


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


def test_daemon_is_not_ready_without_any_job(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.jobs.broken = {"a", "b"}
    bench.load(a=rotated(), b=rotated())
    assert "could not set a job" in (bench.status.not_ready or "")
    bench.jobs.broken = set()
    bench.advance(10 * SECOND)
    assert bench.status.ready
    assert set(bench.jobs.at) == {"a", "b"}, "the others at once"


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


def test_clock_that_is_set_forward_loses_no_job(bench: Bench) -> None:
    """The jobs are overdue by the new clock, and the scheduler has not looked at it yet."""
    bench.start("a", daemon={"verify_interval": "1m"})
    bench.load(a=rotated())
    bench.advance(SECOND)
    with capture_logs() as logs:
        bench.now += timedelta(minutes=10)
        bench.feed(ClockStepped(timedelta(minutes=10)))
    assert [line["event"] for line in logs] == ["clock.stepped"]


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


def test_loaded_journal_sets_the_next_refresh(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "5m"}, balance={"every": "off"})
    bench.available()
    bench.feed(JournalLoaded(bench.take_one(LoadJournal), rotated(), NOW + MINUTE))
    assert bench.jobs.at["a"] == NOW + MINUTE
