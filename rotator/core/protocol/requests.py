"""Requests for rotations. A request stays in the journal until it is carried out or withdrawn."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.core.failures import Code
from rotator.core.protocol.journal import Journal, Request, RequestKind, Retiring, Target, Trigger
from rotator.core.protocol.observation import Observation, Published, is_recorded

# An account with an urgent request is retried this soon after a failure.
URGENT_BACKOFF = timedelta(seconds=30)
# After so many refusals of the secrets they are wrong: a provider in trouble can refuse every secret for half an hour.
URGENT_REFUSALS = 60


def target_of(journal: Journal, published: Published) -> Target | None:
    """Return what a request made now would replace; None if nothing is published.

    The id is the journal's, if the journal speaks of the published version. Otherwise the version itself is named.
    """
    if published.secret is None:
        return None
    recorded = is_recorded(journal, published)
    if recorded and journal.current_id is not None:
        return Target(id=journal.current_id)
    return Target(version=published.version, written_at=published.written_at)


def is_published(target: Target, journal: Journal, published: Published) -> bool:
    """Return whether the secret that a request speaks of is still the published one."""
    if target.id is not None:
        return journal.current_id == target.id
    same_time = None in (target.written_at, published.written_at) or target.written_at == published.written_at
    return published.secret is not None and published.version == target.version and same_time


def is_of_current(request: Request | None, journal: Journal) -> bool:
    """Return whether a request speaks of the secret that the journal calls the published one."""
    if request is None:
        return False
    target = request.of
    return target.version == journal.published_version if target.id is None else target.id == journal.current_id


def requested(seen: Observation, journal: Journal, now: datetime) -> Journal:
    """Return the journal with the caller's request in it, unless it is too late or not needed.

    It is too late if another secret is published by now. It is not needed if an equal or stronger request for the same
    secret is recorded already. A compromised request makes every recorded secret due and compromised, also if it is too
    late. An urgent request shortens the backoff of earlier failures, and of those it counts one.
    """
    asked = seen.request
    known = journal.request
    if asked is None:
        return journal
    if not is_published(asked.of, journal, seen.published):
        return _requested_too_late(asked, journal, now)
    if (
        known is not None
        and is_published(known.of, journal, seen.published)
        and known.kind.strength >= asked.kind.strength
    ):
        return journal
    if asked.kind is RequestKind.MANUAL:
        return replace(journal, request=asked)
    attempts = min(journal.attempts, 1)
    journal = replace(journal, request=asked, attempts=attempts, next_attempt_at=_next_attempt(journal, now))
    return journal if asked.kind is RequestKind.FORCE else _with_compromised_entries(journal, now)


def _requested_too_late(asked: Request, journal: Journal, now: datetime) -> Journal:
    """The journal after a request for a secret that was replaced in the meantime: it begins no other rotation.

    A compromised secret is revoked at once all the same. If the journal does not know yet that it was replaced, the
    request stays until it does.
    """
    if asked.kind is not RequestKind.COMPROMISED:
        return journal
    known = journal.request
    if is_of_current(asked, journal) and (known is None or known.kind.strength < asked.kind.strength):
        return _with_compromised_entries(replace(journal, request=asked), now)
    return _with_compromised_entries(journal, now, for_good=True)


def is_spent(seen: Observation, journal: Journal, now: datetime) -> bool:
    """Return whether the caller's request came too late, and the journal contains all that follows from it.

    A compromised request concerns the secrets that are retiring then, and none that is replaced later.
    """
    asked = seen.request
    if asked is None or is_published(asked.of, journal, seen.published) or is_of_current(asked, journal):
        return False
    return requested(seen, journal, now) == journal


def is_limited(journal: Journal) -> bool:
    """Return whether the next attempt waits for the provider's rate limit, not for a backoff."""
    return not journal.attempts or journal.failure == Code.RATE_LIMITED


def _next_attempt(journal: Journal, now: datetime) -> datetime | None:
    """When an account with an urgent request is tried again. The provider's own limits stay."""
    at = journal.next_attempt_at
    if at is None or is_limited(journal) or journal.failure == Code.UNPROVISIONED:
        return at
    return min(at, now + URGENT_BACKOFF)


def _with_compromised_entries(journal: Journal, now: datetime, *, for_good: bool = False) -> Journal:
    """The journal whose recorded secrets are all due.

    Args:
        journal: The journal.
        now: The time.
        for_good: Whether no withdrawal gives the secrets their grace periods back, because the journal does not
            contain the request.
    """
    return _with_entries(journal, lambda entry: _compromised(entry, now, for_good=for_good))


def _compromised(entry: Retiring, now: datetime, *, for_good: bool) -> Retiring:
    grace_until = None if for_good or entry.compromised else entry.not_before
    return replace(entry, not_before=min(entry.not_before, now), compromised=True, grace_until=grace_until)


def _with_entries(journal: Journal, changed: Callable[[Retiring], Retiring]) -> Journal:
    mark = journal.publishing
    if mark is not None and mark.entry is not None:
        mark = replace(mark, entry=changed(mark.entry))
    return replace(journal, retiring=tuple(changed(entry) for entry in journal.retiring), publishing=mark)


def with_target(journal: Journal, target: Target) -> Journal:
    """Return the journal whose request speaks of this target; without a request, the journal itself."""
    return journal if journal.request is None else replace(journal, request=replace(journal.request, of=target))


def followed(journal: Journal, published: Published) -> Journal:
    """Return the journal whose request speaks of the same secret in a version that was written later."""
    request = journal.request
    if request is None or request.of.id is not None:
        return journal
    return with_target(journal, Target(version=published.version, written_at=published.written_at))


def kept(request: Request | None, before: Published, published: Published) -> Request | None:
    """Return a request that no journal contains yet, after the published document was read again.

    A version that contains the same secret is no replacement: the request speaks of the new version then.
    """
    if request is None or request.of.id is not None or request.of.version != before.version:
        return request
    if published.secret is None or published.secret != before.secret:
        return request
    return replace(request, of=Target(version=published.version, written_at=published.written_at))


def is_done(journal: Journal, published: Published) -> bool:
    """Return whether nothing is left to do for the request: its secret is neither published nor retiring."""
    request = journal.request
    if request is None or journal.candidate is not None or _can_be_published(request.of, journal):
        return False
    return not is_published(request.of, journal, published) and request.of.id not in journal.retiring_ids


def _can_be_published(target: Target, journal: Journal) -> bool:
    """Whether the published secret's pending id can turn out to be the one that a request names."""
    current = journal.current
    if target.id is None or current is None or not current.is_pending:
        return False
    return target.id not in current.foreign_ids | journal.added_ids | {entry.id for entry in journal.gone}


def withdrawn(journal: Journal) -> Journal:
    """Return the journal without its request."""
    return replace(journal, request=None)


def cancelled(journal: Journal) -> Journal:
    """Return the journal without its request, because a person withdrew it.

    A rotation that it began goes on, and the secret that this replaces keeps its grace period. So do the secrets that
    the request made due. Those that an earlier request made due stay due.
    """
    request = journal.request
    after = withdrawn(journal)
    if request is None or request.kind is not RequestKind.COMPROMISED:
        return after
    return _with_entries(without_compromised_trigger(after), _with_grace_again)


def without_compromised_trigger(journal: Journal) -> Journal:
    """Return the journal whose candidate, if there is one, replaces a secret that is not known to be compromised."""
    if journal.candidate is None or journal.trigger is not Trigger.COMPROMISED:
        return journal
    return replace(journal, trigger=Trigger.MANUAL)


def _with_grace_again(entry: Retiring) -> Retiring:
    if entry.grace_until is None:
        return entry
    return replace(entry, not_before=entry.grace_until, compromised=False, grace_until=None)
