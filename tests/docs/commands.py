"""The commands that the documentation shows.

A command is a line of a `sh` or `console` block, a line of an indented block that starts with a program, or a program
with arguments between backticks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "amtool|bandit|bao|cosign|curl|docker|faketime|git|helm|install|journalctl|kubectl|make|pip|promtool|python|python3"
    "|rotator|sh|sudo|systemctl|systemd-[a-z]+|vault"
)
_ASSIGNMENTS = r"(?:[A-Z_]+=\S+ +)*"
_COMMAND = re.compile(rf"{_ASSIGNMENTS}(?:export |cd |(?:\S*/)?(?:{PROGRAMS}|setup\.sh)(?: |$))")
_FENCE = re.compile(r" *```(\w*)")
_SHELL = {"sh", "bash", "shell"}


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        page: The page, relative to the repository.
        line: Its line there.
        text: One line of shell, without a remark.
        inline: Whether it is part of a sentence or of a table.
    """

    page: str
    line: int
    text: str
    inline: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[Path]:
    """Return every page of documentation."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    return sorted(page for page in found if page.name != "CHANGELOG.md")


def commands(page: Path) -> list[Command]:
    """Return the commands of a page, in their order."""
    name = str(page.relative_to(ROOT))
    text = page.read_text(encoding="utf-8")
    found = [Command(name, line, _bare(command)) for line, command in _shown(text)]
    return found + [Command(name, line, command, inline=True) for line, command in _inline(text)]


def _shown(text: str) -> Iterator[tuple[int, str]]:
    """Yield the commands of blocks, with their lines. A backslash, a pipe or && at a line's end continues it."""
    fence: str | None = None
    begun: tuple[int, str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _FENCE.match(line):
            fence = found[1] or "text" if fence is None else None
            continue
        if begun:
            begun = (begun[0], begun[1] + " " + line.strip())
        elif command := _command(line, fence):
            begun = (number, command)
        if begun and begun[1].endswith("\\"):
            begun = (begun[0], begun[1][:-1].rstrip())
        elif begun and not begun[1].endswith(("|", "&&")):
            yield begun
            begun = None


def _command(line: str, fence: str | None) -> str | None:
    stripped = line.strip()
    if fence == "console":
        return stripped.removeprefix("$ ") if stripped.startswith("$ ") else None
    if fence in _SHELL:
        return stripped if stripped and not stripped.startswith("#") else None
    indented = fence is None and re.match(r" {4,}\S", line)
    return stripped if indented and _COMMAND.match(stripped) else None


def _inline(text: str) -> Iterator[tuple[int, str]]:
    """Yield the programs with arguments that stand between backticks outside blocks."""
    fence = False
    prose = []
    for line in text.splitlines():
        is_fence = bool(_FENCE.match(line))
        prose.append("" if fence or is_fence or re.match(r" {4,}\S", line) else line)
        fence ^= is_fence
    whole = "\n".join(prose)
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", whole):
        command = " ".join(found[1].replace("\\|", "|").split())
        if " " in command and _COMMAND.match(command):
            yield whole[: found.start()].count("\n") + 1, command


def _bare(command: str) -> str:
    """Return a command without its remark."""
    return re.sub(r"\s+#\s.*$", "", command)
