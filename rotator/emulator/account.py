"""What an account has besides its secrets: its balance, its settings, its limit of calls; imports problems and state.

Every public method is one transaction under a lock, as in the state module.
"""

import re
import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from rotator.emulator.problems import AutoReloadDisabledError, RateLimitedError
from rotator.emulator.state import Clock

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Profile:
    """An account's balance and settings.

    Attributes:
        balance: In euros.
        auto_reload: Whether the account has a payment that may be repeated; without it there is no top-up.
        mo_callback_url: Who is told of inbound messages; empty if nobody.
        dr_callback_url: Who is told of delivery receipts; empty if nobody.
    """

    balance: Decimal = Decimal(10)
    auto_reload: bool = False
    mo_callback_url: str = ""
    dr_callback_url: str = ""


def parse_euros(text: str) -> Decimal:
    """Read an amount, such as "10.50"; ValueError if it is none."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,8})?", text):
        raise ValueError("is not an amount in euros, such as 10.50")
    return Decimal(text)


class Profiles:
    """The profile of every account.

    Args:
        first: How each account starts.
        top_up: What one top-up adds, in euros.
        max_calls_per_second: How many calls an account may make in any second; None for no limit.
        clock: Tells the time, aware UTC.
    """

    def __init__(self, first: Profile, *, top_up: Decimal, max_calls_per_second: int | None, clock: Clock) -> None:
        self._first = first
        self._top_up = top_up
        self._max_calls_per_second = max_calls_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._profiles: dict[str, Profile] = {}
        self._calls: dict[str, deque[float]] = {}

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
    ) -> Profile:
        """Change what is given, leave what is None; returns how the account stands then."""
        with self._lock:
            was = self._profiles.get(api_key, self._first)
            self._profiles[api_key] = Profile(
                was.balance if balance is None else balance,
                was.auto_reload if auto_reload is None else auto_reload,
                was.mo_callback_url if mo_callback_url is None else mo_callback_url,
                was.dr_callback_url if dr_callback_url is None else dr_callback_url,
            )
            return self._profiles[api_key]

    def top_up(self, api_key: str) -> None:
        """Repeat the payment of the auto-reload."""
        with self._lock:
            was = self._profiles.get(api_key, self._first)
            if not was.auto_reload:
                raise AutoReloadDisabledError
            self._profiles[api_key] = replace(was, balance=was.balance + self._top_up)

    def admit(self, api_key: str) -> None:
        """Count a call, or refuse it; a refused one does not count."""
        if self._max_calls_per_second is None:
            return
        with self._lock:
            now = self._clock().timestamp()
            calls = self._calls.setdefault(api_key, deque(maxlen=self._max_calls_per_second))
            if len(calls) == calls.maxlen and now - calls[0] < _SECOND.total_seconds():
                raise RateLimitedError(_SECOND)
            calls.append(now)
