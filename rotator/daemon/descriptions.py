"""The state of the daemon in words."""

from datetime import datetime

import structlog

from rotator.core.circuit_breaker import CircuitBreaker
from rotator.core.protocol import Journal
from rotator.daemon.account_record import AccountRecord
from rotator.monitoring import FleetStatus, describe, state

_log = structlog.get_logger()


def describe_breaker(breaker: CircuitBreaker) -> str | None:
    """Return why no new rotation starts; None if the circuit breaker is closed."""
    if breaker.cause is None or breaker.until is None:
        return None
    alike = sum(entry[1] is breaker.cause for entry in breaker.recent)
    revoked = "" if breaker.allows_revocations else ", and nothing is revoked"
    return (
        f"{alike} of the last {len(breaker.recent)} accounts failed for a reason of one kind ({breaker.cause.value}): "
        f"no new rotation begins before {breaker.until:%Y-%m-%d %H:%M:%S} UTC{revoked}. After that one account is "
        "tried; if that goes well, all go on"
    )


def log_breaker(before: CircuitBreaker, after: CircuitBreaker) -> None:
    """Log that the circuit breaker opened, stays open for longer, or closed."""
    if after.cause is not None and after.until != before.until:
        _log.error("circuit_breaker.opened", why=after.cause.value, error=describe_breaker(after))
    if after.cause is None and before.cause is not None:
        _log.info("circuit_breaker.closed", why=before.cause.value)


def summarize(status: FleetStatus) -> str:
    """Return the state in one line without text from elsewhere: errors belong into the log, which masks secrets."""
    if not status.ready:
        return "Not ready: Vault does not work, no job can be set, or journals were not read yet. See the log"
    failing = sum(account.last_error is not None for account in status.accounts)
    failures = f", {failing} with a failure" if failing else ""
    breaker = ". The circuit breaker is open" if status.circuit_breaker else ""
    refused = ". The configuration file is wrong or missing" if status.configuration_error else ""
    return f"{len(status.accounts)} accounts{failures}{breaker}{refused}"


def log_other_instance(before: AccountRecord, after: Journal | None, now: datetime) -> None:
    """Log that another instance changed an account, if it did more than acquire or release the lease."""
    if before.journal is None or after is None or _content(before.journal) == _content(after):
        return
    shown = state(describe(before.settings, after), now)
    _log.info("account.changed_elsewhere", account=before.name, state=shown.value, secret_id=after.current_id)


def _content(journal: Journal) -> tuple[object, ...]:
    return journal.phase, journal.current_id, journal.published_version, journal.retiring_ids, journal.request
