"""Settings of Vault: addresses, namespaces, host names of certificates, and folders of authorities."""

from pathlib import Path

import pytest

from rotator.config import Settings, load
from rotator.errors import ConfigError

REST = """
[vault.auth]
method = "none"
[[accounts]]
name = "a"
api_key = "abcd1234"
path = "apps/a"
"""


def loaded(folder: Path, vault: str) -> Settings:
    file = folder / "config.toml"
    file.write_text(f"[vault]\n{vault}\n{REST}")
    return load(file)


@pytest.mark.parametrize(
    ("vault", "said"),
    [
        ('address = "https://vault.example:8200/v1"', r"vault\.address: .*before /v1, which rotator adds"),
        ('address = "https://a:8200/v1/, https://b:8200"', r"vault\.address: .*before /v1, which rotator adds"),
        ('address = "https://a"\nnamespace = "team\\na"', r"vault\.namespace: .*line breaks"),
        ('address = "https://a"\nnamespace = "équipe"', r"vault\.namespace: .*ASCII"),
    ],
)
def test_vault_settings_are_refused(tmp_path: Path, vault: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        loaded(tmp_path, vault)
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1


def test_vault_settings_with_path_and_namespace_are_accepted(tmp_path: Path) -> None:
    vault = loaded(tmp_path, 'address = "https://a/vault/v1x/"\nnamespace = "admin/team-a/"').vault
    assert (vault.address, vault.namespace, vault.auth.method) == ("https://a/vault/v1x", "admin/team-a/", "none")


def test_missing_ca_path_is_refused(tls_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_CAPATH", "/no/such/folder")
    with pytest.raises(ConfigError, match=r"^VAULT_CAPATH: names no directory that exists\.$"):
        load(tls_file)


@pytest.mark.parametrize("name", [".bad", "a\nb", "two words", "*.example.com", "vault..example", "a" * 64, "fünf"])
def test_invalid_tls_server_name_is_refused(name: str, tls_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", name)
    with pytest.raises(ConfigError, match=r"^VAULT_TLS_SERVER_NAME: is not a host name such as .* IP address\.$"):
        load(tls_file)


@pytest.mark.parametrize("name", ["vault.example.com", "vault_1", "10.1.2.3", "fd00::1"])
def test_tls_server_name_is_a_host(name: str, tls_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", name)
    assert load(tls_file).vault.tls_server_name == name


@pytest.mark.parametrize("host", [".bad", "vault..example", "a" * 64])
def test_address_without_a_host_name_is_refused(host: str, tls_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", f"https://{host}:8200")
    with pytest.raises(ConfigError, match=r"^VAULT_ADDR: (must contain a host name|is not an address)"):
        load(tls_file)
