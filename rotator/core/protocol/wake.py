"""When an account needs a run because of its journal, whatever its schedule says."""

from datetime import UTC, datetime, timedelta

from rotator.core.protocol.journal import Journal, Retiring

AT_ONCE = datetime.min.replace(tzinfo=UTC)


def wake_at(journal: Journal, window: timedelta) -> datetime | None:
    """Return the earliest instant at which a run has something to do; None if nothing is left to do.

    Backoff and leases are not considered.

    Args:
        journal: The account's journal.
        window: The consistency window.
    """
    current, verification, request = journal.current, journal.verification, journal.request
    wishes: list[datetime | None] = [_wish_of(journal, entry, window) for entry in journal.retiring]
    if journal.candidate is not None:
        waits = verification is not None and verification.rotation_id == journal.rotation_id
        wishes.append(verification.next_look if waits and verification is not None else AT_ONCE)
    if current is not None and current.is_pending:
        wishes.append(current.next_look)
    if journal.publishing is not None:
        wishes.append(AT_ONCE)
    if request is not None and request.of.id in (None, journal.current_id):
        wishes.append(AT_ONCE)
    return min((wish for wish in wishes if wish is not None), default=None)


def _wish_of(journal: Journal, entry: Retiring, window: timedelta) -> datetime:
    """When an entry may be revoked, or looked at again."""
    current, strangers = journal.current, journal.strangers
    looks = [
        identity.next_look for identity in (current, entry.identity) if identity is not None and identity.is_pending
    ]
    instants = [
        entry.not_before,
        journal.create_until,
        *looks,
        None if entry.missing_since is None else entry.missing_since + window,
        None if strangers is None else strangers.seen_at + window,
    ]
    return max(at for at in instants if at is not None)
