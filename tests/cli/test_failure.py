"""A command that fails as a whole: a sentence on standard error, and with --json one object on standard output."""

import json

import pytest

from testkit.cluster import Finished
from tests.cli.harness import Here, Payments, commands

ARGUMENTS = {
    "rotate-now": ["--all"],
    "adopt": ["payments", "--secret-env", "VALUE"],
    "resolve": ["payments"],
    "audit verify": [],
    "account top-up": ["payments", "--trx-env", "VALUE", "--yes"],
    "account settings": ["payments"],
    "account secrets show": ["payments", "ID"],
    "account secrets create": ["payments", "--secret-env", "VALUE", "--yes"],
    "account secrets revoke": ["payments", "ID", "--yes"],
}
# The demo reads no configuration, and starts a Vault of its own.
WITH_JSON = [path for path, command in commands() if any("--json" in one.opts for one in command.params)]
ON_ACCOUNTS = sorted(set(WITH_JSON) - {"demo", "audit verify"})


def test_walk_finds_the_commands_with_json() -> None:
    assert {"rotate-now", "status", "check", "forecast", "account secrets revoke", "demo"} <= set(WITH_JSON)
    assert set(ARGUMENTS) <= set(WITH_JSON)


def printed(finished: Finished) -> dict[str, object]:
    """The one object on standard output."""
    found = json.loads(finished.out)
    assert isinstance(found, dict), finished
    return found


@pytest.mark.parametrize("command", sorted(set(WITH_JSON) - {"demo"}))
def test_wrong_configuration_is_printed_as_json(payments: Payments, here: Here, command: str) -> None:
    arguments = [*command.split(), *ARGUMENTS.get(command, []), "--json"]
    finished = here(*arguments, VALUE="Reference0Value", ROTATOR_CONFIG="/no/such/file")
    assert finished.code == 2, finished
    error = (
        "/no/such/file cannot be read: No such file or directory. "
        "Name the configuration file: --config FILE, or ROTATOR_CONFIG."
    )
    assert printed(finished) == {"error": error, "reason": "configuration", "next_command": None}
    assert finished.err == f"rotator: {error}\n"


@pytest.mark.parametrize("command", ON_ACCOUNTS)
def test_refused_token_is_printed_as_json(payments: Payments, here: Here, command: str) -> None:
    """Commands that look at each account say it of each account, others of themselves."""
    arguments = [*command.split(), *ARGUMENTS.get(command, []), "--json"]
    finished = here(*arguments, VALUE="Reference0Value", ROTATOR_VAULT__AUTH__TOKEN="wrong")
    assert finished.code == 1, finished
    found = printed(finished)
    if "error" not in found:
        assert {"accounts", "checks"} & found.keys(), finished
        return
    assert (found["reason"], found["next_command"]) == ("vault_unauthorized", ["check"]), finished
    lines = [line for line in finished.err.splitlines() if not line.startswith("{")]
    assert lines == [f"rotator: {found['error']}"]


def test_failure_is_printed_in_sentences_only_without_json(payments: Payments, here: Here) -> None:
    finished = here("status", ROTATOR_CONFIG="/no/such/file")
    assert (finished.code, finished.out) == (2, "")


def test_usage_error_is_printed_as_json(payments: Payments) -> None:
    finished = payments.cluster.run("rotate-now", "--bogus", "--json")
    assert finished.code == 2, finished
    found = printed(finished)
    assert (found["reason"], found["next_command"]) == ("configuration", None)
    assert "--bogus" in finished.err


def test_failed_check_is_one_json_object(payments: Payments) -> None:
    """Its exit code is that of a usage error, and its output is its own."""
    cluster = payments.cluster
    cluster.settings["ROTATOR_BALANCE__TOP_UP__PER_DAY"] = "1"
    cluster.settings["ROTATOR_BALANCE__TOP_UP__TRX_ENV"] = "SHOP_TRX_THAT_IS_NOT_SET"
    finished = cluster.run("check", "--json")
    assert finished.code == 2, finished
    assert printed(finished)["failed"] == 1
