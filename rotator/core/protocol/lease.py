"""Rules about the lease: one instance works on an account at a time. Its requests and its backoff stand beside it."""

from datetime import datetime, timedelta

from rotator.core.protocol import transitions
from rotator.core.protocol.instants import CLOCK_TOLERANCE
from rotator.core.protocol.journal import Journal
from rotator.core.protocol.requests import is_limited
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import Command, Event, Fail, Prepare, Reason, Step, Stop, WriteJournal
from rotator.core.protocol.wording import waiting_run

# How long a lease lasts by default.
LEASE = timedelta(minutes=2)
# The longest backoff: a rate limit can ask for it.
LONGEST_BACKOFF = timedelta(days=1)


def with_lease(case: Situation, step: Step) -> Step:
    """Return the step, or the write that acquires or renews the lease which the step needs.

    Everything that the step rests on was read before. If the check-and-set of the lease succeeds, no other instance
    has changed the account since.
    """
    if case.held or isinstance(step, Fail | Stop | Prepare):
        return step
    return WriteJournal(Event.CLAIMED, transitions.claimed(case))


def record_request(case: Situation) -> Step | None:
    """Record an urgent request at once, and any request while another instance holds the lease.

    The other instance's next journal write fails then. It reads the request and continues with it.
    """
    asked = case.seen.request
    if asked is None or case.journal == case.stored:
        return None
    if asked.kind.is_urgent or case.leased_until is not None:
        return WriteJournal(Event.REQUESTED, case.journal)
    return None


def wait_for_lease(case: Situation) -> Step | None:
    """Wait while another instance holds the lease."""
    until = case.leased_until
    if until is None:
        return None
    return Stop(
        Reason.LEASED,
        until,
        f"{case.journal.lease_holder} holds the lease",
        waiting_run(case.policy.account),
    )


def limited_until(case: Situation, journal: Journal) -> datetime | None:
    """Return when the provider accepts requests of a journal's key again, by this clock; None if it does so now.

    Args:
        case: The situation of a run, for its clocks.
        journal: The account's journal, or that of its primary account.
    """
    return _next_attempt(case, journal) if is_limited(journal) else None


def _next_attempt(case: Situation, journal: Journal) -> datetime | None:
    at = case.local(journal.next_attempt_at)
    lies_ahead = at is not None and case.now < at <= case.now + LONGEST_BACKOFF + CLOCK_TOLERANCE
    return at if lies_ahead else None


def wait_for_backoff(case: Situation) -> Step | None:
    """After a failure, wait before the next attempt, unless a person names the account."""
    if case.policy.explicit or case.journal.lease_holder == case.policy.instance:
        return None
    limit_end = limited_until(case, case.journal)
    if limit_end is not None:
        return Stop(
            Reason.RATE_LIMITED,
            limit_end,
            "the provider limits the requests of this key",
            Command.of("rotate-now", case.policy.account, "--due"),
        )
    at = _next_attempt(case, case.journal)
    if at is None:
        return None
    options = ("--due",) if case.seen.request is None else ()  # otherwise the command would make a request
    return Stop(
        Reason.BACKOFF,
        at,
        f"attempt {case.journal.attempts} failed: {case.journal.last_error}",
        Command.of("rotate-now", case.policy.account, *options),
    )
