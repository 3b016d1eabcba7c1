"""Writes what follows from other files: the plain manifests, the chart's copies, and its list of values.

`make manifests` runs it; tests/deploy/test_chart_values.py holds every file to what it would write.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

from rotator.config import Settings, VaultAuth

DEPLOY = Path(__file__).parent
CHART = DEPLOY / "helm/rotator"
MODES = ("deployment", "statefulset", "cronjob")
# The monitoring's files live beside the other ways to use them; a chart can only read what is inside it.
_COPIES = {"files/rules.yml": "prometheus/rules.yml", "files/rotator.json": "grafana/rotator.json"}
# What the manifests show: an account to replace, and as many replicas as make sense of the mode.
_EXAMPLE = {
    "vault": {"address": "https://vault.example.com:8200"},
    "accounts": [{"name": "main", "api_key": "abcd1234", "path": "nexmo/main"}],
}
_REPLICAS = {"deployment": 2, "statefulset": 4, "cronjob": 1}
# Names of earlier versions and of other charts, and the names here.
_OTHER_NAMES = {
    "replicas": "replicaCount",
    "env": "extraEnv",
    "envFrom": "extraEnvFrom",
    "volumes": "extraVolumes",
    "volumeMounts": "extraVolumeMounts",
    "initContainers": "extraInitContainers",
    "sidecars": "extraContainers",
    "args": "extraArgs",
    "extraManifests": "extraObjects",
    "extraDeploy": "extraObjects",
    "runAsUser": "podSecurityContext.runAsUser",
    "containerSecurityContext": "securityContext",
    "labels": "commonLabels",
    "annotations": "commonAnnotations",
    "deploymentAnnotations": "workloadAnnotations",
    "deploymentLabels": "workloadLabels",
    "updateStrategyType": "updateStrategy",
    "persistence": "volumeClaimTemplates",
    "pdb": "podDisruptionBudget",
    "metrics": "serviceMonitor",
    "existingConfigmap": "existingConfigMap",
    "configMap": "existingConfigMap",
    "namespaceOverride": "helm's option --namespace",
}
_HEAD = """\
# rotator as a {mode}, without Helm. Edit config.toml and the image, then
# `kubectl apply --namespace NAME --filename {mode}.yaml`.
# Generated from the chart by `make manifests`.
"""
# Longer defaults are in values.yaml only.
_WIDE = 120
_README = """\
# Helm chart of rotator

rotator replaces the API secrets of Nexmo/Vonage accounts and publishes them in HashiCorp Vault or OpenBao. The page
[docs/kubernetes.md](../../../docs/kubernetes.md) shows the installation. Helm 3.17 or later, Kubernetes 1.29 or later.

    helm upgrade --install rotator deploy/helm/rotator --namespace rotator --create-namespace --values values.yaml
    helm test rotator --namespace rotator --logs

## Values

Generated from values.yaml by `make manifests`. An empty default means none.

| value | meaning | default |
|---|---|---|
{rows}
"""


def files() -> Iterator[tuple[Path, str]]:
    """Each file and what it should hold."""
    yield CHART / "values.schema.json", _values_schema()
    yield CHART / "README.md", _readme()
    for copy, original in _COPIES.items():
        if (DEPLOY / original).exists():
            yield CHART / copy, (DEPLOY / original).read_text(encoding="utf-8")
    with helm_python.Chart.load(CHART) as chart:
        for mode in MODES:
            values = {"mode": mode, "replicaCount": _REPLICAS[mode], "config": _EXAMPLE}
            yield (
                DEPLOY / f"kubernetes/{mode}.yaml",
                _HEAD.format(mode=mode) + _plain(chart.render(values, name="rotator")),
            )


def _values_schema() -> str:
    """The schema as written by hand, and in it rotator's own of the configuration."""
    values = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    config = Settings.model_json_schema()
    values["$defs"] = definitions = config.pop("$defs")
    # Completeness is the template's to check, in words; here config may also be left to configToml.
    for part in (config, definitions["VaultSettings"]):
        del part["required"]
    del config["properties"]["accounts"]["minItems"]
    _forbid_secrets(definitions[VaultAuth.__name__]["properties"])
    values["properties"]["config"] = config
    _name_other_keys(values)
    return json.dumps(values, indent=2) + "\n"


def _name_other_keys(values: dict[str, Any]) -> None:
    """Let the error of an unknown value name the right one: JSON schema has no other place for a hint."""
    properties = values["properties"]
    for old in set(properties) & set(_OTHER_NAMES):
        del properties[old]
    for part in (values, *properties.values()):
        if part.get("additionalProperties") is False and part is not properties["config"]:
            part["propertyNames"] = {"enum": sorted(part["properties"])}
    values["propertyNames"] = {"if": {"enum": [*_OTHER_NAMES]}, "else": values["propertyNames"]}
    for old, new in _OTHER_NAMES.items():
        properties[old] = {"const": f"absent: the name of this value is {new}"}


def _forbid_secrets(auth: dict[str, Any]) -> None:
    """What may only come from the environment is no setting of a ConfigMap."""
    del auth["token"], auth["secret_id"]


def _readme() -> str:
    """The chart's README: each value with the comment that values.yaml has above it, and its default."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    comments: dict[tuple[str, ...], str] = {}
    path: tuple[str, ...] = ()
    for indent, comment, key in re.findall(r"(?m)^( *)(?:# (.+)\n\1)?(\w+):", text):
        path = (*path[: len(indent) // 2], key)
        if comment:
            comments[path] = comment
    parents = {path[:-1] for path in comments}
    rows = (
        f"| `{'.'.join(path)}` | {comment} | {'' if path in parents else _default(defaults, path)} |"
        for path, comment in comments.items()
    )
    return _README.format(rows="\n".join(rows))


def _default(values: Any, path: tuple[str, ...]) -> str:
    for key in path:
        values = values[key]
    return "" if values in ("", [], {}) or len(json.dumps(values)) > _WIDE else f"`{json.dumps(values)}`"


def _plain(rendered: dict[str, str]) -> str:
    """One file of all objects but Helm's own, without what only Helm keeps up to date."""
    objects = [
        text.strip() for name, text in sorted(rendered.items()) if "kind:" in text and "/templates/tests/" not in name
    ]
    text = "\n---\n".join(objects) + "\n"
    text = re.sub(r"\n *(helm\.sh/chart|app\.kubernetes\.io/managed-by):.*", "", text)
    text = re.sub(r"\n *annotations:\n *checksum/restart:.*", "", text)
    return re.sub(r" +\n", "\n", text)


if __name__ == "__main__":
    for path, text in files():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(DEPLOY.parent)} written\n")
