"""The terminal is for people: sentences, waits with their reason, a result; the log only if it is asked for."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.cli.progress import Progress
from testkit.cluster import Cluster
from tests.cli.payments import Payments, opened, payments  # noqa: F401
from tests.cli.pseudo_terminal import on_terminal, plain

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
EVENT = re.compile(r"\b[a-z_]+\.[a-z_]+ |\[info|\{\"|[0-9a-f]{64}")
CLASS_NAME = re.compile(r"NotSent|LostAnswer|RotatorError|<context block>")


def waiting(event: str = "rotation.waiting") -> dict[str, str]:
    until = (NOW + timedelta(seconds=90)).isoformat()
    return {"event": event, "account": "payments", "detail": "host/1/x holds the lease", "until": until}


def test_repeated_wait_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1, "rotating")
    for seconds in range(0, 60, 30):
        progress.follow(waiting(), NOW + timedelta(seconds=seconds))
    assert capsys.readouterr().err == "payments: waits, because host/1/x holds the lease (1 min 30 s left)\n"


def test_progress_is_silent_about_other_events(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1, "rotating")
    progress.follow({"event": "provider.refused", "account": "payments", "credential": "candidate"}, NOW)
    progress.follow({"event": "rotation.prepared", "account": "payments"}, NOW)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("event", ["rotation.waiting", "adoption.waiting"])
def test_wait_says_its_reason_and_remaining_time(event: str, capsys: pytest.CaptureFixture[str]) -> None:
    Progress(1, "rotating").follow(waiting(event), NOW)
    assert capsys.readouterr().err == "payments: waits, because host/1/x holds the lease (1 min 30 s left)\n"


def test_rotation_on_a_terminal_prints_only_its_result(payments: Payments) -> None:  # noqa: F811
    audit = payments.cluster.folder / "audit.jsonl"
    code, shown = on_terminal(payments.cluster, "rotate-now", "payments", ROTATOR_AUDIT__FILE=str(audit))
    assert code == 0, shown
    assert audit.exists()
    lines = [line for line in plain(shown).splitlines() if line.strip() and "rotating ..." not in line]
    assert [line.split()[:2] for line in lines] == [["account", "result"], ["payments", "ok"]], shown
    assert not EVENT.search(plain(shown))


def test_many_rotations_show_one_bar(cluster: Cluster) -> None:
    accounts = [opened(cluster, f"a{number:02}", f"key{number:02}") for number in range(12)]
    cluster.configure([account.entry() for account in accounts], log={"format": "console", "level": "debug"})
    code, shown = on_terminal(cluster, "rotate-now", "--all")
    assert code == 0, shown
    lines = [line for line in re.split(r"[\r\n]+", plain(shown)) if line.strip()]
    bar = re.compile(r"rotating \[[#.]{20}\] \d+ of 12 *")
    rest = [line for line in lines if not bar.fullmatch(line)]
    assert [line.split()[0] for line in rest] == ["account", *(account.name for account in accounts)], shown
    assert all(len(line) <= 80 for line in lines)


def test_refused_secret_on_a_terminal_says_why_it_waits(payments: Payments) -> None:  # noqa: F811
    cluster = payments.cluster
    cluster.configure([payments.entry()], account_api={"consistency_window": "3s"})
    cluster.remember("Wrong0Secret9Value")
    cluster.vault("DELETE", f"{cluster.mount}/metadata/{payments.path}")
    cluster.put(payments.path, {"api_secret": "Wrong0Secret9Value"})
    code, shown = on_terminal(cluster, "rotate-now", "payments", "--due")
    assert code == 1, shown
    sentence = "payments: waits, because the provider refuses the published secret"
    assert re.search(re.escape(sentence) + r"[^(]*\([123] s left\)", " ".join(plain(shown).split())), shown
    assert not EVENT.search(plain(shown))


@pytest.mark.parametrize(
    "variable", ["ROTATOR_VAULT__ADDRESS", "ROTATOR_ACCOUNT_API__API_URL"], ids=["vault", "provider"]
)
def test_failure_on_a_terminal_names_no_class(payments: Payments, variable: str) -> None:  # noqa: F811
    code, shown = on_terminal(payments.cluster, "rotate-now", "payments", **{variable: "http://127.0.0.1:1"})  # type: ignore[arg-type]
    assert code == 1, shown
    assert not EVENT.search(plain(shown)), shown
    assert not CLASS_NAME.search(plain(shown)), shown


def test_verbose_shows_the_log(payments: Payments) -> None:  # noqa: F811
    code, shown = on_terminal(payments.cluster, "rotate-now", "payments", "-v")
    assert code == 0, shown
    assert "rotation.published" in shown
    assert "connect_tcp" not in shown
    code, shown = on_terminal(payments.cluster, "-vv", "rotate-now", "payments")
    assert code == 0, shown
    assert "connect_tcp" in shown


def test_quiet_prints_failures_only(payments: Payments, tmp_path: Path) -> None:  # noqa: F811
    assert on_terminal(payments.cluster, "rotate-now", "payments", "-q") == (0, "")
    payments.cluster.emulator.faults.add("any:503:*")
    code, shown = on_terminal(payments.cluster, "rotate-now", "payments", "--quiet")
    assert code == 1, shown
    assert shown.startswith("\x1b[31mpayments\x1b[0m: ")


def test_pipe_gets_the_log_only_as_json(payments: Payments) -> None:  # noqa: F811
    assert '"event"' in payments.cluster.run("rotate-now", "payments").err
    payments.cluster.configure([payments.entry()], log={"format": "console"})
    assert payments.cluster.run("rotate-now", "payments").err == ""
    assert "rotation.published" in payments.cluster.run("rotate-now", "payments", "-v").err
