"""TCP links on loopback that can be cut and held up: what a campaign does to a network. All run in one thread."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_CHUNK = 1 << 16


class State(Enum):
    """What a link does with what is sent."""

    OPEN = "open"
    HELD = "held"  # keeps it until it is open again, even if the sender has given up by then, as TCP's resending does
    CUT = "cut"  # has lost its connections and takes none


def _nobody(_sent: bytes) -> None:
    """Nobody wants to know."""


@dataclass(eq=False)
class Link:
    """The way from one process to one server, in both directions.

    Attributes:
        name: Of whom to whom.
        on_sent: Called with whatever the process sends, when it goes on to the server; not to block.
    """

    name: str
    on_sent: Callable[[bytes], None]
    _loop: asyncio.AbstractEventLoop = field(repr=False)
    _state: State = State.OPEN
    _passable: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _transports: set[asyncio.WriteTransport] = field(default_factory=set, repr=False)
    _tasks: set[object] = field(default_factory=set, repr=False)  # the loop alone would let them be collected

    def __post_init__(self) -> None:
        self._passable.set()

    def become(self, state: State) -> None:
        """From now on be like that; for any thread."""
        self._loop.call_soon_threadsafe(self._become, state)

    def _become(self, state: State) -> None:
        self._state = state
        if state is State.HELD:
            self._passable.clear()
        else:
            self._passable.set()
        if state is State.CUT:
            for transport in list(self._transports):
                transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Carry a connection to the server at this port, to its end."""
        if self._state is State.CUT:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        self._tasks.add(task)
        self._transports.add(writer.transport)
        try:
            await self._passable.wait()
            back, onward = await asyncio.open_connection("127.0.0.1", port)
            self._transports.add(onward.transport)
            try:
                await asyncio.gather(self._pump(reader, onward, self.on_sent), self._pump(back, writer))
            finally:
                self._transports.discard(onward.transport)
                onward.transport.abort()
        except OSError:
            pass  # either end is gone, or the server is not there: the other end learns of it below
        finally:
            self._tasks.discard(task)
            self._transports.discard(writer.transport)
            writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        note: Callable[[bytes], None] = _nobody,
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._passable.wait()
            note(data)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


class Network:
    """Makes links and the ports that lead to them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._links: list[Link] = []

    def link(self, name: str, on_sent: Callable[[bytes], None] = _nobody) -> Link:
        """A link that no port leads to yet."""
        made = Link(name, on_sent, self._loop)
        self._links.append(made)
        return made

    def listen(self, port: int, choose: Callable[[int], Link]) -> int:
        """A new port that leads to that one; `choose` tells by its own port on which link a client comes."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await choose(writer.get_extra_info("peername")[1]).carry(reader, writer, port)

        async def start() -> asyncio.Server:
            return await asyncio.start_server(accept, "127.0.0.1", 0)

        server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)
        self._servers.append(server)
        made: int = server.sockets[0].getsockname()[1]
        return made

    @contextmanager
    def running(self) -> Iterator["Network"]:
        """Carry what comes until the end of the block."""
        thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for link in self._links:
            link.become(State.CUT)
        await asyncio.sleep(0)  # they are
        carried = asyncio.all_tasks() - {asyncio.current_task()}
        if carried:
            await asyncio.wait(carried, timeout=5)


class Owners:
    """Tells whose socket of the loopback interface has a port.

    Args:
        commands: Who may be it, by a piece of the command line.
    """

    def __init__(self, commands: Mapping[str, str]) -> None:
        self._commands = commands
        self._known: dict[int, str | None] = {}  # by process; None: somebody else's

    def of(self, port: int) -> str | None:
        """The owner; None if it is nobody's, or nobody's of those who may be it."""
        local = f"0100007F:{port:04X}"
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        sockets = {f"socket:[{fields[9]}]" for fields in lines if fields[1] == local}
        for process in map(int, (path.name for path in Path("/proc").glob("[0-9]*"))):
            with contextlib.suppress(OSError):  # ended meanwhile
                owner = self._owner(process)
                if owner and any(_target(file) in sockets for file in Path(f"/proc/{process}/fd").iterdir()):
                    return owner
        return None

    def _owner(self, process: int) -> str | None:
        if process not in self._known:
            line = Path(f"/proc/{process}/cmdline").read_text()
            self._known[process] = next((name for piece, name in self._commands.items() if piece in line), None)
        return self._known[process]


def _target(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:
        return ""  # closed meanwhile
