"""The dates of Vault's answers. A proxy, a standby or the node before a failover can have given them."""

from datetime import datetime
from typing import Any

from rotator.core.protocol import told_at
from rotator.documents import written_note
from rotator.vault import Document


class Dates:
    """Knows whether the clock that dates Vault's answers is behind the one that stores versions, once that showed."""

    def __init__(self) -> None:
        self._are_behind = False

    def read(self, *documents: Document) -> None:
        """Take in answers."""
        self._are_behind = self._are_behind or any(_is_from_future(document) for document in documents)

    def noted(self, journal: dict[str, Any], version: int, at: datetime) -> dict[str, Any]:
        """Return a rendered journal, with the time of its write if the time of its storage does not tell it.

        Args:
            journal: The rendered journal.
            version: The version that the write makes.
            at: The time, or a later one, by the clock that dates the answers.
        """
        return journal | written_note(version, at) if self._are_behind else journal


def time_of(journal: Document, published: Document, latest: datetime) -> datetime | None:
    """Return when both documents were read, by the clock that stored them; None if Vault does not tell that.

    Args:
        journal: The journal's document.
        published: The published document.
        latest: The latest time at which it was read, by the date of the journal's answer: two nodes can have answered.
    """
    answers = ((journal.read_at, journal.created), (published.read_at, published.created), (latest, published.created))
    return None if any(told_at(*answer) is None for answer in answers) else journal.read_at


def _is_from_future(document: Document) -> bool:
    return document.read_at is not None and told_at(document.read_at, document.created) is None
