"""The ends of a run: success, failure, rate limit, deferral."""

from datetime import datetime, timedelta

from rotator.core.backoff import backoff
from rotator.core.copies import replace
from rotator.core.failures import Blame, Code, stored_code
from rotator.core.protocol.instants import CLOCK_RESOLUTION
from rotator.core.protocol.journal import Doubt, Identity, Journal
from rotator.core.protocol.limits import stored_ids
from rotator.core.protocol.observation import Observation, is_recorded
from rotator.core.protocol.policy import Policy
from rotator.core.protocol.requests import URGENT_BACKOFF, URGENT_REFUSALS, is_done, withdrawn
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import Credential
from rotator.core.protocol.transitions.identity import restarted
from rotator.core.protocol.transitions.lease import released, with_facts, without_own_lease
from rotator.core.protocol.transitions.publishing import confirmed


def recovered(case: Situation) -> Journal:
    """Idle and without failure: no lease, no error, nothing unknown, no request that is done.

    While the published secret is young or its id not certain, a list can lack a compromised secret. The id that its
    request names is no proof: the secret can have another one by now. A compromised secret that is retiring can be that
    one, too.
    """
    journal = replace(without_own_lease(with_facts(case).without_failure(), case), noticed=None)
    is_certain = journal.current_id is not None and not case.in_doubt
    shows_all = is_certain and not case.might_lack_an_id and not journal.retiring_compromised
    if shows_all:
        journal = replace(journal, leaked=frozenset(), later_id=None)
    return withdrawn(journal) if is_done(journal, case.seen.published, at_rest=shows_all) else journal


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
        seen: The facts of the run.
        journal: The journal as Vault has it.
        policy: The rules and limits of the run.
        now: The time.
        error: The error message; never contains a secret.
        failure: The failure's code.
        ambiguous: Whether the account holds a secret that rotator cannot account for. An ambiguity found earlier
            stays until a run finds it gone.
        not_before: How long nothing is tried at least.
    """
    case = Situation.of(seen, journal, policy, now)
    parked = released(case)
    if seen.via is Credential.PUBLISHED and parked.current is None and not is_recorded(parked, seen.published):
        parked = confirmed(replace(case, journal=parked))
    attempts = parked.attempts + 1
    delay = backoff(policy.account, attempts)
    if _is_retried_soon(parked, stored_code(failure).blame, attempts):
        delay = min(delay, _shortest_retry(parked, policy))
    if ambiguous and seen.listing is not None and case.in_doubt:
        parked = replace(parked, last_doubt=Doubt(stored_ids(case.doubtful_ids), now))
    if ambiguous and parked.current is not None and parked.current.is_pending and not _agrees(case, parked.current):
        parked = replace(parked, current=restarted(case, parked.current))
    return replace(
        parked,
        attempts=attempts,
        next_attempt_at=case.shared(now + max(delay, not_before)),
        last_error=error,
        failure=failure,
        ambiguity=error if ambiguous else parked.ambiguity,
        unknown_ids=_unknown_ids(case) if ambiguous else parked.unknown_ids,
    )


def _is_retried_soon(journal: Journal, blame: Blame, attempts: int) -> bool:
    """Whether an urgent account does not wait for the whole backoff, because the provider may have failed."""
    if not journal.is_urgent:
        return False
    return blame is Blame.PROVIDER or (blame is Blame.CREDENTIALS and attempts <= URGENT_REFUSALS)


def _shortest_retry(journal: Journal, policy: Policy) -> timedelta:
    """How soon an urgent account is retried. The write of the failure delays the next list that counts for an id."""
    identities = (journal.current, *(entry.identity for entry in journal.retiring))
    if not any(identity is not None and identity.is_pending for identity in identities):
        return URGENT_BACKOFF
    return max(URGENT_BACKOFF, policy.window + CLOCK_RESOLUTION)


def _agrees(case: Situation, identity: Identity) -> bool:
    """Whether the last list agrees with a pending id: the account is ambiguous because of another id then."""
    pool = case.pool_of(identity)
    return len(pool) == 1 and (identity.looks == 0 or identity.id in pool)


def _unknown_ids(case: Situation) -> frozenset[str]:
    """The unknown ids. None of them might be the published secret's: in doubt, not listed, or not confirmed yet."""
    in_doubt = case.seen.via is Credential.PUBLISHED and case.in_doubt
    return frozenset() if in_doubt or case.lacks_published else stored_ids(case.unknown - case.unconfirmed)


def limited(case: Situation, until: datetime) -> Journal:
    """Without the lease, because the provider limits the requests of the key. That is no failure."""
    return key_limited(released(case), case.shared(until))


def key_limited(journal: Journal, until: datetime) -> Journal:
    """With the end of the provider's limit of the account's key, in the time that all instances share.

    After earlier failures, the code tells that the next attempt waits for the provider and not for a backoff.
    """
    journal = replace(journal, next_attempt_at=until)
    return replace(journal, failure=Code.RATE_LIMITED.value) if journal.attempts else journal


def rested(case: Situation) -> Journal:
    """Without the lease, and without a manual request: the account's own rules defer it."""
    journal = released(case)
    if journal.request is not None and not journal.request.kind.is_urgent:
        return withdrawn(journal)
    return journal
