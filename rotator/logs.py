"""The log: structlog and standard-library loggers through one chain, on standard error; imports errors.

No code logs a secret. Should one get into an event all the same, through a library or a server's answer, the
last processor takes it out of the finished line: it knows every value that this process ever held, see `conceal`.
"""

import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import MutableMapping
from contextlib import suppress
from io import StringIO
from typing import Any, Literal, TextIO

import structlog
from pydantic import SecretStr

from rotator.errors import visible

_MASK = "********"
# Shorter values would be found inside ordinary words; the provider takes none below eight characters.
_SHORTEST = 8
# An account's secrets come and go for months. What a run holds was met a moment ago: this many are far more than all
# runs at once hold.
_PASSING = 100_000


class Redactor:
    """Replaces known secret values in finished text, in time that does not grow with their number."""

    def __init__(self, passing: int = _PASSING) -> None:
        self._most = passing
        self._lasting: set[str] = set()
        self._passing: dict[str, None] = {}  # the one that was not met for longest comes first
        self._beginnings: Counter[str] = Counter()  # of all of them: one look at each place of a text is enough
        self._lengths: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def add(self, secret: SecretStr, *, passing: bool = False) -> None:
        """Know this value from now on, as it is and as JSON would spell it.

        Args:
            secret: The value.
            passing: The process forgets it again: it may be forgotten here once very many others were met since.
        """
        value = secret.get_secret_value()
        if len(value) < _SHORTEST:
            return
        spelled = _spellings(value)
        with self._lock:
            self._lengths = tuple(sorted({*self._lengths, *map(len, spelled)}, reverse=True))
            for text in spelled:
                if text not in self._passing and text not in self._lasting:
                    self._beginnings[text[:_SHORTEST]] += 1
            if not passing:
                self._lasting |= spelled
                return
            for text in spelled - self._lasting:
                self._passing.pop(text, None)
                self._passing[text] = None
            while len(self._passing) > self._most:
                self._forget(next(iter(self._passing)))

    def _forget(self, text: str) -> None:
        del self._passing[text]
        if text in self._lasting:
            return
        beginning = text[:_SHORTEST]
        self._beginnings[beginning] -= 1
        if not self._beginnings[beginning]:
            del self._beginnings[beginning]

    def redact(self, text: str) -> str:
        """The text with every known value masked; values that overlap go under one mask."""
        beginnings = self._beginnings
        places = [at for at in range(len(text) - _SHORTEST + 1) if text[at : at + _SHORTEST] in beginnings]
        pieces, rest = [], 0
        for at in places:
            length = next((length for length in self._lengths if self._knows(text[at : at + length])), None)
            if length is None:
                continue
            if at >= rest:
                pieces += [text[rest:at], _MASK]
            rest = max(rest, at + length)
        return "".join([*pieces, text[rest:]])

    def _knows(self, text: str) -> bool:
        return text in self._passing or text in self._lasting


def _spellings(value: str) -> frozenset[str]:
    """The value as it is, as Python and as JSON would quote it, and as JSON would quote what Python quoted."""
    # A quote before it makes repr choose the other kind: whichever it chooses in a log line, it is among these.
    plain = {value, repr(value)[1:-1], repr("'" + value)[2:-1], repr("'\"" + value)[4:-1]}
    return frozenset(plain | {json.dumps(text)[1:-1] for text in plain})


_redactor = Redactor()


def conceal(secret: SecretStr, *, passing: bool = False) -> SecretStr:
    """Never let this value through to the log; returns it for the caller's convenience.

    Args:
        secret: The value.
        passing: It is read anew, and concealed anew, whenever it is needed: see `Redactor.add`.
    """
    _redactor.add(secret, passing=passing)
    return secret


def configure(level: str, form: Literal["json", "console"], stream: TextIO | None = None) -> None:
    """Send every logger of the process through one chain.

    Args:
        level: The lowest level that is written: debug, info, warning or error.
        form: One JSON object a line, or text for people.
        stream: Where to; standard error if not given.
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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # A line a request or job, of interest only to who debugs.
    for noisy in ("apscheduler", "httpx", "httpcore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # It has a line for whatever anybody sends to the port that is no request.
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if level == "debug" else logging.ERROR)


def _renderers(form: str, *, colors: bool) -> list[Any]:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if form == "json":
        return [remove, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [remove, _on_one_line, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_indented)]


def _on_one_line(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Other people's words neither begin a line nor act on a terminal; whatever is no text is shown by its repr."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = visible(value).replace("\n", "\\n")
    return event


def _indented(out: TextIO, error: Any) -> None:
    """An exception's lines, which may be other people's words as well, cannot be taken for the log's own."""
    text = StringIO()
    structlog.dev.plain_traceback(text, error)
    out.write(visible(text.getvalue()).replace("\n", "\n  | "))


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
        return _redactor.redact(super().format(record))
