"""`rotator account`: the provider's whole Account API by hand."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rotator.cli.account_secrets import secrets_app
from rotator.cli.changes import explained
from rotator.cli.options import (
    ConfigOption,
    JsonOption,
    NameArgument,
    NamesArgument,
    YesOption,
    begin_change,
    each,
    open_fleet,
    read_secret,
    require_one_source,
)
from rotator.cli.prompts import ask, require_asking
from rotator.cli.verbosity import AccountCommand
from rotator.errors import Advice, Command

if TYPE_CHECKING:
    from rotator.config import AccountSettings

account_app = typer.Typer(help="Use the provider's Account API by hand", no_args_is_help=True, rich_markup_mode=None)
account_app.add_typer(secrets_app, name="secrets")


@account_app.command(
    cls=AccountCommand,
    short_help="Show the balance of accounts in euros",
    epilog="Examples: `rotator account balance`, `rotator account balance payments --json`.",
)
def balance(
    ctx: typer.Context, names: NamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show the balance of accounts in euros, and whether auto-reload is enabled."""
    from rotator.cli.terminal import print_failures, print_rows, yes_or_no
    from rotator.core.balance import is_low
    from rotator.fleet import TopUpService

    with open_fleet(ctx, config) as fleet:
        service = TopUpService(fleet)

        def read(account: "AccountSettings") -> dict[str, Any]:
            found = service.read(account)
            low = is_low(found, account.balance_threshold)
            return {"euros": float(found.euros), "low": low, "auto_reload": found.auto_reload}

        rows = each(ctx, fleet, names, read, unknown={"euros": None, "low": None, "auto_reload": None})
    cells = [
        (
            row["account"],
            "-" if row["euros"] is None else f"{row['euros']:.2f}",
            yes_or_no(row["low"]),
            yes_or_no(row["auto_reload"]),
        )
        for row in rows
    ]
    print_rows({"accounts": rows}, ("account", "euros", "low", "auto-reload"), cells, as_json=as_json)
    print_failures(rows, as_json=as_json)


@account_app.command(
    cls=AccountCommand,
    short_help="Top an account up; this costs money",
    epilog="Examples: `rotator account top-up payments` asks for the transaction; "
    "`rotator account top-up payments --trx-env TRX --yes`.",
)
def top_up(
    ctx: typer.Context,
    name: NameArgument,
    trx_stdin: Annotated[bool, typer.Option("--trx-stdin", help="Read the transaction from standard input.")] = False,
    trx_file: Annotated[
        Path | None,
        typer.Option("--trx-file", metavar="FILE", help="Read the transaction from this file.", show_default=False),
    ] = None,
    trx_env: Annotated[
        str | None,
        typer.Option(
            "--trx-env",
            metavar="VARIABLE",
            help="Read the transaction from this environment variable.",
            show_default=False,
        ),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Repeat the payment for which auto-reload was enabled. This costs money.

    The transaction is the reference of that payment. It never appears among the process's arguments. rotator sends the
    request once.
    """
    require_one_source("--trx", stdin=trx_stdin, file=trx_file, variable=trx_env)
    require_asking(yes=yes)
    from rotator.audit import Act
    from rotator.cli.terminal import print_rows
    from rotator.fleet import asking, by_hand, published_credentials

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name])
        fleet.audit.check()
        prompt = f"Transaction of the payment for {name}"
        trx = read_secret(prompt, "--trx", stdin=trx_stdin, file=trx_file, variable=trx_env)
        ask(f"Top up {name} ({account.api_key})? This costs money.", yes=yes)
        credentials = published_credentials(fleet, account)
        look = Command.of("account", "balance", name)
        begin_change(ctx, look)
        with (
            explained(
                unknown=f"Whether {name} was topped up is not known",
                look=look,
                unchanged=f"{name} was not topped up",
                correct=Advice(
                    "Give the reference of the payment with which auto-reload was enabled",
                    Command.of("account", "top-up", name),
                ),
            ),
            asking(account, look),
            by_hand(fleet, account, Act.TOP_UP),
        ):
            fleet.provider.top_up(credentials, trx)
    row = {"account": name, "topped_up": True}
    print_rows(row, ("account", "result"), [(name, "topped up")], as_json=as_json)


@account_app.command(
    cls=AccountCommand,
    short_help="Show or set the callback URLs of an account",
    epilog="Examples: `rotator account settings payments` shows them; "
    "`rotator account settings payments --mo-callback-url https://example.com/in --dr-callback-url ''`; "
    "`rotator account settings payments --http-forward-method POST_JSON`.",
)
def settings(
    ctx: typer.Context,
    name: NameArgument,
    mo_callback_url: Annotated[
        str | None,
        typer.Option(
            "--mo-callback-url", metavar="URL", help="URL for inbound messages; '' unsets it.", show_default=False
        ),
    ] = None,
    dr_callback_url: Annotated[
        str | None,
        typer.Option(
            "--dr-callback-url", metavar="URL", help="URL for delivery receipts; '' unsets it.", show_default=False
        ),
    ] = None,
    http_forward_method: Annotated[
        Literal["GET_QUERY_PARAMS", "POST_QUERY_PARAMS", "POST_JSON"] | None,
        typer.Option(
            "--http-forward-method", help="HTTP request with which the provider calls both URLs.", show_default=False
        ),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the callback URLs and limits of an account. With options, set the URLs first.

    A setting without an option keeps its value.
    """
    urls = {"inbound messages": mo_callback_url, "delivery receipts": dr_callback_url}
    questions = [
        f"send {what} to {url}" if url else f"unset the URL for {what}" for what, url in urls.items() if url is not None
    ]
    if http_forward_method:
        questions.append(f"call webhooks with {http_forward_method}")
    if questions:
        require_asking(yes=yes)
    from dataclasses import asdict

    from rotator.audit import Act
    from rotator.cli.terminal import print_rows
    from rotator.fleet import asking, by_hand, published_credentials

    with open_fleet(ctx, config) as fleet:
        (account,) = fleet.select([name])
        if questions:
            fleet.audit.check()
        for question in questions:
            ask(f"{name}: {question}?", yes=yes)
        credentials = published_credentials(fleet, account)
        look = Command.of("account", "settings", name)
        with ExitStack() as stack:
            if questions:
                begin_change(ctx, look)
                stack.enter_context(
                    explained(
                        unknown=f"Whether the settings of {name} were changed is not known",
                        look=look,
                        unchanged=f"The settings of {name} were not changed",
                        correct=Advice(f"{_correction(urls.values(), http_forward_method)}To see the settings", look),
                    )
                )
                stack.enter_context(by_hand(fleet, account, Act.CALLBACKS))
            stack.enter_context(asking(account, look))
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
    print_rows(row, ("setting", "value"), cells, as_json=as_json)


def _correction(urls: Iterable[str | None], http_forward_method: str | None) -> str:
    """Return what to correct if the provider refuses these settings, as a sentence; empty if nothing can be wrong."""
    if any(urls):
        return "Correct the URL: it must answer with 200. "
    return "Correct the forward method. " if http_forward_method else ""
