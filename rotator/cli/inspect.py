"""Commands that only look: status, check, config."""

from typing import Annotated

import typer

from rotator import __version__
from rotator.cli.options import ConfigOption, JsonOption, NamesArgument, open_fleet, read_all, settings_of
from rotator.cli.verbosity import AccountCommand, invocation
from rotator.errors import visible

inspect_app = typer.Typer(rich_markup_mode=None)
config_app = typer.Typer(help="Show the configuration and its schema", no_args_is_help=True, rich_markup_mode=None)
inspect_app.add_typer(config_app, name="config")


@inspect_app.command(
    cls=AccountCommand,
    short_help="Show the state of each account",
    epilog="Examples: `rotator status`, `rotator status payments --json`.",
)
def status(
    ctx: typer.Context, names: NamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show the state of each account, from its documents in Vault. Without names, disabled accounts are included."""
    from functools import partial

    from rotator.cli.output import print_status
    from rotator.cli.terminal import print_json
    from rotator.fleet import read_status
    from rotator.monitoring import account_report

    with open_fleet(ctx, config) as fleet:
        chosen = [fleet.settings.account(name) for name in names or []] or list(fleet.settings.accounts)
        found = read_all(ctx, fleet, chosen, partial(read_status, fleet))
        statuses, now = [status for status, _ in found], fleet.now()
        if as_json:
            print_json({"at": now, "version": __version__, "accounts": [account_report(one, now) for one in statuses]})
        else:
            print_status(statuses, now)
    if not all(is_readable for _, is_readable in found):
        raise typer.Exit(1)


@inspect_app.command(
    cls=AccountCommand,
    short_help="Check everything that a rotation needs",
    epilog="Example: `rotator check`, in an init container or before the first rotation.",
)
def check(
    ctx: typer.Context,
    names: NamesArgument = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if an account is not adopted yet. Default: exit with 0.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check everything that a rotation needs, and name what is missing. Change nothing.

    The exit code is that of a rotation: 1 if Vault or an account fails, 2 if the configuration or the policy is wrong.
    """
    from collections import Counter

    from rotator.cli.progress import showing_progress
    from rotator.cli.terminal import Styled, echo, print_json
    from rotator.fleet import State, examine

    marks = {
        State.OK: Styled("ok   ", "green"),
        State.NOTE: Styled("note ", "cyan"),
        State.TO_DO: Styled("to do", "yellow"),
        State.FAILED: Styled("FAIL ", "red", bold=True),
    }
    quiet = invocation(ctx).quiet or as_json
    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names or [], everything=not names)
        with showing_progress(ctx, len(accounts), "checking") as progress:
            findings = list(examine(fleet, accounts, on_account=progress.advance))
    for finding in findings:
        if not quiet or (finding.state is State.FAILED and not as_json):
            echo(marks[finding.state], " ", visible(finding.what))
    counts = Counter(finding.state for finding in findings)
    if as_json:
        checks = [{"ok": one.ok, "state": one.state.value, "what": one.what} for one in findings]
        print_json({"checks": checks, **{state.value: counts[state] for state in State}})
    elif not quiet:
        words = {State.OK: "ok", State.NOTE: "notes", State.TO_DO: "to do", State.FAILED: "failed"}
        echo(", ".join(f"{counts[state]} {word}" for state, word in words.items()))
    code = max((finding.exit_code for finding in findings), default=0)
    if code or (strict and counts[State.TO_DO]):
        raise typer.Exit(code or 1)


@config_app.command(short_help="Print the configuration as JSON", epilog="Example: `rotator config show`.")
def show(ctx: typer.Context, config: ConfigOption = None) -> None:
    """Print the configuration as JSON, with defaults and environment variables. Secrets are masked."""
    typer.echo(settings_of(ctx, config).model_dump_json(indent=2, exclude_none=True))


@config_app.command(
    short_help="Print the JSON schema of the configuration",
    epilog="Example: `rotator config schema > rotator.schema.json`.",
)
def schema() -> None:
    """Print the JSON schema of the configuration."""
    import json

    from rotator.config import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))
