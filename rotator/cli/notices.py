"""Warnings of the log that concern the user of a command, in sentences. `Progress` shows the waits of accounts."""

import logging
from collections.abc import Mapping
from typing import Any

from rotator.cli.terminal import echo
from rotator.errors import visible

_SENTENCES = {
    "audit.lost": "the audit log lacks a line of this command: {error}",
    "file.permissions_too_open": "{file}: {reason}. To correct it: {next_step}",
    "provider.in_plain_text": "requests to {host} are not encrypted. {next_step}",
    "provider.secrets_in_urls": "the URLs of requests to {host} contain the secret, because of {setting}",
    "provider.tls_verification_off": "the certificate of {host} is not verified",
    "vault.in_plain_text": "requests to Vault at {address} are not encrypted. {next_step}",
    "vault.tls_verification_off": "the certificate of Vault at {address} is not verified",
    "vault.token_expiring": "rotator's Vault token expires at {until} and cannot be renewed. {next_step}",
}


class Notices(logging.Handler):
    """Prints each of these warnings once, on standard error.

    Args:
        failures_only: Whether to print only those that report a failure.
    """

    def __init__(self, *, failures_only: bool) -> None:
        super().__init__(logging.ERROR if failures_only else logging.WARNING)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Take an event."""
        sentence = _sentence(record.msg) if isinstance(record.msg, dict) else None
        if sentence is None or sentence in self._printed:
            return
        self._printed.add(sentence)
        echo(visible(f"warning: {sentence.rstrip('.')}."), stderr=True)


def _sentence(event: Mapping[str, Any]) -> str | None:
    template = _SENTENCES.get(str(event.get("event")))
    return None if template is None else template.format_map(event)
