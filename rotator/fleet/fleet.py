"""One request over many accounts: the run of each account, their order and their concurrency."""

import os
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from rotator import audit
from rotator.config import AccountSettings, Settings
from rotator.core.protocol import (
    CLOCK_RESOLUTION,
    Asked,
    Journal,
    Policy,
    Published,
    Reason,
    RequestKind,
    Trigger,
    is_recorded,
    requests,
)
from rotator.documents import announce_changes, parse_published
from rotator.errors import Code, Command, ConfigError, RotatorError
from rotator.fleet.permissions import Permissions
from rotator.fleet.request import Request, Wanted
from rotator.fleet.wave import Wave, waves
from rotator.provider import WORST_CASE, AccountApi
from rotator.rotation import MakeRequest, Outcome, Preview, Result, Rotation, StoppedError, preview
from rotator.vault import Vault

_log = structlog.get_logger()
T = TypeVar("T")


class Fleet:
    """The configured accounts and the two servers they live on.

    Args:
        stop: Set when the process ends; every wait ends then.

    Attributes:
        has_written: Whether a run wrote a journal. Without that, a run changes nothing.
    """

    def __init__(self, settings: Settings, provider: AccountApi, vault: Vault, stop: threading.Event) -> None:
        self.settings = settings
        self.provider = provider
        self.stop = stop
        self.vault = vault
        self.audit = audit.at(settings.audit.file)
        self.permissions = Permissions(settings, vault, self.audit)
        self.has_written = False
        self._changed: set[str] = set()
        self.instance = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"

    @staticmethod
    def now() -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    def select(self, names: Sequence[str] | None) -> tuple[AccountSettings, ...]:
        """Return the accounts with these names; without names, every enabled account.

        Raises:
            ConfigError: If a name is unknown, or a named account is not enabled.
        """
        if not names:
            return tuple(account for account in self.settings.accounts if account.enabled)
        accounts = tuple(self.settings.account(name) for name in dict.fromkeys(names))
        for account in accounts:
            if not account.enabled:
                raise ConfigError(
                    f'Account "{account.name}" is not enabled', next_step="Set enabled = true for it, if you mean it"
                )
        return accounts

    def rotation(
        self,
        account: AccountSettings,
        request: Request,
        *,
        stop: threading.Event | None = None,
        halt: Callable[[], bool] = lambda: False,
        worker_is_wanted: Callable[[], bool] = lambda: False,
        on_journal: Callable[[Journal], None] | None = None,
        logs_vault_failure: bool = True,
    ) -> Rotation:
        """One run over one account, ready to go.

        Args:
            stop: Ends this run's waits; the fleet's own if not given.
            halt: Whether the run is to end before its next step.
            worker_is_wanted: Whether another account waits for this run's worker.
            on_journal: Called with every journal that the run wrote; notes the change if not given.
            logs_vault_failure: Whether the run logs that it failed because of Vault.
        """
        told = stop or self.stop
        return Rotation(
            account,
            self.settings,
            self.provider,
            self.vault,
            policy=self.policy(account, request),
            clock=self.now,
            wait=lambda delay: told.wait(delay.total_seconds()),
            monotonic=time.monotonic,
            halt=halt,
            worker_is_wanted=worker_is_wanted,
            max_wait=request.max_wait,
            ask=self._asker(account, request),
            on_journal=on_journal or (lambda _: self._note_written(account)),
            audit=self.audit,
            logs_vault_failure=logs_vault_failure,
        )

    def policy(self, account: AccountSettings, request: Request) -> Policy:
        """Return the rules and limits of the account's run for the request."""
        now = self.now()
        by_schedule = request.wanted is Wanted.DUE
        return Policy(
            instance=self.instance,
            account=account.name,
            api_key=account.api_key,
            due_at=(lambda at: account.schedule.due(account.name, at, now).at) if by_schedule else None,
            begins=request.begins,
            explicit=request.explicit or not by_schedule,
            revoke=request.revoke,
            trigger=Trigger.SCHEDULE if by_schedule else Trigger.MANUAL,
            has_primary=account.primary is not None,
            grace=account.grace,
            verify_timeout=account.verify_timeout,
            max_secrets=self.settings.account_api.max_secrets,
            lease=self.settings.daemon.lease,
            request_timeout=self.settings.account_api.timeout * WORST_CASE,
            window=self.settings.account_api.consistency_window,
        )

    def _asker(self, account: AccountSettings, request: Request) -> MakeRequest | None:
        """Return a function from the account's documents to the request of a run; None if there is no request."""
        kind = request.kind or (RequestKind.MANUAL if request.wanted is Wanted.NOW else None)
        if kind is None:
            return None
        age = timedelta(seconds=time.monotonic() - request.made_at)

        def ask(journal: Journal, published: Published, read_at: datetime | None) -> Asked | None:
            now = self.now()
            if request.wanted is Wanted.DUE and not _is_due(account, journal, published, now):
                return None
            # Both documents were read after the age was measured. Vault tells its time in whole seconds.
            made_at = None if read_at is None else read_at + CLOCK_RESOLUTION - age
            then = self._published_at(account, published, made_at)
            made = requests.new_request(kind, journal, then, at=now, by=audit.user(), id_=secrets.token_hex(8))
            return Asked.of(made, then.secret)

        return ask

    def _published_at(self, account: AccountSettings, published: Published, at: datetime | None) -> Published:
        """Return the version that contained the published secret of an instant; the newest if that is not known.

        The command can have been made before another one published. Vault's clock decides, and the values do: an edit
        of another field replaces no secret.

        Args:
            at: The instant, by the clock that stored the versions; None if Vault does not tell it.
        """
        then = published
        while at is not None and then.version > 1 and then.written_at is not None and then.written_at > at:
            then = parse_published(self.vault.read(account.path, then.version - 1), account)
        return published if then.secret in (None, published.secret) else then

    def run(self, accounts: Sequence[AccountSettings], request: Request) -> Iterator[Outcome]:
        """Run them, secondaries before their primaries; outcomes come as accounts are done."""
        for wave in waves(accounts):
            for outcome in self._run_wave(wave, request):
                if outcome.journal is not None and outcome.journal.request is not None:
                    self.note_change(self.settings.account(outcome.account))
                yield outcome

    def note_change(self, account: AccountSettings) -> None:
        """Note that this process changed an account's journal, or found an unfinished request in it."""
        self._changed.add(account.api_key)

    def _note_written(self, account: AccountSettings) -> None:
        self.has_written = True
        self.note_change(account)

    def announce(self) -> None:
        """Tell daemons which journals this process changed: they read them within seconds. Failing costs time only."""
        if self._changed:
            announce_changes(self.vault, self.settings.fleet_path, sorted(self._changed))
            self._changed.clear()

    def _run_wave(self, accounts: Sequence[AccountSettings], request: Request) -> Iterator[Outcome]:
        later = replace(request, wanted=Wanted.NOTHING_NEW, kind=None)

        def run(name: str, before: Outcome | None, worker_is_wanted: Callable[[], bool]) -> Outcome:
            asked = request if before is None else later
            job = partial(self._run, self.settings.account(name), asked, worker_is_wanted)
            return self.unless_stopped(name, job) if before is None else self._after(before, job)

        wave = Wave(run, concurrency=self.settings.daemon.concurrency, stop=self.stop, clock=self.now)
        return wave.outcomes(account.name for account in accounts)

    def preview(self, accounts: Sequence[AccountSettings], request: Request) -> Iterator[Preview | Outcome]:
        """Look at what a run would do; an outcome in place of a preview tells why an account cannot be looked at."""
        yield from self._spread(
            {account.name: partial(preview, self.rotation(account, request)) for account in accounts}
        )

    def _spread(self, work: Mapping[str, Callable[[], T]]) -> Iterator[T | Outcome]:
        """Do it all, some at a time. An internal error ends the account it happened to, not the others."""
        with ThreadPoolExecutor(self.settings.daemon.concurrency, thread_name_prefix="account") as pool:
            for future in as_completed([pool.submit(self.unless_stopped, name, job) for name, job in work.items()]):
                yield future.result()

    def _after(self, before: Outcome, job: Callable[[], Outcome]) -> Outcome:
        """Continue what an earlier run of the same command began; return its outcome if the process stops."""
        if self.stop.is_set():
            return before
        outcome = self.guarded(before.account, job)
        outcome = replace(outcome, asked=before.asked, repeat=None if outcome.published else before.repeat)
        if outcome.journal is not None:
            return outcome
        return replace(outcome, journal=before.journal, journal_is_unknown=before.journal_is_unknown)

    def _run(self, account: AccountSettings, request: Request, worker_is_wanted: Callable[[], bool]) -> Outcome:
        rotation = self.rotation(account, request, worker_is_wanted=worker_is_wanted)
        outcome = self.guarded(account.name, rotation.run)
        if outcome.code is Code.INTERNAL_ERROR:
            return rotation.with_journal(outcome)
        journal = outcome.journal
        if request.wanted is not Wanted.DUE or journal is None or journal.rotated_at is None or outcome.published:
            return outcome
        closed_until = self.closed_until(account, journal.rotated_at)
        if outcome.result is not Result.OK or closed_until is None:
            return outcome
        return _deferred_by_window(outcome, closed_until)

    def closed_until(self, account: AccountSettings, rotated_at: datetime) -> datetime | None:
        """When the rotation may begin that is due now, but for windows and blackouts; None if nothing is due."""
        now = self.now()
        schedule = account.schedule
        at_any_time = replace(schedule, windows=(), blackouts=())
        opening = schedule.due(account.name, rotated_at, now).at
        return opening if at_any_time.due(account.name, rotated_at, now).at <= now < opening else None

    def unless_stopped(self, name: str, job: Callable[[], T]) -> T | Outcome:
        """Do a job for an account as `guarded` does; once the process stops, return a deferral in its place."""
        if self.stop.is_set():
            error = StoppedError(
                "the process stopped before the run began",
                unchanged="Nothing was changed",
                next_step="To see what is unfinished",
                next_command=Command.of("status", name),
            )
            return Outcome(
                name, Result.DEFERRED, reason=Reason.STOPPED, error=str(error), next_command=error.next_command
            )
        return self.guarded(name, job)

    @staticmethod
    def guarded(name: str, job: Callable[[], T]) -> T | Outcome:
        """Do a job for an account. An exception becomes a failed outcome and ends only that job."""
        try:
            return job()
        except RotatorError as error:
            return Outcome(
                name, Result.FAILED, reason=error.code.value, error=str(error), next_command=error.next_command
            )
        except Exception as error:  # noqa: BLE001 - the boundary between accounts
            where = log_internal_error(error)
            what = f"An internal error ({type(error).__name__} at {where}) stopped {name}"
            return Outcome(name, Result.FAILED, reason=Code.INTERNAL_ERROR.value, error=f"{what}. Please report it.")


def _is_due(account: AccountSettings, journal: Journal, published: Published, now: datetime) -> bool:
    """Return whether the published secret is due. If the journal speaks of another one, that is not known yet."""
    if journal.rotated_at is None or not is_recorded(journal, published):
        return False
    return account.schedule.due(account.name, journal.rotated_at, now).at <= now


def _deferred_by_window(outcome: Outcome, until: datetime) -> Outcome:
    error = RotatorError(
        "it is due, but no window is open",
        next_step="To rotate outside the windows",
        next_command=Command.of("rotate-now", outcome.account),
    )
    return replace(
        outcome,
        result=Result.DEFERRED,
        reason=Reason.WINDOW,
        until=until,
        error=str(error),
        next_command=error.next_command,
    )


def log_internal_error(error: Exception) -> str:
    """Log an internal error; return the place that raised it.

    The text of the exception might contain a secret. Its type and its place are enough to find the cause.
    """
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error(Code.INTERNAL_ERROR.value, error=type(error).__name__, frames=frames[-3:])
    return frames[-1]
