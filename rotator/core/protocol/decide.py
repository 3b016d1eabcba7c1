"""The rotation protocol: the choice of the next step.

`decide(observation, journal, policy, now)` looks at what is known and names one step. It does no I/O, reads no clock
and makes no randomness. The run performs the step, adds what it learned to the observation and asks again. After a
crash, the next run starts with less known: every state that a crash can leave behind is an ordinary input here.
docs/protocol.md explains the order.
"""

from collections.abc import Callable
from datetime import datetime

from rotator.core.copies import replace
from rotator.core.protocol import candidate, documents, identity, lease, ownership, retirement, transitions
from rotator.core.protocol.instants import CLOCK_TOLERANCE
from rotator.core.protocol.journal import Journal
from rotator.core.protocol.observation import Observation, is_at_recorded_path
from rotator.core.protocol.policy import Policy
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import (
    Awaited,
    Command,
    Credential,
    Event,
    Fail,
    Failure,
    List,
    Prepare,
    Reason,
    RestoreEarlierVersion,
    Step,
    Stop,
    WriteJournal,
)
from rotator.core.protocol.wording import waiting_run, without_value, without_withheld


def decide(observation: Observation, journal: Journal, policy: Policy, now: datetime) -> Step:
    """Return the next step for one account.

    Args:
        observation: The facts about the published document and the provider that this run has collected.
        journal: The account's journal as last read or written.
        policy: The rules and limits of the run.
        now: The time, aware UTC.
    """
    case = Situation.of(observation, journal, policy, now)
    for rule in RULES:
        step = rule(case)
        if step is not None:
            return step
    return retirement.rest(case)


def ask_provider(case: Situation) -> Step | None:
    """Fetch the list with the first credential that is not known to be refused.

    An unfinished candidate comes first: whether it authenticates decides what is next. If the published secret is
    refused, consumers have an outage, and any other valid secret ends it. A single refusal can be a mistake of the
    provider. rotator acts on a refusal that lasts for the consistency window.
    """
    seen = case.seen
    is_of_other = case.journal.candidate is None or case.candidate_is_compromised
    is_of_candidate = case.candidate_works and is_of_other
    if seen.listing is not None and not is_of_candidate and not _skipped_candidate(case):
        return None
    if case.journal.candidate is not None and not case.candidate_is_compromised:
        if Credential.CANDIDATE not in seen.refused:
            return List(Credential.CANDIDATE)
        if case.candidate_id is not None and case.may_wait(Awaited.CANDIDATE):
            return candidate.wait_for_candidate(case)
    step = _ask_with_published(case)
    if step is not None:
        return step
    if case.policy.has_primary and Credential.PRIMARY not in seen.refused:
        return List(Credential.PRIMARY)
    return _out_of_reach(case)


def confirm(case: Situation) -> Step | None:
    """Replace no document unasked that nothing shows to be this account's: neither by a new secret nor by a candidate.

    A value that authenticates shows it, also in an earlier version. Then the journal takes the document over, or only
    notes it: a candidate in hand comes next.
    """
    if ownership.is_shown(case):
        return None
    if case.seen.via is not Credential.PUBLISHED:
        return _ask_with_published(case) or ownership.refuse_unknown_owner(case)
    if case.journal.current is None and case.journal.candidate is not None:
        return WriteJournal(Event.CAUGHT_UP, transitions.confirmed(case))
    return None


def _skipped_candidate(case: Situation) -> bool:
    """Whether the list was fetched with the published secret first, to confirm the document."""
    if case.journal.candidate is None or case.candidate_is_compromised or case.seen.prepared_here:
        return False
    if not ownership.is_shown(case):
        return False
    return case.seen.via is Credential.PUBLISHED and Credential.CANDIDATE not in case.seen.refused


def _ask_with_published(case: Situation) -> Step | None:
    """Fetch the list with the published secret or, if the refusal lasts, search the document's earlier versions."""
    seen = case.seen
    if seen.published.secret is not None:
        if Credential.PUBLISHED not in seen.refused:
            return List(Credential.PUBLISHED)
        if case.may_wait(Awaited.PUBLISHED):
            return case.pause(Awaited.PUBLISHED)
    if seen.published.version > 1 and not seen.earlier_tried:
        return _await_late_revocation(case) or lease.with_lease(case, RestoreEarlierVersion())
    return None


def _await_late_revocation(case: Situation) -> Step | None:
    """Wait until no revocation can end the earlier version that takes a deleted one's place.

    Consumers that read nothing keep the secret they have, which can still work. A refused published secret is an outage
    already: any other one that works ends it at once.
    """
    until = case.late_revocation_until
    if case.seen.published.secret is not None or until is None or until <= case.now:
        return None
    if case.held and case.seen.revoke_lost_at is None:
        return None  # this run looked before it acquired the lease
    is_noted = case.stored.lost_journal_until == case.journal.lost_journal_until
    return Stop(
        Reason.LATE_REVOCATION,
        until,
        f"{without_value(case.seen.published)}, and an earlier revocation might still be carried out",
        waiting_run(case.policy.account),
        journal=None if is_noted else transitions.released(case),  # otherwise each run would begin the wait again
    )


def _out_of_reach(case: Situation) -> Fail:
    account = case.policy.account
    seen = case.seen
    primary = ", and it refuses the primary account's credentials" if Credential.PRIMARY in seen.refused else ""
    adopt = Command.of("adopt", account)
    if seen.published.secret is not None:
        refused = Fail(
            Failure.CREDENTIALS,
            f"the provider refuses the published secret (401){primary}; "
            f"no {'other ' if seen.withheld else ''}earlier version of it authenticates{_elsewhere(case)}",
            adopt,
            "Bring a secret that authenticates",
        )
        return _with_withheld(refused, case)
    lost = documents.refuse_lost_secret(case)
    if lost is not None:
        return _with_withheld(replace(lost, what=lost.what + primary), case)
    return Fail(
        Failure.NOT_ADOPTED,
        f"nothing is published for the account yet{primary}",
        adopt,
        "Bring the secret in use",
    )


def _elsewhere(case: Situation) -> str:
    """Say where the last recorded secret is, if the configuration names another path by now."""
    journal = case.journal
    if is_at_recorded_path(journal, case.seen.published):
        return ""
    return f"; the last recorded secret is in version {journal.published_version} of {journal.published_path}"


def _with_withheld(fail: Fail, case: Situation) -> Fail:
    """The failure with the versions that might be compromised. Only a person has one of them published again."""
    versions = case.seen.withheld
    if not versions:
        return fail
    return replace(
        fail,
        what=fail.what + without_withheld(versions),
        next_command=Command.of("adopt", case.policy.account, "--replace"),
        advice=f"{fail.advice}, also a compromised one",
    )


def correct_date(case: Situation) -> Step | None:
    """No secret is younger than the document that contains it. A date of a clock that was ahead is corrected."""
    rotated_at = case.journal.rotated_at
    written_at = case.seen.published.written_at
    latest = case.now + CLOCK_TOLERANCE
    if rotated_at is None or written_at is None or rotated_at <= latest or written_at > latest:
        return None  # if Vault agrees with the journal, it is this clock that is wrong
    return WriteJournal(Event.REDATED, transitions.redated(case, written_at))


def begin(case: Situation) -> Step | None:
    """Begin a rotation that is due or requested."""
    if not case.wanted:
        return None
    if not case.full:
        return Prepare(case.trigger)
    if case.journal.retiring:
        return retirement.wait_for_room(case)
    return retirement.no_room(case, "a new one")


def done(case: Situation) -> Step | None:
    """The last recorded secret was just revoked with the published one: there is no more to look at.

    The list before showed no unknown id.
    """
    seen = case.seen
    journal = case.journal
    works = seen.published.secret is not None and Credential.PUBLISHED not in seen.refused
    nothing_left = journal.candidate is None and not journal.retiring and not case.wanted
    knows_all = seen.beside_revoked <= case.explained | journal.named_ids
    if seen.listing is None and seen.revoked and works and nothing_left and knows_all:
        return clear(case) or retirement.rest(case)
    return None


def clear(case: Situation) -> Step | None:
    """Nothing is wrong: forget the last failure and a request that is done, and release a lease that was not needed."""
    journal = case.journal
    at_rest = transitions.recovered(case)
    if journal.last_doubt and case.in_doubt:
        return None  # the lists have lacked an unknown id for a moment only
    failed = journal.ambiguity or journal.attempts or journal.last_error or journal.last_doubt
    is_over = journal.request != at_rest.request or journal.leaked != at_rest.leaked
    if failed or journal.next_attempt_at is not None or is_over:
        return WriteJournal(Event.CLEARED, at_rest)
    if journal.lease_holder is not None:
        # This instance's own lease, or one that a killed command left behind and that has expired.
        return WriteJournal(Event.RELEASED, transitions.unleased(at_rest))
    return None


RULES: tuple[Callable[[Situation], Step | None], ...] = (
    documents.refuse_foreign,  # another account's document stays as it is
    documents.refuse_lost_journal,  # a deleted journal is not a new one
    lease.record_request,  # an urgent request outlives this process
    documents.correct_storage_time,  # Vault's clock was ahead
    lease.wait_for_lease,  # another instance works on the account
    documents.refresh,  # Vault would delete a document by itself
    lease.wait_for_backoff,  # the last run failed a moment ago
    documents.end_late_write,  # a write of a dead instance might still be applied
    documents.follow_rewrite,  # this run rewrote the published document
    candidate.commit,  # the candidate is published
    retirement.record_gone,  # a retiring secret is gone
    done,  # everything is revoked
    confirm,  # the published document can be another account's
    candidate.send_new_candidate,  # nothing else can have sent it
    ask_provider,  # which credential authenticates
    candidate.give_up,  # it leaked
    identity.recognize,  # the document was changed by hand, or is new
    identity.eliminate,  # the published secret's id is pending
    identity.eliminate_retiring,  # a retiring id is pending
    documents.complete,  # the published document lacks its id
    candidate.finish,  # a rotation is in hand
    candidate.recover,  # only the primary account's credentials work
    identity.name_doubt,  # the published secret's id is one of several
    correct_date,  # a clock was ahead
    retirement.revoke,  # a grace period is over
    identity.name_unknown,  # an id that rotator did not create
    identity.await_look,  # a due revocation depends on a pending id
    begin,  # a rotation is due or requested
    documents.name_late_write,  # a due revocation depends on a write to an earlier path
    identity.await_listed,  # the published secret's id is missing
    clear,  # nothing is wrong any more
)
