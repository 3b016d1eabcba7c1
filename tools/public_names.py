"""Find imports that bypass the `__init__` of a package.

A package lists its public names in `__all__`: classes, functions and constants, and modules that are public as a whole.
Code of another package in `rotator/` imports only these. A test may import the module that it tests.

    python -m tools.public_names             fails if there are other imports, and shows each
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parent.parent


def bypasses(folder: Path) -> Iterator[tuple[Path, int, str, str]]:
    """Yield file, line, package and name of each import of a name that the package does not list.

    Args:
        folder: The folder of the package that contains all others. Every module in it is checked.
    """
    for path in sorted(folder.rglob("*.py")):
        importer = ".".join(path.parent.relative_to(folder.parent).parts)
        for line, package, name, is_module in _taken(path.read_text(encoding="utf-8"), importer):
            public = _public(folder.parent, package)
            is_inside = f"{importer}.".startswith(f"{package}.")
            if public is not None and not is_inside and (name, is_module) not in public:
                yield path, line, package, name


def _taken(source: str, importer: str) -> Iterator[tuple[int, str, str, bool]]:
    """Yield what each import takes: its line, a package or module, the name in it, and whether that must be a module.

    Args:
        source: The text of a module.
        importer: The package that contains the module.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=module, names=names, level=level):
                taken_from = resolve_name("." * level + (module or ""), importer)
                yield from ((node.lineno, *step, True) for step in _way_to(taken_from))
                yield from ((node.lineno, taken_from, alias.name, False) for alias in names)
            case ast.Import(names=names):
                yield from ((node.lineno, *step, True) for alias in names for step in _way_to(alias.name))


def _way_to(module: str) -> Iterator[tuple[str, str]]:
    """Yield each package that contains a module, and the next module on the way to it."""
    parts = module.split(".")
    return ((".".join(parts[:length]), parts[length]) for length in range(1, len(parts)))


@cache
def _public(parent: Path, package: str) -> frozenset[tuple[str, bool]] | None:
    """Return the names that a package lists, and again with True those that can be modules; None for a module.

    A name that the package imports from one of its modules is no module, even if a module has the same name.
    """
    init = parent.joinpath(*package.split("."), "__init__.py")
    if not init.exists():
        return None
    listed: set[str] = set()
    imported: set[str] = set()
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                listed.update(ast.literal_eval(value))
            case ast.ImportFrom(module=module, names=names) if module != package:
                imported.update(alias.name for alias in names)
    return frozenset((name, False) for name in listed) | frozenset((name, True) for name in listed - imported)


def main() -> int:
    """Print each import; 1 if there is one."""
    found = list(bypasses(ROOT / "rotator"))
    for path, line, package, name in found:
        print(f"{path.relative_to(ROOT)}:{line}: {package} does not list {name} in __all__")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
