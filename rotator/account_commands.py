"""`rotator account`: the provider's whole Account API by hand; imports command, and account and below at need."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotator.command import (
    ConfigOption,
    JsonOption,
    NameArgument,
    NamesArgument,
    SecretEnvOption,
    SecretFileOption,
    SecretStdinOption,
    open_fleet,
    read_secret,
    require_one_source,
)
from rotator.errors import ConfigError, RotatorError, visible
from rotator.provider.models import HttpForwardMethod

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr

    from rotator.account import LiveSecret
    from rotator.account_api import SecretInfo
    from rotator.config import AccountSettings
    from rotator.fleet import Fleet

account_app = typer.Typer(
    help="Balance, top-up, callbacks and secrets of an account.", no_args_is_help=True, rich_markup_mode=None
)
secrets_app = typer.Typer(help="The secrets that an account has.", no_args_is_help=True, rich_markup_mode=None)
account_app.add_typer(secrets_app, name="secrets")

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_SECRET_COLUMNS = ("account", "id", "created (UTC)", "is", "revoked from")
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The provider's id of a secret.")]


@account_app.command(
    short_help="Show what accounts have left.",
    epilog="Examples: `rotator account balance`, `rotator account balance payments --json`.",
)
def balance(
    ctx: typer.Context, names: NamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show the balance of accounts, in euros, and whether they can be topped up.

    Without names: of every enabled account.
    """
    from rotator.balance import is_low
    from rotator.cashier import Cashier

    with open_fleet(ctx, config) as fleet:
        cashier = Cashier(fleet)

        def read(account: "AccountSettings") -> dict[str, Any]:
            found = cashier.read(account)
            low = is_low(found, account.low_balance)
            return {"euros": float(found.euros), "low": low, "auto_reload": found.auto_reload}

        rows = _each(fleet, names, read, unknown={"euros": None, "low": None, "auto_reload": None})
    cells = [
        (
            row["account"],
            "-" if row["euros"] is None else f"{row['euros']:.2f}",
            _yes_or_no(row["low"]),
            _yes_or_no(row["auto_reload"]),
        )
        for row in rows
    ]
    _show({"accounts": rows}, ("account", "euros", "low", "auto-reload"), cells, as_json=as_json)
    _end(rows, as_json=as_json)


@account_app.command(
    short_help="Repeat the payment that fills an account.",
    epilog="Examples: `rotator account top-up payments` asks for the transaction; "
    "`rotator account top-up payments --trx-env TRX --yes`.",
)
def top_up(
    ctx: typer.Context,
    name: NameArgument,
    trx_stdin: Annotated[bool, typer.Option("--trx-stdin", help="Read the transaction from standard input.")] = False,
    trx_file: Annotated[Path | None, typer.Option("--trx-file", help="Read it from this file.")] = None,
    trx_env: Annotated[str | None, typer.Option("--trx-env", help="Read it from this variable.")] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Repeat the payment for which auto-reload was enabled: this costs money.

    The transaction is that payment's reference. It never appears among the process's arguments. The request is sent
    once.
    """
    require_one_source("--trx", stdin=trx_stdin, file=trx_file, variable=trx_env)
    _require_asking(yes=yes)
    from rotator.account import by_hand, published_credentials
    from rotator.audit import Act

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name], everything=False)
        fleet.audit.check()
        prompt = f"Transaction of the payment for {name}"
        trx = read_secret(prompt, "--trx", stdin=trx_stdin, file=trx_file, variable=trx_env)
        _ask(f"Top up {name} ({account.api_key})? This costs money.", yes=yes)
        credentials = published_credentials(fleet, account)
        with (
            _explained(
                unknown=f"Whether {name} was topped up is not known",
                look=f"Before you try again, look: rotator account balance {name}",
                unchanged=f"{name} was not topped up",
            ),
            by_hand(fleet, account, Act.TOP_UP),
        ):
            fleet.provider.top_up(credentials, trx)
    row = {"account": name, "topped_up": True}
    _show(row, ("account", "what happened"), [(name, "topped up")], as_json=as_json)


@account_app.command(
    short_help="Show or set the callbacks.",
    epilog="Examples: `rotator account settings payments` shows them; "
    "`rotator account settings payments --mo-callback-url https://example.com/in --dr-callback-url ''`; "
    "`rotator account settings payments --http-forward-method POST_JSON`.",
)
def settings(
    ctx: typer.Context,
    name: NameArgument,
    mo_callback_url: Annotated[
        str | None,
        typer.Option("--mo-callback-url", metavar="URL", help="URL for inbound messages; '' unsets it."),
    ] = None,
    dr_callback_url: Annotated[
        str | None,
        typer.Option("--dr-callback-url", metavar="URL", help="URL for delivery receipts; '' unsets it."),
    ] = None,
    http_forward_method: Annotated[
        HttpForwardMethod | None,
        typer.Option("--http-forward-method", help="HTTP request with which the provider calls both URLs."),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show an account's callbacks and limits; with options, set callbacks first.

    A setting without an option stays as it is.
    """
    questions = [
        *(_question(what, url) for what, url in _urls(mo_callback_url, dr_callback_url)),
        *([f"call webhooks with {http_forward_method}"] if http_forward_method else []),
    ]
    if questions:
        _require_asking(yes=yes)
    from dataclasses import asdict

    from rotator.account import published_credentials, refused

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name], everything=False)
        if questions:
            fleet.audit.check()
        for question in questions:
            _ask(f"{name}: {question}?", yes=yes)
        credentials = published_credentials(fleet, account)
        with refused(account), _changing_settings(fleet, account) if questions else nullcontext():
            found = fleet.provider.change_settings(
                credentials,
                mo_callback_url=mo_callback_url,
                dr_callback_url=dr_callback_url,
                http_forward_method=http_forward_method,
            )
    row = {"account": name} | asdict(found) | {"http_forward_method": http_forward_method}
    cells = [
        (key.replace("_", " "), "not reported" if value is None else str(value) or "-") for key, value in row.items()
    ]
    _show(row, ("setting", "value"), cells, as_json=as_json)


@secrets_app.command(
    "list",
    short_help="List the secrets, and whose they are.",
    epilog="Examples: `rotator account secrets list`, `rotator account secrets list payments`.",
)
def list_(
    ctx: typer.Context, names: NamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List the secrets that accounts have at the provider, and what they are to rotator.

    published: consumers read it. retiring: replaced, and revoked later. new: on its way to being published. added: you
    added it with `rotator account secrets create`. unknown: rotator cannot account for it. in doubt: one of these is
    the published one. Without names: of every enabled account.
    """
    from rotator.account import look

    with open_fleet(ctx, config) as fleet:

        def listed(account: "AccountSettings") -> dict[str, Any]:
            return {"secrets": [_secret_json(secret) for secret in look(fleet, account).secrets]}

        rows = _each(fleet, names, listed, unknown={"secrets": []})
    cells = [(row["account"], *_secret_cells(secret)) for row in rows for secret in row["secrets"]]
    _show({"accounts": rows}, _SECRET_COLUMNS, cells, as_json=as_json)
    _end(rows, as_json=as_json)


@secrets_app.command(
    short_help="Show one secret: never its value.",
    epilog="Example: `rotator account secrets show payments 5f2c1d9e-0000-4000-8000-000000000000`.",
)
def show(
    ctx: typer.Context,
    name: NameArgument,
    secret_id: IdArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show one secret: when it was created and what it is to rotator. Nobody can show its value."""
    from rotator.account import look, refused
    from rotator.account_api import NotFound

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name], everything=False)
        view = look(fleet, account)
        try:
            with refused(account):
                info = fleet.provider.get_secret(view.credentials, account.api_key, secret_id)
        except NotFound as error:
            raise RotatorError(
                f"The provider knows no secret {secret_id} of {name}{error.reference}",
                next_step=f"Look at what it lists: rotator account secrets list {name}",
            ) from None
    row = {"account": name} | _secret_json(view.secret(info.id, info.created_at))
    cells = [(name, *_secret_cells(row))]
    _show(row, _SECRET_COLUMNS, cells, as_json=as_json)


@secrets_app.command(
    short_help="Add a secret that is not rotator's.",
    epilog="Examples: `rotator account secrets create payments --out new-secret`, or with a value of your own "
    "`rotator account secrets create payments --secret-stdin --yes`.",
)
def create(
    ctx: typer.Context,
    name: NameArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Make up a value and write it into this new file, which only you can read."),
    ] = None,
    secret_stdin: SecretStdinOption = False,
    secret_file: SecretFileOption = None,
    secret_env: SecretEnvOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add a secret that is not rotator's, beside the published one.

    You need this hardly ever: use `rotator rotate-now` to replace a secret. rotator keeps the secret that you add and
    never revokes it unasked. While it fills the account, rotator cannot rotate.
    """
    require_one_source("--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    brought = secret_stdin or secret_file is not None or secret_env is not None
    if brought and out is not None:
        raise ConfigError("--out is for a value that rotator makes up: you have yours already")
    _require_asking(yes=yes)
    from rotator import account as accounts
    from rotator.generator import generate as make_up
    from rotator.generator import is_compliant
    from rotator.logs import register_secret

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name], everything=False)
        accounts.require_room(fleet, accounts.look(fleet, account))
        if out is not None:
            value = register_secret(make_up(account.recipe))
        else:
            prompt = f"New API secret of {name} (with --out FILE one is made up)"
            value = read_secret(prompt, "--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
        if not is_compliant(value):
            raise ConfigError("The provider takes 8 to 25 characters: a lower-case and an upper-case letter, a digit")
        fleet.preflight([account])
        _ask(f"{name}: add a secret that is not rotator's? Nothing rotates while it fills the account.", yes=yes)
        info = _create(fleet, account, value, out)
    row = {"account": name, "id": info.id, "created_at": info.created_at, "file": out and str(out)}
    _show(row, ("account", "id", "value in"), [(name, info.id, str(out or "your hands"))], as_json=as_json)
    typer.echo(
        f"rotator does not revoke it by itself. If it fills {name}, rotations fail until you revoke it: "
        f"rotator account secrets revoke {name} {info.id}",
        err=True,
    )


@secrets_app.command(
    short_help="Revoke a secret that is not the published one.",
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
    """Revoke a secret: a retiring one before its time, or one that rotator cannot account for.

    The published one, and the last one, are never revoked. The journal is told first; the rest is what a run does with
    any secret that is to go.
    """
    _require_asking(yes=yes)
    from rotator import account as accounts
    from rotator import report
    from rotator.rotation import Result

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name], everything=False)
        found = accounts.require_revocable(fleet, accounts.look(fleet, account), secret_id)
        fleet.preflight([account])
        created = f"created {found.created_at:%Y-%m-%d %H:%M} UTC, {found.standing.value}"
        _ask(f"{name}: revoke {secret_id}, {created}? Whoever uses it stops working.", yes=yes)
        outcome = accounts.revoke(fleet, account, secret_id)
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
    _show(row, ("account", "id", "what happened"), [(name, secret_id, happened)], as_json=as_json)
    if not as_json and outcome.error:
        typer.echo(f"{name}: {visible(outcome.error)}")
    code = report.exit_code([outcome]) or (0 if revoked else 3)
    if code:
        raise typer.Exit(code)


# --- shared by the commands ----------------------------------------------------------------------------------


def _urls(mo_callback_url: str | None, dr_callback_url: str | None) -> list[tuple[str, str]]:
    named = {"inbound messages": mo_callback_url, "delivery receipts": dr_callback_url}
    return [(what, url) for what, url in named.items() if url is not None]


def _question(what: str, url: str) -> str:
    return f"send {what} to {url}" if url else f"unset the URL for {what}"


@contextmanager
def _changing_settings(fleet: "Fleet", account: "AccountSettings") -> Iterator[None]:
    """Record a change of settings, and say of a failure whether anything was changed."""
    from rotator.account import by_hand
    from rotator.audit import Act

    with (
        _explained(
            unknown=f"Whether the settings of {account.name} were changed is not known",
            look=f"Look before you try again: rotator account settings {account.name}",
            unchanged=f"The settings of {account.name} were not changed",
        ),
        by_hand(fleet, account, Act.CALLBACKS),
    ):
        yield


@contextmanager
def _explained(*, unknown: str, look: str, unchanged: str) -> Iterator[None]:
    """Say of a change that failed whether it was made."""
    from rotator.account_api import LostAnswer, Refused

    try:
        yield
    except LostAnswer as error:
        error.unchanged, error.next_step = unknown, look
        raise
    except Refused as error:
        error.unchanged = unchanged
        raise


def _each(
    fleet: "Fleet",
    names: list[str] | None,
    look: Callable[["AccountSettings"], dict[str, Any]],
    *,
    unknown: dict[str, Any],
) -> list[dict[str, Any]]:
    """Look at the accounts named, or at all; a row each, with `unknown` and an error where that was not possible."""
    from concurrent.futures import ThreadPoolExecutor

    from rotator.rotation import Outcome

    def row(account: "AccountSettings") -> dict[str, Any]:
        found = fleet.guarded(account.name, partial(look, account))
        if isinstance(found, Outcome):
            return {"account": account.name, **unknown, "error": found.error}
        return {"account": account.name, **found, "error": None}

    with ThreadPoolExecutor(fleet.settings.daemon.concurrency) as pool:
        return list(pool.map(row, fleet.select(names or [], everything=not names)))


def _require_asking(*, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        raise ConfigError("There is no terminal to ask on: if you mean it, add --yes")


def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    typer.echo(f"{question} [y/N]: ", nl=False, err=True)  # standard output may be a program's
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RotatorError("Nothing was changed")


def _create(fleet: "Fleet", account: "AccountSettings", value: "SecretStr", out: Path | None) -> "SecretInfo":
    """Add it; a made-up value is in its file before the provider knows it, and stays there unless it was refused."""
    from rotator import account as accounts
    from rotator.account_api import LostAnswer

    if out is not None:
        try:
            with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(value.get_secret_value() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(f"{out} cannot be written: {error.strerror}") from None
    try:
        return accounts.create(fleet, account, value, made_up=out is not None)
    except LostAnswer as error:
        error.unchanged = "Whether the secret was added is not known" + (f"; its value is in {out}" if out else "")
        error.next_step = f"Look: rotator account secrets list {account.name}"
        raise
    except RotatorError:
        if out is not None:
            out.unlink()
        raise


def _secret_json(secret: "LiveSecret") -> dict[str, Any]:
    return {
        "id": secret.id,
        "created_at": secret.created_at,
        "is": secret.standing.value,
        "revoked_from": secret.until,
    }


def _secret_cells(secret: dict[str, Any]) -> tuple[str, ...]:
    return secret["id"], _instant(secret["created_at"]), secret["is"], _instant(secret["revoked_from"])


def _instant(at: "datetime | None") -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _yes_or_no(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _show(value: dict[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """The same for programs or for people."""
    from rich.console import Console
    from rich.table import Table

    from rotator import report

    if as_json:
        report.print_json(value)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(visible, row))
    Console(highlight=False, markup=False, emoji=False).print(table)


def _end(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Say what went wrong, where something did."""
    failed = [row for row in rows if row["error"]]
    for row in [] if as_json else failed:
        typer.echo(f"{row['account']}: {row['error']}")
    if failed:
        raise typer.Exit(1)
