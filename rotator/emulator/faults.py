"""Faults to inject, by name and count; imports operations.

    OPERATION:FAULT[:COUNT][@DETAIL]

OPERATION   balance, top-up, settings, list, create, get, revoke, or any
FAULT       drop-before   the connection is closed without an answer, and nothing was done
            drop-after    what was asked is done, then the connection is closed without an answer
            401           the credentials are refused, though they may be right, and nothing was done
            stale         list only: the newest of several secrets is not in it yet
            429           a rate limit, nothing was done; DETAIL is its Retry-After in whole seconds, 1s if not given
            5xx           the HTML page of a broken gateway, such as 503, and nothing was done
            5xx-after     the same page, such as 504-after, but what was asked was done behind it
            slow          done at once, answered late; DETAIL says how late, 1s if not given
            late          done late, even if the client has gone by then, and answered; DETAIL as for slow
COUNT       how many requests are hit, 1 if not given; * or 0: every one from now on
DETAIL      2s, 500ms, or a bare number of seconds

    create:drop-after       the next create is done and its answer lost
    list:503:3              three lists fail, the fourth works
    list:stale:2            two lists do not show what was created last
    any:429:*@5s            every request is told to come back in five seconds
    revoke:late@2s          the next revocation takes effect two seconds after it was sent

A request is hit by at most one fault: the first one added that fits it and has hits left.
"""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from rotator.emulator.operations import Operation

_SPEC = re.compile(r"(?P<operation>[^:@]+):(?P<name>[^:@]+)(?::(?P<count>\d+|\*))?(?:@(?P<detail>\d+(?:ms|s)?))?")
_NAME = re.compile(r"drop-before|drop-after|stale|slow|late|401|429|5[0-9]{2}(-after)?")
_WITH_DETAIL = ("429", "slow", "late")
_MILLISECOND = timedelta(milliseconds=1)
_NOTHING = timedelta()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        operation: Which requests it hits; None for any.
        name: One of the names in the module's text.
        count: How many requests it still hits; None for all of them.
        delay: How late slow and late are, and the Retry-After of 429; the others have no use for it.
    """

    operation: Operation | None
    name: str
    count: int | None = 1
    delay: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no fault: drop-before, drop-after, stale, slow, late, 401, 429, 5xx or 5xx-after"
            )
        if self.name == "stale" and self.operation is not Operation.LIST:
            raise ValueError("only a list can be stale: list:stale")
        if self.count is not None and self.count < 1:
            raise ValueError("a fault hits at least one request")
        if self.name == "429" and self.delay % timedelta(seconds=1):
            raise ValueError("a Retry-After is in whole seconds")

    def __str__(self) -> str:
        """The text that `parse_fault` reads back as this fault."""
        count = "*" if self.count is None else self.count
        detail = f"@{self.delay // _MILLISECOND}ms" if self.name in _WITH_DETAIL else ""
        return f"{self.operation or 'any'}:{self.name}:{count}{detail}"

    @property
    def works(self) -> bool:
        """Whether what was asked is done."""
        return self.name in ("stale", "slow", "late") or self.name.endswith("-after")

    @property
    def drops(self) -> bool:
        """Whether the connection is closed without an answer."""
        return self.name.startswith("drop-")

    @property
    def status(self) -> int | None:
        """The status that stands in for the real answer, if one does."""
        return int(self.name[:3]) if self.name[0].isdecimal() else None

    @property
    def delay_of_work(self) -> timedelta:
        """How late what was asked is done."""
        return self.delay if self.name == "late" else _NOTHING

    @property
    def delay_of_answer(self) -> timedelta:
        """How long after that the answer comes."""
        return self.delay if self.name == "slow" else _NOTHING


def parse_fault(text: str) -> Fault:
    """Read a fault as written in the module's text; ValueError if it is none."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not OPERATION:FAULT[:COUNT][@DETAIL], such as create:drop-after:2")
    operation, name, count, detail = match.group("operation", "name", "count", "detail")
    if operation not in ("any", *Operation):
        raise ValueError(f"{operation!r} in {text!r} is no operation: {', '.join(Operation)} or any")
    if detail is not None and name not in _WITH_DETAIL:
        raise ValueError(f"{text!r}: only {', '.join(_WITH_DETAIL)} take a detail")
    return Fault(
        None if operation == "any" else Operation(operation),
        name,
        None if count == "*" else int(count or 1) or None,
        _parse_detail(detail or "1s"),
    )


def _parse_detail(text: str) -> timedelta:
    if text.endswith("ms"):
        return int(text.removesuffix("ms")) * _MILLISECOND
    return timedelta(seconds=int(text.removesuffix("s")))


class Faults:
    """The faults that are still to come, in the order they were added; safe to use from any thread."""

    def __init__(self, faults: Iterable[Fault | str] = ()) -> None:
        self._lock = threading.Lock()
        self._pending: list[Fault] = []
        self.add(*faults)

    def add(self, *faults: Fault | str) -> None:
        """Add faults, all of them or, if one cannot be read, none."""
        parsed = [parse_fault(fault) if isinstance(fault, str) else fault for fault in faults]
        with self._lock:
            self._pending += parsed

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        with self._lock:
            self._pending.clear()

    def pending(self) -> tuple[Fault, ...]:
        """What is still to come."""
        with self._lock:
            return tuple(self._pending)

    def take(self, operation: Operation) -> Fault | None:
        """The fault that hits this request, if one does; it has one hit less from then on."""
        with self._lock:
            for index, fault in enumerate(self._pending):
                if fault.operation not in (None, operation):
                    continue
                if fault.count == 1:
                    del self._pending[index]
                elif fault.count is not None:
                    self._pending[index] = replace(fault, count=fault.count - 1)
                return fault
            return None
