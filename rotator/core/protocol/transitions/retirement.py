"""Secrets that are retiring, gone, or given up by a person."""

from datetime import datetime

from rotator.core.copies import replace
from rotator.core.protocol.journal import Gone, Identity, Journal, Learned, Retiring, ids_of
from rotator.core.protocol.leaks import leak_of, might_be_leaked, with_leak
from rotator.core.protocol.limits import MAX_STORED_IDS, stored_ids
from rotator.core.protocol.observation import recorded_version
from rotator.core.protocol.requests import is_done, withdrawn
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.transitions.lease import claimed, released, with_facts, without_own_lease
from rotator.core.protocol.transitions.publishing import with_rewrite


def grace_period_end(case: Situation) -> datetime:
    """Return when a secret that is replaced or given up now may be revoked."""
    return case.now + case.policy.grace


def retiring_entry(case: Situation, id_: str, identity: Identity, *, compromised: bool) -> Retiring:
    """The entry of the journal's secret, which is replaced now.

    A compromised one is due, unless the request is withdrawn. If an earlier request named it, or might have, it is due
    for good.

    Args:
        case: The situation.
        id_: Its id.
        identity: The same, and how it was learned.
        compromised: Whether the request of the journal is for it.
    """
    journal = case.journal
    value = case.seen.recorded
    end = grace_period_end(case)
    entry = Retiring(id_, end, identity=identity, published_in=recorded_version(journal))
    earlier_ids = journal.request.earlier_ids if journal.request is not None else frozenset[str]()
    answered_id = id_ if identity.is_answered else None
    if id_ in earlier_ids or might_be_leaked(withdrawn(journal), value, answered_id=answered_id):
        return replace(entry, not_before=case.now, compromised=True)
    if compromised or might_be_leaked(journal, value, answered_id=answered_id):
        return replace(entry, not_before=case.now, compromised=True, grace_until=end)
    return entry


def with_grace(case: Situation, journal: Journal) -> tuple[Retiring, ...]:
    """The journal's retiring entries. One that can be the secret which was just replaced gets a whole grace period.

    If consumers could read a version that was not recorded, a person might have gone back to any of them.
    """
    current = journal.current
    end = grace_period_end(case)
    if case.replaced_unrecorded_version:
        rivals = journal.retiring_ids
    elif current is None:
        rivals = frozenset()
    elif current.is_pending:
        rivals = journal.retiring_ids - current.foreign_ids
    else:
        rivals = replace(case, journal=journal).retiring_rivals(current)
    return tuple(_until(entry, end) if entry.id in rivals else entry for entry in journal.retiring)


def _until(entry: Retiring, end: datetime) -> Retiring:
    """The entry whose grace period lasts until an instant at least; a compromised one is due all the same."""
    if entry.compromised:
        return replace(entry, grace_until=entry.grace_until and max(entry.grace_until, end))
    return replace(entry, not_before=max(entry.not_before, end))


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
    return replace(with_facts(case), retiring=tuple(entries))


def gone_recorded(case: Situation, gone: frozenset[str]) -> Journal:
    """Without these retiring ids. They are remembered for one consistency window."""
    kept = tuple(entry for entry in case.journal.gone if case.is_recent(entry.at))
    journal = without_own_lease(with_facts(case).without_failure(), case).without_retiring(gone)
    journal = replace(journal, gone=(*kept, *(Gone(id_, case.now) for id_ in sorted(gone))))
    if is_done(journal, case.seen.published, at_rest=False):
        journal = withdrawn(_with_unproven_leak(case, journal))
    return journal if journal.retiring else replace(journal, create_until=None)


def _with_unproven_leak(case: Situation, journal: Journal) -> Journal:
    """The journal that notes the value of its request, unless the provider revoked its own id.

    A secret that a user removed can have been added again, and an id that a person named can be another secret's.
    """
    request = journal.request
    own = ids_of(request.of.id if request is not None else None)
    by_record = (entry for entry in case.journal.retiring if entry.identity is None or not entry.identity.is_named)
    if own <= case.seen.revoked & {entry.id for entry in by_record}:
        return journal
    return with_leak(journal, leak_of(request))


def resolved(case: Situation, revoke: frozenset[str]) -> Journal:
    """With these unknown ids retiring at once, because a person named them. A waiting candidate is given up with them.

    Each is compromised if it can be a compromised one without a known id.

    A create of the candidate might still be in progress: rotator revokes nothing before it has ended. An earlier step
    has rewritten the published document, so that no write of the candidate is in progress. The command has waited until
    a later list confirmed the ids.
    """
    case = replace(case, journal=with_rewrite(case))
    possible = case.resolvable | case.resolvable_later | ids_of(case.candidate_id)
    may_go = revoke & possible - ids_of(case.seen.published.secret_id)
    beside = stored_ids(case.listed)
    is_compromised = case.leaked_id_is_unknown
    entries = tuple(
        Retiring(id_, case.now, compromised=is_compromised, identity=Identity(id_, Learned.PERSON, beside=beside))
        for id_ in sorted(may_go)
    )
    return replace(
        without_candidate(with_other_ids(released(case).without_failure(), may_go)),
        retiring=case.journal.retiring + entries,
        added_ids=case.journal.added_ids - may_go,
    )


def without_candidate(journal: Journal) -> Journal:
    """Without the candidate: nothing sends or publishes it any more."""
    return replace(journal, candidate=None, candidate_id=None, verification=None, ids_before=frozenset())


def with_other_ids(journal: Journal, ids: frozenset[str]) -> Journal:
    """With ids that belong to other secrets than the value that is published now. They say nothing of a later one."""
    current = journal.current
    if current is None or not (current.is_named or current.is_pending):
        return journal
    return replace(journal, current=replace(current, foreign_ids=current.foreign_ids | ids - journal.named_ids))


def retired_by_hand(case: Situation, ids: frozenset[str], *, not_before: datetime) -> Journal:
    """With these ids retiring from an instant on, because a person named them; a retiring one is due earlier then.

    A compromised one is due at once, and so is each that can be a compromised one without a known id. The ids might
    have been the reason of the last failure: the next run finds out. The published secret's own id never becomes
    retiring. A name does not replace the provider's own answer. A waiting candidate is given up if one of the ids is
    its own or can be, as in `resolved`.
    """
    entries = {entry.id: entry for entry in case.journal.retiring}
    for id_ in sorted(ids - case.journal.named_ids):
        is_compromised = case.leaked_id_is_unknown or id_ in case.journal.compromised_ids
        new = Retiring(id_, case.now if is_compromised else not_before, compromised=is_compromised)
        known = entries.get(id_, new)
        if known.identity is None or not known.identity.is_answered:
            known = replace(known, identity=Identity(id_, Learned.PERSON, beside=stored_ids(case.listed)))
        entries[id_] = replace(
            known,
            not_before=min(known.not_before, not_before),
            grace_until=known.grace_until and min(known.grace_until, not_before),
        )
    journal = with_other_ids(released(replace(case, journal=with_rewrite(case))).without_failure(), ids)
    if ids & ids_of(case.candidate_id) or (case.candidate_id is None and ids - case.journal.ids_before):
        journal = without_candidate(journal)
    return replace(journal, retiring=tuple(entries.values()), added_ids=case.journal.added_ids - ids)


def creating_by_hand(case: Situation) -> Journal:
    """With the lease for a create that a person asked for, which might be carried out until a window after its end.

    It is written before the create is sent: nothing else tells other instances of it.
    """
    until = case.lease_until + case.policy.window
    return replace(claimed(case), create_until=max(until, case.create_until or until))


def created_by_hand(case: Situation, id_: str) -> Journal:
    """With an id that the provider answered to a create which a person asked for: it is not the published secret's.

    A list can lack an id for a while, so the others stay. If there are too many, those that it lacks are forgotten.
    """
    known = case.journal.added_ids
    return replace(with_facts(case), added_ids=(known if len(known) < MAX_STORED_IDS else case.added) | {id_})


def late_create(case: Situation) -> Journal:
    """With a create of a person's that might still be carried out."""
    until = case.ends_after(case.latest_now)
    return replace(case.journal, create_until=max(until, case.journal.create_until or until))
