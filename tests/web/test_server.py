"""How the server starts, listens and stops."""

import errno
import logging
import os
import socket
import threading
from contextlib import ExitStack, closing

import httpx
import pytest

from rotator.errors import ConfigError
from rotator.monitoring import Metrics
from rotator.web import App, serving
from testkit.cluster import PATIENCE, at_best
from tests.web.harness import CALM, Served, connect, long_answer, served


@pytest.mark.parametrize(
    ("listen", "begins", "reached_at"),
    [
        ("127.0.0.1:0", "127.0.0.1:", ["127.0.0.1"]),
        ("0.0.0.0:0", "0.0.0.0:", ["127.0.0.1"]),
        ("[::1]:0", "[::1]:", ["[::1]"]),
        ("[::]:0", "[::]:", ["[::1]", "127.0.0.1"]),
        (":0", "[::]:", ["[::1]", "127.0.0.1"]),
    ],
)
def test_server_listens_on_and_reports_its_address(listen: str, begins: str, reached_at: list[str]) -> None:
    with served(listen=listen) as server:
        assert server.address.startswith(begins)
        port = int(server.address.removeprefix(begins))
        assert port > 0
        for host in reached_at:
            assert httpx.get(f"http://{host}:{port}/healthz", trust_env=False, timeout=PATIENCE).status_code == 200


def test_port_alone_is_ipv4_when_ipv6_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with served(listen=":0") as server:
        assert server.address.startswith("0.0.0.0:")


def test_port_in_use_is_one_line(server: Served) -> None:
    with pytest.raises(ConfigError) as caught, serving(App(lambda: CALM, Metrics()), server.address):
        pass
    assert str(caught.value) == (
        f"Cannot listen on {server.address}: Address already in use. "
        "Stop the process that listens there, or choose another address with daemon.listen."
    )


def test_foreign_address_is_one_line() -> None:
    nowhere = serving(App(lambda: CALM, Metrics()), "192.0.2.1:80")
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1:80"), nowhere:
        pass


def test_server_without_free_file_descriptors_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("asyncio.events.new_event_loop", refuse)
    with pytest.raises(ConfigError) as caught, serving(App(lambda: CALM, Metrics()), "127.0.0.1:0"):
        pass
    assert str(caught.value) == (
        "Cannot listen on 127.0.0.1:0: Too many open files. Raise the limit of open files (ulimit -n, LimitNOFILE)."
    )
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]


def test_server_stops_at_once_when_clients_are_connected(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    addresses = []

    def start_and_stop() -> None:
        with served() as server, closing(connect(server.address)) as half:
            half.sendall(b"GET / HT")
            server.client.get("/healthz")  # keeps its connection
            addresses.append(server.address)

    at_best(3, start_and_stop)
    assert not [thread.name for thread in threading.enumerate() if thread.name == "web"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    with serving(App(lambda: CALM, Metrics()), addresses[-1]) as again:
        assert again == addresses[-1]


def test_server_stops_soon_when_client_reads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def start_and_stop() -> None:
        with ExitStack() as stack:
            address = stack.enter_context(serving(long_answer, "127.0.0.1:0"))
            with closing(connect(address)) as reluctant:
                reluctant.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert reluctant.recv(1)
                stack.close()

    at_best(4, start_and_stop)
    assert not [record for record in caplog.records if record.exc_info]
