"""The dashboard as Grafana reads it, as far as that can be said without Grafana; its queries run in test_prometheus."""

import re
from itertools import combinations
from typing import Any

import pytest

from rotator.monitoring import OVERDUE_AFTER, State
from testkit import monitoring
from testkit.monitoring import dashboard, metrics_in, queries, rules

BOARD = dashboard()
PANELS: list[dict[str, Any]] = BOARD["panels"]
ASKING = [panel for panel in PANELS if panel["type"] != "row"]
EACH = pytest.mark.parametrize("panel", ASKING, ids=lambda panel: panel["title"])
UNITS = {"short", "s", "percentunit", "dtdurations", "dateTimeFromNow", "currencyEUR", "reqps"}
SHOWN_BY = {"stat", "bargauge", "table", "timeseries", "state-timeline"}


def test_dashboard_has_an_identity_and_no_id() -> None:
    assert BOARD["uid"] == "rotator-fleet"
    assert BOARD["title"] == "rotator"
    assert BOARD["schemaVersion"] >= 36
    assert "id" not in BOARD  # it would be another Grafana's
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)


def test_panels_do_not_overlap() -> None:
    taken = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["w"] > 0
        assert at["h"] > 0
        assert at["x"] + at["w"] <= 24
        taken[panel["id"]] = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
    assert [pair for pair in combinations(taken, 2) if taken[pair[0]] & taken[pair[1]]] == []


LEGEND: dict[str, Any] = {"displayMode": "list", "placement": "bottom"}
LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
LOOKS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "stat": ({"colorMode": "background", "graphMode": "none", "reduceOptions": LAST}, {}, "thresholds"),
    "bargauge": ({"displayMode": "basic", "orientation": "horizontal", "reduceOptions": LAST}, {}, "thresholds"),
    "table": ({"showHeader": True}, {"cellOptions": {"type": "color-text"}}, "thresholds"),
    "timeseries": (
        {"legend": LEGEND | {"showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}},
        {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"},
        "palette-classic",
    ),
    "state-timeline": (
        {
            "legend": LEGEND | {"showLegend": False},
            "tooltip": {"mode": "single", "sort": "none"},
            "mergeValues": True,
            "rowHeight": 0.9,
            "showValue": "never",
        },
        {"fillOpacity": 80, "lineWidth": 0},
        "thresholds",
    ),
}


@EACH
def test_panels_of_a_kind_look_alike(panel: dict[str, Any]) -> None:
    options, custom, colour = LOOKS[panel["type"]]
    own = {"textMode", "sortBy"}
    defaults = panel["fieldConfig"]["defaults"]
    assert {key: value for key, value in panel["options"].items() if key not in own} == options
    found = {key: value for key, value in defaults.get("custom", {}).items() if key != "thresholdsStyle"}
    assert found == custom
    assert defaults["color"] == {"mode": colour}
    assert defaults["thresholds"]["mode"] == "absolute"
    assert panel["fieldConfig"]["overrides"] == []
    colours = {step["color"] for step in defaults["thresholds"]["steps"]}
    assert colours <= {"green", "orange", "red", "blue", "transparent"}
    line = len(defaults["thresholds"]["steps"]) > 1
    style = {"mode": "line" if line else "off"} if panel["type"] == "timeseries" else None
    assert defaults.get("custom", {}).get("thresholdsStyle") == style
    asks_for_words = "by (state)" in panel["targets"][0]["expr"] and panel["type"] == "stat"
    assert panel["options"].get("textMode") == {"stat": "name" if asks_for_words else "value"}.get(panel["type"])


@pytest.mark.parametrize("panel", [panel for panel in ASKING if panel["type"] == "table"], ids=lambda one: one["title"])
def test_tables_are_sorted_by_their_number(panel: dict[str, Any]) -> None:
    [how] = panel["transformations"]
    [column] = panel["options"]["sortBy"]
    assert how == {
        "id": "organize",
        "options": {"excludeByName": {"Time": True}, "renameByName": {"Value": column["displayName"]}},
    }
    [target] = panel["targets"]
    assert target["format"] == "table"
    assert target["expr"].startswith("sort_desc(" if column["desc"] else "sort(")


def test_dashboard_shows_a_day_in_local_time() -> None:
    shown = {"time": {"from": "now-24h", "to": "now"}, "refresh": "1m", "timezone": "", "graphTooltip": 1}
    plain = {"editable": True, "version": 1, "links": [], "annotations": {"list": []}, "tags": ["rotator"]}
    assert {key: BOARD[key] for key in shown | plain} == shown | plain
    rows = [panel for panel in PANELS if panel["type"] == "row"]
    assert all((row["collapsed"], row["panels"]) == (False, []) for row in rows)
    assert [row["title"] for row in rows] == ["The fleet", "One account: $account", "The provider and Vault"]


def test_codes_are_shown_as_words() -> None:
    words = {
        panel["title"]: {key: entry["text"] for key, entry in mapping["options"].items()}
        for panel in ASKING
        for mapping in panel["fieldConfig"]["defaults"].get("mappings", [])
        if mapping["type"] == "value"
    }
    assert words == {
        "Is the circuit breaker open?": {"0": "no", "1": "yes: no new rotation"},
        "Is the present configuration in force?": {"0": "no: refused", "1": "yes"},
    }
    missing = [panel["fieldConfig"]["defaults"]["noValue"] for panel in ASKING if "noValue" in str(panel)]
    assert missing == ["none", "never", "not managed", "never", "none"]


def test_variables_choose_data_source_and_job() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert [*variables] == ["datasource", "job", "account"]
    assert variables["datasource"]["query"] == "prometheus"
    assert [variable["label"] for variable in variables.values()] == ["Prometheus", "Job", "Account"]
    for variable in variables.values():
        assert (variable["includeAll"], variable["multi"], variable["hide"]) == (False, False, 0)
        assert variable["type"] == ("datasource" if variable["name"] == "datasource" else "query")
    for variable in (variables["job"], variables["account"]):
        assert variable["query"] == {"query": variable["definition"], "refId": variable["name"]}
        assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert (variable["refresh"], variable["sort"]) == (2, 1)  # with the time range; by name
        assert metrics_in(variable["definition"]) <= monitoring.exported()


@EACH
def test_panels_have_a_query_and_a_unit(panel: dict[str, Any]) -> None:
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
        if panel["type"] != "stat" and (by := re.findall(r"by \(([a-z_, ]+)\)", target["expr"])):
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == set(by[0].split(", ")) - {"le"}
        assert target["instant"] is (panel["type"] in ("stat", "bargauge", "table"))
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    steps = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert steps[0] is None
    assert steps[1:] == sorted(steps[1:])


def test_panels_use_exported_metrics_only() -> None:
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
        ("How late do jobs start (90th percentile)?", "RotatorScheduleLate", "> {}"),
        ("When does the Vault token expire?", "RotatorVaultTokenExpiring", "- time() < {}"),
        ("Is the circuit breaker open?", "RotatorCircuitBreakerOpen", "== {}"),
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
    "title", ["How many processes are ready?", "Are all shards there?", "Is the present configuration in force?"]
)
def test_panel_is_red_below_one(title: str) -> None:
    assert red_from(title) == 1
