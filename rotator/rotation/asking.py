"""The request of a run's caller."""

from collections.abc import Callable
from datetime import datetime

from rotator.core.protocol import Asked, Journal, Published, Request, Situation

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
        self.asked: Asked | None = None

    def look(self, case: Situation, read_at: datetime | None) -> Request | None:
        """Return the caller's request, until a journal write contains it.

        While nothing is published, it is for a value that is not known. The caller means the value, too, that is
        published in its place: it can be the same one.

        Args:
            case: Both documents as they were read.
            read_at: When that was, by the clock that stored them; None if Vault does not tell that.
        """
        again = self.asked is not None
        is_published = case.seen.published.secret is not None
        if self._make is None or (again and not is_published):
            return case.seen.request
        is_carried_out = again and _is_first_published(case)
        made = None if is_carried_out else self._make(case.stored, case.seen.published, read_at)
        if made is None or is_published:
            self._make = None
        self.asked = made or self.asked
        return case.seen.request if made is None else made.request


def _is_first_published(case: Situation) -> bool:
    """Return whether the published value is a candidate that no earlier version can have contained.

    A version between the recorded one and the published one can have: an earlier run published it and died.
    """
    follows = case.seen.published.version == case.stored.published_version + 1
    return case.candidate_published and (case.seen.prepared_here or follows)
