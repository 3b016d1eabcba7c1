"""Instants that a server or a document can mean."""

from datetime import UTC, datetime

# Vault's longest duration is 292 years. An instant in these bounds can be moved by any duration and into any time zone.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(3000, 1, 1, tzinfo=UTC)


def is_plausible(at: datetime) -> bool:
    """Whether an aware instant is one that rotator can calculate with: no date such as 0001-01-01 or 9999-12-31."""
    return _EARLIEST <= at < _LATEST
