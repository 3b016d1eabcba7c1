"""A registry without threads, servers or real time: facts in, records and submitted work out."""

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rotator.config import Settings, load
from rotator.core.balance import Reading
from rotator.core.protocol import Identity, Journal, Learned, Outcome, Request, RequestKind, Result, Target
from rotator.daemon.account_record import AccountRecord
from rotator.daemon.facts import (
    BalanceRead,
    Due,
    Fact,
    JournalLoaded,
    JournalsChanged,
    RunEnded,
    SettingsLoaded,
    Tick,
    VaultStateChanged,
)
from rotator.daemon.registry import Registry
from rotator.daemon.tasks import LoadJournal, ReadBalance, Run, Task
from rotator.errors import Code, RotatorError
from rotator.fleet import Fleet
from rotator.monitoring import AccountStatus, FleetStatus, Metrics, expose
from rotator.provider import AccountApi
from rotator.vault import Vault, VaultSealed
from testkit.cluster import write_config

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
CURRENT = Identity("id", Learned.ANSWERED)

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
SEALED = VaultSealed("Vault is sealed", unchanged="Nothing was changed", next_step="Unseal it")
# Nothing is tried at the provider by itself, and no resync comes in between.
CALM: dict[str, Any] = {"daemon": {"verify_interval": "365d", "resync_interval": "30d"}, "balance": {"every": "off"}}


@dataclass
class Jobs:
    """The jobs, as a dictionary."""

    at: dict[str, datetime] = field(default_factory=dict)
    paused: bool = True
    broken: set[str] = field(default_factory=set)

    def set(self, name: str, at: datetime) -> None:
        if name in self.broken:
            raise OverflowError
        self.at[name] = at

    def cancel(self, name: str) -> None:
        self.at.pop(name, None)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def wake_up(self) -> None:
        pass

    def due(self, now: datetime) -> list[str]:
        """Remove the jobs that are due, and return their names."""
        due = [] if self.paused else [name for name, at in self.at.items() if at <= now]
        for name in due:
            del self.at[name]
        return due


def rotated(age: timedelta = timedelta(), **more: Any) -> Journal:
    """Return the journal of an adopted account whose secret is this old."""
    return Journal(current=CURRENT, rotated_at=NOW - age, **more)


def requested(kind: RequestKind, **more: Any) -> Journal:
    """Return a journal with a request to replace the published secret."""
    return rotated(request=Request(kind, Target(id="id"), NOW, "anna", "0123"), **more)


def ok(name: str, journal: Journal | None = None, **more: Any) -> Outcome:
    return Outcome(name, Result.OK, journal=journal or rotated(), **more)


def failed(name: str, code: str, **more: Any) -> Outcome:
    return Outcome(name, Result.FAILED, reason=code, error=f"{code} of {name}", **more)


@dataclass
class Bench:
    """A registry on a test's bench.

    Attributes:
        folder: For the configuration file.
        now: The time.
        submitted: The work that was handed out and not taken by a test yet.
        checks: How often the registry had Vault asked.
    """

    folder: Path
    now: datetime = NOW
    submitted: list[Task] = field(default_factory=list)
    jobs: Jobs = field(default_factory=Jobs)
    metrics: Metrics = field(default_factory=Metrics)
    checks: int = 0

    def configure(self, *accounts: str | dict[str, Any], **sections: dict[str, Any]) -> Settings:
        """Write a configuration, and load it."""
        merged: dict[str, dict[str, Any]] = {
            "vault": {"address": "http://127.0.0.1:8200"},
            "account_api": {"api_url": "http://127.0.0.1:8201"},
            "defaults": {"grace": "0s", "jitter": "0s"},
            "daemon": {"min_spacing": "0s", "verify_interval": "24h", "resync_interval": "5m"},
        }
        for name, values in sections.items():
            merged[name] = merged.get(name, {}) | values
        entries = [
            entry if isinstance(entry, dict) else {"name": entry, "api_key": f"key{entry}", "path": f"apps/{entry}"}
            for entry in accounts
        ]
        write_config(self.folder / "config.toml", merged, entries)
        return load(self.folder / "config.toml")

    def start(self, *accounts: str | dict[str, Any], **sections: dict[str, Any]) -> "Bench":
        """Make the registry."""
        settings = self.configure(*accounts, **sections)
        self.fleet = Fleet(settings, AccountApi(settings.account_api), Vault(settings.vault), threading.Event())
        self.registry = Registry(
            self.fleet, self.jobs, self.submitted.append, self.metrics, self._check_vault, now=self.now
        )
        self.feed(SettingsLoaded(self.fleet))
        return self

    def _check_vault(self) -> None:
        self.checks += 1

    def reload(
        self, *accounts: str | dict[str, Any], vault_session: Vault | None = None, **sections: dict[str, Any]
    ) -> None:
        """Load another configuration, with the same sessions or with another one with Vault."""
        settings, before = self.configure(*accounts, **sections), self.fleet
        self.fleet = Fleet(settings, before.provider, vault_session or before.vault, threading.Event())
        self.fleet.instance = before.instance
        self.feed(SettingsLoaded(self.fleet))

    def feed(self, *facts: Fact) -> None:
        """Hand facts to the registry."""
        for fact in facts:
            self.registry.handle(fact, self.now)

    def available(self) -> None:
        """Make Vault available."""
        self.feed(VaultStateChanged(self.fleet.vault, None))

    def take(self, kind: type[T]) -> list[T]:
        """Return the submitted work of a kind, and remove it from `submitted`."""
        taken: list[T] = []
        for task in self.submitted:
            if isinstance(task, kind):
                taken.append(task)  # noqa: PERF401 - mypy does not narrow within a comprehension
        self.submitted[:] = [task for task in self.submitted if not isinstance(task, kind)]
        return taken

    def take_one(self, kind: type[T]) -> T:
        [task] = self.take(kind)
        return task

    def load(self, **journals: Journal) -> None:
        """Make Vault available, and answer the loads that follow, by account; an empty journal if none is given."""
        self.available()
        self.answer_loads(**journals)

    def answer_loads(self, **journals: Journal) -> None:
        while loads := self.take(LoadJournal):
            for task in loads:
                self.feed(JournalLoaded(task, journals.get(task.target.name, Journal())))

    def advance(self, by: timedelta = timedelta()) -> None:
        """Let time pass, and report the jobs that are due."""
        self.now += by
        self.feed(Tick(), *(Due(name) for name in self.jobs.due(self.now)))

    def end(self, task: Run, outcome: Outcome) -> None:
        """End a run."""
        self.feed(RunEnded(task, outcome, 1.0))

    def announce_changes(self, *names: str) -> None:
        """Tell that commands changed the journals of these accounts."""
        self.feed(JournalsChanged(frozenset(f"key{name}" for name in names)))

    def running(self) -> list[str]:
        """Return the accounts whose runs were handed out since the last look."""
        return [task.target.name for task in self.take(Run)]

    def read_balance(self, reading: Reading, within: timedelta) -> Reading:
        """Let time pass until a balance is read, and answer it."""
        start = self.now
        while not (works := self.take(ReadBalance)):
            assert self.now < start + within, "no balance was read"
            self.advance(SECOND)
        reading = replace(reading, at=self.now)
        self.feed(*(BalanceRead(task, reading) for task in works))
        return reading

    def record(self, name: str) -> AccountRecord:
        return self.registry.records[name]

    def probe(self) -> str | None:
        return self.registry.admission.breaker.probe

    @property
    def status(self) -> FleetStatus:
        return self.registry.snapshot(self.now).status

    def account(self, name: str) -> AccountStatus:
        return next(account for account in self.status.accounts if account.name == name)

    def count(self, metric: str, **labels: str) -> float:
        """Return the value of a counter."""
        from prometheus_client.parser import text_string_to_metric_families

        text = b"".join(expose(self.metrics, self.status)).decode()
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return sum(one.value for one in samples if one.name == metric and labels.items() <= one.labels.items())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("VAULT_TOKEN", "token-of-the-bench")
    return Bench(tmp_path)


class Unreadable(RotatorError):
    code = Code.JOURNAL_UNREADABLE


def run_of(bench: Bench, name: str) -> Run:
    """Return the run of an account that was handed out, and leave the others."""
    [task] = [task for task in bench.submitted if isinstance(task, Run) and task.target.name == name]
    bench.submitted.remove(task)
    return task
