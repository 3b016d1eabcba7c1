"""Responses that are never sent, and the headers of those that are."""

import uuid
from email.utils import format_datetime

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rotator.emulator.accounts import Clock
from rotator.emulator.revisions import Revision

TRANSPORT = "emulator.transport"
"""Under this name the server puts a connection's transport into the ASGI scope's state, see `Dropped`."""


class Unanswered(Response):
    """No answer at all, until the client leaves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Wait until the server knows that the client has left, or it would answer 500 for us."""
        while (await receive())["type"] != "http.disconnect":
            pass


class Dropped(Unanswered):
    """Closes the connection under the client's feet."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort the connection."""
        scope["state"][TRANSPORT].abort()
        await super().__call__(scope, receive, send)


class Stamping:
    """Adds the headers of every answer: the date by the emulator's own clock and, in 1.0.4, the request's id."""

    def __init__(self, app: ASGIApp, clock: Clock, revision: Revision) -> None:
        self._app = app
        self._clock = clock
        self._revision = revision

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = uuid.uuid4()
        scope.setdefault("state", {})["trace_id"] = request_id.hex

        async def send_stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Date"] = format_datetime(self._clock(), usegmt=True)
                if self._revision == Revision.V1_0_4:
                    headers["X-Request-Id"] = str(request_id)
            await send(message)

        await self._app(scope, receive, send_stamped)
