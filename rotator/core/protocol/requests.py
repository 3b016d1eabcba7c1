"""Requests for rotations. A request stays in the journal until it is carried out or withdrawn."""

from collections.abc import Callable, Set
from datetime import datetime, timedelta

from pydantic import SecretStr

from rotator.core.copies import replace
from rotator.core.failures import Code
from rotator.core.protocol.journal import Answered, Journal, Request, RequestKind, Retiring, Target, Trigger, ids_of
from rotator.core.protocol.leaks import digest_of, is_leaked, leak_of, with_leak
from rotator.core.protocol.observation import Observation, Published, is_recorded, published_with_candidate

# An account with an urgent request is retried this soon after a failure.
URGENT_BACKOFF = timedelta(seconds=30)
# After so many refusals of the secrets they are wrong: a failing provider can refuse every secret for half an hour.
URGENT_REFUSALS = 60


def new_request(
    kind: RequestKind, journal: Journal, published: Published, *, at: datetime, by: str, id_: str
) -> Request | None:
    """Return a request for the secret that is published now; None if nothing is published, and nothing was.

    If the newest version is deleted, its value is not known. The request names the version, or the journal's id if no
    version is left.

    Args:
        kind: The kind of the request.
        journal: The account's journal.
        published: The published document.
        at: The time of the request.
        by: The user.
        id_: A new name for the request.
    """
    if published.secret is not None:
        return Request(kind, _target_of(journal, published), at, by, id_, value_digest=digest_of(id_, published.secret))
    if not (published.version or journal.published_version):
        return None
    if not published.version:
        return Request(kind, Target(id=journal.current_id), at, by, id_)
    of = Target(version=published.version, written_at=published.written_at)
    leaks_recorded = kind is RequestKind.COMPROMISED and is_recorded(journal, published)
    return Request(kind, of, at, by, id_, earlier_ids=ids_of(journal.current_id) if leaks_recorded else frozenset())


def _target_of(journal: Journal, published: Published) -> Target:
    """The id, if the journal speaks of the published version or of its value. Otherwise the version itself."""
    if is_recorded(journal, published) and journal.current_id is not None:
        return Target(id=journal.current_id)
    answered = published_with_candidate(journal, published)
    if answered is not None:
        return Target(id=answered)
    return Target(version=published.version, written_at=published.written_at)


def speaks_of(request: Request | None, secret: SecretStr | None) -> bool:
    """Return whether a request is for this value. One from before digests were stored is for none."""
    if request is None or secret is None:
        return False
    return request.value_digest == digest_of(request.id, secret)


def is_published(request: Request, journal: Journal, published: Published) -> bool:
    """Return whether the secret that a request speaks of is still the published one, or in a deleted newest version."""
    if request.value_digest is not None:
        return speaks_of(request, published.secret)
    target = request.of
    if target.id is not None:  # the candidate is another secret than the journal's
        is_candidate = journal.candidate is not None and published.secret == journal.candidate
        return journal.current_id == target.id and not is_candidate
    same_time = None in (target.written_at, published.written_at) or target.written_at == published.written_at
    return 0 < published.version == target.version and same_time


def might_begin_rotation(journal: Journal) -> bool:
    """Return whether the request can be for the published secret, as far as the journal alone tells."""
    request = journal.request
    return request is not None and not request.of.is_unknown and request.of.id in (None, journal.current_id)


def is_of_current(request: Request | None, journal: Journal, seen: Observation) -> bool:
    """Return whether a request speaks of the secret that the journal calls the published one.

    Without its value, which can be gone, ids and versions decide.
    """
    if request is None:
        return False
    value = seen.published.secret if is_recorded(journal, seen.published) else seen.recorded
    if value is not None and request.value_digest is not None:
        return speaks_of(request, value)
    target = request.of
    return target.version == journal.published_version if target.id is None else target.id == journal.current_id


def with_refused(journal: Journal, published: Published) -> Journal:
    """Return the journal whose request for this refused value is for the one that is published in its place, too.

    As if the version were deleted: the request names the version, and not the value any more.
    """
    request = journal.request
    if request is None or request.of.id is not None or not speaks_of(request, published.secret):
        return journal
    of = Target(version=published.version, written_at=published.written_at)
    return replace(journal, request=replace(request, of=of, value_digest=None))


def _with_leak(journal: Journal, request: Request | None) -> Journal:
    """The journal that notes the value of a compromised request which it does not contain itself.

    If no run recorded that this value was published, it can be that of a secret that a user added.
    """
    leak = leak_of(request)
    if request is None or not leak:
        return journal
    is_recorded_version = request.of.version in (0, journal.published_version)
    might_be_added = not is_recorded_version and not speaks_of(request, journal.candidate)
    return replace(with_leak(journal, leak), added_ids=frozenset() if might_be_added else journal.added_ids)


def is_never_published_again(journal: Journal, secret: SecretStr) -> bool:
    """Return whether this value leaked, and another secret has replaced it since."""
    return is_leaked(journal, secret) or is_replaced(journal, secret)


def is_replaced(journal: Journal, secret: SecretStr | None) -> bool:
    """Return whether a compromised request is for this value, and another secret has replaced it since.

    While its id is the journal's, certain or not, or a version is all that is known of it, it might be the last one
    that works.
    """
    request = journal.request
    if request is None or request.kind is not RequestKind.COMPROMISED or not speaks_of(request, secret):
        return False
    return request.of.is_unknown or not ids_of(request.of.id) <= journal.named_ids


def is_last_resort(journal: Journal, secret: SecretStr, own_ids: Set[str]) -> bool:
    """Return whether a compromised request can be for this value, so that nothing else is published rather.

    Args:
        journal: The account's journal.
        secret: The value.
        own_ids: Its id, if that is certain.
    """
    request = journal.request
    if request is None or request.kind is not RequestKind.COMPROMISED:
        return False
    if request.value_digest is not None:
        return speaks_of(request, secret)
    ids = request.earlier_ids | ids_of(request.of.id)
    return not (own_ids and ids) or bool(own_ids & ids)


def requested(seen: Observation, journal: Journal, now: datetime) -> Journal:
    """Return the journal with the caller's request in it, unless it is too late or not needed.

    It is too late if another secret is published by now. It is not needed if an equal or stronger request for the same
    secret is recorded already. A compromised request makes every recorded secret due and compromised, also if it is too
    late. An urgent request shortens the backoff of earlier failures, and of those it counts one.
    """
    journal = _with_digest(journal, seen.published)
    asked = seen.request
    if asked is None:
        return journal
    journal = _with_candidate_id(journal, asked)
    known = journal.request
    if not is_published(asked, journal, seen.published):
        return _requested_too_late(asked, journal, seen, now)
    if (
        known is not None
        and is_published(known, journal, seen.published)
        and known.kind.strength >= asked.kind.strength
    ):
        return journal
    if _outweighs(known, asked, journal):
        return journal
    journal = _with_request(journal, asked)
    if not asked.kind.is_urgent:
        return journal
    attempts = min(journal.attempts, 1)
    journal = replace(journal, attempts=attempts, next_attempt_at=_next_attempt(journal, now))
    return journal if asked.kind is RequestKind.FORCE else _with_compromised_entries(journal, now)


def _outweighs(known: Request | None, asked: Request, journal: Journal) -> bool:
    """Whether the recorded request is a compromised one whose secret a candidate has replaced, not recorded yet.

    Its id is not known before that is recorded. Until then, a weaker request would forget it.
    """
    if known is None or known.kind is not RequestKind.COMPROMISED or asked.kind is RequestKind.COMPROMISED:
        return False
    return known.of.id is None and not known.of.is_unknown and speaks_of(asked, journal.candidate)


def _with_digest(journal: Journal, published: Published) -> Journal:
    """The journal whose request for the published secret names its value, also if an earlier version wrote it."""
    request = journal.request
    if request is None or request.value_digest is not None or published.secret is None:
        return journal
    is_certain = request.of.id is None or is_recorded(journal, published)
    if not is_certain or not is_published(request, journal, published):
        return journal
    return replace(journal, request=replace(request, value_digest=digest_of(request.id, published.secret)))


def _with_candidate_id(journal: Journal, asked: Request) -> Journal:
    """The journal that contains the candidate's id, if the request was made while the candidate was published with it.

    Later requests name other secrets, and other versions of the published document name other ids.
    """
    if journal.answered_id is not None or journal.rotation_id is None:
        return journal
    if asked.of.id is None or not speaks_of(asked, journal.candidate):
        return journal
    return replace(journal, candidate_id=Answered(journal.rotation_id, asked.of.id))


def _with_request(journal: Journal, asked: Request) -> Journal:
    """The journal with this request. What the recorded one says of other secrets that leaked stays."""
    known = journal.request
    known_ids = frozenset[str]() if known is None else _ids_named_by(known, journal)
    earlier_ids = asked.earlier_ids | known_ids
    return _with_leak(replace(journal, request=replace(asked, earlier_ids=earlier_ids)), known)


def _ids_named_by(request: Request, journal: Journal) -> frozenset[str]:
    """The ids of secrets that leaked: a compromised request's own or its candidate's, and those of earlier requests."""
    if request.kind is not RequestKind.COMPROMISED:
        return request.earlier_ids
    is_of_candidate = speaks_of(request, journal.candidate)
    return request.earlier_ids | ids_of(request.of.id, journal.answered_id if is_of_candidate else None)


def _requested_too_late(asked: Request, journal: Journal, seen: Observation, now: datetime) -> Journal:
    """The journal after a request for a secret that was replaced in the meantime: it begins no other rotation.

    A compromised secret is revoked at once all the same. If the journal does not know yet that it was replaced, or if
    it is the candidate, the request stays until that is recorded.
    """
    if asked.kind is not RequestKind.COMPROMISED:
        return journal
    known = journal.request
    if not _is_unfinished(asked, journal, seen):
        return _with_compromised_entries(journal, now, for_good=True)
    if known is None or known.kind.strength < asked.kind.strength:
        return _with_compromised_entries(_with_request(journal, asked), now)
    if not any(speaks_of(known, value) and speaks_of(asked, value) for value in (seen.recorded, journal.candidate)):
        journal = _with_leak(journal, asked)
    ids = _ids_named_by(asked, journal) - ids_of(known.of.id)
    known = replace(known, earlier_ids=known.earlier_ids | ids)
    return _with_compromised_entries(replace(journal, request=known), now, for_good=True)


def _is_unfinished(asked: Request, journal: Journal, seen: Observation) -> bool:
    """Whether the secret of a request that came too late is the journal's, its candidate, or one without a known id."""
    return asked.of.is_unknown or is_of_current(asked, journal, seen) or speaks_of(asked, journal.candidate)


def is_spent(seen: Observation, journal: Journal, now: datetime) -> bool:
    """Return whether the caller's request came too late, and the journal contains all that follows from it.

    A compromised request concerns the secrets that are retiring then, and none that is replaced later.
    """
    asked = seen.request
    if asked is None or is_published(asked, journal, seen.published) or _is_unfinished(asked, journal, seen):
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


def followed(journal: Journal, published: Published, *, is_other: bool = False) -> Journal:
    """Return the journal whose request names its secret as the journal does by now: by the id, or by the version.

    If the request names a version and another secret is recorded by now, rotator cannot tell the request's secret any
    more.

    Args:
        journal: The journal, which speaks of the published document.
        published: The published document.
        is_other: Whether it contains another value than the one that the journal spoke of before.
    """
    request = journal.request
    if request is None or (request.of.id is not None and request.value_digest is None):
        return journal
    is_of_published = speaks_of(request, published.secret)
    if request.value_digest is None:
        is_of_published = not is_other and not request.of.is_unknown
    if not is_of_published:
        return journal if request.of.id is not None else _without_place(journal, request)
    if journal.current_id is not None:
        return with_target(journal, Target(id=journal.current_id))
    if ids_of(request.of.id) & journal.named_ids:
        return journal
    return with_target(journal, Target(version=published.version, written_at=published.written_at))


def _without_place(journal: Journal, request: Request) -> Journal:
    """The journal whose request is for a secret that rotator cannot tell any more.

    A compromised one can be a secret that a user added, and a person decides about all that it can be.
    """
    journal = with_target(journal, Target())
    if request.kind is not RequestKind.COMPROMISED:
        return journal
    return replace(journal, added_ids=frozenset(), later_id=None)


def is_done(journal: Journal, published: Published, *, at_rest: bool) -> bool:
    """Return whether nothing is left to do for the request: its secret is neither published nor retiring.

    While the account has unknown secrets, one of them can be the request's, unless rotator knows that this one is gone.

    Args:
        journal: The account's journal.
        published: The published document.
        at_rest: Whether the account has no unknown secret.
    """
    request = journal.request
    if request is None or journal.candidate is not None or is_published(request, journal, published):
        return False
    if not at_rest and request.kind is RequestKind.COMPROMISED:
        gone = {entry.id for entry in journal.gone}
        return request.of.id in gone and request.earlier_ids <= gone | journal.retiring_ids
    return request.of.id not in journal.retiring_ids


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
