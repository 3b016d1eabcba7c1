"""A rotator that publishes what it did not try, to see whether the campaign notices.

python -m benchmarks.chaos 75 --seed 102 --calm 5 --accounts 30 --module benchmarks.broken
"""

from dataclasses import replace
from datetime import UTC, datetime

from rotator.cli import main
from rotator.core.protocol import Credential, Listing
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


if __name__ == "__main__":
    unverified()
    main()
