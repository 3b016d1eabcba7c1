"""The audit log: rotator's actions on secrets with their times, in a file that shows any change.

The file has one JSON object a line, and no line contains a secret. A line's last field, `hash`, is the SHA-256 over the
bytes of the line before `,"hash":`, and `prev` is the hash of the previous line. Changing, removing or moving a line
breaks the chain.

An action has two lines: `started` before it, so that rotator does nothing that has no line, and its result afterwards.
If the second line is missing, the action might have been carried out. docs/security.md explains why.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog

from rotator.audit.entry import AuditError, Entry, Found, Result, line_fields
from rotator.audit.file import HASH_FIELD, LOCK_TIMEOUT, Line, describe_error, locked
from rotator.errors import Command, ConfigError, RotatorError
from rotator.logs import UNFILTERED

_log = structlog.get_logger()
_anchor = structlog.wrap_logger(logging.getLogger(UNFILTERED), wrapper_class=structlog.stdlib.BoundLogger)


class AuditLog:
    """Appends to the file, from several threads and processes at once; `at` returns the log of a file.

    The log opens the file for each line, so that logrotate can move it away at any time. In an empty file the chain
    continues from the file that was moved away, if that file has the same name with a suffix ("audit.jsonl.1").

    Args:
        file: The file; None: nothing is audited.
        max_wait: Maximum time to wait for another process that has the file locked.

    Attributes:
        on_lost: Called for each line that could not be written.
    """

    def __init__(
        self,
        file: Path | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        max_wait: timedelta = LOCK_TIMEOUT,
    ) -> None:
        self.file = file
        self._clock = clock
        self._max_wait = max_wait
        self.on_lost: Callable[[], None] = lambda: None
        self._lost = 0
        self._lock = threading.Lock()

    def check(self) -> None:
        """Make sure that the file can be written.

        Raises:
            ConfigError: If it cannot, or contains something else.
        """
        if self.file is None:
            return
        try:
            with locked(self.file, self._max_wait) as opened:
                foreign = opened.end().foreign
        except OSError as error:
            raise ConfigError(
                f"audit.file: {self.file} cannot be opened for writing: {describe_error(error)}",
                unchanged="Nothing was written anywhere",
                next_step="Make it writable, or name another file with ROTATOR_AUDIT__FILE",
            ) from None
        if foreign:
            raise ConfigError(
                f"audit.file: {self.file} does not end like an audit log",
                unchanged="Nothing was written anywhere",
                next_step="Name another file, or find out what happened to it",
                next_command=Command.of("audit", "verify", str(self.file)),
            )

    @contextmanager
    def acting(self, entry: Entry, *, begin: bool = True, required: bool = False) -> Iterator[Found]:
        """Record the start of an action and its result.

        Args:
            begin: Whether the start still has to be recorded.
            required: Whether the action must not start without a record.

        Yields:
            The place for facts that are known only after the action.

        Raises:
            AuditError: If the record is required and impossible. The action did not start.
        """
        if begin:
            self.note(entry, Result.STARTED, required=required)
        found = Found()
        try:
            yield found
        except RotatorError as error:
            self.note(entry, Result.UNKNOWN if error.maybe_done else Result.FAILED)
            raise
        known = replace(entry, secret_id=found.secret_id or entry.secret_id, version=found.version or entry.version)
        self.note(known, Result.SUCCEEDED)

    def note(self, entry: Entry, result: Result, *, required: bool = False) -> None:
        """Write one line and flush it to the disk.

        A line that cannot be written is lost. The ordinary log contains it, and the next audit line counts it.

        Raises:
            AuditError: If the line is required and cannot be written.
        """
        if self.file is None:
            return
        fields: dict[str, Any] = {"event": entry.act.value, "result": result.value, "account": entry.account}
        try:
            fields = line_fields(entry, result)
            with self._lock:
                line = self._append(self.file, fields)
        except Exception as error:  # noqa: BLE001 - no fault of the audit log may stop an action halfway
            if required:
                raise AuditError(
                    f"{self.file} cannot be written ({describe_error(error)}), and rotator starts nothing unaudited",
                    unchanged="Nothing was changed",
                    next_step="Make room for it, or name another file with ROTATOR_AUDIT__FILE",
                ) from None
            self._lost += 1
            self.on_lost()
            _log.error("audit.lost", error=f"{self.file} cannot be written: {describe_error(error)}", line=fields)
            return
        # A writer of the file can rebuild its whole chain. The hash in the ordinary log shows that, so no log level
        # filters it.
        about = {name: value for name, value in fields.items() if name not in ("event", "version")}
        _anchor.info(
            "audit.recorded", audit=line.hash, seq=line.seq, act=entry.act.value, kv_version=entry.version, **about
        )

    def _append(self, file: Path, fields: dict[str, Any]) -> Line:
        # While lines are being lost, no further one waits.
        with locked(file, timedelta() if self._lost else self._max_wait) as opened:
            end = opened.end()
            seq = end.last.seq + 1 if end.last else 1
            at = self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            whole = {"seq": seq, "at": at, **fields}
            if self._lost:
                whole["lost"] = self._lost
            if end.rest:
                whole["truncated"] = hashlib.sha256(end.rest).hexdigest()
            content = json.dumps(whole | {"prev": end.last.hash if end.last else None}, separators=(",", ":")).encode()
            digest = hashlib.sha256(content[:-1]).hexdigest()
            opened.append(content[:-1] + HASH_FIELD + digest.encode() + b'"}\n')
        self._lost = 0
        return Line(seq, digest)


@lru_cache(maxsize=8)
def at(file: Path | None) -> AuditLog:
    """Return the process's log in that file: only one exists, because it counts the lines that were lost."""
    return AuditLog(file)
