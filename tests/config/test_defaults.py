"""The defaults of settings."""

from datetime import timedelta

from rotator.core.protocol import LEASE
from tests.config.config_file import CANARY, GOOD, ConfigFile


def test_load_applies_the_documented_defaults(config_file: ConfigFile) -> None:
    settings = config_file.load(GOOD)
    first = settings.account("a")
    assert (first.every, first.grace) == (timedelta(days=30), timedelta(hours=24))
    assert (settings.vault.mount, settings.journal_path(first)) == ("secret", "rotator/journal/a")
    assert (settings.account_api.max_secrets, settings.account_api.api_url) == (2, "https://api.nexmo.com")
    assert first.enabled
    assert settings.vault.auth.token is not None
    assert settings.vault.auth.token.get_secret_value() == CANARY


def test_load_takes_the_default_lease(config_file: ConfigFile) -> None:
    assert config_file.load(GOOD).daemon.lease == LEASE
