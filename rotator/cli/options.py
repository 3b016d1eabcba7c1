"""Shared parts of all commands: options, the fleet, reading a secret."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rotator.cli import exit_codes
from rotator.cli.prompts import read_hidden
from rotator.cli.verbosity import invocation
from rotator.errors import Command, ConfigError, RotatorError

if TYPE_CHECKING:
    from datetime import timedelta

    from pydantic import SecretStr

    from rotator.config import AccountSettings, Settings
    from rotator.fleet import Fleet, Shard
    from rotator.rotation import Outcome

T = TypeVar("T")


def _note_json(ctx: typer.Context, value: bool) -> bool:
    invocation(ctx).as_json = value
    return value


def complete_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of configured accounts that begin so, for the shell's completion."""
    from rotator.config import find_file, load

    try:
        settings = load(find_file(ctx.params.get("config")))
    except RotatorError:
        return []
    return [account.name for account in settings.accounts if account.name.startswith(incomplete)]


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Configuration file. Default: ROTATOR_CONFIG, ./config.toml.", show_default=False
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", callback=_note_json, help="Print one JSON object on standard output, also for a failure."),
]
SecretStdinOption = Annotated[bool, typer.Option("--secret-stdin", help="Read the value from standard input.")]
SecretFileOption = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="FILE", help="Read the value from this file.", show_default=False),
]
SecretEnvOption = Annotated[
    str | None,
    typer.Option(
        "--secret-env", metavar="VARIABLE", help="Read the value from this environment variable.", show_default=False
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_names, help="Name of an account.")]


def _names(default: str) -> Any:
    return typer.Argument(
        metavar="NAME",
        autocompletion=complete_names,
        help=f"Names of accounts. Default: {default}.",
        show_default=False,
    )


NamesArgument = Annotated[list[str] | None, _names("every enabled account")]
# For commands that show disabled accounts, too.
AnyNamesArgument = Annotated[list[str] | None, _names("every account, disabled ones included")]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Shard: I from 0 to N-1, or auto/N for the number of the pod. Default: daemon.shard.",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def settings_of(ctx: typer.Context, config: Path | None) -> "Settings":
    """The configuration that a command was given.

    Raises:
        ConfigError: If there is none, or it is wrong.
    """
    from rotator.config import find_file, load

    return load(find_file(config or invocation(ctx).config))


@contextmanager
def open_fleet(ctx: typer.Context, config: Path | None) -> Iterator["Fleet"]:
    """The fleet as configured. Ctrl-C and SIGTERM end the command at once, until it calls `begin_change`."""
    settings = settings_of(ctx, config)
    from rotator.config import warn_of_open_files
    from rotator.fleet import Fleet
    from rotator.provider import AccountApi
    from rotator.rotation import StoppedError
    from rotator.vault import Vault

    call = invocation(ctx)
    call.configure_logs(settings)
    warn_of_open_files(settings)
    signals = call.signals
    signals.install(as_json=call.as_json)
    with AccountApi(settings.account_api, connections=settings.daemon.concurrency) as api:
        fleet = Fleet(settings, api, Vault(settings.vault, pool_size=settings.daemon.concurrency), signals.stop)
        try:
            yield fleet
        except StoppedError as error:
            if signals.received is not None:
                error.exit_code = exit_codes.of_signal(signals.received)
            raise
        finally:
            fleet.announce()


def begin_change(ctx: typer.Context, look: Command) -> None:
    """Let the command end only between two steps from now on. A second signal still ends it at once.

    Args:
        look: The command that shows what a step did whose outcome is not known.
    """
    invocation(ctx).signals.begin_change(look)


def require_one_source(option: str, *, stdin: bool, file: Path | None, variable: str | None) -> None:
    """Refuse two sources of one value.

    Args:
        option: Common prefix of the options that name a source: "--secret".

    Raises:
        ConfigError: If the options name more than one source.
    """
    if sum((stdin, file is not None, variable is not None)) > 1:
        raise ConfigError(f"Name one source of the secret: {option}-stdin, {option}-file or {option}-env")


def read_secret(prompt: str, option: str, *, stdin: bool, file: Path | None, variable: str | None) -> "SecretStr":
    """Return a secret that the user provides. Without a source, prompt on the terminal.

    Args:
        prompt: The text of the prompt.
        option: Common prefix of the options that name a source: "--secret".

    Raises:
        ConfigError: If there is no value.
    """
    import os

    from pydantic import SecretStr

    from rotator.config import MAX_SECRET_BYTES, one_line, read_secret_file, warn_of_permissions
    from rotator.logs import register_secret

    if file is not None:
        secret = read_secret_file(file)
        warn_of_permissions(file, readable=True)
    elif variable is not None:
        if variable not in os.environ:
            raise ConfigError(f"{option}-env: there is no environment variable of that name")
        secret = one_line(os.environ[variable], variable)
    elif stdin:
        secret = one_line(sys.stdin.readline(MAX_SECRET_BYTES + 2), "Standard input")
    elif sys.stdin.isatty():
        secret = read_hidden(prompt)
    else:
        raise ConfigError(f"There is no terminal to ask on: use {option}-stdin, {option}-file or {option}-env")
    if not secret.strip():
        raise ConfigError("The value is empty")
    return register_secret(SecretStr(secret))


def shard_of(settings: "Settings", option: str | None) -> "Shard | None":
    text = option or settings.daemon.shard
    if not text:
        return None
    from rotator.fleet import parse_shard

    return parse_shard(text)


def parsed(option: str, parse: Callable[[str], T], texts: list[str]) -> list[T]:
    try:
        return [parse(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None


def each(
    ctx: typer.Context,
    fleet: "Fleet",
    names: list[str] | None,
    look: Callable[["AccountSettings"], dict[str, Any]],
    *,
    unknown: dict[str, Any],
) -> list[dict[str, Any]]:
    """Look at the accounts named, or at all; a row each, with `unknown` and an error where that was not possible."""
    from rotator.rotation import Outcome

    def row(account: "AccountSettings") -> dict[str, Any]:
        found = fleet.guarded(account.name, partial(look, account))
        if isinstance(found, Outcome):
            return {"account": account.name, **unknown, "error": found.error}
        return {"account": account.name, **found, "error": None}

    return for_all(ctx, fleet, fleet.select(names), row)


def for_all(
    ctx: typer.Context,
    fleet: "Fleet",
    accounts: Sequence["AccountSettings"],
    do: Callable[["AccountSettings"], T],
    action: str = "reading",
) -> list[T]:
    """Do something for each account, some at a time; the results in the order of the accounts."""
    from concurrent.futures import ThreadPoolExecutor

    from rotator.cli.progress import showing_progress

    with (
        showing_progress(ctx, len(accounts), action) as progress,
        ThreadPoolExecutor(fleet.settings.daemon.concurrency, thread_name_prefix="account") as pool,
    ):
        return list(progress.counted(pool.map(do, accounts)))


def max_wait(fleet: "Fleet", wait: str | None = None) -> "timedelta":
    """How long a command waits at most for one account."""
    from datetime import timedelta

    from rotator.config import parse_duration

    if wait is None:
        # A lease that a killed run left behind, after the lists that make an id certain.
        return fleet.settings.daemon.lease + 4 * fleet.settings.account_api.consistency_window + timedelta(seconds=1)
    return parsed("--wait", parse_duration, [wait])[0]


def finish(
    ctx: typer.Context,
    fleet: "Fleet",
    outcomes: list["Outcome"],
    *,
    as_json: bool,
    asks: bool = False,
    adopted: Mapping[str, str] | None = None,
) -> None:
    """Print how runs ended, and end the command with the exit code that says so."""
    from rotator.cli.output import outcomes_json, print_outcomes
    from rotator.cli.terminal import print_json

    if as_json:
        print_json(outcomes_json(outcomes, fleet.settings, fleet.now()))
    else:
        print_outcomes(
            outcomes,
            fleet.settings,
            fleet.now(),
            asks=asks,
            adopted=adopted or {},
            quiet=invocation(ctx).quiet,
        )
    code = exit_codes.of_outcomes(outcomes)
    received = invocation(ctx).signals.received
    is_unknown = any(outcome.journal_is_unknown for outcome in outcomes)
    if code == exit_codes.DEFERRED and received is not None and not (fleet.has_written or is_unknown):
        code = exit_codes.of_signal(received)  # it ended the command before that changed anything
    if code:
        raise typer.Exit(code)
