"""The circuit breaker, pure: when accounts fail alike, the reason is not the accounts.

A rotation that starts while the provider or Vault fails gains nothing and can leave an account half done. So when k of
the last n accounts failed for one cause, the breaker opens: no new rotation starts during the cooldown. After that one
account is the probe. If it succeeds, the breaker closes. If it fails, the next cooldown is twice as long.

A rotation that a person requested urgently does not wait for the end of the cooldown. One such account at a time is the
probe then.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.core.failures import Blame, Code
from rotator.core.protocol import Outcome, Result

LONGEST_COOLDOWN = timedelta(hours=2)


class Cause(StrEnum):
    """Why several accounts fail at once."""

    PROVIDER = "provider"  # no response, 5xx, or a limit of the host
    VAULT = "vault"  # no response, or a wrong one
    CREDENTIALS = "credentials"  # secrets that should work are refused
    NEW_SECRETS = "new_secrets"  # new secrets are refused, or do not work


_BY_BLAME = {
    Blame.PROVIDER: Cause.PROVIDER,
    Blame.VAULT: Cause.VAULT,
    Blame.CREDENTIALS: Cause.CREDENTIALS,
}
# While the provider refuses new secrets or they do not work, a revocation would leave an account with fewer that do.
_OF_NEW_SECRETS = (Code.INVALID_REQUEST, Code.REFUSED, Code.UNVERIFIED)


def shared_cause(outcome: Outcome) -> Cause | None:
    """Return the cause of a failed run that other accounts can share; None if there is none, or it did not fail."""
    if outcome.code is None or outcome.code is Code.VAULT_RATE_LIMITED:
        return None  # a quota is no outage
    return Cause.NEW_SECRETS if outcome.code in _OF_NEW_SECRETS else _BY_BLAME.get(outcome.code.blame)


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """State of the circuit breaker, from the last runs of the accounts. Immutable.

    Attributes:
        failures: How many accounts must fail for one cause.
        window: Of how many accounts that ran last.
        cooldown: The first cooldown.
        recent: The last accounts that ran, each once, the newest last, and the shared cause of their failures.
        cause: Why the breaker is open; None: it is closed.
        until: When the cooldown ends.
        openings: How many times in a row the breaker opened.
        probe: The account whose run tests whether the cause is over.
    """

    failures: int
    window: int
    cooldown: timedelta
    recent: tuple[tuple[str, Cause | None], ...] = ()
    cause: Cause | None = None
    until: datetime | None = None
    openings: int = 0
    probe: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether new rotations wait."""
        return self.cause is not None

    @property
    def allows_revocations(self) -> bool:
        """Whether a run may revoke secrets: not while it is uncertain which secrets work."""
        return self.cause not in (Cause.CREDENTIALS, Cause.NEW_SECRETS)

    def allows_start(self, account: str, now: datetime) -> bool:
        """Return whether a rotation of this account may start, as the probe if the breaker is open."""
        return self.until is None or (now >= self.until and self._has_room(account))

    def allows_urgent_start(self, account: str) -> bool:
        """Return whether a rotation that a person requested urgently may start, also before the cooldown ends."""
        return self._has_room(account)

    def with_probe(self, account: str) -> "CircuitBreaker":
        """Return the breaker after this account's rotation started: it is the probe if the breaker is open."""
        return replace(self, probe=account) if self.is_open else self

    def without_probe(self, account: str) -> "CircuitBreaker":
        """Return the breaker after this account's run ended without any result."""
        return replace(self, probe=None) if self.probe == account else self

    def after(self, outcome: Outcome, now: datetime) -> "CircuitBreaker":
        """Return the breaker after one more run."""
        cause = shared_cause(outcome)
        after = self.without_probe(outcome.account)
        if outcome.result is Result.DEFERRED or (outcome.result is Result.FAILED and cause is None):
            return after
        others = tuple(entry for entry in after.recent if entry[0] != outcome.account)
        after = replace(after, recent=(*others, (outcome.account, cause))[-self.window :])
        if after.until is None:
            alike = sum(entry[1] is cause for entry in after.recent)
            return after._opened(cause, now) if cause is not None and alike >= self.failures else after
        if now < after.until:
            return after  # an urgent rotation: it neither closes the breaker early nor lengthens the cooldown
        if cause is not None:
            return after._opened(cause, now) if self.probe == outcome.account else after
        # A run that started no rotation does not show whether new secrets work.
        if after.cause is Cause.NEW_SECRETS and not outcome.published:
            return after
        return CircuitBreaker(self.failures, self.window, self.cooldown)

    def after_clock_step(self, now: datetime) -> "CircuitBreaker":
        """Return the breaker with a cooldown no longer than the longest one, after the clock was set back."""
        return replace(self, until=min(self.until, now + self._longest_cooldown)) if self.until else self

    @property
    def _longest_cooldown(self) -> timedelta:
        return max(self.cooldown, LONGEST_COOLDOWN)

    def _has_room(self, account: str) -> bool:
        return self.probe in (None, account)

    def _opened(self, cause: Cause, now: datetime) -> "CircuitBreaker":
        # A millisecond doubled 23 times is longer than the longest cooldown; without this limit, it could overflow.
        cooldown = min(self.cooldown * 2 ** min(self.openings, 23), self._longest_cooldown)
        return replace(self, cause=cause, until=now + cooldown, openings=self.openings + 1)
