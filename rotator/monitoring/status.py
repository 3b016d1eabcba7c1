"""The status of each account, for metrics, the status page and the command line."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from rotator.config import AccountSettings
from rotator.core.protocol import Journal, Phase, Request, RequestKind
from rotator.core.scheduling import Due
from rotator.errors import Code, stored_code
from rotator.logs import redact

OVERDUE_AFTER = timedelta(hours=1)
"""A rotation that did not start this long after it was due is overdue: queues and short outages take less time."""

# A provider can list thousands of ids, and an error can name them: status and results show its beginning.
_LONGEST_TEXT = 2000


class State(StrEnum):
    """The state of an account: the first of these that is true."""

    DISABLED = "disabled"  # the configuration disables it
    AMBIGUOUS = "ambiguous"  # it has a secret that rotator does not know: a person has to decide
    FAILING = "failing"  # its last run failed
    ROTATING = "rotating"  # a rotation started and is not finished
    OVERDUE = "overdue"  # its rotation should have started more than OVERDUE_AFTER ago
    PENDING = "pending"  # it is not adopted yet, or its journal was not read yet
    GRACE_PERIOD = "grace_period"  # the previous secret is in its grace period
    IDLE = "idle"  # nothing to do until the next rotation


_BY_PHASE = {
    None: State.PENDING,
    Phase.OVERLAP: State.GRACE_PERIOD,
    Phase.IDLE: State.IDLE,
}


@dataclass(frozen=True, slots=True)
class BalanceStatus:
    """The balance of an account, if rotator monitors it.

    Attributes:
        threshold: The balance threshold in euros.
        euros: The balance in euros, as last read; None if it was not read yet.
        auto_reload: Whether rotator can top it up; None if that is not known.
        low: Whether it is below the threshold.
        read_at: The time of the last reading.
    """

    threshold: float
    euros: float | None = None
    auto_reload: bool | None = None
    low: bool = False
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RetiringStatus:
    """A recorded secret that rotator revokes.

    Attributes:
        id: Its id.
        not_before: The end of its grace period.
        compromised: Whether it must never be published again.
    """

    id: str
    not_before: datetime
    compromised: bool = False


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """A rotation that a person requested and that is not finished yet.

    Attributes:
        kind: The kind of rotation.
        by: The name of the person.
        at: The time of the request.
        id: The name of the request in logs.
    """

    kind: RequestKind
    by: str
    at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account.

    Attributes:
        name: Its name in the configuration.
        api_key: The provider's name for it; not a secret.
        path: The published document, below vault.mount.
        primary: The primary account that can act for it.
        enabled: Whether rotator manages it.
        phase: The phase in its journal; None if it is not adopted yet, or its journal was not read yet.
        published: Whether a secret is published.
        secret_id: The published secret's id; None if it is not known, or the published version is not recorded yet.
        secret_id_learned: How rotator learned that id.
        rotated_at: The time at which the published secret was generated.
        due_at: The time of its next rotation; None if it is not known or there will be none.
        overridden: Whether the next rotation starts outside its windows, because max_age requires it.
        retiring: The recorded secrets that rotator revokes, and when.
        live_secrets: Number of its secrets at the provider, as far as rotator knows.
        unknown_secrets: Number of its unknown secrets. The published secret is never one of them.
        request: The rotation that a person requested; None if no rotation is requested.
        lease_holder: The instance that has its lease.
        lease_until: The time at which that lease expires.
        attempts: Failed runs since the last successful one.
        next_attempt_at: The time of the next attempt after a failure.
        last_error: The last failure: its cause, what was not changed and what to do.
        failure: Failure code of the last run; None if it succeeded.
        balance: Its balance; None if rotator does not monitor it.
    """

    name: str
    api_key: str
    path: str
    primary: str | None
    enabled: bool
    phase: Phase | None = None
    published: bool = False
    secret_id: str | None = None
    secret_id_learned: str | None = None
    rotated_at: datetime | None = None
    due_at: datetime | None = None
    overridden: bool = False
    retiring: tuple[RetiringStatus, ...] = ()
    live_secrets: int = 0
    unknown_secrets: int = 0
    request: RequestStatus | None = None
    lease_holder: str | None = None
    lease_until: datetime | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str | None = None
    failure: Code | None = None
    balance: BalanceStatus | None = None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The fleet, as one daemon sees it. A command knows `at`, `version` and `accounts` only.

    Attributes:
        at: The time of this status.
        version: rotator's version.
        instance: The daemon's name, as leases contain it.
        started_at: The time of its start.
        ready: Whether Vault is available, jobs can be set and every journal was read.
        not_ready: The reason why it is not ready, in one sentence; None if it is.
        shard: "0/4" if the daemon manages one shard of the fleet.
        circuit_breaker: Why the circuit breaker is open, in one sentence; None if it is closed.
        accounts: In the order of the configuration; of this shard only.
        configuration_error: Why the configuration file is not in force: it is wrong or removed. None if it is in force.
    """

    at: datetime
    version: str
    instance: str
    started_at: datetime
    ready: bool
    not_ready: str | None
    shard: str | None
    circuit_breaker: str | None
    accounts: tuple[AccountStatus, ...]
    configuration_error: str | None = None


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def state(account: AccountStatus, at: datetime) -> State:
    """Return the state of an account at that time."""
    if not account.enabled:
        return State.DISABLED
    if account.phase is Phase.AMBIGUOUS:
        return State.AMBIGUOUS
    if account.attempts or account.last_error:
        return State.FAILING
    if account.phase is Phase.PREPARED:
        return State.ROTATING
    if account.due_at is not None and at - account.due_at > OVERDUE_AFTER:
        return State.OVERDUE
    return _BY_PHASE[account.phase]


def account_report(account: AccountStatus, at: datetime) -> dict[str, Any]:
    """Return an account as `status --json` and `/api/status` show it.

    The keys are the attributes of `AccountStatus`, but `state` and `rotating` (a rotation started and is not finished)
    instead of `phase`. Times are aware `datetime` objects.

    Two sources can differ for the same account. Only a daemon knows `balance`, and failures that the journal does not
    contain, such as those of Vault. Only a command reads the published document for `published`.
    """
    return _reported(_adapter(AccountStatus).dump_python(account), account, at)


def fleet_report(status: FleetStatus) -> dict[str, Any]:
    """Return the fleet as `/api/status` shows it: the attributes of `FleetStatus`, and a report of each account."""
    report: dict[str, Any] = _adapter(FleetStatus).dump_python(status)
    for row, account in zip(report["accounts"], status.accounts, strict=True):
        _reported(row, account, status.at)
    return report


def _reported(row: dict[str, Any], account: AccountStatus, at: datetime) -> dict[str, Any]:
    del row["phase"]
    row["state"] = state(account, at)
    row["rotating"] = account.phase is Phase.PREPARED
    return row


def describe(
    account: AccountSettings,
    journal: Journal | None,
    *,
    error: str | None = None,
    failure: Code | None = None,
    retry_at: datetime | None = None,
    published: bool | None = None,
    balance: BalanceStatus | None = None,
) -> AccountStatus:
    """Return one account's status.

    Args:
        account: Its settings.
        journal: Its journal; None if it was not read yet, an empty one if there is none yet.
        error: A failure that the journal does not contain.
        failure: Code of that failure.
        retry_at: The time of the next attempt after that failure.
        published: Whether a secret is published; None: as the journal says.
        balance: Its balance.
    """
    known = journal or Journal()
    recorded = stored_code(known.failure) if known.failure else None
    due = first_due(account, known)
    own = known.named_ids
    unknown = known.unknown_ids - own
    possible = known.last_doubt.ids if known.last_doubt is not None else frozenset()
    return AccountStatus(
        name=account.name,
        api_key=account.api_key,
        path=account.path,
        primary=account.primary,
        enabled=account.enabled,
        phase=known.phase if known != Journal() else None,
        published=known.current is not None if published is None else published,
        secret_id=known.current_id,
        secret_id_learned=known.current.learned.value if known.current else None,
        rotated_at=known.rotated_at,
        due_at=due.at if due and account.enabled else None,
        overridden=due.overridden if due else False,
        retiring=tuple(RetiringStatus(entry.id, entry.not_before, entry.compromised) for entry in known.retiring),
        live_secrets=len(known.retiring_ids | unknown | possible | own),
        unknown_secrets=len(unknown),
        request=request_status(known.request),
        lease_holder=masked(known.lease_holder),
        lease_until=known.lease_until,
        attempts=known.attempts,
        next_attempt_at=retry_at if error else known.next_attempt_at,
        last_error=masked(error or known.ambiguity or known.last_error),
        failure=failure if error else recorded,
        balance=balance,
    )


def first_due(account: AccountSettings, journal: Journal) -> Due | None:
    """Return when a rotation was due when the secret was published: an overdue rotation keeps that time.

    None while the age of the secret is unknown.
    """
    rotated_at = journal.rotated_at
    return account.schedule.due(account.name, rotated_at, rotated_at) if rotated_at else None


def request_status(request: Request | None) -> RequestStatus | None:
    """Return a request for display."""
    if request is None:
        return None
    return RequestStatus(request.kind, redact(request.by), request.at, request.id)


def masked(text: str | None) -> str | None:
    """Return text of a journal, which another version or another instance can have written: masked, and bounded."""
    if text is None:
        return None
    clean = redact(text)
    return clean if len(clean) <= _LONGEST_TEXT else clean[:_LONGEST_TEXT] + "…"
