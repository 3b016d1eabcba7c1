"""Faults to inject, by name and count.

    OPERATION:FAULT[:COUNT][@DETAIL]...

OPERATION   balance, top-up, settings, list, create, get, revoke, or any

FAULT of the exchange
            drop-before   the connection is closed without an answer, and nothing is done
            drop-after    the operation is done, then the connection is closed without an answer
            hang          nothing is done, and the request is never answered
            hang-after    the operation is done, and the request is never answered
            400, 403      a bad request; forbidden by permissions; nothing is done
            401           the credentials are refused, though they may be right; also spelled unauthorized
            unprovisioned 401 of the second kind: the key has no access to the product; nothing is done
            429           a rate limit, nothing is done; DETAIL is its Retry-After in whole seconds, 1s if not given
            5xx           the HTML page of a broken gateway, such as 503; nothing is done
            5xx-after     the same page, such as 504-after, but the operation is done behind it
            500-problem   the provider's own failure, as a problem document; nothing is done
            slow          done at once, answered late; DETAIL says how late, 1s if not given
            late          done late, even if the client has gone by then, and answered; DETAIL as for slow

FAULT of the content
            stale         list: without the newest of several secrets
            lacks         list: without the oldest of several secrets, or without the one of @id=ID
            lag           list: shows the state of DETAIL ago, for added and removed secrets
            unverified    create: the secret is listed, but refused for DETAIL; for ever if not given
            no-limits     settings: the answer has no max-* fields

COUNT       how many requests are hit, 1 if not given; * or 0: every one from now on.
            Of lag: * if not given, and list:lag:20s is short for list:lag:*@20s

DETAIL      2s, 500ms, 5m, 1h, or a bare number of seconds
            key=KEY       hits requests that authenticate with this key
            account=KEY   hits requests about this account, its own or its primary's
            in-turn       hits every second request, separately per account, the first one included: two servers
            id=ID         of lacks
            reset=20s     of 429: X-RateLimit-* instead of Retry-After, Reset as Unix time in seconds
            reset-ms=20s  of 429: the same in milliseconds; with a Retry-After beside it (429@5s@reset-ms=1h), both
            bare          of 429: none of these headers

    create:drop-after                       the next create is done and its answer lost
    list:503:3                              three lists fail, the fourth works
    any:429:*@5s                            every request is limited, with Retry-After: 5
    any:unprovisioned:*@key=abcd1234        every request of one key is refused
    list:lag:20s@in-turn                    two servers, one of them 20 seconds behind
    list:lacks:3@account=abcd1234           three lists of one account lack its oldest secret
    create:unverified:*@30s                 created secrets authenticate after half a minute
    revoke:late@2s                          the next revocation takes effect two seconds after it was sent

A request is hit by at most one fault of the exchange and, if its operation is done, by at most one of the content: the
first one added that fits it and has hits left.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from rotator.emulator.operations import Operation

LONGEST_LAG = timedelta(hours=1)

_SPEC = re.compile(r"(?P<operation>[^:@]+):(?P<name>[^:@]+)(?::(?P<count>[^:@]+))?(?P<details>(?:@[^:@]+)*)")
_NAME = re.compile(
    r"drop-before|drop-after|hang|hang-after|slow|late|400|401|403|429|unprovisioned|500-problem|5[0-9]{2}(-after)?"
    r"|stale|lacks|lag|unverified|no-limits"
)
_ALIASES = {"unauthorized": "401"}
# The operation whose answer a fault changes; the others hit any operation.
_CONTENT = {
    "stale": Operation.LIST,
    "lacks": Operation.LIST,
    "lag": Operation.LIST,
    "unverified": Operation.CREATE,
    "no-limits": Operation.SETTINGS,
}
_WITH_DURATION = ("429", "slow", "late", "lag", "unverified")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}
_DURATION = re.compile(r"(?P<number>\d{1,9})(?P<unit>ms|s|m|h)?")
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, how often it still hits, and which requests it fits.

    Attributes:
        operation: The operation that it fits; None for any.
        name: One of the names in the module's text.
        count: How many requests it still hits; None for all of them.
        delay: The duration of slow, late, lag and unverified, and the Retry-After of 429. None: no Retry-After, or
            unverified for ever.
        key: The key that a request must authenticate with.
        account: The account that a request must be about.
        in_turn: Whether it hits every second request only.
        secret_id: The secret that a list lacks; None for the oldest.
        reset: How far ahead the X-RateLimit-Reset of a 429 is.
        reset_unit: The unit of that header; None for the emulator's own choice of headers.
    """

    operation: Operation | None
    name: str
    count: int | None = 1
    delay: timedelta | None = _SECOND
    key: str | None = field(default=None, kw_only=True)
    account: str | None = field(default=None, kw_only=True)
    in_turn: bool = field(default=False, kw_only=True)
    secret_id: str | None = field(default=None, kw_only=True)
    reset: timedelta | None = field(default=None, kw_only=True)
    reset_unit: Literal["s", "ms"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no fault: drop-before, drop-after, hang, hang-after, slow, late, 400, 401, 403, "
                "unprovisioned, 429, 5xx, 5xx-after, 500-problem, stale, lacks, lag, unverified or no-limits"
            )
        wanted = _CONTENT.get(self.name)
        if wanted is not None and self.operation is not wanted:
            raise ValueError(f"only a {wanted} can be {self.name}: {wanted}:{self.name}")
        if self.count is not None and self.count < 1:
            raise ValueError("a fault hits at least one request")
        if self.name == "429" and self.delay is not None and self.delay % _SECOND:
            raise ValueError("a Retry-After is in whole seconds")
        if self.name == "lag" and not (self.delay and self.delay <= LONGEST_LAG):
            raise ValueError("a list lags by at most an hour: list:lag:20s")
        if self.delay is None and self.name not in ("429", "unverified"):
            raise ValueError(f"{self.name} takes a duration")

    def __str__(self) -> str:
        """The text that `parse_fault` reads back as this fault."""
        details = []
        if self.name in _WITH_DURATION and self.delay is not None:
            details.append(_milliseconds(self.delay))
        if self.reset is not None:
            details.append(f"reset{'-ms' if self.reset_unit == 'ms' else ''}={_milliseconds(self.reset)}")
        elif self.name == "429" and self.delay is None:
            details.append("bare")
        named = {"id": self.secret_id, "key": self.key, "account": self.account}
        details += [f"{name}={value}" for name, value in named.items() if value is not None]
        details += ["in-turn"] if self.in_turn else []
        count = "*" if self.count is None else self.count
        return f"{self.operation or 'any'}:{self.name}:{count}" + "".join(f"@{detail}" for detail in details)

    @property
    def changes_content(self) -> bool:
        """Whether the operation is done and answered, with another content than usual."""
        return self.name in _CONTENT

    @property
    def works(self) -> bool:
        """Whether the operation is done."""
        return self.changes_content or self.name in ("slow", "late") or self.name.endswith("-after")

    @property
    def drops(self) -> bool:
        """Whether the connection is closed without an answer."""
        return self.name.startswith("drop-")

    @property
    def hangs(self) -> bool:
        """Whether the request is never answered."""
        return self.name.startswith("hang")

    @property
    def status(self) -> int | None:
        """The status that replaces the real answer, if one does."""
        if self.name == "unprovisioned":
            return 401
        return int(self.name[:3]) if self.name[0].isdecimal() else None

    @property
    def delay_of_work(self) -> timedelta:
        """How late the operation is done."""
        return self.delay if self.name == "late" and self.delay else timedelta()

    @property
    def delay_of_answer(self) -> timedelta:
        """How long after that the answer comes."""
        return self.delay if self.name == "slow" and self.delay else timedelta()

    def fits(self, operation: Operation, key: str | None, account: str | None) -> bool:
        """Whether a request is one of those that it hits."""
        return self.operation in (None, operation) and self.key in (None, key) and self.account in (None, account)


# --- parsing -------------------------------------------------------------------------------------------------


def parse_fault(text: str) -> Fault:
    """Read a fault as written in the module's text; ValueError if it is none."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise ValueError(_unreadable(text))
    operation, name, count = match.group("operation", "name", "count")
    details = match["details"].split("@")[1:]
    if operation not in ("any", *Operation):
        raise ValueError(f"{operation!r} in {text!r} is no operation: {', '.join(Operation)} or any")
    name = _ALIASES.get(name, name)
    if name == "lag" and count is not None and not (count.isdecimal() or count == "*"):
        details.insert(0, count)
        count = None
    count = count or ("*" if name == "lag" else "1")
    if not (count.isdecimal() or count == "*"):
        raise ValueError(_unreadable(text))
    return Fault(
        None if operation == "any" else Operation(operation),
        name,
        None if count == "*" else int(count) or None,
        **_parse_details(text, name, details),
    )


def _parse_details(text: str, name: str, details: Sequence[str]) -> dict[str, Any]:
    """The arguments of a fault that its details say."""
    found: dict[str, Any] = {}
    for detail in details:
        of, equals, value = detail.partition("=")
        argument: dict[str, Any]
        match of:
            case "key" | "account" if value:
                argument = {of: value}
            case "in-turn" if not equals:
                argument = {"in_turn": True}
            case "id" if value and name == "lacks":
                argument = {"secret_id": value}
            case "reset" | "reset-ms" if name == "429":
                argument = {"reset": _parse_duration(text, value), "reset_unit": "ms" if of == "reset-ms" else "s"}
            case "bare" if name == "429" and not equals:
                argument = {"delay": None}
            case _:
                if name not in _WITH_DURATION and not equals:
                    raise ValueError(f"{text!r}: only {', '.join(_WITH_DURATION)} take a detail such as 2s")
                argument = {"delay": _parse_duration(text, detail)}
        if found.keys() & argument.keys():
            raise ValueError(f"{text!r}: {detail!r} contradicts another detail")
        found |= argument
    if "reset" in found or name in ("lag", "unverified"):
        found.setdefault("delay", None)
    return found


def _parse_duration(text: str, detail: str) -> timedelta:
    match = _DURATION.fullmatch(detail)
    if match is None:
        raise ValueError(f"{_unreadable(text)}: {detail!r} is no detail of it")
    return int(match["number"]) * _UNITS[match["unit"] or "s"]


def _unreadable(text: str) -> str:
    return f"{text!r} is not OPERATION:FAULT[:COUNT][@DETAIL], such as create:drop-after:2"


def _milliseconds(duration: timedelta) -> str:
    return f"{duration // _UNITS['ms']}ms"


# --- pending faults ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pending:
    """A fault, and how many requests about each account it has fitted."""

    fault: Fault
    fitted: Counter[str | None] = field(default_factory=Counter)


class Faults:
    """The faults that are still pending, in the order they were added; safe to use from any thread."""

    def __init__(self, faults: Iterable[Fault | str] = ()) -> None:
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []
        self.add(*faults)

    def add(self, *faults: Fault | str) -> None:
        """Add faults, all of them or, if one cannot be read, none."""
        parsed = [parse_fault(fault) if isinstance(fault, str) else fault for fault in faults]
        with self._lock:
            self._pending += map(_Pending, parsed)

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._pending.clear()

    def pending(self) -> tuple[Fault, ...]:
        """Faults with hits left."""
        with self._lock:
            return tuple(pending.fault for pending in self._pending)

    def take(
        self,
        operation: Operation,
        *,
        key: str | None = None,
        account: str | None = None,
        changes_content: bool = False,
    ) -> Fault | None:
        """Take one hit of the fault that hits this request, if one does.

        Args:
            key: The key that the request authenticates with.
            account: The account that it is about.
            changes_content: Whether to take a fault of the content, not one of the exchange.
        """
        with self._lock:
            for index, pending in enumerate(self._pending):
                fault = pending.fault
                if fault.changes_content is not changes_content or not fault.fits(operation, key, account):
                    continue
                pending.fitted[account] += 1
                if fault.in_turn and not pending.fitted[account] % 2:
                    continue
                if fault.count == 1:
                    del self._pending[index]
                elif fault.count is not None:
                    pending.fault = replace(fault, count=fault.count - 1)
                return fault
            return None
