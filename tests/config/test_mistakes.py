"""The configuration is checked before anything is contacted: each mistake is one line, and none quotes a secret."""

import pytest

from rotator.config.mistakes import key_lines
from rotator.errors import ConfigError
from tests.config.config_file import CANARY, DEFAULTS, GOOD, VAULT, A, B, ConfigFile, account

MISTAKES = {
    # Accounts among each other.
    "two accounts of one name": (VAULT + A + account("a", key="k", path="p"), 'two accounts have the name "a".'),
    "two accounts at one path": (VAULT + A + account("b", path="apps/a"), 'two accounts have the path "apps/a".'),
    "two accounts with one key": (VAULT + A + account("b", key="keya"), 'two accounts have the api_key "keya".'),
    "a primary that is not there": (
        VAULT + A + account("b", 'primary = "c"'),
        'account "b": its primary "c" is not configured.',
    ),
    "a primary with another name": (
        VAULT + account("main") + account("b", 'primary = "mian"'),
        'account "b": its primary "mian" is not configured. Did you mean "main"?',
    ),
    "an account that is its own primary": (
        VAULT + A + account("b", 'primary = "b"'),
        'account "b" cannot be its own primary.',
    ),
    "a primary that is a secondary": (
        VAULT + A + account("b", 'primary = "a"') + account("c", 'primary = "b"'),
        'account "c": its primary "b" is itself a secondary of "a".',
    ),
    "no accounts": (VAULT, "accounts: is missing."),
    "an empty list of accounts": (f"accounts = []\n{VAULT}", "accounts: "),
    "one account in single brackets": (VAULT + A.replace("[[accounts]]", "[accounts]"), "accounts: "),
    # Paths.
    "a document among the journals": (
        VAULT + A + account("b", path="rotator/journal/b"),
        (
            'account "b": path "rotator/journal/b" is inside vault.journal_prefix, which consumers must not be able to'
            " read."
        ),
    ),
    "a document that is the journals' folder": (
        VAULT + 'journal_prefix = "apps/b"\n' + A + B,
        'account "b": path "apps/b" is inside vault.journal_prefix, which consumers must not be able to read.',
    ),
    "a path that goes up": (VAULT + A + account("b", path="apps/../b"), 'account "b": path: may not hold "." or ".."'),
    "a path with a dot": (VAULT + A + account("b", path="apps/./b"), 'account "b": path: may not hold "." or ".."'),
    "a path from the root": (VAULT + A + account("b", path="/apps/b"), 'account "b": path: has to be path parts'),
    "a path that ends in a slash": (
        VAULT + A + account("b", path="apps/b/"),
        'account "b": path: has to be path parts',
    ),
    "a path with two slashes": (VAULT + A + account("b", path="apps//b"), 'account "b": path: has to be path parts'),
    "a path with a question mark": (VAULT + A + account("b", path="b?x=1"), 'account "b": path: has to be path parts'),
    "a path with an escape": (VAULT + A + account("b", path="b%2fx"), 'account "b": path: has to be path parts'),
    "an empty path": (VAULT + A + account("b").replace('"apps/b"', '""'), 'account "b": path: has to be path parts'),
    "a mount that goes up": (VAULT + 'mount = "../sys"\n' + A, 'vault.mount: may not hold "." or ".."'),
    # Values.
    "a grace as long as the interval": (
        VAULT + A + account("b", 'every = "1d"'),
        'account "b": grace (1d) has to be shorter than every (1d), or the account would be full whenever it is due.',
    ),
    "a grace that the defaults make too long": (
        VAULT + DEFAULTS + 'grace = "30d"\n' + A + B,
        "defaults: grace (30d) has to be shorter than every (30d), or the account would be full whenever it is due.",
    ),
    "an interval of nothing": (
        VAULT + A + account("b", "every = 0"),
        'account "b": every: has to be longer than zero.',
    ),
    "an interval that is not one": (
        VAULT + A + account("b", 'every = "monthly"'),
        'account "b": every: is not a duration such as "30d", "24h", "90s" or "500ms".',
    ),
    "a default that is not one": (
        VAULT + DEFAULTS + 'every = "monthly"\n' + A + B,
        'defaults.every: is not a duration such as "30d", "24h", "90s" or "500ms".',
    ),
    "a shard beyond the last one": (
        VAULT + A + '[daemon]\nshard = "4/4"\n',
        "daemon.shard: is not one of 4 shards: they are counted from 0.",
    ),
    "a shard that is none": (
        VAULT + A + '[daemon]\nshard = "four"\n',
        "daemon.shard: is not of the form 0/4 or auto/4.",
    ),
    "an audit log without a name": (
        VAULT + A + '[audit]\nfile = ""\n',
        "audit.file: is empty: name a file, or remove the key or the variable.",
    ),
    "a CA without a name": (VAULT + 'ca_cert = ""\n' + A, "vault.ca_cert: is empty: name a file, or remove the key"),
    # Schedules.
    "an interval and a cron line": (
        VAULT + A + account("b", 'every = "1d"', 'cron = "0 3 * * *"'),
        'account "b": every and cron exclude each other, and one of them is needed.',
    ),
    "an interval and a cron line for all": (
        VAULT + DEFAULTS + 'every = "9d"\ncron = "0 3 * * 1"\n' + A + B,
        "defaults: every and cron exclude each other, and one of them is needed.",
    ),
    "a cron line that is not one": (
        VAULT + A + account("b", 'cron = "@monthly"'),
        'account "b": cron: is not five fields such as "0 3 1 * *": minute, hour, day, month, weekday.',
    ),
    "a default cron line with a wrong field": (
        VAULT + DEFAULTS + 'cron = "0 25 * * *"\n' + A + B,
        "defaults.cron: is not a cron line: bad hour.",
    ),
    "a time zone that does not exist": (
        VAULT + A + account("b", 'timezone = "Europe/Bonn"'),
        'account "b": timezone: is not a time zone such as "Europe/Berlin".',
    ),
    "a time zone that is a folder": (
        VAULT + A + account("b", 'timezone = "Europe"'),
        'account "b": timezone: is not a time zone such as "Europe/Berlin".',
    ),
    "a time zone that goes up": (
        VAULT + A + account("b", 'timezone = "../../etc/passwd"'),
        'account "b": timezone: is not a time zone such as "Europe/Berlin".',
    ),
    "a window that is not one": (
        VAULT + A + account("b", 'windows = ["02:00-05:00", "nights"]'),
        'account "b": windows: entry 2: is not a window such as "mon-fri 02:00-05:00", ',
    ),
    "a default window that is not one": (
        VAULT + DEFAULTS + 'windows = ["nights"]\n' + A + B,
        "defaults.windows: entry 1: is not a window such as",
    ),
    "one window that is not in a list": (
        VAULT + A + account("b", 'windows = "02:00-05:00"'),
        'account "b": windows: must be a list.',
    ),
    "a blackout that is not one": (
        VAULT + A + account("b", 'blackouts = ["christmas"]'),
        'account "b": blackouts: entry 1: is not a blackout such as',
    ),
    "a blackout on a day that does not exist": (
        VAULT + A + account("b", 'blackouts = ["2027-02-29"]'),
        'account "b": blackouts: entry 1: has a day that no calendar has.',
    ),
    "blackouts all year round": (
        VAULT + A + account("b", 'blackouts = ["01-01/12-31"]'),
        'account "b": windows and blackouts leave no opening for more than 400 days; set max_age or open more.',
    ),
    "a max_age below the interval": (
        VAULT + A + account("b", 'every = "9d"', 'max_age = "8d"'),
        'account "b": max_age may not be shorter than every.',
    ),
    "a jitter as long as the interval": (
        VAULT + A + account("b", 'every = "9d"', 'jitter = "9d"'),
        'account "b": jitter has to be shorter than every.',
    ),
    "a grace that the jitter makes too long": (
        VAULT + A + account("b", 'every = "2d"', 'jitter = "1d"'),
        'account "b": grace (1d) has to be shorter than every less jitter (1d), or the account would be full',
    ),
    "a grace as long as the time between two times of cron": (
        VAULT + A + account("b", 'cron = "0 3 * * *"'),
        'account "b": grace (1d) has to be shorter than the shortest time between two rotations by cron (1d), or',
    ),
    "an alphabet that cannot comply": (
        VAULT + A + account("b", 'secret_alphabet = "abcdef0123"'),
        'account "b": secret_alphabet needs at least one lower-case letter, one upper-case letter and one digit.',
    ),
    "a default alphabet that cannot comply": (
        VAULT + DEFAULTS + 'secret_alphabet = "abc"\n' + A + B,
        "defaults: secret_alphabet needs at least one lower-case letter, one upper-case letter and one digit.",
    ),
    "an alphabet with a letter twice": (
        VAULT + A + account("b", 'secret_alphabet = "aaB1"'),
        'account "b": secret_alphabet holds a character twice',
    ),
    "an alphabet with a blank": (
        VAULT + A + account("b", 'secret_alphabet = "aB1 "'),
        'account "b": secret_alphabet may hold only printable ASCII',
    ),
    "a length that is too short": (
        VAULT + A + account("b", "secret_length = 7"),
        'account "b": secret_length has to be 8 to 25, not 7.',
    ),
    "a length that is too long": (
        VAULT + A + account("b", "secret_length = 26"),
        'account "b": secret_length has to be 8 to 25, not 26.',
    ),
    "two fields of one name": (
        VAULT + A + account("b", 'fields = {api_key = "X", api_secret = "X"}'),
        'account "b": fields: has one name twice.',
    ),
    "a lease too short for its work": (
        GOOD + '[daemon]\nlease = "29s"\n',
        "daemon.lease (29s) has to be at least three times account_api.timeout (10s): work has to fit in it.",
    ),
    "no concurrency": (GOOD + "[daemon]\nconcurrency = 0\n", "daemon.concurrency: "),
    "a wrong type": (VAULT + 'verify = "perhaps"\n' + A, "vault.verify: Input should be a valid boolean"),
    "a number for a text": (VAULT + A + account("b", "primary = 3"), 'account "b": primary: '),
    "a name with a slash": (VAULT + A + account("b/c", key="k", path="p"), 'account "b/c": name: '),
    "an account without a path": (VAULT + A + '[[accounts]]\nname = "b"\napi_key = "k"\n', 'account "b": path: is mis'),
    "the only account without a path": (
        VAULT + '[[accounts]]\nname = "b"\napi_key = "k"\n',
        'account "b": path: is missing.',
    ),
    # Settings that do not exist.
    "an unknown section": (GOOD + "[dameon]\n", 'unknown section "dameon". Did you mean "daemon"?'),
    "an unknown default": (
        VAULT + DEFAULTS + 'evry = "3d"\n' + A + B,
        'defaults: unknown key "evry". Did you mean "every"?',
    ),
    "an unknown key of an account": (
        VAULT + A + account("b", "evry = 3"),
        'account "b": unknown key "evry". Did you mean "every"?',
    ),
    "an unknown key of Vault": (VAULT + 'adress = "x"\n' + A, 'vault: unknown key "adress". Did you mean "address"?'),
    "the old name of the consistency window": (
        VAULT + A + "[account_api]\nsettle = '1s'\n",
        'account_api: unknown key "settle". Its name is now "consistency_window".',
    ),
    "the old name of the circuit breaker": (
        VAULT + A + "[daemon.brake]\nof_last = 3\n",
        'daemon: unknown key "brake". Its name is now "circuit_breaker".',
    ),
    "the old name of the circuit breaker's window": (
        VAULT + A + "[daemon.circuit_breaker]\nof_last = 3\n",
        'daemon.circuit_breaker: unknown key "of_last". Its name is now "window".',
    ),
    "the old name of the circuit breaker's cooldown": (
        VAULT + A + "[daemon.circuit_breaker]\nhold = '1m'\n",
        'daemon.circuit_breaker: unknown key "hold". Its name is now "cooldown".',
    ),
    "the old name of the verify interval": (
        VAULT + A + "[daemon]\nrecheck = '1h'\n",
        'daemon: unknown key "recheck". Its name is now "verify_interval".',
    ),
    "the old name of the resync interval": (
        VAULT + A + "[daemon]\nsweep = '1h'\n",
        'daemon: unknown key "sweep". Its name is now "resync_interval".',
    ),
    "the old name of the balance threshold": (
        VAULT + A + "[balance]\nlow = '1'\n",
        'balance: unknown key "low". Its name is now "threshold".',
    ),
    "the old name of an account's threshold": (
        VAULT + A + account("b", "low_balance = '1'"),
        'account "b": unknown key "low_balance". Its name is now "balance_threshold".',
    ),
    "an argument of the settings library": ("_cli_prog_name = 'x'\n" + GOOD, 'unknown section "_cli_prog_name".'),
    # Vault.
    "no address": (A, "vault.address: is missing."),
    "an address without a scheme": (
        '[vault]\naddress = "localhost:8200"\n' + A,
        "vault.address: must begin with http:// or https:// and a host.",
    ),
    "an address without slashes": ('[vault]\naddress = "http:host"\n' + A, "vault.address: must begin with http:// or"),
    "an address without a host": (
        '[vault]\naddress = "https:///v1"\n' + A,
        "vault.address: must begin with http:// or",
    ),
    "an address with an empty query": (
        '[vault]\naddress = "https://a?"\n' + A,
        "vault.address: has to be a plain address",
    ),
    "a path with a wildcard of policies": (
        VAULT + A + account("b", path="apps/+/b"),
        'account "b": path: may not hold "+"',
    ),
    "a path with another wildcard": (
        VAULT + A + account("b", path="apps/*"),
        'account "b": path: has to be path parts',
    ),
    "a payment in a published document": (
        VAULT + A + account("b", "top_up = { trx_path = 'apps/a' }"),
        'account "b": top_up.trx_path "apps/a" is a published document, which consumers can read.',
    ),
    "a payment in the journals": (
        VAULT + A + account("b", "top_up = { trx_path = 'rotator/journal/x' }"),
        'account "b": top_up.trx_path "rotator/journal/x" is inside vault.journal_prefix',
    ),
    "a device as token_file": (
        VAULT + "[vault.auth]\nmethod = 'token_file'\ntoken_file = '/dev/zero'\n" + A,
        "/dev/zero is not a regular file.",
    ),
    "an empty address": ('[vault]\naddress = ""\n' + A, "vault.address: is not an address such as"),
    "an address with credentials": (
        f'[vault]\naddress = "https://me:{CANARY}@vault"\n' + A,
        "vault.address: has to be a plain address, without credentials, query or fragment.",
    ),
    "an address with a query": (
        f'[vault]\naddress = "https://vault/?token={CANARY}"\n' + A,
        "vault.address: has to be a plain address, without credentials, query or fragment.",
    ),
    "no address in a list": ("[vault]\naddress = []\n" + A, "vault.address: is not an address such as"),
    "a wrong address among several": (
        '[vault]\naddress = ["https://a", "b:8200"]\n' + A,
        "vault.address: must begin with http:// or https:// and a host.",
    ),
    "one address twice": (
        '[vault]\naddress = ["https://a", "https://a/"]\n' + A,
        "vault.address: has one address twice.",
    ),
    "addresses with and without TLS": (
        '[vault]\naddress = ["https://a", "http://a"]\n' + A,
        "vault.address: has to be https for all or for none",
    ),
    "an address with a line break": ('[vault]\naddress = "http://vault:8200/\\n"\n' + A, "vault.address: "),
    "a provider's address with credentials": (
        GOOD + f'[account_api]\napi_url = "https://me:{CANARY}@host"\n',
        "account_api.api_url: has to be a plain address",
    ),
    "a token in the file": (
        VAULT + f'[vault.auth]\ntoken = "{CANARY}"\n' + A,
        (
            "vault.auth.token is a secret and does not belong in a file; set ROTATOR_VAULT__AUTH__TOKEN or name a file"
            " with token_file."
        ),
    ),
    "a secret id in the file": (
        VAULT + f'[vault.auth]\nmethod = "approle"\nrole_id = "r"\nsecret_id = "{CANARY}"\n' + A,
        (
            "vault.auth.secret_id is a secret and does not belong in a file; set ROTATOR_VAULT__AUTH__SECRET_ID or name"
            " a file with secret_id_file."
        ),
    ),
    "a token in a wrong place": (VAULT + f'token = "{CANARY}"\n' + A, 'vault: unknown key "token".'),
    "a token in place of the section": (f'vault = "{CANARY}"\n' + A, "vault: must be a section."),
    "a CA that is not there": (VAULT + 'ca_cert = "no.pem"\n' + A, "vault.ca_cert: names no file that exists."),
    "a provider's CA that is not there": (
        GOOD + '[account_api]\nca_cert = "/no.pem"\n',
        "account_api.ca_cert: names no file that exists.",
    ),
    "a CA that is a folder": (VAULT + 'ca_cert = "/"\n' + A, "vault.ca_cert: names no regular file."),
    "a certificate without its key": (
        VAULT + 'client_cert = "c.pem"\n' + A,
        "vault: client_cert and client_key go together.",
    ),
    # Login.
    "token_file without its file": (
        VAULT + '[vault.auth]\nmethod = "token_file"\n' + A,
        'vault.auth: method "token_file" needs token_file.',
    ),
    "approle without its role": (
        VAULT + '[vault.auth]\nmethod = "approle"\n' + A,
        'vault.auth: method "approle" needs role_id.',
    ),
    "approle without its secret": (
        VAULT + '[vault.auth]\nmethod = "approle"\nrole_id = "r"\n' + A,
        'vault.auth: method "approle" needs secret_id_file (or ROTATOR_VAULT__AUTH__SECRET_ID).',
    ),
    "approle with a file that is not there": (
        VAULT + '[vault.auth]\nmethod = "approle"\nrole_id = "r"\nsecret_id_file = "no.txt"\n' + A,
        "vault.auth.secret_id_file: names no file that exists.",
    ),
    "kubernetes without its role": (
        VAULT + '[vault.auth]\nmethod = "kubernetes"\n' + A,
        'vault.auth: method "kubernetes" needs role.',
    ),
    "jwt without its role": (VAULT + '[vault.auth]\nmethod = "jwt"\n' + A, 'vault.auth: method "jwt" needs role.'),
    "jwt without its file": (
        VAULT + '[vault.auth]\nmethod = "jwt"\nrole = "r"\n' + A,
        'vault.auth: method "jwt" needs jwt_file.',
    ),
    "cert without a certificate": (
        VAULT + '[vault.auth]\nmethod = "cert"\n' + A,
        'vault: auth method "cert" needs client_cert and client_key.',
    ),
    "a method that does not exist": (VAULT + '[vault.auth]\nmethod = "ldap"\n' + A, "vault.auth.method: "),
    # The file.
    "a file that is not TOML": ("[vault\n", " is not valid TOML: "),
    "a key twice": (GOOD + 'name = "c"\n', " is not valid TOML: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_load_refuses_a_mistake_in_one_line(config_file: ConfigFile, mistake: str) -> None:
    text, said = MISTAKES[mistake]
    refusal = config_file.refusal(text)
    assert refusal.startswith(said), f"{mistake}: {refusal}"
    if said.endswith("."):
        assert refusal == said


def test_load_writes_one_line_per_mistake(config_file: ConfigFile) -> None:
    with pytest.raises(ConfigError) as caught:
        config_file.load(VAULT + 'mount = "/x"\n' + A + account("b", "secret_length = 3"))
    assert [line.split(": ")[:2] for line in str(caught.value).splitlines()] == [
        [f"{config_file.file}:3", "vault.mount"],
        [f"{config_file.file}:8", 'account "b"'],
    ]


MANY_SHAPES = """\
# A comment with a [header] in it, and a comma,
[vault]
address = [
  "http://127.0.0.1:8200", # one
  # "http://127.0.0.1:8201",
]

  [vault.auth] # indented
  method = 'token'
[defaults]
fields.api_key = "a"
timezone = \"\"\"
UTC\"\"\"
[[accounts]]
name = "a"
[accounts.top_up]
per_day = 1
[[accounts]]
name = "b"
fields = { api_key = "a", "odd.name" = "b" }
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_key_lines_finds_each_key(ending: str) -> None:
    lines = dict(key_lines(MANY_SHAPES.replace("\n", ending)))
    assert lines == {
        ("vault",): 2,
        ("vault", "address"): 3,
        ("vault", "address", 0): 3,
        ("vault", "auth"): 8,
        ("vault", "auth", "method"): 9,
        ("defaults",): 10,
        ("defaults", "fields"): 11,
        ("defaults", "fields", "api_key"): 11,
        ("defaults", "timezone"): 12,
        ("accounts", 0): 14,
        ("accounts", 0, "name"): 15,
        ("accounts", 0, "top_up"): 16,
        ("accounts", 0, "top_up", "per_day"): 17,
        ("accounts", 1): 18,
        ("accounts", 1, "name"): 19,
        ("accounts", 1, "fields"): 20,
        ("accounts", 1, "fields", "api_key"): 20,
        ("accounts", 1, "fields", "odd.name"): 20,
    }


@pytest.mark.parametrize("lines", [1, 100_000])
def test_key_lines_ends_soon_when_values_are_long(lines: int) -> None:
    text = "windows = [\n" + '  "02:00-05:00",\n' * lines + "]\n"
    found = dict(key_lines(text))
    assert found.get(("windows",)) == (1 if lines == 1 else None)


def test_load_names_file_line_and_account(config_file: ConfigFile) -> None:
    with pytest.raises(ConfigError) as caught:
        config_file.load(VAULT + account("main") + account("shop", "evrey = '7d'"))
    assert str(caught.value) == f'{config_file.file}:11: account "shop": unknown key "evrey". Did you mean "every"?'


def test_empty_file_lacks_each_required_setting(config_file: ConfigFile) -> None:
    config_file.monkeypatch.delenv("VAULT_TOKEN")
    with pytest.raises(ConfigError) as caught:
        config_file.load("", VAULT_ADDR="http://127.0.0.1:8200")
    assert str(caught.value).splitlines() == [
        f'{config_file.file}: vault.auth: method "token" needs token: set VAULT_TOKEN or ROTATOR_VAULT__AUTH__TOKEN.',
        f"{config_file.file}: accounts: is missing.",
    ]
