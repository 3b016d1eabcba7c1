"""Verbosity of a command: sentences by default, the log with -v, or failures only with -q."""

import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand

from rotator.cli.signals import CommandSignals
from rotator.cli.streams import StandardStreams
from rotator.imports import import_clients

if TYPE_CHECKING:
    from rotator.config import Settings

_VERBOSE_HELP = "Show the log; -vv shows each request, too."
_QUIET_HELP = "Print failures only."
VerboseOption = Annotated[int, typer.Option("--verbose", "-v", count=True, help=_VERBOSE_HELP, show_default=False)]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help=_QUIET_HELP)]


@dataclass
class Invocation:
    """Options that are valid before or after the name of a command.

    Attributes:
        config: The configuration file; None: the usual places.
        verbose: The number of -v.
        quiet: Whether to print failures only.
        as_json: Whether a program reads the standard output.
        writes_log: Whether the log goes to standard error.
        signals: The signals that the command receives.
        streams: The standard streams.
    """

    config: Path | None = None
    verbose: int = 0
    quiet: bool = False
    as_json: bool = False
    writes_log: bool = False
    signals: CommandSignals = field(default_factory=CommandSignals)
    streams: StandardStreams = field(default_factory=StandardStreams)

    @property
    def shows_progress(self) -> bool:
        """Whether sentences say what a run waits for. The log says it, too: the two are never mixed."""
        return not self.quiet and not self.writes_log

    def configure_logs(self, settings: "Settings") -> None:
        """Send the log to standard error if the user or a program reads it.

        That is the case with -v, or if standard error is no terminal and the log format is JSON. Otherwise a command
        prints sentences.
        """
        import logging

        from rotator import logs
        from rotator.cli.notices import Notices

        on_terminal = sys.stderr.isatty()
        self.writes_log = True
        if self.verbose:
            level = "info" if self.verbose == 1 else "debug"
            logs.configure(level, "console" if on_terminal else settings.log.format)
            return
        logs.configure(settings.log.level, settings.log.format)
        if self.quiet or on_terminal or settings.log.format != "json":
            # The loggers still make their events: `Progress` and `Notices` print sentences for the user.
            logs.configure("info", settings.log.format)
            root = logging.getLogger()
            # A file or a journal keeps the hashes of the audit log, so nothing filters them. A terminal keeps nothing.
            logging.getLogger(logs.UNFILTERED).handlers[:] = [] if on_terminal else root.handlers
            root.handlers[:] = [Notices(failures_only=self.quiet)]
            self.writes_log = False


def invocation(ctx: typer.Context) -> Invocation:
    """Return the options of this call."""
    return ctx.find_root().ensure_object(Invocation)


def _add_verbose(ctx: typer.Context, value: int) -> None:
    invocation(ctx).verbose += value


def _add_quiet(ctx: typer.Context, value: bool) -> None:
    invocation(ctx).quiet |= value


def _shared(
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            expose_value=False,
            callback=_add_verbose,
            help=_VERBOSE_HELP,
            show_default=False,
        ),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", expose_value=False, callback=_add_quiet, help=_QUIET_HELP)
    ] = False,
) -> None:
    """The options of each `AccountCommand`."""


@cache
def _shared_options() -> list[Any]:
    template = typer.Typer(add_completion=False)
    template.command()(_shared)
    return typer.main.get_command(template).params


class ReticentCommand(TyperCommand):
    """A command that counts the arguments which are too many, and does not repeat them: one can be a secret."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        ctx.allow_extra_args = True
        surplus: list[str] = super().parse_args(ctx, args)
        if surplus and not ctx.resilient_parsing:
            count = "1 argument is" if len(surplus) == 1 else f"{len(surplus)} arguments are"
            ctx.fail(
                f"{count} too many. If one of them is a secret, replace that secret: other users of this machine and "
                "the shell's history can show it"
            )
        return surplus


class AccountCommand(ReticentCommand):
    """A command that works on accounts: with -v and -q."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _shared_options()

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        import_clients()
        return super().invoke(ctx)
