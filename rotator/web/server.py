"""The HTTP server: a thread that listens, accepts and answers."""

import asyncio
import contextlib
import errno
import os
import socket
import sys
import threading
from collections.abc import Iterator

from rotator.errors import ConfigError
from rotator.web.connection import Application, Connection, Connections, Limits

# Connections that are accepted at once, so that requests are answered between them.
_ACCEPTED_AT_ONCE = 16
# A thread that computes gives way to others after this time, in seconds. Python's default is 5 ms, for each call of the
# server to the system while a rotation computes.
_SWITCH_INTERVAL = 0.001
# The kernel's memory for what a client has not taken yet. It counts against the container's memory.
_SEND_BUFFER = 64 * 1024


@contextlib.contextmanager
def serving(app: Application, listen: str, limits: Limits | None = None) -> Iterator[str]:
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
    server = _Server(app, listener, limits or Limits())
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    thread.start()
    server.up.wait()
    try:
        if server.failure is not None:
            raise _unavailable(listen, server.failure)
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        server.stop()
        thread.join()
        sys.setswitchinterval(switch_interval)


def _listen(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _any_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((host, int(port)), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise _unavailable(listen, error) from None
    # Inherited by every connection. asyncio sets it only on sockets that name their protocol, which this one does not;
    # without it each answer on a kept connection takes 40 ms, the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return listener


def _unavailable(listen: str, error: OSError) -> ConfigError:
    reason = os.strerror(error.errno) if error.errno else error
    step = "Stop the process that listens there, or choose another address with daemon.listen"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        step = "Raise the limit of open files (ulimit -n, LimitNOFILE)"
    return ConfigError(f"Cannot listen on {listen}: {reason}", next_step=step)


def _any_address() -> str:
    """Return the address of every interface: of both families, or of IPv4 alone if the host has no IPv6."""
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6).close()
    except OSError:
        return ""
    return "::" if socket.has_dualstack_ipv6() else ""


class _Server:
    """The server's event loop.

    Args:
        app: The application.
        listener: The socket; closed at the end.
        limits: The server's limits.

    Attributes:
        up: Set when the server answers, or has failed.
        failure: The error of the system that prevented it.
    """

    def __init__(self, app: Application, listener: socket.socket, limits: Limits) -> None:
        self.up = threading.Event()
        self.failure: OSError | None = None
        self._app = app
        self._listener = listener
        self._limits = limits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    def run(self) -> None:
        """Serve until `stop` is called."""
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except OSError as error:
            self.failure = error.with_traceback(None)
        finally:
            self._listener.close()
            self.up.set()

    def stop(self) -> None:
        """End `run`; from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        connections = Connections(self._limits)
        server = await self._loop.create_server(
            lambda: Connection(self._app, connections), sock=self._listener, backlog=_ACCEPTED_AT_ONCE
        )
        self._listener.listen(self._limits.backlog)
        self.up.set()
        await self._stop.wait()
        server.close()
        await connections.stop()
