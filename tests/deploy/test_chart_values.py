"""The values of the chart: what is refused, and the texts and files that explain them."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from deploy.render import CHART, DEPLOY, MODES
from deploy.render import files as generated
from rotator import __version__
from tests.deploy.chart import (
    ACCOUNTS,
    CLAIM,
    LEAST,
    MATRIX,
    MONITORED,
    VERSIONS,
    Object,
    chart,
    container,
    kubernetes_errors,
    loaded,
    notes,
    render,
    template,
)

# --- what is refused --------------------------------------------------------------------------------------------------


def _typos(values: Object, schema: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every place of ours where a key could be mistyped."""
    if "properties" in schema:
        yield path
        for key, part in schema["properties"].items():
            yield from _typos(values, part, (*path, key))


def test_unknown_keys_are_refused_at_every_place() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    places = list(_typos(chart().values, schema))
    assert len(places) > 15
    for place in places:
        values: Object = copy.deepcopy(LEAST)
        at = values
        for key in place:
            at = at.setdefault(key, {})
        at["enabledd"] = True
        with pytest.raises(helm_python.HelmError, match="enabledd"):
            render(values)


def test_schema_has_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = {name for name, one in schema["properties"].items() if "const" not in one}
    assert values == chart().values.keys() | {"global"}


def test_matrix_sets_every_value() -> None:
    """Each value is rendered and validated with something else than its default."""
    set_somewhere = {name for values in MATRIX.values() for name in values}
    elsewhere = {"configToml", "nameOverride", "fullnameOverride"}  # each has a test of its own
    assert set_somewhere | elsewhere == chart().values.keys()


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"replicas": 2}, "the name of this value is replicaCount"),
        ({"env": []}, "the name of this value is extraEnv"),
        ({"volumes": []}, "the name of this value is extraVolumes"),
        ({"runAsUser": None, "containerSecurityContext": {}}, "the name of this value is securityContext"),
        ({"runAsUser": 5}, "the name of this value is podSecurityContext.runAsUser"),
        ({"replicaCuont": 2}, "'replicaCount'"),
        ({"image": {"pullpolicy": "Always"}}, "'pullPolicy'"),
    ],
)
def test_errors_name_the_right_value(values: Object, hint: str) -> None:
    with pytest.raises(helm_python.HelmError) as caught:
        render(LEAST | values)
    assert hint in str(caught.value)


def _documented(values: Object, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        yield f"{path}{key}", value
        if isinstance(value, dict) and path.count(".") == 0:
            yield from _documented(value, f"{path}{key}.")


def test_readme_explains_every_value() -> None:
    rows = set(re.findall(r"^\| `([\w.]+)` \| \S", (CHART / "README.md").read_text(), re.MULTILINE))
    for place, _ in _documented(chart().values):
        parent = place.rpartition(".")[0]
        children = any(row.startswith(f"{place}.") for row in rows)
        whole = parent in rows and not any(row.startswith(f"{parent}.") for row in rows)
        assert place in rows or children or whole, f"values.yaml has no comment above {place}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "daemonset"}, "mode"),
        ({"replicaCount": "2"}, "replicaCount"),
        ({"replicaCount": -1}, "replicaCount"),
        ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"livenessProbe": {"exec": {}}}, "exec"),
        ({"service": {"ipFamilies": ["IPv5"]}}, "ipFamilies"),
        ({"volumeClaimTemplates": [{"metadata": {"name": "x"}}]}, "spec"),
        ({"volumeClaimTemplates": [CLAIM]}, "only mode statefulset has them"),
        ({"existingConfigMap": "ours"}, "remove configToml and config.accounts"),
        ({"existingConfigMap": "ours", "config": {"accounts": []}, "configToml": "x=1"}, "remove configToml"),
        ({"configToml": "x ="}, "configToml is not valid TOML: toml: line 1"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"vaultToken": {"expirationSeconds": 60}}, "expirationSeconds"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "maxUnavailable"),
        ({"networkPolicy": {"vault": {"ports": []}}}, "ports"),
        ({"config": {"defaults": {"grace": "24 hours"}}}, "grace"),
        ({"config": {"defaults": {"gracee": "24h"}}}, "gracee"),
        ({"config": {"accounts": [{"name": "main", "api_key": "abcd1234"}]}}, "path"),
        ({"config": {"vault": {"auth": {"token": "s.secret"}}}}, "token"),
        ({"config": {"vault": {"auth": {"secret_id": "secret"}}}}, "secret_id"),
        ({"config": {"vault": {"address": "https://v"}}}, "config.accounts is empty"),
        ({"config": {"accounts": ACCOUNTS}}, "config.vault.address is empty"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is empty"),
        ({"vaultCa": {"configMap": "a", "secret": "b"}}, "not both"),
        *(
            ({"mode": "cronjob", one: {"enabled": True}}, f"{one}.enabled: a cronjob has no metrics")
            for one in MONITORED
        ),
    ],
)
def test_impossible_values_are_refused(values: Object, message: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(message)):
        render(LEAST | values)


# --- the other files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_notes_begin_with_the_next_commands(mode: str) -> None:
    shown = notes(mode)
    assert f"rotator {__version__} is installed as {mode} night-rotator." in shown
    commands = re.findall(r"(?m)^     (\S.*)$", shown)
    if mode == "cronjob":
        assert commands == [
            "helm test night --namespace secrets --logs",
            "helm upgrade night CHART --namespace secrets --reuse-values --set mode=deployment",
            "kubectl --namespace secrets exec -it deployment/night-rotator -- rotator adopt NAME",
            "helm upgrade night CHART --namespace secrets --reuse-values --set mode=cronjob",
            "kubectl --namespace secrets create job night-rotator-now --from=cronjob/night-rotator",
            "kubectl --namespace secrets logs --follow job/night-rotator-now",
        ]
        assert "*/30 * * * *" in shown
    else:
        kubectl = "kubectl --namespace secrets"
        assert commands == [
            f"{kubectl} exec {mode}/night-rotator -- rotator check",
            f"{kubectl} exec -it {mode}/night-rotator -- rotator adopt NAME",
            f"{kubectl} exec {mode}/night-rotator -- rotator status",
            f"{kubectl} port-forward {mode}/night-rotator 9464",
        ]


def test_generated_files_are_up_to_date() -> None:
    wanted = dict(generated())
    assert len(wanted) >= 4
    for path, text in wanted.items():
        assert path.read_text() == text, f"{path.name} is not up to date: run `make manifests`"


@pytest.mark.parametrize("mode", MODES)
def test_plain_manifests_need_no_helm(mode: str, tmp_path: Path) -> None:
    found = list(yaml.safe_load_all((DEPLOY / f"kubernetes/{mode}.yaml").read_text()))
    assert mode in {one["kind"].lower() for one in found}
    assert "helm" not in json.dumps(found).lower()
    assert [error for one in found for error in kubernetes_errors(one, VERSIONS[-1])] == []
    (config_map,) = (one for one in found if one["kind"] == "ConfigMap")
    assert loaded(config_map, tmp_path).account("main").api_key == "abcd1234"


def test_values_of_the_page_are_accepted(tmp_path: Path) -> None:
    page = (CHART.parents[2] / "docs/kubernetes.md").read_text()
    first, audit = (yaml.safe_load(shown) for shown in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    (config_map,) = (one for one in render(first) if one["kind"] == "ConfigMap")
    assert loaded(config_map, tmp_path).account("shop").primary == "main"
    found = {one["kind"]: one for one in render(audit | {"config": LEAST["config"] | audit["config"]})}
    file = loaded(found["ConfigMap"], tmp_path).audit.file
    pod = template(found["StatefulSet"])
    (mount,) = (one for one in container(pod)["volumeMounts"] if one["name"] == "audit")
    assert file is not None
    assert str(file.parent) == mount["mountPath"]
    assert pod["spec"]["securityContext"]["fsGroup"] == pod["spec"]["securityContext"]["runAsUser"]
    (claim,) = found["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == mount["name"]
