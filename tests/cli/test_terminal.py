"""Tables: a row is one line in a pipe, and a terminal of 80 columns cuts no id, name or time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from rotator.cli.terminal import Styled, Table, moment
from testkit.cluster import Cluster
from tests.cli.harness import Payments, a_colourful_fleet
from tests.cli.pseudo_terminal import on_terminal, plain

ID = "5f2c1d9e-0000-4000-8000-000000000000"


def table(*rows: tuple[str, ...], prose: str | None = "details") -> Table:
    return Table(("account", "result", "details", "state"), prose, rows=list(rows))


def test_table_in_a_pipe_never_wraps() -> None:
    found = table(("a" * 100, "ok", "word " * 60 + "end", "idle")).lines(None)
    assert len(found) == 2
    assert found[1].endswith("end  idle")


def test_table_wraps_only_its_prose() -> None:
    words = "deferred until 10:15:12 UTC: another instance holds the lease of this account, which ends soon"
    found = list(map(plain, table(("payments", "deferred", words, "grace_period")).lines(80)))
    assert all(len(line) <= 80 for line in found)
    assert " ".join(line[20:66].strip() for line in found[1:]) == words
    assert found[1].startswith("payments  deferred  deferred until")
    assert found[1].endswith("  grace_period")


@pytest.mark.parametrize("width", [0, 1, 40, 60, 80])
def test_table_never_cuts_an_id(width: int) -> None:
    found = table(("payments", "ok", f"revoke {ID} which is due", "idle")).lines(width)
    assert sum(ID in line for line in found) == 1


def test_wide_table_gives_the_first_column_lines() -> None:
    rows = [("payments" * 3, ID, "2026-11-26 10:00", "published")] * 2
    found = Table(("account", "id", "created (UTC)", "is"), rows=list(rows)).lines(80)
    line = f"  {ID}  2026-11-26 10:00  published"
    assert list(map(plain, found)) == [
        "account",
        "  id" + " " * 36 + "created (UTC)     is",
        "payments" * 3,
        line,
        line,
    ]


def test_table_aligns_wide_and_colored_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    rows = [("\u6771\u4eac", Styled("ok", "green"), "x"), ("main", Styled("failed", "red"), "y")]
    found = Table(("name", "result", "end"), rows=list(rows)).lines(None)
    expected = ["name  result  end", "\u6771\u4eac  ok      x", "main  failed  y"]
    assert list(map(plain, found)) == expected
    assert "\x1b[32mok\x1b[0m" in found[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert Table(("name", "result", "end"), rows=list(rows)).lines(None) == expected


@pytest.mark.parametrize("columns", ["0", "20", "nonsense"])
def test_status_ignores_columns_in_a_pipe(payments: Payments, columns: str) -> None:
    finished = payments.cluster.run("status", env={"COLUMNS": columns})
    assert finished.code == 0, finished
    assert [line.split()[0] for line in finished.out.splitlines()] == ["account", "payments"]


def test_status_cuts_no_name_on_a_terminal(cluster: Cluster) -> None:
    fleet = a_colourful_fleet(cluster)
    code, shown = on_terminal(cluster, "status")
    assert code == 0, shown
    lines = plain(shown).splitlines()
    assert all(len(line) <= 80 for line in lines), shown
    assert [name for name in fleet if name not in lines] == []


def test_secrets_fit_on_a_terminal(payments: Payments) -> None:
    assert payments.cluster.run("rotate-now", "payments").code == 0
    code, shown = on_terminal(payments.cluster, "account", "secrets", "list")
    assert code == 0, shown
    lines = plain(shown).splitlines()
    assert all(len(line) <= 80 for line in lines), shown
    assert any(payments.live[0] in line for line in lines), shown


def test_terminal_of_no_width_shows_everything(payments: Payments) -> None:
    code, shown = on_terminal(payments.cluster, "status", columns=0, COLUMNS="0")
    assert code == 0, shown
    assert "payments" in plain(shown)


def test_moment_has_the_date_unless_today() -> None:
    now = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
    assert moment(now + timedelta(minutes=5), now) == "23:35:00 UTC"
    assert moment(now + timedelta(hours=1), now) == "2026-11-27 00:30:00 UTC"
    assert moment(now.astimezone(timezone(timedelta(hours=9))) + timedelta(days=1), now) == "2026-11-27 23:30:00 UTC"
