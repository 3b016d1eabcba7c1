"""Find private names that are used outside their module.

A name with a leading underscore is an implementation detail of the module that defines it. Another module, a test
included, may neither import it nor read or replace it, and the same holds for the private names of a library.

    python -m tools.private_names            fails if there are such uses, and shows each
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("rotator", "tests", "testkit", "benchmarks", "deploy", "tools")
# Names that their library documents as public although they begin with an underscore.
PUBLIC = frozenset({"_exit", "_replace", "_asdict", "_fields", "_make", "_value_", "_name_"})
_PRIVATE = re.compile(r"_(?!_)\w+")
_BY_NAME = ("getattr", "setattr", "hasattr", "delattr")


def is_private(name: str) -> bool:
    """Tell whether a name is private: one leading underscore, and not documented as public."""
    return _PRIVATE.fullmatch(name) is not None and name not in PUBLIC


def uses(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each private name that a module's source takes from another module."""
    tree = ast.parse(source)
    own, imported = set(_defined(tree)), set(_imported(tree))
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                taken = [*(module or "").split("."), *(alias.name for alias in names)]
            case ast.Import(names=names):
                taken = [part for alias in names for part in alias.name.split(".")]
            case ast.Attribute(value=value, attr=name):
                of_module = isinstance(value, ast.Name) and value.id in imported
                taken = [name] if of_module or name not in own else []
            case ast.Call(func=ast.Name(id=function) | ast.Attribute(attr=function)) if function in _BY_NAME:
                taken = [name for name in _named_by_text(node) if name not in own]
            case _:
                continue
        yield from ((node.lineno, name) for name in taken if is_private(name))


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yield each name that a module gives to something: functions, classes, variables, attributes of `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield each name that an import binds."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)


def _named_by_text(call: ast.Call) -> Iterator[str]:
    """Yield the names in the first two arguments of `getattr` and the like: "_name", or "package.module._name"."""
    for arg in call.args[:2]:
        if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
            yield from arg.value.split(".")


def main() -> int:
    """Print each use; 1 if there is one."""
    found = [
        (path.relative_to(ROOT), line, name)
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in uses(path.read_text(encoding="utf-8"))
    ]
    for path, line, name in found:
        print(f"{path}:{line}: {name} is private to another module")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
