"""The lease: which instance works on an account, and for how long others believe it."""

from datetime import datetime, timedelta

from rotator.core.protocol.journal import Journal
from rotator.core.protocol.policy import Policy

# An instant that lies further ahead than it can, by more than this, was written by a wrong clock.
CLOCK_TOLERANCE = timedelta(hours=1)
# Vault tells its time in whole seconds: two instances that ask it differ by that much.
CLOCK_RESOLUTION = timedelta(seconds=1)


def has_lease(journal: Journal, policy: Policy, now: datetime) -> bool:
    """Return whether the instance holds the lease for long enough to send one more request to the provider.

    The rules check it, and the executor checks it again right before it sends: a process might have been stopped
    in between.

    Args:
        now: The time that all instances share, `Situation.shared_now`.
    """
    return (
        journal.holder == policy.runner
        and journal.lease_until is not None
        and now + policy.request_timeout + CLOCK_RESOLUTION < journal.lease_until
    )


def leased_elsewhere(
    journal: Journal, policy: Policy, now: datetime, *, journal_at: datetime | None
) -> datetime | None:
    """Return when another instance's lease expires, or None if no other instance holds one.

    Args:
        now: The time that all instances share, `Situation.shared_now`.
        journal_at: When Vault stored the journal, by Vault's clock; None if that is not known.
    """
    if journal.holder in (None, policy.runner):
        return None
    until = believed(journal.lease_until, policy.lease, journal_at, now)
    return until if until is not None and until > now else None


def believed(at: datetime | None, longest: timedelta, written_at: datetime | None, now: datetime) -> datetime | None:
    """Return an instant of the journal, or its latest possible value if a wrong clock wrote it.

    A possible time stays unchanged, because Vault's clock might be wrong as well.
    """
    if at is None or written_at is None or at <= now + longest + CLOCK_TOLERANCE:
        return at
    return min(at, written_at + longest)
