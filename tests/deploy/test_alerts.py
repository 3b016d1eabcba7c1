"""The alert rules: promtool's cases, a runbook for each, and no name that does not exist."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rotator.cli.app import app
from rotator.core import circuit_breaker as brake
from rotator.errors import Code
from rotator.monitoring import State
from rotator.rotation import Outcome, Result
from testkit import monitoring
from testkit.monitoring import CASES, MONITORING, ROOT, RUNBOOKS, SCRAPING, metrics_in, rules

ALERTS = {rule.name: rule for rule in rules("alert")}
PAGES = {page.stem: page for page in RUNBOOKS.glob("*.md")}
EACH_ALERT = pytest.mark.parametrize("name", ALERTS)
EACH_PAGE = pytest.mark.parametrize("page", [*PAGES.values(), MONITORING], ids=lambda page: page.stem)


def promtool(*arguments: str | Path) -> str:
    """What promtool has to say; it must be content."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# --- the rules --------------------------------------------------------------------------------------------------------


def test_promtool_accepts_rules_and_configuration() -> None:
    assert f"{len(rules('alert')) + len(rules('record'))} rules found" in promtool("check", "config", SCRAPING)


def test_prometheus_example_scrapes_every_minute() -> None:
    # A minute is what the rules' windows and holds were chosen for.
    assert yaml.safe_load(SCRAPING.read_text(encoding="utf-8")) == {
        "global": {"scrape_interval": "1m", "evaluation_interval": "1m", "external_labels": {"runbooks": ""}},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]},
        "scrape_configs": [{"job_name": "rotator", "static_configs": [{"targets": ["rotator:9464"]}]}],
    }


def test_promtool_cases_pass() -> None:
    promtool("test", "rules", CASES)


@EACH_ALERT
def test_each_alert_has_firing_and_silent_cases(name: str) -> None:
    cases = [
        case for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"] if case["name"].startswith(name)
    ]
    fires = {
        question["eval_time"]
        for case in cases
        for question in case["promql_expr_test"]
        if any(f'alertname="{name}",alertstate="firing"' in sample["labels"] for sample in question["exp_samples"])
    }
    silent = {
        question["eval_time"]
        for case in cases
        for question in case["promql_expr_test"]
        if question["expr"] == 'ALERTS{alertstate="firing"}' and not question["exp_samples"]
    }
    assert any(f"{int(instant.removesuffix('m')) - 1}m" in silent for instant in fires)


@EACH_ALERT
def test_alerts_have_severity_summary_and_description(name: str) -> None:
    alert = ALERTS[name]
    assert name.startswith("Rotator")
    assert alert.hold is not None
    assert alert.labels["severity"] in ("page", "ticket")
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.annotations["summary"].endswith(".")
    assert not re.search(r"\. [A-Z]", alert.annotations["summary"])
    assert re.search(
        r"untouched|keeps? working|keep authenticating|in force|Nothing was|is what it was",
        alert.annotations["description"],
    )
    assert alert.annotations["runbook_url"] == f"{{{{ $externalLabels.runbooks }}}}docs/runbooks/{name}.md"


def test_rules_use_exported_metrics_only() -> None:
    asked = {name for rule in (*rules("alert"), *rules("record")) for name in metrics_in(rule.expr)}
    assert len(asked) > 10
    assert asked <= monitoring.exported()


def test_recorded_series_are_defined_and_used() -> None:
    recorded = {rule.name for rule in rules("record")}
    in_rules = {name for rule in rules("alert") for name in monitoring.recorded_in(rule.expr)}
    in_dashboard = {name for _, expr in monitoring.queries() for name in monitoring.recorded_in(expr)}
    assert in_rules | in_dashboard == recorded


def test_labels_are_compared_with_values_that_exist() -> None:
    known: dict[str, list[str]] = {"state": [*State], "job": ["rotator"]}
    compared = [
        (label, value)
        for rule in (*rules("alert"), *rules("record"))
        for label, values in re.findall(r'(\w+)=~?"([^"]+)"', rule.expr)
        for value in values.split("|")
        if label != "reason"
    ]
    assert len(compared) >= 6
    assert [pair for pair in compared if pair[1] not in known[pair[0]]] == []


def test_credential_alert_uses_codes_of_the_breaker() -> None:
    [reasons] = re.findall(r'reason=~"([^"]+)"', ALERTS["RotatorCredentialsRefused"].expr)
    refused = {
        code.value
        for code in Code
        if brake.shared_cause(Outcome("shop", Result.FAILED, reason=code)) is brake.Cause.CREDENTIALS
    }
    assert set(reasons.split("|")) == refused


# --- the pages --------------------------------------------------------------------------------------------------------


def test_each_alert_has_one_runbook() -> None:
    assert sorted(PAGES) == sorted(ALERTS)


@EACH_ALERT
def test_runbook_has_every_section_and_commands(name: str) -> None:
    text = PAGES[name].read_text(encoding="utf-8")
    assert text.startswith(f"# {name}: ")
    assert f"Severity: {ALERTS[name].labels['severity']}.\n" in text
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    bodies = {section.splitlines()[0]: section for section in sections}
    assert list(bodies) == ["Meaning", "Impact", "Diagnosis", "Mitigation", "Verification"]
    assert commands(bodies["Diagnosis"])
    assert commands(bodies["Verification"])


def commands(text: str) -> list[list[str]]:
    """Every rotator command in a page, in blocks and in the text, without its first word."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("rotator ")]


# What a command line that is wrong raises; typer has a name for the particular case only.
(UsageError,) = typer.BadParameter.__bases__


def understand(arguments: list[str]) -> None:
    """Have the real command line read the arguments, and do nothing; UsageError if it would refuse them."""
    command: Any = typer.main.get_command(app)
    disarm(command)
    command.main(arguments, prog_name="rotator", standalone_mode=False)


def disarm(command: Any) -> None:
    """Let a command and those below it do nothing once they have read their arguments."""
    command.callback = lambda **options: None
    for below in getattr(command, "commands", {}).values():
        disarm(below)


@EACH_PAGE
def test_runbook_commands_exist(page: Path) -> None:
    for command in commands(page.read_text(encoding="utf-8")):
        understand(command)


@pytest.mark.parametrize(
    "wrong", ["stats", "status --until 1d", "resolve", "rotate-now --due --shards 1/2", "config look"]
)
def test_unknown_runbook_command_is_noticed(wrong: str) -> None:
    with pytest.raises(UsageError):
        understand(wrong.split())


@EACH_PAGE
def test_runbook_metrics_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert metrics_in(text) <= monitoring.exported()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert set(re.findall(r"\bRotator[A-Z]\w+", text)) <= ALERTS.keys()


# --- what to do with them ---------------------------------------------------------------------------------------------


def test_overview_lists_every_alert() -> None:
    text = MONITORING.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(Rotator\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| (\w+) \|", text, flags=re.MULTILINE)
    assert sorted(rows) == sorted((name, name, rule.labels["severity"], rule.hold) for name, rule in ALERTS.items())


def test_alertmanager_example_routes_every_severity() -> None:
    [example] = re.findall(
        r"^```yaml\n(.*?)^```", MONITORING.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    routing = yaml.safe_load(example)
    routed = {matcher for route in routing["route"]["routes"] for matcher in route["matchers"]}
    assert routed == {f'severity="{rule.labels["severity"]}"' for rule in ALERTS.values()}
    receivers = {receiver["name"] for receiver in routing["receivers"]}
    assert {routing["route"]["receiver"], *(route["receiver"] for route in routing["route"]["routes"])} == receivers
    for rule in routing["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            names = re.fullmatch(r'alertname=~?"([\w|]+)"', matcher)
            assert names is not None, matcher
            assert set(names[1].split("|")) <= ALERTS.keys()
