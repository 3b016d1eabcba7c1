"""The chart with Helm 3.17, which users still have, beside the Helm of the other tests: `make helm3`.

HELM3 names the program. Its package is not part of the environment: it needs dependencies that nothing here uses.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.render import CHART, MODES
from tests.deploy.chart import LEAST, MATRIX, Object, notes, rendered

HELM = os.environ["HELM3"]


def helm(*arguments: str | Path, values: Object, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run Helm with these values."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    command = [HELM, *arguments, "--namespace", "secrets", "--values", folder / "values.yaml"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def by_name(found: tuple[Any, ...] | list[Any]) -> dict[tuple[str, str], Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def test_helm_is_version_3_17() -> None:
    done = subprocess.run([HELM, "version", "--short"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("v3.17.")


@pytest.mark.parametrize("name", MATRIX)
def test_helm_3_renders_the_same_objects(name: str, tmp_path: Path) -> None:
    done = helm("template", "night", CHART, values=MATRIX[name], folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert by_name([one for one in yaml.safe_load_all(done.stdout) if one]) == by_name(rendered(name))


@pytest.mark.parametrize("name", MATRIX)
def test_helm_3_lints_without_warning(name: str, tmp_path: Path) -> None:
    done = helm("lint", "--strict", CHART, values=MATRIX[name], folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_helm_3_lets_the_platform_choose_the_user(tmp_path: Path) -> None:
    values = LEAST | {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}
    done = helm("template", "night", CHART, values=values, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "runAsUser" not in done.stdout


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"replicas": 2}, "the name of this value is replicaCount"),
        ({"env": []}, "the name of this value is extraEnv"),
        ({"replicaCuont": 2}, '"replicaCount"'),
        ({"configToml": "x ="}, "configToml is not valid TOML"),
    ],
)
def test_helm_3_names_the_right_value(values: Object, hint: str, tmp_path: Path) -> None:
    done = helm("template", "night", CHART, values=LEAST | values, folder=tmp_path)
    assert done.returncode == 1
    assert hint in done.stderr


@pytest.mark.parametrize("mode", MODES)
def test_helm_3_shows_the_same_notes(mode: str, tmp_path: Path) -> None:
    """`helm template` leaves the notes out: a copy of the chart makes an object of them."""
    templates = tmp_path / "rotator" / "templates"
    subprocess.run(["cp", "-r", CHART, tmp_path / "rotator"], check=True)
    text = (templates / "NOTES.txt").read_text()
    (templates / "NOTES.txt").unlink()
    (templates / "_notes.tpl").write_text('{{- define "notes" }}' + text + "{{ end }}")
    (templates / "notes.yaml").write_text('notes: {{ include "notes" . | toJson }}\n')
    done = helm("template", "night", tmp_path / "rotator", values=LEAST | {"mode": mode}, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = (one["notes"] for one in yaml.safe_load_all(done.stdout) if one and "notes" in one)
    assert found.strip() == notes(mode).strip()
