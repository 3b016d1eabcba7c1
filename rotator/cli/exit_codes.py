"""Exit codes of the commands. An error has its own, in `rotator/errors.py`: FAILED or USAGE, as a rule."""

import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotator.rotation import Outcome

DONE = 0
FAILED = 1
# The configuration or the command line is wrong. The library of the command line ends with the same code.
USAGE = 2
DEFERRED = 3


def of_signal(number: int) -> int:
    """Return the code of a command that a signal ended, as shells report it."""
    return 128 + number


def of_outcomes(outcomes: Iterable["Outcome"]) -> int:
    """Return DONE, FAILED if a run failed, or DEFERRED if none failed but one is deferred."""
    from rotator.rotation import Result

    results = {outcome.result for outcome in outcomes}
    if Result.FAILED in results:
        return FAILED
    return DEFERRED if Result.DEFERRED in results else DONE


HELP = (
    f"Exit codes: {DONE} done, {FAILED} an account failed, {USAGE} usage or configuration, "
    f"{DEFERRED} an account is deferred, {of_signal(signal.SIGINT)} ended by Ctrl-C, "
    f"{of_signal(signal.SIGTERM)} by SIGTERM."
)
