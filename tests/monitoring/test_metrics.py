"""What Prometheus reads: the official parsers, the real promtool and a real Prometheus say whether it is right."""

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from rotator import __version__
from rotator.core.protocol import Phase, Reason, Trigger
from rotator.errors import Code
from rotator.monitoring import (
    CIRCUIT_BREAKER,
    Metrics,
    State,
    expose,
)
from rotator.provider import Budget
from rotator.rotation import Outcome, Result
from rotator.web import App, serving
from testkit.cluster import PATIENCE
from tests.monitoring.scraping import (
    HEALTHY,
    IN_GRACE,
    NEVER_SEEN,
    NOW,
    fleet,
    scrape,
    series,
)

# --- counters -----------------------------------------------------------------------------------------------------


def test_counters_start_at_zero() -> None:
    samples = scrape(Metrics(), fleet())
    expected = [
        *(series("rotations_total", result=result, trigger=trigger) for result in Result for trigger in Trigger),
        *(series("failures_total", reason=code) for code in Code),
        *(series("revocations_total", reason=reason) for reason in ("grace_over", "compromised")),
        *(
            series("deferrals_total", reason=reason)
            for reason in (*Reason, CIRCUIT_BREAKER)
            if reason not in ("idle", "grace", "identifying")
        ),
        *(series("config_reloads_total", result=result) for result in ("ok", "failed")),
        *(
            series(name)
            for name in (
                "lease_conflicts_total",
                "jobs_missed_total",
                "internal_errors_total",
                "planning_failures_total",
            )
        ),
        series("audit_lines_lost_total"),
        series("rotation_duration_seconds_count"),
        series("job_start_delay_seconds_count"),
    ]
    assert {key: samples.get(key) for key in expected} == dict.fromkeys(expected, 0)


def changed(tell: Callable[[Metrics], object]) -> dict[str, float]:
    """What telling changes, buckets apart; labels are told in the order of their names."""
    metrics = Metrics()
    before = scrape(metrics, fleet())
    tell(metrics)
    after = scrape(metrics, fleet())
    return {
        " ".join([name.removeprefix("rotator_"), *(value for _, value in sorted(labels))]): value
        for (name, labels), value in after.items()
        if name.startswith("rotator_") and value != before.get((name, labels), 0) and not name.endswith("_bucket")
    }


DONE = Outcome("shop", Result.OK, published=True, reason="grace", trigger=Trigger.SCHEDULE)
TOLD: dict[str, tuple[Outcome, dict[str, float]]] = {
    "a rotation": (
        DONE,
        {
            "rotations_total ok schedule": 1,
            "rotation_duration_seconds_count": 1,
            "rotation_duration_seconds_sum": 1.5,
        },
    ),
    "nothing to do": (Outcome("shop", Result.OK, reason="idle", trigger=Trigger.SCHEDULE), {}),
    "old secrets revoked": (
        Outcome("shop", Result.OK, reason="idle", revoked=("a", "b"), trigger=Trigger.MANUAL),
        {"revocations_total grace_over": 2},
    ),
    "a compromised secret revoked": (
        Outcome("shop", Result.OK, reason="idle", revoked=("a",), trigger=Trigger.COMPROMISED),
        {"revocations_total compromised": 1},
    ),
    "put off": (Outcome("shop", Result.DEFERRED, reason="leased"), {"deferrals_total leased": 1}),
    "failed": (
        Outcome("shop", Result.FAILED, reason="credentials", trigger=Trigger.RESCUE),
        {"rotations_total failed rescue": 1, "failures_total credentials": 1},
    ),
    "failed before anything was known": (
        Outcome("shop", Result.FAILED, reason="vault_unreachable"),
        {"rotations_total failed schedule": 1, "failures_total vault_unreachable": 1},
    ),
    "others were ahead": (
        Outcome("shop", Result.OK, reason="idle", conflicts=3),
        {"lease_conflicts_total": 3},
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_run_is_counted_by_its_result(case: str) -> None:
    outcome, expected = TOLD[case]
    assert changed(lambda metrics: metrics.finished(outcome, 1.5)) == expected


def test_other_counters_count() -> None:
    assert changed(lambda metrics: metrics.deferred(CIRCUIT_BREAKER)) == {"deferrals_total circuit_breaker": 1}
    assert changed(lambda metrics: metrics.missed()) == {"jobs_missed_total": 1}
    assert changed(lambda metrics: metrics.audit_line_lost()) == {"audit_lines_lost_total": 1}
    assert changed(lambda metrics: metrics.job_failed()) == {"internal_errors_total": 1}
    assert changed(lambda metrics: metrics.late(timedelta(hours=2))) == {
        "job_start_delay_seconds_count": 1,
        "job_start_delay_seconds_sum": 7200,
    }
    assert changed(lambda metrics: metrics.late(timedelta(seconds=-1))) == {"job_start_delay_seconds_count": 1}
    assert changed(lambda metrics: metrics.request("vault", "read", "200", 0.25)) == {
        "api_requests_total 200 read vault": 1,
        "api_request_duration_seconds_count read vault": 1,
        "api_request_duration_seconds_sum read vault": 0.25,
    }


def test_unknown_label_value_becomes_other() -> None:
    def tell(metrics: Metrics) -> None:
        metrics.request("vault", "read", "403 Forbidden: s.hunter2", 0.25)
        metrics.deferred("x" * 100)

    told = changed(tell)
    assert told["api_requests_total other read vault"] == 1
    assert told["deferrals_total other"] == 1


def test_refused_configuration_shows_until_one_is_loaded() -> None:
    clock = iter(NOW + timedelta(hours=hour) for hour in range(9))
    metrics = Metrics(clock=lambda: next(clock))
    at = series("config_last_reload_success_timestamp_seconds")

    def seen() -> tuple[float, float]:
        samples = scrape(metrics, fleet())
        return samples[series("config_last_reload_successful")], samples[at]

    assert seen() == (1, NOW.timestamp())
    metrics.reloaded(ok=False)
    assert seen() == (0, NOW.timestamp())
    metrics.reloaded(ok=True)
    assert seen() == (1, (NOW + timedelta(hours=1)).timestamp())
    assert scrape(metrics, fleet())[series("config_reloads_total", result="failed")] == 1


def test_metrics_objects_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.missed()
    assert scrape(other, fleet())[series("jobs_missed_total")] == 0


def test_build_info_has_both_versions() -> None:
    builds = [labels for name, labels in scrape(Metrics(), fleet()) if name == "rotator_build_info"]
    assert [dict(labels)["version"] for labels in builds] == [__version__]


def busy() -> Metrics:
    """With a series of every metric."""
    metrics = Metrics()
    for outcome, _ in TOLD.values():
        metrics.finished(outcome, 2)
    metrics.request("provider", "list", "2xx", 0.1)
    metrics.token_expires(NOW)
    metrics.record_budget(HEALTHY.api_key, Budget(remaining=3, limit=30))
    return metrics


def test_promtool_finds_no_problem() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: apt-get install prometheus"
    text = b"".join(expose(busy(), fleet(HEALTHY, IN_GRACE, NEVER_SEEN)))
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


# --- a real Prometheus --------------------------------------------------------------------------------------------


@contextmanager
def prometheus(target: str, folder: Path) -> Iterator[httpx.Client]:
    """A real server that scrapes the target; gives a client of its API."""
    binary = shutil.which("prometheus")
    assert binary, "prometheus is needed: apt-get install prometheus"
    job = {"job_name": "rotator", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))  # JSON is YAML too
    with httpx.Client(timeout=PATIENCE) as probe, open(folder / "log", "w", encoding="utf-8") as log:
        port = free_port()
        command = [
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            probe.base_url = f"http://127.0.0.1:{port}/api/v1/"
            yield probe
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def answer(client: httpx.Client, query: str, within: float = 60) -> list[dict[str, Any]]:
    """What the query gives, once it gives anything."""
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        try:
            if result := client.get("query", params={"query": query}).json()["data"]["result"]:
                return list(result)
        except (httpx.TransportError, KeyError, json.JSONDecodeError):
            pass  # it is starting
        time.sleep(0.1)
    raise AssertionError(f"no answer to {query}")


def test_real_prometheus_answers_documented_queries(tmp_path: Path) -> None:
    overdue = replace(HEALTHY, name="late", due_at=NOW - timedelta(days=400))
    unknown = replace(HEALTHY, name="odd", phase=Phase.AMBIGUOUS, unknown_secrets=1)
    status = fleet(HEALTHY, IN_GRACE, overdue, unknown)

    with serving(App(lambda: status, busy()), "127.0.0.1:0") as target, prometheus(target, tmp_path) as client:
        assert answer(client, 'up{job="rotator"} == 1')
        queries = [line.strip() for line in documented_queries()]
        late = answer(client, next(query for query in queries if "next_rotation" in query))
        odd = answer(client, next(query for query in queries if '_state{state="ambiguous"' in query))
        asked = {query: client.get("query", params={"query": query}).json()["status"] for query in queries}

    assert [result["metric"]["account"] for result in late] == ["late"]
    assert [result["metric"]["account"] for result in odd] == ["odd"]
    assert len(asked) >= 12
    assert asked == dict.fromkeys(asked, "success")


DOCUMENTATION = Path(__file__).parents[2] / "docs" / "metrics.md"


def documented_queries() -> list[str]:
    blocks = DOCUMENTATION.read_text(encoding="utf-8").split("```promql\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines() if line.strip()]


def test_documentation_names_exactly_the_metrics() -> None:
    text = b"".join(expose(busy(), fleet(HEALTHY, IN_GRACE))).decode()
    real = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE rotator_")}
    rows = [line for line in DOCUMENTATION.read_text(encoding="utf-8").splitlines() if line.startswith("| `rotator_")]
    assert sorted(row.split("`")[1].split("{")[0] for row in rows) == sorted(real)


def test_documentation_names_every_reason_of_a_deferral() -> None:
    section = DOCUMENTATION.read_text(encoding="utf-8").split("## Deferrals")[1].split("## ")[0]
    text = b"".join(expose(Metrics(), fleet(HEALTHY))).decode()
    reasons = re.findall(r'^rotator_deferrals_total\{reason="(\w+)"\}', text, re.MULTILINE)
    assert sorted(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == sorted(reasons)


def test_documentation_names_every_state_in_its_order() -> None:
    section = DOCUMENTATION.read_text(encoding="utf-8").split("## States")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [each.value for each in State]
