"""Waits of a run: for a lease, for a fact, for the end of a deferral or a rate limit, for another writer.

Each wait that takes more than a moment is logged once, with its reason and its end.
"""

from datetime import datetime, timedelta

from rotator.core.backoff import backoff
from rotator.core.protocol import Awaited, Credential, Poll, Reason, Stop
from rotator.documents import format_instant
from rotator.provider import RateLimited
from rotator.rotation.continuation import continuation
from rotator.rotation.countdown import Countdown, Monotonic
from rotator.rotation.errors import StoppedError
from rotator.rotation.interfaces import Waiter
from rotator.rotation.state import AccountState

# Every run waits for a rate limit that ends this soon, a limited number of times.
SHORT_WAIT = timedelta(seconds=5)
MAX_LIMITS = 10
# A run that waits for another instance's lease reads the journal after pauses that grow from the first to the second.
# The pauses after conflicts grow no longer, either.
SHORTEST_POLL, LONGEST_POLL = timedelta(milliseconds=100), timedelta(seconds=5)
# Margin after the end of a lease or a wait: it has certainly ended then.
PAST_THE_END = timedelta(milliseconds=5)
# A wait that lasts this long is logged.
WORTH_A_LINE = timedelta(seconds=2)

_AWAITED = {
    Awaited.CANDIDATE: "the provider does not accept the new secret yet",
    Awaited.PUBLISHED: "the provider refuses the published secret, and a refusal can be a mistake",
    Awaited.LISTED: "the provider does not list the published secret's id, and a list can lag",
    Awaited.LOOK: "a later list makes the ids certain",
}
_AWAITED_AFTER = {Credential.CANDIDATE: Awaited.CANDIDATE, Credential.PUBLISHED: Awaited.PUBLISHED}


class Waiting:
    """How a run waits for its account.

    Args:
        wait: Waits; returns true if the process stops.
        max_wait: How long this run may wait for leases, deferrals and rate limits to end, from now on.
        monotonic: Measures the waits. The clock can be set back during one.

    Attributes:
        count: How often this run has waited for a lease or for the end of a deferral.
    """

    def __init__(self, state: AccountState, wait: Waiter, max_wait: timedelta, monotonic: Monotonic) -> None:
        self.wait = wait
        self.count = 0
        self._state = state
        self._monotonic = monotonic
        self._patience = self.countdown(max_wait)
        self._limits = 0
        self._polled: tuple[str | None, timedelta] = None, SHORTEST_POLL
        self._paused: set[Awaited] = set()
        self._logged: set[tuple[Awaited, datetime]] = set()

    def countdown(self, lasts: timedelta) -> Countdown:
        """Return a measure of a wait that begins now."""
        return Countdown(lasts, self._monotonic)

    def for_moment(self, delay: timedelta) -> None:
        """Wait.

        Raises:
            StoppedError: If the process stops.
        """
        if self.wait(delay):
            raise stopped(self._state)

    def after_conflict(self, count: int) -> None:
        """Wait before a document is read again that another writer has changed so often; at once after the first time.

        Raises:
            StoppedError: If the process stops.
        """
        if count > 1:
            self.for_moment(min(timedelta(milliseconds=50) * 2**count, LONGEST_POLL))

    def for_fact(self, pause: Poll) -> None:
        """Wait a moment for a fact about the account, then look again.

        Raises:
            StoppedError: If the process stops.
        """
        state = self._state
        now = state.clock()
        awaited = pause.awaited
        # A clock that was set back must not make it wait longer.
        since = min(state.seen.waiting_since.get(awaited, now), now)
        self._log_pause(pause, since, now)
        self.for_moment(pause.delay)
        self._paused.add(awaited)
        if state.forget_if_moved():
            return
        paused = state.seen.paused
        if awaited in (Awaited.CANDIDATE, Awaited.LOOK):
            paused += pause.delay
        refused = state.seen.refused - {Credential.CANDIDATE, Credential.PUBLISHED}
        waiting_since = {**state.seen.waiting_since, awaited: since}
        state.learn(listing=None, refused=refused, waiting_since=waiting_since, paused=paused)

    def is_repeated_refusal(self, using: Credential) -> bool:
        """Return whether this run has waited already since the provider refused a credential."""
        return _AWAITED_AFTER.get(using) in self._paused

    def for_lease(self, until: datetime) -> bool:
        """Wait while another instance holds the lease, and read the journal again and again: it may be released early.

        Args:
            until: When the lease expires, by this instance's clock.

        Returns:
            Whether the lease has expired or the journal has changed; false if this run may not wait for longer, or the
            process is to stop.
        """
        state = self._state
        holder = state.journal.lease_holder
        lease = self.countdown(until - state.clock())
        if lease.left and self._patience.left:
            self.log("rotation.waiting", Reason.LEASED.value, until, f"{holder} holds the lease")
        while lease.left:
            left = min(lease.left, self._patience.left)
            if not left or self.wait(min(self._next_poll(holder), left + PAST_THE_END)):
                return False
            self.count += 1
            if state.journal_moved():
                return True
        return True

    def _next_poll(self, holder: str | None) -> timedelta:
        """Return the pause before the journal is read again. It grows as long as one instance holds the lease."""
        polled, pause = self._polled
        pause = min(pause * 2, LONGEST_POLL) if polled == holder else SHORTEST_POLL
        self._polled = holder, pause
        return pause

    def may_outlast(self, rest: Stop) -> bool:
        """Return whether this run may wait for the end of a deferral that is no lease."""
        nothing_due = rest.reason is Reason.IDENTIFYING and not self._state.journal.retiring
        if rest.until is None or rest.resumes or nothing_due:
            return False
        return rest.until - self._state.clock() <= self._patience.left

    def for_end(self, rest: Stop) -> bool:
        """Wait for the end of a deferral; return false if the process is to stop."""
        self.log_deferral(rest)
        now = self._state.clock()
        left = min(max((rest.until or now) - now, timedelta()), self._patience.left)
        if left:
            self.count += 1
        return not self.wait(left + PAST_THE_END)

    def log_deferral(self, rest: Stop) -> None:
        """Log a deferral whose end this run or a later one of the same command waits for."""
        if rest.until is not None:
            self.log("rotation.waiting", rest.reason.value, rest.until, rest.detail)

    def for_rate_limit(self, limited: RateLimited) -> None:
        """Wait until the provider accepts requests of this key again.

        Raises:
            RateLimited: If this run may not wait for so long.
        """
        state = self._state
        delay = limited.retry_after or timedelta(seconds=1)
        too_long = delay > SHORT_WAIT and delay > self._patience.left
        if too_long or self._limits >= MAX_LIMITS:
            raise limited
        detail = "the provider limits the requests of this key"
        self.log("rotation.waiting", Reason.RATE_LIMITED.value, state.clock() + delay, detail)
        if self.wait(delay):
            raise limited
        self._limits += 1
        state.learn(listing=None)
        state.forget_if_moved()

    def deferral(self, limited: RateLimited) -> timedelta:
        """Return how long the runs of an account with a rate limit are deferred."""
        delay = limited.retry_after or timedelta()
        return delay if self._limits < MAX_LIMITS else max(delay, backoff(self._state.account.name, 1))

    def log(self, event: str, reason: str, until: datetime, detail: str) -> None:
        """Log a wait: its reason, its end and the same in words."""
        self._state.log.info(event, reason=reason, until=format_instant(until), detail=detail)

    def _log_pause(self, pause: Poll, since: datetime, now: datetime) -> None:
        """Log a wait for a fact once it lasts for more than a moment."""
        case = self._state.situation
        awaited = pause.awaited
        if awaited is Awaited.LOOK:  # each look is a wait of its own
            lasts = pause.delay
            until = now + pause.delay
        else:
            lasts = now + pause.delay - since
            until = (case.since(awaited) or since) + case.max_wait(awaited)
        if lasts >= WORTH_A_LINE and (awaited, until) not in self._logged:
            self._logged.add((awaited, until))
            self.log("rotation.waiting", awaited.value, until, _AWAITED[awaited])


def stopped(state: AccountState) -> StoppedError:
    """Return the error of a run that the end of the process cuts short."""
    return StoppedError(
        f"The process stopped before the run over {state.account.name} was complete",
        next_step="To continue",
        next_command=continuation(state),
    )
