"""Checks that both clients make on an HTTP answer before they use its body.

An answer can come from another program than the server, such as a proxy's error page or a login page. Errors repeat
text only from documents of a media type that the server itself uses. Of any other body, `described` gives the size and
the media type.
"""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from rotator.core.instants import is_plausible

JSON = "application/json"
PROBLEM = "application/problem+json"
XML = ("application/xml", "text/xml")
# A media type is foreign text as well: these are named, any other is not repeated.
_NAMED = (JSON, PROBLEM, *XML, "text/html", "text/plain", "application/octet-stream")
_STRUCTURE = (b",", b"[", b"{", b"<")
# The longest body to accept, in bytes, and the most values in it. A list of 14,000 secrets takes 2.5 MB, 84,000 values.
MAX_CONTENT = 4 << 20
_MAX_VALUES = 100_000


def media_type(header: str | None) -> str:
    """The media type that a Content-Type header names, without parameters; empty if there is none."""
    return (header or "").partition(";")[0].strip().lower()


def is_encoded(header: str | None) -> bool:
    """Whether a Content-Encoding header says that the body is compressed: a small one can decode to gigabytes."""
    return (header or "").strip().lower() not in {"", "identity"}


def described(kind: str, size: int) -> str:
    """A body in words that contain nothing of it."""
    if not size:
        return "without content"
    if not kind:
        return f"with {size} bytes of no media type"
    return f"with {size} bytes of {kind if kind in _NAMED else 'another media type'}"


def parse_date(header: str | None) -> datetime | None:
    """Return the instant of a Date header, aware; None if it has none, or one that no server means."""
    at = parse_any_date(header)
    return at if at is not None and is_plausible(at) else None


def parse_any_date(header: str | None) -> datetime | None:
    """Return the instant of an HTTP header, aware UTC or with the zone that it names; None if it has none."""
    try:
        at = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def check_structure(content: bytes) -> None:
    """Check that a JSON or XML document cannot become too many values.

    A parsed value takes up to 150 bytes, however short it is in the document. Characters in strings count, too, so the
    limit has to be far above what any real document contains.

    Raises:
        ValueError: If it can become more.
    """
    if sum(map(content.count, _STRUCTURE)) > _MAX_VALUES:
        raise ValueError("the document contains too many values")


def parse_json(content: bytes, **options: Any) -> Any:
    """Parse a document, unless it can become too many values.

    Args:
        content: The document.
        options: For `json.loads`.

    Raises:
        ValueError: If it is no JSON, nested too deeply or can become too many values.
    """
    check_structure(content)
    try:
        return json.loads(content, **options)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None
