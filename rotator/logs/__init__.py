"""The log, and the masking of secrets in every text that leaves the process.

Errors import this package to mask their text, so it imports nothing of rotator, and structlog only when it is used.
"""

from typing import Literal, TextIO

from rotator.logs.redaction import (
    MASK,
    Redactor,
    escape_control,
    foreign,
    redact,
    register_proxies,
    register_secret,
)

UNFILTERED = "rotator.audit"
"""Name of the standard-library logger whose events are written at any level: the audit log's hashes."""

__all__ = [
    "MASK",
    "UNFILTERED",
    "Redactor",
    "configure",
    "escape_control",
    "foreign",
    "redact",
    "register_proxies",
    "register_secret",
]


def configure(level: str, form: Literal["json", "console"], stream: TextIO | None = None) -> None:
    """Send every logger of the process through one chain.

    Args:
        level: The lowest level that is written: debug, info, warning or error.
        form: One JSON object a line, or text for people.
        stream: Where to; standard error if not given.
    """
    from rotator.logs import logging

    logging.configure(level, form, stream, unfiltered=UNFILTERED)
