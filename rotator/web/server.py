"""The HTTP server: uvicorn in a thread, with time limits for slow clients and a limit of connections."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from rotator.errors import ConfigError

# How long a stop waits for answers that are being sent, in seconds.
_STOP_TIMEOUT = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's limits.

    Attributes:
        max_wait: Maximum time to send a request, and again to take the answer. Longer than the usual 15 s between two
            scrapes, so that those keep their connection.
        connections: Maximum number of connections. At one more, the server closes the one that has waited longest.
            Every connection is an open file; a process can have about a thousand, and rotations need some.
        backlog: Maximum number of connections that are not accepted yet.
        header_bytes: Maximum size of a request's headers.
    """

    max_wait: timedelta = timedelta(seconds=20)
    connections: int = 256
    backlog: int = 128
    header_bytes: int = 16_384


@contextlib.contextmanager
def serving(app: ASGIApp, listen: str, limits: Limits | None = None) -> Iterator[str]:
    """Serve in a thread as long as the context lasts.

    Args:
        app: The application.
        listen: "HOST:PORT", the host an IP address, "[…]" around IPv6; port 0 for any free one. ":PORT" is every
            address of the host, of both families.
        limits: The server's limits; the defaults if not given.

    Yields:
        The real address, in the same form.

    Raises:
        ConfigError: If the address is not available.
    """
    listener = _listen(listen)
    host, port = listener.getsockname()[:2]
    server = _Server(_Config(app, limits or Limits()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    server.up.wait()
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _listen(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _any_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((host, int(port)), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {listen}: {os.strerror(error.errno) if error.errno else error}",
            next_step="Stop the process that listens there, or choose another address with daemon.listen",
        ) from None
    # Inherited by every connection. asyncio sets it only on sockets that name their protocol, which this one does not;
    # without it each answer on a kept connection takes 40 ms, the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _any_address() -> str:
    """Return the address of every interface: of both families, or of IPv4 alone if the host has no IPv6."""
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6).close()
    except OSError:
        return ""
    return "::" if socket.has_dualstack_ipv6() else ""


class _Config(uvicorn.Config):
    """uvicorn's configuration, and this server's own limits.

    Args:
        app: The application.
        limits: The limits.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        super().__init__(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=limits.backlog,
            timeout_keep_alive=int(limits.max_wait.total_seconds()) + 1,  # _Protocol's deadline comes first
            timeout_graceful_shutdown=_STOP_TIMEOUT,
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        self.limits = limits


class _Protocol(H11Protocol):
    """HTTP with a time limit for a request, and again for its answer."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, config: uvicorn.Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._limits = config.limits if isinstance(config, _Config) else Limits()
        self.access_log = False  # uvicorn's own switch removes the logger's handlers in the whole process

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline()
        if len(self.connections) > self._limits.connections:
            self._close_one()

    def close_order(self) -> tuple[int, float]:
        """Return the sort key for closing, oldest first.

        First the connections whose client does not take its answer, then those without a request, then the others: a
        request that this process has not read yet is not its client's fault.
        """
        since = self._deadline.when() if self._deadline is not None else 0.0
        if self.flow.write_paused:
            return 0, since
        answering = not getattr(self.cycle, "response_complete", True)  # there is no cycle before a request
        return 2 if answering else 1, since

    def _close_one(self) -> None:
        """Close the first connection by `close_order`, so that a new client is served."""
        others = (other for other in self.connections if isinstance(other, _Protocol) and other is not self)
        first = min(others, key=lambda other: other.close_order())
        first.connections.discard(first)  # at once: the next call must not choose it again
        first.transport.abort()

    def handle_events(self) -> None:
        previous = self.cycle
        super().handle_events()
        if self.cycle is not previous:
            self._set_deadline()

    def on_response_complete(self) -> None:
        self._set_deadline()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Close the connection if an answer was already started: an error after that has no answer of its own."""
        if self.conn.our_state is not h11.IDLE:
            self.transport.abort()
            return
        super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self._limits.max_wait.total_seconds(), self.transport.abort)


class _Server(uvicorn.Server):
    """A server that reports its start, and leaves logging as it is."""

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # clients that have not taken their answer
            connection.transport.abort()
        await asyncio.sleep(0)
