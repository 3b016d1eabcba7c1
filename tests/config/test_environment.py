"""Variables override the configuration, and a wrong one is named without its value."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.config import load
from rotator.errors import ConfigError
from tests.config.config_file import CANARY, DEFAULTS, GOOD, VAULT, A, ConfigFile, account


def test_load_names_the_variable_with_wrong_json(config_file: ConfigFile) -> None:
    accounts = json.dumps([{"name": "shop", "api_key": "k", "path": "p", "evry": "1d"}])
    said = config_file.refusal(GOOD, ROTATOR_ACCOUNTS=accounts)
    assert said == 'ROTATOR_ACCOUNTS: account "shop": unknown key "evry". Did you mean "every"?'


def test_load_names_the_key_within_a_section_variable(config_file: ConfigFile) -> None:
    said = config_file.refusal(GOOD, ROTATOR_VAULT__AUTH='{"method": "kubernets"}')
    assert said.startswith("ROTATOR_VAULT__AUTH: method: Input should be 'token', ")


@pytest.mark.parametrize("variable", ["ROTATOR_AUDIT__FILE", "ROTATOR_VAULT__CA_CERT"])
def test_load_refuses_an_empty_file_name(config_file: ConfigFile, variable: str) -> None:
    said = config_file.refusal(GOOD, **{variable: ""})
    assert said == f"{variable}: is empty: name a file, or remove the key or the variable."


@pytest.mark.parametrize("variable", ["VAULT_TOKEN", "BAO_TOKEN", "ROTATOR_VAULT__AUTH__TOKEN"])
def test_load_reads_a_token_with_a_line_ending(config_file: ConfigFile, variable: str) -> None:
    config_file.monkeypatch.delenv("VAULT_TOKEN")
    token = config_file.load(GOOD, **{variable: f"{CANARY}\r\n"}).vault.auth.token
    assert token is not None
    assert token.get_secret_value() == CANARY


@pytest.mark.parametrize("token", [f"{CANARY} x", f"{CANARY}\nx", f" {CANARY}", f'"{CANARY}"', f"\ufeff{CANARY}"])
def test_load_refuses_a_token_of_several_words(config_file: ConfigFile, token: str) -> None:
    said = config_file.refusal(GOOD, VAULT_TOKEN=token)
    assert said.startswith("VAULT_TOKEN: must be one word of printable ASCII characters")


def test_load_names_the_variable_when_token_is_missing(config_file: ConfigFile) -> None:
    config_file.monkeypatch.delenv("VAULT_TOKEN")
    refusal = config_file.refusal(GOOD)
    assert refusal.endswith('method "token" needs token: set VAULT_TOKEN or ROTATOR_VAULT__AUTH__TOKEN.')


def test_load_ignores_variables_of_a_kubernetes_service(config_file: ConfigFile) -> None:
    service = {
        "ROTATOR_PORT": "tcp://10.0.0.1:9464",
        "ROTATOR_PORT_9464_TCP_ADDR": "10.0.0.1",
        "ROTATOR_SERVICE_HOST": "x",
    }
    assert config_file.load(GOOD, **service) == config_file.load(GOOD)


def test_load_merges_a_section_from_json_and_keys(config_file: ConfigFile) -> None:
    settings = config_file.load(
        GOOD + "[daemon]\nlease = '3m'\n",
        ROTATOR_DAEMON='{"concurrency": 3, "circuit_breaker": {"failures": 2}}',
        ROTATOR_DAEMON__CIRCUIT_BREAKER__WINDOW="7",
        ROTATOR_DEFAULTS__WINDOWS='["02:00-05:00"]',
    )
    assert (settings.daemon.lease, settings.daemon.concurrency) == (timedelta(minutes=3), 3)
    assert (settings.daemon.circuit_breaker.failures, settings.daemon.circuit_breaker.window) == (2, 7)
    assert settings.accounts[0].windows == ("02:00-05:00",)


def test_load_prefers_the_key_to_the_section(config_file: ConfigFile) -> None:
    settings = config_file.load(
        GOOD,
        ROTATOR_DAEMON__CIRCUIT_BREAKER__WINDOW="7",
        ROTATOR_DAEMON__CIRCUIT_BREAKER='{"window": 9, "failures": 2}',
    )
    assert (settings.daemon.circuit_breaker.failures, settings.daemon.circuit_breaker.window) == (2, 7)


def test_load_names_vault_variable_beside_a_section(config_file: ConfigFile) -> None:
    refusal = config_file.refusal(A, ROTATOR_VAULT='{"mount": "kv"}', VAULT_ADDR=CANARY)
    assert refusal.startswith("VAULT_ADDR: is not an address")


def test_load_prefers_rotator_variables_to_the_file(config_file: ConfigFile) -> None:
    settings = config_file.load(
        GOOD + '[daemon]\nlease = "50s"\nconcurrency = 3\n',
        ROTATOR_VAULT__ADDRESS="https://vault.example:8200",
        ROTATOR_DAEMON__CONCURRENCY="5",
        VAULT_ADDR="https://not.this.one",
    )
    assert settings.vault.address == "https://vault.example:8200"
    assert (settings.daemon.concurrency, settings.daemon.lease) == (5, timedelta(seconds=50)), "the rest is the file's"


def test_default_from_a_variable_reaches_accounts(config_file: ConfigFile) -> None:
    text = VAULT + DEFAULTS + 'every = "7d"\n' + A + account("b", 'every = "9d"')
    settings = config_file.load(text, ROTATOR_DEFAULTS__EVERY="3d")
    assert [one.every for one in settings.accounts] == [timedelta(days=3), timedelta(days=9)]


@pytest.mark.parametrize("prefix", ["VAULT", "BAO"])
def test_load_prefers_vault_variables_to_the_file(config_file: ConfigFile, prefix: str) -> None:
    config_file.monkeypatch.delenv("VAULT_TOKEN")
    theirs = {f"{prefix}_ADDR": "https://theirs", f"{prefix}_TOKEN": CANARY, f"{prefix}_NAMESPACE": "team"}
    settings = config_file.load(A, **theirs)
    assert (settings.vault.address, settings.vault.namespace) == ("https://theirs", "team")
    assert settings.vault.auth.token is not None
    assert settings.vault.auth.token.get_secret_value() == CANARY
    assert config_file.load(GOOD).vault.address == "https://theirs", "variables override the file"
    address = config_file.load(GOOD, ROTATOR_VAULT__ADDRESS="https://ours").vault.address
    assert address == "https://ours", "rotator's own variable overrides the other"


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ('[vault]\naddress = ["https://a:8200/", "https://b:8200"]\n', {}),
        ('[vault]\naddress = "https://a:8200, https://b:8200"\n', {}),
        ("", {"VAULT_ADDR": "https://a:8200,https://b:8200"}),
        (VAULT, {"ROTATOR_VAULT__ADDRESS": "https://a:8200,https://b:8200/"}),
    ],
    ids=["list", "commas", "VAULT_ADDR", "ROTATOR_VAULT__ADDRESS"],
)
def test_load_reads_several_vault_addresses(config_file: ConfigFile, text: str, variables: dict[str, str]) -> None:
    vault = config_file.load(text + A, **variables).vault
    assert vault.addresses == ("https://a:8200", "https://b:8200")
    assert vault.address == "https://a:8200,https://b:8200"


def test_load_prefers_rotators_own_token_variable(config_file: ConfigFile) -> None:
    token = config_file.load(GOOD, ROTATOR_VAULT__AUTH__TOKEN="hvs.rotators-own").vault.auth.token
    assert token is not None
    assert token.get_secret_value() == "hvs.rotators-own"


def test_load_ignores_empty_vault_variables(config_file: ConfigFile) -> None:
    assert config_file.load(A, VAULT_ADDR="", BAO_ADDR="https://bao").vault.address == "https://bao"


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("ROTATOR_VAULT__AUTH__TOKN", 'unknown key "tokn". Did you mean ROTATOR_VAULT__AUTH__TOKEN?'),
        ("ROTATOR_DEAMON__LISTEN", 'unknown section "deamon". Did you mean ROTATOR_DAEMON__LISTEN?'),
        ("ROTATOR_VAULT_ADDRESS", "is no setting. Did you mean ROTATOR_VAULT__ADDRESS?"),
        ("ROTATOR_VAULT_ADRESS", "is no setting. Did you mean ROTATOR_VAULT__ADDRESS?"),
        ("ROTATOR_LOGLEVEL", "is no setting. Did you mean ROTATOR_LOG__LEVEL?"),
        ("ROTATOR_VAULT__AUTH_TOKEN", 'unknown key "auth_token". Did you mean ROTATOR_VAULT__AUTH__TOKEN?'),
        ("ROTATOR__VAULT__ADDRESS", 'unknown section "_vault". Did you mean ROTATOR_VAULT__ADDRESS?'),
        ("rotator_vault__adress", 'unknown key "adress". Did you mean ROTATOR_VAULT__ADDRESS?'),
        ("ROTATOR_DAEMON__SWEEP", 'unknown key "sweep". Its name is now ROTATOR_DAEMON__RESYNC_INTERVAL.'),
        ("VAULT_ADDR", "is not an address"),
        ("ROTATOR_VAULT__ADDRESS", "is not an address such as"),
        ("ROTATOR_DEFAULTS__EVERY", "is not a duration"),
        ("ROTATOR_DAEMON__CONCURRENCY", "Input should be a valid integer"),
    ],
)
def test_load_names_a_wrong_variable_without_value(config_file: ConfigFile, variable: str, said: str) -> None:
    assert config_file.refusal(GOOD, **{variable: CANARY}).startswith(f"{variable}: {said}")


@pytest.mark.parametrize("variable", ["ROTATOR_VAULT", "ROTATOR_VAULT__AUTH", "ROTATOR_ACCOUNTS", "ROTATOR_LOG"])
def test_load_refuses_a_section_variable_without_json(config_file: ConfigFile, variable: str) -> None:
    assert (
        config_file.refusal(GOOD, **{variable: CANARY})
        == f"{variable}: a variable for a whole section or list must be JSON."
    )


@pytest.mark.parametrize("variable", ["ROTATOR_VAULT", "ROTATOR_ACCOUNTS", "ROTATOR_DEFAULTS"])
def test_load_refuses_null(config_file: ConfigFile, variable: str) -> None:
    assert config_file.refusal(GOOD, **{variable: "null"}).startswith(f"{variable}: a variable for a whole section")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ROTATOR_ACCOUNTS": '{"a": 1}'}, "ROTATOR_ACCOUNTS: accounts is not a section."),
        ({"ROTATOR_ACCOUNTS": "{}"}, "ROTATOR_ACCOUNTS: accounts is not a section."),
        ({"ROTATOR_ACCOUNTS__0__NAME": "x"}, "ROTATOR_ACCOUNTS__0__NAME: accounts is not a section."),
        ({"ROTATOR_ACCOUNTS__": "x"}, "ROTATOR_ACCOUNTS__: accounts is not a section."),
        ({"ROTATOR_VAULT__ADDRESS__X": "x"}, "ROTATOR_VAULT__ADDRESS__X: vault.address is not a section."),
        ({"ROTATOR_VAULT": '{"address": {"b": 1}}'}, "ROTATOR_VAULT: vault.address is not a section."),
        ({"ROTATOR_VAULT__AUTH__TOKEN__X": "x"}, "ROTATOR_VAULT__AUTH__TOKEN__X: vault.auth.token is not a section."),
        ({"ROTATOR_DAEMON__ALLOWED_HOSTS": '{"a": 1}'}, "ROTATOR_DAEMON__ALLOWED_HOSTS: daemon.allowed_hosts is not"),
        ({"ROTATOR_VAULT": '{"auth": "x"}', "ROTATOR_VAULT__AUTH__METHOD": "token"}, "ROTATOR_VAULT: a variable for"),
        (
            {"ROTATOR_VAULT__ADDRESS": "https://v", "ROTATOR_VAULT__ADDRESS__X": "2"},
            "ROTATOR_VAULT__ADDRESS: a variable",
        ),
        ({"ROTATOR_VAULT__\u0130": "1"}, 'ROTATOR_VAULT__\u0130: unknown key "i\u0307".'),
        ({"ROTATOR_VAULT__": "1"}, 'ROTATOR_VAULT__: unknown key "".'),
        ({"ROTATOR___X": "1"}, 'ROTATOR___X: unknown section "".'),
    ],
)
def test_load_refuses_variables_without_effect(config_file: ConfigFile, variables: dict[str, str], said: str) -> None:
    assert config_file.refusal(GOOD, **variables).startswith(said)


@pytest.mark.parametrize("variable", ["VAULT_CACERT", "VAULT_CLIENT_KEY", "ROTATOR_VAULT__AUTH__SECRET_ID_FILE"])
def test_load_names_no_value_of_a_missing_file(config_file: ConfigFile, variable: str) -> None:
    text = VAULT + "[vault.auth]\nmethod = 'approle'\nrole_id = 'r'\n" + A
    others = {
        "ROTATOR_VAULT__AUTH__SECRET_ID": "s",
        "VAULT_CLIENT_CERT": str(config_file.file),
        "VAULT_CLIENT_KEY": str(config_file.file),
    }
    refusal = config_file.refusal(text, **(others | {variable: CANARY * 500}))
    assert refusal.startswith(f"{variable}: names no file that exists")


@pytest.mark.parametrize("prefix", ["VAULT", "BAO"])
def test_tls_variables_set_the_settings(prefix: str, tls_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CLIENT_CERT", "CLIENT_KEY")
    for name in names:
        (tls_file.parent / name).touch()
        monkeypatch.setenv(f"{prefix}_{name}", str(tls_file.parent / name))
    monkeypatch.setenv(f"{prefix}_CAPATH", str(tls_file.parent))
    monkeypatch.setenv(f"{prefix}_TLS_SERVER_NAME", "vault.internal")
    vault = load(tls_file).vault
    assert (vault.client_cert, vault.client_key) == tuple(tls_file.parent / name for name in names)
    assert (vault.ca_path, vault.tls_server_name) == (tls_file.parent, "vault.internal")


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
    variables: dict[str, str], verify: bool, tls_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load(tls_file).vault.verify is verify


@pytest.mark.parametrize("variable", ["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"])
def test_skip_verify_without_truth_value_is_refused(
    variable: str, tls_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "maybe")
    with pytest.raises(ConfigError, match=rf"^{variable}: must be true or false\.$"):
        load(tls_file)
