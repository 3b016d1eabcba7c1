"""The terminal is for people: waits with their reason, a result, and failures without class names."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli.progress import Progress
from testkit.cluster import Cluster
from tests.cli.harness import Payments, opened
from tests.cli.pseudo_terminal import on_terminal, plain

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
EVENT = re.compile(r"\b[a-z_]+\.[a-z_]+ |\[info|\{\"|[0-9a-f]{64}")
LIBRARIES = ("rotator", "httpcore", "hvac", "requests", "urllib3", "pydantic_core", "ssl", "socket")
NOWHERE = "http://127.0.0.1:1"


def error_classes(root: type[BaseException] = Exception) -> set[str]:
    """The names of the error classes of rotator and of its libraries; not those that are one word."""
    found = {name for child in root.__subclasses__() for name in error_classes(child)}
    if root.__module__.startswith(LIBRARIES) and re.match(r"[A-Z]+[a-z]+[A-Z]", root.__name__):
        found.add(root.__name__)
    return found


CLASS_NAME = re.compile(
    rf"\b(?:[A-Z][A-Za-z0-9]*[a-z](?:Error|Exception|Timeout|Warning)|{'|'.join(error_classes())})\b|<[\w. ]+( at 0x|>)"
)


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


def test_rotation_on_a_terminal_prints_only_its_result(payments: Payments) -> None:
    audit = payments.cluster.folder / "audit.jsonl"
    code, shown = on_terminal(payments.cluster, "rotate-now", "payments", ROTATOR_AUDIT__FILE=str(audit))
    assert code == 0, shown
    assert audit.exists()
    lines = [line for line in plain(shown).splitlines() if line.strip() and "rotating ..." not in line]
    assert [line.split()[:2] for line in lines] == [["account", "result"], ["payments", "ok"]], shown
    assert not EVENT.search(plain(shown))


def test_many_accounts_show_one_bar(cluster: Cluster) -> None:
    accounts = [opened(cluster, f"a{number:02}", f"key{number:02}") for number in range(12)]
    cluster.configure([account.entry() for account in accounts], log={"format": "console", "level": "debug"})
    names = [account.name for account in accounts]
    for command, action, first_words in (
        ("rotate-now --all", "rotating", ["account", *names]),
        ("plan", "planning", ["account", *names]),
        ("status", "reading", ["account", *names]),
        ("account balance", "reading", ["account", *names]),
        ("check", "checking", ["ok"] * 7 + ["7"]),
    ):
        code, shown = on_terminal(cluster, *command.split())
        assert code == 0, shown
        lines = [line for line in re.split(r"[\r\n]+", plain(shown)) if line.strip()]
        bar = re.compile(rf"{action} \[[#.]{{20}}\] \d+ of 12 *")
        rest = [line for line in lines if not bar.fullmatch(line)]
        assert len(rest) < len(lines), shown
        assert [line.split()[0] for line in rest] == first_words, shown
        assert command == "check" or all(len(line) <= 80 for line in lines)


def test_refused_secret_shows_why_rotator_waits(payments: Payments) -> None:
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


def test_class_names_are_known() -> None:
    """The check of the next test finds something."""
    for name in ("NotSent", "LostAnswer", "VaultUnreachable", "ConnectError", "NewConnectionError", "ReadTimeout"):
        assert CLASS_NAME.search(f"({name}: it failed)")


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        pytest.param({"ROTATOR_VAULT__ADDRESS": NOWHERE}, "", id="no vault"),
        pytest.param({"ROTATOR_VAULT__ADDRESS": "http://vault.invalid"}, "", id="vault without address"),
        pytest.param({"ROTATOR_VAULT__ADDRESS": "http://vault.invalid", "HTTP_PROXY": NOWHERE}, "", id="no proxy"),
        pytest.param({"ROTATOR_ACCOUNT_API__API_URL": NOWHERE}, "", id="no provider"),
        pytest.param({}, "any:drop-before:*", id="dropped"),
        pytest.param({}, "create:drop-after:*", id="lost create"),
        pytest.param({}, "any:hang:*", id="hanging"),
        pytest.param({}, "any:503:*", id="503"),
    ],
)
def test_failure_on_a_terminal_names_no_class(payments: Payments, environment: dict[str, str], fault: str) -> None:
    """Neither the result nor, with -v, the log."""
    cluster = payments.cluster
    cluster.configure([payments.entry(verify_timeout="2s")], account_api={"timeout": "1s"}, daemon={"concurrency": 1})
    if fault:
        cluster.emulator.faults.add(fault)
    code, shown = on_terminal(cluster, "rotate-now", "payments", "-v", **environment)  # type: ignore[arg-type]
    assert code == (0 if fault.startswith("create:") else 1), shown
    assert not CLASS_NAME.search(plain(shown)), shown


@pytest.mark.parametrize("server", ["VAULT__ADDRESS", "ACCOUNT_API__API_URL"])
def test_failed_tls_on_a_terminal_names_no_class(payments: Payments, server: str) -> None:
    cluster = payments.cluster
    address = (cluster.bao.address if server.startswith("VAULT") else cluster.api_url).replace("http:", "https:")
    code, shown = on_terminal(cluster, "rotate-now", "payments", **{f"ROTATOR_{server}": address})  # type: ignore[arg-type]
    assert code == 1, shown
    assert "TLS" in shown or "SSL" in shown
    assert not CLASS_NAME.search(plain(shown)), shown
