"""The audit file: open it, lock it, read its last line, append a line and flush it to the disk.

Writers lock a file of their own beside it. A program that only reads the audit file can lock it, and stops no writer.
"""

import fcntl
import glob
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

LOCK_TIMEOUT = timedelta(seconds=5)
"""Maximum time to wait for another process that has the file locked."""
HASH_FIELD = b',"hash":"'
"""The beginning of a line's last field. A line's hash covers the bytes before it."""

_LOCK_PAUSE = 0.01
# The last line is a small part of this many bytes at the end of a file.
_TAIL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """The part of the last line that the next line needs."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class End:
    """The end of a file.

    Attributes:
        last: The last valid line; None if there is none.
        rest: The bytes after the last line break, if they are no valid line: a writer died, or the disk was full.
        foreign: Whether the file contains something else than an audit log.
    """

    last: Line | None = None
    rest: bytes = b""
    foreign: bool = False


class LockedFile:
    """The audit file, open and locked."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def end(self) -> End:
        """Return the end of the file, or of the previous file if this one is empty."""
        return _end(self._descriptor) if self._size else _end_of_previous(self._file)

    def append(self, line: bytes) -> None:
        """Append a line completely or not at all, and flush it to the disk.

        Raises:
            OSError: If that is impossible.
        """
        _write(self._descriptor, line if self._ends_with_break() else b"\n" + line, self._size)
        if not self._size:
            _sync_folder(self._file.parent)

    def _ends_with_break(self) -> bool:
        return self._size == 0 or os.pread(self._descriptor, 1, self._size - 1) == b"\n"


@contextmanager
def locked(file: Path, max_wait: timedelta) -> Iterator[LockedFile]:
    """Open the file under its name, and keep other writers out.

    Raises:
        OSError: If a file cannot be opened, or another writer keeps the lock for longer than `max_wait`.
    """
    with _opened(file) as descriptor:  # a wrong path is reported before a file beside it is made
        pass
    until = time.monotonic() + max_wait.total_seconds()
    while True:
        with _opened(lock_file(file)) as lock:
            _take_lock(lock, until)
            if not _has_name(lock, lock_file(file)):
                continue
            with _opened(file) as descriptor:
                yield LockedFile(file, descriptor)
            return


def lock_file(file: Path) -> Path:
    """Return the file that writers of an audit file lock."""
    return file.with_name(f".{file.name}.lock")


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a file")
        yield descriptor
    finally:
        os.close(descriptor)


def parse_line(content: bytes) -> dict[str, Any] | None:
    """Return a line's fields; None if it is no audit line, or its hash does not fit."""
    body, mark, end = content.rpartition(HASH_FIELD)
    if not mark or end != hashlib.sha256(body).hexdigest().encode() + b'"}':
        return None
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    known = isinstance(fields, dict) and isinstance(fields.get("seq"), int) and "prev" in fields
    return fields if known else None


def describe_error(error: Exception) -> str:
    """Return the system's text for an error."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or type(error).__name__


def _take_lock(descriptor: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise OSError("another process keeps it locked") from None
            time.sleep(_LOCK_PAUSE)
        else:
            return


def _has_name(descriptor: int, file: Path) -> bool:
    """Return whether the file still has its name: it can be removed during the wait for its lock."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    return False


def _end(descriptor: int) -> End:
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    *lines, rest = content.split(b"\n")
    last = parse_line(rest)
    if last is not None:  # only the line break is missing
        return End(Line(last["seq"], last["hash"]))
    valid = (parsed for line in reversed(lines) if (parsed := parse_line(line)) is not None)
    found = next(valid, None)
    if found is None:
        return End(rest=rest, foreign=size > len(rest))
    return End(Line(found["seq"], found["hash"]), rest)


def _end_of_previous(file: Path) -> End:
    """Return the end of the file that was moved away last; an empty one if there is none, or it is compressed."""
    moved = [path for path in file.parent.glob(glob.escape(file.name) + "[.-]*") if path.is_file()]
    if not moved:
        return End()
    with max(moved, key=lambda path: path.stat().st_mtime_ns).open("rb") as previous:
        end = _end(previous.fileno())
    return end if end.last else End()


def _write(descriptor: int, content: bytes, size: int) -> None:
    try:
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):  # if that is forbidden, the next line contains a hash of the remains
            os.ftruncate(descriptor, size)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
