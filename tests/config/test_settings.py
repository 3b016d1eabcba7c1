"""Rules between settings, the shortest lease, and the names of accounts."""

from datetime import timedelta

import pytest

from rotator.errors import ConfigError
from tests.config.config_file import GOOD, VAULT, A, ConfigFile, account

TIMEOUT = '[account_api]\ntimeout = "5s"\n'


def test_load_accepts_a_lease_of_three_timeouts(config_file: ConfigFile) -> None:
    assert config_file.load(GOOD + TIMEOUT + '[daemon]\nlease = "15s"\n').daemon.lease == timedelta(seconds=15)


def test_load_refuses_a_lease_below_three_timeouts(config_file: ConfigFile) -> None:
    refusal = config_file.refusal(GOOD + TIMEOUT + '[daemon]\nlease = "14s"\n')
    assert (
        refusal == "daemon.lease (14s) has to be at least three times account_api.timeout (5s): work has to fit in it."
    )


def test_account_names_configured_ones_when_unknown(config_file: ConfigFile) -> None:
    with pytest.raises(ConfigError) as caught:
        config_file.load(GOOD).account("payments")
    assert str(caught.value) == 'No account is named "payments"; configured are a, b.'
    assert caught.value.exit_code == 2


def test_account_names_some_of_many_when_unknown(config_file: ConfigFile) -> None:
    settings = config_file.load(VAULT + "".join(account(f"n{number:02}") for number in range(25)))
    with pytest.raises(ConfigError, match=r"n09 and 15 more\.$"):
        settings.account("payments")


@pytest.mark.parametrize(
    ("text", "environment", "place"),
    [
        pytest.param(VAULT + A + account("b", path="apps/a"), {}, ":10", id="repeated path"),
        pytest.param(VAULT + A + account("b", 'primary = "c"'), {}, ":11", id="primary"),
        pytest.param(VAULT + A + account("b", path="rotator/journal/b"), {}, ":10", id="path among the journals"),
        pytest.param(GOOD + '[balance.top_up]\nper_day = 1\ntrx_path = "apps/a"\n', {}, ":13", id="inherited trx_path"),
        pytest.param(GOOD + '[daemon]\nlease = "5s"\n', {}, ":12", id="lease"),
        pytest.param(GOOD + '[account_api]\ntimeout = "50s"\n', {}, ":12", id="timeout"),
        pytest.param(GOOD, {"ROTATOR_DAEMON__LEASE": "5s"}, "ROTATOR_DAEMON__LEASE", id="variable"),
        pytest.param(VAULT + '[vault.auth]\nmethod = "jwt"\n' + A, {}, ":4", id="method"),
        pytest.param(
            VAULT + '[vault.auth]\nmethod = "token"\n' + A,
            {"ROTATOR_VAULT__AUTH__METHOD": "jwt"},
            "ROTATOR_VAULT__AUTH__METHOD",
            id="method in a variable",
        ),
        pytest.param(GOOD + '[[account]]\nname = "c"\n', {}, ":11", id="wrong section"),
    ],
)
def test_rule_between_settings_names_line_or_variable(
    config_file: ConfigFile, text: str, environment: dict[str, str], place: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_file.load(text, **environment)
    assert str(caught.value).startswith(f"{config_file.file}{place}: " if place.startswith(":") else f"{place}: ")
