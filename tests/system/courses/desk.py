"""What one process sees of Vault and the provider: it can die at any request, and others act between two of them."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from rotator.core.protocol import RequestKind
from rotator.provider import (
    ApiError,
    Balance,
    Credentials,
    InvalidRequest,
    LostAnswer,
    NotSent,
    SecretInfo,
    Unauthorized,
)
from rotator.vault import CasConflict, Document, VaultUnreachable
from tests.system.courses.events import Fault, Moment, Request

if TYPE_CHECKING:
    from tests.system.courses.course import Course

T = TypeVar("T")
# How long a request takes.
TAKES = timedelta(milliseconds=20)
_WRITES = (Request.JOURNAL, Request.PUBLISHED)
_CHANGES = (*_WRITES, Request.CREATE, Request.REVOKE)
_DEATHS = (Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.DIES_HELD)


class Died(BaseException):
    """The process is gone. Not an error that it could handle."""


@dataclass
class Held:
    """A request that is held up on its way to a server.

    Attributes:
        until: When the provider has certainly dropped it; None for Vault, where check-and-set decides.
    """

    kind: Request
    carry_out: Callable[[], object]
    until: datetime | None

    def release(self, now: datetime) -> None:
        """Carry it out, if that is still possible."""
        if self.until is None or now < self.until:
            with suppress(CasConflict, ApiError):  # too late
                self.carry_out()


@dataclass
class Desk:
    """The connections of one process.

    Attributes:
        moments: What happens at its requests.
        looked_at: When it last read the published document, as a number of the course.
        read_value: The value that it read then.
        asks: The kind of rotation that a person asks for with it.
        wants: The values that the person wants replaced.
    """

    course: "Course"
    actor: str
    moments: tuple[Moment, ...] = ()
    looked_at: int = 0
    read_value: str | None = None
    asks: RequestKind | None = None
    wants: set[str] = field(default_factory=set)
    dead: bool = False
    _counts: Counter[Request] = field(default_factory=Counter)

    # --- the servers, as a run sees them ---------------------------------------------------------------------------

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        """List the secrets."""

        def carry_out() -> tuple[SecretInfo, ...]:
            return self.course.provider.list_secrets(auth, api_key)

        return self._request(Request.LIST, carry_out)

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        """Create a secret."""

        def carry_out() -> SecretInfo:
            info = self.course.provider.create_secret(auth, api_key, secret)
            self.course.judge.created(self, info.id, secret.get_secret_value())
            return info

        return self._request(Request.CREATE, carry_out)

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> str:
        """Revoke a secret."""
        looked_at = self.looked_at  # a request that is held up lands after later looks

        def carry_out() -> str:
            self.course.judge.revokes(self, secret_id, looked_at)
            request_id = self.course.provider.revoke_secret(auth, api_key, secret_id)
            self.course.judge.look(self.actor, self)
            return request_id

        return self._request(Request.REVOKE, carry_out)

    def get_balance(self, auth: Credentials) -> Balance:
        """Read the balance."""
        return self._request(Request.READ, lambda: self.course.provider.get_balance(auth))

    def read(self, path: str, version: int | None = None) -> Document:
        """Read a document."""

        def carry_out() -> Document:
            document = self.course.vault.read(path, version)
            if path == self.course.account.path and version is None:
                first = not self.looked_at
                self.looked_at = self.course.next_number()
                self.read_value = self.course.published
                self.course.judge.read(self, first=first)
            return document

        return self._request(Request.READ, carry_out)

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        """Write a document."""
        course = self.course
        if path == course.account.path:
            kind, noted = Request.PUBLISHED, course.judge.published
        elif path == course.journal_path:
            kind, noted = Request.JOURNAL, course.judge.journaled
        else:
            return course.vault.write(path, data, cas)
        before = course.published

        def carry_out() -> int:
            nonlocal before
            before = course.published
            version = course.vault.write(path, data, cas)
            noted(self, before)
            return version

        return self._request(kind, carry_out)

    def keep_versions(self, path: str, count: int) -> bool:
        """Limit the versions of a document."""
        return self.course.vault.keep_versions(path, count)

    # --- faults ----------------------------------------------------------------------------------------------------

    def _request(self, kind: Request, carry_out: Callable[[], T]) -> T:
        if self.dead:  # what cleans up in a process that is gone does not happen
            raise Died
        self.course.clock.wait(TAKES)
        fault = self._fault_of(kind)
        if fault is None:
            return carry_out()
        if fault is Fault.REFUSED and kind not in (Request.LIST, Request.CREATE, Request.REVOKE):
            fault = Fault.LOST
        if fault is Fault.REFUSED:
            raise _refusal(kind)
        if fault in (Fault.DIES_AFTER, Fault.LOST_AFTER):
            carry_out()
        if fault in (Fault.DIES_HELD, Fault.LOST_HELD) and kind in _CHANGES:
            self.course.hold(Held(kind, carry_out, self._dropped_at(kind)))
        if fault in _DEATHS:
            self.dead = True
            raise Died
        raise _lost(kind)

    def _fault_of(self, kind: Request) -> Fault | None:
        fault = None
        counted = {one: self._counts[one] for one in (kind, Request.ANY)}
        for one in counted:
            self._counts[one] += 1
        for moment in self.moments:
            if counted.get(moment.request) != moment.number:
                continue
            for event in moment.before:
                self.course.play(event)
            fault = fault or moment.fault
        return fault

    def _dropped_at(self, kind: Request) -> datetime | None:
        provider = self.course.provider
        if kind in _WRITES:
            return None
        return self.course.clock() + provider.request_timeout + provider.settle


def _refusal(kind: Request) -> ApiError:
    if kind is Request.CREATE:
        return InvalidRequest("the value is refused", status=400, invalid_parameters=(("secret", "no"),))
    return Unauthorized("refused for a moment", status=401)


def _lost(kind: Request) -> Exception:
    if kind in (Request.CREATE, Request.REVOKE):
        return LostAnswer(f"no answer to the {kind.value}")
    if kind is Request.LIST:
        return NotSent("no answer to the list")
    return VaultUnreachable("no answer", maybe_done=kind in _WRITES)
