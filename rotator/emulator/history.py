"""The secrets of an account at any instant, and the lists that faults make of them.

A history is immutable, so that it fits into the states of a search as well as into the emulator:

    history = History[str]().add("id-1", "first").add("id-2", "second", since=noon)
    history.current                                              # {"id-1": "first", "id-2": "second"}
    listed(history, parse_fault("list:lag:20s"), noon + 5 * SECOND)  # {"id-1": "first"}
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

from rotator.emulator.faults import LONGEST_LAG, Fault

T = TypeVar("T")


@dataclass(frozen=True)
class Span(Generic[T]):
    """The time in which an id exists.

    Attributes:
        since: The first instant; None if the id always existed.
        until: The first instant without it; None if it still exists.
    """

    id: str
    item: T
    since: datetime | None
    until: datetime | None = None

    def covers(self, instant: datetime) -> bool:
        """Whether the id exists at an instant."""
        return (self.since is None or self.since <= instant) and (self.until is None or instant < self.until)


@dataclass(frozen=True)
class History(Generic[T]):
    """Items by id, oldest first, with the time in which each exists."""

    spans: tuple[Span[T], ...] = ()

    @property
    def current(self) -> dict[str, T]:
        """Items that have not been removed."""
        return {span.id: span.item for span in self.spans if span.until is None}

    def at(self, instant: datetime) -> dict[str, T]:
        """Items that exist at an instant."""
        return {span.id: span.item for span in self.spans if span.covers(instant)}

    def add(self, id_: str, item: T, *, since: datetime | None = None) -> "History[T]":
        """Add an item; without `since` it always existed."""
        return History((*self.spans, Span(id_, item, since)))

    def remove(self, id_: str, at: datetime) -> "History[T]":
        """Remove an item, and forget the items that no lagging list can show any more."""
        spans = (
            replace(span, until=at) if span.id == id_ and span.until is None else span
            for span in self.spans
            if span.until is None or span.until + LONGEST_LAG > at
        )
        return History(tuple(spans))


def listed(history: History[T], fault: Fault | None, now: datetime) -> dict[str, T]:
    """The items that a list shows under a fault of its content; all current items without one.

    Faults that hide an item never hide the only one.
    """
    if fault is None:
        return history.current
    if fault.name == "lag" and fault.delay is not None:
        return history.at(now - fault.delay)
    shown = history.current
    if len(shown) > 1:
        ids = list(shown)
        hidden = ids[-1] if fault.name == "stale" else fault.secret_id or ids[0]
        shown.pop(hidden, None)
    return shown
