"""Imports that a short command does without: they would take a third of its CPU."""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

# structlog would import rich for tracebacks with colors, httpx click for its command line, httpcore anyio for asyncio.
# The progress on a terminal and the emulator need them later.
_LATER = ("rich.console", "rich.pretty", "rich.traceback", "click", "anyio")
# requests, below hvac, would import a detector of text encodings; httpx lexers for its command line; httpcore HTTP/2;
# structlog greenlets, if another program in the same environment needs them.
_NEVER = ("chardet", "charset_normalizer", "pygments.lexers", "h2", "greenlet")


def omit_optional_imports() -> None:
    """Let libraries find that optional parts are missing, and pydantic that there are no plugins.

    pydantic searches the metadata of every installed package for plugins, and would show them the settings.
    """
    sys.modules.update(dict.fromkeys((*_LATER, *_NEVER)))  # type: ignore[arg-type] # None marks a missing module
    warnings.filterwarnings("ignore", message="Unable to find acceptable character detection dependency")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def allow_optional_imports() -> None:
    """Let the parts that some commands need be imported again."""
    for name in _LATER:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]


def import_clients() -> None:
    """Import the libraries of both clients, before a module imports them from within many other imports.

    Python 3.11 keeps calls in pieces of 16 KiB. Where a piece ends, each call allocates and frees the next piece. The
    imports of hvac are that deep otherwise, and take four times as many system calls for memory.
    """
    import httpx  # noqa: F401
    import hvac  # noqa: F401


def import_on_use(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's `__getattr__`, which imports a module when one of its names is used for the first time.

    Args:
        package: Name of the package.
        modules: The module of each name.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return get
