"""Whether a callback URL may be taken: its form, and whether it answers."""

import asyncio
import ipaddress
import re

import httpx

from rotator.emulator.problems import InvalidCallbackError

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = rf"\[(?:::1|{_GROUP}(?::{_GROUP}){{7}})\]"  # written out, or this machine: the rest of its grammar is long
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
URL = rf"https?://(?:{_LABEL}(?:\.{_LABEL})*|{_IPV6})(?::(?:{_PORT}))?(?:[/?#][!-~]*)?"
"""A callback URL, without anchors: no user in it, and no character that a URL would have to escape."""
LONGEST = 2048
TIMEOUT = 5.0  # seconds


def require_url(name: str, text: str) -> None:
    """Refuse what is no callback."""
    if len(text) > LONGEST:
        raise InvalidCallbackError(name, f"longer than {LONGEST} characters")
    if not re.fullmatch(URL, text):
        raise InvalidCallbackError(name, "not an http or https URL")


async def require_answer(name: str, url: str) -> None:
    """Call it, and refuse it unless it answers 200 in time: on this machine only, and no redirect is followed."""
    try:
        address = httpx.URL(url)
        if not _is_loopback(address.host):
            raise InvalidCallbackError(name, "the emulator calls loopback addresses only")
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("GET", address) as response,
        ):
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        raise InvalidCallbackError(name, "does not answer") from None
    if status != httpx.codes.OK:
        raise InvalidCallbackError(name, f"answered {status}, not 200")


def _is_loopback(host: str) -> bool:
    """Return whether a host is this machine. Other names can change their meaning after they were resolved."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
