"""A line of an audit log: its fields, its hash, and foreign text in it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from rotator import audit
from rotator.audit.verify import verify
from tests.audit.harness import CREATED, fields, log_at, written


def test_line_has_actor_action_secret_and_trigger(audit_file: Path) -> None:
    log_at(audit_file).note(CREATED, audit.Result.SUCCEEDED)
    (line,) = fields(audit_file)
    assert line.pop("hash")
    assert line.pop("actor")["user"]
    assert line == {
        "seq": 1,
        "at": "2026-11-23T18:05:07.250Z",
        "event": "create",
        "result": "succeeded",
        "account": "shop",
        "api_key": "shopkey",
        "secret_id": "id-2",
        "rotation_id": "r1",
        "trigger": "schedule",
        "fingerprint": "0123456789abcdef",
        "version": None,
        "prev": None,
    }


def test_hash_is_computed_with_ordinary_tools(audit_file: Path) -> None:
    written(audit_file, 3)
    before = None
    for line in audit_file.read_text().splitlines():
        content, digest = re.fullmatch(r'(.*),"hash":"([0-9a-f]{64})"\}', line).groups()  # type: ignore[union-attr]
        command = ["sh", "-c", """printf %s "$1" | sha256sum""", "sh", content]
        assert subprocess.check_output(command, text=True).split()[0] == digest
        assert json.loads(line)["prev"] == before
        before = digest


def test_foreign_text_cannot_begin_a_line(audit_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", '"}\n{"seq":2}\x1b[2J\u2028' + "x" * 1000)
    audit.person.cache_clear()
    try:
        written(audit_file, 1)
    finally:
        audit.person.cache_clear()
    (line,) = fields(audit_file)
    assert len(line["actor"]["sudo_user"]) == 64
    assert audit_file.read_text().isascii()
    assert verify([audit_file]).problem is None
