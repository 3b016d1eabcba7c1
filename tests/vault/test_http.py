"""Connections: TLS, proxies, redirects."""

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import stamina
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.config import VaultAuth, VaultSettings
from rotator.errors import ConfigError
from rotator.vault import (
    Vault,
    VaultUnreachable,
    VaultUntrusted,
)
from testkit.openbao import TlsOpenBao
from testkit.proxy import Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import KvMount, assert_silent, secure


def test_certificate_of_an_unknown_ca_is_refused(tls: TlsOpenBao) -> None:
    for ca_cert in (tls.other_ca_cert, None):
        with (
            capture_logs() as events,
            pytest.raises(VaultUntrusted, match=rf"{tls.bao.address}.*vault\.ca_cert") as caught,
        ):
            Vault(secure(tls, ca_cert=ca_cert)).read("apps/shop")
        assert events == [], "it was tried again"
        assert_silent(caught.value, tls.bao.root_token)


def test_certificate_for_another_name_is_refused(tls: TlsOpenBao) -> None:
    address = tls.bao.address.replace("127.0.0.1", "localhost")
    for settings in (secure(tls, address=address), secure(tls, tls_server_name="vault.example")):
        with pytest.raises(
            VaultUntrusted, match=r"[Hh]ostname mismatch.*Set vault\.address, or vault\.tls_server_name"
        ):
            Vault(settings).read("apps/shop")


def test_tls_to_a_plain_server_is_named(place: KvMount) -> None:
    with pytest.raises(VaultUnreachable, match=r"TLS.*vault\.address|does not answer"):
        place.vault(address=place.bao.address.replace("http:", "https:")).read("apps/shop")


def test_ca_file_that_cannot_be_read_is_named(tls: TlsOpenBao, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"vault\.ca_cert"):
            Vault(secure(tls, ca_cert=file))
        file.write_text("not a certificate")
    file.write_bytes(tls.ca_cert.read_bytes())
    vault = Vault(secure(tls, ca_cert=file))
    file.unlink()
    with pytest.raises(VaultUntrusted, match=r"vault\.ca_cert"):
        vault.read("apps/shop")


def test_verification_that_is_off_is_logged(tls: TlsOpenBao) -> None:
    with capture_logs() as events:
        vault = Vault(secure(tls, ca_cert=tls.other_ca_cert, verify=False))
    assert [(event["event"], event["log_level"]) for event in events] == [("vault.tls_verification_off", "warning")]
    assert not vault.health().sealed


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://vault.example.com:8200", ["vault.in_plain_text"]),
        ("HTTP://192.0.2.1,http://127.0.0.1", ["vault.in_plain_text"]),
        ("https://vault.example.com", []),
        ("http://127.0.0.1:8200,http://[::1]:8200,http://localhost", []),
    ],
)
def test_plain_text_traffic_is_logged(address: str, said: list[str]) -> None:
    with capture_logs() as events:
        Vault(VaultSettings(address=address, auth=VaultAuth(token=SecretStr("model-token-0001"))))
    assert [event["event"] for event in events] == said


def test_environment_does_not_override_the_settings(
    tls: TlsOpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither requests' variables nor hvac's, nor files in the home directory."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
        monkeypatch.setenv(variable, str(tls.other_ca_cert))
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "s.environment0001")
    monkeypatch.setenv("VAULT_NAMESPACE", "environment")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vault-token").write_text("s.home000001")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    os.chmod(tmp_path / ".netrc", 0o600)
    assert Vault(secure(tls)).read("apps/other").version == 0
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
        monkeypatch.setenv(variable, str(tls.ca_cert))
    with pytest.raises(VaultUntrusted):
        Vault(secure(tls, ca_cert=tls.other_ca_cert)).read("apps/other")


def test_proxy_is_used_except_towards_loopback(place: KvMount, proxy: FaultProxy) -> None:
    seen: list[str] = []

    def note(call: Call) -> Action | Answer:
        seen.append(call.path)
        return Answer(200, b'{"version":"1","sealed":false,"standby":false}')

    proxy.on_request = note
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("http_proxy", "HTTP_PROXY"):
            patch.setenv(variable, proxy.address)
        for variable in ("no_proxy", "NO_PROXY"):
            patch.delenv(variable, raising=False)
        assert place.vault(address="http://vault.invalid:8200").health().version == "1"
        place.vault().health()
    assert [path.split("?")[0] for path in seen] == ["http://vault.invalid:8200/v1/sys/health"]


def test_redirect_to_the_active_server_is_followed(place: KvMount, proxy: FaultProxy) -> None:
    def redirect(call: Call) -> Action | Answer:
        return Answer(307, headers=(("Location", f"{place.bao.address}{call.path}"),))

    proxy.on_request = redirect
    assert place.vault(address=[proxy.address, place.bao.address]).write("apps/shop", {"n": 1}, cas=0) == 1
    assert [call.method for call in proxy.calls if "/data/" in call.path] == ["POST"]


def test_redirect_to_an_unknown_address_is_refused(place: KvMount, proxy: FaultProxy) -> None:
    proxy.on_request = lambda call: Answer(307, headers=(("Location", f"{place.bao.address}{call.path}"),))
    with (
        stamina.set_testing(True, attempts=1),
        pytest.raises(VaultUnreachable, match=rf"redirects to {place.bao.address}.*vault\.address") as caught,
    ):
        place.vault(address=proxy.address).read("apps/shop")
    assert not caught.value.maybe_done


def test_redirect_from_tls_to_plain_text_is_refused(place: KvMount, tls: TlsOpenBao) -> None:
    with (
        stamina.set_testing(True, attempts=1),
        tls_redirector(tls, place.bao.address) as address,
        pytest.raises(VaultUnreachable),
    ):
        Vault(secure(tls, address=address)).health()
    with tls_redirector(tls, tls.bao.address) as address:
        assert Vault(secure(tls, address=[address, tls.bao.address])).health().version == tls.bao.version


@contextmanager
def tls_redirector(tls: TlsOpenBao, target: str) -> Iterator[str]:
    """A TLS server that redirects every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(307)
            self.send_header("Location", f"{target}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.ca.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
