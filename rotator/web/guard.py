"""Refuse requests that are not plain questions to a known name."""

import ipaddress
import socket
from collections.abc import Callable, Iterable

from rotator.web.answers import Request, Response, error

# Probes come with any name, and these answers say nothing of the fleet.
_ANY_HOST = frozenset({"/healthz", "/readyz"})


class Guard:
    """The check of each request.

    Args:
        allowed_hosts: Returns the names in the Host header that are allowed, besides IP addresses, "localhost" and this
            machine's name. "*.NAME" allows every name below NAME.
    """

    def __init__(self, allowed_hosts: Callable[[], Iterable[str]]) -> None:
        self._allowed_hosts = allowed_hosts
        self._own_names = frozenset({"localhost", socket.gethostname().lower()})

    def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is refused, or None."""
        if request.method not in ("GET", "HEAD"):
            return error(405, "only GET and HEAD", {"Allow": "GET, HEAD"}, closes=True)
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            return error(413, "a request must not have a body", closes=True)
        if request.path not in _ANY_HOST and not self._allows(request.headers.get("host", "")):
            return error(403, "unknown host name; daemon.allowed_hosts can allow it")
        return None

    def _allows(self, host: str) -> bool:
        """Return whether a Host header is allowed.

        A web site can make its own name resolve to rotator's address (DNS rebinding), but it cannot use another name. A
        client without the header is no browser.
        """
        name = _without_port(host).lower().rstrip(".")
        if not host or name in self._own_names or _is_ip_address(name):
            return True
        return any(_matches(name, allowed.lower()) for allowed in self._allowed_hosts())


def _matches(name: str, allowed: str) -> bool:
    return name.endswith(allowed.removeprefix("*")) if allowed.startswith("*.") else name == allowed


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
