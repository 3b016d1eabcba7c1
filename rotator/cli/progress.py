"""Progress and waits of runs, in sentences for the user of a command.

The source is the log's events. A terminal shows one live line at the bottom. Elsewhere each wait is one line.
"""

import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from rotator.cli.terminal import echo
from rotator.cli.verbosity import invocation
from rotator.errors import visible
from rotator.imports import allow_optional_imports
from rotator.logs import redact

if TYPE_CHECKING:
    from rich.text import Text

T = TypeVar("T")
_WAITS_SHOWN = 3
_BAR = 20


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait of one account.

    Attributes:
        why: The reason for the wait.
        since: When it began to wait.
        until: When it stops waiting.
    """

    account: str
    why: str
    since: datetime
    until: datetime | None

    def sentence(self, now: datetime) -> str:
        """Return what the account waits for, and for how long at most."""
        left = "" if self.until is None else f" ({_left(self.until - now)} left)"
        return visible(f"{self.account}: {self.why}{left}")


class Progress(logging.Handler):
    """Follows the events of runs.

    Args:
        action: The first words of the progress line.
    """

    def __init__(self, total: int, action: str) -> None:
        super().__init__(logging.INFO)
        self.done = 0
        self._total = total
        self._action = action
        self._waits: dict[str, Wait] = {}
        self._printed: set[tuple[str, str]] = set()
        self._prints_lines = True
        self._guard = threading.Lock()

    def advance(self) -> None:
        """Count one more account as done."""
        self.done += 1

    def counted(self, results: Iterable[T]) -> Iterator[T]:
        """Yield results, and count each as an account that is done."""
        for result in results:
            self.advance()
            yield result

    def emit(self, record: logging.LogRecord) -> None:
        """Take an event."""
        if isinstance(record.msg, dict) and "account" in record.msg:
            self.follow(record.msg, datetime.now(UTC))

    def follow(self, event: dict[str, Any], now: datetime) -> None:
        """Take an event of an account: it begins a wait, continues one, or ends it."""
        account = str(event["account"])
        found = _wait_of(account, event, now)
        with self._guard:
            before = self._waits.pop(account, None)
            if found is None:
                return
            wait = found
            if before is not None and before.why == found.why:
                wait = replace(found, since=before.since)
            self._waits[account] = wait
            if not self._prints_lines or (account, wait.why) in self._printed:
                return
            self._printed.add((account, wait.why))
        echo(wait.sentence(now), stderr=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the progress on standard error as long as the block runs."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            if not sys.stderr.isatty():
                yield
                return
            allow_optional_imports()
            from rich.console import Console
            from rich.live import Live

            self._prints_lines = False
            console = Console(stderr=True, highlight=False, markup=False, emoji=False)
            with Live(get_renderable=self._render, console=console, transient=True, refresh_per_second=4):
                yield
        finally:
            root.removeHandler(self)

    def _render(self) -> "Text":
        from rich.text import Text

        now = datetime.now(UTC)
        with self._guard:
            waits = sorted(self._waits.values(), key=lambda wait: wait.since)
        lines = [wait.sentence(now) for wait in waits[:_WAITS_SHOWN]]
        if len(waits) > _WAITS_SHOWN:
            lines.append(f"and {len(waits) - _WAITS_SHOWN} more accounts wait")
        if self._total > 1:
            filled = _BAR * self.done // self._total
            lines.append(f"{self._action} [{'#' * filled}{'.' * (_BAR - filled)}] {self.done} of {self._total}")
        elif not lines:
            lines.append(f"{self._action} ...")
        return Text(redact("\n".join(lines)))


def _wait_of(account: str, event: dict[str, Any], now: datetime) -> Wait | None:
    match event:
        case {"event": "rotation.waiting" | "adoption.waiting", "detail": detail, "until": until}:
            return Wait(account, f"waits, because {detail}", now, datetime.fromisoformat(until))
    return None


@contextmanager
def showing_progress(ctx: typer.Context, total: int, action: str) -> Iterator[Progress]:
    """Show on standard error what runs do and wait for, unless -q or -v is given."""
    progress = Progress(total, action)
    if not invocation(ctx).shows_progress:
        yield progress
        return
    with progress.shown():
        yield progress


def _left(duration: timedelta) -> str:
    seconds = max(0, round(duration.total_seconds()))
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"  # noqa: PLR2004 - a minute
