"""The `rotator` command. The commands import heavy modules themselves, so that --help is fast."""

import gc
import sys
from typing import Annotated, NoReturn

import typer

from rotator.cli import exit_codes
from rotator.cli.account import account_app
from rotator.cli.adopt import adopt_app
from rotator.cli.audit import audit_app
from rotator.cli.check import check_app
from rotator.cli.config import config_app
from rotator.cli.failure import print_failure, report
from rotator.cli.forecast import forecast_app
from rotator.cli.hardening import harden
from rotator.cli.options import ConfigOption
from rotator.cli.rotate import rotate_app
from rotator.cli.servers import servers_app
from rotator.cli.status import status_app
from rotator.cli.streams import StandardStreams
from rotator.cli.verbosity import Invocation, QuietOption, VerboseOption, invocation
from rotator.errors import ConfigError, RotatorError

app = typer.Typer(
    name="rotator",
    help="Rotate the API secrets of Nexmo/Vonage accounts and publish them in Vault.",
    epilog=exit_codes.HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (rotate_app, adopt_app, status_app, check_app, forecast_app, servers_app):
    app.add_typer(group)
app.add_typer(account_app, name="account")
app.add_typer(config_app, name="config")
app.add_typer(audit_app, name="audit")


def main() -> NoReturn:
    """The entry point: errors that rotator foresaw are one line and an exit code."""
    streams = StandardStreams()
    call = Invocation(streams=streams)
    try:
        code = _run(call)
    finally:
        lost = streams.finish()
        gc.freeze()  # nor at the end: the process is about to be gone
    if lost is not None:
        result = "The exit code says how the accounts are" if call.signals.is_changing else "The output is incomplete"
        print(f"rotator: Standard output cannot be written: {lost.strerror}. {result}.", file=sys.stderr)  # noqa: T201
        if not call.signals.is_changing:
            code = code or exit_codes.FAILED
    sys.exit(code)


def _run(call: Invocation) -> int:
    """Run the command; return its exit code."""
    try:
        app(prog_name="rotator", standalone_mode=True, obj=call)
    except RotatorError as error:
        report(error, as_json=call.as_json)
        return error.exit_code
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        is_own = isinstance(ended.__context__, typer.Exit)  # a command has printed its result and chosen its code
        if code == exit_codes.USAGE and not is_own and "--json" in sys.argv[1:]:
            wrong = "The command line is wrong, as standard error says"
            print_failure(ConfigError(wrong, unchanged="Nothing was contacted or written"))
        return code
    return exit_codes.DONE


def _version(value: bool) -> None:
    if value:
        from rotator import __version__

        typer.echo(f"rotator {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    config: ConfigOption = None,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    harden()
    call = invocation(ctx)
    call.config = config
    call.verbose = verbose
    call.quiet = quiet
