"""Variables of the commands `vault` and `bao` about certificates."""

import os
from pathlib import Path

import pytest

from rotator.config import load
from rotator.errors import ConfigError

TEXT = """
[vault]
address = "https://vault.example:8200"
verify = true
[vault.auth]
method = "none"
[[accounts]]
name = "a"
api_key = "abcd1234"
path = "apps/a"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("ROTATOR_", "VAULT_", "BAO_")):
            monkeypatch.delenv(name)
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("prefix", ["VAULT", "BAO"])
def test_tls_variables_set_the_settings(prefix: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CLIENT_CERT", "CLIENT_KEY")
    for name in names:
        (file.parent / name).touch()
        monkeypatch.setenv(f"{prefix}_{name}", str(file.parent / name))
    monkeypatch.setenv(f"{prefix}_CAPATH", str(file.parent))
    monkeypatch.setenv(f"{prefix}_TLS_SERVER_NAME", "vault.internal")
    vault = load(file).vault
    assert (vault.client_cert, vault.client_key) == tuple(file.parent / name for name in names)
    assert (vault.ca_path, vault.tls_server_name) == (file.parent, "vault.internal")


@pytest.mark.parametrize(
    ("variables", "verify"),
    [
        ({}, True),
        ({"VAULT_SKIP_VERIFY": "1"}, False),
        ({"VAULT_SKIP_VERIFY": "True"}, False),
        ({"BAO_SKIP_VERIFY": "t"}, False),
        ({"VAULT_SKIP_VERIFY": "0"}, True),
        ({"BAO_SKIP_VERIFY": "1", "VAULT_SKIP_VERIFY": "false"}, True),
        ({"VAULT_SKIP_VERIFY": "1", "ROTATOR_VAULT__VERIFY": "true"}, True),
    ],
)
def test_skip_verify_overrides_the_file(
    variables: dict[str, str], verify: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load(file).vault.verify is verify


@pytest.mark.parametrize("variable", ["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"])
def test_skip_verify_without_truth_value_is_refused(variable: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "maybe")
    with pytest.raises(ConfigError, match=rf"^{variable}: must be true or false\.$"):
        load(file)


def test_missing_ca_path_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_CAPATH", "/no/such/folder")
    with pytest.raises(ConfigError, match=r"^VAULT_CAPATH: names no directory that exists\.$"):
        load(file)


@pytest.mark.parametrize("name", [".bad", "a\nb", "two words", "*.example.com", "vault..example", "a" * 64, "fünf"])
def test_invalid_tls_server_name_is_refused(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", name)
    with pytest.raises(ConfigError, match=r"^VAULT_TLS_SERVER_NAME: is not a host name such as .* IP address\.$"):
        load(file)


@pytest.mark.parametrize("name", ["vault.example.com", "vault_1", "10.1.2.3", "fd00::1"])
def test_tls_server_name_is_a_host(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", name)
    assert load(file).vault.tls_server_name == name


@pytest.mark.parametrize("host", [".bad", "vault..example", "a" * 64])
def test_address_without_a_host_name_is_refused(host: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", f"https://{host}:8200")
    with pytest.raises(ConfigError, match=r"^VAULT_ADDR: (must contain a host name|is not an address)"):
        load(file)
