"""One HTTP request to a Vault server, in bounded time.

hvac asks through an adapter, and this is what that adapter sends with: urllib3 itself, which costs half of what
requests costs on top of it. A request is over when its time is up, however slowly bytes drip in. Only the system's name
look-up, and trying one address of a name after the other, cannot be cut short.
"""

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import certifi
import requests.utils
import urllib3
from urllib3 import exceptions as failures
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rotator import __version__
from rotator.config import VaultSettings, is_loopback
from rotator.errors import ConfigError
from rotator.logs import register_proxies
from rotator.net.answers import is_encoded, media_type, parse_date
from rotator.vault.throttle import parse_retry_after

OnRequest = Callable[[str, str, float], None]
"""Told of each request: the operation, the HTTP status or what came instead of one, the seconds it took."""

# The servers keep no document above 1 MiB by default; what a token may do at 500 paths takes 0.2 MiB.
_MAX_BODY = 4 << 20
_MAX_REDIRECTS = 3
_KEEP_METHOD = (307, 308)
_REDIRECTS = (301, 302, 303, *_KEEP_METHOD)
# What of a request's time a connection may take, but never less than a second of it: the rest is for the next address.
_CONNECT_SHARE, _CONNECT_LEAST = 0.2, 1.0
_NOT_SENT = (
    failures.NewConnectionError,
    failures.ConnectTimeoutError,
    failures.ProxyError,
    failures.LocationValueError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server, or a proxy in front of it, answered.

    Attributes:
        status: The HTTP status.
        content: The body, still compressed if the server compressed it unasked.
        media_type: What kind of document the body is said to be; empty if it is compressed.
        retry_after: The seconds that the answer asks to wait.
    """

    status: int
    content: bytes = field(repr=False)
    media_type: str = field(default="", repr=False)
    retry_after: float = 0.0


class Unanswered(Exception):
    """There was no answer.

    Attributes:
        kind: A short name for what happened instead.
        reason: The library's or the system's own words.
        sent: Whether the request may have reached the server.
        cut: Whether the connection ended, as one does that was kept for too long.
        redirected_to: The address that a redirect led to and that did not answer; empty without a redirect.
    """

    redirected_to = ""

    def __init__(self, kind: str, reason: str = "", *, sent: bool, cut: bool = False) -> None:
        super().__init__(kind)
        self.kind, self.reason, self.sent, self.cut = kind, reason, sent, cut

    @property
    def code(self) -> str:
        """What metrics say in place of an HTTP status."""
        return "no_answer" if self.sent else "not_sent"


class RedirectReason(Enum):
    """Why a redirect is not followed."""

    NOT_A_URL = "not a URL"
    PLAIN_TEXT = "plain text"
    METHOD = "method"
    LOOP = "loop"


class RedirectRefused(Exception):
    """The server redirects the request, and rotator does not follow. The server did not carry it out.

    Attributes:
        reason: Why not.
        status: The HTTP status of the redirect.
        target: The address that it leads to; empty if that is unknown.
    """

    def __init__(self, reason: RedirectReason, status: int, target: str = "") -> None:
        super().__init__(reason.value)
        self.reason, self.status, self.target = reason, status, target


class Http:
    """Connections to the servers of one Vault, kept alive; safe to use from several threads.

    Args:
        settings: How to reach them.
        pool_size: How many connections to a server are kept.
        on_request: Told of each request.
    """

    def __init__(self, settings: VaultSettings, *, pool_size: int, on_request: OnRequest) -> None:
        self._timeout = settings.timeout.total_seconds()
        self._on_request = on_request
        register_proxies()
        self._managers = {address: _manager(settings, address, pool_size) for address in settings.addresses}
        # What a server answered last is to be known to whichever server this thread asks next.
        self._seen = threading.local()

    def send(
        self,
        operation: str,
        method: str,
        address: str,
        path: str,
        *,
        headers: Mapping[str, str],
        until: float,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> Answer:
        """Send a request to the server at that address, and where that one redirects it to.

        Args:
            operation: What `on_request` is told.
            method: GET or POST.
            address: One of the configured ones.
            path: Below the address.
            headers: The token and the namespace.
            until: When it has to be over, by the monotonic clock; `settings.timeout` may end it before.
            params: The query.
            body: What is sent as JSON.

        Raises:
            Unanswered: If there is no answer.
            RedirectRefused: If it is a redirect that rotator does not follow.
        """
        url = f"{address}{path}" + (f"?{urlencode(params)}" if params else "")
        content = None if body is None else json.dumps(body).encode()
        until = min(until, time.monotonic() + self._timeout)
        redirected_to = ""
        for _ in range(_MAX_REDIRECTS):
            try:
                answer, location = self._exchange(
                    operation, method, url, address=address, headers=headers, content=content, until=until
                )
            except Unanswered as error:
                error.redirected_to = redirected_to
                raise
            if not location or answer.status not in _REDIRECTS:
                return answer
            url = _redirected(url, method, answer.status, location)
            redirected_to = _address(url)
        raise RedirectRefused(RedirectReason.LOOP, answer.status, redirected_to)

    @property
    def answered_at(self) -> datetime | None:
        """When the server sent the last answer that this thread got, by the server's clock; None if it did not say."""
        at: datetime | None = getattr(self._seen, "answered_at", None)
        return at

    def _exchange(
        self,
        operation: str,
        method: str,
        url: str,
        *,
        address: str,
        headers: Mapping[str, str],
        content: bytes | None,
        until: float,
    ) -> tuple[Answer, str | None]:
        begun = time.monotonic()
        left = until - begun
        if left <= 0:
            raise Unanswered("Timeout", "no time was left", sent=False)
        connect = min(left, max(_CONNECT_SHARE * left, _CONNECT_LEAST))
        problem = None
        try:
            response = self._managers[address].urlopen(
                method,
                url,
                body=content,
                headers=self._headers(headers, content),
                timeout=urllib3.Timeout(total=left, connect=connect),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            received = _content(response)
        except (failures.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            problem = _unanswered(error)
        self._on_request(operation, problem.code if problem else str(response.status), time.monotonic() - begun)
        if problem:
            raise problem  # here, so that it carries nothing of the library's
        self._seen.index = response.headers.get("X-Vault-Index") or getattr(self._seen, "index", None)
        self._seen.answered_at = parse_date(response.headers.get("Date"))
        kind = None if is_encoded(response.headers.get("Content-Encoding")) else response.headers.get("Content-Type")
        retry_after = parse_retry_after(response.headers.get("Retry-After"))
        return Answer(response.status, received, media_type(kind), retry_after), response.headers.get("Location")

    def _headers(self, given: Mapping[str, str], content: bytes | None) -> dict[str, str]:
        headers = {
            "User-Agent": f"rotator/{__version__}",
            "X-Vault-Request": "true",
            **given,
        }
        if content is not None:
            headers["Content-Type"] = "application/json"
        index = getattr(self._seen, "index", None)
        if index is not None:
            # A standby of OpenBao 2.5 or Vault Enterprise answers reads by itself, from what it has been told so far:
            # it is to pass the request on if that is less than what this thread has seen already.
            headers |= {"X-Vault-Index": index, "X-Vault-Inconsistent": "forward-active-node"}
        return headers


class _Reader(io.RawIOBase):
    """Reads from a socket until the time is up that it had left when the reading began.

    The system's limit is for each read; a server that drips would never exceed it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._raw = connection.makefile("rb", buffering=0)
        self._until = time.monotonic() + (connection.gettimeout() or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Source:
    """What http.client wants of a socket to read an answer from."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - always "rb"
        return io.BufferedReader(_Reader(self._socket))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Source(sock), *args, **kwargs)  # type: ignore[arg-type] # all that it uses of one


class _Plain(HTTPConnection):
    response_class = _Response


class _Tls(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


def _manager(settings: VaultSettings, address: str, pool_size: int) -> urllib3.PoolManager:
    """The connections to one server and to where it redirects.

    The settings decide: only the proxy is the environment's to say, and as for `vault` itself there is none on the way
    to the loopback interface. Certificates are read from their files for each connection: they may be renewed.
    """
    options: dict[str, Any] = {"maxsize": pool_size}
    if address.startswith("https:"):
        options |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": str(settings.ca_cert or certifi.where())}
        if not settings.verify:
            options |= {"cert_reqs": "CERT_NONE", "ca_certs": None}
        if settings.client_cert is not None:
            options |= {"cert_file": str(settings.client_cert), "key_file": str(settings.client_key)}
    proxies = {} if is_loopback(address) else requests.utils.get_environ_proxies(address)
    proxy = requests.utils.select_proxy(address, proxies)
    credentials, manager = None, None
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        user, password = requests.utils.get_auth_from_url(proxy)
        credentials = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
    try:
        manager = (
            urllib3.ProxyManager(proxy, proxy_headers=credentials, **options)
            if proxy
            else urllib3.PoolManager(**options)
        )
    except (failures.HTTPError, ValueError):  # their text contains the URL, and with it the password
        manager = None
    if manager is None:
        raise ConfigError(
            f"The proxy for {address} in the environment is not the URL of an HTTP proxy",
            next_step="Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY",
        )
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return manager


def _redirected(url: str, method: str, status: int, location: str) -> str:
    """Return where a redirect leads.

    Raises:
        RedirectRefused: If rotator does not follow it.
    """
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise RedirectRefused(RedirectReason.NOT_A_URL, status)
    if url.startswith("https:") and parts.scheme != "https":  # the token goes along
        raise RedirectRefused(RedirectReason.PLAIN_TEXT, status, _address(target))
    if method != "GET" and status not in _KEEP_METHOD:
        raise RedirectRefused(RedirectReason.METHOD, status, _address(target))
    return target


def _address(url: str) -> str:
    """Return scheme, host and port of a URL, without its credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _content(response: urllib3.BaseHTTPResponse) -> bytes:
    content: bytes = response.read(_MAX_BODY, decode_content=False)
    if len(content) == _MAX_BODY:
        response.close()
        raise failures.ResponseError("the answer is too long")
    response.release_conn()
    return content


def _unanswered(error: Exception) -> Unanswered:
    # During the handshake, so before anything of the request: certificates that do not fit, or cannot be read.
    text = str(error)
    unsent = isinstance(error, _NOT_SENT) or "certificate verify failed" in text or "No such file" in text
    cut = isinstance(error, failures.ProtocolError)
    return Unanswered(type(error).__name__, text, sent=not unsent, cut=cut)
