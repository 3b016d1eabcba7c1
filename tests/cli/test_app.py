"""The command line itself: mistakes, help, version."""

import importlib.metadata
import re
import resource
import sys

import pytest
import typer.main

from rotator.cli.app import app
from tests.cli.harness import Here, Payments, commands, everything, said


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("rotate-now nobody", 'No account is named "nobody"; configured are payments.'),
        ("rotate-now", "Say which accounts: names, --all, or --due for what is due."),
        ("rotate-now payments --all", "--all and names exclude each other: give one of the two."),
        ("rotate-now --all --due", "--all and --due exclude each other: give one of the two."),
        ("rotate-now --due --compromised", "--due and --compromised exclude each other"),
        ("rotate-now payments --cancel --force", "--cancel excludes --due, --force, --compromised and --dry-run"),
        ("rotate-now payments --wait soon", "--wait is not a duration"),
        ("plan nobody", 'No account is named "nobody"'),
        ("status nobody", 'No account is named "nobody"'),
        ("check nobody", 'No account is named "nobody"'),
        ("resolve nobody", 'No account is named "nobody"'),
        ("adopt nobody --secret-env X", 'No account is named "nobody"'),
        ("adopt payments", "There is no terminal to ask on: use --secret-stdin, --secret-file or --secret-env."),
        ("adopt payments --secret-env NOT_SET_AT_ALL", "--secret-env: there is no environment variable of that name."),
        ("adopt payments --secret-file /no/such/file", "/no/such/file cannot be read: No such file or directory."),
        ("adopt", "Say which accounts: a name, or --all with --secret-dir."),
        ("adopt payments --all", "--all and a name exclude each other: give one of the two."),
        ("adopt --all", "--all needs --secret-dir: a directory with one file for each account."),
        ("adopt --all --secret-dir /no/such/folder", "/no/such/folder cannot be read: No such file or directory."),
        ("adopt payments --secret-file /dev/zero", "/dev/zero is not a regular file."),
        ("adopt payments --secret-env A --secret-stdin", "Name one source of the secret"),
        ("--config /no/such/file status", "/no/such/file cannot be read: No such file or directory."),
        ("emulator --account nonsense", "--account is not KEY:SECRET"),
        ("emulator --account abcd1234:Secret12345 --latency soon", "--latency is not a duration"),
        (
            "emulator --account abcd1234:Secret12345 --tls-key /a.pem",
            "The key /a.pem needs its certificate",
        ),
        ("emulator --account abcd1234:Secret12345 --tls-cert /no.pem", "/no.pem cannot be read: No such file or dir"),
        ("emulator --account abcd1234:Secret12345 --tls-cert /dev/null", "/dev/null is no certificate with its key"),
    ],
)
def test_wrong_command_line_is_one_line(
    payments: Payments, here: Here, monkeypatch: pytest.MonkeyPatch, args: str, line: str
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    before = everything(payments.cluster)
    finished = here(*args.split())
    assert finished.code == 2, finished
    assert said(finished).startswith(line)
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests, "the provider was asked before the command line was understood"


def test_status_help_names_one_default(here: Here) -> None:
    shown = " ".join(here("status", "--help").out.split())
    assert "every account, disabled ones included" in shown
    assert "enabled account" not in shown


NO_STATUS = "emulator --account abcd1234:Secret12345 --too-many-status 500"


@pytest.mark.parametrize("args", ["rotate-now --no-such-option", "resolve", "no-such-command", "emulator", NO_STATUS])
def test_incomplete_command_line_prints_usage(payments: Payments, here: Here, args: str) -> None:
    finished = here(*args.split())
    assert finished.code == 2, finished
    assert "Usage: rotator" in finished.err
    assert "Error: " in finished.err


@pytest.mark.parametrize("args", ["rotate-now payments", "adopt payments --secret-env X", "resolve payments"])
def test_command_refuses_a_disabled_account(payments: Payments, here: Here, args: str) -> None:
    payments.cluster.configure([payments.entry(enabled=False)])
    before = everything(payments.cluster)
    finished = here(*args.split(), X=payments.first.get_secret_value())
    assert finished.code == 2, finished
    assert said(finished) == 'Account "payments" is not enabled. Set enabled = true for it, if you mean it.'
    assert everything(payments.cluster) == before


@pytest.mark.parametrize(
    "args", ["adopt payments VALUE", "account secrets create payments VALUE", "audit fingerprint abcd1234 VALUE"]
)
def test_surplus_argument_is_not_repeated(payments: Payments, here: Here, args: str) -> None:
    """A person might take it for the place of a secret."""
    before = everything(payments.cluster)
    finished = here(*args.replace("VALUE", "MySecret123").split())
    assert finished.code == 2, finished
    assert "1 argument is too many. If one of them is a secret, replace that secret" in " ".join(finished.err.split())
    assert "MySecret123" not in finished.err + finished.out
    assert everything(payments.cluster) == before


def test_options_take_no_secret_value() -> None:
    """`--secret` on a command line would stand in the process list. The emulator's are toys."""
    takes = {
        (path, option)
        for path, command in commands()
        for parameter in command.params
        for option in parameter.opts
        if ("secret" in option or "trx" in option) and not getattr(parameter, "is_flag", False)
    }
    assert takes == {
        ("adopt", "--secret-dir"),
        ("adopt", "--secret-file"),
        ("adopt", "--secret-env"),
        ("adopt", "--secret-id"),
        ("account secrets create", "--secret-file"),
        ("account secrets create", "--secret-env"),
        ("account secrets show", "secret_id"),
        ("account secrets revoke", "secret_id"),
        ("account top-up", "--trx-file"),
        ("account top-up", "--trx-env"),
        ("audit fingerprint", "--secret-file"),
        ("audit fingerprint", "--secret-env"),
        ("emulator", "--max-secrets"),
    }


def test_version_is_that_of_the_package(here: Here) -> None:
    finished = here("--version")
    assert (finished.code, finished.out) == (0, f"rotator {importlib.metadata.version('rotator')}\n")


def test_config_option_works_before_and_after_commands(payments: Payments, here: Here) -> None:
    path = str(payments.cluster.config)
    for args in (["--config", path, "config", "show"], ["config", "show", "-c", path]):
        assert here(*args, ROTATOR_CONFIG="/no/such/file").code == 0


def test_walk_finds_every_command() -> None:
    assert {"rotate-now", "adopt", "config show", "demo"} <= {path for path, _ in commands()}


@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_help_of_every_command_has_an_example(here: Here, path: str) -> None:
    finished = here(*path.split(), "--help")
    assert finished.code == 0, finished
    text = " ".join(finished.out.split())
    assert re.search(rf"Examples?: `rotator {path}", text), text


def test_short_help_is_an_imperative_without_a_period() -> None:
    """A command is one line of `rotator --help`: at most 70 characters."""
    groups = [("", typer.main.get_command(app))]
    for path, group in groups:
        for name, command in getattr(group, "commands", {}).items():
            text = command.get_short_help_str(1000)
            assert re.fullmatch(r"[A-Z][a-z]+,? .*[^.]", text), (path, name, text)
            assert len(text) <= 70, text
            groups.append((f"{path} {name}", command))
    assert len(groups) > 20


def test_option_help_is_a_sentence() -> None:
    for path, command in commands():
        for option in command.params:
            if not option.hidden and option.name != "help":
                assert re.fullmatch(r"[A-Z].*[.]", option.help), (path, option.name, option.help)


def test_help_is_fast(payments: Payments) -> None:
    """By the processor's time, which is the same however many other tests run beside this one."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert payments.cluster.start("--help").finish().code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    times = [once() for _ in range(5)]
    assert min(times) > 0.01, "nothing was measured"
    assert min(times) < 0.3, f"rotator --help took {min(times):.2f} s"


_OF_SERVERS = {
    "apscheduler",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "rotator.daemon",
    "rotator.emulator",
    "rotator.web",
}
# Loaded by optional parts of libraries: colors of tracebacks, detectors of encodings, plugins.
_OPTIONAL = {
    "pygments.lexers._mapping",
    "rich.segment",
    "chardet.detector",
    "charset_normalizer.api",
    "greenlet._greenlet",
}
# Of commands that foretell, verify an audit log, read balances or reload the configuration.
_OF_OTHERS = {
    "rotator.audit.verify",
    "rotator.config.diff",
    "rotator.core.balance",
    "rotator.core.scheduling.forecast",
    "rotator.documents.top_ups",
    "rotator.fleet.sharding",
}
_OF_ACCOUNTS = {"httpcore", "hvac", "pydantic", "structlog", "rotator.config", "rotator.fleet", "rotator.vault"}


@pytest.mark.parametrize(
    ("command", "needed", "unused"),
    [
        ("--help", "typer", _OF_SERVERS | _OPTIONAL | _OF_ACCOUNTS),
        ("status", "hvac", _OF_SERVERS | _OPTIONAL | _OF_OTHERS | {"stamina"}),
        ("rotate-now --all", "hvac", _OF_SERVERS | _OPTIONAL | _OF_OTHERS | {"stamina"}),
    ],
)
def test_command_imports_no_unused_module(payments: Payments, command: str, needed: str, unused: set[str]) -> None:
    """Python names on standard error each module that it imports."""
    finished = payments.cluster.run(*command.split(), env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {
        line.rpartition("|")[2].strip() for line in finished.err.splitlines() if line.startswith("import time:")
    }
    assert finished.code == 0, finished
    assert needed in imported
    assert not imported & unused


def test_command_imports_clients_outside_other_imports(payments: Payments) -> None:
    """Python indents a module that another one imports."""
    finished = payments.cluster.run("status", env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = [line.rpartition("|")[2] for line in finished.err.splitlines() if line.startswith("import time:")]
    assert finished.code == 0, finished
    assert {" hvac", " httpx"} <= set(imported)
