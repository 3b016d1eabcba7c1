"""How a run ends: what it leaves in the journal, and its outcome."""

from datetime import datetime, timedelta

from rotator.core.protocol import Journal, Outcome, Reason, Request, Result, Stop, refuse_foreign, transitions
from rotator.documents import JournalError, format_instant
from rotator.errors import Advice, Blame, Code, Command, RotatorError
from rotator.provider import RateLimited
from rotator.rotation.continuation import advice_for, continuation, repetition
from rotator.rotation.errors import StoppedError
from rotator.rotation.executor import Executor
from rotator.rotation.state import AccountState
from rotator.vault import CasConflict, VaultError

# The provider decides about access to its product, not about the secret: asking again soon is of no use.
UNPROVISIONED_BACKOFF = timedelta(minutes=15)


class Ending:
    """Ends a run.

    Args:
        logs_vault_failure: Whether a failure because of Vault is logged; the caller decides otherwise.
    """

    def __init__(self, state: AccountState, executor: Executor, *, logs_vault_failure: bool) -> None:
        self._state = state
        self._executor = executor
        self._logs_vault_failure = logs_vault_failure

    def rested(self, rest: Stop) -> Outcome:
        """End a run that has nothing to do at the moment."""
        reason = rest.reason
        if rest.journal is not None:
            self._write_if_changed(rest.journal)
        else:
            self.release()
        if reason in (Reason.IDLE, Reason.GRACE, Reason.IDENTIFYING):
            withdrawn = self._withdrawn_request()
            if withdrawn is not None:
                return self._withdrawn(withdrawn)
            return self._outcome(Result.OK, reason.value, until=rest.until)
        error = RotatorError(rest.detail, next_step=_purpose(rest), next_command=rest.next_command)
        return self._outcome(
            Result.DEFERRED,
            reason.value,
            until=rest.until,
            error=error,
            resume_at=rest.until if rest.resumes else None,
        )

    def _withdrawn_request(self) -> Request | None:
        """Return the caller's request if the journal lost it although its secret is still published."""
        state = self._state
        asked = state.asking.asked if state.is_asked_recorded else None
        if asked is None or state.journal.request is not None or state.seen.rotated:
            return None
        return asked.request if state.seen.published.secret == asked.secret else None

    def _repeat(self) -> Command | None:
        """Return the command that repeats the caller's request, if another secret was published before it was recorded.

        A run that published a new secret itself replaced this other one, or the caller's.
        """
        state = self._state
        published = state.seen.published.secret
        if state.asking.asked is None or state.is_asked_recorded or state.seen.rotated:
            return None
        is_overtaken = published is not None and published != state.asking.asked.secret
        return repetition(state.account.name, state.asking.asked.request) if is_overtaken else None

    def _withdrawn(self, request: Request) -> Outcome:
        """End the run of a command whose recorded request disappeared before it was carried out."""
        error = RotatorError(
            "another instance or `rotate-now --cancel` withdrew the request; the secret is not replaced",
            next_step="To repeat the request",
            next_command=repetition(self._state.account.name, request),
        )
        return self._outcome(Result.DEFERRED, Reason.WITHDRAWN.value, error=error)

    def stopped(self, error: StoppedError) -> Outcome:
        """End a run that the end of the process cuts short."""
        self.release()
        error.unchanged = self._executor.unchanged()
        return self._outcome(Result.DEFERRED, Reason.STOPPED.value, error=error)

    def rate_limited(self, limited: RateLimited, delay: timedelta) -> Outcome:
        """End the run until the provider accepts requests of this key again. A rate limit is no failure.

        The journal says until when, for other instances and after a restart.
        """
        state = self._state
        until = state.clock() + delay
        limited.until = until
        limited.advise(Advice("To retry", continuation(state)))
        if state.journal_version and state.situation.leased_until is None and not state.seen.journal_lost:
            self._write_if_possible(transitions.limited(state.situation, until))
        self._executor.access.record_limit(limited, until)
        state.log.warning("account.deferred", reason=Reason.RATE_LIMITED.value, error=str(limited))
        return self._outcome(Result.DEFERRED, Reason.RATE_LIMITED.value, until=until, error=limited)

    def failed(self, error: RotatorError) -> Outcome:
        """End a run that failed: record the failure, with the command that helps."""
        state = self._state
        advice = advice_for(error.code, state)
        if advice is not None:
            error.advise(advice)
        self._executor.account_for(error)
        self._park(error)
        if error.blame is not Blame.VAULT or self._logs_vault_failure:
            state.log.error("rotation.failed", error=str(error))
        return self._outcome(Result.FAILED, error.code.value, until=state.journal.next_attempt_at, error=error)

    def release(self) -> None:
        """Release the lease, if this run holds it."""
        state = self._state
        if state.journal.lease_holder == state.policy.instance:
            self._write_if_possible(transitions.released(state.situation))

    def _outcome(
        self,
        result: Result,
        reason: str,
        *,
        until: datetime | None = None,
        error: RotatorError | None = None,
        resume_at: datetime | None = None,
    ) -> Outcome:
        state = self._state
        return Outcome(
            state.account.name,
            result,
            phase=state.journal.phase if state.journal_version else None,
            published=state.seen.rotated,
            revoked=self._executor.revoked,
            reason=reason,
            until=until,
            error=str(error) if error is not None else None,
            next_command=error.next_command if error is not None else None,
            resume_at=resume_at,
            rotation_id=state.journal.rotation_id,
            trigger=state.journal.trigger,
            journal=state.journal if state.journal_read else None,
            journal_is_unknown=state.write_is_unknown,
            refresh_at=state.refreshes.next_at(state.situation),
            asked=state.asking.asked,
            repeat=self._repeat(),
        )

    def _park(self, error: RotatorError) -> None:
        """Record the failure in the journal, unless there is none, it must not be written, or Vault is the failure."""
        state = self._state
        ambiguous = error.code is Code.AMBIGUOUS
        now = state.clock()
        if isinstance(error, JournalError) or error.blame is Blame.VAULT:
            return
        if error.code is Code.JOURNAL_LOST or refuse_foreign(state.situation) is not None:
            return
        if state.situation.leased_until is not None:
            return
        if state.journal_version == 0 and not ambiguous:
            return
        self._write_if_possible(
            transitions.failed(
                state.seen,
                state.journal,
                state.policy,
                now,
                str(error),
                failure=error.code.value,
                ambiguous=ambiguous,
                not_before=UNPROVISIONED_BACKOFF if error.code is Code.UNPROVISIONED else timedelta(),
            )
        )

    def _write_if_changed(self, journal: Journal) -> None:
        """Write the journal, unless Vault contains the same: each write delays the next list that counts."""
        if journal != self._state.journal:
            self._write_if_possible(journal)

    def _write_if_possible(self, journal: Journal) -> None:
        """Write the journal at the end of a run. If that fails, the lease expires by itself."""
        try:
            self._state.write_journal(journal)
        except (CasConflict, VaultError) as error:
            self._state.log.info("journal.write_failed", error=str(error))


def _purpose(rest: Stop) -> str:
    """Return the purpose of a deferral's command; empty if it has none."""
    if rest.next_command is None:
        return ""
    is_limited = rest.reason is Reason.RATE_LIMITED  # a request before the end is limited again
    return f"To retry after {format_instant(rest.until)}" if is_limited else "To continue"
