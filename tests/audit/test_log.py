"""The audit log: required lines, lost lines, and files that cannot be written."""

import fcntl
import os
import pwd
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rotator import audit
from rotator.audit import AuditError, AuditLog
from rotator.audit.entry import person
from rotator.audit.file import lock_file
from rotator.audit.verify import verify
from rotator.errors import ConfigError, RotatorError
from rotator.provider import LostAnswer, Unauthorized
from tests.audit.harness import CREATED, fields, log_at, no_room, written


def test_hash_is_in_the_ordinary_log(audit_file: Path) -> None:
    with capture_logs() as logs:
        written(audit_file, 2)
    assert [(line["event"], line["seq"], line["act"]) for line in logs] == [
        ("audit.recorded", 1, "create"),
        ("audit.recorded", 2, "create"),
    ]
    assert [line["audit"] for line in logs] == [line["hash"] for line in fields(audit_file)]


def test_audit_log_writes_nothing_without_a_file(tmp_path: Path) -> None:
    log = AuditLog(None)
    log.check()
    with log.acting(CREATED, required=True):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", [0, 30])
def test_next_line_counts_lines_lost_to_full_disk(audit_file: Path, left: int) -> None:
    written(audit_file, 2)
    before, log = audit_file.read_bytes(), log_at(audit_file)
    with no_room(audit_file, left), capture_logs() as logs:
        log.note(CREATED, audit.Result.SUCCEEDED)
        log.note(CREATED, audit.Result.SUCCEEDED)
    assert [line["event"] for line in logs] == ["audit.lost", "audit.lost"]
    assert logs[0]["line"]["secret_id"] == "id-2", "what the file lacks, the ordinary log has"
    assert audit_file.read_bytes() == before, "no part of a line is left"
    log.note(CREATED, audit.Result.SUCCEEDED)
    log.note(CREATED, audit.Result.SUCCEEDED)
    assert [line.get("lost") for line in fields(audit_file)] == [None, None, 2, None]
    verdict = verify([audit_file])
    assert (verdict.problem, verdict.lines) == (None, 4)
    assert verdict.notes == (f"lines that could not be written before {audit_file}:3, as it says: 2",)


def test_required_line_stops_an_action_when_impossible(audit_file: Path) -> None:
    log, done = log_at(audit_file), []
    written(audit_file, 1)
    with no_room(audit_file), pytest.raises(AuditError) as caught, log.acting(CREATED, required=True):
        done.append("it")
    assert not done
    assert str(caught.value) == (
        f"{audit_file} cannot be written (File too large), and rotator starts nothing unaudited. Nothing was changed. "
        "Make room for it, or name another file with ROTATOR_AUDIT__FILE. To see whether it works now: rotator check."
    )
    log.note(CREATED, audit.Result.SUCCEEDED)
    assert "lost" not in fields(audit_file)[-1], "nothing happened that has no line"


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (LostAnswer("no answer"), "unknown"),
        (Unauthorized("no", status=401), "failed"),
        (RotatorError("no"), "failed"),
    ],
)
def test_result_line_follows_the_error(audit_file: Path, error: RotatorError, result: str) -> None:
    with pytest.raises(type(error)), log_at(audit_file).acting(CREATED):
        raise error
    assert [line["result"] for line in fields(audit_file)] == ["started", result]


def test_interrupted_action_has_no_result_line(audit_file: Path) -> None:
    with pytest.raises(KeyboardInterrupt), log_at(audit_file).acting(CREATED):
        raise KeyboardInterrupt
    assert [line["result"] for line in fields(audit_file)] == ["started"]


def test_note_loses_line_when_file_stays_locked(audit_file: Path) -> None:
    written(audit_file, 1)
    log = log_at(audit_file, max_wait=timedelta(milliseconds=50))
    with lock_file(audit_file).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with capture_logs() as logs:
            log.note(CREATED, audit.Result.SUCCEEDED)
        assert logs[0]["error"] == f"{audit_file} cannot be written: another process keeps it locked"
    log.note(CREATED, audit.Result.SUCCEEDED)
    assert fields(audit_file)[-1]["lost"] == 1


def test_any_exception_is_a_lost_line(audit_file: Path) -> None:
    def broken() -> datetime:
        raise RecursionError

    counted: list[str] = []
    log = AuditLog(audit_file, broken)
    log.on_lost = lambda: counted.append("lost")
    with capture_logs() as logs, log.acting(CREATED):
        counted.append("done")
    assert counted == ["lost", "done", "lost"]
    assert [line["event"] for line in logs] == ["audit.lost", "audit.lost"]
    with pytest.raises(AuditError, match="Nothing was changed"), log.acting(CREATED, required=True):
        counted.append("not to be done")
    assert len(counted) == 3


def test_failing_user_database_is_a_lost_line(audit_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(uid: int) -> None:
        raise OSError("the directory service does not respond")

    monkeypatch.setattr(pwd, "getpwuid", broken)
    person.cache_clear()
    try:
        with capture_logs() as logs, log_at(audit_file).acting(CREATED):
            pass
    finally:
        person.cache_clear()
    assert [(line["event"], line["line"]["result"]) for line in logs] == [
        ("audit.lost", "started"),
        ("audit.lost", "succeeded"),
    ]


def test_unwritable_file_is_one_line(tmp_path: Path) -> None:
    link, pipe, foreign = tmp_path / "link", tmp_path / "pipe", tmp_path / "foreign"
    link.symlink_to(tmp_path / "elsewhere")
    os.mkfifo(pipe)
    foreign.write_text("root:x:0:0\n")
    for file, says in [
        (tmp_path / "nowhere" / "audit.jsonl", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (link, "Too many levels of symbolic links"),
        (pipe, "it is not a file"),
        (foreign, "does not end like an audit log"),
    ]:
        with pytest.raises(ConfigError, match=says) as caught:
            AuditLog(file).check()
        assert "Nothing was written anywhere" in str(caught.value)
    assert foreign.read_text() == "root:x:0:0\n"
    assert not (tmp_path / "elsewhere").exists()
