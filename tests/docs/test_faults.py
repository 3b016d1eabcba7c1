"""docs/faults.md names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/faults.md").read_text(encoding="utf-8"))


def test_faults_name_tests() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_named_test_exists(file: str, test: str) -> None:
    assert re.search(rf"^(    )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
