"""Render an answer once for all clients that request it within a second, in pieces that let other threads run."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

from rotator.web.answers import Answer, Request

# How much longer an answer is used while the next one is rendered: many clients must not wait for it.
_OVERTIME = 4.0
# Between two pieces of a rendering, in seconds. Without it, each call that the server or a rotation makes to the system
# meanwhile waits for the interpreter's lock.
_NAP = 0.0005


class OverloadedError(Exception):
    """Too many clients wait for the same answer."""


def join(pieces: Iterable[bytes]) -> bytes:
    """Return the pieces as one; in a thread. Other threads run between two pieces."""
    joined = []
    for piece in pieces:
        joined.append(piece)
        time.sleep(_NAP)
    return b"".join(joined)


class SharedRendering:
    """One answer, rendered in a thread at most once in a period, however many clients request it.

    Args:
        render: Renders the answer; called in a thread.
        renderers: Lock that allows one rendering at a time.
        reuse: How long an answer is used again, and four times longer while the next one is rendered.
        max_waiting: Maximum number of clients that wait for a rendering.
    """

    def __init__(
        self, render: Callable[[], Answer], *, renderers: asyncio.Lock, reuse: timedelta, max_waiting: int
    ) -> None:
        self._render = render
        self._renderers = renderers
        self._reuse = reuse.total_seconds()
        self._max_waiting = max_waiting
        self._waiting: dict[asyncio.Future[Answer], Request] = {}
        self._rendering: asyncio.Task[None] | None = None
        self._latest: Answer | None = None
        self._usable_until = 0.0

    def get(self, request: Request) -> Answer | Awaitable[Answer]:
        """Return the answer, or an awaitable of it if it must be rendered first.

        Raises:
            OverloadedError: If too many clients wait already.
        """
        overtime = _OVERTIME * self._reuse if self._waiting else 0.0
        if self._latest is not None and time.monotonic() < self._usable_until + overtime:
            return self._latest
        if len(self._waiting) >= self._max_waiting:
            raise OverloadedError
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[future] = request  # at once: the next request is counted before this one's task begins
        future.add_done_callback(lambda done: self._waiting.pop(done, None))
        if self._rendering is None:
            self._rendering = asyncio.create_task(self._render_for_all())
        return future

    async def _render_for_all(self) -> None:
        """Render for the clients that wait, unless all of them have closed their connections."""
        try:
            async with self._renderers:
                if all(request.is_gone() for request in self._waiting.values()):
                    return
                rendered = await asyncio.to_thread(self._render)
        except Exception as error:  # noqa: BLE001 - the connection of each client reports it
            for future in self._take_waiting():
                future.set_exception(error)
        else:
            self._latest = rendered
            self._usable_until = time.monotonic() + self._reuse
            for future in self._take_waiting():
                future.set_result(rendered)
        finally:
            self._rendering = None

    def _take_waiting(self) -> list[asyncio.Future[Answer]]:
        waiting = [future for future in self._waiting if not future.done()]
        self._waiting.clear()
        return waiting
