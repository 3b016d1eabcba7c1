"""Ids and numbers as messages show them."""

from collections.abc import Set


def names_of(ids: Set[str]) -> str:
    """Return the ids, sorted, as one text."""
    return ", ".join(sorted(ids))


def count_of(ids: Set[str]) -> str:
    """Return how many secrets these are."""
    return "a secret" if len(ids) == 1 else f"{len(ids)} secrets"


MOVE_FIRST = "If consumers use such a secret, move them to the published secret first. Then revoke it"
"""Advice about a secret that is not rotator's, before the command that revokes it."""
