"""`rotator audit`: whether the audit log is as it was written."""

from pathlib import Path
from typing import Annotated

import typer

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
from rotator.errors import ConfigError, visible

audit_app = typer.Typer(
    help="The audit log: is it as it was written, which rotation made a value.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@audit_app.command(
    short_help="Check that nothing in the audit log was changed.",
    epilog="Examples: `rotator audit verify`; of a log that logrotate moves away, oldest first, "
    "`rotator audit verify audit.jsonl.1 audit.jsonl --head 9f86d081…` with the last hash in the ordinary log; "
    "without the older files `rotator audit verify audit.jsonl --from 60303ae2…` with the hash of their last line.",
)
def verify(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="One log's files, oldest first.", show_default=False)
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="HASH", help="A hash that must be among the lines, such as the last one."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="HASH", help="The hash of the line before the first FILE, if that is missing."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check that every line is as it was written, and that none is missing or in another place.

    Without files: audit.file of the configuration. If a line is wrong, it is named, and the exit code is 1.
    """
    from dataclasses import asdict

    from rotator import audit
    from rotator.cli import output as report

    configured = None if files else settings_of(ctx, config).audit.file
    chosen = files or ([configured] if configured else [])
    if not chosen:
        raise ConfigError("There is no audit log: name its files, or set audit.file")
    verdict = audit.verify(chosen, head, start=start)
    if as_json:
        report.print_json({"ok": verdict.problem is None} | asdict(verdict))
    else:
        for note in verdict.notes:
            typer.echo(visible(f"note: {note}"))
        typer.echo(visible(verdict.problem or f"ok: {verdict.lines} lines, the last one's hash is {verdict.head}"))
    if verdict.problem is not None:
        raise typer.Exit(1)


@audit_app.command(
    short_help="Say under which fingerprint a value stands in the audit log.",
    epilog="Example: `rotator audit fingerprint abcd1234` asks for the value; then look for it in the log.",
)
def fingerprint(
    api_key: Annotated[str, typer.Argument(metavar="API_KEY", help="The account's API key.")],
    secret_stdin: SecretStdinOption = False,
    secret_file: SecretFileOption = None,
    secret_env: SecretEnvOption = None,
) -> None:
    """Say under which fingerprint a value would stand in the audit log: so a leaked one leads to its rotation.

    It has one there only if rotator made it up.
    """
    require_one_source("--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    from rotator import audit

    value = read_secret("The value", "--secret", stdin=secret_stdin, file=secret_file, variable=secret_env)
    typer.echo(audit.fingerprint(api_key, value.get_secret_value()))
