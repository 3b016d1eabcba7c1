"""Reads balances and tops up accounts.

rotator writes the document of the top-ups with check-and-set before it sends one. So restarts and replicas never exceed
the limit: the second writer gets a conflict and sends nothing. The limit goes by Vault's clock, as leases do: an
instance's own clock can be hours wrong.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from pydantic import SecretStr

from rotator.audit import Act, Entry
from rotator.config import AccountSettings
from rotator.core import balance
from rotator.core.balance import Reading, Rules, SharedClock, TopUp, Withheld
from rotator.core.protocol import expires_soon
from rotator.documents import StoredTopUp, parse_top_ups, render_top_ups
from rotator.errors import Command, RotatorError
from rotator.fleet.account_view import asking, published_credentials
from rotator.fleet.fleet import Fleet
from rotator.logs import register_secret
from rotator.provider import LostAnswer
from rotator.vault import CasConflict, Document

_log = structlog.get_logger()


def balance_of(name: str) -> Command:
    """Return the command that shows the balance of an account."""
    return Command.of("account", "balance", name)


@dataclass(frozen=True, slots=True)
class TopUpService:
    """Reads balances of a fleet's accounts, and tops them up."""

    fleet: Fleet

    def rules(self, account: AccountSettings) -> Rules | None:
        """Return the account's rules; None if the account is disabled or rotator reads no balances."""
        every = self.fleet.settings.balance.every
        return Rules(every, account.balance_threshold, account.top_up.per_day) if every and account.enabled else None

    def read(self, account: AccountSettings) -> Reading:
        """The account's balance, asked with its published secret.

        Raises:
            RotatorError: If it could not be had.
        """
        credentials = published_credentials(self.fleet, account)
        at = self.fleet.now()
        with asking(account, balance_of(account.name)):
            found = self.fleet.provider.get_balance(credentials)
        return Reading(found.euros, found.auto_reload, at)

    def top_up(self, account: AccountSettings, reading: Reading, rules: Rules) -> TopUp | Withheld:
        """Top the account up if that is allowed.

        Raises:
            RotatorError: If nothing was sent, because of Vault or of the payment's reference.
        """
        path = self.fleet.settings.top_ups_path(account)
        asked_at = self.fleet.now()
        if (withheld := balance.why_not(reading, rules, (), asked_at)) is not None:
            return withheld
        document = self.fleet.vault.read(path)
        clock = SharedClock(document.read_at, asked_at, self.fleet.now())
        now = clock.now
        noted = parse_top_ups(document, path, now)
        shared_reading = replace(reading, at=clock.shared(reading.at))
        withheld = balance.why_not(shared_reading, rules, [entry.at for entry in noted], now)
        if withheld is not None:
            self._refresh(path, document, now)
            return withheld
        trx = self.payment_reference(account)
        credentials = published_credentials(self.fleet, account)
        counted = balance.recent([entry.at for entry in noted], now)
        new = StoredTopUp(at=clock.latest(self.fleet.now()), runner=self.fleet.instance)
        entries = [*(entry for entry in noted if entry.at in counted), new]
        try:
            self.fleet.vault.write(path, render_top_ups(entries), cas=document.version)
        except CasConflict:
            return Withheld.ARRIVING  # another replica was faster
        return self._sent(account, lambda: self.fleet.provider.top_up(credentials, trx))

    def _refresh(self, path: str, document: Document, now: datetime) -> None:
        """Write the document again, unchanged, before Vault deletes it by itself: the limit would be forgotten."""
        if document.data is None or not expires_soon(document.created, document.expires_at, now):
            return
        with suppress(CasConflict):  # another replica has just written it
            self.fleet.vault.write(path, document.data, cas=document.version)

    def _sent(self, account: AccountSettings, send: Callable[[], str]) -> TopUp:
        entry = Entry(Act.TOP_UP, account.name, account.api_key, self.fleet.instance, trigger="low_balance")
        try:
            with asking(account, balance_of(account.name)), self.fleet.audit.acting(entry, required=True):
                request_id = send()
        except LostAnswer as error:
            _log.error("balance.top_up_unanswered", account=account.name, error=str(error))
            return TopUp.UNANSWERED
        except RotatorError as error:
            _log.error("balance.top_up_failed", account=account.name, error=str(error))
            return TopUp.FAILED
        _log.warning("balance.topped_up", account=account.name, request_id=request_id)
        return TopUp.OK

    def payment_reference(self, account: AccountSettings) -> SecretStr:
        """Return the reference of the payment that is repeated (`trx`).

        Raises:
            RotatorError: If the place that the configuration names does not contain it, or Vault cannot be asked.
        """
        source = account.top_up
        if source.trx_path is not None:
            where = f"{source.trx_field} of {source.trx_path}"
            value: Any = (self.fleet.vault.read(source.trx_path).data or {}).get(source.trx_field)
        else:
            where = "the variable that top_up.trx_env names"
            value = os.environ.get(source.trx_env or "")
        if not isinstance(value, str) or not value.strip():
            raise RotatorError(
                f"The reference of the payment for {account.name} is not in {where}",
                unchanged="Nothing was topped up",
                next_step="Put it there, or set top_up.per_day = 0",
                next_command=None,
            )
        return register_secret(SecretStr(value.strip()), passing=True)
