"""The proxy that the environment names for an address."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from rotator.config import AccountApiSettings, VaultAuth, VaultSettings
from rotator.errors import ConfigError
from rotator.net import Origin, find_proxy
from rotator.provider import AccountApi
from rotator.vault import Vault
from tests.net.wire import clean_environment

PASSWORD = "Proxy0Pass9word"
PROXY = f"http://someone:{PASSWORD}@proxy.example:3128"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


def found(address: str) -> str | None:
    proxy = find_proxy(Origin.of(address))
    return None if proxy is None else str(proxy.origin)


@pytest.mark.parametrize(
    ("variable", "address", "used"),
    [
        ("HTTP_PROXY", "http://far.example", True),
        ("HTTP_PROXY", "https://far.example", False),
        ("HTTPS_PROXY", "https://far.example:8200", True),
        ("https_proxy", "https://far.example", True),
        ("ALL_PROXY", "http://far.example", True),
        ("ALL_PROXY", "https://[fd00::1]:8200", True),
        ("ALL_PROXY", "https://127.0.0.1:8200", False),
        ("ALL_PROXY", "https://[::1]:8200", False),
        ("ALL_PROXY", "http://localhost:8200", False),
    ],
)
def test_find_proxy_reads_the_variable_of_the_scheme(
    variable: str, address: str, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, PROXY)
    assert found(address) == ("http://proxy.example:3128" if used else None)


def test_find_proxy_takes_a_host_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert found("https://far.example") == "http://proxy.example:3128"


def test_proxy_decodes_its_credentials_and_hides_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://some%40one:p%2Fw%C3%A4@proxy.example")
    proxy = find_proxy(Origin.of("https://far.example"))
    assert proxy is not None
    assert proxy.credentials == (b"some@one", "p/wä".encode())
    assert "p/w" not in repr(proxy)


@pytest.mark.parametrize(
    ("no_proxy", "address", "exempt"),
    [
        ("*", "https://far.example", True),
        ("far.example", "https://far.example", True),
        ("FAR.example", "https://far.example", True),
        ("example", "https://far.example", True),
        (".example", "https://far.example", True),
        ("*.example", "https://far.example", True),
        ("ar.example", "https://far.example", False),
        ("other.example, far.example", "https://far.example", True),
        ("far.example:8200", "https://far.example:8200", True),
        ("far.example:8200", "https://far.example", False),
        ("10.0.0.0/8", "https://10.1.2.3:8200", True),
        ("10.0.0.0/8", "https://11.1.2.3:8200", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("fd00::/8", "https://[fd00::1]:8200", True),
        ("fd00::/8", "https://far.example", False),
        ("[fd00::]/8", "https://[fd00::1]:8200", True),
        ("fd00::1", "https://[fd00::1]:8200", True),
        ("[fd00::1]", "https://[fd00::1]:8200", True),
        ("[fd00::1]:8200", "https://[fd00::1]:8200", True),
        ("[fd00::1]:8200", "https://[fd00::1]", False),
        ("[::1]", "https://far.example", False),
        ("[", "https://far.example", False),
        (" , ,", "https://far.example", False),
        (".", "https://far.example", False),
    ],
)
def test_no_proxy_exempts_names_addresses_and_networks(
    no_proxy: str, address: str, exempt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (found(address) is None) is exempt


@pytest.mark.parametrize("host", ["vault", "provider"])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"socks5://someone:{PASSWORD}@proxy.example:1080", "SOCKS"),
        ("socks5h://proxy.example", "SOCKS"),
        (f"ftp://someone:{PASSWORD}@proxy.example", "not the URL of an HTTP proxy"),
        (f"http://someone:{PASSWORD}@[proxy", "not the URL of an HTTP proxy"),
        (f"http://someone:{PASSWORD}@proxy.example:99999", "not the URL of an HTTP proxy"),
        ("http://", "not the URL of an HTTP proxy"),
    ],
)
def test_unusable_proxy_is_refused_by_both_clients(
    host: str, url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", url)
    with pytest.raises(ConfigError, match=rf"ALL_PROXY.*{said}.*NO_PROXY") as caught:
        connect(host)
    assert caught.value.exit_code == 2
    assert PASSWORD not in f"{caught.value} {caught.value!r} {caught.value.__context__!r}"


@pytest.mark.parametrize("host", ["vault", "provider"])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_both_clients_refuse_a_missing_ca_file(
    host: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "gone.pem"))
    with pytest.raises(ConfigError, match=rf"{variable} names .*gone\.pem, which does not exist") as caught:
        connect(host)
    assert caught.value.exit_code == 2


def connect(host: str) -> None:
    """Make a client of the provider, or of Vault; nothing is sent."""
    if host == "vault":
        Vault(VaultSettings(address="https://vault.example:8200", auth=VaultAuth(token=SecretStr("hvs.0000000001"))))
    else:
        AccountApi(AccountApiSettings()).close()
