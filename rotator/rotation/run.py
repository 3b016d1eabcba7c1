"""One run over one account: ask the protocol, do what it says, ask again."""

from collections.abc import Callable
from copy import copy
from datetime import datetime, timedelta
from typing import Self

from rotator.audit import AuditLog
from rotator.config import AccountSettings, Settings
from rotator.core.jitter import backoff
from rotator.core.protocol import (
    LONGEST_PAUSE,
    Awaited,
    Command,
    Journal,
    Outcome,
    Pause,
    Policy,
    Reason,
    Rest,
    Result,
    Step,
    decide,
    transitions,
)
from rotator.documents.journal import JournalError
from rotator.documents.published import format_instant
from rotator.errors import Blame, Code, RotatorError
from rotator.logs import redact
from rotator.provider import RateLimited
from rotator.rotation.audited import NO_AUDIT, AuditTrail
from rotator.rotation.errors import ContentionError, RotationError, StoppedError
from rotator.rotation.executor import Executor, stopped
from rotator.rotation.ports import Clock, Provider, Store, Waiter
from rotator.rotation.state import AccountState, MakeRequest
from rotator.vault import CasConflict, VaultError

# A run has about fifteen steps. A run with far more steps is in a loop.
MAX_STEPS = 500
# How often in a row another writer may be ahead before the run gives up.
MAX_CONFLICTS = 8
# Every run waits for a rate limit that ends this soon, a limited number of times.
SHORT_WAIT = timedelta(seconds=5)
MAX_LIMITS = 10
# A run that waits for another instance's lease reads the journal after pauses that grow from the first to the second.
SHORTEST_POLL, LONGEST_POLL = timedelta(milliseconds=100), timedelta(seconds=5)
# Margin after the end of a lease or a wait: it has certainly ended then.
PAST_THE_END = timedelta(milliseconds=5)
# The provider decides about access to its product, not about the secret: asking again soon is of no use.
UNPROVISIONED_BACKOFF = timedelta(minutes=15)


class Rotation:
    """One run over one account.

    Args:
        account: The account.
        settings: The whole configuration, for paths and for the primary account.
        provider: The Account API.
        store: Vault.
        policy: The rules and limits of the run.
        clock: Tells the time, aware UTC.
        wait: Waits, and says whether the process is to stop. If it is, a run begins nothing new and waits no more, but
            finishes what it can.
        halt: Whether not even that is wanted any more: the run ends before its next step.
        worker_is_wanted: Whether another account waits for this run's worker. A run that only waits for its candidate
            ends then, and a later one continues.
        max_wait: How long this run may wait for a lease, a grace period or a rate limit to end.
        ask: Makes the request of this run's caller; None: there is no request.
        on_journal: Gets every journal that the run wrote.
        audit: The audit log.
    """

    def __init__(
        self,
        account: AccountSettings,
        settings: Settings,
        provider: Provider,
        store: Store,
        *,
        policy: Policy,
        clock: Clock,
        wait: Waiter,
        halt: Callable[[], bool] = lambda: False,
        worker_is_wanted: Callable[[], bool] = lambda: False,
        max_wait: timedelta = timedelta(),
        ask: MakeRequest | None = None,
        on_journal: Callable[[Journal], None] = lambda _: None,
        audit: AuditLog = NO_AUDIT,
    ) -> None:
        self.account = account
        self.state = AccountState(account, settings, store, policy=policy, clock=clock, ask=ask, on_journal=on_journal)
        self.executor = Executor(self.state, provider, AuditTrail(audit, self.state), wait)
        self.wait = wait
        self.waits_until = clock() + max_wait
        self._halt = halt
        self._worker_is_wanted = worker_is_wanted
        self._conflicts = 0
        self._conflicts_in_a_row = 0
        self._limits = 0

    def snapshot(self) -> Self:
        """Return a copy that continues on its own."""
        copied = copy(self)
        copied.state = self.state.snapshot()
        copied.executor = self.executor.rebound(copied.state)
        return copied

    @property
    def policy(self) -> Policy:
        """The rules and limits of the run."""
        return self.state.policy

    @property
    def journal(self) -> Journal:
        """The journal as last read or written."""
        return self.state.journal

    def run(self) -> Outcome:
        """Do whatever there is to do. Every ordinary failure becomes part of the outcome."""
        for _ in range(MAX_STEPS):
            outcome = self.step()
            if outcome is not None:
                return outcome
        raise AssertionError(f"after {MAX_STEPS} steps there was still something to do")

    def step(self) -> Outcome | None:
        """Do one thing. Return the outcome once there is nothing more to do."""
        try:
            if self._halt():
                raise stopped(self.state)
            if not self.state.is_observed or self.state.clock_was_set_back():
                self.state.observe()
            step = self.decide()
            if not isinstance(step, Rest):
                self.perform(step)
                return None
            if not self._wait_for(step):
                return self._rested(step)
            self.state.forget()
        except StoppedError as error:
            self.release()
            return self._ended(Result.DEFERRED, Reason.STOPPED.value, error=str(error))
        except RateLimited as limited:
            return self._deferred(limited)
        except RotatorError as error:
            self._park(error)
            return self._failed(error)
        return None

    def decide(self) -> Step:
        """Return the next step, as the protocol sees it."""
        state = self.state
        return decide(state.seen, state.journal, state.policy, state.clock())

    def perform(self, step: Step) -> None:
        """Do one step.

        Raises:
            RotatorError: If the step could not be done, or was to fail.
        """
        if isinstance(step, Pause) and step.awaited is Awaited.CANDIDATE and self._worker_is_wanted():
            self.state.learn(paused=LONGEST_PAUSE)  # the next decision ends the run
            return
        try:
            self.executor.perform(step)
        except CasConflict as conflict:
            self._conflicted(conflict)
        except RateLimited as limited:
            self._rate_limited(limited)
        else:
            self._conflicts_in_a_row = 0

    def _conflicted(self, conflict: CasConflict) -> None:
        """Look again after another writer was ahead; not for ever, and with growing pauses."""
        self.state.log.info("rotation.conflict", path=conflict.path)
        self._conflicts += 1
        self._conflicts_in_a_row += 1
        if self._conflicts_in_a_row > MAX_CONFLICTS:
            raise ContentionError(
                f"Another writer changed {conflict.path} {self._conflicts_in_a_row} times in a row",
                unchanged="The published secret stays",
                next_step="Find out what else writes there",
            )
        if self._conflicts_in_a_row > 1 and self.wait(timedelta(milliseconds=50) * 2**self._conflicts_in_a_row):
            raise stopped(self.state)
        self.state.forget()

    # --- waiting and ending --------------------------------------------------------------------------------------

    def wait_for_lease(self, until: datetime) -> bool:
        """Wait while another instance holds the lease, and read the journal again and again: it may be released early.

        Args:
            until: When the lease expires, by this instance's clock.

        Returns:
            Whether the lease has expired or the journal has changed; false if this run may not wait for longer, or the
            process is to stop.
        """
        state, pause = self.state, SHORTEST_POLL
        if state.clock() < min(until, self.waits_until):
            state.log.info("rotation.waiting", reason=Reason.LEASED.value, until=format_instant(until))
        while (now := state.clock()) < until:
            left = min(until, self.waits_until) - now
            if left <= timedelta() or self.wait(min(pause, left + PAST_THE_END)):
                return False
            if state.journal_moved():
                return True
            pause = min(pause * 2, LONGEST_POLL)
        return True

    def _wait_for(self, rest: Rest) -> bool:
        """Wait for the rest's end; false if this run may not wait for it, or the process is to stop."""
        if rest.until is None or rest.resumes:
            return False
        if rest.reason is Reason.LEASED:
            return self.wait_for_lease(rest.until)
        nothing_due = rest.reason is Reason.IDENTIFYING and not self.journal.retiring
        if nothing_due or rest.until > self.waits_until:
            return False
        self.release()
        delay = max(rest.until - self.state.clock(), timedelta()) + PAST_THE_END
        until = format_instant(rest.until)
        self.state.log.info("rotation.waiting", reason=rest.reason.value, until=until, detail=rest.detail)
        return not self.wait(delay)

    def _rate_limited(self, limited: RateLimited) -> None:
        delay = limited.retry_after or timedelta(seconds=1)
        too_long = delay > SHORT_WAIT and self.state.clock() + delay > self.waits_until
        if too_long or self._limits >= MAX_LIMITS or self.wait(delay):
            raise limited
        self._limits += 1
        self.state.learn(listing=None)
        self.state.forget_if_moved()

    def _deferred(self, limited: RateLimited) -> Outcome:
        """End the run until the provider accepts requests of this key again. A rate limit is no failure.

        The journal says until when, for other instances and after a restart.
        """
        state = self.state
        now = state.clock()
        delay = limited.retry_after or timedelta()
        if self._limits >= MAX_LIMITS:
            delay = max(delay, backoff(self.account.name, 1))
        if state.journal_version and state.situation.leased_until is None and not state.seen.journal_lost:
            self.write_if_possible(transitions.limited(state.situation, now + delay))
        state.log.warning("account.deferred", reason=Reason.RATE_LIMITED.value, error=str(limited))
        return self._ended(
            Result.DEFERRED,
            Reason.RATE_LIMITED.value,
            until=now + delay,
            error=str(limited),
            next_command=Command.of("rotate-now", self.account.name),
        )

    def _rested(self, rest: Rest) -> Outcome:
        if rest.journal is not None:
            self.write_if_possible(rest.journal)
        elif rest.reason is Reason.FULL and self.journal.request is not None:
            self.write_if_possible(transitions.rested(self.state.situation))
        else:
            self.release()
        resume_at = rest.until if rest.resumes else None
        if rest.reason in (Reason.IDLE, Reason.GRACE, Reason.IDENTIFYING):
            return self._ended(Result.OK, rest.reason.value, until=rest.until)
        return self._ended(
            Result.DEFERRED,
            rest.reason.value,
            until=rest.until,
            error=redact(rest.detail),
            next_command=rest.next_command,
            resume_at=resume_at,
        )

    def _failed(self, error: RotatorError) -> Outcome:
        self.state.log.error("rotation.failed", error=str(error))
        return self._ended(
            Result.FAILED,
            error.code.value,
            until=self.journal.next_attempt_at,
            error=str(error),
            next_command=error.next_command if isinstance(error, RotationError) else None,
        )

    def _ended(
        self,
        result: Result,
        reason: str,
        *,
        until: datetime | None = None,
        error: str | None = None,
        next_command: Command | None = None,
        resume_at: datetime | None = None,
    ) -> Outcome:
        state = self.state
        return Outcome(
            self.account.name,
            result,
            phase=self.journal.phase if state.journal_version else None,
            published=state.seen.rotated,
            revoked=self.executor.revoked,
            reason=reason,
            until=until,
            error=error,
            next_command=next_command,
            resume_at=resume_at,
            rotation_id=self.journal.rotation_id,
            trigger=self.journal.trigger,
            conflicts=self._conflicts,
            journal=self.journal if state.journal_read else None,
        )

    def release(self) -> None:
        """Release the lease, if this run holds it."""
        if self.journal.holder == self.policy.runner:
            self.write_if_possible(transitions.released(self.state.situation))

    def _park(self, error: RotatorError) -> None:
        """Record the failure in the journal, unless there is none, it must not be written, or Vault is the failure."""
        state = self.state
        ambiguous = error.code is Code.AMBIGUOUS
        now = state.clock()
        if isinstance(error, JournalError) or error.blame is Blame.VAULT:
            return
        if error.code in (Code.FOREIGN_DOCUMENT, Code.FOREIGN_JOURNAL, Code.JOURNAL_LOST):
            return
        if state.situation.leased_until is not None:
            return
        if state.journal_version == 0 and not ambiguous:
            return
        self.write_if_possible(
            transitions.failed(
                state.seen,
                self.journal,
                self.policy,
                now,
                str(error),
                failure=error.code.value,
                ambiguous=ambiguous,
                not_before=UNPROVISIONED_BACKOFF if error.code is Code.UNPROVISIONED else timedelta(),
            )
        )

    def write_if_possible(self, journal: Journal) -> None:
        """Write the journal at the end of a run. If that fails, the lease expires by itself."""
        try:
            self.state.write_journal(journal)
        except (CasConflict, VaultError) as error:
            self.state.log.info("journal.write_failed", error=str(error))
