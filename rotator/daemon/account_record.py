"""The record of one account, as the daemon knows it. Never changed, only replaced."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rotator.config import AccountSettings
from rotator.core.backoff import backoff
from rotator.core.protocol import Journal, Outcome, Reason, RequestKind, Result, requests
from rotator.errors import Blame, Code
from rotator.monitoring import VAULT_UNAVAILABLE

LONG_AGO = datetime.min.replace(tzinfo=UTC)
# A run that changed nothing is not repeated sooner.
SHORTEST_PAUSE = timedelta(seconds=1)
# A deferred run that does not say until when.
_DEFERRED_FOR = timedelta(minutes=1)
# A run that failed because of Vault is repeated this soon, doubled each time, and this often if Vault is available for
# other accounts. After that it counts as a failure.
VAULT_RETRY = timedelta(seconds=1)
VAULT_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """The delays and failures of an account that its journal does not contain.

    Attributes:
        error: The last failure that the journal does not contain; None if there is none.
        code: The code of that failure.
        failures: How many runs in a row failed without a note in the journal.
        vault_deferrals: How many runs in a row were deferred because of Vault.
        at: No run starts before.
    """

    error: str | None = None
    code: Code | None = None
    failures: int = 0
    vault_deferrals: int = 0
    at: datetime | None = None

    def after_failure(self, account: str, error: str, code: Code, now: datetime) -> "Retry":
        """Return the retry after a failure that the journal does not contain."""
        failures = self.failures + 1
        return replace(self, error=error, code=code, failures=failures, at=now + backoff(account, failures))

    def without_error(self) -> "Retry":
        """Return the retry without its failure and its delay."""
        return replace(self, error=None, at=None)

    def after_success(self, at: datetime | None) -> "Retry":
        """Return the retry after something succeeded; no run starts before `at`."""
        return replace(self, error=None, failures=0, at=at)


@dataclass(frozen=True, slots=True)
class Start:
    """When a rotation may start that has to wait.

    Attributes:
        not_before: It does not start before, even if it is due.
        slot: Its place among the rotations that are `min_spacing` apart; None: it has none yet.
    """

    not_before: datetime | None = None
    slot: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """One account, as the daemon knows it.

    Attributes:
        settings: As configured now.
        tried_at: When the provider last accepted its published secret.
        looked_at: When its documents were last read.
        journal: As last read or written; None: not read yet.
        reload: The journal was changed by another instance, or might have been: it is read before the next run.
        retry: The delays and failures that the journal does not contain.
        start: When its rotation may start.
        document: Version and time of the published document at the last look. A document that the journal does not
            mention is news only once: it can belong to another account, or the journal can be lost.
        refresh_at: When a run writes its documents again, whatever else has to wait: Vault would delete one of them.
            None if none is known to expire.
        job_at: When its job is set; None if there is none.
        not_planned: Why its job could not be set; None if it could.
    """

    settings: AccountSettings
    tried_at: datetime
    looked_at: datetime = LONG_AGO
    journal: Journal | None = None
    reload: bool = False
    retry: Retry = Retry()
    start: Start = Start()
    document: tuple[int, datetime | None] | None = None
    refresh_at: datetime | None = None
    job_at: datetime | None = None
    not_planned: str | None = None

    @property
    def name(self) -> str:
        """The account's name."""
        return self.settings.name

    @property
    def is_adopted(self) -> bool:
        """Whether rotator manages a secret of the account."""
        return self.journal is not None and self.journal.current is not None

    @property
    def is_unread(self) -> bool:
        """Whether its journal was neither read nor found unreadable."""
        return self.settings.enabled and self.journal is None and self.retry.error is None

    @property
    def needs_journal(self) -> bool:
        """Whether its journal has to be read before a run."""
        return self.journal is None or self.reload

    @property
    def is_verifying(self) -> bool:
        """Whether its candidate does not authenticate yet."""
        return self.journal is not None and self.journal.verification is not None

    @property
    def requested(self) -> RequestKind | None:
        """The kind of the recorded request that would start a rotation now; None if there is none."""
        journal = self.journal
        if journal is None or journal.request is None or journal.candidate is not None:
            return None
        return journal.request.kind if requests.might_begin_rotation(journal) else None

    @property
    def error(self) -> str | None:
        """The failure that the journal does not contain."""
        return self.not_planned or self.retry.error

    @property
    def code(self) -> Code | None:
        """The code of that failure."""
        return Code.INTERNAL_ERROR if self.not_planned else self.retry.code

    def with_settings(self, settings: AccountSettings, *, moved: bool) -> "AccountRecord":
        """Return the record of the account as it is configured now.

        Args:
            moved: Whether its documents are at another place now.
        """
        if moved or settings != self.settings:
            return replace(self, settings=settings, journal=None, retry=self.retry.without_error(), start=Start())
        return self

    def with_journal(self, journal: Journal | None) -> "AccountRecord":
        """Return the record with another journal. A new request does not wait as long as the schedule might."""
        record = replace(self, journal=journal)
        return record if record.requested is self.requested else replace(record, start=Start())

    def loaded(self, journal: Journal, refresh_at: datetime | None, now: datetime) -> "AccountRecord":
        """Return the record after its journal was read. When the published document expires is known already."""
        record = replace(self.with_journal(journal), looked_at=now, retry=Retry())
        wishes = [at for at in (refresh_at, self.refresh_at) if at is not None]
        return replace(record, refresh_at=min(wishes, default=None))

    def seen(self, journal: Journal, now: datetime) -> "AccountRecord":
        """Return the record after the resync read its journal: only a changed journal is news."""
        if journal == self.journal:
            return replace(self, looked_at=now)
        return replace(self.with_journal(journal), looked_at=now, retry=self.retry.without_error())

    def failed(self, error: str, code: Code, now: datetime) -> "AccountRecord":
        """Return the record after a failure that the journal does not contain."""
        return replace(self, looked_at=now, retry=self.retry.after_failure(self.name, error, code, now))

    def deferred_by_vault(self, now: datetime, *, available: bool) -> "AccountRecord | None":
        """Return the record after a run or a read that failed because of Vault; None if that counts as a failure.

        While Vault is unavailable, nothing fails because of it. Vault might be available again before the daemon
        noticed, so a few more runs are deferred. After that the failure is one of this account's documents.
        """
        deferrals = self.retry.vault_deferrals + 1
        if deferrals > VAULT_RETRIES and available:
            return None
        delay = VAULT_RETRY * (1 << min(deferrals - 1, VAULT_RETRIES))
        return replace(self, retry=replace(self.retry, vault_deferrals=deferrals, at=now + delay))

    def after_run(self, outcome: Outcome, now: datetime) -> "AccountRecord":
        """Return the record after a run with today's settings."""
        record = self.with_journal(outcome.journal or self.journal)
        record = replace(record, refresh_at=outcome.refresh_at or record.refresh_at)
        if outcome.blame is not Blame.VAULT and outcome.reason != VAULT_UNAVAILABLE:
            record = replace(record, retry=replace(record.retry, vault_deferrals=0))
        if outcome.code is not None:
            next_attempt = outcome.journal.next_attempt_at if outcome.journal else None
            if next_attempt is None or next_attempt <= now:
                return record.failed(outcome.error or "", outcome.code, now)
        changed_nothing = not (outcome.published or outcome.revoked)
        at = now + SHORTEST_PAUSE if changed_nothing else None
        # Vault's clock can say that the next list counts later than the journal's times alone do.
        if outcome.result is Result.DEFERRED or outcome.reason == Reason.IDENTIFYING:
            at = outcome.until or now + _DEFERRED_FOR
        tried_at = now if outcome.result is Result.OK else record.tried_at
        return replace(record, looked_at=now, tried_at=tried_at, retry=record.retry.after_success(at))

    def after_clock_step(self, now: datetime) -> "AccountRecord":
        """Return the record without delays that the previous clock set, and without times to come."""
        return replace(
            self,
            start=Start(),
            retry=replace(self.retry, at=None),
            tried_at=min(self.tried_at, now),
            looked_at=min(self.looked_at, now),
        )

    def held(self, not_before: datetime, slot: datetime | None = None) -> "AccountRecord":
        """Return the record of an account whose rotation has to wait."""
        return replace(self, start=Start(not_before, slot))
