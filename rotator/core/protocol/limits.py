"""How often one run repeats itself, and how many ids a journal contains."""

from collections.abc import Set

# How often one run sends the same unanswered request.
MAX_SENDS = 3
# How many values the provider may refuse in one run.
MAX_VALUES = 3
# How many lists may disagree before an id cannot be eliminated.
MAX_RESTARTS = 3
# How many ids one field of a journal contains. A provider can list thousands; an account has a few.
MAX_STORED_IDS = 100


def stored_ids(ids: Set[str]) -> frozenset[str]:
    """Return those of the ids that a journal contains: the first ones.

    An id that is left out can only make the published secret's id more doubtful, never more certain.
    """
    return frozenset(sorted(ids)[:MAX_STORED_IDS])
