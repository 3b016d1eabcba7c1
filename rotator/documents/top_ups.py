"""The document `journal_prefix/NAME/top-ups`: the times of an account's automatic top-ups."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from rotator.core import balance
from rotator.documents.published import format_instant
from rotator.errors import RotatorError
from rotator.vault import Document


class StoredTopUp(BaseModel):
    """A top-up that an instance was about to send."""

    at: datetime
    runner: str


class _TopUps(BaseModel):
    top_ups: list[StoredTopUp] = []


def parse_top_ups(document: Document, path: str, now: datetime) -> list[StoredTopUp]:
    """Return the top-ups that the document contains; none if there is no document.

    Args:
        now: The time, by Vault's clock.

    Raises:
        RotatorError: If it contains something else, or was deleted while top-ups in it counted for the limit.
    """
    is_lost = document.version > 0 and document.data is None
    counted_until = (document.created or now) + balance.LIMITED_WITHIN
    if is_lost and now < counted_until:
        remedy = f"Restore it: {document.undelete}. Otherwise" if document.undelete else "Vault cannot restore it, so"
        raise RotatorError(
            f"{path} was deleted. It contained the top-ups of the last day",
            unchanged="Nothing was topped up",
            next_step=f"{remedy} rotator waits until {format_instant(counted_until)}",
            next_command=None,
        )
    try:
        entries = _TopUps.model_validate(document.data or {}).top_ups
    except ValidationError:
        raise RotatorError(
            f"{path} does not hold what rotator noted of its top-ups",
            unchanged="Nothing was topped up",
            next_step=f"Restore its last good version N: {document.rollback}",
            next_command=None,
        ) from None
    return [entry.model_copy(update={"at": _aware(entry.at)}) for entry in entries]


def render_top_ups(entries: Sequence[StoredTopUp]) -> dict[str, Any]:
    """Return the content of the document."""
    return _TopUps(top_ups=list(entries)).model_dump(mode="json")


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
