"""What Prometheus reads: the official parsers, the real promtool and a real Prometheus say whether it is right."""

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from rotator import __version__
from rotator.core.protocol import Phase, Reason, Trigger
from rotator.errors import Code
from rotator.monitoring import (
    CIRCUIT_BREAKER,
    OVERDUE_AFTER,
    AccountStatus,
    BalanceStatus,
    FleetStatus,
    Format,
    Metrics,
    RetiringStatus,
    State,
    content_type,
    expose,
    requested_format,
    state,
)
from rotator.provider import Budget
from rotator.rotation import Outcome, Result
from rotator.web import App, serving

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


# --- accounts -----------------------------------------------------------------------------------------------------


@BOTH
def test_account_gauges_have_the_values_of_the_status(accept: str, parse: Parse) -> None:
    samples = scrape(Metrics(), fleet(HEALTHY, IN_GRACE), accept, parse)

    assert about(samples, "shop") == {
        "enabled": 1,
        "last_rotation_timestamp_seconds": (NOW - timedelta(days=3)).timestamp(),
        "next_rotation_timestamp_seconds": (NOW + timedelta(days=27)).timestamp(),
        "live_secrets": 1,
        "unknown_secrets": 0,
        "failed_attempts": 0,
    }
    assert about(samples, "alerts")["next_revocation_timestamp_seconds"] == (NOW + timedelta(hours=2)).timestamp()
    assert samples[series("account_state", account="alerts", state="grace_period")] == 1


@BOTH
def test_unknown_values_have_no_series(accept: str, parse: Parse) -> None:
    samples = scrape(Metrics(), fleet(NEVER_SEEN, replace(NEVER_SEEN, name="off", enabled=False)), accept, parse)

    assert about(samples, "new") == {"enabled": 1, "failed_attempts": 0}
    assert about(samples, "off") == {"enabled": 0, "failed_attempts": 0}
    states = {dict(labels)["account"]: dict(labels)["state"] for name, labels in samples if name.endswith("_state")}
    assert states == {"new": "pending", "off": "disabled"}


def test_removed_account_has_no_series() -> None:
    metrics = Metrics()
    assert about(scrape(metrics, fleet(HEALTHY)), "shop")
    assert not about(scrape(metrics, fleet(IN_GRACE)), "shop")


@BOTH
@settings(max_examples=40)
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, max_size=4))
def test_any_account_name_survives_exposition(accept: str, parse: Parse, names: list[str]) -> None:
    status = fleet(*(replace(HEALTHY, name=name) for name in names))
    text = b"".join(expose(SHARED, status, requested_format(accept))).decode()
    family = next(family for family in parse(text) if family.name == "rotator_account_enabled")
    assert [sample.labels["account"] for sample in family.samples] == names


@BOTH
def test_account_name_cannot_break_its_line(accept: str, parse: Parse) -> None:
    name = 'a"} 1\nrotator_forged{x="\\'
    samples = scrape(Metrics(), fleet(replace(HEALTHY, name=name)), accept, parse)
    assert about(samples, name)["enabled"] == 1
    assert not [key for key, _ in samples if "forged" in key]


def test_error_text_is_in_no_metric() -> None:
    failed = replace(HEALTHY, last_error="hunter2", attempts=3)
    status = fleet(failed, circuit_breaker="hunter2", ready=False, not_ready="hunter2")
    assert b"hunter2" not in b"".join(expose(Metrics(), status))
    assert about(scrape(Metrics(), status), "shop")["failed_attempts"] == 3


@BOTH
def test_failure_gauge_has_the_last_runs_code(accept: str, parse: Parse) -> None:
    refused = replace(HEALTHY, name="refused", failure=Code.CREDENTIALS, attempts=2)
    samples = scrape(Metrics(), fleet(HEALTHY, refused), accept, parse)
    told = [dict(labels) for name, labels in samples if name == "rotator_account_failure"]
    assert {labels["account"]: labels["reason"] for labels in told} == {"refused": "credentials"}


def test_ten_thousand_accounts_take_half_a_second() -> None:
    accounts = [replace(IN_GRACE, name=f"account-{number}") for number in range(10_000)]
    metrics, status = Metrics(), fleet(*accounts)
    took = []
    for _ in range(3):
        begun = time.thread_time()
        b"".join(expose(metrics, status, Format.OPENMETRICS))
        took.append(time.thread_time() - begun)
    assert min(took) < 0.5


# --- states -------------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("case", TRUE_OF)
def test_state_is_the_first_that_applies(case: str) -> None:
    account, expected = TRUE_OF[case]
    assert state(account, NOW) is expected


def test_account_is_counted_in_one_state() -> None:
    accounts = [replace(account, name=f"a{number}") for number, (account, _) in enumerate(TRUE_OF.values())]
    samples = scrape(Metrics(), fleet(*accounts, IN_GRACE))
    counted = {each: samples[series("accounts", state=each)] for each in State}
    assert counted == dict.fromkeys(State, 1) | {
        State.IDLE: 2,
        State.GRACE_PERIOD: 2,
        State.FAILING: 2,
        State.ROTATING: 2,
    }
    assert scrape(Metrics(), fleet())[series("accounts", state="overdue")] == 0


def test_state_gauge_names_one_state_per_account() -> None:
    accounts = [replace(account, name=case) for case, (account, _) in TRUE_OF.items()]
    told = [dict(labels) for name, labels in scrape(Metrics(), fleet(*accounts)) if name == "rotator_account_state"]
    assert {labels["account"]: labels["state"] for labels in told} == {
        case: said for case, (_, said) in TRUE_OF.items()
    }
    assert len(told) == len(TRUE_OF)


@pytest.mark.parametrize(("shard", "expected"), [(None, (0, 1)), ("0/4", (0, 4)), ("11/12", (11, 12))])
def test_shard_gauges_show_index_and_count(shard: str | None, expected: tuple[int, int]) -> None:
    samples = scrape(Metrics(), fleet(shard=shard))
    assert (samples[series("shard_index")], samples[series("shards")]) == expected


@pytest.mark.parametrize(
    ("changes", "ready", "is_open"),
    [
        ({}, 1, 0),
        ({"ready": False, "not_ready": "Vault does not answer"}, 0, 0),
        ({"circuit_breaker": "many accounts failed"}, 1, 1),
    ],
)
def test_fleet_gauges_show_readiness_and_circuit_breaker(changes: Mapping[str, Any], ready: int, is_open: int) -> None:
    samples = scrape(Metrics(), fleet(**changes))
    assert (samples[series("ready")], samples[series("circuit_breaker_open")]) == (ready, is_open)


def test_token_expiry_is_exported_when_known() -> None:
    metrics = Metrics()
    assert series("vault_token_expiry_timestamp_seconds") not in scrape(metrics, fleet())
    metrics.token_expires(NOW)
    assert scrape(metrics, fleet())[series("vault_token_expiry_timestamp_seconds")] == NOW.timestamp()
    metrics.token_expires(None)
    assert series("vault_token_expiry_timestamp_seconds") not in scrape(metrics, fleet())


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


def test_label_is_always_a_word() -> None:
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


# --- formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0;escaping=dots", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text;version=zero", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
def test_client_chooses_the_format(accept: str, expected: str) -> None:
    form = requested_format(accept)
    text = b"".join(expose(Metrics(), fleet(HEALTHY), form))
    assert content_type(form).startswith(expected)
    assert text.endswith(b"# EOF\n") == ("openmetrics" in expected)
    assert text.count(b"# EOF") <= 1


def test_counters_have_no_created_series() -> None:
    assert b"_created" not in b"".join(expose(Metrics(), fleet(HEALTHY), Format.OPENMETRICS))


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
    with httpx.Client() as probe, open(folder / "log", "w", encoding="utf-8") as log:
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


@BOTH
def test_balance_gauges_have_known_values_only(accept: str, parse: Parse) -> None:
    known = replace(HEALTHY, name="known", balance=BalanceStatus(5.0, 4.25, auto_reload=False, low=True, read_at=NOW))
    unread = replace(HEALTHY, name="unread", balance=BalanceStatus(7.5))
    text = b"".join(expose(Metrics(), fleet(known, unread, HEALTHY), requested_format(accept))).decode()
    told = {
        (sample.name, sample.labels["account"]): sample.value
        for family in parse(text)
        for sample in family.samples
        if "balance" in sample.name or ("reload" in sample.name and "account" in sample.labels)
    }
    assert told == {
        ("rotator_account_balance_euros", "known"): 4.25,
        ("rotator_account_balance_threshold_euros", "known"): 5.0,
        ("rotator_account_balance_threshold_euros", "unread"): 7.5,
        ("rotator_account_auto_reload", "known"): 0.0,
        ("rotator_account_balance_last_read_timestamp_seconds", "known"): NOW.timestamp(),
    }


@BOTH
def test_rate_limits_are_exported_by_account(accept: str, parse: Parse) -> None:
    metrics = Metrics()
    for key, budget in (("k1", Budget(9, 30)), ("k1", Budget(0, 30)), ("k2", Budget(7, None)), ("gone", Budget(1, 2))):
        metrics.record_budget(key, budget)
    accounts = [replace(HEALTHY, name=f"a-{key}", api_key=key) for key in ("k1", "k2", "k3")]
    samples = scrape(metrics, fleet(*accounts), accept, parse)
    assert {key: value for key, value in samples.items() if "rate_limit" in key[0]} == {
        series("api_rate_limit_remaining", account="a-k1"): 0,
        series("api_rate_limit_requests", account="a-k1"): 30,
        series("api_rate_limit_remaining", account="a-k2"): 7,
    }


DOCUMENTATION = Path(__file__).parents[2] / "docs" / "metrics.md"


def documented_queries() -> list[str]:
    blocks = DOCUMENTATION.read_text(encoding="utf-8").split("```promql\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines() if line.strip()]


def test_documentation_names_exactly_the_metrics() -> None:
    text = b"".join(expose(busy(), fleet(HEALTHY, IN_GRACE))).decode()
    real = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE rotator_")}
    rows = [line for line in DOCUMENTATION.read_text(encoding="utf-8").splitlines() if line.startswith("| `rotator_")]
    assert sorted(row.split("`")[1].split("{")[0] for row in rows) == sorted(real)


def test_documentation_names_every_state_in_its_order() -> None:
    section = DOCUMENTATION.read_text(encoding="utf-8").split("## States")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [each.value for each in State]


def test_documentation_names_every_reason_of_a_deferral() -> None:
    section = DOCUMENTATION.read_text(encoding="utf-8").split("## Deferrals")[1].split("## ")[0]
    text = b"".join(expose(Metrics(), fleet(HEALTHY))).decode()
    reasons = re.findall(r'^rotator_deferrals_total\{reason="(\w+)"\}', text, re.MULTILINE)
    assert sorted(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == sorted(reasons)
