"""The commands of `rotator config`."""

import typer

from rotator.cli.options import ConfigOption, settings_of

config_app = typer.Typer(help="Show the configuration and its schema", no_args_is_help=True, rich_markup_mode=None)


@config_app.command(short_help="Print the configuration as JSON", epilog="Example: `rotator config show`.")
def show(ctx: typer.Context, config: ConfigOption = None) -> None:
    """Print the configuration as JSON, with defaults and environment variables. Secrets are masked."""
    typer.echo(settings_of(ctx, config).model_dump_json(indent=2, exclude_none=True))


@config_app.command(
    short_help="Print the JSON schema of the configuration",
    epilog="Example: `rotator config schema > rotator.schema.json`.",
)
def schema() -> None:
    """Print the JSON schema of the configuration."""
    import json

    from rotator.config import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))
