"""One request and its answer: faults, authentication, limits, the operation, the log entry."""

import asyncio
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import structlog
from starlette.responses import HTMLResponse, Response

from rotator.emulator.accounts import Accounts, Clock
from rotator.emulator.control import LoggedRequest
from rotator.emulator.faults import Fault, Faults
from rotator.emulator.limits import Limits
from rotator.emulator.problems import (
    BadCredentialsError,
    BadRequestError,
    ForbiddenError,
    MalformedCredentialsError,
    ProblemError,
    RateLimitedError,
    ServerError,
    UnprovisionedError,
)
from rotator.emulator.responses import Dropped, Unanswered
from rotator.emulator.revisions import Revision
from rotator.emulator.service import Reply, Service
from rotator.emulator.wire import Call, refuse

_LOG_LENGTH = 100_000  # the oldest entries of a long run make room, so that its memory stays bounded
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>\n"
_REFUSALS: dict[str, Callable[[], ProblemError]] = {
    "400": BadRequestError,
    "401": BadCredentialsError,
    "403": ForbiddenError,
    "unprovisioned": UnprovisionedError,
    "500-problem": ServerError,
}

_log = structlog.get_logger()


class Exchange:
    """Answers calls, and logs them."""

    def __init__(
        self, service: Service, accounts: Accounts, faults: Faults, limits: Limits, *, latency: timedelta, clock: Clock
    ) -> None:
        self._service = service
        self._accounts = accounts
        self._faults = faults
        self._limits = limits
        self._latency = latency
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=_LOG_LENGTH)

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """Every request for an operation so far, oldest first."""
        with self._lock:
            return tuple(self._requests)

    async def answer(self, call: Call) -> Response:
        """Perform the operation, unless or until a fault prevents it. A client that has left changes nothing."""
        fault = self._faults.take(call.operation, key=call.claimed_key, account=call.api_key or call.claimed_key)
        if fault is not None:
            await _sleep(fault.delay_of_work)
        works = fault is None or fault.works
        reply = await self._perform(call) if works else Reply(Response(), call.secret_id)
        response = reply.response if fault is None else self._spoil(call, reply.response, fault)
        self._note(call, reply, None if isinstance(response, Unanswered) else response.status_code)
        await _sleep(self._latency + (fault.delay_of_answer if fault is not None else timedelta()))
        return response

    async def _perform(self, call: Call) -> Reply:
        login = budget = None
        try:
            login = self._log_in(call)
            budget = self._limits.admit(login)
            if call.api_key is not None:
                self._accounts.require_right(login, call.api_key)
            api_key = call.api_key or login
            fault = self._faults.take(call.operation, key=login, account=api_key, changes_content=True)
            reply = await self._service.perform(call, api_key, fault)
        except ProblemError as problem:
            reply = Reply(refuse(call, problem), call.secret_id)
        reply.response.headers.update(self._limits.headers.of_answer(budget))
        return replace(reply, authenticated_as=login)

    def _log_in(self, call: Call) -> str:
        if call.credentials is None:
            raise MalformedCredentialsError
        api_key, secret = call.credentials
        if not self._accounts.authenticates(api_key, secret):
            raise BadCredentialsError
        return api_key

    def _spoil(self, call: Call, response: Response, fault: Fault) -> Response:
        """The answer that the client gets instead."""
        if fault.drops:
            return Dropped()
        if fault.hangs:
            return Unanswered()
        if fault.name in _REFUSALS:
            return refuse(call, _REFUSALS[fault.name]())
        if fault.name == "429":
            return refuse(call, RateLimitedError(self._limits.headers_of_fault(fault)))
        return response if fault.status is None else HTMLResponse(_PAGE.format(fault.status), fault.status)

    def _note(self, call: Call, reply: Reply, status: int | None) -> None:
        api_key = call.api_key
        if api_key is None:
            # Only the caller names the account. A text that is no key can be a secret in the wrong place.
            api_key = call.claimed_key if call.claimed_key in self._accounts.api_keys else ""
        request_id = str(uuid.UUID(call.trace_id)) if call.revision == Revision.V1_0_4 else None
        entry = LoggedRequest(
            self._clock(), call.operation, api_key or "", reply.secret_id, status, reply.authenticated_as, request_id
        )
        with self._lock:
            self._requests.append(entry)
        _log.info("emulator.answered", operation=str(call.operation), api_key=api_key, status=status)


async def _sleep(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())
