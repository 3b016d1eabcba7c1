"""The document `journal_prefix/NAME/top-ups`: the times of an account's automatic top-ups."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ValidationError

from rotator.core import balance
from rotator.core.instants import is_plausible
from rotator.documents.published import format_instant
from rotator.errors import RotatorError
from rotator.vault import Document


def _instant(at: datetime) -> datetime:
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not is_plausible(at):
        raise ValueError("is no instant of a top-up")
    return at


class StoredTopUp(BaseModel):
    """A top-up that an instance was about to send."""

    at: Annotated[datetime, AfterValidator(_instant)]
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
        return _TopUps.model_validate(document.data or {}).top_ups
    except ValidationError:
        raise RotatorError(
            f"{path} does not hold what rotator noted of its top-ups",
            unchanged="Nothing was topped up",
            next_step=f"Restore its last good version N: {document.rollback}",
            next_command=None,
        ) from None


def render_top_ups(entries: Sequence[StoredTopUp]) -> dict[str, Any]:
    """Return the content of the document."""
    return _TopUps(top_ups=list(entries)).model_dump(mode="json")
