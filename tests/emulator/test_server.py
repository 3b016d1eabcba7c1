"""The server: TLS, its start and stop, and connections."""

import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import trustme
from pydantic import SecretStr

from rotator.emulator import Account, Emulator, running
from testkit.cluster import PATIENCE, at_best
from tests.emulator.harness import KEY, NEW, NO_TRUST, PATH, SECRET, basic, eventually, issue, world


def test_tls_is_served_with_the_given_certificate(tmp_path: Path) -> None:
    with world(tls=trustme.CA(), folder=tmp_path) as w:
        assert w.url.startswith("https://127.0.0.1:")
        assert w.client.get(PATH).status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(w.url, verify=NO_TRUST, trust_env=False, timeout=PATIENCE)


def test_start_errors_are_raised_to_the_caller(tmp_path: Path) -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    files = issue(trustme.CA(), tmp_path)
    key = files["keyfile"]
    with pytest.raises(ValueError, match=r"key\.pem is no certificate with its key"), running(emulator, certfile=key):
        pass
    with (
        pytest.raises(ValueError, match=r"gone\.pem cannot be read"),
        running(emulator, certfile=tmp_path / "gone.pem"),
    ):
        pass
    with pytest.raises(ValueError, match="certificate"), running(emulator, keyfile=files["keyfile"]):
        pass
    with running(emulator) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), running(emulator, port=port):
            pass


def test_server_restarts_at_once_during_requests(caplog: pytest.LogCaptureFixture) -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))], faults=["list:late@300s"])
    with ThreadPoolExecutor(1) as pool:
        with running(emulator) as url:
            answer = pool.submit(httpx.get, url + PATH, verify=NO_TRUST, trust_env=False, timeout=300)
            assert eventually(lambda: emulator.faults.pending() == ())
            started = time.monotonic()
        assert time.monotonic() - started < PATIENCE / 2, "it waited for the request"
        with pytest.raises(httpx.RemoteProtocolError):
            answer.result()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, verify=NO_TRUST, trust_env=False, timeout=PATIENCE)
    assert [record.message for record in caplog.records if record.name == "uvicorn.error"] == []
    with running(emulator, port=int(url.rpartition(":")[2])) as again:
        assert again == url
        assert httpx.get(url, verify=NO_TRUST, trust_env=False, timeout=PATIENCE).status_code == 404


def test_hundred_starts_and_stops_are_quick() -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    quickest = 60.0  # of many: on a busy machine most are slow, but one that lingers is never quick
    for _ in itertools.repeat(None, 100):
        started = time.monotonic()
        with running(emulator):
            pass
        quickest = min(quickest, time.monotonic() - started)
    assert quickest < 0.05


def test_kept_connection_does_not_wait_for_acks() -> None:
    with world() as w:

        def ask() -> None:
            for _ in range(4):
                w.client.get(PATH)

        at_best(0.1, ask, attempts=100)  # 40 ms each, if they did


def test_incomplete_request_has_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    with world() as w:
        host, port = w.url.removeprefix("http://").split(":")
        login = f"Authorization: {basic(f'{KEY}:{SECRET}')}"
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{login}\r\nContent-Length: 99\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as raw:
            raw.sendall(head.encode() + json.dumps({"secret": NEW}).encode())
        assert w.client.get(PATH).status_code == 200
        assert [str(entry.operation) for entry in w.emulator.requests] == ["list"]
        assert w.live() == [SECRET]
    assert [record.message for record in caplog.records if record.name == "uvicorn.error"] == []


def test_serve_announces_its_url_until_interrupted() -> None:
    program = (
        "from rotator.emulator import Emulator, parse_account, serve\n"
        f"serve(Emulator([parse_account('{KEY}:{SECRET}')]), port=0, announce=lambda url: print(url, flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        response = httpx.get(url + PATH, auth=(KEY, SECRET), verify=NO_TRUST, trust_env=False, timeout=PATIENCE)
        assert response.status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, b"")
    finally:
        process.kill()
        process.communicate()


def test_server_stops_at_once_while_a_request_hangs() -> None:
    with ThreadPoolExecutor(1) as pool:
        with world(faults=["list:hang"]) as w:
            answer = pool.submit(httpx.get, w.url + PATH, auth=(KEY, SECRET), trust_env=False, timeout=2 * PATIENCE)
            assert eventually(lambda: w.emulator.faults.pending() == ())
            started = time.monotonic()
        assert time.monotonic() - started < PATIENCE
        with pytest.raises(httpx.RemoteProtocolError):
            answer.result()
