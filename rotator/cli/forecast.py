"""`rotator forecast`: rotations, revocations and requests to come."""

from typing import TYPE_CHECKING, Annotated

import typer

from rotator.cli.options import ConfigOption, JsonOption, NamesArgument, for_all, open_fleet, parsed
from rotator.cli.verbosity import AccountCommand
from rotator.errors import ConfigError

if TYPE_CHECKING:
    from rotator.config import AccountSettings
    from rotator.core.scheduling.forecast import Member
    from rotator.fleet import Fleet

forecast_app = typer.Typer(rich_markup_mode=None)


@forecast_app.command(
    cls=AccountCommand,
    short_help="Forecast rotations, revocations and requests",
    epilog="Examples: `rotator forecast`, `rotator forecast payments --until 90d`.",
)
def forecast(
    ctx: typer.Context,
    names: NamesArgument = None,
    until: Annotated[str, typer.Option("--until", metavar="DURATION", help="Time ahead, at most ten years.")] = "30d",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Forecast what `rotator run` is going to do, from the journals and the schedules alone."""
    from functools import partial

    from rotator.cli.forecast_output import forecast_json, print_forecast
    from rotator.cli.terminal import print_json
    from rotator.config import parse_duration
    from rotator.core.scheduling.forecast import Member, foresee

    (ahead,) = parsed("--until", parse_duration, [until])
    if not ahead:
        raise ConfigError("--until must be longer than zero")
    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names)
        found_accounts = for_all(ctx, fleet, accounts, partial(_look, fleet))
        looks = {account.name: look for account, look in zip(accounts, found_accounts, strict=True)}
        now = fleet.now()
        found = foresee(
            [member for member in looks.values() if isinstance(member, Member)],
            now=now,
            until=now + ahead,
            spacing=fleet.settings.daemon.min_spacing,
            max_secrets=fleet.settings.account_api.max_secrets,
        )
        left_out = {name: why for name, why in looks.items() if isinstance(why, str)}
        if as_json:
            print_json(forecast_json(found, left_out))
            return
        zone = fleet.settings.defaults.schedule.timezone
        print_forecast(found, left_out, zone, fleet.settings.account_api.max_calls_per_second)


def _look(fleet: "Fleet", account: "AccountSettings") -> "Member | str":
    """The account as its journal shows it, or why it cannot be forecast."""
    from rotator.core.protocol import Phase
    from rotator.core.scheduling.forecast import Member
    from rotator.documents import JournalError, parse_journal

    try:
        journal = parse_journal(fleet.vault.read(fleet.settings.journal_path(account)))
    except JournalError as error:
        return error.what.lower()
    if journal.phase is Phase.AMBIGUOUS:
        return "ambiguous (see rotator status)"
    if journal.rotated_at is None:
        return "not adopted yet"
    return Member(account.name, account.schedule, account.grace, journal.rotated_at, journal.retiring, account.primary)
