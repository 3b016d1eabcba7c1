"""Metrics and status: counters of the process, and the status of each account for people and Prometheus."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_EXPOSITION = ("Format", "content_type", "expose", "requested_format")


def __getattr__(name: str) -> Any:
    """Import the metrics when they are used: commands show the status only, and start without their library."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'exposition' if name in _EXPOSITION else 'metrics'}"), name)
