"""The entry point of the command `rotator`, also as `python -m rotator`."""

import gc
import sys
from typing import NoReturn

from rotator.imports import omit_optional_imports
from rotator.startup_signals import guard_startup

# Garbage collection during imports finds nothing and takes a third of the time of a short command. It starts after this
# number of new objects, which is above those of all imports: 100,000 of `rotate-now`.
_GARBAGE = 200_000


def main() -> NoReturn:
    """Guard the start of a daemon against early signals, then run the command."""
    gc.set_threshold(_GARBAGE)
    guard_startup(sys.argv[1:])
    omit_optional_imports()
    from rotator.cli.app import main as command

    command()


if __name__ == "__main__":
    main()
