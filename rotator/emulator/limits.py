"""How many calls a key may make, and the headers that tell about it."""

import math
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rotator.emulator.faults import Fault
from rotator.emulator.problems import RateLimitedError

ResetUnit = Literal["s", "ms"]
USUAL_CALLS = 30
"""Calls in the usual limits: each second as the provider grants them, each hour as its headers describe them."""

_SECOND = timedelta(seconds=1)
_PERIODS = {"s": _SECOND, "m": timedelta(minutes=1), "h": timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class Limit:
    """Calls that a key may make in each period; a period begins with the first call after the previous one."""

    calls: int
    period: timedelta


def parse_limit(text: str) -> Limit:
    """Read CALLS/PERIOD, such as "30/h"; ValueError if it is not."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,3})?([smh])", text)
    if match is None:
        raise ValueError(f"{text!r} is not CALLS/PERIOD, such as 30/h or 5/10s")
    return Limit(int(match[1]), int(match[2] or 1) * _PERIODS[match[3]])


@dataclass(frozen=True, slots=True)
class Budget:
    """Calls of a limit that a key has left, and when it has all of them again."""

    limit: int
    remaining: int
    reset_at: datetime

    def headers(self, unit: ResetUnit) -> dict[str, str]:
        """The headers about it, with the reset in seconds or milliseconds of Unix time."""
        milliseconds = round(self.reset_at.timestamp() * 1000)
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(milliseconds if unit == "ms" else math.ceil(milliseconds / 1000)),
        }


@dataclass(frozen=True, slots=True)
class LimitHeaders:
    """The headers about limits that the emulator sends.

    Attributes:
        budget: Whether X-RateLimit-* are among them.
        reset_unit: The unit of X-RateLimit-Reset.
        retry_after: Whether Retry-After is one of them.
    """

    budget: bool
    reset_unit: ResetUnit
    retry_after: bool

    def of_refusal(self, retry_after: timedelta, budget: Budget) -> dict[str, str]:
        """The headers of a 429."""
        headers = self.of_answer(budget)
        return headers | retry_after_header(retry_after) if self.retry_after else headers

    def of_answer(self, budget: Budget | None) -> dict[str, str]:
        """The headers of any other answer."""
        return budget.headers(self.reset_unit) if self.budget and budget is not None else {}


def retry_after_header(duration: timedelta) -> dict[str, str]:
    """The header that says when to come back."""
    return {"Retry-After": str(math.ceil(duration.total_seconds()))}


class Limits:
    """Counts the calls of every key. Every public method is one transaction under a lock.

    Args:
        per_second: Calls that a key may make in any second; None for no such limit.
        limit: Calls that it may make in a longer period; None for no such limit.
    """

    def __init__(
        self, per_second: int | None, limit: Limit | None, headers: LimitHeaders, clock: Callable[[], datetime]
    ) -> None:
        self._per_second = per_second
        self._limit = limit
        self.headers = headers
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[str, deque[datetime]] = {}
        self._periods: dict[str, tuple[datetime, int]] = {}

    def admit(self, api_key: str) -> Budget | None:
        """Count a call and return the budget it leaves, if there is one; a refused call does not count."""
        with self._lock:
            now = self._clock()
            calls = self._calls.setdefault(api_key, deque(maxlen=self._per_second or 0))
            if self._per_second is not None and len(calls) == self._per_second and now - calls[0] < _SECOND:
                budget = Budget(self._per_second, 0, calls[0] + _SECOND)
                raise RateLimitedError(self.headers.of_refusal(_SECOND, budget))
            budget_left = self._take(api_key, now)
            calls.append(now)
            return budget_left

    def headers_of_fault(self, fault: Fault) -> dict[str, str]:
        """The headers that a fault of 429 asks for, or else those that the emulator sends anyway."""
        ahead = fault.reset or fault.delay
        if ahead is None:
            return {}
        calls = USUAL_CALLS if self._limit is None else self._limit.calls
        budget = Budget(calls, 0, self._clock() + ahead)
        if fault.reset_unit is None:
            return self.headers.of_refusal(ahead, budget)
        return budget.headers(fault.reset_unit) | ({} if fault.delay is None else retry_after_header(fault.delay))

    def _take(self, api_key: str, now: datetime) -> Budget | None:
        if self._limit is None:
            return None
        began, count = self._periods.get(api_key, (now, 0))
        if now - began >= self._limit.period:
            began = now
            count = 0
        reset_at = began + self._limit.period
        if count == self._limit.calls:
            raise RateLimitedError(self.headers.of_refusal(reset_at - now, Budget(count, 0, reset_at)))
        self._periods[api_key] = (began, count + 1)
        return Budget(self._limit.calls, self._limit.calls - count - 1, reset_at)
