"""Optional parts of libraries that rotator does not use: to import them takes a third of the CPU of a short command."""

import os
import sys
import warnings

# structlog would import these for tracebacks with colors. The progress on a terminal needs them later.
_OF_RICH = ("rich.console", "rich.pretty", "rich.traceback")
# requests, below hvac, would import a detector of text encodings; httpx its command line, with the lexers; httpcore
# HTTP/2.
_NEVER = ("chardet", "charset_normalizer", "pygments.lexers", "h2")


def omit_optional_imports() -> None:
    """Let libraries find that optional parts are missing, and pydantic that there are no plugins.

    pydantic searches the metadata of every installed package for plugins, and would show them the settings.
    """
    sys.modules.update(dict.fromkeys((*_OF_RICH, *_NEVER)))  # type: ignore[arg-type] # None marks a missing module
    warnings.filterwarnings("ignore", message="Unable to find acceptable character detection dependency")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def allow_rich() -> None:
    """Let the parts of rich be imported again."""
    for name in _OF_RICH:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]
