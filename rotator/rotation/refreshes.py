"""When the documents of an account have to be written again, because Vault would delete them."""

from datetime import datetime, timedelta

from rotator.core.protocol import CLOCK_RESOLUTION, Situation, half_life
from rotator.documents import StoredJournal


class Refreshes:
    """Knows when half the life of both documents is over, by Vault's clock."""

    def __init__(self) -> None:
        self._life: timedelta | None = None
        self._journal: datetime | None = None

    def read(self, stored: StoredJournal) -> None:
        """Take in a journal that was read."""
        self._journal = half_life(stored.written_at, stored.expires_at)
        if stored.written_at is not None and stored.expires_at is not None:
            self._life = stored.expires_at - stored.written_at

    def wrote(self, now: datetime) -> None:
        """Take in that the journal was written. It lives as long as the version before."""
        self._journal = now + self._life / 2 if self._life is not None else None

    def next_at(self, case: Situation) -> datetime | None:
        """Return when a later run has to write one of them again, by this instance's clock.

        None if neither expires as far as this run knows, or if this run had to do it and could not.
        """
        published = case.seen.published
        halves = [self._journal]
        if published.secret is not None:
            halves.append(half_life(published.written_at, published.expires_at))
        half = case.local(min((half for half in halves if half is not None), default=None))
        at = half + CLOCK_RESOLUTION if half is not None else None
        return at if at is not None and at > case.now else None
