"""What commands print with: tables for people, one JSON object for programs."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from rotator.config import format_duration
from rotator.errors import visible


def print_json(value: object) -> None:
    """Print one JSON object on standard output."""
    json.dump(value, sys.stdout, indent=2, default=_jsonable)
    sys.stdout.write("\n")


def _jsonable(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in a report")


def console(*, stderr: bool = False) -> Console:
    """Standard output or standard error. Ids and errors are other programs' text: none of it is markup."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def new_table(*columns: str) -> Table:
    """An empty table with these headings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_rows(value: dict[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print a value for programs, or its rows for people."""
    if as_json:
        print_json(value)
        return
    table = new_table(*columns)
    for row in rows:
        table.add_row(*map(visible, row))
    console().print(table)


def print_failures(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print the error of each row that has one, and end the command with exit code 1 then."""
    failed = [row for row in rows if row["error"]]
    for row in [] if as_json else failed:
        typer.echo(f"{row['account']}: {row['error']}")
    if failed:
        raise typer.Exit(1)


def in_minutes(at: datetime | None) -> str:
    """A time to the minute."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M}"


def yes_or_no(value: bool | None) -> str:
    """A yes, a no, or a dash for an unknown answer."""
    if value is None:
        return "-"
    return "yes" if value else "no"


def relative(at: datetime | None, now: datetime) -> str:
    """A time in relation to the present."""
    if at is None:
        return "-"
    if at <= now:
        return "now"
    return f"in {_coarse(at - now)}"


def age(at: datetime | None, now: datetime) -> str:
    """The time since."""
    return "-" if at is None else _coarse(now - at)


def _coarse(duration: timedelta) -> str:
    """The two largest units of a duration, seconds at the smallest."""
    seconds = max(0, round(duration.total_seconds()))
    for unit in (86_400, 3600, 60):
        if seconds >= unit:
            step = {86_400: 3600, 3600: 60, 60: 1}[unit]
            return format_duration(timedelta(seconds=seconds - seconds % step))
    return f"{seconds}s"
