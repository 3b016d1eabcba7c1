"""Count phrases in rotator's texts that readers stumble over.

The tool looks for the patterns in README.md, in the comments of config.example.toml, and in every comment, docstring
and string of `rotator/`. Few hits are right where they stand, so the sum has a bound and not the value 0.
The tool also finds test functions whose names are too long. None is allowed.

    python -m tools.style_patterns            fails if there are more hits than allowed, or a long test name
    python -m tools.style_patterns --list     shows each hit
"""

import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST = 20
MOST_WORDS = 8
PATTERNS = {
    "subject clause": r"(?:^|[.:;|] )(?:What|Who|Whoever|Whatever)\b(?![^.:;|]*\?)",
    "nobody": r"\b(?:some|any|every|no)body\b|\bwhoever\b",
    "riddle passive": r"\b(?:is|are|was|were) (?:told|asked|believed|heard|said)\b|\bis to be\b",
    "metaphor": r"\b(?:teller|cashier|keeper|brake|mend(?:s|ed)?)\b"
    r"|\b(?:at work on|made up for|looks? after|taken on|is away)\b",
    "private word": r"\banew\b|\bgoes well\b|\b(?:all|it) goe?s? on\b|\b(?:leaves? (?:it|them)|left) alone\b"
    r"|\bthe (?:secret|one) before\b|\ba runner\b",
    "so many": r"\bso (?:many|long|much)\b",
}
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"^ *(?:async )?def test_(\w+)", re.MULTILINE)
_QUOTES = re.compile(r"^[rbfuRBFU]*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each text of a file with its line: lines of Markdown, comments of TOML, comments and strings of Python."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        blank = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), content)
        yield from enumerate(blank.splitlines(), start=1)
        return
    if path.suffix == ".toml":
        for number, line in enumerate(content.splitlines(), start=1):
            comment = line.lstrip("# ") if line.startswith("#") else line
            yield number, comment.rpartition(" # ")[2]
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
        elif token.type == tokenize.STRING:
            for offset, line in enumerate(_QUOTES.sub("", token.string).splitlines()):
                yield token.start[0] + offset, line.strip()


def hits() -> Iterator[tuple[Path, int, str, str]]:
    """Yield file, line, pattern and text of each hit."""
    for path in (ROOT / "README.md", ROOT / "config.example.toml", *sorted((ROOT / "rotator").rglob("*.py"))):
        for line, text in texts(path):
            for name, pattern in PATTERNS.items():
                for _ in re.finditer(pattern, text, re.IGNORECASE):
                    yield path.relative_to(ROOT), line, name, text


def long_names() -> Iterator[tuple[Path, str]]:
    """Yield file and name of each test function that has too many words after `test_`."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name in _TEST.findall(path.read_text(encoding="utf-8")):
            if len(name.split("_")) > MOST_WORDS:
                yield path.relative_to(ROOT), f"test_{name}"


def main(arguments: list[str]) -> int:
    """Print the hits by file, or each of them, and long test names; 1 if there are too many."""
    found = list(hits())
    if "--list" in arguments:
        for path, line, name, text in found:
            print(f"{path}:{line}: {name}: {text}")
    else:
        for path, count in Counter(hit[0] for hit in found).most_common():
            print(f"{count:4} {path}")
    print(f"{len(found)} hits; at most {MOST} are allowed")
    too_long = list(long_names())
    for path, name in too_long:
        print(f"{path}: {name}: more than {MOST_WORDS} words")
    return int(len(found) > MOST or bool(too_long))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
