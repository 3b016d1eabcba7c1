"""Audit logs for tests: their lines, and a disk without room."""

import json
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator import audit
from rotator.audit import Act, AuditLog, Entry
from rotator.audit.verify import verify

NOW = datetime(2026, 11, 23, 18, 5, 7, 250_000, tzinfo=UTC)
CREATED = Entry(Act.CREATE, "shop", "shopkey", "host/1/ab", "schedule", "r1", "id-2", "0123456789abcdef")
Lines = list[dict[str, Any]]


def log_at(file: Path, max_wait: timedelta = timedelta(minutes=1)) -> AuditLog:
    """A log that waits for the lock for as long as a busy machine can take."""
    return AuditLog(file, lambda: NOW, max_wait=max_wait)


def written(file: Path, count: int = 5) -> list[bytes]:
    """Lines of a log, with their ends."""
    log = log_at(file)
    for _ in range(count):
        log.note(CREATED, audit.Result.SUCCEEDED)
    return file.read_bytes().splitlines(keepends=True)


def fields(file: Path) -> Lines:
    return [json.loads(line) for line in file.read_text().splitlines()]


def problem(file: Path, lines: Sequence[bytes], head: str | None = None) -> str | None:
    file.write_bytes(b"".join(lines))
    return verify([file], head).problem


@contextmanager
def no_room(file: Path, left: int = 0) -> Iterator[None]:
    """No file of this process may grow any more, beyond what the log has and so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def acts(file: Path) -> list[str]:
    return [f"{line['event']} {line['result']}" for line in fields(file)] if file.exists() else []


WHOLE = [f"{act} {result}" for act in ("create", "publish", "revoke") for result in ("started", "succeeded")]


@pytest.fixture
def audit_file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"
