"""The entry point of the command `rotator`, also as `python -m rotator`."""

import gc
import os
import sys
import warnings
from typing import NoReturn

from rotator.signals import guard_startup

# Garbage collection during imports finds nothing and takes a third of the time of a short command. It starts after this
# number of new objects, which is above those of all imports.
_GARBAGE = 100_000
# Optional parts of libraries that rotator never uses, which take a quarter of the CPU of a short command's start.
# structlog imports rich for tracebacks with colors. requests, below hvac, imports a detector of text encodings.
_UNUSED = ("rich.console", "rich.pretty", "rich.traceback", "chardet", "charset_normalizer")


def main() -> NoReturn:
    """Guard the start of a daemon against early signals, then run the command."""
    gc.set_threshold(_GARBAGE)
    guard_startup(sys.argv[1:])
    _omit_unused()
    from rotator.cli.app import main as command

    command()


def _omit_unused() -> None:
    """Let imports find that optional parts are missing, and pydantic that there are no plugins.

    pydantic searches the metadata of every installed package for plugins, and would show them the settings.
    """
    sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type] # None marks a module as missing
    warnings.filterwarnings("ignore", message="Unable to find acceptable character detection dependency")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


if __name__ == "__main__":
    main()
