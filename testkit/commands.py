"""Runs commands of rotator, each in a process that starts quickly.

An interpreter that starts and imports rotator takes half a second of CPU, and the tests run hundreds of commands. The
processes here are forked from one that has imported rotator already. Each runs the command from its entry point, with
its own environment, folder and streams.
"""

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path

import rotator
from rotator.__main__ import main

_ROOT = Path(rotator.__file__).parent
_FORKS = multiprocessing.get_context("forkserver")
# Each start also looks for processes that have ended, and an exit code can be read only once: a thread that reads it
# beside another one gets 255.
_TURN = threading.Lock()
_FORKS.set_forkserver_preload(
    [
        ".".join(("rotator", *file.relative_to(_ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for file in sorted(_ROOT.rglob("*.py"))
        if file.name != "__main__.py"
    ]
)


class Command:
    """A command that runs.

    Args:
        args: The arguments.
        environment: All of its variables. Those that an interpreter reads at its start have no effect.
        folder: The working directory.
        text: The standard input; None: there is none.
    """

    def __init__(self, args: Sequence[str], *, environment: Mapping[str, str], folder: Path, text: str | None) -> None:
        self._created = tempfile.TemporaryDirectory()
        given, *self._written = (Path(self._created.name) / name for name in ("stdin", "stdout", "stderr"))
        for file in self._written:
            file.touch()
        if text is not None:
            given.write_text(text)
        files = [os.devnull if text is None else str(given), *map(str, self._written)]
        self._process = _FORKS.Process(target=_run, args=(list(args), dict(environment), str(folder), files))
        with _TURN:
            self._process.start()

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process.pid is not None
        return self._process.pid

    def finish(self, timeout: float) -> tuple[int, str, str]:
        """Wait until it ends; return its exit code, and what it wrote to the standard output and error.

        Raises:
            TimeoutError: If it takes longer. It is killed then.
        """
        has_ended = bool(wait([self._process.sentinel], timeout))
        if not has_ended:
            self._process.kill()
            wait([self._process.sentinel])
        with _TURN:
            self._process.join()
            code = self._process.exitcode
            self._process.close()
        assert code is not None
        out, err = (file.read_text() for file in self._written)
        self._created.cleanup()
        if not has_ended:
            raise TimeoutError(f"the command takes longer than {timeout} s: {out} {err}")
        return code, out, err


def _run(args: list[str], environment: dict[str, str], folder: str, files: list[str]) -> None:
    """Be the command: take its streams, variables and folder, then enter it where a shell would."""
    for number, (file, flags) in enumerate(zip(files, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        opened = os.open(file, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv = ["rotator", *args]
    main()
