"""The configuration is checked before anything is contacted: each mistake is one line, and none quotes a secret."""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from rotator.config import (
    AccountSettings,
    Settings,
    find_file,
    format_duration,
    load,
    parse_duration,
    warn_of_open_files,
)
from rotator.config.mistakes import key_lines
from rotator.core.scheduling import Blackout, Schedule, Window
from rotator.errors import ConfigError
from testkit.cluster import Cluster

CANARY = "hvs.CanaryThatNobodyMayPrint01"
EXAMPLE = Path(__file__).parents[2] / "config.example.toml"

VAULT = '[vault]\naddress = "http://127.0.0.1:8200"\n'
DEFAULTS = "[defaults]\n"


def account(name: str, *lines: str, key: str = "", path: str = "") -> str:
    said = [f'name = "{name}"', f'api_key = "{key or "key" + name}"', f'path = "{path or "apps/" + name}"', *lines]
    return "\n".join(["[[accounts]]", *said, ""])


A, B = account("a"), account("b")
GOOD = VAULT + A + B


@dataclass
class Desk:
    """A folder with a configuration in it, and an environment that says nothing but VAULT_TOKEN."""

    file: Path
    monkeypatch: pytest.MonkeyPatch

    def load(self, text: str, **environment: str) -> Settings:
        self.file.write_text(text)
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)
        return load(self.file)

    def refusal(self, text: str, **environment: str) -> str:
        """What is said about a bad configuration, after the file's name: one line, whole, and without a secret."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environment)
        message = str(caught.value)
        assert caught.value.exit_code == 2
        assert CANARY not in message
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__, "a traceback would show more"
        lines = message.splitlines()
        assert len(lines) == 1, f"one mistake, {len(lines)} lines:\n{message}"
        assert message.isprintable()
        if not message.startswith(str(self.file)):
            return message
        return re.sub(r"^(:[0-9]+)?: ", "", message.removeprefix(str(self.file)))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in list(os.environ):
        if name.startswith(("ROTATOR_", "VAULT_", "BAO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_TOKEN", CANARY)
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path / "config.toml", monkeypatch)


# --- durations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("50ms", timedelta(milliseconds=50)),
        ("1m1s1ms", timedelta(minutes=1, seconds=1, milliseconds=1)),
        ("90s", timedelta(seconds=90)),
        ("0", timedelta()),
        (0, timedelta()),
        (timedelta(hours=3), timedelta(hours=3)),
    ],
)
def test_a_duration_is_read_as_written(text: object, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "30", 30, 1.5, None, True, False, "-1s", "1 h", "1h ", "1H", "1.5h", "h", "1h30", "30days", "1s\n", [], "٣s"],
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3661d", "999999999999999d", "9" * 400 + "ms"])
def test_a_duration_has_an_end(text: str) -> None:
    with pytest.raises(ValueError, match="longer than ten years"):
        parse_duration(text)


@given(st.integers(0, 3660 * 86_400_000))
def test_a_duration_that_is_written_is_read_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "1m30s"), (86_400 * 30, "30d"), (0.05, "50ms")])
def test_a_duration_is_written_without_units_that_are_zero(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


# --- what is refused -----------------------------------------------------------------------------------------

MISTAKES = {
    # Accounts among each other.
    "two accounts of one name": (VAULT + A + account("a", key="k", path="p"), 'two accounts have the name "a".'),
    "two accounts at one path": (VAULT + A + account("b", path="apps/a"), 'two accounts have the path "apps/a".'),
    "two accounts with one key": (VAULT + A + account("b", key="keya"), 'two accounts have the api_key "keya".'),
    "a primary that is not there": (
        VAULT + A + account("b", 'primary = "c"'),
        'account "b": its primary "c" is not configured.',
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
        'account "b": windows.1: is not a window such as "mon-fri 02:00-05:00", "sat,sun 00:00-24:00" or "22:00-02:00"',
    ),
    "a default window that is not one": (
        VAULT + DEFAULTS + 'windows = ["nights"]\n' + A + B,
        "defaults.windows.0: is not a window such as",
    ),
    "one window that is not in a list": (
        VAULT + A + account("b", 'windows = "02:00-05:00"'),
        'account "b": windows: must be a list.',
    ),
    "a blackout that is not one": (
        VAULT + A + account("b", 'blackouts = ["christmas"]'),
        'account "b": blackouts.0: is not a blackout such as',
    ),
    "a blackout on a day that does not exist": (
        VAULT + A + account("b", 'blackouts = ["2027-02-29"]'),
        'account "b": blackouts.0: has a day that no calendar has.',
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
    "a CA that is not there": (VAULT + 'ca_cert = "no.pem"\n' + A, "no.pem does not exist or is not a file."),
    "a provider's CA that is not there": (
        GOOD + '[account_api]\nca_cert = "/no.pem"\n',
        "/no.pem does not exist or is not a file.",
    ),
    "a CA that is a folder": (VAULT + 'ca_cert = "/"\n' + A, "/ does not exist or is not a file."),
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
        "no.txt does not exist or is not a file.",
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
def test_a_mistake_is_refused_in_one_line(desk: Desk, mistake: str) -> None:
    text, said = MISTAKES[mistake]
    refusal = desk.refusal(text)
    assert refusal.startswith(said), f"{mistake}: {refusal}"
    if said.endswith("."):
        assert refusal == said


def test_two_mistakes_are_two_lines(desk: Desk) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.load(VAULT + 'mount = "/x"\n' + A + account("b", "secret_length = 3"))
    assert [line.split(": ")[:2] for line in str(caught.value).splitlines()] == [
        [f"{desk.file}:3", "vault.mount"],
        [f"{desk.file}:8", 'account "b"'],
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
def test_key_lines_ends_soon_when_a_value_is_long(lines: int) -> None:
    text = "windows = [\n" + '  "02:00-05:00",\n' * lines + "]\n"
    found = dict(key_lines(text))
    assert found.get(("windows",)) == (1 if lines == 1 else None)


def test_load_names_file_line_and_account_of_a_mistake(desk: Desk) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.load(VAULT + account("main") + account("shop", "evrey = '7d'"))
    assert str(caught.value) == f'{desk.file}:11: account "shop": unknown key "evrey". Did you mean "every"?'


def test_load_names_the_variable_with_a_mistake_in_json(desk: Desk) -> None:
    accounts = json.dumps([{"name": "shop", "api_key": "k", "path": "p", "evry": "1d"}])
    said = desk.refusal(GOOD, ROTATOR_ACCOUNTS=accounts)
    assert said == 'ROTATOR_ACCOUNTS: account "shop": unknown key "evry". Did you mean "every"?'


@pytest.mark.parametrize("variable", ["VAULT_TOKEN", "BAO_TOKEN", "ROTATOR_VAULT__AUTH__TOKEN"])
def test_load_reads_a_token_with_a_line_ending(desk: Desk, variable: str) -> None:
    desk.monkeypatch.delenv("VAULT_TOKEN")
    token = desk.load(GOOD, **{variable: f"{CANARY}\r\n"}).vault.auth.token
    assert token is not None
    assert token.get_secret_value() == CANARY


@pytest.mark.parametrize("token", [f"{CANARY} x", f"{CANARY}\nx", f" {CANARY}", f'"{CANARY}"', f"\ufeff{CANARY}"])
def test_load_refuses_a_token_of_several_words(desk: Desk, token: str) -> None:
    said = desk.refusal(GOOD, VAULT_TOKEN=token)
    assert said.startswith("VAULT_TOKEN: must be one word of printable ASCII characters")


def test_load_refuses_a_fifo_as_token_file(desk: Desk, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    auth = "[vault.auth]\nmethod = 'token_file'\ntoken_file = 'token'\n"
    assert desk.refusal(VAULT + auth + A) == "token is not a regular file."


def test_warn_of_open_files_names_audit_token_and_secret_files(desk: Desk, tmp_path: Path) -> None:
    for name, mode in (("audit", 0o666), ("token", 0o646), ("id", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    auth = "[vault.auth]\ntoken_file = 'token'\nsecret_id_file = 'id'\n[audit]\nfile = 'audit'\n"
    with structlog.testing.capture_logs() as logs:
        warn_of_open_files(desk.load(VAULT + auth + A))
    assert [log["file"] for log in logs] == ["audit", "token", "id"]


def test_load_ignores_variables_of_a_kubernetes_service(desk: Desk) -> None:
    service = {
        "ROTATOR_PORT": "tcp://10.0.0.1:9464",
        "ROTATOR_PORT_9464_TCP_ADDR": "10.0.0.1",
        "ROTATOR_SERVICE_HOST": "x",
    }
    assert desk.load(GOOD, **service) == desk.load(GOOD)


def test_load_merges_a_section_from_json_and_keys(desk: Desk) -> None:
    settings = desk.load(
        GOOD + "[daemon]\nlease = '3m'\n",
        ROTATOR_DAEMON='{"concurrency": 3, "circuit_breaker": {"failures": 2}}',
        ROTATOR_DAEMON__CIRCUIT_BREAKER__WINDOW="7",
        ROTATOR_DEFAULTS__WINDOWS='["02:00-05:00"]',
    )
    assert (settings.daemon.lease, settings.daemon.concurrency) == (timedelta(minutes=3), 3)
    assert (settings.daemon.circuit_breaker.failures, settings.daemon.circuit_breaker.window) == (2, 7)
    assert settings.accounts[0].windows == ("02:00-05:00",)


def test_load_prefers_the_key_to_the_section_whatever_the_order(desk: Desk) -> None:
    settings = desk.load(
        GOOD,
        ROTATOR_DAEMON__CIRCUIT_BREAKER__WINDOW="7",
        ROTATOR_DAEMON__CIRCUIT_BREAKER='{"window": 9, "failures": 2}',
    )
    assert (settings.daemon.circuit_breaker.failures, settings.daemon.circuit_breaker.window) == (2, 7)


def test_load_blames_the_variable_of_vault_beside_a_section(desk: Desk) -> None:
    refusal = desk.refusal(A, ROTATOR_VAULT='{"mount": "kv"}', VAULT_ADDR=CANARY)
    assert refusal.startswith("VAULT_ADDR: is not an address")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_load_reads_text_with_a_byte_order_mark(desk: Desk, encoding: str) -> None:
    desk.file.write_bytes(GOOD.replace("\n", "\r\n").encode(encoding))
    assert load(desk.file) == desk.load(GOOD)


def test_load_refuses_utf_16_without_a_byte_order_mark(desk: Desk) -> None:
    desk.file.write_bytes(GOOD.encode("utf-16-le"))
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(desk.file)


def test_a_lease_of_exactly_three_timeouts_is_long_enough(desk: Desk) -> None:
    settings = desk.load(GOOD + '[daemon]\nlease = "30s"\n')
    assert settings.daemon.lease == timedelta(seconds=30)


def test_no_token_at_all_is_refused_and_the_variable_named(desk: Desk) -> None:
    desk.monkeypatch.delenv("VAULT_TOKEN")
    refusal = desk.refusal(GOOD)
    assert refusal.endswith('method "token" needs token: set VAULT_TOKEN or ROTATOR_VAULT__AUTH__TOKEN.')


def test_an_unknown_account_is_refused_with_those_that_exist(desk: Desk) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.load(GOOD).account("payments")
    assert str(caught.value) == 'No account is named "payments"; configured are a, b.'
    assert caught.value.exit_code == 2


def test_an_unknown_account_among_many_is_refused_with_some_of_them(desk: Desk) -> None:
    settings = desk.load(VAULT + "".join(account(f"n{number:02}") for number in range(25)))
    with pytest.raises(ConfigError, match=r"n09 and 15 more\.$"):
        settings.account("payments")


def test_a_file_that_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(ConfigError) as caught:
        load(desk.file)
    assert str(caught.value) == f"{desk.file} cannot be read: No such file or directory."
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_text_is_refused(desk: Desk) -> None:
    desk.file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(desk.file)


def test_a_folder_is_not_a_file(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


# --- where values come from ----------------------------------------------------------------------------------


def test_the_smallest_configuration_has_the_documented_defaults(desk: Desk) -> None:
    settings = desk.load(GOOD)
    first = settings.account("a")
    assert (first.every, first.grace) == (timedelta(days=30), timedelta(hours=24))
    assert (settings.vault.mount, settings.journal_path(first)) == ("secret", "rotator/journal/a")
    assert (settings.account_api.max_secrets, settings.account_api.api_url) == (2, "https://api.nexmo.com")
    assert first.enabled
    assert settings.vault.auth.token is not None
    assert settings.vault.auth.token.get_secret_value() == CANARY


def test_an_account_overrides_the_defaults(desk: Desk) -> None:
    settings = desk.load(
        VAULT + DEFAULTS + 'every = "7d"\ngrace = "1h"\nfields = {api_secret = "SECRET"}\n' + A
        + account("b", 'grace = "2h"', 'fields = {api_secret = "OTHER"}')
    )  # fmt: skip
    a, b = settings.accounts
    assert (a.every, a.grace, a.fields.api_secret) == (timedelta(days=7), timedelta(hours=1), "SECRET")
    assert (b.every, b.grace, b.fields.api_secret) == (timedelta(days=7), timedelta(hours=2), "OTHER")


# --- schedules -----------------------------------------------------------------------------------------------


def test_an_account_that_says_one_of_every_and_cron_is_free_of_the_other(desk: Desk) -> None:
    said = (account("b", 'every = "7d"'), account("c", 'cron = "0 4 * * 6"'), account("d"))
    for default in ('every = "30d"', 'cron = "0 3 1 * *"'):
        settings = desk.load(VAULT + DEFAULTS + default + "\n" + "".join(said))
        b, c, d = (one.schedule for one in settings.accounts)
        assert (b.every, b.cron) == (timedelta(days=7), None)
        assert (c.every, c.cron) == (None, "0 4 * * 6")
        assert (d.every, d.cron) == ((timedelta(days=30), None) if "every" in default else (None, "0 3 1 * *"))
    assert settings.accounts[2].every is None


def test_every_part_of_a_schedule_is_inherited_or_said_anew(desk: Desk) -> None:
    settings = desk.load(
        VAULT + DEFAULTS + 'cron = "0 3 1 * *"\ntimezone = "Europe/Berlin"\nwindows = ["mon-fri 02:00-05:00"]\n'
        'blackouts = ["12-24/01-02"]\nmax_age = "45d"\njitter = "1h"\n' + A
        + account("b", 'timezone = "America/New_York"', "windows = []", 'blackouts = ["2026-12-24"]', 'max_age = "50d"',
                  "jitter = 0")
    )  # fmt: skip
    a, b = (one.schedule for one in settings.accounts)
    assert a == Schedule(
        None, "0 3 1 * *", ZoneInfo("Europe/Berlin"), (Window.parse("mon-fri 02:00-05:00"),),
        (Blackout.parse("12-24/01-02"),), timedelta(days=45), timedelta(hours=1),
    )  # fmt: skip
    assert b == Schedule(
        None, "0 3 1 * *", ZoneInfo("America/New_York"), (), (Blackout.parse("2026-12-24"),), timedelta(days=50)
    )


@pytest.mark.parametrize(
    ("lines", "jitter"),
    [
        ((), timedelta(hours=6)),
        (('every = "2d"', 'grace = "1d"'), timedelta(hours=2.4)),
        (('every = "10s"', "grace = 0"), timedelta(seconds=1)),
        (('every = "1ms"', "grace = 0"), timedelta(microseconds=100)),
        (('every = "24h1s"', 'grace = "24h"'), timedelta(seconds=0.1)),
        (('cron = "0 3 1 * *"',), timedelta()),
        (('jitter = "2h"',), timedelta(hours=2)),
        (("jitter = 0",), timedelta()),
    ],
)
def test_the_jitter_that_nobody_chose_leaves_room_for_the_grace(
    desk: Desk, lines: tuple[str, ...], jitter: timedelta
) -> None:
    assert desk.load(VAULT + account("a", *lines)).accounts[0].schedule.jitter == jitter


def test_accounts_of_one_kind_share_one_schedule(desk: Desk) -> None:
    text = VAULT + DEFAULTS + 'cron = "0 3 1 * *"\nwindows = ["02:00-05:00"]\n' + A + B + account("c", 'grace = "1h"')
    a, b, c = (one.schedule for one in desk.load(text).accounts)
    assert a is b is c


def test_a_schedule_that_is_printed_can_be_read_again(desk: Desk) -> None:
    settings = desk.load(
        VAULT + account("a", 'cron = "0 3 1 * *"', 'windows = ["fri-mon 22:00-02:00"]', 'blackouts = ["02-29"]')
    )
    content = json.loads(settings.model_dump_json(exclude_none=True))
    assert content["accounts"][0]["windows"] == ["fri-mon 22:00-02:00"]
    content["vault"]["auth"]["token"] = CANARY
    assert Settings.model_validate(content).accounts[0].schedule is settings.accounts[0].schedule


@pytest.mark.parametrize("kind", ["windows", "blackouts"])
def test_the_schema_s_patterns_are_what_is_read(kind: str) -> None:
    pattern = Settings.model_json_schema()["$defs"]["AccountSettings"]["properties"][kind]["items"]["pattern"]
    assert "?P<" not in pattern, "not every reader of JSON schemas knows names of groups"
    texts = {
        "windows": ("mon-fri 02:00-05:00", "sat,sun 00:00-24:00", "22:00-02:00"),
        "blackouts": ("2026-12-24", "2026-12-20/2027-01-02", "12-25", "12-24/12-26"),
    }
    for text in texts[kind]:
        assert re.search(pattern, text)
        assert not re.search(pattern, f"{text},")
    for other in texts["windows" if kind == "blackouts" else "blackouts"]:
        assert not re.search(pattern, other)


def test_an_account_that_names_one_field_keeps_the_defaults_names_of_the_others(desk: Desk) -> None:
    settings = desk.load(
        VAULT
        + DEFAULTS
        + 'fields = {api_key = "KEY", api_secret = "SECRET"}\n'
        + account("a", 'fields = {api_secret = "OWN"}')
    )
    names = settings.accounts[0].fields
    assert (names.api_key, names.api_secret, names.secret_id) == ("KEY", "OWN", "secret_id")


def test_a_variable_overrides_the_file(desk: Desk) -> None:
    settings = desk.load(
        GOOD + '[daemon]\nlease = "50s"\nconcurrency = 3\n',
        ROTATOR_VAULT__ADDRESS="https://vault.example:8200",
        ROTATOR_DAEMON__CONCURRENCY="5",
        VAULT_ADDR="https://not.this.one",
    )
    assert settings.vault.address == "https://vault.example:8200"
    assert (settings.daemon.concurrency, settings.daemon.lease) == (5, timedelta(seconds=50)), "the rest is the file's"


def test_a_default_from_a_variable_reaches_the_accounts_that_do_not_say_otherwise(desk: Desk) -> None:
    text = VAULT + DEFAULTS + 'every = "7d"\n' + A + account("b", 'every = "9d"')
    settings = desk.load(text, ROTATOR_DEFAULTS__EVERY="3d")
    assert [one.every for one in settings.accounts] == [timedelta(days=3), timedelta(days=9)]


@pytest.mark.parametrize("prefix", ["VAULT", "BAO"])
def test_load_prefers_vault_variables_to_the_file(desk: Desk, prefix: str) -> None:
    desk.monkeypatch.delenv("VAULT_TOKEN")
    theirs = {f"{prefix}_ADDR": "https://theirs", f"{prefix}_TOKEN": CANARY, f"{prefix}_NAMESPACE": "team"}
    settings = desk.load(A, **theirs)
    assert (settings.vault.address, settings.vault.namespace) == ("https://theirs", "team")
    assert settings.vault.auth.token is not None
    assert settings.vault.auth.token.get_secret_value() == CANARY
    assert desk.load(GOOD).vault.address == "https://theirs", "variables override the file"
    address = desk.load(GOOD, ROTATOR_VAULT__ADDRESS="https://ours").vault.address
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
def test_vault_may_have_several_addresses(desk: Desk, text: str, variables: dict[str, str]) -> None:
    vault = desk.load(text + A, **variables).vault
    assert vault.addresses == ("https://a:8200", "https://b:8200")
    assert vault.address == "https://a:8200,https://b:8200"


def test_rotator_s_own_token_variable_goes_before_the_vault_command_s(desk: Desk) -> None:
    token = desk.load(GOOD, ROTATOR_VAULT__AUTH__TOKEN="hvs.rotators-own").vault.auth.token
    assert token is not None
    assert token.get_secret_value() == "hvs.rotators-own"


def test_an_empty_variable_of_the_vault_command_says_nothing(desk: Desk) -> None:
    assert desk.load(A, VAULT_ADDR="", BAO_ADDR="https://bao").vault.address == "https://bao"


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("ROTATOR_VAULT__AUTH__TOKN", 'unknown key "tokn". Did you mean ROTATOR_VAULT__AUTH__TOKEN?'),
        ("ROTATOR_DEAMON__LISTEN", 'unknown section "deamon". Did you mean ROTATOR_DAEMON__LISTEN?'),
        ("ROTATOR_VAULT_ADDRESS", "is no setting. Did you mean ROTATOR_VAULT__ADDRESS?"),
        ("rotator_vault__adress", 'unknown key "adress". Did you mean ROTATOR_VAULT__ADDRESS?'),
        ("ROTATOR_DAEMON__SWEEP", 'unknown key "sweep". Its name is now ROTATOR_DAEMON__RESYNC_INTERVAL.'),
        ("VAULT_ADDR", "is not an address"),
        ("ROTATOR_VAULT__ADDRESS", "is not an address such as"),
        ("ROTATOR_DEFAULTS__EVERY", "is not a duration"),
        ("ROTATOR_DAEMON__CONCURRENCY", "Input should be a valid integer"),
    ],
)
def test_a_wrong_variable_is_one_line_without_its_value(desk: Desk, variable: str, said: str) -> None:
    assert desk.refusal(GOOD, **{variable: CANARY}).startswith(f"{variable}: {said}")


@pytest.mark.parametrize("variable", ["ROTATOR_VAULT", "ROTATOR_VAULT__AUTH", "ROTATOR_ACCOUNTS", "ROTATOR_LOG"])
def test_a_variable_for_a_whole_section_that_is_not_json_is_refused(desk: Desk, variable: str) -> None:
    assert (
        desk.refusal(GOOD, **{variable: CANARY}) == f"{variable}: a variable for a whole section or list must be JSON."
    )


# --- which file ----------------------------------------------------------------------------------------------


def test_the_option_goes_before_the_variable_and_that_before_the_folder(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="There is no configuration") as caught:
        find_file(None)
    assert "config.example.toml" in str(caught.value)
    desk.file.write_text(GOOD)
    assert find_file(None).resolve() == desk.file
    desk.monkeypatch.setenv("ROTATOR_CONFIG", "/elsewhere.toml")
    assert find_file(None) == Path("/elsewhere.toml")
    assert find_file(Path("option.toml")) == Path("option.toml")


# --- what programs read --------------------------------------------------------------------------------------


def test_the_schema_is_one_and_names_every_section() -> None:
    schema = Settings.model_json_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == set(Settings.model_fields)
    every, _ = schema["$defs"]["AccountSettings"]["properties"]["every"]["anyOf"]
    assert every["type"] == "string"
    assert schema["additionalProperties"] is False


def test_the_schema_s_durations_are_those_that_are_read() -> None:
    pattern = Settings.model_json_schema()["$defs"]["AccountSettings"]["properties"]["grace"]["pattern"]
    for text in ("30d", "1h30m", "50ms", "0"):
        assert re.search(pattern, text)
    for text in ("30", "1 h", "monthly", ""):
        assert not re.search(pattern, text)


def test_schema_defaults_satisfy_the_schema() -> None:
    schema = Settings.model_json_schema()
    checked = 0
    for model in (schema, *schema["$defs"].values()):
        for key, declared in model["properties"].items():
            if "default" in declared:
                checked += 1
                value = Draft202012Validator(declared | {"$defs": schema["$defs"]})
                assert list(value.iter_errors(declared["default"])) == [], (model["title"], key, declared["default"])
    assert checked > 50


def test_schema_describes_every_key() -> None:
    schema = Settings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert model["description"]
        assert [key for key, declared in model["properties"].items() if not declared.get("description")] == []


def test_printed_settings_can_be_read_again_and_hold_no_secret(desk: Desk) -> None:
    settings = desk.load(VAULT + DEFAULTS + 'every = "36h30m"\n' + A + B)
    dumped = settings.model_dump_json(exclude_none=True)
    assert CANARY not in dumped
    assert CANARY not in repr(settings)
    content = json.loads(dumped)
    assert content["accounts"][0]["every"] == "1d12h30m"
    content["vault"]["auth"]["token"] = CANARY
    assert Settings.model_validate(content) == settings


def test_the_tests_own_clusters_write_configurations_that_load(desk: Desk, cluster: Cluster) -> None:
    cluster.configure([{"name": "a", "api_key": "k", "path": "p", "grace": timedelta(hours=1)}])
    assert load(cluster.config).account("a").grace == timedelta(hours=1)


# --- the example ---------------------------------------------------------------------------------------------


def settings_of(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, str]]:
    """Every setting as (section, key), sections within sections included."""
    for key, field in model.model_fields.items():
        kind: Any = field.annotation
        if key == "accounts":
            kind = AccountSettings
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_of(kind, f"{section}.{key}".strip("."))
        else:
            yield section, key


def settings_in(text: str) -> set[tuple[str, str]]:
    """Every setting that a TOML text names, in a commented line or not; those of inline tables too."""
    section, found = "", set()
    for line in text.splitlines():
        words = line.lstrip("# ").rstrip()
        if header := re.match(r"\[+([\w.]+)\]+", words):
            section = header[1]
        elif setting := re.match(r"([\w.]+) *= *(\{.*)?", words):
            path = f"{section}.{setting[1]}".strip(".")
            found.add(tuple(path.rpartition(".")[::2]))
            found |= {(path, key) for key in re.findall(r"([\w]+) *=", setting[2] or "")}
    return {(str(where), str(key)) for where, key in found}


def test_the_example_loads(desk: Desk) -> None:
    desk.monkeypatch.chdir(EXAMPLE.parent)
    settings = load(EXAMPLE)
    assert settings.accounts


def test_the_example_shows_every_setting() -> None:
    shown = settings_in(EXAMPLE.read_text())
    secrets = {("vault.auth", "token"), ("vault.auth", "secret_id")}  # these must not stand in a file
    missing = {
        (section, key)
        for section, key in set(settings_of(Settings)) - secrets - shown
        # What holds for all accounts is explained once, under [defaults] or [balance].
        if not any((section.replace("accounts", general, 1), key) in shown for general in ("defaults", "balance"))
    }
    assert not missing, f"config.example.toml does not show {sorted(missing)}"


def test_the_example_shows_nothing_that_is_not_a_setting() -> None:
    known = set(settings_of(Settings)) | {("accounts", "fields"), ("defaults", "fields"), ("accounts", "top_up")}
    strangers = {setting for setting in settings_in(EXAMPLE.read_text()) if setting[0]} - known
    assert not strangers, f"config.example.toml shows {sorted(strangers)}"


def test_the_walk_over_the_settings_sees_sections_within_sections() -> None:
    walked = set(settings_of(Settings))
    assert {
        ("vault", "address"),
        ("vault.auth", "role"),
        ("accounts", "path"),
        ("defaults.fields", "api_key"),
    } <= walked
    text = '[vault]\n# mount = "x"\n[vault.auth]\n#role="r"\n[defaults]\nfields = { api_key = "K" }\n'
    assert tomllib.loads(text)
    assert settings_in(text) >= {("vault", "mount"), ("vault.auth", "role"), ("defaults.fields", "api_key")}
