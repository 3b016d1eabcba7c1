"""Which requests are refused: unknown hosts, other methods, and bodies."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from rotator.monitoring import Metrics
from rotator.web import App, serving
from testkit.cluster import PATIENCE
from tests.web.harness import CALM, Served


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:9464", True),
        ("[::1]:9464", True),
        ("10.2.3.4", True),
        ("localhost:9464", True),
        ("LOCALHOST", True),
        ("rotator.ops.svc:9464", True),
        ("Rotator.ops.svc.:9464", True),
        (socket.gethostname(), True),
        ("rotator-0.shards.svc:9464", True),
        ("shards.svc", False),
        ("evil-shards.svc", False),
        ("evil.example.com", False),
        ("localhost.evil.example.com", False),
        ("127.0.0.1.evil.example.com", False),
        ("[evil]", False),
        ("rotator.ops.svc.evil.example.com:9464", False),
    ],
)
def test_unknown_hosts_are_refused_except_for_health(host: str, allowed: bool) -> None:
    named = App(lambda: CALM, Metrics(), allowed_hosts=lambda: ["rotator.ops.svc", "*.shards.svc"])
    with (
        serving(named, "127.0.0.1:0") as address,
        httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=PATIENCE) as client,
    ):
        for path in ("/", "/metrics", "/api/status", "/nowhere"):
            answer = client.get(path, headers={"Host": host})
            assert (answer.status_code == 403) is not allowed
            assert "evil" not in answer.text
        for path in ("/healthz", "/readyz"):
            assert client.get(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_methods_except_get_and_head_are_refused(server: Served, method: str) -> None:
    answer = server.client.request(method, "/api/status")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("content", [b"x", iter([b"x"])], ids=["counted", "chunked"])
def test_request_with_a_body_is_refused(server: Served, content: bytes | Iterator[bytes]) -> None:
    assert server.client.request("GET", "/metrics", content=content).status_code == 413
