"""One HTTP request to a Vault server, and to where that one redirects it.

hvac asks through an adapter, and this is the way that the adapter sends.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from pydantic import SecretStr

from rotator import __version__
from rotator.config import VaultSettings
from rotator.logs import register_proxies
from rotator.net import (
    Deadline,
    Origin,
    Proxy,
    Response,
    Tls,
    Transport,
    Unanswered,
    is_encoded,
    media_type,
    parse_date,
)
from rotator.vault.throttle import parse_retry_after

__all__ = ["Answer", "Http", "OnRequest", "RedirectReason", "RedirectRefused", "Unanswered", "encode"]

OnRequest = Callable[[str, str, float], None]
"""Called for each request with the operation, the HTTP status or `not_sent` or `no_answer`, and the seconds it took."""

# How long an idle connection is kept.
_KEPT = timedelta(minutes=1)
_MAX_REDIRECTS = 3
_KEEP_METHOD = (307, 308)
_REDIRECTS = (301, 302, 303, *_KEEP_METHOD)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of a server, or of a proxy in front of it.

    Attributes:
        status: The HTTP status.
        content: The body, still compressed if the server compressed it unasked.
        media_type: The kind of document that the header names; empty if the body is compressed.
        retry_after: The seconds that the answer asks to wait.
        forwarder: The proxy of the environment that can have answered in place of the server.
    """

    status: int
    content: bytes = field(repr=False)
    media_type: str = field(default="", repr=False)
    retry_after: float = 0.0
    forwarder: Proxy | None = None


class RedirectReason(Enum):
    """Why a redirect is not followed."""

    NOT_A_URL = "not a URL"
    PLAIN_TEXT = "plain text"
    ELSEWHERE = "elsewhere"
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
        self.reason = reason
        self.status = status
        self.target = target


class Http:
    """Connections to the servers of one Vault, kept alive; safe to use from several threads.

    Args:
        settings: How to reach them.
        pool_size: Number of idle connections to a server to keep.
        on_request: Called for each request.

    Raises:
        ConfigError: If a certificate file or a proxy that the environment names cannot be used.
    """

    def __init__(self, settings: VaultSettings, *, pool_size: int, on_request: OnRequest) -> None:
        self._timeout = settings.timeout.total_seconds()
        self._on_request = on_request
        register_proxies()
        # By address: the server, and the path that everything is below.
        self._servers = {address: (Origin.of(address), urlsplit(address).path) for address in settings.addresses}
        tls = _tls(settings) if settings.address.startswith("https:") else None
        self._transports = {
            origin: Transport(origin, tls, kept=pool_size, keep_for=_KEPT) for origin, _ in self._servers.values()
        }
        # Per thread: the index and date of the last answer. The next request sends the index, also to another server.
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

        Redirects are followed to configured addresses only, and never to plain text beyond this machine: the token
        goes along.

        Args:
            operation: The name in metrics.
            method: GET or POST.
            address: One of the configured ones.
            path: Below the address.
            headers: The token and the namespace.
            until: When it has to be over, by the monotonic clock; `settings.timeout` may end it before.
            params: The query.
            body: Sent as JSON, secrets included.

        Raises:
            Unanswered: If there is no answer.
            RedirectRefused: If it is a redirect that rotator does not follow.
        """
        origin, base = self._servers[address]
        target = base + path + (f"?{urlencode(params)}" if params else "")
        content = b"" if body is None else encode(body)
        until = min(until, time.monotonic() + self._timeout)
        redirected_to = ""
        for _ in range(_MAX_REDIRECTS):
            try:
                response = self._exchange(
                    operation, method, origin, target, headers=headers, content=content, until=until
                )
            except Unanswered as error:
                error.redirected_to = redirected_to
                raise
            location = response.headers.get("location") if response.status in _REDIRECTS else None
            if location is None:
                return _answer(response, self._transports[origin].forwarder)
            origin, target = self._redirected(f"{origin}{target}", location, method, response.status)
            redirected_to = str(origin)
        raise RedirectRefused(RedirectReason.LOOP, response.status, redirected_to)

    def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            transport.close()

    @property
    def answered_at(self) -> datetime | None:
        """When the server sent the last answer that this thread got, by the server's clock; None if it did not say."""
        return parse_date(getattr(self._seen, "date", None))

    def _exchange(
        self,
        operation: str,
        method: str,
        origin: Origin,
        target: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        until: float,
    ) -> Response:
        begun = time.monotonic()
        problem = None
        try:
            response = self._transports[origin].send(
                method, target, Deadline(until), self._headers(headers, content), content
            )
        except Unanswered as error:
            problem = error
        self._on_request(operation, problem.code if problem else str(response.status), time.monotonic() - begun)
        if problem:
            raise problem
        self._seen.index = response.headers.get("x-vault-index") or getattr(self._seen, "index", None)
        self._seen.date = response.headers.get("date")
        return response

    def _redirected(self, url: str, location: str, method: str, status: int) -> tuple[Origin, str]:
        """Server and target of a redirect.

        Raises:
            RedirectRefused: If rotator does not follow it.
        """
        try:
            joined = urljoin(url, location)
            origin = Origin.of(joined)
            parts = urlsplit(joined)
        except ValueError:
            raise RedirectRefused(RedirectReason.NOT_A_URL, status) from None
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not target.isascii() or not target.isprintable() or " " in target:
            raise RedirectRefused(RedirectReason.NOT_A_URL, status)
        shown = str(origin) if parts.path == urlsplit(url).path else f"{origin}{parts.path}"
        if origin.in_plain_text:
            raise RedirectRefused(RedirectReason.PLAIN_TEXT, status, shown)
        if origin not in self._transports:
            raise RedirectRefused(RedirectReason.ELSEWHERE, status, shown)
        if status not in _KEEP_METHOD and method != "GET":
            raise RedirectRefused(RedirectReason.METHOD, status, shown)
        return origin, target

    def _headers(self, given: Mapping[str, str], content: bytes) -> dict[str, str]:
        headers = {
            "User-Agent": f"rotator/{__version__}",
            "Accept-Encoding": "identity",
            "X-Vault-Request": "true",
            **given,
        }
        if content:
            headers["Content-Type"] = "application/json"
        index = getattr(self._seen, "index", None)
        if index is not None:
            # A standby of OpenBao 2.5 or Vault Enterprise answers reads by itself, from what it has been told so far:
            # it is to pass the request on if that is less than what this thread has seen already.
            headers |= {"X-Vault-Index": index, "X-Vault-Inconsistent": "forward-active-node"}
        return headers


def encode(body: Any) -> bytes:
    """Return JSON: the last moment before a secret leaves for Vault.

    Raises:
        TypeError: If something is neither JSON nor a secret.
        ValueError: If a number is not finite.
    """
    return json.dumps(body, default=_reveal, allow_nan=False).encode()


def _reveal(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(f"a document cannot contain a {type(value).__name__}")


def _answer(response: Response, forwarder: Proxy | None) -> Answer:
    headers = response.headers
    kind = None if is_encoded(headers.get("content-encoding")) else headers.get("content-type")
    retry_after = parse_retry_after(headers.get("retry-after"))
    return Answer(response.status, response.content, media_type(kind), retry_after, forwarder)


def _tls(settings: VaultSettings) -> Tls:
    return Tls(
        section="vault",
        verify=settings.verify,
        ca_file=settings.ca_cert,
        ca_path=None if settings.ca_cert else settings.ca_path,
        client_cert=settings.client_cert,
        client_key=settings.client_key,
        server_name=settings.tls_server_name,
    )
