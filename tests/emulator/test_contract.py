"""The emulator keeps its own document's promises."""

import json
from pathlib import Path

import pytest

from rotator.emulator import Operation
from rotator.emulator.openapi import document
from rotator.emulator.revisions import Revision
from testkit.contract import examine

# For schemathesis 420 is not yet a refusal.
REFUSALS = """
[[operations]]
include-operation-id = "settings"
[operations.checks.negative_data_rejection]
expected-statuses = [400, 401, 420]
"""


@pytest.mark.parametrize("revision", Revision)
def test_requests_are_answered_as_documented(revision: Revision, tmp_path: Path) -> None:
    written = tmp_path / "openapi.json"
    written.write_text(json.dumps(document(revision)))
    outcome = examine(
        written, tmp_path, examples=6, config=REFUSALS, max_secrets=6, too_many_status=403, revision=revision
    )
    assert outcome.passed, outcome.text
    assert outcome.accepted == 0
    assert outcome.cases > 250
    documented = {
        (str(operation), int(status))
        for operation in Operation
        for status in document(revision)["paths"][operation.path][operation.method.lower()]["responses"]
        if status not in ("429", "5XX")  # faults and limits have tests of their own
    }
    elsewhere = {("create", 404), ("list", 404), ("revoke", 400)}  # the key is given to schemathesis; a fault
    assert documented - set(outcome.answers) <= elsewhere, "some promises were not put to the test"
