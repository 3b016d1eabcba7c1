"""What was computed recently, so that it is not computed again."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Results by what they were computed from: at least the last `size` that were wanted, at most twice as many.

    A search goes through its states level by level, so that what no state of a level needs is soon needed by none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: dict[Hashable, T] = {}
        self._old: dict[Hashable, T] = {}

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what was computed for the key, or compute it."""
        if key in self._new:
            return self._new[key]
        found = self._old[key] if key in self._old else compute()
        self._new[key] = found
        if len(self._new) >= self._size:
            self._old, self._new = self._new, {}
        return found
