"""An answer of the proxy that the environment names: errors name that proxy and its variable, not the server."""

import ssl
from collections.abc import Callable

import pytest
import stamina
import trustme
from pydantic import SecretStr

from rotator.config import AccountApiSettings, VaultSettings
from rotator.errors import RotatorError
from rotator.provider import AccountApi, Credentials
from rotator.vault import Vault
from tests.net.wire import clean_environment, says, server

PASSWORD = "pass0word"


def ask_vault(address: str) -> None:
    settings = VaultSettings.model_validate({"address": address, "auth": {"token": "token0for0tests"}})
    Vault(settings).read("apps/shop")


def ask_provider(address: str) -> None:
    with AccountApi(AccountApiSettings(api_url=address, rest_url=address), retries=0) as api:
        api.list_secrets(Credentials("abcd1234", SecretStr("Secret12345")), "abcd1234")


ASKS = pytest.mark.parametrize("ask", [ask_vault, ask_provider])


def answered(ask: Callable[[str], None], scheme: str, status: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the error of a request that a proxy answers, and the proxy."""
    clean_environment(monkeypatch)
    with server(says(status, b"<html>no</html>", b"Content-Type: text/html\r\n")) as proxy:
        place = proxy.address.removeprefix("http://")
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:{PASSWORD}@{place}")
        with stamina.set_testing(True, attempts=1), pytest.raises(RotatorError) as caught:
            ask(f"{scheme}://far.invalid:8200")
    assert PASSWORD not in str(caught.value)
    return str(caught.value), f"the proxy http://{place} ({scheme.upper()}_PROXY)"


@ASKS
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_wants_credentials_is_named(
    ask: Callable[[str], None], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, proxy = answered(ask, scheme, 407, monkeypatch)
    assert f"far.invalid:8200, {proxy} answers with HTTP 407. " in text
    assert f"Put the credentials of the proxy into {scheme.upper()}_PROXY: http://USER:PASSWORD@HOST:PORT" in text


@ASKS
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_fails_is_named(ask: Callable[[str], None], scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, proxy = answered(ask, scheme, 502, monkeypatch)
    assert proxy in text
    assert f"Examine the proxy in {scheme.upper()}_PROXY" in text
    assert "status page" not in text


@ASKS
def test_proxy_that_refuses_a_tunnel_is_named(ask: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    text, proxy = answered(ask, "https", 403, monkeypatch)
    assert f"{proxy} answers with HTTP 403. " in text
    assert "Have the proxy in HTTPS_PROXY let rotator's requests pass, or add the server to NO_PROXY" in text


@ASKS
@pytest.mark.parametrize(("speaks_tls", "reason"), [(True, "certificate verify failed: "), (False, "wrong version")])
def test_proxy_without_trusted_certificate_is_named(
    ask: Callable[[str], None], reason: str, monkeypatch: pytest.MonkeyPatch, *, speaks_tls: bool
) -> None:
    clean_environment(monkeypatch)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with server(says(200), tls if speaks_tls else None, greets=not speaks_tls) as proxy:
        place = f"https://127.0.0.1:{proxy.port}"
        monkeypatch.setenv("HTTPS_PROXY", place)
        with stamina.set_testing(True, attempts=1), pytest.raises(RotatorError) as caught:
            ask("https://far.invalid:8200")
    text = str(caught.value)
    assert text.startswith(f"There is no TLS connection to the proxy {place} (HTTPS_PROXY) ({reason}")
    assert "Name the CA of the proxy in SSL_CERT_FILE, or correct HTTPS_PROXY" in text
    assert "far.invalid" not in text
