"""Commands that change accounts: rotate-now, plan, adopt, resolve."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotator.cli.options import (
    ConfigOption,
    JsonOption,
    NameArgument,
    NamesArgument,
    SecretEnvOption,
    SecretFileOption,
    SecretStdinOption,
    ShardOption,
    complete_names,
    open_fleet,
    parsed,
    read_secret,
    require_one_source,
    shard_of,
)
from rotator.cli.verbosity import AccountCommand, invocation
from rotator.errors import ConfigError, RotatorError

if TYPE_CHECKING:
    from datetime import timedelta

    from rotator.config import AccountSettings
    from rotator.fleet import Fleet, Request
    from rotator.rotation import Outcome

rotate_app = typer.Typer(rich_markup_mode=None)


@rotate_app.command(
    cls=AccountCommand,
    short_help="Rotate accounts now",
    epilog="Examples: `rotator rotate-now payments`, `rotator rotate-now --due`, "
    "`rotator rotate-now payments --compromised`.",
)
def rotate_now(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", autocompletion=complete_names, help="Names of accounts.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Rotate every enabled account.")] = False,
    due: Annotated[bool, typer.Option("--due", help="Rotate only if the secret is due.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen; change nothing.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="In a full account, revoke the previous secret before its grace period ends."),
    ] = False,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Revoke the previous secrets without a grace period.")
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait",
            metavar="DURATION",
            help="Maximum time to wait for a lease, a grace period or a rate limit. "
            "Default: until the lease of a crashed instance expires.",
            show_default=False,
        ),
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Withdraw the recorded request of these accounts.")] = False,
    shard: ShardOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Rotate accounts now: create, verify and publish a new secret, and revoke the previous one after its grace.

    rotator finishes an unfinished rotation first. It records the request in the account's journal. If this command
    fails or is killed, a running daemon or the next `rotate-now --due` continues.
    """
    if bool(names) + everything + (due and not names) != 1:
        raise ConfigError("Say which accounts: names, --all, or --due for what is due")
    if names and shard:
        raise ConfigError("--shard is for --all and --due: a name says which account by itself")
    if due and compromised:
        raise ConfigError("--due and --compromised exclude each other: a compromised secret is due at once")
    if cancel and (due or force or compromised or dry_run):
        raise ConfigError("--cancel excludes --due, --force, --compromised and --dry-run")
    from rotator.cli.progress import showing_progress
    from rotator.core.protocol import RequestKind
    from rotator.fleet import Request, Wanted

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names or [], everything=not names)
        part = None if names else shard_of(fleet.settings, shard)
        accounts = tuple(account for account in accounts if part is None or part.owns(account))
        kind = RequestKind.COMPROMISED if compromised else RequestKind.FORCE if force else None
        request = Request(Wanted.DUE if due else Wanted.NOW, kind=kind, max_wait=_max_wait(fleet, wait))
        if dry_run:
            _plan(fleet, accounts, request, as_json=as_json)
            return
        fleet.preflight(accounts)
        if cancel:
            _cancel(fleet, accounts, as_json=as_json)
            return
        outcomes = []
        with showing_progress(ctx, fleet.settings, len(accounts), "rotating") as progress:
            for outcome in fleet.run(accounts, request):
                outcomes.append(outcome)
                progress.done += 1
        _finish(ctx, fleet, outcomes, as_json=as_json, asked=not due or force)


@rotate_app.command(
    cls=AccountCommand,
    short_help="Show what `rotate-now --due` would do, and why",
    epilog="Examples: `rotator plan`, `rotator plan payments alerts`.",
)
def plan(
    ctx: typer.Context,
    names: NamesArgument = None,
    until: Annotated[
        str | None,
        typer.Option("--until", hidden=True),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what `rotate-now --due` would do, and why. Change nothing."""
    if until is not None:
        raise ConfigError("plan has no option --until", next_step=f"Run: rotator forecast --until {until}")
    from rotator.fleet import Request, Wanted

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names or [], everything=not names)
        _plan(fleet, accounts, Request(Wanted.DUE), as_json=as_json)


@rotate_app.command(
    cls=AccountCommand,
    short_help="Adopt an account with its present secret",
    epilog="Examples: `rotator adopt payments` asks for the value; "
    "`rotator adopt payments --secret-file /run/secrets/payments`.",
)
def adopt(
    ctx: typer.Context,
    name: NameArgument,
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
    """Adopt an account with the secret that it has today, or after its published secret stopped working.

    rotator tries the value at the provider, then publishes it. The value never appears among the process's arguments.
    """
    require_one_source("--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    from rotator.cli.output import print_adoption
    from rotator.cli.progress import showing_progress
    from rotator.fleet import Request, Wanted
    from rotator.rotation import Operator

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select([name], everything=False)
        prompt = f"API secret of {name}"
        secret = read_secret(prompt, "--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
        fleet.preflight(accounts)
        rotation = fleet.rotation(accounts[0], Request(Wanted.NOTHING_NEW, max_wait=_max_wait(fleet, None)))
        with showing_progress(ctx, fleet.settings, 1, "adopting"):
            outcome = Operator(rotation).adopt(
                secret,
                secret_id,
                replace_working=replace,
                replace_foreign=replace_foreign,
                retire=frozenset(retire or ()),
            )
        if not as_json:
            print_adoption(outcome)
        _finish(ctx, fleet, [outcome], as_json=as_json)


@rotate_app.command(
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
    from rotator.fleet import Request, Wanted
    from rotator.rotation import Operator

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select([name], everything=False)
        fleet.preflight(accounts)
        operator = Operator(fleet.rotation(accounts[0], Request(Wanted.NOTHING_NEW)))
        unknown = operator.unknown()
        strangers = sorted(set(revoke or []) - unknown.keys())
        if strangers:
            listed = ", ".join(unknown) or "none"
            raise ConfigError(f"{strangers[0]} is not among the unknown secrets of {name}: {listed}")
        chosen = frozenset(revoke) if revoke else _ask_which(name, unknown)
        if unknown and not chosen:
            raise RotatorError(f"Nothing was chosen, {name} stays as it is")
        outcome = operator.resolve(chosen) if chosen else fleet.rotation(accounts[0], Request(Wanted.NOTHING_NEW)).run()
        _finish(ctx, fleet, [outcome], as_json=as_json)


def _max_wait(fleet: "Fleet", wait: str | None) -> "timedelta":
    from datetime import timedelta

    from rotator.config import parse_duration

    if wait is None:
        # A lease that a killed run left behind, after the lists that make an id certain.
        return fleet.settings.daemon.lease + 4 * fleet.settings.account_api.settle + timedelta(seconds=1)
    return parsed("--wait", parse_duration, [wait])[0]


def _plan(fleet: "Fleet", accounts: tuple["AccountSettings", ...], request: "Request", *, as_json: bool) -> None:
    from rotator.cli.output import preview_json, print_previews
    from rotator.cli.terminal import print_json
    from rotator.core.protocol import Fail
    from rotator.rotation import Preview

    previews = sorted(fleet.preview(accounts, request), key=lambda preview: preview.account)
    now = fleet.now()
    if as_json:
        print_json({"accounts": [preview_json(preview, now) for preview in previews]})
    else:
        print_previews(previews, now)
    if any(not isinstance(preview, Preview) or isinstance(preview.step, Fail) for preview in previews):
        raise typer.Exit(1)


def _cancel(fleet: "Fleet", accounts: tuple["AccountSettings", ...], *, as_json: bool) -> None:
    from rotator.cli.output import request_json
    from rotator.cli.terminal import print_json
    from rotator.fleet import Request, Wanted
    from rotator.rotation import Operator

    withdrawn = {
        account.name: Operator(fleet.rotation(account, Request(Wanted.NOTHING_NEW))).cancel() for account in accounts
    }
    if as_json:
        rows = [{"account": name, "withdrawn": request_json(request)} for name, request in withdrawn.items()]
        print_json({"accounts": rows})
        return
    for name, request in withdrawn.items():
        what = f"the request ({request.kind.value}) is withdrawn" if request else "no request is recorded"
        typer.echo(f"{name}: {what}")


def _finish(
    ctx: typer.Context, fleet: "Fleet", outcomes: list["Outcome"], *, as_json: bool, asked: bool = False
) -> None:
    from rotator.cli.output import exit_code, outcomes_json, print_outcomes
    from rotator.cli.terminal import print_json

    if as_json:
        print_json(outcomes_json(outcomes))
    else:
        print_outcomes(outcomes, fleet.now(), asked=asked, quiet=invocation(ctx).quiet)
    code = exit_code(outcomes)
    if code:
        raise typer.Exit(code)


def _ask_which(name: str, unknown: dict[str, Any]) -> frozenset[str]:
    if not unknown:
        return frozenset()
    if not sys.stdin.isatty():
        options = " ".join(f"--revoke {id_}" for id_ in unknown)
        raise ConfigError(f"There is no terminal to ask on; say what may go: rotator resolve {name} {options}")
    chosen = [
        id_
        for id_, created in unknown.items()
        if typer.confirm(f"{name}: revoke {id_}, created {created:%Y-%m-%d %H:%M} UTC?")
    ]
    return frozenset(chosen)
