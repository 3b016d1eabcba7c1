"""Metrics and status: counters of the process, and the status of each account for people and Prometheus."""

from typing import TYPE_CHECKING

from rotator.imports import import_on_use
from rotator.monitoring.status import (
    OVERDUE_AFTER,
    AccountStatus,
    BalanceStatus,
    FleetStatus,
    RequestStatus,
    RetiringStatus,
    State,
    account_report,
    describe,
    first_due,
    fleet_report,
    masked,
    request_status,
    state,
)

if TYPE_CHECKING:
    from rotator.monitoring.exposition import Format, content_type, expose, requested_format
    from rotator.monitoring.metrics import CIRCUIT_BREAKER, PROVIDER_SLOW, VAULT_UNAVAILABLE, Metrics

__all__ = [
    "CIRCUIT_BREAKER",
    "OVERDUE_AFTER",
    "PROVIDER_SLOW",
    "VAULT_UNAVAILABLE",
    "AccountStatus",
    "BalanceStatus",
    "FleetStatus",
    "Format",
    "Metrics",
    "RequestStatus",
    "RetiringStatus",
    "State",
    "account_report",
    "content_type",
    "describe",
    "expose",
    "first_due",
    "fleet_report",
    "masked",
    "request_status",
    "requested_format",
    "state",
]

# Commands show the status only, and start without the library of the metrics.
__getattr__ = import_on_use(
    __name__,
    dict.fromkeys(("Format", "content_type", "expose", "requested_format"), "exposition")
    | dict.fromkeys(("CIRCUIT_BREAKER", "PROVIDER_SLOW", "VAULT_UNAVAILABLE", "Metrics"), "metrics"),
)
