"""Where every account stands, for metrics, status page and command line; imports config and below."""

from dataclasses import dataclass
from datetime import datetime

from rotator.config import AccountSettings
from rotator.core.protocol import Journal, Phase, Request, RequestKind
from rotator.errors import Code, stored_code
from rotator.logs import redact
from rotator.schedule import Due


@dataclass(frozen=True, slots=True)
class BalanceStatus:
    """What an account has left, if that is watched.

    Attributes:
        threshold: Below so many euros it is low.
        euros: As last read; None if it was not read yet.
        auto_reload: Whether it can be topped up; None if that is not known.
        low: Whether it is low.
        read_at: When that was.
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
    """A rotation that a person requested and that is not done yet.

    Attributes:
        kind: What was requested.
        by: Who requested it.
        at: When.
        id: Names the request in logs.
    """

    kind: RequestKind
    by: str
    at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account.

    Attributes:
        name: What the configuration calls it.
        api_key: The provider's name for it; not a secret.
        path: The published document, below vault.mount.
        primary: The account that may act for it.
        enabled: False: rotator leaves it alone.
        phase: None if it was not taken on yet, or its journal was not read yet.
        secret_id: The published secret's id.
        rotated_at: When the published secret came to be.
        due_at: When its next rotation is, or was, to begin; None if it is not known or there will be none.
        overridden: The next rotation begins outside its windows, because max_age says so.
        retiring: The recorded secrets that are to be revoked, and when.
        live_secrets: How many secrets the account has, as far as rotator knows.
        unknown_secrets: How many of them rotator cannot account for. The published secret is never one of them.
        request: The rotation that a person requested; None if nothing is requested.
        holder: The runner at work on it.
        attempts: Failed runs since the last good one.
        next_attempt_at: When it is tried again after a failure.
        last_error: What went wrong, what was left alone and what to do.
        failure: Failure code of the last run; None if it succeeded.
        balance: What it has left; None if nobody watches that.
    """

    name: str
    api_key: str
    path: str
    primary: str | None
    enabled: bool
    phase: Phase | None = None
    secret_id: str | None = None
    rotated_at: datetime | None = None
    due_at: datetime | None = None
    overridden: bool = False
    retiring: tuple[RetiringStatus, ...] = ()
    live_secrets: int = 0
    unknown_secrets: int = 0
    request: RequestStatus | None = None
    holder: str | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str | None = None
    failure: Code | None = None
    balance: BalanceStatus | None = None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The whole fleet as one daemon sees it.

    Attributes:
        at: When this was looked at.
        version: rotator's version.
        runner: The daemon's name, as leases carry it.
        started_at: When it started.
        ready: Whether Vault is available, jobs can be set and every journal was read.
        not_ready: Why not, in one sentence; None if it is.
        shard: "0/4" if the daemon looks after a part of the fleet only.
        brake: Why no new rotation is begun at the moment; None: the brake is off.
        accounts: In the order of the configuration; of this shard only.
    """

    at: datetime
    version: str
    runner: str
    started_at: datetime
    ready: bool
    not_ready: str | None
    shard: str | None
    brake: str | None
    accounts: tuple[AccountStatus, ...]


def describe(
    account: AccountSettings,
    journal: Journal | None,
    due: Due | None,
    *,
    error: str | None = None,
    failure: Code | None = None,
    retry_at: datetime | None = None,
    balance: BalanceStatus | None = None,
) -> AccountStatus:
    """One account's status.

    Args:
        account: Its settings.
        journal: Its journal; None if it was not read yet, an empty one if there is none yet.
        due: When it is, or was, to rotate next.
        error: What went wrong where it could not be noted in the journal.
        failure: Code of that failure.
        retry_at: When that is tried again.
        balance: What it has left.
    """
    known = journal or Journal()
    recorded = stored_code(known.failure) if known.failure else None
    own = known.named_ids
    unknown = known.unknown_ids - own
    possible = known.strangers.ids if known.strangers is not None else frozenset()
    return AccountStatus(
        name=account.name,
        api_key=account.api_key,
        path=account.path,
        primary=account.primary,
        enabled=account.enabled,
        phase=known.phase if known != Journal() else None,
        secret_id=known.current_id,
        rotated_at=known.rotated_at,
        due_at=due.at if due and account.enabled else None,
        overridden=due.overridden if due else False,
        retiring=tuple(RetiringStatus(entry.id, entry.not_before, entry.compromised) for entry in known.retiring),
        live_secrets=len(known.retiring_ids | unknown | possible | own),
        unknown_secrets=len(unknown),
        request=_requested(known.request),
        holder=_masked(known.holder),
        attempts=known.attempts,
        next_attempt_at=retry_at if error else known.next_attempt_at,
        last_error=_masked(error or known.ambiguity or known.last_error),
        failure=failure if error else recorded,
        balance=balance,
    )


def _requested(request: Request | None) -> RequestStatus | None:
    if request is None:
        return None
    return RequestStatus(request.kind, redact(request.by), request.at, request.id)


def _masked(text: str | None) -> str | None:
    """Text of a journal, which another version or another instance can have written."""
    return redact(text) if text is not None else None
