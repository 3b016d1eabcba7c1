"""The command `rotator status`, and its table."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import typer

from rotator import __version__
from rotator.cli import exit_codes
from rotator.cli.options import AnyNamesArgument, ConfigOption, JsonOption, for_all, open_fleet
from rotator.cli.verbosity import AccountCommand
from rotator.errors import visible

if TYPE_CHECKING:
    from rotator.monitoring import AccountStatus

status_app = typer.Typer(rich_markup_mode=None)


@status_app.command(
    cls=AccountCommand,
    short_help="Show the state of each account",
    epilog="Examples: `rotator status`, `rotator status payments --json`.",
)
def status(
    ctx: typer.Context, names: AnyNamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show the state of each account, from its documents in Vault."""
    from rotator.cli.terminal import print_json
    from rotator.fleet import read_status
    from rotator.monitoring import account_report

    with open_fleet(ctx, config) as fleet:
        chosen = [fleet.settings.account(name) for name in names or []] or list(fleet.settings.accounts)
        found = for_all(ctx, fleet, chosen, partial(read_status, fleet))
        statuses = [status for status, _ in found]
        now = fleet.now()
        if as_json:
            print_json({"at": now, "version": __version__, "accounts": [account_report(one, now) for one in statuses]})
        else:
            _print(statuses, now)
    if not all(is_readable for _, is_readable in found):
        raise typer.Exit(exit_codes.FAILED)


def _print(accounts: Sequence["AccountStatus"], now: datetime) -> None:
    """Print the table, then failures and requests as sentences."""
    from rotator.cli.output import styled
    from rotator.cli.terminal import Table, age, echo, print_sentences, relative
    from rotator.monitoring import state

    table = Table(("account", "state", "age", "due", "revokes", "details"), prose="details")
    for account in accounts:
        retiring = ", ".join(relative(entry.not_before, now) for entry in account.retiring) or "-"
        row = (account.name, styled(state(account, now)), age(account.rotated_at, now), relative(account.due_at, now))
        table.rows.append((*row, retiring, _details(account)))
    table.print()
    print_sentences([(account.name, account.last_error) for account in accounts if account.last_error], "red")
    for account in accounts:
        if account.request:
            asked = account.request
            at = f"{account.request.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
            what = visible(f"{account.name}: {asked.by} requested a rotation ({asked.kind}) at {at}")
            echo(f"{what}. To withdraw it: rotator rotate-now {account.name} --cancel")


def _details(account: "AccountStatus") -> str:
    """Return what needs attention about an account, in a few words."""
    from rotator.core.protocol import Learned

    if account.last_error:
        times = "once" if account.attempts == 1 else f"{account.attempts} times"
        return f"failed {times}, see below" if account.attempts else "see below"
    if not account.published:
        return "nothing published"
    notes = [f"requested: {account.request.kind}"] if account.request else []
    if account.secret_id_learned == Learned.PENDING and (account.retiring or account.live_secrets > 1):
        notes.append("later lists tell which id is the published secret's")
    return "; ".join(notes)
