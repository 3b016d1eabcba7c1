"""The published document, which consumers read."""

import re
from datetime import UTC, datetime

from pydantic import SecretStr

from rotator.config import AccountSettings
from rotator.core.instants import is_plausible
from rotator.core.protocol import Published
from rotator.logs import register_secret
from rotator.vault import Document

_ID = re.compile(r"[\x21-\x7e]{1,200}")


def parse_published(document: Document, account: AccountSettings) -> Published:
    """Return rotator's fields of a published document; a field of the wrong type counts as missing."""
    names = account.fields
    data = document.data or {}
    value = data.get(names.api_secret)
    secret = value if isinstance(value, str) and value else None
    secret_id = data.get(names.secret_id)
    api_key = data.get(names.api_key)
    of_value = (names.api_secret,) if secret is None else ()
    overwritten = (names.api_key, *of_value, names.secret_id, names.rotated_at)
    return Published(
        version=document.version,
        written_at=document.created,
        expires_at=document.expires_at,
        path=account.path,
        field=names.api_secret,
        api_key=api_key if isinstance(api_key, str) and api_key else None,
        secret=None if secret is None else register_secret(SecretStr(secret), passing=True),
        lacks_value=document.data is not None and secret is None,
        has_fields=bool(data),
        overwritten=tuple(name for name in overwritten if data.get(name)),
        undelete=document.undelete,
        secret_id=secret_id if isinstance(secret_id, str) and _ID.fullmatch(secret_id) else None,
        rotated_at=parse_instant(data.get(names.rotated_at)),
    )


def format_instant(at: datetime | None) -> str | None:
    """Return an instant as documents store it: ISO 8601 in UTC, with a Z."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(value: object) -> datetime | None:
    """Return the instant that a document's field contains; None if there is none that rotator can calculate with.

    An instant without a time zone is UTC.
    """
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at if is_plausible(at) else None
