"""Fixtures: a folder for a configuration."""

import os
from pathlib import Path

import pytest

from tests.config.config_file import CANARY, ConfigFile

TLS = """
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


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ROTATOR_", "VAULT_", "BAO_")):
            monkeypatch.delenv(name)


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigFile:
    clear_environment(monkeypatch)
    monkeypatch.setenv("VAULT_TOKEN", CANARY)
    monkeypatch.chdir(tmp_path)
    return ConfigFile(tmp_path / "config.toml", monkeypatch)


@pytest.fixture
def tls_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose Vault is reached over TLS and needs no token."""
    clear_environment(monkeypatch)
    path = tmp_path / "config.toml"
    path.write_text(TLS)
    return path
