"""The balance and the settings of every account.

Every public method is one transaction under a lock, as in the accounts module.
"""

import re
import threading
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from rotator.emulator.problems import AutoReloadDisabledError

FORWARD_METHODS = ("GET_QUERY_PARAMS", "POST_QUERY_PARAMS", "POST_JSON")


@dataclass(frozen=True, slots=True)
class Profile:
    """An account's balance and settings.

    Attributes:
        balance: In euros.
        auto_reload: Whether the account has a payment that may be repeated; without it there is no top-up.
        mo_callback_url: URL for inbound messages; empty: none.
        dr_callback_url: URL for delivery receipts; empty: none.
        http_forward_method: How callbacks are called, one of `FORWARD_METHODS`; empty if it was never set.
    """

    balance: Decimal = Decimal(10)
    auto_reload: bool = False
    mo_callback_url: str = ""
    dr_callback_url: str = ""
    http_forward_method: str = ""


def parse_euros(text: str) -> Decimal:
    """Read an amount, such as "10.50"; ValueError if it is none."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,8})?", text):
        raise ValueError("is not an amount in euros, such as 10.50")
    return Decimal(text)


class Profiles:
    """The profile of every account.

    Args:
        top_up: Amount that one top-up adds, in euros.
    """

    def __init__(self, first: Profile, *, top_up: Decimal) -> None:
        self._first = first
        self._top_up = top_up
        self._lock = threading.Lock()
        self._profiles: dict[str, Profile] = {}

    def of(self, api_key: str) -> Profile:
        """One account's profile."""
        with self._lock:
            return self._profiles.get(api_key, self._first)

    def change(
        self,
        api_key: str,
        *,
        balance: Decimal | None = None,
        auto_reload: bool | None = None,
        mo_callback_url: str | None = None,
        dr_callback_url: str | None = None,
        http_forward_method: str | None = None,
    ) -> Profile:
        """Change the fields that are given, keep those that are None, and return the result."""
        changes: dict[str, Any] = {
            "balance": balance,
            "auto_reload": auto_reload,
            "mo_callback_url": mo_callback_url,
            "dr_callback_url": dr_callback_url,
            "http_forward_method": http_forward_method,
        }
        with self._lock:
            before = self._profiles.get(api_key, self._first)
            given = {name: value for name, value in changes.items() if value is not None}
            self._profiles[api_key] = replace(before, **given)
            return self._profiles[api_key]

    def top_up(self, api_key: str) -> None:
        """Repeat the payment of the auto-reload."""
        with self._lock:
            was = self._profiles.get(api_key, self._first)
            if not was.auto_reload:
                raise AutoReloadDisabledError
            self._profiles[api_key] = replace(was, balance=was.balance + self._top_up)
