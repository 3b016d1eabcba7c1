"""Where a request goes: scheme, host and port of an address."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of an `http` or `https` address.

    Attributes:
        scheme: `http` or `https`.
        host: The name or the IP address in lower case; an IPv6 address without brackets.
        port: The port, also if the address does not name one.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, address: str) -> "Origin":
        """Read an address.

        Raises:
            ValueError: If it is not the URL of an HTTP server.
        """
        parts = urlsplit(address)
        if parts.scheme not in _PORTS or not parts.hostname or not parts.hostname.isascii():
            raise ValueError("is not the URL of an HTTP server")
        return cls(parts.scheme, parts.hostname, _PORTS[parts.scheme] if parts.port is None else parts.port)

    @property
    def location(self) -> str:
        """Host and port, as a URL and a Host header spell them."""
        return f"{self.url_host}:{self.port}"

    @property
    def url_host(self) -> str:
        """The host; an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether traffic to it stays on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def in_plain_text(self) -> bool:
        """Whether others on the network can read traffic to it."""
        return self.scheme == "http" and not self.is_loopback

    def __str__(self) -> str:
        return f"{self.scheme}://{self.location}"
