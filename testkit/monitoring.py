"""What the tests of alerts, runbooks and dashboard read: the files of deploy/, and the names in their expressions."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from rotator import __version__
from rotator.monitoring import FleetStatus, Metrics, expose

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
SCRAPING = ROOT / "deploy" / "prometheus" / "prometheus.yml"
CASES = ROOT / "deploy" / "prometheus" / "tests.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "rotator.json"
RUNBOOKS = ROOT / "docs" / "runbooks"
MONITORING = ROOT / "docs" / "monitoring.md"

_METRIC = re.compile(r"(?<![\w:/$])rotator_[a-z0-9_]+(?![\w:])")
_RECORDED = re.compile(r"\b[a-z_]+:[a-z0-9_:]+\b")


@dataclass(frozen=True)
class Rule:
    """A rule as it stands in the file."""

    name: str
    expr: str
    hold: str | None
    labels: dict[str, str]
    annotations: dict[str, str]


def rules(kind: str) -> list[Rule]:
    """The rules of a kind, "alert" or "record"."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [
        Rule(rule[kind], rule["expr"], rule.get("for"), rule.get("labels", {}), rule.get("annotations", {}))
        for group in groups
        for rule in group["rules"]
        if kind in rule
    ]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana is given it."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def queries() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard, with the title of its panel."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def metrics_in(text: str) -> set[str]:
    """The names of rotator's metrics in an expression or a page."""
    return set(_METRIC.findall(text))


def recorded_in(expr: str) -> set[str]:
    """The names of recorded series in an expression."""
    return set(_RECORDED.findall(expr))


def exported() -> set[str]:
    """The name of every series that the daemon can have."""
    nobody = FleetStatus(datetime.now(UTC), __version__, "r", datetime.now(UTC), True, None, None, None, ())
    names = set()
    for line in b"".join(expose(Metrics(), nobody)).decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            names |= {name} if kind != "histogram" else {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return names
