"""Parts of messages that several rules use."""

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass

from rotator.core.failures import Command
from rotator.core.protocol.journal import Journal
from rotator.core.protocol.observation import Published

# A message names this many ids at most, and counts the others. A provider can list thousands.
MAX_NAMED = 5
_FOR_GOOD = "Vault cannot restore it", "Instead"


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
    return number(ids, "a secret", f"{len(ids)} secrets")


def number(ids: Collection[object], one: str, several: str) -> str:
    """Return the words that agree with the number of the ids."""
    return one if len(ids) == 1 else several


def without_value(published: Published) -> str:
    """Return why the newest version of a published document contains no value."""
    if published.lacks_value:
        return f"the newest version of the published document has no value in the field {published.field}"
    state = "destroyed" if published.undelete is None else "deleted"
    return f"the newest version of the published document is {state}"


def without_withheld(versions: Set[int]) -> str:
    """Return that rotator does not publish these versions of the document, as the end of a sentence; empty if none."""
    if not versions:
        return ""
    word = number(versions, "version", "versions")
    numbers = listed(str(version) for version in sorted(versions))
    return f", and rotator does not publish {word} {numbers}, which might be compromised"


@dataclass(frozen=True, slots=True)
class Loss:
    """A published secret that consumers cannot read any more.

    Attributes:
        finding: How it was lost.
        remedy: How to restore it, or that this is impossible.
        otherwise: The beginning of the sentence about the other way out.
    """

    finding: str
    remedy: str
    otherwise: str

    def advice(self, other_way: str) -> str:
        """Return both ways out."""
        return f"{self.remedy}. {self.otherwise}, {other_way}"


def loss(journal: Journal, published: Published) -> Loss | None:
    """Return how the published secret was lost; None if it is published, or none ever was."""
    path = journal.published_path
    if published.secret is not None or not (published.version or journal.published_version):
        return None
    if path is not None and published.path is not None and path != published.path:
        what = f"nothing is published at {published.path}, and the last published secret is at {path}"
        return Loss(what, "Correct the path of the account", "If the new path is right")
    if not published.version:
        return Loss("the published document was deleted with all its versions", *_FOR_GOOD)
    what = without_value(published)
    if published.lacks_value:
        return Loss(what, "If the field has another name, correct the configuration", "Otherwise")
    return Loss(what, *restoring(published.undelete))


def restoring(undelete: str | None) -> tuple[str, str]:
    """Return how to restore a deleted document, and the beginning of the sentence about the other way out."""
    return _FOR_GOOD if undelete is None else (f"Restore it: {undelete}", "If that is impossible")


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
