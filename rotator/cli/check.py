"""The command `rotator check`."""

from typing import Annotated

import typer

from rotator.cli import exit_codes
from rotator.cli.options import ConfigOption, JsonOption, NamesArgument, open_fleet
from rotator.cli.verbosity import AccountCommand, invocation
from rotator.errors import visible

check_app = typer.Typer(rich_markup_mode=None)


@check_app.command(
    cls=AccountCommand,
    short_help="Check everything that a rotation needs",
    epilog="Example: `rotator check`, in an init container or before the first rotation.",
)
def check(
    ctx: typer.Context,
    names: NamesArgument = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if an account is not adopted yet. Default: exit with 0.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check everything that a rotation needs, and name what is missing. Change nothing.

    The exit code is that of a rotation: 1 if Vault or an account fails, 2 if the configuration or the policy is wrong.
    """
    from collections import Counter

    from rotator.cli.progress import showing_progress
    from rotator.cli.terminal import Styled, echo, print_json
    from rotator.fleet import State, examine

    marks = {
        State.OK: Styled("ok   ", "green"),
        State.NOTE: Styled("note ", "cyan"),
        State.TO_DO: Styled("to do", "yellow"),
        State.FAILED: Styled("FAIL ", "red", bold=True),
    }
    quiet = invocation(ctx).quiet or as_json
    with open_fleet(ctx, config) as fleet:
        accounts = fleet.select(names)
        with showing_progress(ctx, len(accounts), "checking") as progress:
            findings = list(examine(fleet, accounts, on_account=progress.advance))
    for finding in findings:
        if not quiet or (finding.state is State.FAILED and not as_json):
            echo(marks[finding.state], " ", visible(finding.what))
    counts = Counter(finding.state for finding in findings)
    if as_json:
        checks = [{"ok": one.ok, "state": one.state.value, "what": one.what} for one in findings]
        print_json({"checks": checks, **{state.value: counts[state] for state in State}})
    elif not quiet:
        words = {State.OK: "ok", State.NOTE: "notes", State.TO_DO: "to do", State.FAILED: "failed"}
        echo(", ".join(f"{counts[state]} {word}" for state, word in words.items()))
    code = max((finding.exit_code for finding in findings), default=exit_codes.DONE)
    if code or (strict and counts[State.TO_DO]):
        raise typer.Exit(code or exit_codes.FAILED)
