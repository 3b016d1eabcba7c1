"""Settings of Vault that are refused before anything is sent."""

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
