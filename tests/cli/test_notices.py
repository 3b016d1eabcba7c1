"""Warnings for the user of a command: each is one sentence on standard error."""

import contextlib
import io
import logging

from rotator.cli.notices import Notices
from tests.cli.harness import Payments
from tests.cli.pseudo_terminal import on_terminal, plain


def test_open_files_are_warned_of_in_a_sentence(payments: Payments) -> None:
    cluster = payments.cluster
    file = cluster.folder / "audit.jsonl"
    file.touch()
    file.chmod(0o666)
    warning = f"warning: {file}: Every user of this machine can write the file. To correct it: chmod o= {file}."
    cluster.configure([payments.entry()], audit={"file": str(file)}, log={"format": "console"})
    code, shown = on_terminal(cluster, "check")
    assert (code, plain(shown).replace("\r\n", "\n").count(f"{warning}\n")) == (0, 1), shown
    assert cluster.run("check").err == f"{warning}\n"
    assert cluster.run("status", "-q").err == ""


def test_lost_audit_line_is_reported_in_a_sentence() -> None:
    notices = Notices(failures_only=True)
    lost = {"event": "audit.lost", "error": "a.jsonl cannot be written: No space left on device", "line": {}}
    other = {"event": "file.permissions_too_open", "file": "a", "reason": "b", "next_step": "c"}
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        for event, level in ((lost, logging.ERROR), (lost, logging.ERROR), (other, logging.WARNING)):
            record = logging.LogRecord("rotator", level, "", 0, event, None, None)
            if level >= notices.level:
                notices.handle(record)
    assert shown.getvalue() == (
        "warning: the audit log lacks a line of this command: a.jsonl cannot be written: No space left on device.\n"
    )
