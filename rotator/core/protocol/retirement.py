"""Rules about previous secrets: when they are revoked, and when they count as gone."""

from collections.abc import Iterable
from datetime import datetime

from rotator.core.failures import list_of
from rotator.core.protocol import transitions
from rotator.core.protocol.documents import refuse_late_write
from rotator.core.protocol.identity import await_listed, doubtful
from rotator.core.protocol.journal import Retiring
from rotator.core.protocol.limits import MAX_SENDS
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import (
    Command,
    Credential,
    Event,
    Fail,
    Failure,
    Reason,
    Revoke,
    Step,
    Stop,
    WriteJournal,
)
from rotator.core.protocol.wording import MOVE_FIRST, count_of, names_of, number, waiting_run, without_withheld


def record_gone(case: Situation) -> Step | None:
    """Record what is gone.

    A secret is gone if the provider confirmed it; if the provider did not find it, and the next list lacks it; or, once
    it is due, if lists lacked it for the consistency window.
    """
    retiring = case.journal.retiring_ids
    gone = case.seen.revoked & retiring
    if _shows_the_published_secret(case):
        absent = retiring - case.listed
        due_and_absent = absent & _past_grace(case)
        gone |= absent & case.seen.absent
        gone |= {
            entry.id
            for entry in case.journal.retiring
            if entry.id in due_and_absent and (gone_at := case.gone_at(entry)) is not None and gone_at <= case.listed_at
        }
        if not gone and {entry.id for entry in case.journal.retiring if entry.missing_since} != due_and_absent:
            return WriteJournal(Event.MISSED, transitions.missed(case, frozenset(due_and_absent)))
    if not gone:
        return None
    return WriteJournal(Event.GONE, transitions.gone_recorded(case, frozenset(gone)))


def _shows_the_published_secret(case: Situation) -> bool:
    return case.journal.candidate is None and case.journal.current_id in case.listed


def _past_grace(case: Situation) -> frozenset[str]:
    return frozenset(entry.id for entry in case.journal.retiring if case.grace_over(entry) <= case.now)


def revoke(case: Situation) -> Step | None:
    """Revoke what is due, while no rotation is in hand."""
    return revoke_due(case) if case.journal.candidate is None else None


def revoke_due(case: Situation) -> Step | None:
    """Revoke what is due, if it is certain that it is not the published secret.

    The list was fetched with the published secret and shows both ids. Nothing is revoked while the published secret's
    id is pending or in doubt, or while a write of an earlier value might still be applied (invariant I9).
    """
    current = case.journal.current_id
    if current is None or case.seen.via is not Credential.PUBLISHED or current not in case.listed:
        return None
    if case.in_doubt or case.journal.publishing is not None or not case.policy.revoke:
        return None
    pending = {entry.id for entry in case.journal.retiring if entry.is_pending}
    due = frozenset(case.due) & case.listed - pending
    if not due:
        return None
    first = min(due)
    if case.seen.revokes >= MAX_SENDS:
        return Fail(
            Failure.UNANSWERED,
            f"the provider still lists {first} after {case.seen.revokes} requests to revoke it",
            Command.of("rotate-now", case.policy.account, "--due"),
            "Try again",
        )
    early = any(entry.not_before > case.now for entry in case.journal.retiring if entry.id in due)
    if case.held and not early:
        return Revoke(first)
    return WriteJournal(Event.CLAIMED, transitions.retiring_now(case))


def wait_for_room(case: Situation) -> Step:
    """The account is full because of secrets that rotator recorded: wait for the first of them.

    If nothing but grace periods is in the way, the account's own rules defer a manual request: it is withdrawn.
    """
    entries = case.in_the_way or case.journal.retiring
    until = _next(case, entries)
    first = _ids_at(case, entries, until)
    later = until if until > case.now else None
    obstacle = _obstacle(case) if later is None else None
    if obstacle is not None:
        return obstacle
    account = case.policy.account
    detail = f"the account is full until {names_of(first)} {number(first, 'is', 'are')} revoked"
    is_uncertain = case.in_doubt or not first.isdisjoint(case.journal.named_ids)
    if is_uncertain:
        detail = "the account is full, and nothing is revoked before the published secret's id is certain"
    if case.forced or is_uncertain or not case.full_by_grace:
        return _with_request_kept(case, Stop(Reason.FULL, later, detail, waiting_run(account)))
    detail = f"{detail}; --force does not wait for that"
    command = Command.of("rotate-now", account, "--force")
    return Stop(Reason.FULL, later, detail, command, journal=transitions.rested(case))


def _obstacle(case: Situation) -> Step | None:
    """The obstacle that no wait removes: while the published id is in doubt or not listed, nothing is revoked.

    Nor is it while a write to a document at another path might be applied.
    """
    late_write = refuse_late_write(case)
    if late_write is not None:
        return late_write
    return doubtful(case) if case.shows_doubt else await_listed(case)


def _wait_until(case: Situation, until: datetime | None, detail: str) -> Step:
    """Wait for an instant at which lists tell more; no rule of the account's own defers the request."""
    later = until if until is not None and until > case.now else None
    return _with_request_kept(case, Stop(Reason.FULL, later, detail, waiting_run(case.policy.account)))


def _with_request_kept(case: Situation, rest: Stop) -> Step:
    """Record a request that no journal contains yet, before its run ends: a later run carries it out."""
    return rest if case.journal.request == case.stored.request else WriteJournal(Event.REQUESTED, case.journal)


def no_room(case: Situation, secret: str) -> Step:
    """The account is full, and rotator recorded nothing that can make room.

    Args:
        case: The situation.
        secret: The secret that has no room, for the message.
    """
    account = case.policy.account
    revoked = case.listed & case.gone
    if revoked:
        until = max((case.window_after(entry.at) for entry in case.journal.gone), default=case.now)
        were = number(revoked, "was", "were")
        detail = f"the account is full: the provider still lists {names_of(revoked)}, which {were} revoked"
        return _wait_until(case, until, detail)
    what = f"the account has {len(case.listed)} of {case.policy.max_secrets} secrets, there is no room for {secret}"
    if case.seen.via is Credential.PRIMARY:
        return needs_value(case, Failure.FULL, what)
    obstacle = _obstacle(case)
    if obstacle is not None:
        return obstacle
    if case.in_doubt:
        return _wait_until(case, case.last_doubt_until, f"{what} until its ids are certain")
    added = full_of_added(case, what)
    if added is not None:
        return added
    if case.resolvable or case.resolvable_later:
        return Fail(Failure.FULL, what, Command.of("resolve", account), "Decide which secret can go")
    return Fail(Failure.FULL, what, list_of(account), "Look at its secrets")


def needs_value(case: Situation, failure: Failure, what: str) -> Fail:
    """The failure of an outage that rotator cannot end itself: it knows no value that authenticates.

    Args:
        case: The situation.
        failure: The code.
        what: Why rotator cannot create another secret.
    """
    withheld = case.seen.withheld
    return Fail(
        failure,
        f"{what}; rotator knows no {'other ' if withheld else ''}value that authenticates{without_withheld(withheld)}",
        Command.of("adopt", case.policy.account, "--replace"),
        "Bring a value that authenticates",
    )


def full_of_added(case: Situation, what: str) -> Fail | None:
    """The failure of an account that a secret which a person added makes full; None if `resolve` offers none."""
    added = case.added & case.resolvable
    if not added or case.in_doubt:
        return None
    return Fail(
        Failure.FULL,
        f"{what}, because of {count_of(added)} that a person added: {names_of(added)}",
        Command.of("resolve", case.policy.account, "--revoke", min(added)),
        MOVE_FIRST,
    )


def rest(case: Situation) -> Stop:
    """Nothing to do now; until when."""
    entries = case.journal.retiring
    current = case.journal.current
    if not entries:
        if current is not None and current.is_pending:
            return Stop(Reason.IDENTIFYING, case.look_at(current), "the id of the published secret is not certain yet")
        return Stop(Reason.IDLE, None, "nothing is due")
    until = _next(case, entries)
    list_is_older = case.listed_at < until  # a list that was fetched later decides
    if until <= case.now and not (list_is_older and case.policy.revoke):
        command = Command.of("rotate-now", case.policy.account, "--due")
        due = _ids_at(case, entries, case.now)
        held = f"{names_of(due)} {number(due, 'is', 'are')} due, but nothing may be revoked now"
        return Stop(Reason.HELD, None, held, command)
    waiting = frozenset(entry.id for entry in entries if case.may_retire(entry) <= case.now)
    if waiting:
        verb = number(waiting, "is", "are")
        ids = number(waiting, "its id", "their ids")
        certain = f"{names_of(waiting)} {verb} revoked when {ids} and the published one are certain"
        return Stop(Reason.IDENTIFYING, until, certain)
    first = _ids_at(case, entries, until)
    others = case.journal.retiring_ids - first
    later = f", and {names_of(others)} later" if others else ""
    return Stop(Reason.GRACE, until, f"{names_of(first)} {number(first, 'is', 'are')} revoked then{later}")


def _ids_at(case: Situation, entries: Iterable[Retiring], at: datetime) -> frozenset[str]:
    """The ids of those that may be revoked, or looked at again, by an instant."""
    return frozenset(entry.id for entry in entries if _next_of(case, entry) <= at)


def _next(case: Situation, entries: Iterable[Retiring]) -> datetime:
    """When the first of these may be revoked, or looked at again."""
    return min(_next_of(case, entry) for entry in entries)


def _next_of(case: Situation, entry: Retiring) -> datetime:
    instants = [
        case.may_retire(entry),
        case.look_at(case.journal.current),
        case.look_at(entry.identity),
        case.gone_at(entry),
        case.last_doubt_until if case.in_doubt else None,
    ]
    return max(at for at in instants if at is not None)
