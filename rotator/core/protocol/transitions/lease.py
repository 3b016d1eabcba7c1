"""Acquire and release the lease."""

from rotator.core.copies import replace
from rotator.core.protocol.journal import Answered, Doubt, Journal
from rotator.core.protocol.limits import stored_ids
from rotator.core.protocol.situation import Situation


def claimed(case: Situation) -> Journal:
    """With this instance's lease, and the time until which an earlier holder's create might be carried out.

    The id of a candidate that authenticates is not unknown any more.
    """
    journal = with_facts(case)
    if case.candidate_works:
        journal = replace(journal, ambiguity=None, unknown_ids=frozenset())
    return replace(
        journal,
        lease_holder=case.policy.instance,
        lease_until=case.lease_until,
        create_until=case.create_until,
    )


def released(case: Situation) -> Journal:
    """Without the lease, and with everything written down that a later run needs."""
    return replace(
        with_facts(case), lease_holder=None, lease_until=None, create_until=case.create_until, noticed=noticed(case)
    )


def noticed(case: Situation) -> Doubt | None:
    """The ids that nothing explains, and when the last of them was first seen."""
    before = case.journal.noticed
    ids = stored_ids(case.unexplained)
    if not ids or (before is not None and ids <= before.ids):
        return before
    return Doubt(ids, case.latest_now)


def unleased(journal: Journal) -> Journal:
    """Without any lease."""
    if (journal.lease_holder, journal.lease_until) == (None, None):
        return journal
    return replace(journal, lease_holder=None, lease_until=None)


def without_own_lease(journal: Journal, case: Situation) -> Journal:
    """Without this instance's lease; another instance's stays."""
    return unleased(journal) if journal.lease_holder in (None, case.policy.instance) else journal


def with_facts(case: Situation) -> Journal:
    """With the account's key, and the id that the provider answered to the create of the candidate in hand."""
    journal = case.journal
    api_key = case.policy.api_key or journal.api_key
    if journal.api_key != api_key:
        journal = replace(journal, api_key=api_key)
    if journal.candidate is None or journal.rotation_id is None or case.candidate_id is None:
        return journal
    if journal.answered_id == case.candidate_id:
        return journal
    return replace(journal, candidate_id=Answered(journal.rotation_id, case.candidate_id))
