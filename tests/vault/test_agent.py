"""An agent adds the token: rotator sends none, renews none and names the agent's settings when it is missing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.demo import OpenBao
from rotator.vault import CasConflict, VaultDenied, VaultUnauthorized
from tests.vault.kv_mount import Clock, KvMount

AUTH = {"method": "none"}


class Agent:
    """A proxy as Vault Agent is with `use_auto_auth_token`: it adds its token to a request that has none.

    Attributes:
        token: The token that it adds; None while it has none.
        received: The headers of each request, as they came.
    """

    def __init__(self, target: str, token: SecretStr | None) -> None:
        self.target, self.token = target, token
        self.received: list[dict[str, str]] = []
        self.address = ""

    def relay(self, handler: BaseHTTPRequestHandler) -> None:
        """Send the request on, and the answer back."""
        headers = {name.title(): value for name, value in handler.headers.items()}
        self.received.append(headers)
        body = handler.rfile.read(int(headers.get("Content-Length", 0)))
        sent = {name: value for name, value in headers.items() if name not in ("Host", "Content-Length", "Connection")}
        if self.token is not None:
            sent.setdefault("X-Vault-Token", self.token.get_secret_value())
        url = f"{self.target}{handler.path}"
        answer = httpx.request(handler.command, url, content=body, headers=sent, trust_env=False, timeout=20)
        handler.send_response(answer.status_code)
        handler.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        handler.send_header("Content-Length", str(len(answer.content)))
        handler.end_headers()
        handler.wfile.write(answer.content)


@contextmanager
def running_agent(bao: OpenBao, token: SecretStr | None) -> Iterator[Agent]:
    agent = Agent(bao.address, token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            agent.relay(self)

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    agent.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield agent
    finally:
        server.shutdown()
        server.server_close()


def test_session_works_through_an_agent_without_a_token(place: KvMount) -> None:
    token = place.admin.token(place.everything(), ttl="60s")
    with running_agent(place.bao, token) as agent:
        vault = place.vault(address=agent.address, auth=AUTH)
        vault.check_mount()
        assert vault.write("apps/shop", {"n": 1}, cas=0) == 1
        assert vault.read("apps/shop").data == {"n": 1}
        with pytest.raises(CasConflict):
            vault.write("apps/shop", {"n": 2}, cas=0)
        path = vault.data_path("apps/shop")
        assert vault.capabilities([path]) == {path: frozenset({"create", "read", "update"})}
        vault.keep_alive()
        assert not vault.health().sealed
        assert agent.received
        assert not [headers for headers in agent.received if "X-Vault-Token" in headers or "Authorization" in headers]
        # Without it, an agent with require_request_header refuses the request.
        assert all(headers.get("X-Vault-Request") == "true" for headers in agent.received)


def test_agent_alone_renews_its_token(place: KvMount) -> None:
    clock = Clock()
    with running_agent(place.bao, place.admin.token(place.everything(), ttl="60s")) as agent:
        vault = place.vault(address=agent.address, auth=AUTH, clock=clock)
        with capture_logs() as events:
            for _ in range(5):
                vault.keep_alive()
                clock.advance(seconds=timedelta(minutes=10).total_seconds())
        assert (vault.token_expiry(), events) == (None, [])
        agent.token = place.admin.token(place.everything(), ttl="60s")
        vault.keep_alive()
        assert vault.read("apps/shop").version == 0


@pytest.mark.parametrize("begun", [False, True], ids=["at the start", "later"])
@pytest.mark.parametrize("token", [None, SecretStr("s.endedtoken000001")], ids=["none", "ended"])
def test_agent_without_a_valid_token_is_named(place: KvMount, begun: bool, token: SecretStr | None) -> None:
    with running_agent(place.bao, place.admin.token(place.everything())) as agent:
        vault = place.vault(address=agent.address, auth=AUTH)
        if begun:
            vault.keep_alive()
        agent.token = token
        asks: list[Any] = [vault.keep_alive, lambda: vault.read("a"), lambda: vault.write("a", {}, cas=0)]
        for ask in asks:
            with pytest.raises(VaultUnauthorized, match=rf"{agent.address}.*use_auto_auth_token"):
                ask()


def test_policy_of_the_agents_token_is_named(place: KvMount) -> None:
    token = place.limited(f'path "{place.mount}/data/other" {{ capabilities = ["read"] }}')
    with running_agent(place.bao, token) as agent:
        vault = place.vault(address=agent.address, auth=AUTH)
        with pytest.raises(VaultDenied, match="policy does not let rotator read"):
            vault.read("apps/shop")
