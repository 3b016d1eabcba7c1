"""Accounts whose job could not be set, and whether that concerns every account; pure."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Planning:
    """State of the last attempts to set jobs. Immutable.

    Attributes:
        failed: The accounts without a job, in the order in which they are tried again.
        in_a_row: Failures since a job was last set.
        concerned: The accounts of these failures.
        reason: The last failure.
    """

    failed: tuple[str, ...] = ()
    in_a_row: int = 0
    concerned: frozenset[str] = frozenset()
    reason: str | None = None

    def after_failure(self, account: str, reason: str) -> "Planning":
        """With an account whose job could not be set; it is the last to be tried again."""
        return Planning(
            failed=(*self._without(account), account),
            in_a_row=self.in_a_row + 1,
            concerned=self.concerned | {account},
            reason=reason,
        )

    def after_success(self, account: str, *, job_set: bool) -> "Planning":
        """With an account that was planned.

        Args:
            account: The account.
            job_set: Whether a job was set. Otherwise none was needed, which proves nothing.
        """
        if job_set:
            return Planning(failed=self._without(account))
        return replace(self, failed=self._without(account))

    def trouble(self, accounts: int) -> str | None:
        """Why no account can be planned; None if planning works, or if a failure may be one account's own.

        Args:
            accounts: The number of accounts. Repeated failures of the only account count as common ones.
        """
        common = self.in_a_row > 1 and len(self.concerned) >= min(accounts, 2)
        return self.reason if common else None

    def _without(self, account: str) -> tuple[str, ...]:
        return tuple(name for name in self.failed if name != account)
