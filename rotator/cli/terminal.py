"""Output of commands: tables for users, one JSON object for programs."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.cells import cell_len

from rotator.cli import exit_codes
from rotator.config import format_duration
from rotator.core.protocol.wording import listed
from rotator.errors import visible
from rotator.logs import redact
from rotator.monitoring import masked

_GAP = "  "
# An id of the provider fits into it.
_SHORTEST_PROSE = 36


def print_json(value: object) -> None:
    """Print one JSON object on standard output, with every secret masked that the process knows by now."""
    json.dump(_shown(value), sys.stdout, indent=2, default=_jsonable)
    sys.stdout.write("\n")


def _shown(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _shown(part) for key, part in value.items()}
    if isinstance(value, list | tuple | Set):
        return [_shown(part) for part in value]
    return value


def _jsonable(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in a report")


@dataclass(frozen=True, slots=True)
class Styled:
    """Text with a color of a terminal."""

    text: str
    color: str | None = None
    bold: bool = False

    def __str__(self) -> str:
        """Return the text, colored if the environment allows it."""
        if not (self.color or self.bold) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return self.text
        return typer.style(self.text, fg=self.color, bold=self.bold or None)


Cell = str | Styled


def echo(*parts: Cell, stderr: bool = False) -> None:
    """Print one line, as long as it is: a terminal wraps it, and a copied id stays whole.

    An error masks the secrets that the process knew when it was made. The process can have read another account's since
    then, so they are masked again here.
    """
    typer.echo(redact("".join(map(str, parts))), err=stderr)


@dataclass
class Table:
    """Rows under headings.

    In a pipe a row is one line. On a terminal only the column `prose` wraps: ids, names and times are never cut. If the
    other columns are too wide for the terminal, the first one gets a line of its own above the others.

    Attributes:
        columns: The headings; a heading can have several lines.
        prose: The heading of the column that may wrap.
        right: The headings of right-aligned columns.
        rows: The cells.
    """

    columns: Sequence[str]
    prose: str | None = None
    right: Set[str] = frozenset()
    rows: list[Sequence[Cell]] = field(default_factory=list)

    def print(self, *, stderr: bool = False) -> None:
        """Print the table. Secrets are masked before a cell wraps, because they are found in one piece only."""
        shown = replace(self, rows=[[_masked(cell) for cell in row] for row in self.rows])
        for line in shown.lines(_terminal_width(stderr=stderr)):
            echo(line, stderr=stderr)

    def lines(self, width: int | None) -> list[str]:
        """Return the lines for a terminal of this width; None: without a limit."""
        if width is None or len(self.columns) == 1 or _sum(self._widths(width)) <= width:
            return [line for block in self.blocks(width) for line in block]
        rest = Table(self.columns[1:], self.prose, self.right, [row[1:] for row in self.rows])
        headings, *blocks = rest.blocks(width - len(_GAP))
        lines = [str(Styled(self.columns[0], bold=True)), *(_GAP + line for line in headings)]
        previous: Cell | None = None
        for row, block in zip(self.rows, blocks, strict=True):
            if row[0] != previous:
                lines.append(str(row[0]))
            lines += [_GAP + line for line in block]
            previous = row[0]
        return lines

    def blocks(self, width: int | None) -> list[list[str]]:
        """Return the lines of the headings, then those of each row, with prose that fits into this width if it can."""
        widths = self._widths(width)
        headings = [line for row in self._headings() for line in self._row_lines(row, widths)]
        return [headings, *(self._row_lines(row, widths) for row in self.rows)]

    def _headings(self) -> list[tuple[Cell, ...]]:
        split = [heading.split("\n") for heading in self.columns]
        height = max(map(len, split))
        padded = [[""] * (height - len(lines)) + lines for lines in split]
        return [tuple(Styled(lines[at], bold=True) for lines in padded) for at in range(height)]

    def _widths(self, width: int | None) -> list[int]:
        """Return the width of each column; only the prose adapts to the terminal."""
        rows = (*self._headings(), *self.rows)
        widths = [max(cell_len(_text(row[at])) for row in rows) for at in range(len(self.columns))]
        if width is not None and self.prose in self.columns:
            at = self.columns.index(self.prose)
            widths[at] = min(widths[at], max(width - _sum(widths) + widths[at], _SHORTEST_PROSE))
        return widths

    def _row_lines(self, row: Sequence[Cell], widths: Sequence[int]) -> list[str]:
        columns = [
            textwrap.wrap(_text(cell), width, break_long_words=False, break_on_hyphens=False) or [""]
            if heading == self.prose
            else [_text(cell)]
            for heading, cell, width in zip(self.columns, row, widths, strict=True)
        ]
        lines = []
        for at in range(max(map(len, columns))):
            texts = [column[at] if at < len(column) else "" for column in columns]
            lines.append(
                _GAP.join(self._padded(*parts) for parts in zip(self.columns, row, texts, widths, strict=True))
            )
        return [line.rstrip() for line in lines]

    def _padded(self, heading: str, cell: Cell, text: str, width: int) -> str:
        padding = " " * (width - cell_len(text))
        shown = str(replace(cell, text=text)) if isinstance(cell, Styled) else text
        return padding + shown if heading in self.right else shown + padding


def _masked(cell: Cell) -> Cell:
    return replace(cell, text=redact(cell.text)) if isinstance(cell, Styled) else redact(cell)


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Styled) else cell


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _terminal_width(*, stderr: bool) -> int | None:
    """Return the terminal's width in columns; None for a pipe or a file."""
    if not (sys.stderr if stderr else sys.stdout).isatty():
        return None
    return shutil.get_terminal_size().columns


def print_rows(value: dict[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print a value for programs, or its rows for people."""
    if as_json:
        print_json(value)
        return
    Table(columns, rows=[[visible(cell) for cell in row] for row in rows]).print()


def print_failures(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print the error of each row that has one, and end the command as failed then."""
    failed = [row for row in rows if row["error"]]
    if not as_json:
        print_sentences((row["account"], row["error"]) for row in failed)
    if failed:
        raise typer.Exit(exit_codes.FAILED)


def print_sentences(sentences: Iterable[tuple[str, str]], color: str | None = None) -> None:
    """Print sentences about accounts. Accounts with the same sentence share a line."""
    alike: dict[str, list[str]] = {}
    for account, sentence in sentences:
        alike.setdefault(masked(sentence) or "", []).append(account)
    for sentence, accounts in alike.items():
        echo(Styled(listed(sorted(accounts)), color), ": ", visible(sentence))


def in_minutes(at: datetime | None) -> str:
    """A time to the minute."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M}"


def yes_or_no(value: bool | None) -> str:
    """A yes, a no, or a dash for an unknown answer."""
    if value is None:
        return "-"
    return "yes" if value else "no"


def moment(at: datetime, now: datetime) -> str:
    """A time of today in UTC; of another day, with its date."""
    shown = at.astimezone(UTC)
    return f"{shown:%H:%M:%S} UTC" if shown.date() == now.astimezone(UTC).date() else f"{shown:%Y-%m-%d %H:%M:%S} UTC"


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
