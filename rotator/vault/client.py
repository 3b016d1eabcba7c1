"""Requests to the servers of one Vault: which address, with which limits, and how often."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import hvac
import structlog
from pydantic import SecretStr

from rotator.config import VaultSettings
from rotator.logs import register_secret
from rotator.net import repeat
from rotator.vault import diagnosis
from rotator.vault.errors import VaultError, VaultUnreachable, is_transient
from rotator.vault.http import Answer, Http, OnRequest, RedirectRefused, Unanswered
from rotator.vault.reply import ErrorReply, Reply, parse_reply
from rotator.vault.throttle import Throttle
from rotator.vault.time_limit import TimeLimit

# Together with the pauses about three seconds: a cluster takes two or three to elect another leader.
_ATTEMPTS = 5
_LONGEST_PAUSE = 1.0
_log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to Vault, possibly sent to several servers.

    Attributes:
        operation: Its name in metrics.
        request: Its purpose, as an infinitive for errors: "read secret/data/x".
        limit: The time that is left for it.
        repeatable: Whether it may be sent twice.
        in_namespace: Whether it is about the namespace; otherwise, about the server.
    """

    operation: str
    request: str
    limit: TimeLimit
    repeatable: bool = True
    in_namespace: bool = True


class Wire(hvac.adapters.Adapter):  # type: ignore[type-arg] # generic in its stub only
    """Adapter of hvac: sends one request with one token to one server.

    Attributes:
        address: The server's address.
    """

    def __init__(self, address: str, send: Callable[..., Reply]) -> None:
        self.address = address
        self._send = send

    def get_login_token(self, response: Any) -> str:
        """Not used: rotator logs in by itself."""
        raise NotImplementedError

    def request(self, method: str, url: str, *_args: Any, **options: Any) -> Any:
        """Return the body of the answer.

        Raises:
            ErrorReply: If its status is an error.
            Unanswered: If there is none.
            RedirectRefused: If it is a redirect that rotator does not follow.
            VaultDenied: If it is wrapped.
        """
        reply = self._send(method.upper(), url, body=options.get("json"), params=options.get("params"))
        if reply.succeeded:
            _refuse_wrapped(reply.body)
            return reply.body
        raise ErrorReply(reply)


class Client:
    """Sends requests to one Vault, at one address or several; safe to use from several threads.

    It stays with an address until that one is unreachable, sealed or untrusted, and then uses the next.

    Args:
        settings: Where Vault is.
        pool_size: How many connections to a server are kept.
        monotonic: Returns seconds that only grow.
        on_request: Called for each HTTP request.
    """

    def __init__(
        self, settings: VaultSettings, *, pool_size: int, monotonic: Callable[[], float], on_request: OnRequest
    ) -> None:
        self._namespace = settings.namespace
        self._timeout = settings.timeout.total_seconds()
        self._monotonic = monotonic
        self._http = Http(settings, pool_size=pool_size, on_request=on_request)
        self._throttle = Throttle(_report_slow_down)
        self._addresses = settings.addresses
        self._in_use = self._reported = 0  # positions in the list of addresses
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """The address in use."""
        return self._addresses[self._in_use]

    @property
    def has_alternatives(self) -> bool:
        """Whether there is more than one address."""
        return len(self._addresses) > 1

    @property
    def answered_at(self) -> datetime | None:
        """When Vault sent the last answer that this thread got, by Vault's clock; None if it did not say."""
        return self._http.answered_at

    @property
    def is_throttled(self) -> bool:
        """Whether Vault limits the rate of requests at the moment."""
        return self._throttle.rate is not None

    def limit(self, times: int) -> TimeLimit:
        """Return the time limit of an operation that begins now.

        Args:
            times: In units of `settings.timeout`.
        """
        return TimeLimit(times * self._timeout, self._monotonic)

    def repeat(
        self, request: Callable[[], T], limit: TimeLimit, worth: Callable[[VaultError], bool] = is_transient
    ) -> T:
        """Send a request again, a few times, as long as its failure is worth that."""
        return repeat(
            request,
            lambda error: isinstance(error, VaultError) and worth(error),
            attempts=_ATTEMPTS,
            max_pause=_LONGEST_PAUSE,
            jitter=0.2,
            timeout=lambda: max(0.001, limit.left),
        )

    def send(self, call: Call, request: Callable[[Wire], T], token: str) -> T:
        """Send a request to the address in use; to each of the others, as long as that cannot apply a write twice.

        Args:
            call: Its description.
            request: Sends it.
            token: Token to send; empty to send none.

        Raises:
            VaultError: It is raised outside of the handler, so that it does not carry the library's exception.
        """
        failures: list[VaultUnreachable] = []
        first = self._in_use
        for number in range(len(self._addresses)):
            position = (first + number) % len(self._addresses)
            address = self._addresses[position]
            try:
                result = request(Wire(address, partial(self._send, call, address, token)))
            except (ErrorReply, Unanswered, RedirectRefused) as error:
                failure = diagnosis.diagnose(call.request, address, error)
            except VaultUnreachable as error:  # the state that the server describes
                failure = error
            else:
                self._report_change(position, failures)
                return result
            if not isinstance(failure, VaultUnreachable):
                raise failure
            failures.append(failure)
            self._leave(position)
            if failure.maybe_done and not call.repeatable:
                break
        raise diagnosis.together(failures)

    def _leave(self, position: int) -> None:
        with self._lock:
            if self._in_use == position:  # unless another thread has left it already
                self._in_use = (position + 1) % len(self._addresses)

    def _report_change(self, position: int, failures: Sequence[VaultUnreachable]) -> None:
        """Log once that another address is in use from now on."""
        if failures and self._reported != position:
            self._reported = position
            _log.warning("vault.address_changed", address=self._addresses[position], error=failures[-1].what)

    def _send(self, call: Call, address: str, token: str, method: str, path: str, **content: Any) -> Reply:
        headers = {"X-Vault-Token": token} if token else {}
        if self._namespace and call.in_namespace:
            headers["X-Vault-Namespace"] = self._namespace
        while self._wait_for_turn(call.limit):
            sent_at = time.monotonic()
            send = partial(
                self._http.send,
                call.operation,
                method,
                address,
                path,
                headers=headers,
                until=sent_at + call.limit.left,
                **content,
            )
            reply = parse_reply(_exchange(send, repeatable=call.repeatable))
            if not diagnosis.is_rate_limit(reply):
                self._throttle.accepted()
                return reply
            self._throttle.limited(sent_at, reply.retry_after)
        raise diagnosis.rate_limited(call.request)

    def _wait_for_turn(self, limit: TimeLimit) -> bool:
        """Wait until Vault's rate limit leaves room for a request; return whether that was in time."""
        waited = self._throttle.admit(limit.may_wait)
        if waited is None:
            return False
        limit.extend(waited)
        return True


def _exchange(send: Callable[[], Answer], *, repeatable: bool) -> Answer:
    try:
        return send()
    except Unanswered as error:
        if not (error.cut and repeatable):
            raise
    return send()  # the server can have closed a connection that was kept; a new one comes at once


def _refuse_wrapped(body: Mapping[str, Any]) -> None:
    """Refuse an answer that contains a token in place of the data.

    Raises:
        VaultDenied: If it is one.
    """
    info = body.get("wrap_info")
    if not info:
        return
    for name in ("token", "wrapped_accessor", "accessor"):
        if isinstance(info, dict) and isinstance(info.get(name), str):
            register_secret(SecretStr(info[name]))
    raise diagnosis.wrapped()


def _report_slow_down(rate: float) -> None:
    _log.warning(
        "vault.rate_limited",
        requests_per_second=round(rate, 1),
        next_step="Raise the rate limit quota for rotator in Vault, or lower daemon.concurrency",
    )
