"""The file of an audit log: its mode, its lock, several writers, and files that are moved away."""

import fcntl
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from rotator import audit
from rotator.audit import AuditLog
from rotator.audit.file import lock_file
from rotator.audit.verify import Verdict, verify
from tests.audit.harness import CREATED, fields, log_at, written


def test_new_log_is_readable_by_its_owner_only(audit_file: Path) -> None:
    written(audit_file)
    assert audit_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_reader_with_shared_lock_stops_no_writer(audit_file: Path, lock: Callable[..., None]) -> None:
    written(audit_file, 1)
    log = log_at(audit_file, max_wait=timedelta())
    with audit_file.open() as held:
        lock(held, fcntl.LOCK_SH)
        log.note(CREATED, audit.Result.STARTED, required=True)
    assert len(fields(audit_file)) == 2


WRITER = """
import sys
from pathlib import Path
from datetime import timedelta
from rotator.audit import Act, AuditLog, Entry, Result
log = AuditLog(Path(sys.argv[1]), max_wait=timedelta(minutes=1))
for number in range(40):
    log.note(Entry(Act.CREATE, "shop", "key", sys.argv[2], None), Result.SUCCEEDED)
"""


def test_threads_and_processes_write_one_chain(audit_file: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(audit_file), f"process-{number}"], stdout=subprocess.DEVNULL
        )
        for number in range(3)
    ]
    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(written, audit_file, 20) for _ in range(4)]:
            one.result()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert verify([audit_file]) == Verdict(200, fields(audit_file)[-1]["hash"], None)


def test_waiting_writer_uses_the_new_file(audit_file: Path) -> None:
    written(audit_file, 1)
    with lock_file(audit_file).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=written, args=(audit_file, 1))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        moved = audit_file.rename(f"{audit_file}.1")
    waiting.join(60)
    assert [len(fields(one)) for one in (moved, audit_file)] == [1, 1]
    assert verify([moved, audit_file]).problem is None


def test_log_with_truncated_first_line_can_continue(audit_file: Path) -> None:
    audit_file.write_bytes(written(audit_file, 1)[0][:30])
    AuditLog(audit_file).check()
    written(audit_file, 1)
    assert verify([audit_file]).problem is None
