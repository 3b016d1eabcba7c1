"""A rotation, from its preparation to its record."""

from datetime import datetime

from pydantic import SecretStr

from rotator.core.copies import replace
from rotator.core.protocol.journal import (
    Identity,
    Journal,
    Learned,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    Verification,
    ids_of,
)
from rotator.core.protocol.leaks import later_id_after
from rotator.core.protocol.limits import stored_ids
from rotator.core.protocol.observation import is_in_recorded_place
from rotator.core.protocol.requests import with_target
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.transitions.identity import pending, restarted
from rotator.core.protocol.transitions.lease import claimed, released, unleased, with_facts
from rotator.core.protocol.transitions.publishing import marked, speaking_of
from rotator.core.protocol.transitions.retirement import retiring_entry, with_grace, with_other_ids, without_candidate


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


def sent_again(case: Situation) -> Journal:
    """With no id for the candidate: the one that was answered is not listed any more, and its next create gets another.

    It is written before that create, whose answer can be lost.
    """
    return replace(case.journal, candidate_id=None)


def given_up(case: Situation) -> Journal:
    """Without the candidate, because it leaked, and with its id due.

    A run that died might still publish it. So the mark says that a write of it might be applied, and its id is retiring
    once the published document has been written again.
    """
    id_ = case.candidate_id
    entries = case.journal.retiring
    if id_ is not None:
        identity = Identity(id_, Learned.ANSWERED, beside=stored_ids(case.listed))
        entries = (*entries, Retiring(id_, case.now, compromised=True, identity=identity))
    fence = case.create_until
    if id_ is None:  # for a while, lists can lack the id
        fence = max(fence or case.latest_now, case.latest_now + case.policy.window)
    journal = without_candidate(replace(case.journal, retiring=entries, create_until=fence))
    journal = with_other_ids(journal, ids_of(id_))
    if case.request_is_of_candidate:
        journal = with_target(journal, Target(id=id_))
    return marked(replace(case, journal=journal), id_)


def _ids_known(case: Situation) -> frozenset[str]:
    """The ids that the journal or the published document names: the candidate's is none of them, listed or not."""
    current = case.journal.current
    beside = current.beside if current is not None else frozenset()
    return case.explained | case.journal.named_ids | beside | ids_of(case.seen.published.secret_id)


def committed(case: Situation) -> Journal:
    """With the published candidate as the current secret, and the previous one retiring.

    If the previous secret's id is not certain, it is eliminated again before it is revoked. If the lists disagree, it
    does not stay retiring: it becomes unknown, and a person decides.
    """
    published = case.seen.published
    identity = _candidate_identity(case)
    entries = {entry.id: entry for entry in with_grace(case, case.journal) if entry.id != case.candidate_id}
    old = _retiring_previous(case)
    if old is not None:
        entries[old.id] = old
    done = replace(
        speaking_of(with_facts(case), published).without_failure(),
        current=identity,
        rotated_at=published.rotated_at or case.now,
        candidate=None,
        candidate_id=None,
        verification=None,
        ids_before=frozenset(),
        create_until=case.create_until,
        retiring=tuple(entries.values()),
        request=_request_after_commit(case),
    )
    done = replace(done, later_id=later_id_after(done, case.journal.candidate, case.candidate_id))
    fence = case.late_create_until or case.now
    due_now = any(max(entry.not_before, fence) <= case.now and not entry.is_pending for entry in done.retiring)
    if not due_now or identity.is_pending:
        return unleased(done)
    return replace(done, lease_holder=case.policy.instance, lease_until=case.lease_until)


def _retiring_previous(case: Situation) -> Retiring | None:
    """The previous secret's entry. Its id is certain if it was answered, or if no list of now puts it in doubt.

    If a person named its id, and it can be a retiring one as well, it becomes unknown. `with_grace` keeps the other. It
    becomes unknown, too, if nothing was published where the candidate is, or if the journal speaks of another place.
    With another path or field in the configuration, consumers can read it at the earlier place.
    """
    old = case.journal.current
    if old is None or old.id is None or old.id == case.candidate_id or case.retiring_rivals(old):
        return None
    if case.journal.trigger is Trigger.BOOTSTRAP or not is_in_recorded_place(case.journal, case.seen.published):
        return None
    at_once = case.journal.trigger is Trigger.COMPROMISED or _is_requested(case)
    certain = old.is_answered or (case.seen.listing is not None and not case.in_doubt)
    identity = old if certain or old.is_pending else restarted(case, replace(old, learned=Learned.PENDING), old.id)
    return retiring_entry(case, old.id, identity, compromised=at_once)


def _is_requested(case: Situation) -> bool:
    """Whether a compromised request is for the previous secret or for the candidate.

    The candidate was published already: what it replaced is concerned as well.
    """
    request = case.journal.request
    if request is None or request.kind is not RequestKind.COMPROMISED:
        return False
    return case.request_is_of_previous or case.request_is_of_candidate


def _candidate_identity(case: Situation) -> Identity:
    if case.candidate_id is not None:
        return Identity(case.candidate_id, Learned.ANSWERED, beside=stored_ids(case.listed))
    return pending(case, foreign_ids=case.journal.ids_before | _answered_ids(case.journal))


def _answered_ids(journal: Journal) -> frozenset[str]:
    """The ids that the provider answered to creates of recorded values. A list before a create can lack them."""
    identities = (journal.current, *(entry.identity for entry in journal.retiring))
    return ids_of(*(identity.id for identity in identities if identity is not None and identity.is_answered))


def _request_after_commit(case: Situation) -> Request | None:
    """A compromised request is done when the replaced secret is gone; the others are done now.

    A request of another secret stays: one that is being revoked, or the candidate itself, which consumers read already.
    So does a compromised one of a secret whose id is not certain: that value is never published again.
    """
    request = case.journal.request
    if request is None:
        return None
    if not case.requested:
        known = case.candidate_id is not None and case.request_is_of_candidate
        return replace(request, of=Target(id=case.candidate_id)) if known else request
    if _might_be_of_candidate(case, request):
        written_at = case.seen.published.written_at
        return replace(request, of=Target(version=case.seen.published.version, written_at=written_at))
    if request.kind is not RequestKind.COMPROMISED:
        return None
    previous = case.journal.named_ids - ids_of(case.candidate_id) if case.request_is_of_previous else frozenset[str]()
    return replace(request, of=Target(id=next(iter(previous), None)))


def _might_be_of_candidate(case: Situation, request: Request) -> bool:
    """Whether a request names a deleted version that no run recorded, and that can have contained the candidate."""
    is_of_deleted = request.of.id is None and request.value_digest is None and not case.seen.prepared_here
    return is_of_deleted and request.of.version > case.journal.published_version


def verifying(case: Situation, since: datetime) -> Journal:
    """Without the lease: the candidate does not authenticate yet, and a later run looks again."""
    journal = released(case)
    rotation_id = journal.rotation_id or ""
    return replace(journal, verification=Verification(rotation_id, case.shared(since), case.shared(case.next_look)))
