"""Writes what follows from other files: the plain manifests and the chart's copies.

`make manifests` runs it; tests/deploy/test_chart.py holds every file to what it would write.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python

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
_HEAD = """\
# rotator as a {mode}, without Helm. Edit config.toml and the image, then
# `kubectl apply --namespace NAME --filename {mode}.yaml`.
# Generated from the chart by `make manifests`.
"""


def files() -> Iterator[tuple[Path, str]]:
    """Each file and what it should hold."""
    yield CHART / "values.schema.json", _values_schema()
    for copy, original in _COPIES.items():
        if (DEPLOY / original).exists():
            yield CHART / copy, (DEPLOY / original).read_text(encoding="utf-8")
    with helm_python.Chart.load(CHART) as chart:
        for mode in MODES:
            values = {"mode": mode, "replicas": _REPLICAS[mode], "config": _EXAMPLE}
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
    return json.dumps(values, indent=2) + "\n"


def _forbid_secrets(auth: dict[str, Any]) -> None:
    """What may only come from the environment is no setting of a ConfigMap."""
    del auth["token"], auth["secret_id"]


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
