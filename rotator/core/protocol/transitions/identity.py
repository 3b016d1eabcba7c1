"""The id of the published secret, and how it is learned."""

from datetime import datetime

from rotator.core.copies import replace
from rotator.core.protocol.journal import Identity, Journal, Learned, Request, RequestKind, Retiring, Target, ids_of
from rotator.core.protocol.leaks import without_leak
from rotator.core.protocol.limits import stored_ids
from rotator.core.protocol.observation import is_recorded
from rotator.core.protocol.requests import (
    followed,
    is_of_current,
    is_replaced,
    with_target,
    withdrawn,
    without_compromised_trigger,
)
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.transitions.lease import with_facts
from rotator.core.protocol.transitions.publishing import caught_up, speaking_of, without_mark
from rotator.core.protocol.transitions.retirement import retiring_entry, with_grace

# The number of lists that have to agree before an id counts as eliminated.
LOOKS = 3


def pending(case: Situation, *, foreign_ids: frozenset[str], guess: str | None = None) -> Identity:
    """The identity of a value that authenticated just now. Lists from one consistency window on count."""
    return Identity(
        guess,
        Learned.PENDING,
        beside=stored_ids(case.listed),
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
    if case.seen.wanted_again:
        case = replace(case, journal=without_leak(case.journal, case.seen.published.secret, identity.id))
    old = case.journal.current
    asked = case.journal.request
    journal = without_mark(speaking_of(with_facts(case), case.seen.published), case)
    if retire_previous or case.replaced_unrecorded_version:
        journal = replace(journal, retiring=with_grace(case, journal))
    if retire_previous:
        journal = without_compromised_trigger(journal)  # the candidate replaces another secret now
    if case.seen.wanted_again and is_replaced(case.journal, case.seen.published.secret):
        journal = withdrawn(journal)
    entries = {entry.id: entry for entry in journal.retiring if identity.is_pending or entry.id != identity.id}
    if retire_previous and old is not None and old.is_answered and old.id is not None and old.id != identity.id:
        of_old = _is_compromised(asked) and is_of_current(asked, case.journal, case.seen)
        entries[old.id] = retiring_entry(case, old.id, old, compromised=of_old or _is_beside(asked, case.journal))
        journal = with_target(journal, Target(id=old.id)) if of_old else journal
    known = identity.id if identity.id in case.seen.created else None
    # A person might have published the value of a secret that they added.
    is_other_value = retire_previous or not is_recorded(case.journal, case.seen.published)
    journal = replace(
        journal,
        current=identity,
        added_ids=frozenset() if is_other_value else journal.added_ids - ids_of(identity.id),
        rotated_at=case.seen.created[known] if known is not None else case.seen.published.rotated_at or case.now,
        retiring=tuple(entries.values()),
        unknown_ids=frozenset(),  # one of them can be this secret's
    )
    return followed(journal, case.seen.published, is_other=retire_previous or _is_brought(case, identity))


def _is_compromised(asked: Request | None) -> bool:
    return asked is not None and asked.kind is RequestKind.COMPROMISED


def _is_beside(asked: Request | None, journal: Journal) -> bool:
    """Whether a compromised request names a version that no run recorded: the recorded secret can have leaked."""
    is_of_version = asked is not None and asked.of.version not in (0, journal.published_version)
    return is_of_version and _is_compromised(asked)


def _is_brought(case: Situation, identity: Identity) -> bool:
    """Whether a person named the published value's id, and the request is for another version than the published one.

    That counts for a deleted version, whose value is not known. If the person names the id that the journal had for
    that version, it is the same value.
    """
    request = case.journal.request
    if request is None or not identity.is_named:
        return False
    return request.of.version != case.seen.published.version and identity.id not in request.earlier_ids


def recorded_again(case: Situation) -> Journal:
    """Speaking of a later version that contains the value of the recorded one.

    Another version between them can have contained a retiring secret, until a moment ago.
    """
    journal = caught_up(case)
    return replace(journal, retiring=with_grace(case, journal)) if case.replaced_unrecorded_version else journal


def restarted(case: Situation, identity: Identity, guess: str | None = None) -> Identity:
    """The pending identity after a list that disagreed: the lists count again from one consistency window on."""
    return replace(identity, id=guess, looks=0, restarts=identity.restarts + 1, next_look=case.now + case.policy.window)


def counted(case: Situation, identity: Identity, id_: str) -> Identity:
    """The identity after one more list that agrees."""
    looks = identity.looks + 1
    if looks < LOOKS:
        return replace(identity, id=id_, looks=looks, next_look=case.now + case.policy.window / 2)
    return Identity(id_, Learned.ELIMINATED, beside=stored_ids(case.listed))


def looked(case: Situation, identity: Identity) -> Journal:
    """With one more list counted, or none if it disagreed."""
    return replace(with_facts(case), current=identity)


def looked_at_retiring(case: Situation, entry: Retiring, identity: Identity | None) -> Journal:
    """With one more list counted for a retiring entry; without the entry if a list disagreed."""
    entries = (
        replace(known, identity=identity) if known.id == entry.id else known
        for known in case.journal.retiring
        if identity is not None or known.id != entry.id
    )
    return replace(with_facts(case), retiring=tuple(entries))


def identified(case: Situation, identity: Identity) -> Journal:
    """With the eliminated id. It is no retiring one any more, and the request speaks of it."""
    journal = with_facts(case)
    journal = replace(
        journal.without_retiring(ids_of(identity.id)),
        current=identity,
        rotated_at=case.seen.created.get(identity.id or "", journal.rotated_at),
    )
    return followed(journal, case.seen.published)


def redated(case: Situation, rotated_at: datetime) -> Journal:
    """With another date of the published secret."""
    return replace(with_facts(case), rotated_at=rotated_at)
