"""Standard streams that cannot end a command.

The exit code of a command that changes accounts says how they are. A closed pipe, a full disk or a closed descriptor
under its output must neither change that exit code nor interrupt the work. Nor must a reader that stopped reading the
log of a daemon: without a limit, each thread would wait for it at its next line.
"""

import contextlib
import errno
import io
import os
import select
import sys
from datetime import timedelta
from typing import Any

# A pipe or a terminal that can be written takes a piece of this size without a wait.
_PIECE = select.PIPE_BUF
# For how long a daemon waits for the reader of its log, once. It writes again when the reader has read.
_PATIENCE = timedelta(seconds=1)


class _LossyOutput(io.RawIOBase):
    """A descriptor whose write errors lose the output only.

    Attributes:
        error: The first error.
        patience: How long a write waits for a reader, before what it writes is lost; None: for ever.
    """

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self.patience: timedelta | None = None
        self._descriptor = descriptor
        self._has_reader = True
        self._lost = 0
        self._is_within_line = False
        self._is_torn = False  # the rest of the last line was lost

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        if self.patience is None:
            return self._write(data)
        if not self._can_write(self.patience):
            self._lost += 1
            self._is_torn = self._is_torn or self._is_within_line
            return len(data)
        if self._is_torn:
            self._write(b"\n")
        written = self._write(data[:_PIECE])
        self._is_torn = False
        self._is_within_line = written < len(data)
        return written

    def take_lost(self) -> int:
        """Return how many writes were lost since the last call; 0 as long as the next one would be."""
        if not (self._lost and self._can_write(timedelta())):
            return 0
        lost = self._lost
        self._lost = 0
        return lost

    def _can_write(self, patience: timedelta) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        self._has_reader = bool(poll.poll(patience.total_seconds() * 1000 if self._has_reader else 0))
        return self._has_reader

    def _write(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = self.error or error
                return len(data)


class StandardStreams:
    """The process's standard streams, made safe. A stream that a caller of Python replaced stays as it is."""

    def __init__(self) -> None:
        self._outputs: dict[str, _LossyOutput] = {}
        _open_missing()
        if sys.stdin is None:
            sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            stream = getattr(sys, name)
            if stream is not None and stream is not getattr(sys, f"__{name}__"):
                continue
            raw = self._outputs[name] = _LossyOutput(descriptor)
            text = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=getattr(stream, "encoding", None) or "utf-8",
                errors="backslashreplace",
                line_buffering=name == "stderr" or raw.isatty(),
            )
            setattr(sys, name, text)

    def lose_unread_errors(self) -> None:
        """Lose lines on standard error that are not read, from now on, instead of waiting for a reader."""
        if "stderr" in self._outputs:
            self._outputs["stderr"].patience = _PATIENCE

    def take_lost_lines(self) -> int:
        """Return how many lines were lost since the last call; 0 without a reader."""
        return self._outputs["stderr"].take_lost() if "stderr" in self._outputs else 0

    def finish(self) -> OSError | None:
        """Write what is buffered. Return why standard output was lost; None if it was not."""
        for name in self._outputs:
            getattr(sys, name).flush()
        output = self._outputs.get("stdout")
        if output is None or output.error is None or output.error.errno == errno.EPIPE:
            return None  # the reader of a closed pipe had enough
        return output.error


def _open_missing() -> None:
    """Open closed standard descriptors on /dev/null. Otherwise a connection would get the number of one of them."""
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, flags)
