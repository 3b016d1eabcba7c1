"""The whole configuration: its sections, and the rules between them."""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator

from rotator.config.accounts import AccountSettings, BalanceSettings, Defaults, inherit, inherit_balance
from rotator.config.process import AuditSettings, DaemonSettings, LogSettings
from rotator.config.servers import AccountApiSettings, VaultSettings
from rotator.config.types import PlacedError, Section, format_duration
from rotator.errors import ConfigError


class Settings(Section):
    """The whole configuration, checked."""

    vault: VaultSettings = Field(description="Vault or OpenBao.")
    account_api: AccountApiSettings = Field(
        default_factory=AccountApiSettings, description="The Account API of the provider."
    )
    defaults: Defaults = Field(default_factory=Defaults, description="Defaults of the accounts.")
    balance: BalanceSettings = Field(default_factory=BalanceSettings, description="Balances and automatic top-ups.")
    accounts: tuple[AccountSettings, ...] = Field(min_length=1, description="The accounts to rotate.")
    daemon: DaemonSettings = Field(default_factory=DaemonSettings, description="How rotator works.")
    log: LogSettings = Field(default_factory=LogSettings, description="The log.")
    audit: AuditSettings = Field(default_factory=AuditSettings, description="The audit log.")

    @cached_property
    def _by_name(self) -> dict[str, AccountSettings]:
        return {account.name: account for account in self.accounts}

    def account(self, name: str) -> AccountSettings:
        """The account of that name.

        Raises:
            ConfigError: If no account has it.
        """
        found = self._by_name.get(name)
        if found is not None:
            return found
        known = ", ".join(account.name for account in self.accounts[:10])
        more = f" and {len(self.accounts) - 10} more" if len(self.accounts) > 10 else ""  # noqa: PLR2004
        raise ConfigError(f'No account is named "{name}"; configured are {known}{more}')

    def _in_journals(self, path: str) -> bool:
        return path == self.vault.journal_prefix or path.startswith(f"{self.vault.journal_prefix}/")

    def journal_path(self, account: AccountSettings) -> str:
        """Where the account's journal stands, below vault.mount."""
        return f"{self.vault.journal_prefix}/{account.name}"

    @property
    def fleet_path(self) -> str:
        """The path of the fleet document, below vault.mount: no account's name begins with an underscore."""
        return f"{self.vault.journal_prefix}/_fleet"

    def top_ups_path(self, account: AccountSettings) -> str:
        """Where the account's automatic top-ups are noted, below vault.mount: no journal's name has a slash in it."""
        return f"{self.vault.journal_prefix}/{account.name}/top-ups"

    @model_validator(mode="before")
    @classmethod
    def _inherit_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        defaults = values.get("defaults")
        balance = values.get("balance")
        accounts = values.get("accounts")
        if not isinstance(accounts, list):
            return values
        if isinstance(defaults, dict):
            accounts = [inherit(defaults, account) for account in accounts]
        if isinstance(balance, dict):
            accounts = [inherit_balance(balance, account) for account in accounts]
        return values | {"accounts": accounts}

    @model_validator(mode="after")
    def _fleet(self) -> Self:
        for attribute in ("name", "path", "api_key"):
            _refuse_repeats(attribute, (getattr(account, attribute) for account in self.accounts))
        published = {account.path for account in self.accounts}
        for index, account in enumerate(self.accounts):
            place = ("accounts", index)
            _check_primary(account, self._by_name, (*place, "primary"))
            if self._in_journals(account.path):
                raise PlacedError(
                    f'account "{account.name}": path "{account.path}" is inside vault.journal_prefix, '
                    "which consumers must not be able to read",
                    (*place, "path"),
                )
            trx_path = account.top_up.trx_path
            trx_places = ((*place, "top_up", "trx_path"), ("balance", "top_up", "trx_path"))
            if trx_path in published:
                raise PlacedError(
                    f'account "{account.name}": top_up.trx_path "{trx_path}" is a published document, '
                    "which consumers can read",
                    *trx_places,
                )
            if trx_path is not None and self._in_journals(trx_path):
                raise PlacedError(
                    f'account "{account.name}": top_up.trx_path "{trx_path}" is inside '
                    "vault.journal_prefix, where only rotator's own documents are",
                    *trx_places,
                )
        if (
            self.daemon.concurrency / self.account_api.max_calls_per_second
            > self.account_api.timeout.total_seconds() / 2
        ):
            raise PlacedError(
                f"daemon.concurrency ({self.daemon.concurrency}) is too high for account_api.max_calls_per_second "
                f"({self.account_api.max_calls_per_second:g}): half of account_api.timeout would be over before a "
                "request's turn",
                ("daemon", "concurrency"),
                ("account_api", "max_calls_per_second"),
                ("account_api", "timeout"),
            )
        if self.daemon.lease < 3 * self.account_api.timeout:
            raise PlacedError(
                f"daemon.lease ({format_duration(self.daemon.lease)}) has to be at least three times "
                f"account_api.timeout ({format_duration(self.account_api.timeout)}): work has to fit in it",
                ("daemon", "lease"),
                ("account_api", "timeout"),
            )
        return self


def _refuse_repeats(attribute: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise PlacedError(f'two accounts have the {attribute} "{value}"', ("accounts", index, attribute))
        seen.add(value)


def _check_primary(account: AccountSettings, by_name: dict[str, AccountSettings], place: tuple[str | int, ...]) -> None:
    if account.primary is None:
        return
    primary = by_name.get(account.primary)
    if primary is None:
        close = get_close_matches(account.primary, by_name.keys() - {account.name}, n=1)
        meant = f'. Did you mean "{close[0]}"?' if close else ""
        raise PlacedError(f'account "{account.name}": its primary "{account.primary}" is not configured{meant}', place)
    if primary is account:
        raise PlacedError(f'account "{account.name}" cannot be its own primary', place)
    if primary.primary is not None:
        raise PlacedError(
            f'account "{account.name}": its primary "{primary.name}" is itself a secondary of "{primary.primary}"',
            place,
        )
