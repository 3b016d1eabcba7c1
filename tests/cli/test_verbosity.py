"""Verbosity: the log with -v, failures only with -q, and what a pipe gets."""

import json
import re
from pathlib import Path

from tests.cli.harness import Payments
from tests.cli.pseudo_terminal import on_terminal


def test_verbose_shows_the_log(payments: Payments) -> None:
    code, shown = on_terminal(payments.cluster, "rotate-now", "payments", "-v")
    assert code == 0, shown
    assert "rotation.published" in shown
    assert "http.request" not in shown
    code, shown = on_terminal(payments.cluster, "-vv", "rotate-now", "payments")
    assert code == 0, shown
    assert "http.request" in shown


def test_quiet_prints_failures_only(payments: Payments, tmp_path: Path) -> None:
    assert on_terminal(payments.cluster, "rotate-now", "payments", "-q") == (0, "")
    payments.cluster.emulator.faults.add("any:503:*")
    code, shown = on_terminal(payments.cluster, "rotate-now", "payments", "--quiet")
    assert code == 1, shown
    assert shown.startswith("\x1b[31mpayments\x1b[0m: ")


def test_pipe_gets_the_log_only_as_json(payments: Payments) -> None:
    assert '"event"' in payments.cluster.run("rotate-now", "payments").err
    payments.cluster.configure([payments.entry()], log={"format": "console"})
    assert payments.cluster.run("rotate-now", "payments").err == ""
    assert "rotation.published" in payments.cluster.run("rotate-now", "payments", "-v").err


def test_audit_hashes_reach_every_output_but_a_terminal(payments: Payments) -> None:
    cluster = payments.cluster
    file = cluster.folder / "audit.jsonl"
    cluster.configure([payments.entry()], audit={"file": str(file)}, log={"format": "console", "level": "error"})
    code, shown = on_terminal(cluster, "rotate-now", "payments")
    assert code == 0, shown
    assert "audit.recorded" not in shown
    logged = [cluster.run("rotate-now", "payments", "--force", *options).err for options in ([], ["-q"])]
    written = [json.loads(line)["hash"] for line in file.read_text().splitlines()]
    assert re.findall(r"audit\.recorded .*? audit=([0-9a-f]{64}) ", "".join(logged)) == written[-12:]
    assert all(len(lines.splitlines()) == 6 for lines in logged)
