"""Commands with which a person decides about secrets: adopt, resolve."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotator.cli.changes import unchanged_on_failure
from rotator.cli.options import (
    ConfigOption,
    JsonOption,
    NameArgument,
    SecretEnvOption,
    SecretFileOption,
    SecretStdinOption,
    begin_change,
    complete_names,
    finish,
    for_all,
    max_wait,
    open_fleet,
    read_secret,
    require_one_source,
)
from rotator.cli.prompts import confirm, read_hidden
from rotator.cli.verbosity import AccountCommand
from rotator.errors import Command, ConfigError, RotatorError, list_of

if TYPE_CHECKING:
    from pydantic import SecretStr

    from rotator.config import AccountSettings
    from rotator.fleet import Fleet
    from rotator.rotation import Outcome

adopt_app = typer.Typer(rich_markup_mode=None)


@adopt_app.command(
    cls=AccountCommand,
    short_help="Adopt accounts with their present secrets",
    epilog="Examples: `rotator adopt payments` asks for the value; "
    "`rotator adopt payments --secret-file /run/secrets/payments`; `rotator adopt --all --secret-dir values`.",
)
def adopt(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", autocompletion=complete_names, help="Name of an account.", show_default=False),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Adopt every enabled account with a file in --secret-dir.")
    ] = False,
    secret_dir: Annotated[
        Path | None,
        typer.Option(
            "--secret-dir",
            metavar="DIR",
            help="Directory with one file for each account, named like the account, mode 0600.",
            show_default=False,
        ),
    ] = None,
    secret_stdin: SecretStdinOption = False,
    secret_file: SecretFileOption = None,
    secret_env: SecretEnvOption = None,
    secret_id: Annotated[
        str | None,
        typer.Option("--secret-id", help="Id of the value, if the provider lists several secrets.", show_default=False),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace a published secret that authenticates, or publish a compromised one."),
    ] = False,
    replace_foreign: Annotated[
        str | None,
        typer.Option(
            "--replace-foreign",
            metavar="API_KEY",
            help="Replace the document or journal of the account with this API key.",
            show_default=False,
        ),
    ] = None,
    retire: Annotated[
        list[str] | None,
        typer.Option(
            "--retire", metavar="ID", help="Id of another secret, to revoke after the grace period.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Adopt accounts with the secrets that they have today, or after a published secret stopped working.

    rotator tries each value at the provider, then publishes it. A value never appears among the process's arguments. An
    account whose secret is in Vault already needs no adoption: the next run adopts it. If only the published secret's
    id is not known, give --secret-id and no value.
    """
    require_one_source("--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    _require_names(name, everything=everything, secret_dir=secret_dir)
    if everything and (secret_stdin or secret_file or secret_env or secret_id or replace_foreign or retire):
        raise ConfigError("--all takes the values from --secret-dir, and no option for one account")
    from functools import partial

    from rotator.fleet import Request, Wanted
    from rotator.rotation import Operator

    done: dict[str, str] = {}
    source = _source(secret_dir, stdin=secret_stdin, file=secret_file, variable=secret_env)

    def bring(account: "AccountSettings") -> "Outcome":
        """Adopt one account, and remember what was done."""
        rotation = fleet.rotation(account, Request(Wanted.NOTHING_NEW, max_wait=max_wait(fleet)))
        before = fleet.vault.read(account.path).version
        outcome = Operator(rotation).adopt(
            values[account.name],
            secret_id,
            replace_working=replace,
            replace_foreign=replace_foreign,
            retire=frozenset(retire or ()),
            source=source,
        )
        outcome = _without_room(outcome)
        done[account.name] = _result_of(outcome, before)
        return outcome

    values: dict[str, SecretStr | None]
    secret: SecretStr | None
    with open_fleet(ctx, config) as fleet:
        if secret_dir is not None:
            values = _values(fleet, secret_dir, None if everything else name)
        else:
            fleet.select([name or ""])
            prompt = f"API secret of {name}"
            if secret_id is None or secret_stdin or secret_file is not None or secret_env is not None:
                secret = read_secret(prompt, "--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
            else:
                secret = _value_or_published(prompt)
            values = {name or "": secret}
        accounts = fleet.select(list(values))
        fleet.permissions.preflight(accounts)

        def guarded(account: "AccountSettings") -> "Outcome":
            return fleet.unless_stopped(account.name, partial(bring, account))

        begin_change(ctx, Command.of("status", *([name] if name else [])))
        # The error of an only account is the error of the command.
        outcomes = for_all(ctx, fleet, accounts, guarded if len(accounts) > 1 else bring, "adopting")
        finish(ctx, fleet, outcomes, as_json=as_json, adopted=done)


def _result_of(outcome: "Outcome", before: int) -> str:
    """Return what an adoption did.

    Args:
        outcome: How the run after it ended.
        before: The version of the published document before.
    """
    from rotator.rotation import Result

    version = outcome.journal.published_version if outcome.journal else 0
    if outcome.result is not Result.OK:
        return f"version {version} published, {(outcome.reason or '').replace('_', ' ')}" if version > before else ""
    if not version:
        return ""
    if version > before:
        return f"adopted, version {version} published"
    return f"adopted, version {version} contained this secret already: it needed no adoption"


def _without_room(outcome: "Outcome") -> "Outcome":
    """Return how an adoption ended: it is complete, also if an earlier request finds no room for a new secret."""
    from dataclasses import replace

    from rotator.core.protocol import Reason
    from rotator.rotation import Result

    journal = outcome.journal
    if outcome.result is not Result.DEFERRED or outcome.reason != Reason.FULL or journal is None:
        return outcome
    if journal.request is not None or journal.candidate is not None:
        return outcome
    return replace(outcome, result=Result.OK, error=f"the earlier request to rotate is withdrawn: {outcome.error}")


def _require_names(name: str | None, *, everything: bool, secret_dir: Path | None) -> None:
    if name is not None and everything:
        raise ConfigError("--all and a name exclude each other: give one of the two")
    if name is None and not everything:
        raise ConfigError("Say which accounts: a name, or --all with --secret-dir")
    if everything and secret_dir is None:
        raise ConfigError("--all needs --secret-dir: a directory with one file for each account")


def _source(folder: Path | None, *, stdin: bool, file: Path | None, variable: str | None) -> tuple[str, ...]:
    """Return the options that bring the value; none if a person types it."""
    named = {"--secret-dir": folder, "--secret-file": file, "--secret-env": variable}
    options = [arg for option, value in named.items() if value is not None for arg in (option, str(value))]
    return (*options, "--secret-stdin") if stdin else tuple(options)


def _value_or_published(prompt: str) -> "SecretStr | None":
    """Return a value that the user types; None, without a terminal too: the published one."""
    from pydantic import SecretStr

    from rotator.logs import register_secret

    typed = read_hidden(f"{prompt} (empty: the published one)") if sys.stdin.isatty() else ""
    return register_secret(SecretStr(typed)) if typed.strip() else None


def _values(fleet: "Fleet", folder: Path, name: str | None) -> "dict[str, SecretStr | None]":
    """Read the values of accounts from a directory, by name. Only the user of the process may read a file of it."""
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror}") from None
    known = {account.name for account in fleet.settings.accounts}
    for file in files:
        if file.name not in known:
            raise ConfigError(f"{file} is named like no account", next_step="Rename it, or remove it")
    chosen = [file for file in files if name in (None, file.name)]
    if not chosen:
        raise ConfigError(f"{folder} contains no file for {name or 'any account'}")
    values: dict[str, SecretStr | None] = {}
    for file in chosen:
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"Other users may read {file}", next_step=f"Run: chmod 600 {file}")
        values[file.name] = read_secret("", "--secret", stdin=False, file=file, variable=None)
    return values


@adopt_app.command(
    cls=AccountCommand,
    short_help="Revoke secrets that rotator did not create",
    epilog="Examples: `rotator resolve payments` asks for each; "
    "`rotator resolve payments --revoke 5f2c1d9e-0000-4000-8000-000000000000`.",
)
def resolve(
    ctx: typer.Context,
    name: NameArgument,
    revoke: Annotated[
        list[str] | None,
        typer.Option("--revoke", metavar="ID", help="Id of an unknown secret to revoke.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Decide about unknown secrets of an account. rotator revokes only the secrets that you name."""
    from rotator.core.protocol.wording import listed
    from rotator.fleet import Request, Wanted
    from rotator.rotation import NONE_REVOKED, Operator, StoppedError

    with open_fleet(ctx, config) as fleet, unchanged_on_failure(NONE_REVOKED):
        accounts = fleet.select([name])
        fleet.permissions.preflight(accounts)
        begin_change(ctx, list_of(name))
        operator = Operator(fleet.rotation(accounts[0], Request(Wanted.NOTHING_NEW)))
        unknown = operator.unknown()
        if fleet.stop.is_set():
            raise StoppedError(
                f"The process stopped before it asked about the unknown secrets of {name}",
                unchanged=NONE_REVOKED,
                next_step="Start again",
                next_command=Command.of("resolve", name),
            )
        others = sorted(set(revoke or []) - unknown.keys())
        if others:
            raise ConfigError(
                f"{others[0]} is not among the unknown secrets of {name}: {listed(unknown) or 'none'}",
                unchanged=NONE_REVOKED,
                next_step="To see the secrets and their state",
                next_command=list_of(name),
            )
        chosen = frozenset(revoke) if revoke else _ask_which(name, unknown)
        if unknown and not chosen:
            raise RotatorError(f"You chose no secret of {name}", unchanged=NONE_REVOKED, next_command=None)
        outcome = operator.resolve(chosen) if chosen else fleet.rotation(accounts[0], Request(Wanted.NOTHING_NEW)).run()
        finish(ctx, fleet, [outcome], as_json=as_json)


def _ask_which(name: str, unknown: dict[str, Any]) -> frozenset[str]:
    if not unknown:
        return frozenset()
    from rotator.rotation import NONE_REVOKED

    if not sys.stdin.isatty():
        from rotator.core.protocol.wording import MAX_NAMED

        options = [arg for id_ in list(unknown)[:MAX_NAMED] for arg in ("--revoke", id_)]
        raise ConfigError(
            "There is no terminal to ask on",
            unchanged=NONE_REVOKED,
            next_step="Name the secrets that you do not need",
            next_command=Command.of("resolve", name, *options),
        )
    chosen = [
        id_
        for id_, created in unknown.items()
        if confirm(f"{name}: revoke {id_}, created {created:%Y-%m-%d %H:%M} UTC?", unchanged=NONE_REVOKED)
    ]
    return frozenset(chosen)
