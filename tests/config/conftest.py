"""Fixtures: a folder for a configuration."""

import os
from pathlib import Path

import pytest

from tests.config.config_file import CANARY, ConfigFile


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigFile:
    for name in list(os.environ):
        if name.startswith(("ROTATOR_", "VAULT_", "BAO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_TOKEN", CANARY)
    monkeypatch.chdir(tmp_path)
    return ConfigFile(tmp_path / "config.toml", monkeypatch)
