"""Commands that serve: run, emulator, demo."""

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rotator.cli import exit_codes
from rotator.cli.options import ConfigOption, JsonOption, ShardOption, parsed, shard_of
from rotator.cli.signals import signals_handled_by
from rotator.cli.verbosity import invocation
from rotator.errors import ConfigError
from rotator.imports import allow_optional_imports
from rotator.startup_signals import end_guard

if TYPE_CHECKING:
    from pydantic import SecretStr

servers_app = typer.Typer(rich_markup_mode=None)


@servers_app.command(
    short_help="Run the daemon",
    epilog="Examples: `rotator run`, or with four shards `rotator run --shard auto/4`.",
)
def run(ctx: typer.Context, shard: ShardOption = None, config: ConfigOption = None) -> None:
    """Run the daemon: rotate and revoke secrets when they are due, until SIGTERM or SIGINT.

    The daemon reloads its configuration at SIGHUP, and when the file changes. It serves metrics, health and a status
    page at daemon.listen.
    """
    from rotator import logs
    from rotator.config import find_file, load
    from rotator.daemon import Daemon

    path = find_file(config or invocation(ctx).config)
    settings = load(path)
    logs.configure(settings.log.level, settings.log.format)
    streams = invocation(ctx).streams
    streams.lose_unread_errors()
    Daemon(path, settings, shard=shard_of(settings, shard), lost_lines=streams.take_lost_lines).run()


@servers_app.command(
    short_help="Serve an emulated Account API on this machine",
    epilog="Example: `rotator emulator --port 8081 --account abcd1234:Secret12345 --account child001:Secret12345 "
    "--primary abcd1234=child001 --fault create:drop-after`.",
)
def emulator(
    account: Annotated[list[str], typer.Option(metavar="KEY:SECRET", help="Account and its first secret.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for any free port.")] = 8081,
    primary: Annotated[
        list[str] | None, typer.Option(metavar="KEY=CHILD", help="Primary account and a secondary account of it.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="FAULT", help="Fault to inject, see docs/emulator.md.")
    ] = None,
    latency: Annotated[str, typer.Option(metavar="DURATION", help="Delay of every answer.")] = "0",
    propagation: Annotated[str, typer.Option(metavar="DURATION", help="Time until a new secret authenticates.")] = "0",
    max_secrets: Annotated[int, typer.Option(min=1, help="Maximum number of secrets of an account.")] = 2,
    too_many_status: Annotated[
        Literal["400", "403"], typer.Option(help="HTTP status of a create in a full account.")
    ] = "400",
    balance: Annotated[str, typer.Option(metavar="EUROS", help="Balance of every account at the start.")] = "10",
    top_up: Annotated[str, typer.Option(metavar="EUROS", help="Amount of one top-up.")] = "10",
    auto_reload: Annotated[bool, typer.Option("--auto-reload", help="Enable auto-reload for every account.")] = False,
    max_calls_per_second: Annotated[
        int | None, typer.Option(min=1, help="Maximum requests of an account per second. Default: no limit.")
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(metavar="CALLS/PERIOD", help="Maximum requests of each key, such as 30/h. Default: no limit."),
    ] = None,
    reset_unit: Annotated[Literal["s", "ms"], typer.Option(help="Unit of X-RateLimit-Reset in revision 1.0.4.")] = "ms",
    retry_after: Annotated[
        bool, typer.Option("--retry-after/--no-retry-after", help="Send Retry-After with a 429.")
    ] = True,
    check_callbacks: Annotated[
        bool, typer.Option("--check-callbacks", help="Accept a callback URL only if it answers, on this machine.")
    ] = False,
    revision: Annotated[
        Literal["1.0.0", "1.0.4"], typer.Option(help="Revision of the Account API to serve.")
    ] = "1.0.0",
    tls_cert: Annotated[
        Path | None, typer.Option(help="File of the TLS certificate (PEM). Default: plain HTTP.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="File of the certificate's key (PEM).")] = None,
    control_token_file: Annotated[
        Path | None,
        typer.Option(
            help="File of the token for changes at /_emulator. Default: ROTATOR_EMULATOR_TOKEN, or a new one."
        ),
    ] = None,
) -> None:
    """Serve an emulated Account API on the loopback interface, for tests without the internet."""
    allow_optional_imports()
    from rotator.config import parse_duration
    from rotator.core.generator import Recipe, generate
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

    given = _control_token(control_token_file)
    new = generate(Recipe())
    try:
        server = Emulator(
            parsed("--account", parse_account, account),
            primaries=parsed("--primary", parse_primary, primary or []),
            faults=parsed("--fault", parse_fault, fault or []),
            max_secrets=max_secrets,
            too_many_status=403 if too_many_status == "403" else 400,
            propagation=parsed("--propagation", parse_duration, [propagation])[0],
            latency=parsed("--latency", parse_duration, [latency])[0],
            profile=Profile(parsed("--balance", parse_euros, [balance])[0], auto_reload),
            top_up=parsed("--top-up", parse_euros, [top_up])[0],
            max_calls_per_second=max_calls_per_second,
            limit=None if limit is None else parsed("--limit", parse_limit, [limit])[0],
            reset_unit=reset_unit,
            retry_after=retry_after,
            check_callbacks=check_callbacks,
            revision=Revision(revision),
            control_token=given or new,
        )
        end_guard()  # the server handles signals itself
        announce = partial(_announce, new_token=None if given else new)
        serve(server, port=port, announce=announce, certfile=tls_cert, keyfile=tls_key)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"The emulator cannot serve: {error.strerror or type(error).__name__}") from None


@servers_app.command(
    short_help="Rotate three accounts on servers that it starts here",
    epilog="Examples: `rotator demo`, `rotator demo --keep`.",
)
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the servers running until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start an OpenBao and an emulated Account API on this machine, and rotate three accounts there."""
    allow_optional_imports()
    import threading

    from rotator.cli.demo_output import print_connection, print_result, print_scene, print_servers, result_json
    from rotator.cli.terminal import print_json
    from rotator.demo import play, running_stage

    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the library's
        stop.set()
        raise KeyboardInterrupt

    with signals_handled_by(on_signal):
        try:
            with running_stage(stop) as stage:
                print_servers(stage, to_stderr=as_json)
                result = play(stage, partial(print_scene, to_stderr=as_json))
                print_result(result, to_stderr=as_json)
                if as_json:
                    print_json(result_json(result))
                if keep:
                    print_connection(stage, to_stderr=as_json)
                    with suppress(KeyboardInterrupt):
                        stop.wait()
        except KeyboardInterrupt:
            typer.echo("interrupted; everything is cleaned up", err=as_json)
            raise typer.Exit(exit_codes.of_signal(signal.SIGINT)) from None
    raise typer.Exit(exit_codes.DONE if result.succeeded else exit_codes.FAILED)


def _control_token(file: Path | None) -> "SecretStr | None":
    from pydantic import SecretStr

    from rotator.config import one_line, read_secret_file

    if file is not None:
        return SecretStr(read_secret_file(file))
    variable = os.environ.get("ROTATOR_EMULATOR_TOKEN")
    return SecretStr(one_line(variable, "ROTATOR_EMULATOR_TOKEN")) if variable else None


def _announce(url: str, new_token: "SecretStr | None") -> None:
    typer.echo(f"The Account API is at {url} (both of its hosts); Ctrl-C ends it.")
    if new_token is not None:
        typer.echo(f"The token for changes at {url}/_emulator is {new_token.get_secret_value()}")
