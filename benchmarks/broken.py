"""A rotator that breaks its protocol, to see whether the campaign notices.

python -m benchmarks.chaos 120 --accounts 60 --module "benchmarks.broken unverified"
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from rotator import protocol
from rotator.cli import main
from rotator.protocol import Credential, Listing
from rotator.rotation import Rotation


def unverified() -> None:
    """Publishes what the provider says it created, without a try."""
    look = Rotation._list

    def pretend(self: Rotation, using: Credential) -> None:
        created = self.seen.created_id
        if using is not Credential.CANDIDATE or created is None:
            look(self, using)
            return
        ids = {*self.journal.ids_before, created}
        self.seen = replace(self.seen, listing=Listing(using, dict.fromkeys(ids, datetime.now(UTC))))

    Rotation._list = pretend  # type: ignore[method-assign]


def graceless() -> None:
    """Revokes what was replaced at once, though a create may still be on its way."""

    def at_once(self: protocol._Case, entry: protocol.Retiring) -> datetime:  # noqa: ARG001
        return self.now

    protocol._Case.may_retire = at_once  # type: ignore[method-assign]


BREAKS: dict[str, Callable[[], None]] = {"unverified": unverified, "graceless": graceless}

if __name__ == "__main__":
    BREAKS[sys.argv.pop(1)]()
    main()
