"""When an account needs its next run; pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from rotator.core.protocol import CLOCK_TOLERANCE, LONGEST_BACKOFF, Journal, half_life, wake_at
from rotator.core.scheduling import Due
from rotator.daemon.account_record import LONG_AGO, AccountRecord
from rotator.vault import Document

NEVER = datetime(9000, 1, 1, tzinfo=UTC)
# The replicas of one fleet start an account's rotation within this time, one after the other.
STAGGER = timedelta(milliseconds=500)


def share(name: str) -> float:
    """Return a number from 0 to 1 that is the same for the same name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) / 2**64


def refresh_at(*documents: Document, now: datetime) -> datetime | None:
    """Return when one of these documents has to be written again, by this instance's clock; None if none expires."""
    halves = [(half_life(one.created, one.expires_at), one.read_at or now) for one in documents]
    return min((now + (half - read_at) for half, read_at in halves if half is not None), default=None)


def due(record: AccountRecord, now: datetime) -> Due | None:
    """Return when an account's rotation is due; None while the age of its secret is unknown."""
    rotated_at = record.journal.rotated_at if record.journal else None
    return record.settings.schedule.due(record.name, rotated_at, now) if rotated_at else None


def next_run_at(
    journal: Journal,
    due_at: datetime | None,
    *,
    instance: str,
    tried_at: datetime,
    verify_interval: timedelta,
    window: timedelta,
    now: datetime,
    path: str | None = None,
) -> datetime:
    """Return when an account needs its next run: as early as anything wants it, as late as a backoff or lease allows.

    Args:
        journal: Its journal.
        due_at: When its rotation is due; None if that is unknown, because the account is not adopted yet.
        instance: This process. It does not wait for its own lease, which a run that Vault interrupted left behind.
        tried_at: When the provider last accepted its published secret.
        verify_interval: How long that is good.
        window: The consistency window.
        now: The time. A wait that is longer than any real one was written by a wrong clock, and is ignored.
        path: The path of its published document.
    """
    wishes = [LONG_AGO if due_at is None else due_at, tried_at + verify_interval, wake_at(journal, window, now, path)]
    leased = journal.lease_holder not in (None, instance)
    waits = (journal.next_attempt_at, journal.lease_until if leased else None)
    longest = now + LONGEST_BACKOFF + CLOCK_TOLERANCE
    believed = [until for until in waits if until is not None and until <= longest]
    return max([min(wish for wish in wishes if wish), *believed])


@dataclass(frozen=True, slots=True)
class Timing:
    """Shared inputs for the times of all accounts' runs.

    Attributes:
        instance: This process.
        verify_interval: How often a published secret is tried at the provider.
        window: The consistency window.
    """

    instance: str
    verify_interval: timedelta
    window: timedelta

    def run_at(self, record: AccountRecord, now: datetime) -> datetime | None:
        """Return when the account needs its next run; None: never."""
        if not record.settings.enabled:
            return None
        journal = record.journal
        at = LONG_AGO
        if not record.needs_journal:
            found = due(record, now)
            at = self._wanted_at(record, found.at if found else None, now)
        at = max(at, record.retry.at or at)
        if record.refresh_at is not None and journal is not None and journal.lease_holder in (None, self.instance):
            at = min(at, record.refresh_at)
        return max(at, now)

    def other_work_at(self, record: AccountRecord, now: datetime) -> datetime:
        """Return when the account needs a run if its schedule starts no rotation."""
        return self._wanted_at(record, NEVER if due(record, now) else None, now)

    def _wanted_at(self, record: AccountRecord, due_at: datetime | None, now: datetime) -> datetime:
        not_before = record.start.not_before
        if due_at is not None:
            # Replicas come to an account one after the other: the second one finds a lease instead of a conflict.
            stagger = STAGGER * share(f"{self.instance}/{record.name}")
            due_at = max(due_at + stagger, not_before or due_at)
        at = next_run_at(
            record.journal or Journal(),
            due_at,
            instance=self.instance,
            tried_at=record.tried_at,
            verify_interval=self.verify_interval,
            window=self.window,
            now=now,
            path=record.settings.path,
        )
        # A recorded request wakes the account at once. So all runs wait until its rotation may start.
        waits_to_start = not_before is not None and record.requested is not None
        return max(at, not_before) if waits_to_start and not_before is not None else at
