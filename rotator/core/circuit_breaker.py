"""The fleet brake, pure: when accounts fail alike, it is not about the accounts.

A rotation that begins while the provider or Vault is in trouble gains nothing and may leave an account half done. So
when k of the last n accounts failed for one kind of reason, no new rotation begins for a while. After that one account
is the trial: if it goes well everything goes on, if not the brake holds for twice as long.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.core.failures import Blame, Code
from rotator.core.protocol import Outcome, Result

LONGEST_HOLD = timedelta(hours=2)


class Trouble(StrEnum):
    """What a fleet can be in."""

    PROVIDER = "provider"  # it does not answer, answers 5xx, or wants to be left alone
    VAULT = "vault"  # it does not answer, or not as it should
    CREDENTIALS = "credentials"  # secrets that should work are refused
    NEW_SECRETS = "new_secrets"  # new secrets are refused, or do not work


_BY_BLAME = {
    Blame.PROVIDER: Trouble.PROVIDER,
    Blame.VAULT: Trouble.VAULT,
    Blame.CREDENTIALS: Trouble.CREDENTIALS,
}
# While the provider refuses new secrets or they do not work, revoking would leave accounts with fewer that do.
_OF_NEW_SECRETS = (Code.INVALID_REQUEST, Code.REFUSED, Code.UNVERIFIED)


def trouble(outcome: Outcome) -> Trouble | None:
    """What a failed run says about the fleet; None if it did not fail, or for a reason of its account's own."""
    if outcome.code is None or outcome.code is Code.VAULT_RATE_LIMITED:
        return None  # a quota is no outage
    return Trouble.NEW_SECRETS if outcome.code in _OF_NEW_SECRETS else _BY_BLAME.get(outcome.code.blame)


@dataclass(frozen=True, slots=True)
class Brake:
    """What the last runs say together. Never changed, only replaced.

    Attributes:
        failures: How many accounts have to fail alike.
        of_last: Out of how many that were run last.
        hold: How long the brake holds at first.
        recent: The last accounts that were run, each once, the newest last, and what they said.
        engaged: Why no new rotation begins; None: the brake is off.
        until: When a trial may be made.
        holds: How often in a row it was engaged.
        trial: The account on trial.
    """

    failures: int
    of_last: int
    hold: timedelta
    recent: tuple[tuple[str, Trouble | None], ...] = ()
    engaged: Trouble | None = None
    until: datetime | None = None
    holds: int = 0
    trial: str | None = None

    def lets_begin(self, account: str, now: datetime) -> bool:
        """Whether a rotation of this account may begin, be it as the trial."""
        if self.engaged is None or self.until is None:
            return True
        return now >= self.until and self.trial in (None, account)

    def tried(self, account: str) -> "Brake":
        """With this account's rotation begun: the trial, if there is to be one."""
        return replace(self, trial=account) if self.engaged else self

    @property
    def lets_revoke(self) -> bool:
        """Whether anything may be revoked: not while it is in doubt which secrets work."""
        return self.engaged not in (Trouble.CREDENTIALS, Trouble.NEW_SECRETS)

    def noted(self, outcome: Outcome, now: datetime) -> "Brake":
        """With what one more run says."""
        said = trouble(outcome)
        on_trial = self.trial == outcome.account
        after = replace(self, trial=None) if on_trial else self
        if outcome.result is Result.DEFERRED or (outcome.result is Result.FAILED and said is None):
            return after
        others = tuple(entry for entry in after.recent if entry[0] != outcome.account)
        after = replace(after, recent=(*others, (outcome.account, said))[-self.of_last :])
        if after.engaged is None:
            alike = sum(entry[1] is said for entry in after.recent)
            return after._engage(said, now) if said is not None and alike >= self.failures else after
        if said is not None:
            return after._engage(said, now) if on_trial else after
        # A run that began nothing tells nothing about whether new secrets work.
        good = outcome.published or after.engaged is not Trouble.NEW_SECRETS
        over = after.until is not None and now >= after.until
        return replace(self, recent=(), engaged=None, until=None, holds=0, trial=None) if good and over else after

    def clock_set(self, now: datetime) -> "Brake":
        """With an end that is no further away than any can be: a clock that was set back had put it off."""
        return replace(self, until=min(self.until, now + self._longest_hold)) if self.until else self

    @property
    def _longest_hold(self) -> timedelta:
        return max(self.hold, LONGEST_HOLD)

    def _engage(self, why: Trouble, now: datetime) -> "Brake":
        hold = min(self.hold * 2 ** min(self.holds, 16), self._longest_hold)
        return replace(self, engaged=why, until=now + hold, holds=self.holds + 1, trial=None)
