"""Find files and classes of `rotator/` that are too long to be read in one go.

python -m tools.sizes            fails if there are any, and shows each with its lines
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST_FILE = 400
LONGEST_CLASS = 250
MOST_MODULES = 8
"""How many modules stand in `rotator/` itself, beside its packages."""


def too_long(path: str, source: str) -> Iterator[str]:
    """Yield what is too long in a file: the file itself, and its classes."""
    lines = len(source.splitlines())
    if lines > LONGEST_FILE:
        yield f"{path}: {lines} lines, at most {LONGEST_FILE}"
    for node in ast.walk(ast.parse(source)) if path.endswith(".py") else ():
        if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_CLASS:
                yield f"{path}:{node.lineno}: class {node.name} has {lines} lines, at most {LONGEST_CLASS}"


def main(root: Path = ROOT) -> int:
    """Show what is too long; return the exit code."""
    source = root / "rotator"
    files = [*source.rglob("*.py"), *source.rglob("*.js")]
    found = [line for file in sorted(files) for line in too_long(str(file.relative_to(root)), file.read_text())]
    modules = [file for file in source.glob("*.py") if file.name != "__init__.py"]
    if len(modules) > MOST_MODULES:
        found.append(f"rotator/: {len(modules)} modules, at most {MOST_MODULES}")
    for line in found:
        sys.stdout.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
