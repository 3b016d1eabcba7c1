"""The log: structlog and standard-library loggers through one chain, on standard error.

No code logs a secret. A library or a server's answer can still put one into an event, so the formatter masks every
registered secret in the finished line.
"""

import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from io import StringIO
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

from rotator.logs.redaction import escape_control, redact


def configure(level: str, form: Literal["json", "console"], stream: TextIO | None, *, unfiltered: str) -> None:
    """Send every logger of the process through one chain, and mask secrets in the tracebacks of internal errors.

    Args:
        level: The lowest level that is written: debug, info, warning, error or critical.
        form: One JSON object a line, or text for people.
        stream: Where to; standard error if not given.
        unfiltered: Name of the logger whose events are written at any level.
    """
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(out)
    handler.setFormatter(_Formatter(foreign_pre_chain=shared, processors=_renderers(form, colors=out.isatty())))
    sys.excepthook = _print_masked
    threading.excepthook = lambda failed: _print_masked(failed.exc_type, failed.exc_value, failed.exc_traceback)
    # No line shows them, so that no record has to find them out (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger(unfiltered).setLevel(logging.INFO)
    # These loggers write a line per request or job, which is useful only for debugging.
    for noisy in ("apscheduler", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # uvicorn, the emulator's server, writes a line for each invalid request.
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if level == "debug" else logging.ERROR)


def _print_masked(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    """Print an exception that nothing caught: a library's can repeat what it was given."""
    with suppress(OSError, ValueError):
        print(redact("".join(traceback.format_exception(kind, error, where))), file=sys.stderr, end="")  # noqa: T201


def _renderers(form: str, *, colors: bool) -> list[Any]:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if form == "json":
        return [remove, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [remove, _on_one_line, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_indented)]


def _on_one_line(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Escape line breaks and control characters: foreign text must not start a line or control a terminal.

    The console shows a value of another type by its repr.
    """
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = escape_control(value).replace("\n", "\\n")
    return event


def _indented(out: TextIO, error: Any) -> None:
    """An exception's lines, which may be other people's words as well, cannot be taken for the log's own."""
    text = StringIO()
    structlog.dev.plain_traceback(text, error)
    out.write(escape_control(text.getvalue()).replace("\n", "\n  | "))


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A record that cannot be formatted: say where it comes from, never what it holds.

        Where not even that can be said, as on a disk that is full, the work goes on all the same.
        """
        with suppress(OSError, ValueError):
            self.stream.write(f"a log line of {record.name} at {record.pathname}:{record.lineno} cannot be written\n")


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line: nothing is added to it after that."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
