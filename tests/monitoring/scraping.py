"""Statuses of accounts, and the metrics that a scrape of them returns."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from rotator import __version__
from rotator.core.protocol import Phase
from rotator.monitoring import (
    OVERDUE_AFTER,
    AccountStatus,
    FleetStatus,
    Metrics,
    RetiringStatus,
    State,
    expose,
    requested_format,
)

NOW = datetime(2026, 11, 23, 18, 5, 7, 250_000, tzinfo=UTC)
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
BOTH = pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])
Parse = Callable[[str], Iterable[Metric]]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


HEALTHY = AccountStatus(
    name="shop",
    api_key="ef567890",
    path="nexmo/shop",
    primary="main",
    enabled=True,
    phase=Phase.IDLE,
    secret_id="id-1",
    rotated_at=NOW - timedelta(days=3),
    due_at=NOW + timedelta(days=27),
    live_secrets=1,
)
IN_GRACE = replace(
    HEALTHY,
    name="alerts",
    phase=Phase.OVERLAP,
    live_secrets=2,
    retiring=(RetiringStatus("id-3", NOW + timedelta(hours=9)), RetiringStatus("id-2", NOW + timedelta(hours=2))),
)
SHARED = Metrics()
NEVER_SEEN = AccountStatus(name="new", api_key="a1", path="nexmo/new", primary=None, enabled=True)
LATE = NOW - OVERDUE_AFTER - timedelta(seconds=1)
TRUE_OF = {
    "idle": (HEALTHY, State.IDLE),
    "in its grace period": (IN_GRACE, State.GRACE_PERIOD),
    "rotating": (replace(HEALTHY, phase=Phase.PREPARED), State.ROTATING),
    "never seen": (NEVER_SEEN, State.PENDING),
    "due, not for long": (replace(HEALTHY, due_at=NOW - OVERDUE_AFTER), State.IDLE),
    "overdue": (replace(HEALTHY, due_at=LATE), State.OVERDUE),
    "begun and overdue": (replace(HEALTHY, due_at=LATE, phase=Phase.PREPARED), State.ROTATING),
    "failed and overdue": (replace(HEALTHY, due_at=LATE, attempts=1), State.FAILING),
    "failed, not in the journal": (replace(NEVER_SEEN, last_error="nothing is published"), State.FAILING),
    "ambiguous and failed": (replace(HEALTHY, phase=Phase.AMBIGUOUS, attempts=2, last_error="x"), State.AMBIGUOUS),
    "disabled in whatever state": (replace(HEALTHY, enabled=False, phase=Phase.AMBIGUOUS), State.DISABLED),
}


def fleet(*accounts: AccountStatus, **changes: Any) -> FleetStatus:
    calm = FleetStatus(NOW, __version__, "host-1", NOW, True, None, None, None, accounts)
    return replace(calm, **changes)


def scrape(metrics: Metrics, status: FleetStatus, accept: str = "", parse: Parse = parse_text) -> Samples:
    text = b"".join(expose(metrics, status, requested_format(accept))).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"rotator_{name}", frozenset(labels.items())


def about(samples: Samples, account: str) -> dict[str, float]:
    """The series of one account without further labels."""
    return {
        name.removeprefix("rotator_account_"): value
        for (name, labels), value in samples.items()
        if labels == frozenset({("account", account)})
    }
