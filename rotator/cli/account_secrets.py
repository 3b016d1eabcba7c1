"""`rotator account secrets`: the secrets that an account has at the provider."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotator.cli import exit_codes
from rotator.cli.changes import explained, unchanged_on_failure
from rotator.cli.options import (
    ConfigOption,
    JsonOption,
    NameArgument,
    NamesArgument,
    SecretEnvOption,
    SecretFileOption,
    SecretStdinOption,
    YesOption,
    begin_change,
    each,
    open_fleet,
    read_secret,
    require_one_source,
)
from rotator.cli.prompts import ask, require_asking
from rotator.cli.verbosity import AccountCommand
from rotator.errors import Advice, Command, ConfigError, RotatorError, list_of, visible

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr

    from rotator.config import AccountSettings
    from rotator.fleet import Fleet, LiveSecret
    from rotator.provider import SecretInfo

secrets_app = typer.Typer(
    help="List, create and revoke the secrets of an account", no_args_is_help=True, rich_markup_mode=None
)
_SECRET_COLUMNS = ("account", "id", "created (UTC)", "is", "revoked")
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of a secret at the provider.")]


@secrets_app.command(
    "list",
    cls=AccountCommand,
    short_help="List the secrets of accounts and their state",
    epilog="Examples: `rotator account secrets list`, `rotator account secrets list payments`.",
)
def list_(
    ctx: typer.Context, names: NamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List the secrets that accounts have at the provider, and their state.

    published: consumers read it. retiring: a previous secret that rotator revokes later. new: probably the secret of an
    unfinished rotation. added: you added it with `rotator account secrets create`. unknown: rotator did not create it.
    revoked: lists can still show it. in doubt: it can be the published secret.
    """
    from rotator.cli.terminal import print_failures, print_rows
    from rotator.fleet import look

    with open_fleet(ctx, config) as fleet:

        def listed(account: "AccountSettings") -> dict[str, Any]:
            return {"secrets": [_secret_json(secret) for secret in look(fleet, account).secrets]}

        rows = each(ctx, fleet, names, listed, unknown={"secrets": []})
        now = fleet.now()
    cells = [(row["account"], *_secret_cells(secret, now)) for row in rows for secret in row["secrets"]]
    print_rows({"accounts": rows}, _SECRET_COLUMNS, cells, as_json=as_json)
    print_failures(rows, as_json=as_json)


@secrets_app.command(
    cls=AccountCommand,
    short_help="Show the state of one secret, never its value",
    epilog="Example: `rotator account secrets show payments 5f2c1d9e-0000-4000-8000-000000000000`.",
)
def show(
    ctx: typer.Context,
    name: NameArgument,
    secret_id: IdArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show when a secret was created, and its state. The provider does not return values."""
    from rotator.cli.terminal import print_rows
    from rotator.fleet import asking, look
    from rotator.provider import NotFound

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name])
        view = look(fleet, account)
        try:
            with asking(account, list_of(name)):
                info = fleet.provider.get_secret(view.credentials, account.api_key, secret_id)
        except NotFound as error:
            raise RotatorError(
                f"The provider knows no secret {secret_id} of {name}{error.reference}",
                next_step="Look at what it lists",
                next_command=list_of(name),
            ) from None
        now = fleet.now()
    row = {"account": name} | _secret_json(view.secret(info.id, info.created_at))
    cells = [(name, *_secret_cells(row, now))]
    print_rows(row, _SECRET_COLUMNS, cells, as_json=as_json)


@secrets_app.command(
    cls=AccountCommand,
    short_help="Add a secret beside the published one",
    epilog="Examples: `rotator account secrets create payments --out new-secret`, or with a value of your own "
    "`rotator account secrets create payments --secret-stdin --yes`.",
)
def create(
    ctx: typer.Context,
    name: NameArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Generate a value and write it to this new file.", show_default=False
        ),
    ] = None,
    secret_stdin: SecretStdinOption = False,
    secret_file: SecretFileOption = None,
    secret_env: SecretEnvOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add a secret beside the published one.

    To replace a secret, use `rotator rotate-now`. rotator keeps the added secret and never revokes it unasked. While it
    fills the account, rotator cannot rotate.
    """
    require_one_source("--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    brought = secret_stdin or secret_file is not None or secret_env is not None
    if brought and out is not None:
        raise ConfigError("--out is for a value that rotator generates: you have yours already")
    require_asking(yes=yes)
    from rotator.cli.terminal import echo, print_rows
    from rotator.core.generator import generate, is_compliant
    from rotator.fleet import look, manual_secrets
    from rotator.logs import register_secret

    with open_fleet(ctx, config) as fleet, unchanged_on_failure("Nothing was added"):
        (account,) = fleet.select([name])
        manual_secrets.require_room(fleet, look(fleet, account))
        if out is not None:
            value = register_secret(generate(account.recipe))
        else:
            prompt = f"New API secret of {name} (--out FILE generates one)"
            value = read_secret(prompt, "--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
        if not is_compliant(value):
            raise ConfigError("The provider takes 8 to 25 characters: a lower-case and an upper-case letter, a digit")
        fleet.permissions.preflight([account])
        ask(f"{name}: add a secret that is not rotator's? Nothing rotates while it fills the account.", yes=yes)
        begin_change(ctx, list_of(name))
        info = _create(fleet, account, value, out)
    row = {"account": name, "id": info.id, "created_at": info.created_at, "file": out and str(out)}
    print_rows(row, ("account", "id", "value in"), [(name, info.id, str(out or "your hands"))], as_json=as_json)
    echo(
        f"rotator does not revoke it by itself. If it fills {name}, rotations fail until you revoke it: "
        f"rotator account secrets revoke {name} {info.id}",
        stderr=True,
    )


@secrets_app.command(
    cls=AccountCommand,
    short_help="Revoke a retiring or unknown secret",
    epilog="Example: `rotator account secrets revoke payments 5f2c1d9e-0000-4000-8000-000000000000`.",
)
def revoke(
    ctx: typer.Context,
    name: NameArgument,
    secret_id: IdArgument,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Revoke a retiring secret before its grace period ends, or an unknown secret.

    rotator never revokes the published secret or the only secret. It records the request in the journal, then an
    ordinary run revokes the secret.
    """
    require_asking(yes=yes)
    from rotator.cli.terminal import echo, print_rows
    from rotator.fleet import look, manual_secrets
    from rotator.rotation import Result

    with open_fleet(ctx, config) as fleet, unchanged_on_failure("Nothing was revoked"):
        (account,) = fleet.select([name])
        found = manual_secrets.require_revocable(fleet, look(fleet, account), secret_id)
        fleet.permissions.preflight([account])
        created = f"created {found.created_at:%Y-%m-%d %H:%M} UTC, {found.standing.value}"
        ask(f"{name}: revoke {secret_id}, {created}? Consumers that use it stop working.", yes=yes)
        begin_change(ctx, list_of(name))
        outcome = manual_secrets.revoke(fleet, account, secret_id)
    journal = outcome.journal
    settled = outcome.result is Result.OK and journal is not None and secret_id not in journal.retiring_ids
    revoked = secret_id in outcome.revoked or settled
    row = {
        "account": name,
        "id": secret_id,
        "revoked": revoked,
        "until": None if revoked else outcome.until,
        "error": outcome.error,
    }
    happened = "revoked" if revoked else f"not revoked yet ({(outcome.reason or '').replace('_', ' ')})"
    print_rows(row, ("account", "id", "result"), [(name, secret_id, happened)], as_json=as_json)
    if not as_json and outcome.error:
        echo(f"{name}: {visible(outcome.error)}")
    code = exit_codes.of_outcomes([outcome]) or (exit_codes.DONE if revoked else exit_codes.DEFERRED)
    if code:
        raise typer.Exit(code)


def _create(fleet: "Fleet", account: "AccountSettings", value: "SecretStr", out: Path | None) -> "SecretInfo":
    """Add it; a generated value is in its file before the provider knows it, and stays there unless it was refused."""
    from rotator.fleet import manual_secrets
    from rotator.provider import LostAnswer

    if out is not None:
        try:
            with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(value.get_secret_value() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(f"{out} cannot be written: {error.strerror}") from None
    try:
        with explained(
            unknown="Whether the secret was added is not known" + (f"; its value is in {out}" if out else ""),
            look=list_of(account.name),
            unchanged="Nothing was added",
            correct=Advice("Bring another value", Command.of("account", "secrets", "create", account.name)),
        ):
            return manual_secrets.create(fleet, account, value, generated=out is not None)
    except RotatorError as error:
        might_be_added = isinstance(error, LostAnswer) and error.maybe_done
        if out is not None and not might_be_added:
            out.unlink()
        raise


def _secret_json(secret: "LiveSecret") -> dict[str, Any]:
    return {
        "id": secret.id,
        "created_at": secret.created_at,
        "is": secret.standing.value,
        "revoked_from": secret.until,
    }


def _secret_cells(secret: dict[str, Any], now: "datetime") -> tuple[str, ...]:
    from rotator.cli.terminal import in_minutes, relative

    return secret["id"], in_minutes(secret["created_at"]), secret["is"], relative(secret["revoked_from"], now)
