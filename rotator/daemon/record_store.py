"""The records of all accounts, and what is shown of them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from rotator.config import Settings
from rotator.daemon import timing
from rotator.daemon.account_record import AccountRecord
from rotator.daemon.balance_monitor import BalanceMonitor
from rotator.errors import Code
from rotator.fleet import Shard
from rotator.monitoring import AccountStatus, describe


class RecordStore:
    """The records by account name, in the order of the configuration. Used by the registry's thread only.

    Args:
        shard: Which part of the fleet belongs to this process; None: all of it.
    """

    def __init__(self, shard: Shard | None, balances: BalanceMonitor) -> None:
        self._shard = shard
        self._balances = balances
        self._records: dict[str, AccountRecord] = {}
        self._statuses: dict[str, AccountStatus] = {}
        self._secondaries: dict[str, list[str]] = {}
        self._unread: set[str] = set()
        self._verifying: set[str] = set()
        self.enabled = 0
        """How many accounts are enabled."""

    @property
    def all(self) -> Mapping[str, AccountRecord]:
        """All records."""
        return MappingProxyType(self._records)

    @property
    def statuses(self) -> tuple[AccountStatus, ...]:
        """Statuses of the accounts, for display."""
        return tuple(self._statuses.values())

    @property
    def unread(self) -> int:
        """How many journals were neither read nor found unreadable."""
        return len(self._unread)

    @property
    def verifying(self) -> int:
        """How many accounts wait for a candidate that does not authenticate yet."""
        return len(self._verifying)

    def get(self, name: str) -> AccountRecord | None:
        """Return an account's record; None if there is no such account."""
        return self._records.get(name)

    def put(self, record: AccountRecord) -> None:
        """Replace an account's record."""
        self._records[record.name] = record
        _set_member(self._unread, record.name, record.is_unread)
        _set_member(self._verifying, record.name, record.is_verifying)

    def secondaries(self, name: str) -> tuple[AccountRecord, ...]:
        """Return the records of an account's secondary accounts."""
        return tuple(self._records[secondary] for secondary in self._secondaries.get(name, ()))

    def load_settings(self, settings: Settings, now: datetime, *, moved: bool) -> list[str]:
        """Follow the settings that are in force from now on.

        Args:
            moved: Whether all documents are at another place now.

        Returns:
            The accounts that belonged to this process until now.
        """
        mine = [account for account in settings.accounts if self._shard is None or self._shard.owns(account)]
        before = self._records
        statuses = self._statuses
        self._records = {}
        self._statuses = {}
        self._secondaries = defaultdict(list)
        self._unread = set()
        self._verifying = set()
        self.enabled = sum(account.enabled for account in mine)
        for account in mine:
            if account.primary is not None:
                self._secondaries[account.primary].append(account.name)
            record = before.get(account.name)
            if record is None:
                # Spread, so that the daemon does not try all accounts at once one interval after its start.
                record = AccountRecord(account, now - settings.daemon.verify_interval * timing.share(account.name))
                self._statuses[account.name] = describe(account, None)
            else:
                self._statuses[account.name] = statuses[account.name]
            self.put(record.with_settings(account, moved=moved))
        return [name for name in before if name not in self._records]

    def show(self, record: AccountRecord) -> None:
        """Bring up to date what is shown of an account."""
        self._statuses[record.name] = describe(
            record.settings,
            record.journal,
            error=record.error,
            failure=record.code,
            retry_at=record.retry.at,
            balance=self._balances.status(record),
        )

    def show_balance(self, record: AccountRecord) -> None:
        """Bring up to date what is shown of an account's balance."""
        self._statuses[record.name] = replace(self._statuses[record.name], balance=self._balances.status(record))

    def show_failure(self, name: str, error: str) -> None:
        """Show an internal error that keeps anything else from being shown of an account."""
        self._statuses[name] = replace(self._statuses[name], last_error=error, failure=Code.INTERNAL_ERROR)


def _set_member(members: set[str], name: str, belongs: bool) -> None:  # noqa: FBT001 - private
    if belongs:
        members.add(name)
    else:
        members.discard(name)
