"""Pace of the requests to one host of the provider, and holds after a 429.

The provider documents neither the size nor the scope of its limits. So a 429 holds only the API key that authenticated
the request, because other keys usually have limits of their own. Three different keys that are limited within a minute
are evidence of a limit of the host, and then the limiter holds all keys. With one or two keys in use it need not know
their number: it holds each limited key anyway.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.net import parse_any_date, parse_date

HOST_LIMIT_KEYS = 3
"""Number of different keys whose limits, within a minute, hold the whole host."""

HEADERS = ("date", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
"""Names of the headers that this module reads, in lower case."""

_SHORTEST_HOLD = timedelta(seconds=1)
_LONGEST_DEFAULT = timedelta(minutes=1)
_LONGEST_RESET = timedelta(hours=1)
_LONGEST_RETRY_AFTER = timedelta(days=1)
_HOST_WINDOW = timedelta(minutes=1)
# A Unix time in seconds reaches this in the year 5138; one in milliseconds passed it in 1973.
_MILLISECONDS_FROM = 10**11


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests that the provider still allows an API key, by its last answer.

    Attributes:
        remaining: Requests left until the limit is reset.
        limit: Requests that the provider allows from one reset to the next; None if unknown.
    """

    remaining: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Hold:
    """A time during which no request may be sent.

    Attributes:
        left: The rest of that time.
        of_host: Whether the host is held for all keys.
    """

    left: timedelta
    of_host: bool


def requested_wait(headers: Mapping[str, str]) -> timedelta | None:
    """How long a 429 asks to wait; None if no header says it.

    An instant is compared with the answer's own `Date`, because the local clock may be wrong. Without a `Date`, it says
    nothing. A time that is over says nothing either: the provider has just refused a request.

    Args:
        headers: The answer's headers, by their names in lower case.
    """
    answered_at = parse_date(headers.get("date"))
    wait = _retry_after(headers.get("retry-after", ""), answered_at)
    if wait is not None and wait > timedelta():
        return min(max(wait, _SHORTEST_HOLD), _LONGEST_RETRY_AFTER)
    wait = _until_reset(headers.get("x-ratelimit-reset", ""), answered_at)
    if wait is not None and wait > timedelta():
        return min(max(wait, _SHORTEST_HOLD), _LONGEST_RESET)
    return None


def remaining_budget(headers: Mapping[str, str]) -> Budget | None:
    """The budget that an answer contains; None if it contains none."""
    remaining, limit = (_count(headers.get(f"x-ratelimit-{name}", "")) for name in ("remaining", "limit"))
    return None if remaining is None else Budget(remaining, limit)


@dataclass(slots=True)
class _LimitedKey:
    limited_at: float
    held_until: float = 0.0
    shortest: timedelta = timedelta()


class RateLimiter:
    """Pace and holds of one host; safe to use from several threads.

    Args:
        calls_per_second: Requests that may be sent in any second.
        monotonic: Clock in seconds, from any start; it never jumps.
    """

    def __init__(self, calls_per_second: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._sent: deque[float] = deque(maxlen=max(1, int(calls_per_second)))
        self._window = (self._sent.maxlen or 1) / calls_per_second
        self._limited: dict[str, _LimitedKey] = {}
        self._host_held_until = 0.0
        self._lock = threading.Lock()

    def take_turn(self) -> float:
        """Take the next turn; return the seconds to wait for it."""
        with self._lock:
            now = self._monotonic()
            full = len(self._sent) == self._sent.maxlen
            at = max(now, self._sent[0] + self._window) if full else now
            self._sent.append(at)
            return at - now

    def record_limit(self, api_key: str, wait: timedelta | None) -> timedelta:
        """Hold a key after a 429, and the host if enough keys were limited lately.

        Args:
            api_key: The key that authenticated the request.
            wait: How long the provider asks to wait; None if it does not say. The key is held for one second at least,
                and for twice as long at each further 429, up to a minute.

        Returns:
            How long the key is held from now on.
        """
        with self._lock:
            now = self._monotonic()
            key = self._limited.setdefault(api_key, _LimitedKey(now))
            # A request that was under way when the hold began is no new evidence.
            if key.held_until <= now:
                key.shortest = min(max(key.shortest * 2, _SHORTEST_HOLD), _LONGEST_DEFAULT)
            wait = max(wait or key.shortest, key.shortest)
            key.limited_at = now
            key.held_until = max(key.held_until, now + wait.total_seconds())
            self._hold_host(now, wait)
            return timedelta(seconds=key.held_until - now)

    def _hold_host(self, now: float, wait: timedelta) -> None:
        window = _HOST_WINDOW.total_seconds()
        if sum(now - key.limited_at <= window for key in self._limited.values()) >= HOST_LIMIT_KEYS:
            self._host_held_until = max(self._host_held_until, now + min(wait.total_seconds(), window))

    def record_answer(self, api_key: str) -> None:
        """Forget a key's 429s after another answer, unless the key is held: the request was sent before that."""
        with self._lock:
            key = self._limited.get(api_key)
            if key is not None and key.held_until <= self._monotonic():
                del self._limited[api_key]

    def hold(self, api_key: str) -> Hold | None:
        """The hold that a request of this key has to wait for; None if it may be sent."""
        with self._lock:
            now = self._monotonic()
            key = self._limited.get(api_key)
            of_key = key.held_until - now if key else 0.0
            of_host = self._host_held_until - now
        left = max(of_key, of_host)
        return Hold(timedelta(seconds=left), of_host=of_host >= of_key) if left > 0 else None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _retry_after(text: str, answered_at: datetime | None) -> timedelta | None:
    """Both forms of the header, seconds and date."""
    if re.fullmatch(r"[0-9]+", text):
        return timedelta(seconds=min(int(text[:9]), _LONGEST_RETRY_AFTER.total_seconds()))
    at = parse_any_date(text)  # however far it lies ahead, the wait has a limit
    return None if at is None or answered_at is None else at - answered_at


def _until_reset(text: str, answered_at: datetime | None) -> timedelta | None:
    if answered_at is None or not re.fullmatch(r"[0-9]{1,15}", text):
        return None
    reset = int(text) / 1000 if int(text) >= _MILLISECONDS_FROM else int(text)
    return timedelta(seconds=reset - answered_at.timestamp())
