"""Pace of one Vault session after Vault limited its rate.

Vault and OpenBao answer 429 when a rate limit quota (`sys/quotas/rate-limit`) is used up. They do not tell the quota's
rate, and it can be shared with other clients. So the session measures it: after a 429 it sends nothing until the time
that the answer names, then four fifths of the requests per second that Vault last accepted, from all threads together.
After a minute without a 429 the session sends at full speed again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

# Servers name whole seconds and round down: "0" means within a second.
_ROUNDED = 1.0
_LONGEST_RETRY_AFTER = 3600
_WINDOW = 1.0
_SHARE = 0.8
_SLOWEST = 0.2
# Where Vault accepted nothing lately.
_UNMEASURED = 2.0
_FORGOTTEN_AFTER = 60.0


def parse_retry_after(header: str | None) -> float:
    """The seconds that a Retry-After header names; 0 if it names none."""
    text = (header or "").strip()
    return min(float(text[:6]), _LONGEST_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0


class Throttle:
    """Decides when a request may be sent; safe to use from several threads.

    Args:
        on_slowed: Called with the new requests per second, once for each slow-down.
    """

    def __init__(
        self,
        on_slowed: Callable[[float], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._on_slowed = on_slowed
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._accepted: deque[float] = deque(maxlen=10_000)
        self._rate: float | None = None
        self._slowed_at = self._held_until = self._next = 0.0

    @property
    def rate(self) -> float | None:
        """Requests per second at the moment; None if they are not limited."""
        with self._lock:
            return self._current_rate(self._monotonic())

    def admit(self, longest: float) -> float | None:
        """Wait until a request may be sent.

        Args:
            longest: How many seconds to wait at most.

        Returns:
            How many seconds it waited; None, at once, if it would have to wait longer.
        """
        begun = self._monotonic()
        while True:
            with self._lock:
                now = self._monotonic()
                rate = self._current_rate(now)
                if rate is None:
                    return now - begun
                turn = max(now, self._next, self._held_until)
                if turn - begun > longest:
                    return None
                self._next = turn + 1 / rate
            if turn > now:
                self._sleep(turn - now)
            with self._lock:
                if self._monotonic() >= self._held_until:
                    return self._monotonic() - begun

    def accepted(self) -> None:
        """Vault did not limit a request."""
        with self._lock:
            self._accepted.append(self._monotonic())

    def limited(self, sent_at: float, retry_after: float) -> None:
        """Vault answered 429.

        Args:
            sent_at: When the request was sent, by the same clock.
            retry_after: How many seconds the answer asks to wait.
        """
        with self._lock:
            now = self._monotonic()
            self._held_until = max(self._held_until, now + retry_after + _ROUNDED)
            self._next = max(self._next, self._held_until)
            rate = self._current_rate(now)
            if rate is not None and sent_at < self._slowed_at:
                return  # sent together with the one that slowed the session down
            recent = sum(at > now - _WINDOW for at in self._accepted)
            measured = min(rate, recent or rate) if rate is not None else max(recent, _UNMEASURED)
            self._rate = slower = max(_SLOWEST, _SHARE * measured)
            self._slowed_at = now
        self._on_slowed(slower)

    def _current_rate(self, now: float) -> float | None:
        if self._rate is not None and now > max(self._slowed_at, self._held_until) + _FORGOTTEN_AFTER:
            self._rate = None
        return self._rate
