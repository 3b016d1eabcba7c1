"""Forms, templates and owners in .github."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import ROOT

FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


@pytest.mark.parametrize(
    ("schema", "file"),
    [("issue-forms", "bug.yml"), ("issue-forms", "feature.yml"), ("issue-config", "config.yml")],
)
def test_issue_form_has_the_form_that_github_reads(schema: str, file: str) -> None:
    tool = str(Path(sys.executable).parent / "check-jsonschema")
    command = [tool, "--builtin-schema", f"vendor.github-{schema}", str(FORMS / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_codeowners_names_files_that_exist() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text().splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert [pattern for pattern, *_ in rules if pattern != "*" and not (ROOT / pattern[1:]).exists()] == []
    assert all(owner.startswith("@example/") for _, *owners in rules for owner in owners)


def test_pull_request_template_names_the_checks() -> None:
    text = (ROOT / ".github" / "pull_request_template.md").read_text()
    assert "`make check` and `make test` pass" in text
    assert "docs/faults.md" in text
