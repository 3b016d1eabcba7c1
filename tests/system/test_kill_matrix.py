"""The promise on real parts: processes killed, answers lost, runners racing, and a consumer that reads throughout."""

import os
import secrets
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.generator import Recipe, generate
from rotator.emulator import Account, Emulator, running
from testkit.cluster import (
    KILL_AFTER,
    KILL_BEFORE,
    LOSE,
    PATIENCE,
    Call,
    Cluster,
    Consumer,
    Finished,
    Tape,
    WallClock,
    eventually,
    proxied,
)


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    """With a short timeout and lease: a rotation waits for them after a lost create, and for another instance."""
    cluster.base = {"account_api": {"timeout": "4s"}, "daemon": {"lease": "12s"}}
    return cluster


@dataclass
class Patient:
    """One account of a cluster."""

    cluster: Cluster
    name: str
    first: SecretStr

    @property
    def api_key(self) -> str:
        return f"key{self.name}"

    @property
    def path(self) -> str:
        return f"apps/{self.name}"

    def assert_healthy(self) -> None:
        """One secret, which is the published one; nothing unknown, nothing under way."""
        journal, document = self.cluster.journal(self.name), self.cluster.document(self.path)
        live, current_id = self.cluster.emulator.live(self.api_key), journal["current_id"]["id"]
        assert journal["phase"] == "idle", journal
        assert journal["candidate"] is None
        assert list(live) == [current_id] == [document["secret_id"]]
        assert live[current_id].get_secret_value() == document["api_secret"]
        assert document["owner"] == "team a", "a field that is not rotator's was lost"


def patients(cluster: Cluster, count: int, *, adopted: bool = False, **account: Any) -> list[Patient]:
    """Accounts that people published.

    Args:
        cluster: The servers.
        count: How many.
        adopted: Whether rotator knows their ids already, so that every run sends the same requests.
        account: Settings of each account.
    """
    made = [Patient(cluster, f"p{number}", generate(Recipe())) for number in range(count)]
    for patient in made:
        cluster.emulator.open_account(Account(patient.api_key, patient.first))
        cluster.remember(patient.first.get_secret_value())
        cluster.put(patient.path, {"api_secret": patient.first.get_secret_value(), "owner": "team a"})
        if adopted:
            [id_] = cluster.emulator.live(patient.api_key)
            current = {"id": id_, "learned": "answered", "beside": [id_]}
            rotated_at = "2026-01-01T00:00:00Z"
            journal = {"format": 1, "current_id": current, "published_version": 1, "rotated_at": rotated_at}
            cluster.put(f"rotator/journal/{patient.name}", journal)
    cluster.configure(
        [{"name": patient.name, "api_key": patient.api_key, "path": patient.path} | account for patient in made]
    )
    return made


def through(cluster: Cluster, tape: Tape, name: str) -> Finished:
    """`rotate-now` with a proxy before each server, and the tape's plan for it."""
    with proxied({"vault": cluster.bao.address, "provider": cluster.api_url}, tape) as urls:
        env = {"ROTATOR_VAULT__ADDRESS": urls["vault"], "ROTATOR_ACCOUNT_API__API_URL": urls["provider"]}
        process = cluster.fork("rotate-now", name, env=env)
        tape.victim = process.command.pid
        finished = process.finish()
    cluster.remember(*tape.secrets)
    return finished


def calls_of_a_rotation(patient: Patient) -> list[Call]:
    tape = Tape()
    finished = through(patient.cluster, tape, patient.name)
    assert finished.code == 0, finished
    patient.assert_healthy()
    return tape.calls


def survive(patient: Patient, index: int, action: str) -> str | None:
    """Do that to one call of a rotation, then run once more; what went wrong, or None."""
    tape = Tape(plan={index: action})
    with Consumer(patient.cluster, patient.api_key, patient.path) as consumer:
        hit = through(patient.cluster, tape, patient.name)
        if action in (KILL_BEFORE, KILL_AFTER) and hit.code != -9:
            return f"was not killed: {hit}"
        patient.cluster.end_lease(patient.name)
        after = patient.cluster.run("rotate-now", patient.name)
        if after.code != 0:
            return f"the next run failed: {after}"
    if consumer.failures or not consumer.checks:
        return f"consumer: {consumer.checks} checks, {consumer.failures[:3]}"
    patient.assert_healthy()
    return None


def examine(patients_: list[Patient], cases: list[Callable[[Patient], str | None]]) -> list[str]:
    def one(pair: tuple[Patient, Callable[[Patient], str | None]]) -> str | None:
        try:
            return pair[1](pair[0])
        except AssertionError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        results = pool.map(one, zip(patients_, cases, strict=True))
    return [result for result in results if result]


EXPECTED_CALLS = 18


@pytest.mark.parametrize("action", [KILL_BEFORE, KILL_AFTER, LOSE])
def test_rotation_survives_a_fault_at_every_call(cluster: Cluster, action: str) -> None:
    first, *rest = patients(cluster, EXPECTED_CALLS + 1, adopted=True)
    calls = calls_of_a_rotation(first)
    assert len(calls) == EXPECTED_CALLS, "\n".join(map(str, calls))

    def case(index: int) -> Callable[[Patient], str | None]:
        def run(patient: Patient) -> str | None:
            wrong = survive(patient, index, action)
            return wrong and f"{action} call {index} ({calls[index]}): {wrong}"

        return run

    wrong = examine(rest, [case(index) for index in range(EXPECTED_CALLS)])
    assert not wrong, "\n\n".join(wrong)


def test_rotation_survives_when_every_change_is_unanswered(cluster: Cluster) -> None:
    """Each changing request is carried out and its first answer lost, all in one run."""
    (patient,) = patients(cluster, 1)
    lost: set[tuple[str, str, int]] = set()
    repeats: dict[tuple[str, str], int] = {}

    def first_answer(call: Call) -> str | None:
        changing = call.method in ("POST", "PUT", "DELETE") and "/sys/" not in call.path and "/auth/" not in call.path
        if not changing:
            return None
        key = (call.method, call.path)
        repeats[key] = repeats.get(key, 0) + 1
        lost.add((*key, repeats[key]))
        return LOSE if repeats[key] % 2 else None

    with Consumer(cluster, patient.api_key, patient.path) as consumer:
        hit = through(cluster, Tape(when=first_answer), patient.name)
        after = cluster.run("rotate-now", patient.name)
    assert len(lost) > 5
    assert hit.code in (0, 3), hit
    assert after.code == 0, after
    assert not consumer.failures
    patient.assert_healthy()


@pytest.mark.parametrize("round_", range(3))
def test_simultaneous_runs_create_once(cluster: Cluster, round_: int) -> None:
    (patient,) = patients(cluster, 1)
    with Consumer(cluster, patient.api_key, patient.path) as consumer:
        both = [cluster.fork("rotate-now", patient.name, "--json") for _ in range(2)]
        ended = [process.finish() for process in both]
    assert {finished.code for finished in ended} == {0}, "\n".join(map(str, ended))
    assert not consumer.failures
    patient.assert_healthy()
    created = [request for request in cluster.emulator.requests if request.operation == "create"]
    rotated = sum(finished.json["rotated"] for finished in ended)
    # Who has the lease also carries out what the other recorded meanwhile, and the other then finds it done.
    assert {request.status for request in created} == {201}
    assert 1 <= rotated <= len(created) <= len(both)


def test_late_create_is_refused_when_account_is_full(cluster: Cluster) -> None:
    """The first create is held back until its sender gave up and the value was published, but not revoked yet."""
    (patient,) = patients(cluster, 1)
    held: list[Call] = []
    revoking = threading.Event()

    def created() -> list[int | None]:
        return [request.status for request in cluster.emulator.requests if request.operation == "create"]

    def lose_the_first(call: Call) -> str | None:
        if call.server == "provider" and call.method == "POST" and not held:
            held.append(call)
            return LOSE
        return None

    def hold(call: Call) -> None:
        if held and call is held[0]:
            assert revoking.wait(PATIENCE)
        elif call.method == "DELETE":
            revoking.set()
            eventually(lambda: len(created()) == 2)

    with Consumer(cluster, patient.api_key, patient.path) as consumer:
        finished = through(cluster, Tape(when=lose_the_first, hold=hold), patient.name)
    assert finished.code == 0, finished
    assert not consumer.failures
    assert created() == [201, 400], "the late one met a full account"
    patient.assert_healthy()


def test_stopped_process_changes_nothing_when_lease_expired(cluster: Cluster) -> None:
    """SIGSTOP right before the create, another runner does the work, SIGCONT: one create, one new secret.

    The lease expires because the journal says so, and because the clock of the process moves on while it is stopped.
    """
    (patient,) = patients(cluster, 1)
    tape, stopped, clock = Tape(), threading.Event(), WallClock(cluster.folder)

    def stop_when_prepared(call: Call) -> str | None:
        # The first journal write is the adoption, the second prepares the candidate; its answer finds a sleeper.
        journal_writes = [c for c in tape.calls if "/rotator/journal/" in c.path and c.method == "POST"]
        if call in journal_writes and len(journal_writes) == 2 and tape.victim and not stopped.is_set():
            os.kill(tape.victim, signal.SIGSTOP)
            stopped.set()
        return None

    tape.when = stop_when_prepared
    with (
        Consumer(cluster, patient.api_key, patient.path) as consumer,
        proxied({"vault": cluster.bao.address, "provider": cluster.api_url}, tape) as urls,
    ):
        env = {"ROTATOR_VAULT__ADDRESS": urls["vault"], "ROTATOR_ACCOUNT_API__API_URL": urls["provider"]}
        sleeper = cluster.start("rotate-now", patient.name, env=env | clock.environment)
        tape.victim = sleeper.popen.pid
        assert stopped.wait(PATIENCE), "the process was never stopped"
        cluster.end_lease(patient.name)
        other = cluster.run("rotate-now", patient.name)
        clock.set(timedelta(minutes=10))
        os.kill(sleeper.popen.pid, signal.SIGCONT)
        woken = sleeper.finish()
    cluster.remember(*tape.secrets)
    assert other.code == 0, other
    assert woken.code == 0, woken
    assert not consumer.failures
    assert [r.status for r in cluster.emulator.requests if r.operation == "create"] == [201]
    patient.assert_healthy()


def test_leak_scan_finds_a_printed_secret(cluster: Cluster) -> None:
    value = "a" + secrets.token_hex(10)
    cluster.remember(value)
    cluster.outputs.append(f"oops {value}")
    with pytest.raises(AssertionError, match="was printed"):
        cluster.assert_nothing_leaked()
    cluster.outputs.clear()


def test_candidate_of_slow_provider_is_awaited(cluster: Cluster) -> None:
    """What is created does not authenticate for a while: it is published only when it does."""
    tried_too_early = threading.Event()

    def provider_time() -> datetime:
        return datetime.now(UTC) + (timedelta(hours=2) if tried_too_early.is_set() else timedelta())

    def refused() -> bool:
        return 401 in [request.status for request in cluster.emulator.requests]

    cluster.emulator = Emulator([], propagation=timedelta(hours=1), clock=provider_time)
    with running(cluster.emulator) as cluster.api_url:
        (patient,) = patients(cluster, 1)
        with Consumer(cluster, patient.api_key, patient.path) as consumer:
            process = cluster.start("rotate-now", patient.name)
            eventually(refused)
            tried_too_early.set()
            finished = process.finish()
    assert finished.code == 0, finished
    assert not consumer.failures
    patient.assert_healthy()
