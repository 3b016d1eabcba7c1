"""The dashboard as Grafana reads it, as far as that can be said without Grafana; its queries run in test_prometheus."""

from itertools import combinations
from typing import Any

import pytest

from rotator.metrics import OVERDUE_AFTER, State
from tests import monitoring
from tests.monitoring import dashboard, metrics_in, queries, rules

BOARD = dashboard()
PANELS: list[dict[str, Any]] = BOARD["panels"]
ASKING = [panel for panel in PANELS if panel["type"] != "row"]
EACH = pytest.mark.parametrize("panel", ASKING, ids=lambda panel: panel["title"])
UNITS = {"short", "s", "percentunit", "dtdurations", "dateTimeFromNow", "currencyEUR", "reqps"}
SHOWN_BY = {"stat", "bargauge", "table", "timeseries", "state-timeline"}


def test_it_can_be_imported_and_found_again() -> None:
    assert BOARD["uid"] == "rotator-fleet"
    assert BOARD["title"] == "rotator"
    assert BOARD["schemaVersion"] >= 36
    assert "id" not in BOARD  # it would be another Grafana's
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)


def test_panels_lie_on_the_grid_and_none_on_another() -> None:
    taken = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["w"] > 0
        assert at["h"] > 0
        assert at["x"] + at["w"] <= 24
        taken[panel["id"]] = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
    assert [pair for pair in combinations(taken, 2) if taken[pair[0]] & taken[pair[1]]] == []


def test_what_it_depends_on_is_chosen_by_variables() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert [*variables] == ["datasource", "job", "account"]
    assert variables["datasource"]["query"] == "prometheus"
    for variable in (variables["job"], variables["account"]):
        assert variable["query"]["query"] == variable["definition"]
        assert metrics_in(variable["definition"]) <= monitoring.exported()


@EACH
def test_a_panel_asks_a_question_of_the_chosen_prometheus_and_says_in_what_it_answers(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["title"].endswith("?")
    assert panel["type"] in SHOWN_BY
    assert panel["datasource"] == chosen
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == chosen
        assert 'job="$job"' in target["expr"]
        assert target["legendFormat"] or panel["type"] == "stat"
        assert target["instant"] is not target["range"]
        assert target["instant"] is (panel["type"] in ("stat", "bargauge", "table"))
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    steps = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert steps[0] is None
    assert steps[1:] == sorted(steps[1:])


def test_no_panel_asks_for_a_metric_that_the_daemon_does_not_export() -> None:
    asked = {name for _, expr in queries() for name in metrics_in(expr)}
    assert len(asked) > 10
    assert asked <= monitoring.exported()


def test_states_in_queries_exist() -> None:
    [needy] = [expr for _, expr in queries() if "state=~" in expr]
    assert set(needy.split('state=~"')[1].split('"')[0].split("|")) == {State.AMBIGUOUS, State.FAILING, State.OVERDUE}


def red_from(title: str) -> float:
    """The limit at which a panel turns red, or ceases to be."""
    [panel] = [panel for panel in ASKING if panel["title"] == title]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    red = next(index for index, step in enumerate(steps) if step["color"] == "red")
    return float(steps[red]["value"] if red else steps[1]["value"])


@pytest.mark.parametrize(
    ("title", "alert", "condition"),
    [
        ("How late are nine visits of ten at most?", "RotatorScheduleLate", "> {}"),
        ("How long is the Vault token good for?", "RotatorVaultTokenEnding", "- time() < {}"),
        ("Is the brake on?", "RotatorBrakeEngaged", "== {}"),
        ("Which balances are low?", "RotatorLowBalance", ""),
    ],
)
def test_red_begins_where_the_alert_does(title: str, alert: str, condition: str) -> None:
    [rule] = [rule for rule in rules("alert") if rule.name == alert]
    if condition:
        assert condition.format(f"{red_from(title):g}") in rule.expr
    else:
        assert red_from(title) == 0


def test_red_is_overdue_where_rotations_are_listed() -> None:
    assert red_from("Which accounts rotate next, and which are overdue?") == -OVERDUE_AFTER.total_seconds()


@pytest.mark.parametrize(
    "title", ["How many processes are ready?", "Are all shards there?", "Is the file's configuration in force?"]
)
def test_what_should_be_one_is_red_below(title: str) -> None:
    assert red_from(title) == 1
