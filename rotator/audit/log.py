"""The audit log: what was done to secrets, by whom and why, in a file that shows any change.

One JSON object a line, none of them with a secret. Its last field, `hash`, is the SHA-256 over the bytes of the line
before `,"hash":`, and `prev` is the hash of the line before: whoever changes, removes or moves a line breaks the chain.

An act has two lines: `begun` before it, so that nothing is done that has no line, and afterwards what became of it.
`begun` claims no more than that; if the other line is missing, the act may have been carried out. docs/security.md
tells why it is so.
"""

import fcntl
import glob
import hashlib
import json
import os
import pwd
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import structlog

from rotator.errors import Code, ConfigError, RotatorError

# Of the file's end so much is read to find the last line, which is a small part of it.
_TAIL = 64 * 1024
# Somebody who holds the file's lock keeps no rotation waiting for longer.
_LOCK_TIMEOUT = timedelta(seconds=5)
_LOCK_PAUSE = 0.01
# The environment is the caller's: of a name in it no more is taken over.
_LONGEST_NAME = 64
_NOBODY = 2**32 - 1  # the kernel's login uid of a process that nobody logged in for
_HASH = b',"hash":"'

_log = structlog.get_logger()


class AuditError(RotatorError):
    """What is to be begun cannot be written down first, so it was not begun."""

    code = Code.AUDIT_LOG_UNWRITABLE


class Act(StrEnum):
    """What is audited."""

    CREATE = "create"  # a secret is added at the provider
    PUBLISH = "publish"  # what consumers read is replaced
    REVOKE = "revoke"  # a secret is deleted at the provider
    RETIRE = "retire"  # a person decides that a secret is to be revoked
    TOP_UP = "top_up"  # a payment is repeated
    CALLBACKS = "callbacks"  # the addresses that the provider calls are set


class Result(StrEnum):
    """What became of an act."""

    BEGUN = "begun"  # it is about to be sent; without another line, it may have been carried out
    DONE = "done"
    NOT_DONE = "not_done"  # refused or not sent: certainly not carried out
    UNANSWERED = "unanswered"  # the answer was lost: it may have been carried out
    FOUND = "found"  # it was begun by an earlier run, and has been carried out


@dataclass(frozen=True, slots=True)
class Entry:
    """An act.

    Attributes:
        runner: The process that acts.
        trigger: Why.
        secret_id: The provider's id of the secret.
        fingerprint: See `fingerprint`; None for values that rotator did not make up.
        version: The KV version of the published document.
    """

    act: Act
    account: str
    api_key: str
    runner: str
    trigger: str | None
    rotation_id: str | None = None
    secret_id: str | None = None
    fingerprint: str | None = None
    version: int | None = None


@dataclass(slots=True)
class Found:
    """What only doing it tells."""

    secret_id: str | None = None
    version: int | None = None


def fingerprint(api_key: str, value: str) -> str:
    """By this whoever holds a value can find its lines: 64 bits of the SHA-256 over "api_key:value".

    It tells a guessed value from a wrong one, too: only for values that nobody can guess.
    """
    return hashlib.sha256(f"{api_key}:{value}".encode()).hexdigest()[:16]


# --- writing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """The end of a chain, as far as the next line needs it."""

    seq: int
    hash: str


class AuditLog:
    """Appends to the file, from several threads and processes at once; `at` gives the one for a file.

    The file is opened anew for each line, so that it may be moved away at any time. A file that is empty goes on from
    the one that was moved away, if that lies beside it under the same name with an ending ("audit.jsonl.1").

    Args:
        file: The file; None: nothing is audited.
        clock: Tells the time, aware UTC.

    Attributes:
        on_lost: Told of each line that could not be written.
    """

    def __init__(self, file: Path | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.file = file
        self._clock = clock
        self.on_lost: Callable[[], None] = lambda: None
        self._lost = 0
        self._lock = threading.Lock()

    def check(self) -> None:
        """Make sure that the file can be written.

        Raises:
            ConfigError: If it cannot, or holds something else.
        """
        if self.file is None:
            return
        try:
            with _opened(self.file, _LOCK_TIMEOUT) as descriptor:
                last, rest = _tail(descriptor)
                foreign = last is None and os.fstat(descriptor).st_size > len(rest)
        except OSError as error:
            raise ConfigError(
                f"audit.file: {self.file} cannot be opened for writing: {_why(error)}",
                unchanged="Nothing was written anywhere",
            ) from None
        if foreign:
            raise ConfigError(
                f"audit.file: {self.file} does not end like an audit log",
                unchanged="Nothing was written anywhere",
                next_step=f"Name another file, or find out what happened to it: rotator audit verify {self.file}",
            )

    @contextmanager
    def acting(self, entry: Entry, *, begin: bool = True, required: bool = False) -> Iterator[Found]:
        """Note that an act begins, and what becomes of it.

        Args:
            entry: The act.
            begin: Whether it is not noted already that it begins.
            required: Whether it is not to be begun unless that is noted.

        Yields:
            Where to put what is learned by doing it.

        Raises:
            AuditError: If it is required to be noted and cannot be: the act is not begun then.
        """
        if begin:
            self.note(entry, Result.BEGUN, required=required)
        found = Found()
        try:
            yield found
        except RotatorError as error:
            self.note(entry, Result.UNANSWERED if error.maybe_done else Result.NOT_DONE)
            raise
        known = replace(entry, secret_id=found.secret_id or entry.secret_id, version=found.version or entry.version)
        self.note(known, Result.DONE)

    def note(self, entry: Entry, result: Result, *, required: bool = False) -> None:
        """Write one line; it is on the disk when this returns.

        A line that cannot be written is lost, which is logged, and told by the next line that can.

        Raises:
            AuditError: If it is required and cannot be written.
        """
        if self.file is None:
            return
        fields = _fields(entry, result)
        try:
            with self._lock:
                line = self._append(self.file, fields)
        except OSError as error:
            if required:
                raise AuditError(
                    f"{self.file} cannot be written ({_why(error)}), and nothing is begun that is not audited",
                    unchanged="Nothing was changed",
                    next_step="Make room for it, or name another file with ROTATOR_AUDIT__FILE",
                ) from None
            self._lost += 1
            self.on_lost()
            _log.error("audit.lost", error=f"{self.file} cannot be written: {_why(error)}", line=fields)
            return
        # What stands in the file alone can be made anew, chain and all, by whoever may write to it.
        about = {name: value for name, value in fields.items() if name != "event"}
        _log.info("audit.noted", audit=line.hash, seq=line.seq, act=entry.act.value, **about)

    def _append(self, file: Path, fields: dict[str, Any]) -> _Line:
        # When lines are being lost, no further one is waited for.
        with _opened(file, timedelta() if self._lost else _LOCK_TIMEOUT) as descriptor:
            size = os.fstat(descriptor).st_size
            last, rest = _tail(descriptor) if size else _tail_of_the_one_before(file)
            seq = last.seq + 1 if last else 1
            at = self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            whole = {"seq": seq, "at": at, **fields}
            if self._lost:
                whole["lost"] = self._lost
            if rest:
                whole["torn"] = hashlib.sha256(rest).hexdigest()
            content = json.dumps(whole | {"prev": last.hash if last else None}, separators=(",", ":")).encode()
            digest = hashlib.sha256(content[:-1]).hexdigest()
            line = content[:-1] + _HASH + digest.encode() + b'"}\n'
            _write(descriptor, line if _ends_a_line(descriptor, size) else b"\n" + line, size)
            if not size:
                _sync_folder(file.parent)
        self._lost = 0
        return _Line(seq, digest)


@lru_cache(maxsize=8)
def at(file: Path | None) -> AuditLog:
    """The process's log in that file: there is one only, as it counts the lines that were lost."""
    return AuditLog(file)


def _fields(entry: Entry, result: Result) -> dict[str, Any]:
    return {
        "event": entry.act.value,
        "result": result.value,
        "account": entry.account,
        "api_key": entry.api_key,
        "secret_id": entry.secret_id,
        "rotation_id": entry.rotation_id,
        "trigger": entry.trigger,
        "actor": {"runner": entry.runner, **_person()},
        "fingerprint": entry.fingerprint,
        "version": entry.version,
    }


@cache
def _person() -> dict[str, str]:
    """Whom the system takes this process's user for.

    Returns:
        user: Whose rights it has. login: Who logged in to start it, as the kernel has kept it since, if anybody.
        sudo_user: What sudo, or whoever set that variable, says.
    """
    person = {"user": _user_name(os.geteuid())}
    with suppress(OSError, ValueError):  # not every kernel keeps it
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
        if login != _NOBODY:
            person["login"] = _user_name(login)
    sudo_user = os.environ.get("SUDO_USER")
    if sudo_user:
        person["sudo_user"] = sudo_user[:_LONGEST_NAME]
    return person


def user() -> str:
    """Return the name of this process's user, or of the person behind sudo."""
    person = _person()
    return person.get("sudo_user") or person.get("login") or person["user"]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextmanager
def _opened(file: Path, patience: timedelta) -> Iterator[int]:
    """The file, locked: what stands under its name when nobody else writes to it."""
    until = time.monotonic() + patience.total_seconds()
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is not a file")
            _take_lock(descriptor, fcntl.LOCK_EX, until)
            if _is_at(descriptor, file):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _take_lock(descriptor: int, kind: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise OSError("somebody else keeps it locked") from None
            time.sleep(_LOCK_PAUSE)
        else:
            return


def _is_at(descriptor: int, file: Path) -> bool:
    """Whether it was not moved away while its lock was waited for."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    return False


def _tail(descriptor: int) -> tuple[_Line | None, bytes]:
    """The last good line, and what follows it that is not a line: the writer died, or the disk was full."""
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    *lines, rest = content.split(b"\n")
    last = _parsed(rest)
    if last is not None:  # all but the line's end was written
        return _Line(last["seq"], last["hash"]), b""
    good = (parsed for line in reversed(lines) if (parsed := _parsed(line)) is not None)
    found = next(good, None)
    return (_Line(found["seq"], found["hash"]) if found else None), rest


def _tail_of_the_one_before(file: Path) -> tuple[_Line | None, bytes]:
    """The same, of the file that was moved away last; nothing if there is none, or it is compressed."""
    moved = [path for path in file.parent.glob(glob.escape(file.name) + "[.-]*") if path.is_file()]
    if not moved:
        return None, b""
    with max(moved, key=lambda path: path.stat().st_mtime_ns).open("rb") as before:
        _take_lock(before.fileno(), fcntl.LOCK_SH, time.monotonic() + _LOCK_TIMEOUT.total_seconds())
        last, rest = _tail(before.fileno())
    return (last, rest) if last else (None, b"")


def _ends_a_line(descriptor: int, size: int) -> bool:
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _write(descriptor: int, content: bytes, size: int) -> None:
    """All of it or nothing, and on the disk."""
    try:
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):  # where that is not allowed, the next line tells of it
            os.ftruncate(descriptor, size)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


# --- verifying -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a chain.

    Attributes:
        lines: How many lines are good, up to the first problem.
        head: The last one's hash.
        problem: The first line that is wrong, and how; None if none is.
        notes: What is not wrong, but ought to be known.
    """

    lines: int
    head: str | None
    problem: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Read:
    """A line as it stands in a file.

    Attributes:
        where: Its file and number.
        ended: Whether its end was written.
        fields: What it says; None if it is no line of the log's, or was changed.
    """

    where: str
    content: bytes
    ended: bool
    fields: dict[str, Any] | None


def verify(files: Sequence[Path], head: str | None = None) -> Verdict:
    """Check that each line is as it was written and follows from the one before.

    Args:
        files: One log, in the order in which it was written.
        head: A hash that has to be among the lines.

    Raises:
        ConfigError: If a file cannot be read.
    """
    chain = _Chain()
    reads = (read for file in files for read in _reads(file))
    for read in reads:
        problem = chain.follow(read, reads)
        if problem is not None:
            return chain.verdict(problem)
        chain.head_found = chain.head_found or chain.head == head
    return chain.verdict(chain.end(head))


class _Chain:
    """What was read so far."""

    def __init__(self) -> None:
        self.head_found = False
        self._lines = 0
        self._last: dict[str, Any] | None = None
        self._torn: _Read | None = None
        self._notes: list[str] = []

    @property
    def head(self) -> str | None:
        return self._last["hash"] if self._last else None

    def verdict(self, problem: str | None) -> Verdict:
        return Verdict(self._lines, self.head, problem, tuple(self._notes))

    def follow(self, read: _Read, rest: Iterator[_Read]) -> str | None:
        """Take the next line; what is wrong with it, if anything is."""
        torn, fields = self._torn, read.fields
        if fields is None:
            self._torn = torn or read
            return f"{torn.where} was changed" if torn else None
        if fields.get("torn") != (hashlib.sha256(torn.content).hexdigest() if torn else None):
            return f"{torn.where} was changed" if torn else f"what was before {read.where} is missing: a line cut off"
        problem = _break(self._last, fields, rest)
        if problem is not None:
            return f"{read.where} {problem}"
        if torn is not None:
            self._notes.append(f"{torn.where} was cut off while it was written, as the next line says")
        if self._last is None and fields["prev"] is not None:
            self._notes.append(f"{read.where} goes on from a file that was not given (seq {fields['seq']})")
        if "lost" in fields:
            self._notes.append(f"lines that could not be written before {read.where}, as it says: {fields['lost']}")
        self._last, self._torn, self._lines = fields, None, self._lines + 1
        return None

    def end(self, head: str | None) -> str | None:
        """What is wrong with the end, if anything is."""
        torn = self._torn
        if torn is not None:
            cut = "is cut off: its writer died, which the next line is going to say, or somebody cut it"
            return f"{torn.where} {'was changed' if torn.ended else cut}"
        if head is not None and not self.head_found:
            after = f"after seq {self._last['seq']}" if self._last else "all of it"
            return f"no line has the hash {head}: what was {after} is cut off, or it is of another log"
        return None


def _break(last: dict[str, Any] | None, fields: dict[str, Any], rest: Iterator[_Read]) -> str | None:
    """How a line does not follow from the one before; None if it does."""
    seq, prev = fields["seq"], fields["prev"]
    if last is None or (prev == last["hash"] and seq == last["seq"] + 1):
        return None
    if prev is None:
        return f"starts anew: what was between it and seq {last['seq']} is missing"
    if seq <= last["seq"]:
        return f"is out of order: seq {seq} after {last['seq']}"
    if seq == last["seq"] + 1:
        return "does not follow from the line before it: one of them was replaced"
    if any(later.fields is not None and later.fields["seq"] == last["seq"] + 1 for later in rest):
        return f"is out of order: seq {seq} after {last['seq']}, and what belongs between comes later"
    return f"follows on seq {last['seq']} with seq {seq}: what was between is missing"


def _reads(file: Path) -> Iterator[_Read]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                content = line.removesuffix(b"\n")
                yield _Read(f"{file}:{number}", content, line != content, _parsed(content))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {_why(error)}") from None


def _parsed(content: bytes) -> dict[str, Any] | None:
    """A line's fields; None if it is not one, or not as it was written."""
    body, mark, end = content.rpartition(_HASH)
    if not mark or end != hashlib.sha256(body).hexdigest().encode() + b'"}':
        return None
    try:
        fields = json.loads(content)
    except ValueError:
        return None
    known = isinstance(fields, dict) and isinstance(fields.get("seq"), int) and "prev" in fields
    return fields if known else None
