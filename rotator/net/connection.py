"""HTTP/1.1 on one connection, request after request. h11 writes the requests and reads the responses."""

import time
from base64 import b64encode
from contextlib import suppress

import h11
import httpcore

from rotator.net.addresses import Origin
from rotator.net.proxies import Proxy
from rotator.net.stream import Stream

# The longest head of a response in bytes.
_LONGEST_HEAD = 100 * 1024


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
        self._messages = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)

    def send(self, request: h11.Request, content: bytes, until: float) -> None:
        """Send a request, head and body together.

        Raises:
            h11.LocalProtocolError: If it is not valid HTTP.
            httpcore.WriteTimeout: If the time is up.
        """
        events = [request, h11.Data(content), h11.EndOfMessage()] if content else [request, h11.EndOfMessage()]
        data = b"".join(self._messages.send(event) or b"" for event in events)
        # A server can answer and close the connection before it received everything.
        with suppress(httpcore.WriteError):
            self._stream.write(data, until)

    def receive(self, until: float) -> object:
        """Return the next event of the response.

        Raises:
            h11.RemoteProtocolError: If the response is incomplete, or is not HTTP.
            httpcore.ReadError: If the connection broke off.
            httpcore.ReadTimeout: If the time is up.
        """
        while (event := self._messages.next_event()) is h11.NEED_DATA:
            self._messages.receive_data(self._stream.read(until))
        return event

    def receive_head(self, until: float) -> h11.Response:
        """Return the head of the response; see `receive`."""
        self._messages.receive_data(self._stream.read(until))
        while not isinstance(event := self.receive(until), h11.Response):
            pass  # an interim response, such as 103
        return event

    def can_be_kept(self) -> bool:
        """Whether the response is complete and the connection stays open; it is idle from now on.

        A server can send more than the length that it announces, or end its side. The rest would be read as the next
        response.
        """
        messages = self._messages
        is_complete = messages.our_state is h11.DONE and messages.their_state is h11.DONE
        if not is_complete or messages.trailing_data != (b"", False):
            return False
        messages.start_next_cycle()
        self._expires_at = time.monotonic() + self._keep_for
        return True

    def has_expired(self) -> bool:
        """Whether it was idle for too long, or the server ended it meanwhile."""
        return time.monotonic() > self._expires_at or self._stream.is_readable

    def close(self) -> None:
        """End the connection."""
        self._stream.close()


def open_tunnel(stream: Stream, target: Origin, proxy: Proxy, until: float) -> None:
    """Have a proxy connect to a server.

    Raises:
        httpcore.ProxyError: If it does not; the text is the HTTP status.
    """
    headers = [("Host", target.location), ("Accept", "*/*"), *proxy_headers(proxy)]
    connection = Connection(stream, 0)
    connection.send(h11.Request(method="CONNECT", target=target.location, headers=headers), b"", until)
    status = connection.receive_head(until).status_code
    if not 200 <= status < 300:  # noqa: PLR2004
        raise httpcore.ProxyError(str(status))


def proxy_headers(proxy: Proxy) -> list[tuple[str, str]]:
    """Return the headers for a proxy: its credentials, if it has any."""
    if proxy.credentials is None:
        return []
    return [("Proxy-Authorization", f"Basic {b64encode(b':'.join(proxy.credentials)).decode()}")]
