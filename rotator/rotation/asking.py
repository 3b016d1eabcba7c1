"""The request of a run's caller."""

from collections.abc import Callable
from datetime import datetime

from rotator.core.protocol import Asked, Journal, Observation, Published, Request, answered_in, is_recorded

MakeRequest = Callable[[Journal, Published, datetime | None], Asked | None]
"""Makes a request from both documents, and the time at which they were read by the clock that stored them."""


class Asking:
    """Has the request of a run's caller made, once both documents were read.

    Args:
        make: Makes it; None: there is no request.

    Attributes:
        asked: The request, whatever became of it; None if there is none.
    """

    def __init__(self, make: MakeRequest | None) -> None:
        self._make = make
        self._journal_then = Journal()
        self.asked: Asked | None = None

    def look(self, seen: Observation, journal: Journal, read_at: datetime | None) -> Request | None:
        """Return the caller's request, until a journal write contains it.

        While nothing is published, it is for a value that is not known. The caller means the value, too, that is
        published in its place: it can be the same one.

        Args:
            seen: The published document, and what else the run knows.
            journal: The journal as Vault has it.
            read_at: When that was, by the clock that stored them; None if Vault does not tell that.
        """
        again = self.asked is not None
        is_published = seen.published.secret is not None
        if self._make is None or (again and not is_published):
            return seen.request
        if not again:
            self._journal_then = journal
        if again and _is_created_since(self._journal_then, seen, journal):
            self._make = None
            return None
        is_carried_out = again and _is_first_published(seen, journal)
        made = None if is_carried_out else self._make(journal, seen.published, read_at)
        if made is None or is_published:
            self._make = None
        self.asked = made or self.asked
        return seen.request if made is None else made.request


def _is_first_published(seen: Observation, journal: Journal) -> bool:
    """Return whether the published value is a candidate that no earlier version can have contained.

    A version between the recorded one and the published one can have: an earlier run published it and died.
    """
    follows = seen.published.version == journal.published_version + 1
    is_candidate = journal.candidate is not None and seen.published.secret == journal.candidate
    return is_candidate and (seen.prepared_here or follows)


def _is_created_since(then: Journal, seen: Observation, journal: Journal) -> bool:
    """Return whether another run has created the published value since the caller asked: no earlier version had it."""
    current = journal.current
    if current is None or not current.is_answered or not is_recorded(journal, seen.published):
        return False
    return then.candidate != seen.published.secret and current.id not in answered_in(then)
