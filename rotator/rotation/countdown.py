"""The time that is left of a wait."""

from collections.abc import Callable
from datetime import timedelta

Monotonic = Callable[[], float]
"""Returns seconds that only grow, from any start."""


class Countdown:
    """Measures a wait. A clock that is set back while it lasts must not make it longer.

    Args:
        lasts: How long the wait may take from now on.
        monotonic: Measures it.

    Attributes:
        ends: When it is over, by the same measure.
    """

    def __init__(self, lasts: timedelta, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self.ends = monotonic() + lasts.total_seconds()

    @property
    def left(self) -> timedelta:
        """How long it may take from now on; nothing if it is over."""
        return timedelta(seconds=max(0.0, self.ends - self._monotonic()))
