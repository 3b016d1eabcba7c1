"""The request of a command, and whether a journal contains it."""

from dataclasses import dataclass

from pydantic import SecretStr

from rotator.core.protocol.journal import Journal, Request
from rotator.core.protocol.leaks import leaked_requests
from rotator.core.protocol.requests import speaks_of


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a command makes it.

    Attributes:
        request: The request. A journal contains it once a run has written it there.
        secret: The secret that the command wants replaced.
    """

    request: Request
    secret: SecretStr | None

    @classmethod
    def of(cls, request: Request | None, secret: SecretStr | None) -> "Asked | None":
        """Return the request of a command for this secret; None if it makes none."""
        return None if request is None else cls(request, secret)

    def recorded_in(self, journal: Journal) -> Request | None:
        """Return the recorded request that does what the command asked for; None if the journal contains none.

        That is the command's own request, also if a later one for another secret took its place, or a request for the
        same secret that is not weaker. A request for another secret does nothing for this one.
        """
        own = self.request
        known = journal.request
        if known is None or known.id == own.id:
            return known
        if own.id in leaked_requests(journal):
            return own
        same = known.of == own.of if known.value_digest is None else speaks_of(known, self.secret)
        return known if same and known.kind.strength >= own.kind.strength else None
