"""Rules about the candidate: created, verified, published, recorded."""

from rotator.core.failures import list_of
from rotator.core.protocol import retirement, transitions
from rotator.core.protocol.identity import doubtful, unconfirmed, way_out
from rotator.core.protocol.journal import Trigger
from rotator.core.protocol.leaks import might_be_leaked
from rotator.core.protocol.lease import with_lease
from rotator.core.protocol.limits import MAX_SENDS, MAX_VALUES
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import (
    Awaited,
    Command,
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    List,
    Prepare,
    Publish,
    ReadRecorded,
    Reason,
    Revoke,
    Step,
    Stop,
    WriteJournal,
)
from rotator.core.protocol.wording import MOVE_FIRST, count_of, names_of, waiting_run


def commit(case: Situation) -> Step | None:
    """Record a published candidate and the revocation of the previous secret."""
    if not case.candidate_published:
        return None
    replaced_unread = bool(case.journal.retiring) and case.replaced_unrecorded_version
    tells = case.request_is_of_unrecorded or might_be_leaked(case.journal) or replaced_unread
    if tells and not case.seen.recorded_read:
        return ReadRecorded()
    return WriteJournal(Event.COMMITTED, transitions.committed(case))


def give_up(case: Situation) -> Step | None:
    """Give up a candidate that leaked, as long as something else authenticates."""
    return WriteJournal(Event.GIVEN_UP, transitions.given_up(case)) if case.candidate_is_compromised else None


def send_new_candidate(case: Situation) -> Step | None:
    """This run generated the candidate and has not sent it: it cannot be live."""
    if not case.seen.prepared_here or case.seen.creates or case.seen.listing is None:
        return None
    if case.journal.candidate is None or case.full:
        return None
    return with_lease(case, Create(case.seen.listing.via))


def wait_for_candidate(case: Situation) -> Step:
    """Pause for a moment. After some seconds, end the run: a later one continues."""
    pause = case.candidate_pause()
    if pause is not None:
        return pause
    since = case.since(Awaited.CANDIDATE) or case.now
    return Stop(
        Reason.VERIFYING,
        case.next_look,
        "the new secret does not authenticate yet",
        waiting_run(case.policy.account),
        journal=transitions.verifying(case, since),
        resumes=True,
    )


def finish(case: Situation) -> Step | None:
    """Continue an unfinished rotation up to the point where the candidate is published."""
    if case.journal.candidate is None:
        return None
    if case.candidate_works:
        return with_lease(case, Publish(case.candidate_id))
    if case.candidate_id in case.listed:
        return _unverified(case)
    new = case.unknown
    outage = case.seen.via is Credential.PRIMARY
    found_before = case.journal.ambiguity is not None and not outage
    if new and _may_be_ours(case) and not found_before and case.may_wait(Awaited.CANDIDATE):
        return wait_for_candidate(case)
    if outage or not new:
        return with_lease(case, _create(case))  # another secret ends an outage, whoever created the new ones
    if new & case.unconfirmed:
        return unconfirmed(case)
    if not new <= case.resolvable:
        return doubtful(case)  # one of the new ids can be the published secret's
    return Fail(
        Failure.AMBIGUOUS,
        f"{count_of(new)} appeared while a new one was being created, and the new one does not authenticate: "
        f"{names_of(new)}",
        Command.of("resolve", case.policy.account),
        MOVE_FIRST,
    )


def recover(case: Situation) -> Step | None:
    """Nothing is published, or what is published is refused: create through the primary account."""
    if case.seen.via is not Credential.PRIMARY:
        return None
    if not case.full:
        return Prepare(Trigger.BOOTSTRAP if case.seen.published.secret is None else Trigger.RESCUE)
    return make_room(case) or retirement.no_room(case, "a new one")


def make_room(case: Situation) -> Step | None:
    """Revoke what is due, so that the candidate fits. None if nothing that rotator recorded stands in its way."""
    if not case.journal.retiring:
        return None
    if case.seen.via is Credential.PRIMARY:
        return _make_room_through_primary(case)
    step = retirement.revoke_due(case)
    if step is not None:
        return step
    if not case.full and not _room_comes(case):
        return None  # the provider refused the candidate for another reason, or allows fewer than max_secrets
    return retirement.wait_for_room(case)


def _room_comes(case: Situation) -> bool:
    """Whether a secret that makes room is revoked as soon as ids are certain and no create might land late."""
    makers = case.making_room
    return any(entry.id in makers and case.grace_ends(entry) <= case.now for entry in case.journal.retiring)


def _make_room_through_primary(case: Situation) -> Step | None:
    """Revoke a due secret that no earlier version of the document names.

    No other credential of the account authenticates at this point.
    """
    possible = frozenset(case.due) & case.listed - case.seen.earlier_ids
    possible -= {entry.id for entry in case.journal.retiring if entry.is_pending}
    if not possible or len(case.listed) < 2 or case.journal.publishing is not None or not case.policy.revoke:  # noqa: PLR2004
        return None
    return with_lease(case, Revoke(min(possible), using=Credential.PRIMARY))


def _create(case: Situation) -> Step:
    """The candidate is not live, or consumers cannot wait for it: send the same value, unless that was refused."""
    seen = case.seen
    policy = case.policy
    if seen.value_refused and seen.values < MAX_VALUES:
        return Prepare(case.journal.trigger or policy.trigger)
    room = make_room(case) if case.crowded and not seen.value_refused else None
    if room is not None:
        return room
    if seen.create_refused is not None:
        return _refused(case, seen.create_refused)
    if case.full:
        return retirement.no_room(case, "the new one")
    if seen.creates >= MAX_SENDS:
        return Fail(
            Failure.UNANSWERED,
            f"the provider did not carry out {seen.creates} requests to create the new secret",
            Command.of("rotate-now", policy.account),
            "Send the same secret again",
        )
    using = seen.via or Credential.PUBLISHED
    late = case.late_create_until
    if late is None or late <= case.listed_at or len(case.listed) + 1 >= policy.max_secrets:
        return Create(using)
    # With room to spare, a create that lands late would not be refused. Only a list from after that shows it.
    if late <= case.now:
        return List(using)
    return Stop(
        Reason.LATE_CREATE,
        late,
        "an earlier create might still be carried out",
        waiting_run(policy.account),
    )


def _refused(case: Situation, said: str) -> Fail:
    account = case.policy.account
    what = f"the provider refused the new secret: {said}"
    if case.seen.via is Credential.PRIMARY:
        return retirement.needs_value(case, Failure.REFUSED, what)
    if case.seen.value_refused:
        return Fail(Failure.REFUSED, what, list_of(account), "Look at its secrets")
    if case.shows_doubt:
        return Fail(Failure.REFUSED, what, *way_out(case))  # nothing is revoked, so nothing makes room
    if case.making_room:
        ids = names_of(case.making_room)
        command = Command.of("rotate-now", account, "--force")
        return Fail(Failure.REFUSED, what, command, f"To make room, revoke {ids} before the grace period ends")
    return retirement.full_of_added(case, what) or Fail(Failure.REFUSED, what, list_of(account), "Look at its secrets")


def _may_be_ours(case: Situation) -> bool:
    """Whether a new id in the list can be the candidate's: it was sent, and not just once and refused."""
    seen = case.seen
    return seen.create_refused is None or seen.creates > 1 or not seen.prepared_here


def _unverified(case: Situation) -> Fail:
    """The provider has created the candidate, and it does not authenticate. Both are kept for the next run."""
    return Fail(
        Failure.UNVERIFIED,
        f"the provider created the new secret {case.candidate_id}, but it did not authenticate in time",
        Command.of("resolve", case.policy.account, "--revoke", case.candidate_id or "ID"),
        "rotator retries. If that does not help, raise verify_timeout, or give the new secret up",
    )
