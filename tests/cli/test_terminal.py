"""Tables: a row is one line in a pipe, and a terminal of 80 columns cuts no id, name or time."""

import ast
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from rotator.cli.failure import report
from rotator.cli.terminal import Cell, Styled, Table, echo, moment, print_json
from rotator.core.generator import Recipe, generate
from rotator.errors import RotatorError
from rotator.logs import register_secret
from testkit.cluster import Cluster
from tests.cli.harness import Payments, a_colourful_fleet
from tests.cli.pseudo_terminal import on_terminal, plain

ID = "5f2c1d9e-0000-4000-8000-000000000000"


def table(*rows: tuple[Cell, ...], prose: str | None = "details") -> Table:
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


def test_printed_text_masks_secrets_known_by_then(capsys: pytest.CaptureFixture[str]) -> None:
    """An error can repeat a secret that the process reads after the error was made."""
    secret = generate(Recipe())
    value = secret.get_secret_value()
    error = RotatorError(f"refused: {value}")
    register_secret(secret)
    echo("refused: ", Styled(value, "red"))
    table((f"refused: {value}", value, Styled(value, "red"), "idle")).print()
    print_json({"error": value, "rows": [{"why": value, "ids": (value,)}]})
    report(error, as_json=True)
    out, err = capsys.readouterr()
    assert value not in out + err
    assert out.count("********") == 8
    assert err == "rotator: refused: ********.\n"


def test_commands_print_in_the_masking_places_only() -> None:
    """The others print a version, an end of a line, the emulator's own new token, or no text of an account."""
    found = set()
    for file in sorted((Path(__file__).parents[2] / "rotator" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("typer.echo", "print", "sys.stdout.write", "sys.stderr.write"):
                found.add(file.stem)
    assert found == {"app", "audit", "config", "prompts", "servers", "terminal"}
