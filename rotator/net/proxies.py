"""The proxy for an address, as the environment names it: one rule for the provider and for Vault."""

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from rotator.errors import ConfigError
from rotator.net.addresses import Origin

_SOCKS = ("socks4", "socks4a", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        origin: Its scheme, host and port. Errors name it.
        credentials: User and password, if its URL contains them.
        variable: The variable that names it.
    """

    origin: Origin
    credentials: tuple[bytes, bytes] | None = field(default=None, repr=False)
    variable: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"the proxy {self.origin} ({self.variable})"

    def advice(self, status: str) -> str:
        """Return the next step after an answer of the proxy itself."""
        if status == "407":
            return f"Put the credentials of the proxy into {self.variable}: http://USER:PASSWORD@HOST:PORT"
        if status.startswith("5"):
            return f"Examine the proxy in {self.variable}, and its way to the server"
        return f"Have the proxy in {self.variable} let rotator's requests pass, or add the server to NO_PROXY"


def find_proxy(target: Origin) -> Proxy | None:
    """Return the proxy for a server; None if rotator connects to the server directly.

    `HTTP_PROXY` is for `http` addresses, `HTTPS_PROXY` for `https` addresses, and `ALL_PROXY` for both. There is never
    a proxy for the loopback interface, nor for an address in `NO_PROXY`.

    Raises:
        ConfigError: If the variable does not contain the URL of an HTTP proxy.
    """
    proxies = getproxies()
    variable = target.scheme if proxies.get(target.scheme) else "all"
    url = proxies.get(variable, "")
    if not url or target.is_loopback or _is_exempt(target, proxies.get("no", "")):
        return None
    if "://" not in url:
        url = f"http://{url}"
    scheme = url.partition("://")[0].lower()
    proxy = None if scheme in _SOCKS else _parse(url, f"{variable.upper()}_PROXY")
    if proxy is None:  # raised here, where no exception contains the URL with its password
        kind = "a SOCKS proxy, which rotator does not support" if scheme in _SOCKS else "not the URL of an HTTP proxy"
        raise ConfigError(
            f"{variable.upper()}_PROXY, the proxy for {target}, is {kind}",
            next_step=f"Set {target.scheme.upper()}_PROXY to http://HOST:PORT, or add {target.host} to NO_PROXY",
        )
    return proxy


def _parse(url: str, variable: str) -> Proxy | None:
    try:
        parts = urlsplit(url)
        credentials = None
        if parts.username is not None:
            credentials = (unquote(parts.username).encode(), unquote(parts.password or "").encode())
        return Proxy(Origin.of(url), credentials, variable)
    except ValueError:
        return None


def _is_exempt(target: Origin, no_proxy: str) -> bool:
    """Whether `NO_PROXY` contains the server: by name, by domain, by IP address or by network, each with any port."""
    return any(_matches(entry, target) for entry in no_proxy.lower().replace(",", " ").split())


def _matches(entry: str, target: Origin) -> bool:
    if entry == "*":
        return True
    name, port = _split_port(entry)
    if port and port != str(target.port):
        return False
    try:
        return ipaddress.ip_address(target.host) in ipaddress.ip_network(name, strict=False)
    except ValueError:  # the entry, or the host, is a name
        domain = name.removeprefix("*").removeprefix(".").removesuffix(".")
        host = target.host.removesuffix(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _split_port(entry: str) -> tuple[str, str]:
    """Split `host:port`, `[address]:port` and `[address]`; an IPv6 address or network without brackets has no port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        # The brackets of a network can enclose the address alone: [fd00::]/8.
        return (name + rest, "") if rest.startswith("/") else (name, rest.removeprefix(":"))
    name, _, port = entry.partition(":")
    return (entry, "") if ":" in port else (name, port)
