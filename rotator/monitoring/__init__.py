"""Metrics and status: counters of the process, and the status of each account for people and Prometheus."""

from rotator.monitoring.exposition import Format, content_type, expose, exposition, requested_format
from rotator.monitoring.metrics import CIRCUIT_BREAKER, PROVIDER_SLOW, VAULT_UNAVAILABLE, Metrics
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
    fleet_report,
    state,
)

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
    "exposition",
    "fleet_report",
    "requested_format",
    "state",
]
