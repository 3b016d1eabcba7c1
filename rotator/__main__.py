"""The entry point of the command `rotator`, also as `python -m rotator`."""

import sys
from typing import NoReturn

from rotator.signals import guard_startup


def main() -> NoReturn:
    """Guard the start of a daemon against early signals, then run the command."""
    guard_startup(sys.argv[1:])
    from rotator.cli.app import main as command

    command()


if __name__ == "__main__":
    main()
