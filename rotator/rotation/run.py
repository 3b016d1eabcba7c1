"""One run over one account: ask the protocol, do what it says, ask again."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from rotator.audit import AuditLog
from rotator.config import AccountSettings, Settings
from rotator.core.protocol import (
    LONGEST_PAUSE,
    Awaited,
    Journal,
    Outcome,
    Policy,
    Poll,
    Reason,
    Step,
    Stop,
    decide,
)
from rotator.errors import RotatorError
from rotator.provider import RateLimited
from rotator.rotation.asking import MakeRequest
from rotator.rotation.audit_trail import NO_AUDIT, AuditTrail
from rotator.rotation.continuation import continuation
from rotator.rotation.countdown import Monotonic
from rotator.rotation.ending import Ending
from rotator.rotation.errors import ContentionError, StoppedError
from rotator.rotation.executor import Executor
from rotator.rotation.interfaces import Clock, Provider, Store, Waiter
from rotator.rotation.state import AccountState
from rotator.rotation.waiting import Waiting, stopped
from rotator.vault import CasConflict

# How often another writer may be ahead before the run gives up, without a wait for a lease in between.
MAX_CONFLICTS = 10
# A run has about fifteen steps. Each conflict repeats some of them, and conflicts are limited. So does each wait for a
# lease or for the end of a deferral, which the clock limits: steps count from there. A run with far more steps is in a
# loop: an internal error.
MAX_STEPS = 500


class Rotation:
    """One run over one account.

    Args:
        settings: The whole configuration, for paths and for the primary account.
        wait: Waits, and says whether the process is to stop. If it is, a run begins nothing new and waits no more, but
            finishes what it can.
        monotonic: Returns seconds that only grow, for the lengths of its waits.
        halt: Whether not even that is wanted any more: the run ends before its next step.
        worker_is_wanted: Whether another account waits for this run's worker. A run that only waits for its candidate
            ends then, and a later one continues.
        max_wait: How long this run may wait for a lease, a grace period or a rate limit to end.
        ask: Makes the request of this run's caller; None: there is no request.
        on_journal: Gets every journal that the run wrote.
        logs_vault_failure: Whether it logs that it failed because of Vault. The daemon might defer such a run.
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
        monotonic: Monotonic,
        halt: Callable[[], bool] = lambda: False,
        worker_is_wanted: Callable[[], bool] = lambda: False,
        max_wait: timedelta = timedelta(),
        ask: MakeRequest | None = None,
        on_journal: Callable[[Journal], None] = lambda _: None,
        audit: AuditLog = NO_AUDIT,
        logs_vault_failure: bool = True,
    ) -> None:
        self.account = account
        self.state = AccountState(account, settings, store, policy=policy, clock=clock, ask=ask, on_journal=on_journal)
        self.waiting = Waiting(self.state, wait, max_wait, monotonic)
        self.executor = Executor(self.state, provider, AuditTrail(audit, self.state), self.waiting)
        self._ending = Ending(self.state, self.executor, logs_vault_failure=logs_vault_failure)
        self._halt = halt
        self._worker_is_wanted = worker_is_wanted
        self._conflicts = 0
        self.conflicts_since_turn = 0

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
        steps = waits = 0
        while steps < MAX_STEPS:
            outcome = self.step()
            if outcome is not None:
                return outcome
            steps = steps + 1 if self.waiting.count == waits else 0
            waits = self.waiting.count
        raise AssertionError(f"after {MAX_STEPS} steps in a row there was still something to do")

    def with_journal(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a run that an internal error ended, with the journal as last read or written."""
        state = self.state
        journal = state.journal if state.journal_read else None
        return replace(outcome, journal=journal, journal_is_unknown=state.write_is_unknown, asked=state.asking.asked)

    def step(self) -> Outcome | None:
        """Do one thing. Return the outcome once there is nothing more to do."""
        outcome = self._step()
        return outcome if outcome is None else replace(outcome, conflicts=self._conflicts)

    def _step(self) -> Outcome | None:
        try:
            if self._halt():
                raise stopped(self.state)
            if not self.state.is_observed or self.state.clock_was_set_back():
                self.state.observe()
            step = self.decide()
            if not isinstance(step, Stop):
                self.perform(step)
                return None
            if not self._outlasts(step):
                return self._ending.rested(step)
            self.state.forget()
        except StoppedError as error:
            return self._ending.stopped(error)
        except RateLimited as limited:
            return self._ending.rate_limited(limited, self.waiting.deferral(limited))
        except RotatorError as error:
            return self._ending.failed(error)
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
        if isinstance(step, Poll) and step.awaited is Awaited.CANDIDATE and self._worker_is_wanted():
            self.state.learn(paused=LONGEST_PAUSE)  # the next decision ends the run
            return
        try:
            self.executor.perform(step)
        except CasConflict as conflict:
            self.state.log.info("rotation.conflict", path=conflict.path)
            self._conflicts += 1
            self._fall_behind(conflict.path)
            return
        except RateLimited as limited:
            self.waiting.for_rate_limit(limited)
        if not self.state.is_observed:
            self._fall_behind(self.state.moved_path)

    def _fall_behind(self, path: str) -> None:
        """Look again after another writer was ahead; not for ever, and with growing pauses.

        A step of this run's own in between shows no progress: writes of the journal do not end changes of the published
        document.
        """
        self.conflicts_since_turn += 1
        if self.conflicts_since_turn > MAX_CONFLICTS:
            raise ContentionError(
                f"{path} changed again and again ({self.conflicts_since_turn} times) while this run worked on it",
                unchanged=self.executor.unchanged(),
                next_step="Find out what else writes there, or whether a cache is in front of Vault. Then continue",
                next_command=continuation(self.state),
            )
        self.waiting.after_conflict(self.conflicts_since_turn)
        self.state.forget()

    def _outlasts(self, rest: Stop) -> bool:
        """Wait for the end of a deferral; return false if this run may not, or the process is to stop."""
        if rest.reason is Reason.LEASED and rest.until is not None:
            if not self.waiting.for_lease(rest.until):
                return False
            self.conflicts_since_turn = 0  # the other writers took turns with a lease, as they should
            return True
        if rest.resumes:
            self.waiting.log_deferral(rest)
        if not self.waiting.may_outlast(rest):
            return False
        self.release()
        return self.waiting.for_end(rest)

    def release(self) -> None:
        """Release the lease, if this run holds it."""
        self._ending.release()
