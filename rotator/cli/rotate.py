"""Commands that rotate: rotate-now, plan."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from rotator.cli import exit_codes
from rotator.cli.options import (
    ConfigOption,
    JsonOption,
    NamesArgument,
    ShardOption,
    begin_change,
    complete_names,
    finish,
    max_wait,
    open_fleet,
    shard_of,
)
from rotator.cli.verbosity import AccountCommand
from rotator.errors import Command, ConfigError

if TYPE_CHECKING:
    from rotator.config import AccountSettings
    from rotator.core.protocol import Journal, RequestKind
    from rotator.core.protocol import Request as StoredRequest
    from rotator.fleet import Fleet, Request

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
    """Rotate accounts now: create, verify and publish a new secret, and revoke the previous secret later.

    rotator finishes an unfinished rotation first. It records the request in the account's journal. If this command
    fails or is killed, a running daemon or the next `rotate-now --due` continues.
    """
    if everything and (names or due):
        raise ConfigError(f"--all and {'names' if names else '--due'} exclude each other: give one of the two")
    if not (names or everything or due):
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

    kind = RequestKind.FORCE if force else None
    if compromised:
        kind = RequestKind.COMPROMISED
    asked = None if due or cancel or dry_run else RequestKind.MANUAL
    with _unrecorded(kind or asked), open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names)
        part = None if names else shard_of(fleet.settings, shard)
        accounts = tuple(account for account in accounts if part is None or part.owns(account))
        wanted = Wanted.DUE if due else Wanted.NOW
        request = Request(wanted, kind=kind, explicit=bool(names), max_wait=max_wait(fleet, wait))
        if dry_run:
            _plan(ctx, fleet, accounts, request, as_json=as_json)
            return
        fleet.permissions.preflight(accounts)
        begin_change(ctx, Command.of("status", *(names or [])))
        if cancel:
            _cancel(fleet, accounts, as_json=as_json)
            return
        with showing_progress(ctx, len(accounts), "rotating") as progress:
            outcomes = list(progress.counted(fleet.run(accounts, request)))
        finish(ctx, fleet, outcomes, as_json=as_json, asks=bool(kind or asked))


@contextmanager
def _unrecorded(asked: "RequestKind | None") -> Iterator[None]:
    """Say that a request is not recorded if Vault cannot be used at all."""
    from rotator.vault import VaultError

    try:
        yield
    except VaultError as error:
        if asked is not None:
            not_recorded = "The request is not recorded, so repeat the command afterwards"
            error.unchanged = ". ".join(part.rstrip(".") for part in (error.unchanged, not_recorded) if part)
        raise


@rotate_app.command(
    cls=AccountCommand,
    short_help="Show what `rotate-now --due` would do, and why",
    epilog="Examples: `rotator plan`, `rotator plan payments alerts`.",
)
def plan(
    ctx: typer.Context,
    names: NamesArgument = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what `rotate-now --due` would do, and why. Change nothing."""
    from rotator.fleet import Request, Wanted

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names)
        _plan(ctx, fleet, accounts, Request(Wanted.DUE), as_json=as_json)


def _plan(
    ctx: typer.Context,
    fleet: "Fleet",
    accounts: tuple["AccountSettings", ...],
    request: "Request",
    *,
    as_json: bool,
) -> None:
    from rotator.cli.output import preview_json, print_previews
    from rotator.cli.progress import showing_progress
    from rotator.cli.terminal import print_json
    from rotator.core.protocol import Fail
    from rotator.rotation import Preview

    with showing_progress(ctx, len(accounts), "planning") as progress:
        previews = list(progress.counted(fleet.preview(accounts, request)))
    previews.sort(key=lambda preview: preview.account)
    now = fleet.now()
    if as_json:
        print_json({"accounts": [preview_json(preview, fleet.settings, now) for preview in previews]})
    else:
        print_previews(previews, fleet.settings, now)
    if any(not isinstance(preview, Preview) or isinstance(preview.step, Fail) for preview in previews):
        raise typer.Exit(exit_codes.FAILED)


def _cancel(fleet: "Fleet", accounts: tuple["AccountSettings", ...], *, as_json: bool) -> None:
    from rotator.cli.output import request_json
    from rotator.cli.terminal import echo, print_json
    from rotator.fleet import Request, Wanted
    from rotator.rotation import Operator, StoppedError

    rows = []
    for account in accounts:
        if fleet.stop.is_set():
            raise StoppedError(
                "The process stopped before every request was withdrawn", next_step="Start again", next_command=None
            )
        rotation = fleet.rotation(account, Request(Wanted.NOTHING_NEW))
        request = Operator(rotation).cancel()
        rows.append({"account": account.name, "withdrawn": request_json(request)})
        if not as_json:
            is_leased = rotation.state.situation.leased_until is not None
            holder = rotation.journal.lease_holder if is_leased else None
            echo(f"{account.name}: {withdrawal(request, rotation.journal, holder)}")
    if as_json:
        print_json({"accounts": rows})


def withdrawal(request: "StoredRequest | None", journal: "Journal", holder: str | None = None) -> str:
    """Return what a withdrawal changed, and what goes on all the same.

    Args:
        request: The request; None if there was none.
        journal: The journal without it.
        holder: The instance that holds the lease; None if no other does.
    """
    from rotator.cli.terminal import in_minutes
    from rotator.core.protocol import RequestKind

    if request is None:
        return "no request is recorded"
    said = f"the request ({request.kind.value}) is withdrawn"
    if journal.candidate is not None:
        said = f"{said}. The rotation that began goes on"
    entries = [entry for entry in journal.retiring if not entry.compromised]
    kept = [f"{entry.id} until {in_minutes(entry.not_before)} UTC" for entry in entries]
    if kept and request.kind is RequestKind.COMPROMISED:
        said = f"{said}. Grace periods last as before: {', '.join(kept)}"
        if holder is not None:
            said = f"{said}. {holder} holds the lease and might still revoke them"
    due = [entry.id for entry in journal.retiring if entry.compromised]
    return f"{said}. These ids are compromised and stay due: {', '.join(due)}" if due else said
