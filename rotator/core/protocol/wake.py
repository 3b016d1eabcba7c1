"""When an account needs a run because of its journal, whatever its schedule says."""

from datetime import UTC, datetime, timedelta

from rotator.core.protocol.journal import Identity, Journal, RequestKind, Retiring, ids_of
from rotator.core.protocol.observation import Published, is_marked_elsewhere
from rotator.core.protocol.requests import might_begin_rotation
from rotator.core.protocol.situation import LONGEST_LOOK

AT_ONCE = datetime.min.replace(tzinfo=UTC)


def wake_at(journal: Journal, window: timedelta, now: datetime, path: str | None = None) -> datetime | None:
    """Return the earliest instant at which a run has something to do; None if nothing is left to do.

    Backoff and leases are not considered. An instant that lies further ahead than it can was written by a clock that is
    ahead, and counts as the latest possible one. The run finds out by Vault's clock when it is due.

    Args:
        journal: The account's journal.
        window: The consistency window.
        now: The time.
        path: The path of the published document. A run at another path cannot end a write that might be applied late.
    """
    current = journal.current
    verification = journal.verification
    wishes = [_wish_of(journal, entry, window, now) for entry in journal.retiring]
    if journal.candidate is not None:
        if verification is not None and verification.rotation_id == journal.rotation_id:
            wishes.append(min(verification.next_look, now + LONGEST_LOOK))
        else:
            wishes.append(AT_ONCE)
    if current is not None and current.is_pending and current.next_look is not None:
        wishes.append(_look_at(current, window, now))
    mark = journal.publishing
    if mark is not None:
        is_elsewhere = is_marked_elsewhere(journal, Published(path=path))
        of_entry = [_wish_of(journal, mark.entry, window, now)] if mark.entry is not None else []
        wishes += of_entry if is_elsewhere else [AT_ONCE]
    is_open = journal.leaked or _is_of_lost_id(journal)
    if is_open and not journal.retiring_compromised:  # these are revoked first
        wishes.append(_window_after(journal.published_at or journal.rotated_at, window, now))
    if might_begin_rotation(journal):
        wishes.append(AT_ONCE)
    return min(wishes, default=None)


def _is_of_lost_id(journal: Journal) -> bool:
    """Whether a compromised request is for a secret that is neither the journal's nor retiring, or has no known id."""
    request = journal.request
    if request is None or request.of.is_unknown:
        return request is not None
    lost = ids_of(request.of.id) - journal.named_ids - journal.retiring_ids
    return request.kind is RequestKind.COMPROMISED and bool(lost)


def _wish_of(journal: Journal, entry: Retiring, window: timedelta, now: datetime) -> datetime:
    """When an entry may be revoked, or looked at again."""
    identities = (journal.current, entry.identity)
    return max(
        min(entry.not_before, now) if entry.compromised else entry.not_before,
        journal.create_until or AT_ONCE,
        journal.lost_journal_until or AT_ONCE,
        *(_look_at(identity, window, now) for identity in identities if identity is not None and identity.is_pending),
        _window_after(entry.missing_since, window, now),
        _window_after(journal.last_doubt.seen_at if journal.last_doubt is not None else None, window, now),
    )


def _look_at(identity: Identity, window: timedelta, now: datetime) -> datetime:
    return AT_ONCE if identity.next_look is None else min(identity.next_look, now + window)


def _window_after(noted_at: datetime | None, window: timedelta, now: datetime) -> datetime:
    """When the consistency window is over after a note of the present."""
    return AT_ONCE if noted_at is None else min(noted_at, now) + window
