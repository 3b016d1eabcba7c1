"""The command line: parses, calls and prints.

The module `app` is public as a whole. A daemon guards its start against signals before it imports the commands.
"""

__all__ = ["app"]
