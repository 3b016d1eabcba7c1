"""The `rotator` command. Heavy imports stand inside the commands, so that --help answers at once."""

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import typer

from rotator.cli.account import account_app
from rotator.cli.audit import audit_app
from rotator.cli.hardening import harden
from rotator.cli.options import (
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
    settings_of,
)
from rotator.errors import ConfigError, RotatorError, visible

if TYPE_CHECKING:
    from datetime import timedelta

    from rotator.config import AccountSettings, Settings
    from rotator.fleet import Fleet, Request, Shard
    from rotator.rotation import Outcome

T = TypeVar("T")

# What is imported stays. Python would look through it for garbage hundreds of times while it comes in, which is a third
# of what a short command costs. After so many new objects it looks.
_GARBAGE = 50_000

app = typer.Typer(
    name="rotator",
    help="Rotate the API secrets of Nexmo/Vonage accounts and publish them in Vault.",
    epilog="Exit codes: 0 all done, 1 something failed, 2 usage or configuration, 3 something has to wait.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
app.add_typer(account_app, name="account")
app.add_typer(audit_app, name="audit")


ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Only this part of the fleet, from 0/N; auto/N: by the place in a StatefulSet or Indexed Job. "
        "If not given: daemon.shard.",
        show_default=False,
    ),
]


def main() -> NoReturn:
    """The entry point: errors that rotator foresaw are one line and an exit code."""
    gc.set_threshold(_GARBAGE)
    try:
        app(standalone_mode=True)
    except RotatorError as error:
        for line in str(error).split("\n"):
            print(f"rotator: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    finally:
        gc.freeze()  # nor at the end: the process is about to be gone
    sys.exit(0)


def _version(value: bool) -> None:
    if value:
        from rotator import __version__

        typer.echo(f"rotator {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    config: ConfigOption = None,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    harden()
    ctx.obj = config


@app.command(
    short_help="Look after the accounts, as a daemon.",
    epilog="Examples: `rotator run`, or as one of four that share the fleet `rotator run --shard auto/4`.",
)
def run(ctx: typer.Context, shard: ShardOption = None, config: ConfigOption = None) -> None:
    """Look after the accounts until told to stop: rotate what is due, revoke what is due, mend what went wrong.

    SIGHUP, or a change of the file, has the configuration read again. Metrics, health and a status page are served at
    daemon.listen.
    """
    from rotator import logs
    from rotator.config import find_file, load, warn_of_open_files
    from rotator.daemon import Daemon

    path = find_file(config or ctx.find_root().obj)
    settings = load(path)
    logs.configure(settings.log.level, settings.log.format)
    warn_of_open_files(settings)
    Daemon(path, settings, shard=_shard(settings, shard)).run()


@app.command(
    short_help="Create, verify and publish a new secret now.",
    epilog="Examples: `rotator rotate-now payments`, `rotator rotate-now --due`, "
    "`rotator rotate-now payments --compromised`.",
)
def rotate_now(
    ctx: typer.Context,
    names: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Every enabled account.")] = False,
    due: Annotated[bool, typer.Option("--due", help="Only what is due; without names: of every account.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, change nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make room in a full account: its old secret goes before its grace ends.")
    ] = False,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Revoke the old secrets as soon as the new one is published.")
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait",
            metavar="DURATION",
            help="How long to wait for another runner, a short grace or a rate limit; "
            "as long as a crashed runner's lease takes to clear, if not given.",
            show_default=False,
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Withdraw the recorded request of these accounts instead.")
    ] = False,
    shard: ShardOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Rotate accounts now: create, verify and publish a new secret, revoke the old one after its grace.

    An unfinished rotation is finished first. What you ask for is recorded in the account's journal: if this command
    fails or is killed, a running daemon or the next `rotate-now --due` carries it out.
    """
    if bool(names) + everything + (due and not names) != 1:
        raise ConfigError("Say which accounts: names, --all, or --due for what is due")
    if names and shard:
        raise ConfigError("--shard is for --all and --due: a name says which account by itself")
    if due and compromised:
        raise ConfigError("--due and --compromised exclude each other: a compromised secret is due at once")
    if cancel and (due or force or compromised or dry_run):
        raise ConfigError("--cancel excludes --due, --force, --compromised and --dry-run")
    from rotator.core.protocol import RequestKind
    from rotator.fleet import Request, Wanted

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names or [], everything=not names)
        part = None if names else _shard(fleet.settings, shard)
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
        outcomes = _with_progress(fleet.run(accounts, request), len(accounts), quiet=as_json)
        _finish(fleet, outcomes, as_json=as_json, asked=not due or force)


@app.command(
    short_help="Say what `rotate-now --due` would do, and why; or what comes until when.",
    epilog="Examples: `rotator plan`, for some accounts `rotator plan payments alerts`, and ahead of time "
    "`rotator plan --until 90d`.",
)
def plan(
    ctx: typer.Context,
    names: NamesArgument = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="DURATION",
            help="Forecast rotations, revocations and calls so far ahead, ten years at most.",
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say what `rotate-now --due` would do and why, without changing anything.

    With --until: what `rotator run` is going to do, from the journals and the schedules alone.
    """
    from rotator.fleet import Request, Wanted

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names or [], everything=not names)
        if until is None:
            _plan(fleet, accounts, Request(Wanted.DUE), as_json=as_json)
        else:
            _foresee(fleet, accounts, until, as_json=as_json)


@app.command(
    short_help="Show where each account stands.",
    epilog="Example: `rotator status`, or with everything that is known `rotator status payments --json`.",
)
def status(
    ctx: typer.Context, names: NamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show where each account stands, as its journal in Vault has it."""
    from rotator.cli import output as report

    with open_fleet(ctx, config) as fleet:
        chosen = [fleet.settings.account(name) for name in names or []] or list(fleet.settings.accounts)
        found = [_status_row(fleet, account) for account in chosen]
        rows = [row for row, _ in found]
        if as_json:
            report.print_json({"accounts": rows})
        else:
            report.print_status(rows, fleet.now())
    if not all(is_readable for _, is_readable in found):
        raise typer.Exit(1)


@app.command(
    short_help="Take an account on with the secret it has.",
    epilog="Examples: `rotator adopt payments` asks for the value; "
    "`rotator adopt payments --secret-file /run/secrets/payments`.",
)
def adopt(
    ctx: typer.Context,
    name: NameArgument,
    secret_stdin: SecretStdinOption = False,
    secret_file: SecretFileOption = None,
    secret_env: SecretEnvOption = None,
    secret_id: Annotated[str | None, typer.Option("--secret-id", help="Its id, where several are listed.")] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace a published secret that authenticates, or publish a compromised one."),
    ] = False,
    replace_foreign: Annotated[
        str | None,
        typer.Option(
            "--replace-foreign",
            metavar="API_KEY",
            help="Replace the document or journal of this other account.",
            show_default=False,
        ),
    ] = None,
    retire: Annotated[
        list[str] | None,
        typer.Option(
            "--retire", metavar="ID", help="Another listed secret to revoke after the grace period.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take an account on with the secret it has today, or after its published secret stopped working.

    The value is tried at the provider, then published. It never appears among the process's arguments.
    """
    require_one_source("--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    from rotator.cli import output as report
    from rotator.fleet import Request, Wanted
    from rotator.rotation import Operator

    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select([name], everything=False)
        prompt = f"API secret of {name}"
        secret = read_secret(prompt, "--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
        fleet.preflight(accounts)
        rotation = fleet.rotation(accounts[0], Request(Wanted.NOTHING_NEW, max_wait=_max_wait(fleet, None)))
        outcome = Operator(rotation).adopt(
            secret,
            secret_id,
            replace_working=replace,
            replace_foreign=replace_foreign,
            retire=frozenset(retire or ()),
        )
        if not as_json:
            report.print_adoption(outcome)
        _finish(fleet, [outcome], as_json=as_json)


@app.command(
    short_help="Decide about secrets that rotator did not create.",
    epilog="Examples: `rotator resolve payments` asks for each; "
    "`rotator resolve payments --revoke 5f2c1d9e-0000-4000-8000-000000000000`.",
)
def resolve(
    ctx: typer.Context,
    name: NameArgument,
    revoke: Annotated[
        list[str] | None, typer.Option("--revoke", metavar="ID", help="An unknown secret to revoke.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Decide about secrets that rotator cannot account for. Only what you name is revoked."""
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
        _finish(fleet, [outcome], as_json=as_json)


@app.command(
    short_help="Try all that a rotation needs; name what is missing.",
    epilog="Example: `rotator check`, in an init container or before the first rotation.",
)
def check(
    ctx: typer.Context, names: NamesArgument = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Try everything a rotation needs, and say exactly what is missing. Changes nothing."""
    from rotator.cli import output as report
    from rotator.fleet import examine

    with open_fleet(ctx, config) as fleet:
        findings = []
        for finding in examine(fleet, fleet.select(names or [], everything=not names)):
            findings.append(finding)
            if not as_json:
                mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("FAIL", fg="red", bold=True)
                typer.echo(f"{mark} {visible(finding.what)}")
        if as_json:
            report.print_json({"checks": [{"ok": finding.ok, "what": finding.what} for finding in findings]})
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command(
    short_help="Serve the Account API on this machine.",
    epilog="Example: `rotator emulator --port 8081 --account abcd1234:Secret12345 --account child001:Secret12345 "
    "--primary abcd1234=child001 --fault create:drop-after`.",
)
def emulator(
    account: Annotated[list[str], typer.Option(metavar="KEY:SECRET", help="An account and its first secret.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8081,
    primary: Annotated[list[str] | None, typer.Option(metavar="KEY=CHILD", help="A primary and a secondary.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="A fault to inject; see docs/emulator.md.")] = None,
    latency: Annotated[str, typer.Option(metavar="DURATION", help="How late every answer comes.")] = "0",
    propagation: Annotated[
        str, typer.Option(metavar="DURATION", help="How long a new secret takes until it authenticates.")
    ] = "0",
    max_secrets: Annotated[int, typer.Option(min=1, help="How many secrets an account may have.")] = 2,
    too_many_status: Annotated[int, typer.Option(help="What a full account answers, 400 or 403.")] = 400,
    balance: Annotated[str, typer.Option(metavar="EUROS", help="The balance every account starts with.")] = "10",
    top_up: Annotated[str, typer.Option(metavar="EUROS", help="What one top-up adds.")] = "10",
    auto_reload: Annotated[bool, typer.Option("--auto-reload", help="Let accounts top up from the start.")] = False,
    max_calls_per_second: Annotated[
        int | None, typer.Option(min=1, help="What an account may ask in a second; without it, no limit.")
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(metavar="CALLS/PERIOD", help="Calls that each key may make, such as 30/h. Default: no limit."),
    ] = None,
    reset_unit: Annotated[Literal["s", "ms"], typer.Option(help="Unit of X-RateLimit-Reset in revision 1.0.4.")] = "ms",
    retry_after: Annotated[
        bool, typer.Option("--retry-after/--no-retry-after", help="Send Retry-After with a 429.")
    ] = True,
    check_callbacks: Annotated[
        bool, typer.Option("--check-callbacks", help="Take a callback only if it answers, on this machine.")
    ] = False,
    revision: Annotated[
        Literal["1.0.0", "1.0.4"], typer.Option(help="Revision of the Account API to serve.")
    ] = "1.0.0",
    tls_cert: Annotated[Path | None, typer.Option(help="Serve TLS with this certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
) -> None:
    """Serve the Account API on this machine, to try things and test clients without the internet."""
    from rotator.config import parse_duration
    from rotator.emulator import (
        Emulator,
        Profile,
        Revision,
        parse_account,
        parse_euros,
        parse_fault,
        parse_limit,
        parse_primary,
        serve,
    )

    try:
        server = Emulator(
            _parsed("--account", parse_account, account),
            primaries=_parsed("--primary", parse_primary, primary or []),
            faults=_parsed("--fault", parse_fault, fault or []),
            max_secrets=max_secrets,
            too_many_status=403 if too_many_status == 403 else 400,  # noqa: PLR2004
            propagation=_parsed("--propagation", parse_duration, [propagation])[0],
            latency=_parsed("--latency", parse_duration, [latency])[0],
            profile=Profile(_parsed("--balance", parse_euros, [balance])[0], auto_reload),
            top_up=_parsed("--top-up", parse_euros, [top_up])[0],
            max_calls_per_second=max_calls_per_second,
            limit=None if limit is None else _parsed("--limit", parse_limit, [limit])[0],
            reset_unit=reset_unit,
            retry_after=retry_after,
            check_callbacks=check_callbacks,
            revision=Revision(revision),
        )
        serve(server, port=port, announce=_announce, certfile=tls_cert, keyfile=tls_key)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"The emulator cannot serve: {error.strerror or type(error).__name__}") from None


@app.command(
    short_help="Rotate three accounts for real, here and now.",
    epilog="Example: `rotator demo`, and to look around afterwards `rotator demo --keep`.",
)
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running and say how to connect.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rotate three accounts for real, on an OpenBao and an Account API started for it on this machine."""
    from rotator.cli.output import print_json
    from rotator.demo import run

    raise typer.Exit(run(keep=keep, print_result=print_json if as_json else None))


@config_app.command(epilog="Example: `rotator config show`.")
def show(ctx: typer.Context, config: ConfigOption = None) -> None:
    """Print the configuration in force, defaults and variables included, as JSON; secrets are masked."""
    typer.echo(settings_of(ctx, config).model_dump_json(indent=2, exclude_none=True))


@config_app.command(epilog="Example: `rotator config schema > rotator.schema.json`.")
def schema() -> None:
    """Print the JSON schema of the configuration."""
    import json

    from rotator.config import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


# --- shared by the commands ----------------------------------------------------------------------------------


def _shard(settings: "Settings", option: str | None) -> "Shard | None":
    from rotator.fleet import parse_shard

    text = option or settings.daemon.shard
    return parse_shard(text) if text else None


def _parsed(option: str, parse: Callable[[str], T], texts: list[str]) -> list[T]:
    try:
        return [parse(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None


def _announce(url: str) -> None:
    typer.echo(f"The Account API is at {url} (both of its hosts); Ctrl-C ends it.")


def _status_row(fleet: "Fleet", account: "AccountSettings") -> tuple[dict[str, Any], bool]:
    """One account's status, and whether its journal is readable. An unreadable journal hides no other account."""
    from rotator.cli import output as report
    from rotator.core.protocol import Journal
    from rotator.documents.journal import JournalError, load_journal
    from rotator.documents.published import parse_published
    from rotator.fleet import documents_failure
    from rotator.rotation import RotationError

    document = fleet.vault.read(fleet.settings.journal_path(account))
    published = parse_published(fleet.vault.read(account.path), account.fields)
    has_secret = published.secret is not None
    try:
        stored = load_journal(document)
    except JournalError as error:
        row = report.status_json(account, Journal(), published=has_secret)
        return row | {"last_error": str(error)}, False
    fail = documents_failure(fleet, account, stored, published)
    if fail is None:
        return report.status_json(account, stored.journal, published=has_secret), True
    row = report.status_json(account, Journal(), published=has_secret)
    return row | {"last_error": str(RotationError(fail))}, True


def _max_wait(fleet: "Fleet", wait: str | None) -> "timedelta":
    from datetime import timedelta

    from rotator.config import parse_duration

    if wait is None:
        # A lease that a killed run left behind, after the lists that make an id certain.
        return fleet.settings.daemon.lease + 4 * fleet.settings.account_api.consistency_window + timedelta(seconds=1)
    return _parsed("--wait", parse_duration, [wait])[0]


def _plan(fleet: "Fleet", accounts: tuple["AccountSettings", ...], request: "Request", *, as_json: bool) -> None:
    from rotator.cli import output as report
    from rotator.core.protocol import Fail
    from rotator.rotation import Preview

    previews = sorted(fleet.preview(accounts, request), key=lambda preview: preview.account)
    now = fleet.now()
    if as_json:
        report.print_json({"accounts": [report.preview_json(preview, now) for preview in previews]})
    else:
        report.print_previews(previews, now)
    if any(not isinstance(preview, Preview) or isinstance(preview.step, Fail) for preview in previews):
        raise typer.Exit(1)


def _foresee(fleet: "Fleet", accounts: tuple["AccountSettings", ...], until: str, *, as_json: bool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from rotator.cli import output as report
    from rotator.config import parse_duration
    from rotator.core.protocol import Phase
    from rotator.core.scheduling import Member, foresee
    from rotator.documents.journal import JournalError, parse_journal
    from rotator.rotation import StoppedError

    (ahead,) = _parsed("--until", parse_duration, [until])
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
        report.print_json(report.forecast_json(forecast, left_out))
    else:
        report.print_forecast(
            forecast,
            left_out,
            fleet.settings.defaults.schedule.timezone,
            fleet.settings.account_api.max_calls_per_second,
        )


def _with_progress(outcomes: Iterator["Outcome"], total: int, *, quiet: bool) -> list["Outcome"]:
    """Collect outcomes, behind a progress bar where there are many and somebody is looking."""
    if quiet or total < 2 or not sys.stderr.isatty():  # noqa: PLR2004 - one account needs no bar
        return list(outcomes)
    from rich.console import Console
    from rich.progress import track

    return list(track(outcomes, total=total, description="rotating", console=Console(stderr=True), transient=True))


def _cancel(fleet: "Fleet", accounts: tuple["AccountSettings", ...], *, as_json: bool) -> None:
    from rotator.cli import output as report
    from rotator.fleet import Request, Wanted
    from rotator.rotation import Operator

    withdrawn = {
        account.name: Operator(fleet.rotation(account, Request(Wanted.NOTHING_NEW))).cancel() for account in accounts
    }
    if as_json:
        rows = [{"account": name, "withdrawn": report.request_json(request)} for name, request in withdrawn.items()]
        report.print_json({"accounts": rows})
        return
    for name, request in withdrawn.items():
        what = f"the request ({request.kind.value}) is withdrawn" if request else "no request is recorded"
        typer.echo(f"{name}: {what}")


def _finish(fleet: "Fleet", outcomes: list["Outcome"], *, as_json: bool, asked: bool = False) -> None:
    from rotator.cli import output as report

    if as_json:
        report.print_json(report.outcomes_json(outcomes))
    else:
        report.print_outcomes(outcomes, fleet.now(), asked=asked)
    code = report.exit_code(outcomes)
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
