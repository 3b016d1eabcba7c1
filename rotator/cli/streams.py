"""Standard streams that cannot end a command.

The exit code of a command that changes accounts says how they are. A closed pipe, a full disk or a closed descriptor
under its output must neither change that exit code nor interrupt the work.
"""

import contextlib
import errno
import io
import os
import select
import sys
from typing import Any


class _LossyOutput(io.RawIOBase):
    """A descriptor whose write errors lose the output only. The first error is kept."""

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
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
