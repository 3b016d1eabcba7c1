"""The forecast of rotations, revocations and calls."""

from typing import TYPE_CHECKING

from rotator.cli.options import parsed
from rotator.errors import ConfigError

if TYPE_CHECKING:
    from rotator.config import AccountSettings
    from rotator.fleet import Fleet


def print_ahead(fleet: "Fleet", accounts: tuple["AccountSettings", ...], until: str, *, as_json: bool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from rotator.cli.forecast_output import forecast_json, print_forecast
    from rotator.cli.terminal import print_json
    from rotator.config import parse_duration
    from rotator.core.protocol import Phase
    from rotator.core.scheduling import Member, foresee
    from rotator.documents.journal import JournalError, parse_journal
    from rotator.rotation import StoppedError

    (ahead,) = parsed("--until", parse_duration, [until])
    if not ahead:
        raise ConfigError("--until has to be longer than zero")

    def look(account: "AccountSettings") -> Member | str:
        """The account as it stands, or why it cannot be foreseen."""
        if fleet.stop.is_set():
            raise StoppedError("Told to stop before every journal was read")
        try:
            journal = parse_journal(fleet.vault.read(fleet.settings.journal_path(account)))
        except JournalError as error:
            return error.what.lower()
        if journal.phase is Phase.AMBIGUOUS:
            return "waiting for a person (rotator status)"
        if journal.rotated_at is None:
            return "not taken on yet"
        return Member(
            account.name, account.schedule, account.grace, journal.rotated_at, journal.retiring, account.primary
        )

    with ThreadPoolExecutor(fleet.settings.daemon.concurrency) as pool:
        looks = dict(zip((account.name for account in accounts), pool.map(look, accounts), strict=True))
    now = fleet.now()
    forecast = foresee(
        [member for member in looks.values() if isinstance(member, Member)],
        now=now,
        until=now + ahead,
        spacing=fleet.settings.daemon.min_spacing,
        max_secrets=fleet.settings.account_api.max_secrets,
    )
    left_out = {name: why for name, why in looks.items() if isinstance(why, str)}
    if as_json:
        print_json(forecast_json(forecast, left_out))
    else:
        print_forecast(
            forecast,
            left_out,
            fleet.settings.defaults.schedule.timezone,
            fleet.settings.account_api.max_calls_per_second,
        )
