"""Parts of messages that several rules use."""

from collections.abc import Iterable, Set

from rotator.core.failures import Command
from rotator.core.protocol.observation import Published

# A message names this many ids at most, and counts the others. A provider can list thousands.
MAX_NAMED = 5


def names_of(ids: Set[str]) -> str:
    """Return the ids, sorted, as one text."""
    return listed(sorted(ids))


def listed(words: Iterable[str]) -> str:
    """Return the words as one text: the first few, and how many more there are."""
    known = list(words)
    more = len(known) - MAX_NAMED
    named = ", ".join(known[:MAX_NAMED])
    return f"{named} and {more} more" if more > 0 else named


def count_of(ids: Set[str]) -> str:
    """Return how many secrets these are."""
    return "a secret" if len(ids) == 1 else f"{len(ids)} secrets"


def without_value(published: Published) -> str:
    """Return why the newest version of a published document contains no value."""
    if published.lacks_value:
        return f"the newest version of the published document has no value in the field {published.field}"
    return "the newest version of the published document is deleted"


MOVE_FIRST = "If consumers use such a secret, move them to the published secret first. Then revoke it"
"""Advice about a secret that is not rotator's, before the command that revokes it."""


NAME_BOTH = "Name its id, and the other secret to revoke after the grace period"
"""Advice about a secret whose id is one of several, before the command that `naming` returns."""


def naming(account: str, possible: Set[str], given: tuple[str, ...] = ()) -> Command:
    """Return the adoption that names which of the possible ids is the secret's.

    To name that id alone would not tell what the other ids are.

    Args:
        account: Name of the account.
        possible: The ids.
        given: The options that bring the value. Without one, the command takes the published value.
    """
    others = min(len(possible) - 1, MAX_NAMED)
    return Command.of("adopt", account, *given, "--secret-id", "ID", *("--retire", "OTHER_ID") * others)


def waiting_run(account: str) -> Command:
    """Return the command that waits for the end of a deferral, and then continues."""
    return Command.of("rotate-now", account, "--wait", "5m")
