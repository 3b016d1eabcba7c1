"""Serves an emulator on a loopback socket, for a terminal or for a test.

uvicorn does the work. In addition, the application can drop its connection, and the server stops at once, also with
requests under way, where uvicorn would wait for its clients.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from rotator.emulator.app import Emulator
from rotator.emulator.responses import TRANSPORT

# Loopback and nothing else: the control interface shows its requests without a password.
_HOST = "127.0.0.1"


def serve(
    emulator: Emulator,
    *,
    port: int,
    announce: Callable[[str], object],
    certfile: Path | None = None,
    keyfile: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        port: Where on 127.0.0.1; 0 for any free port.
        announce: Called with the base URL once connections are taken.
        certfile: Serve TLS with this certificate chain (PEM).
        keyfile: Its private key, unless that is in `certfile` as well.

    Raises:
        OSError: If the port is taken.
        ValueError: If there is a key without a certificate, or a file is not what it should be.
    """
    server = _Server(emulator, port, certfile, keyfile)
    announce(server.url)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[server.socket])


@contextlib.contextmanager
def running(
    emulator: Emulator, *, port: int = 0, certfile: Path | None = None, keyfile: Path | None = None
) -> Iterator[str]:
    """Serve in a thread as long as the context lasts; gives the base URL. Arguments and errors as for `serve`.

    On the way out connections are cut and requests under way abandoned, work that a fault holds back included.
    """
    server = _Server(emulator, port, certfile, keyfile)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [server.socket]}, name="emulator", daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


class _Protocol(H11Protocol):
    """HTTP that tells the application about its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class _Server(uvicorn.Server):
    """A server that listens from the start, can be told to stop by any thread, and does not linger."""

    def __init__(self, emulator: Emulator, port: int, certfile: Path | None, keyfile: Path | None) -> None:
        _check_certificate(certfile, keyfile)
        config = uvicorn.Config(
            _abandonable(emulator.app),
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,  # the emulator has its own, which knows what must not stand there
            server_header=False,
            date_header=False,  # the emulator has its own clock
            ssl_certfile=certfile,
            ssl_keyfile=keyfile,
        )
        config.load()  # here, and not in a thread: a bad certificate is the caller's to hear of
        super().__init__(config)
        # Clients that connect before the loop runs wait in the backlog, so no client has to poll.
        self.socket = socket.create_server((_HOST, port))
        # Inherited by every connection. asyncio sets it only on sockets that name their protocol, which this one does
        # not; without it each answer on a kept connection takes 40 ms, the client's delayed ACK.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        scheme = "https" if certfile else "http"
        self.url = f"{scheme}://{_HOST}:{self.socket.getsockname()[1]}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._woken.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.stop()

    async def main_loop(self) -> None:
        """Wait until `stop` is called instead of polling ten times a second."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), timeout=1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the connections learn that they are gone before their requests do
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check_certificate(certfile: Path | None, keyfile: Path | None) -> None:
    """Refuse files that cannot serve TLS: the library's errors name none of them.

    Raises:
        ValueError: If a file cannot be read, holds no PEM of its kind, or does not belong to the other one.
    """
    if certfile is None:
        if keyfile is not None:
            raise ValueError(f"The key {keyfile} needs its certificate")
        return
    for file in filter(None, (certfile, keyfile)):
        try:
            file.read_bytes()
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
    except ssl.SSLError:
        pair = f"{certfile} and {keyfile} are no" if keyfile else f"{certfile} is no"
        raise ValueError(f"{pair} certificate with its key (PEM)") from None


def _abandonable(app: ASGIApp) -> ASGIApp:
    """A request abandoned when the server stops is no error, and no traceback in the log."""

    async def abandonable(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return abandonable
