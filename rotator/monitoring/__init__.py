"""Metrics and status: what people and Prometheus see."""

from rotator.monitoring.metrics import BRAKE, OVERDUE_AFTER, PROVIDER_SLOW, VAULT_UNAVAILABLE, Metrics, State, state
from rotator.monitoring.status import AccountStatus, BalanceStatus, FleetStatus, RequestStatus, RetiringStatus, describe

__all__ = [
    "BRAKE",
    "OVERDUE_AFTER",
    "PROVIDER_SLOW",
    "VAULT_UNAVAILABLE",
    "AccountStatus",
    "BalanceStatus",
    "FleetStatus",
    "Metrics",
    "RequestStatus",
    "RetiringStatus",
    "State",
    "describe",
    "state",
]
