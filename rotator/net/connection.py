"""HTTP/1.1 on one connection, request after request. llhttp, by httptools, reads the responses."""

import re
import time
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress

import httpcore
import httptools

from rotator.net.addresses import Origin
from rotator.net.proxies import Proxy
from rotator.net.stream import Stream

# As many bytes in a row can be headers, trailers or sizes of chunks.
_LONGEST_HEAD = 100 * 1024
_TARGET = re.compile(r"[!-~]+")
_HEADER = re.compile(r"[!-9;-~]+: [ -~]*")
_INTERIM, _SUCCESS = range(100, 200), range(200, 300)
Headers = Iterable[tuple[str, str]]


class InvalidRequest(ValueError):
    """A request contains a character that HTTP does not allow there. Nothing was sent."""


class InvalidResponse(Exception):
    """A response is incomplete, or is not HTTP."""


class Connection:
    """A connection that can be kept for the next request.

    Args:
        stream: Carries it.
        keep_for: Seconds for which it can be idle.
    """

    def __init__(self, stream: Stream, keep_for: float) -> None:
        self._stream = stream
        self._keep_for = keep_for
        self._expires_at = 0.0
        self._ends = False  # after the response, says the request
        self._response = _Response()

    def send(self, method: str, target: str, headers: Headers, content: bytes, until: float) -> None:
        """Send a request, head and body together.

        Raises:
            InvalidRequest: If it is not valid HTTP.
            httpcore.WriteTimeout: If the time is up.
        """
        lines = [f"{name}: {value}" for name, value in headers]
        if not (_TARGET.fullmatch(target) and all(map(_HEADER.fullmatch, lines))):
            raise InvalidRequest
        head = "\r\n".join((f"{method} {target} HTTP/1.1", *lines, "", ""))
        self._ends = "connection: close" in map(str.lower, lines)
        self._response.begin()
        # A server can answer and close the connection before it received everything.
        with suppress(httpcore.WriteError):
            self._stream.write(head.encode() + content, until)

    def receive_head(self, until: float) -> tuple[int, dict[str, str]]:
        """Return status and headers of the response; the names are in lower case.

        Raises:
            InvalidResponse: If they are incomplete, or not HTTP.
            httpcore.ReadError: If the connection broke off.
            httpcore.ReadTimeout: If the time is up.
        """
        response = self._response
        while not response.has_head:
            response.feed(self._stream.read(until))
        return response.status, response.headers

    def receive(self, until: float) -> bytes:
        """Return the next part of the body; nothing at its end. See `receive_head` for the errors."""
        response = self._response
        while not (response.content or response.is_complete):
            response.feed(self._stream.read(until))
        content = response.content
        response.content = b""
        return content

    def can_be_kept(self) -> bool:
        """Whether the response is complete and both sides keep the connection open; it is idle from now on.

        A server can send more than the length that it announces, or end its side. The rest would be read as the next
        response.
        """
        self._expires_at = time.monotonic() + self._keep_for
        return self._response.is_complete and self._response.keeps_connection and not self._ends

    @property
    def has_expired(self) -> bool:
        """Whether it was idle for too long."""
        return time.monotonic() > self._expires_at

    @property
    def can_be_used(self) -> bool:
        """Whether it can carry a request: it has not expired, and the server neither sent more nor ended it."""
        return not (self.has_expired or self._stream.is_readable)

    def close(self) -> None:
        """End the connection."""
        self._stream.close()


class _Response:
    """The response to the latest request, as it is received. The methods on_… are httptools' protocol.

    Attributes:
        content: The part of the body that was not returned yet.
        keeps_connection: Whether the connection stays open after it, and nothing follows.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_chunked_length=True,  # chunks win over a length, says RFC 9112
            lenient_spaces_after_chunk_size=True,  # some load balancers fill up sizes with them
            lenient_optional_cr_before_lf=True,  # small proxies end lines with LF only
        )
        self.begin()

    def begin(self) -> None:
        """Expect the next response."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.content = b""
        self.has_head = self.is_complete = self.keeps_connection = False
        self._overhead = 0

    def feed(self, data: bytes) -> None:
        """Take what the server sent; nothing if it ended its side.

        Raises:
            InvalidResponse: If that is not HTTP, or the response is incomplete.
        """
        if not data:
            self._end()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keeps_connection = False  # something follows it
            cause = error.__context__  # raised by a method below, or by the handler of a signal meanwhile
            if cause is not None and not isinstance(cause, Exception):
                raise cause from None
            if not self.is_complete:
                raise InvalidResponse from None
        self._overhead = 0 if self.content else self._overhead + len(data)
        if self._overhead > _LONGEST_HEAD:
            raise InvalidResponse

    def _end(self) -> None:
        has_length = "content-length" in self.headers or "transfer-encoding" in self.headers
        if not self.has_head or has_length:
            raise InvalidResponse
        self.is_complete = True

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise InvalidResponse

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        if self.has_head:  # a trailer
            return
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status in _INTERIM:  # such as 103: the response follows
            self.headers.clear()
            return
        is_readable = self.headers.get("transfer-encoding", "chunked").lower() == "chunked"
        is_http = self.status >= _SUCCESS.start and self._parser.get_http_version().startswith("1.")
        if not (is_http and is_readable):
            raise InvalidResponse
        self.has_head = True

    def on_body(self, content: bytes) -> None:
        if not self.has_head:  # an interim response has no body
            raise InvalidResponse
        self.content += content

    def on_message_complete(self) -> None:
        self.is_complete = self.has_head  # else it was an interim response
        # llhttp keeps a connection of HTTP/1.0 that the server closes, if the server also says that it keeps it.
        is_current = self._parser.get_http_version() == "1.1"
        self.keeps_connection = self.is_complete and is_current and self._parser.should_keep_alive()


def open_tunnel(stream: Stream, target: Origin, proxy: Proxy, until: float) -> None:
    """Have a proxy connect to a server.

    Raises:
        httpcore.ProxyError: If it does not; the text is the HTTP status.
    """
    headers = [("Host", target.location), ("Accept", "*/*"), *proxy_headers(proxy)]
    connection = Connection(stream, 0)
    connection.send("CONNECT", target.location, headers, b"", until)
    status, _ = connection.receive_head(until)
    if status not in _SUCCESS:
        raise httpcore.ProxyError(str(status))


def proxy_headers(proxy: Proxy) -> list[tuple[str, str]]:
    """Return the headers for a proxy: its credentials, if it has any."""
    if proxy.credentials is None:
        return []
    return [("Proxy-Authorization", f"Basic {b64encode(b':'.join(proxy.credentials)).decode()}")]
