"""`rotator audit`: whether the audit log is as it was written."""

from pathlib import Path
from typing import Annotated

import typer

from rotator.cli import exit_codes
from rotator.cli.options import (
    ConfigOption,
    JsonOption,
    SecretEnvOption,
    SecretFileOption,
    SecretStdinOption,
    read_secret,
    require_one_source,
    settings_of,
)
from rotator.cli.verbosity import ReticentCommand
from rotator.errors import ConfigError, visible

audit_app = typer.Typer(
    help="Verify the audit log and search it",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@audit_app.command(
    short_help="Verify the chain of hashes in the audit log",
    epilog="Examples: `rotator audit verify`; of a log that logrotate moves away, oldest first, "
    "`rotator audit verify audit.jsonl.1 audit.jsonl --head 9f86d081…` with the last hash in the ordinary log; "
    "without the older files `rotator audit verify audit.jsonl --from 60303ae2…` with the hash of their last line.",
)
def verify(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Files of one log, oldest first. Default: audit.file.", show_default=False),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="HASH", help="Hash that the log must contain, 64 hexadecimal digits.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="HASH",
            help="Hash of the line before the first FILE, if that file is missing.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Verify that every line is unchanged, and that no line is missing or in another place.

    If a line is wrong, the command names the first one and ends with exit code 1.
    """
    from dataclasses import asdict

    from rotator.audit.verify import verify as verify_files
    from rotator.cli.terminal import echo, print_json

    configured = None if files else settings_of(ctx, config).audit.file
    chosen = files or ([configured] if configured else [])
    if not chosen:
        raise ConfigError("There is no audit log: name its files, or set audit.file")
    verdict = verify_files(chosen, head, start=start)
    if as_json:
        print_json({"ok": verdict.problem is None} | asdict(verdict))
    else:
        for note in verdict.notes:
            echo(visible(f"note: {note}"))
        good = (
            f"{verdict.lines} lines, the last one's hash is {verdict.head}" if verdict.lines else "the log has no line"
        )
        echo(visible(verdict.problem or f"ok: {good}"))
    if verdict.problem is not None:
        raise typer.Exit(exit_codes.FAILED)


@audit_app.command(
    cls=ReticentCommand,
    short_help="Print the fingerprint of a value in the audit log",
    epilog="Example: `rotator audit fingerprint abcd1234` asks for the value; then look for it in the log.",
)
def fingerprint(
    api_key: Annotated[str, typer.Argument(metavar="API_KEY", help="API key of the account.")],
    secret_stdin: SecretStdinOption = False,
    secret_file: SecretFileOption = None,
    secret_env: SecretEnvOption = None,
) -> None:
    """Print the fingerprint of a value. Search the audit log for it to find the rotation that created the value.

    The audit log contains fingerprints only of values that rotator generated.
    """
    require_one_source("--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    from rotator import audit

    value = read_secret("The value", "--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    typer.echo(audit.fingerprint(api_key, value.get_secret_value()))
