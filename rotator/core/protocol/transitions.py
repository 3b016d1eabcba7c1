"""Every change of a journal, by name. Nothing else writes one."""

from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import SecretStr

from rotator.core.failures import Blame, stored_code
from rotator.core.jitter import backoff
from rotator.core.protocol.journal import (
    Answered,
    Gone,
    Identity,
    Journal,
    Learned,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Strangers,
    Target,
    Trigger,
    Verification,
    ids_of,
)
from rotator.core.protocol.observation import Observation, is_recorded
from rotator.core.protocol.policy import Policy
from rotator.core.protocol.requests import URGENT_BACKOFF, followed, is_done, is_of_current, with_target, withdrawn
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import Credential

# How many lists have to agree before an id counts as eliminated.
LOOKS = 3


# --- the lease ---------------------------------------------------------------------------------------------------


def claimed(case: Situation) -> Journal:
    """With this instance's lease. What an earlier holder might have sent counts as under way until it cannot be.

    The id of a candidate that authenticates is not unknown any more.
    """
    journal = _noted(case)
    if case.candidate_works:
        journal = replace(journal, ambiguity=None, unknown_ids=frozenset())
    return replace(
        journal,
        holder=case.policy.runner,
        lease_until=case.lease_until,
        create_until=case.create_until,
    )


def released(case: Situation) -> Journal:
    """Without the lease, and with everything written down that a later run needs."""
    return replace(_noted(case), holder=None, lease_until=None, create_until=case.create_until)


def unleased(journal: Journal) -> Journal:
    """Without any lease."""
    return replace(journal, holder=None, lease_until=None)


def _unleased(journal: Journal, case: Situation) -> Journal:
    """Without this instance's lease; another instance's stays."""
    return unleased(journal) if journal.holder in (None, case.policy.runner) else journal


def _noted(case: Situation) -> Journal:
    """With the account's key, and the id that the provider answered to the create of the candidate in hand."""
    journal = replace(case.journal, api_key=case.policy.api_key or case.journal.api_key)
    if journal.candidate is None or journal.rotation_id is None or case.candidate_id is None:
        return journal
    known = journal.candidate_id
    if known is not None and (known.rotation_id, known.id) == (journal.rotation_id, case.candidate_id):
        return journal
    return replace(journal, candidate_id=Answered(journal.rotation_id, case.candidate_id))


# --- a rotation --------------------------------------------------------------------------------------------------


def prepared(case: Situation, *, trigger: Trigger, candidate: SecretStr, rotation_id: str) -> Journal:
    """With a candidate that will be created, and the lease.

    Args:
        case: The situation.
        trigger: Why the rotation begins.
        candidate: A new value, never sent anywhere yet.
        rotation_id: A new name for the rotation.
    """
    late = case.create_until
    return replace(
        claimed(case),
        rotation_id=rotation_id,
        trigger=trigger,
        candidate=candidate,
        candidate_id=None,
        verification=None,
        ids_before=case.listed | _ids_known(case),
        create_until=late if late is not None and late > case.shared_now else None,
        ambiguity=None,
        unknown_ids=frozenset(),
    )


def _ids_known(case: Situation) -> frozenset[str]:
    """The ids that the journal knows: no candidate of now is one of them, even if the list at hand lacks them."""
    current = case.journal.current
    return case.explained | case.journal.named_ids | (current.beside if current is not None else frozenset())


def committed(case: Situation) -> Journal:
    """With the published candidate as the current secret, and the previous one retiring.

    If the previous secret's id is not certain, it is eliminated again before it is revoked. If the lists disagree, it
    does not stay retiring: it becomes unknown, and a person decides.
    """
    journal, published, identity = case.journal, case.seen.published, _candidate_identity(case)
    entries = {entry.id: entry for entry in journal.retiring if entry.id != case.candidate_id}
    old = _retiring_previous(case)
    if old is not None:
        entries[old.id] = old
    done = replace(
        _recovered(_noted(case)),
        current=identity,
        rotated_at=published.rotated_at or case.now,
        published_version=published.version,
        published_at=published.written_at,
        candidate=None,
        candidate_id=None,
        verification=None,
        ids_before=frozenset(),
        create_until=case.create_until,
        retiring=tuple(entries.values()),
        request=_request_after_commit(case, old.id if old is not None else None),
    )
    fence = case.late_create_until or case.now
    due_now = any(max(entry.not_before, fence) <= case.now and not entry.is_pending for entry in done.retiring)
    if not due_now or identity.is_pending:
        return unleased(done)
    return replace(done, holder=case.policy.runner, lease_until=case.lease_until)


def _retiring_previous(case: Situation) -> Retiring | None:
    """The previous secret's entry. Its id is certain if it was answered, or if no list of now puts it in doubt."""
    old = case.journal.current
    if old is None or old.id is None or old.id == case.candidate_id:
        return None
    at_once = case.compromised or case.journal.trigger is Trigger.COMPROMISED or _candidate_is_compromised(case)
    certain = old.is_answered or (case.seen.listing is not None and not case.in_doubt)
    identity = old if certain or old.is_pending else restarted(case, replace(old, learned=Learned.PENDING), old.id)
    return Retiring(
        old.id, case.now if at_once else case.now + case.policy.grace, compromised=at_once, identity=identity
    )


def _candidate_is_compromised(case: Situation) -> bool:
    """Whether a compromised request came after the candidate was published: it concerns every secret before as well."""
    request = case.journal.request
    return request is not None and request.kind is RequestKind.COMPROMISED and _is_of_candidate(case, request)


def _is_of_candidate(case: Situation, request: Request) -> bool:
    return request.of.id is None and request.of.version == case.seen.published.version


def _candidate_identity(case: Situation) -> Identity:
    if case.candidate_id is not None:
        return Identity(case.candidate_id, Learned.ANSWERED, beside=case.listed)
    return pending(case, foreign_ids=case.journal.ids_before | _answered_ids(case.journal))


def _answered_ids(journal: Journal) -> frozenset[str]:
    """The ids that the provider answered to creates of recorded values. A list before a create can lack them."""
    identities = (journal.current, *(entry.identity for entry in journal.retiring))
    return ids_of(*(identity.id for identity in identities if identity is not None and identity.is_answered))


def _request_after_commit(case: Situation, retired: str | None) -> Request | None:
    """A compromised request is done when the replaced secret is gone; the others are done now.

    A request of another secret stays: one that is being revoked, or the candidate itself, which consumers read already.
    """
    request = case.journal.request
    if request is None:
        return None
    if not case.requested:
        known = case.candidate_id is not None and _is_of_candidate(case, request)
        return replace(request, of=Target(id=case.candidate_id)) if known else request
    if request.kind is not RequestKind.COMPROMISED or retired is None:
        return None
    return replace(request, of=Target(id=retired))


def verifying(case: Situation, since: datetime) -> Journal:
    """Without the lease: the candidate does not authenticate yet, and a later run looks again."""
    journal = released(case)
    rotation_id = journal.rotation_id or ""
    return replace(journal, verification=Verification(rotation_id, since, case.next_look))


# --- identity ----------------------------------------------------------------------------------------------------


def pending(case: Situation, *, foreign_ids: frozenset[str], guess: str | None = None) -> Identity:
    """The identity of a value that authenticated just now. Lists from one consistency window on count."""
    return Identity(
        guess,
        Learned.PENDING,
        beside=case.listed,
        foreign_ids=foreign_ids,
        next_look=case.now + case.policy.window,
    )


def adopted(case: Situation, identity: Identity, *, retire_previous: bool) -> Journal:
    """With this identity of the published secret.

    Recorded ids stay recorded. Nothing that rotator did not create and publish itself becomes retiring.

    Args:
        case: The situation.
        identity: The published secret's id, or what is known of it.
        retire_previous: Whether the current id belongs to another value, so that it was replaced.
    """
    old, asked = case.journal.current, case.journal.request
    journal = _unmarked(caught_up(case), case)
    if retire_previous:
        journal = replace(journal, request=asked)  # it speaks of the previous value, if it speaks of a version
    entries = {entry.id: entry for entry in journal.retiring if identity.is_pending or entry.id != identity.id}
    if retire_previous and old is not None and old.is_answered and old.id is not None and old.id != identity.id:
        at_once = asked is not None and asked.kind is RequestKind.COMPROMISED and is_of_current(asked, case.journal)
        not_before = case.now if at_once else case.now + case.policy.grace
        entries[old.id] = Retiring(old.id, not_before, compromised=at_once, identity=old)
        journal = with_target(journal, Target(id=old.id)) if at_once else journal
    known = identity.id if identity.id in case.seen.created else None
    # A person might have published the value of a secret that they added.
    is_other_value = retire_previous or not is_recorded(case.journal, case.seen.published)
    return replace(
        journal,
        current=identity,
        added_ids=frozenset() if is_other_value else journal.added_ids - ids_of(identity.id),
        rotated_at=case.seen.created[known] if known is not None else case.seen.published.rotated_at or case.now,
        retiring=tuple(entries.values()),
    )


def restarted(case: Situation, identity: Identity, guess: str | None = None) -> Identity:
    """The pending identity after a list that disagreed: the lists count again from one consistency window on."""
    return replace(identity, id=guess, looks=0, restarts=identity.restarts + 1, next_look=case.now + case.policy.window)


def counted(case: Situation, identity: Identity, id_: str) -> Identity:
    """The identity after one more list that agrees."""
    looks = identity.looks + 1
    if looks < LOOKS:
        return replace(identity, id=id_, looks=looks, next_look=case.now + case.policy.window / 2)
    return Identity(id_, Learned.ELIMINATED, beside=case.listed)


def looked(case: Situation, identity: Identity) -> Journal:
    """With one more list counted, or none if it disagreed."""
    return replace(_noted(case), current=identity)


def looked_at_retiring(case: Situation, entry: Retiring, identity: Identity | None) -> Journal:
    """With one more list counted for a retiring entry; without the entry if a list disagreed."""
    entries = (
        replace(known, identity=identity) if known.id == entry.id else known
        for known in case.journal.retiring
        if identity is not None or known.id != entry.id
    )
    return replace(_noted(case), retiring=tuple(entries))


def identified(case: Situation, identity: Identity) -> Journal:
    """With the eliminated id. It is no retiring one any more, and the request speaks of it."""
    journal = _noted(case)
    request_target = case.journal.request.of if case.journal.request is not None else None
    if case.requested and request_target is not None and request_target.id is None:
        journal = with_target(journal, Target(id=identity.id))
    return replace(
        journal.without_retiring(ids_of(identity.id)),
        current=identity,
        rotated_at=case.seen.created.get(identity.id or "", journal.rotated_at),
    )


def caught_up(case: Situation) -> Journal:
    """Speaking of the published document as it is now."""
    published = case.seen.published
    return followed(
        replace(_noted(case), published_version=published.version, published_at=published.written_at), published
    )


def _rewritten(case: Situation) -> Journal:
    """Speaking of the version that this run wrote again, if the journal spoke of the version before."""
    return caught_up(case) if case.rewrite_is_unrecorded else case.journal


def redated(case: Situation, rotated_at: datetime) -> Journal:
    """With another date of the published secret."""
    return replace(_noted(case), rotated_at=rotated_at)


# --- retirement --------------------------------------------------------------------------------------------------


def retiring_now(case: Situation) -> Journal:
    """With the lease, and with everything that is due recorded as due: it is written down before it is done."""
    entries = (
        replace(
            entry,
            not_before=min(entry.not_before, case.now),
            compromised=entry.compromised or case.compromised,
        )
        if entry.id in case.due
        else entry
        for entry in case.journal.retiring
    )
    return replace(claimed(case), retiring=tuple(entries))


def missed(case: Situation, missing: frozenset[str]) -> Journal:
    """With the first list noted that lacks retiring ids which are due, and without notes that are wrong by now."""
    entries = (
        replace(entry, missing_since=min(entry.missing_since or case.now, case.now) if entry.id in missing else None)
        for entry in case.journal.retiring
    )
    return replace(_noted(case), retiring=tuple(entries))


def settled(case: Situation, gone: frozenset[str]) -> Journal:
    """Without these retiring ids. They are remembered for one consistency window."""
    kept = tuple(entry for entry in case.journal.gone if case.now - entry.at < case.policy.window)
    journal = _unleased(_recovered(_noted(case)), case).without_retiring(gone)
    journal = replace(journal, gone=(*kept, *(Gone(id_, case.now) for id_ in sorted(gone))))
    if is_done(journal, case.seen.published):
        journal = withdrawn(journal)
    return journal if journal.retiring else replace(journal, create_until=None)


def resolved(case: Situation, revoke: frozenset[str]) -> Journal:
    """With these unknown ids retiring at once, because a person named them. A waiting candidate is given up with them.

    A create of the candidate might still be under way: nothing is revoked before that is over. The published document
    was rewritten before, so that no write of the candidate is under way.
    """
    may_go = revoke & (case.unknown | case.added | ids_of(case.candidate_id)) - {case.seen.published.secret_id}
    entries = tuple(
        Retiring(id_, case.now, identity=Identity(id_, Learned.PERSON, beside=case.listed)) for id_ in sorted(may_go)
    )
    return replace(
        _recovered(released(replace(case, journal=_rewritten(case)))),
        candidate=None,
        candidate_id=None,
        verification=None,
        ids_before=frozenset(),
        retiring=case.journal.retiring + entries,
        added_ids=case.journal.added_ids - may_go,
    )


def retired_by_hand(case: Situation, ids: frozenset[str], *, not_before: datetime) -> Journal:
    """With these ids retiring from an instant on, because a person named them; a retiring one is due earlier then.

    The published secret's own id never becomes retiring.
    """
    entries = {entry.id: entry for entry in case.journal.retiring}
    for id_ in sorted(ids - case.journal.named_ids):
        known = entries.get(id_)
        identity = Identity(id_, Learned.PERSON, beside=case.listed)
        entries[id_] = (
            Retiring(id_, not_before, identity=identity)
            if known is None
            else replace(known, not_before=min(known.not_before, not_before))
        )
    journal = released(replace(case, journal=_rewritten(case)))
    return replace(
        journal,
        retiring=tuple(entries.values()),
        added_ids=case.journal.added_ids - ids,
        unknown_ids=case.journal.unknown_ids - ids,
    )


def created_by_hand(case: Situation, id_: str) -> Journal:
    """With an id that the provider answered to a create which a person asked for: it is not the published secret's."""
    return replace(_noted(case), added_ids=case.added | {id_})


def late_create(case: Situation) -> Journal:
    """With a create of a person's that might still be carried out."""
    until = case.shared_now + case.policy.request_timeout + case.policy.window
    return replace(case.journal, create_until=max(until, case.journal.create_until or until))


# --- late writes -------------------------------------------------------------------------------------------------


def marked(case: Situation, id_: str | None) -> Journal:
    """With the lease, and with the mark that a value is written over the published version that was read.

    Args:
        case: The situation.
        id_: The value's id, if it is known. Its retiring entry moves into the mark. The entry of an earlier mark is
            retiring again then; otherwise it stays in the mark.
    """
    journal, before = claimed(case), case.journal.publishing
    if before is not None:
        journal = _with_returned_entry(journal, before)
    if id_ not in journal.retiring_ids:
        id_ = before.entry.id if before is not None and before.entry is not None else None
    entry = next((entry for entry in journal.retiring if entry.id == id_), None)
    return replace(journal.without_retiring(ids_of(id_)), publishing=Publishing(case.seen.published.version, entry))


def unmarked(case: Situation, *, rewritten: bool) -> Journal:
    """Without the mark: the write can no longer be applied. Its entry is retiring again.

    Args:
        case: The situation.
        rewritten: Whether this run wrote the published document again, unchanged.
    """
    journal = _unmarked(_noted(case), case)
    return caught_up(replace(case, journal=journal)) if rewritten else journal


def _unmarked(journal: Journal, case: Situation) -> Journal:
    """Without the mark, if the published document has moved past the version that the marked write replaces."""
    mark = journal.publishing
    if mark is None or case.seen.published.version <= mark.over_version:
        return journal
    return _with_returned_entry(journal, mark)


def _with_returned_entry(journal: Journal, mark: Publishing) -> Journal:
    """Without the mark, and with its entry retiring again, unless that is the published secret's."""
    entries = {entry.id: entry for entry in journal.retiring}
    if mark.entry is not None and mark.entry.id != journal.current_id:
        entries.setdefault(mark.entry.id, mark.entry)
    return replace(journal, publishing=None, retiring=tuple(entries.values()))


# --- how a run ends ----------------------------------------------------------------------------------------------


def recovered(case: Situation) -> Journal:
    """Idle and without failure: no lease, no error, nothing unknown, no request that is done."""
    journal = _unleased(_recovered(_noted(case)), case)
    return withdrawn(journal) if is_done(journal, case.seen.published) else journal


def _recovered(journal: Journal) -> Journal:
    return replace(
        journal,
        attempts=0,
        next_attempt_at=None,
        last_error=None,
        failure=None,
        ambiguity=None,
        unknown_ids=frozenset(),
        strangers=None,
    )


def failed(
    seen: Observation,
    journal: Journal,
    policy: Policy,
    now: datetime,
    error: str,
    *,
    failure: str,
    ambiguous: bool,
    not_before: timedelta = timedelta(),
) -> Journal:
    """After a failed run: the error, when to try again, without the lease.

    Args:
        seen: What the run knew.
        journal: The journal as Vault has it.
        policy: What was wanted.
        now: The time.
        error: What happened, for people; never a secret.
        failure: The failure's code.
        ambiguous: Whether the account holds a secret that rotator cannot account for. An ambiguity found earlier
            stays until a run finds it gone.
        not_before: How long nothing is tried at least.
    """
    case = Situation.of(seen, journal, policy, now)
    parked = released(case)
    attempts = parked.attempts + 1
    delay = backoff(policy.account, attempts)
    urgent = parked.request is not None and parked.request.kind is not RequestKind.MANUAL
    if urgent and stored_code(failure).blame is Blame.PROVIDER:
        delay = min(delay, URGENT_BACKOFF)
    if ambiguous and seen.listing is not None and case.in_doubt:
        parked = replace(parked, strangers=Strangers(case.strangers, now))
    if ambiguous and parked.current is not None and parked.current.is_pending and not _agrees(case, parked.current):
        parked = replace(parked, current=restarted(case, parked.current))
    return replace(
        parked,
        attempts=attempts,
        next_attempt_at=now + max(delay, not_before),
        last_error=error,
        failure=failure,
        ambiguity=error if ambiguous else parked.ambiguity,
        unknown_ids=_unknown_ids(case) if ambiguous else parked.unknown_ids,
    )


def _agrees(case: Situation, identity: Identity) -> bool:
    """Whether the last list agrees with a pending id: the account is ambiguous because of another id then."""
    pool = case.pool_of(identity)
    return len(pool) == 1 and (identity.looks == 0 or identity.id in pool)


def _unknown_ids(case: Situation) -> frozenset[str]:
    """The ids that can go if nobody needs them. While in doubt there are none: one is the published secret's own."""
    return frozenset() if case.seen.via is Credential.PUBLISHED and case.in_doubt else case.unknown


def limited(case: Situation, until: datetime) -> Journal:
    """Without the lease, because the provider limits the requests of the key. That is no failure."""
    return replace(released(case), next_attempt_at=until)


def rested(case: Situation) -> Journal:
    """Without the lease, and without a manual request: the account's own rules defer it."""
    journal = released(case)
    if journal.request is not None and journal.request.kind is RequestKind.MANUAL:
        return withdrawn(journal)
    return journal
