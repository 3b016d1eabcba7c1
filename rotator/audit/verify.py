"""Verify an audit log: every line is as it was written and follows from the previous line."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotator.audit.file import describe_error, parse_line
from rotator.errors import ConfigError

_MAX_LINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a verification.

    Attributes:
        lines: Number of valid lines before the first problem.
        head: The hash of the last of them.
        problem: The first line that is wrong, and why; None if every line is right.
        notes: Facts that are no problem, such as lines that could not be written.
    """

    lines: int
    head: str | None
    problem: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _ReadLine:
    """A line in a file.

    Attributes:
        place: Its file and number.
        ended: Whether its line break was written.
        fields: Its fields; None if it is no audit line or was changed.
    """

    place: str
    content: bytes
    ended: bool
    fields: dict[str, Any] | None


def verify(files: Sequence[Path], head: str | None = None, *, start: str | None = None) -> Verdict:
    """Check that each line is as it was written and follows from the previous line.

    The first line must be the first one of a log, unless `start` names the line before it.

    Args:
        files: The files of one log, oldest first.
        head: A hash that must be among the lines.
        start: The hash of the line before the first file; None if the first file is the beginning of the log.

    Raises:
        ConfigError: If a file cannot be read, or a given hash is none.
    """
    head, start = _hash_of("--head", head), _hash_of("--from", start)
    chain = _Chain(start)
    lines = (line for file in files for line in _read(file))
    for line in lines:
        problem = chain.follow(line, lines)
        if problem is not None:
            return chain.verdict(problem)
        chain.head_found = chain.head_found or chain.head == head
    return chain.verdict(chain.end(head))


def _hash_of(option: str, text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise ConfigError(f"{option}: a hash has 64 hexadecimal digits, this text has {len(text)} characters")
    return None if text is None else text.lower()


class _Chain:
    """The lines that were read until now."""

    def __init__(self, start: str | None) -> None:
        self.head_found = False
        self._start = start
        self._lines = 0
        self._last: dict[str, Any] | None = None
        self._truncated: _ReadLine | None = None
        self._notes: list[str] = []

    @property
    def head(self) -> str | None:
        return self._last["hash"] if self._last else None

    def verdict(self, problem: str | None) -> Verdict:
        return Verdict(self._lines, self.head, problem, tuple(self._notes))

    def follow(self, line: _ReadLine, rest: Iterator[_ReadLine]) -> str | None:
        """Take the next line and return its problem, if it has one."""
        truncated = self._truncated
        fields = line.fields
        if fields is None:
            self._truncated = truncated or line
            return f"{truncated.place} was changed" if truncated else None
        if _truncated_hash(fields) != (hashlib.sha256(truncated.content).hexdigest() if truncated else None):
            return f"{truncated.place} was changed" if truncated else f"a truncated line before {line.place} is missing"
        problem = _break(self._last, fields, rest) if self._last else self._wrong_start(fields)
        if problem is not None:
            return f"{line.place} {problem}"
        if truncated is not None:
            self._notes.append(f"{truncated.place} was truncated during its write, as the next line says")
        if "lost" in fields:
            self._notes.append(f"lines that could not be written before {line.place}, as it says: {fields['lost']}")
        self._last = fields
        self._truncated = None
        self._lines += 1
        return None

    def _wrong_start(self, fields: dict[str, Any]) -> str | None:
        """Return why a line is not the first one; None if it is."""
        if fields["prev"] == self._start:
            return None
        if self._start is not None:
            return f"does not follow the line with the hash {self._start}"
        return (
            f"continues another file (seq {fields['seq']}): the lines before it are missing. Name that file first, or "
            "the hash of its last line with --from, as the ordinary log has it"
        )

    def end(self, head: str | None) -> str | None:
        """Return the problem of the end, if it has one."""
        truncated = self._truncated
        if truncated is not None and truncated.ended:
            return f"{truncated.place} was changed"
        if truncated is not None:
            return f"{truncated.place} is truncated: its writer died, or a person cut it. The next line will say which"
        if self._last is None and self._start is not None:
            return f"no line follows the line with the hash {self._start}: all lines were removed"
        if head is not None and not self.head_found:
            missing = f"the lines after seq {self._last['seq']}" if self._last else "all lines"
            return f"no line has the hash {head}: {missing} were removed, or it belongs to another log"
        return None


def _truncated_hash(fields: dict[str, Any]) -> Any:
    """Return the hash of a truncated line before this one; `torn` is that field's name in old lines."""
    return fields.get("truncated", fields.get("torn"))


def _break(last: dict[str, Any], fields: dict[str, Any], rest: Iterator[_ReadLine]) -> str | None:
    """Return why a line does not follow from the previous line; None if it does."""
    seq = fields["seq"]
    prev = fields["prev"]
    expected = last["seq"] + 1
    if prev == last["hash"] and seq == expected:
        return None
    if prev is None:
        return f"starts a new chain: the lines between it and seq {last['seq']} are missing"
    if seq < expected:
        return f"is out of order: seq {seq} after {last['seq']}"
    if seq == expected:
        return "does not follow from the previous line: one of the two was replaced"
    if any(later.fields is not None and later.fields["seq"] == expected for later in rest):
        return f"is out of order: seq {seq} after {last['seq']}, and seq {expected} comes later"
    return f"follows on seq {last['seq']} with seq {seq}: the lines between are missing"


def _read(file: Path) -> Iterator[_ReadLine]:
    try:
        with file.open("rb") as opened:
            # A line of an audit log is short. Without a bound, a file without line breaks would fill the memory.
            for number, line in enumerate(iter(lambda: opened.readline(_MAX_LINE), b""), 1):
                content = line.removesuffix(b"\n")
                yield _ReadLine(f"{file}:{number}", content, line != content, parse_line(content))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {describe_error(error)}") from None
