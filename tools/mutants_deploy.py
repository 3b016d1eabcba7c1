"""Breaks deploy/ line by line and sees whether a test notices: `make mutants-deploy`, not part of `make test`.

Each file has tests that guard it. Of its lines that say something (no remark, no text for people, no lone bracket) each
is left out once and garbled once, in a copy of the tree, and the tests have to fail. Some lines are what they are for
reasons that no test can see; EQUIVALENT says which and why.

    python -m tools.mutants_deploy [--sample N] [--seed N] [FILE ...]
"""

import argparse
import importlib
import io
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tools.mutants_equivalent import EQUIVALENT

ROOT = Path(__file__).parent.parent
COPIED = ("deploy", "docs", "requirements", "rotator", "tests", ".github")
FILES = ("Dockerfile", ".dockerignore", "Makefile", "README.md", "config.example.toml", "pyproject.toml", "LICENSE")

CHART = ("tests/deploy/test_chart.py", "tests/deploy/test_chart_objects.py", "tests/deploy/test_chart_values.py")
GENERATED = f"{CHART[-1]}::test_generated_files_are_up_to_date"
COMPOSE, CONSUMERS = "tests/deploy/test_compose.py", "tests/deploy/test_consumers.py"
VAULT = "tests/vault/test_setup.py"
# The first pattern that fits. What is generated from the chart is compared with it; the chart itself has to be held by
# what its tests say of it, not by what was generated before.
GUARDS: dict[str, tuple[str, ...]] = {
    "deploy/compose/grafana/*": (COMPOSE, "-k", "grafana"),
    "deploy/compose/compose.yaml": (COMPOSE, "-k", "not rotates_both"),
    "deploy/compose/*": (COMPOSE,),
    "deploy/consumers/*.yaml": (CONSUMERS, "-k", "operator or external"),
    "deploy/consumers/*": (CONSUMERS, "-k", "agent or client"),
    "deploy/grafana/*": ("tests/deploy/test_dashboard.py",),
    "deploy/helm/rotator/files/*": (GENERATED,),
    "deploy/helm/rotator/README.md": (GENERATED,),
    "deploy/helm/rotator/values.schema.json": CHART,  # in part from rotator's own schema, which is compared as well
    "deploy/helm/*": (*CHART, f"--deselect={GENERATED}"),
    "deploy/kubernetes/*": (GENERATED,),
    "deploy/prometheus/prometheus.yml": (
        *("tests/deploy/test_alerts.py", COMPOSE, "tests/deploy/test_prometheus.py"),
        *("-k", "promtool_accepts or prometheus_scrapes or hastened or circuit_breaker or example_scrapes"),
    ),
    "deploy/prometheus/*": ("tests/deploy/test_alerts.py",),
    "deploy/render.py": (GENERATED,),
    "deploy/systemd/rotator-ctl": ("tests/deploy/test_rotator_ctl.py",),
    "deploy/systemd/*": ("tests/daemon/test_systemd.py", "-k", "unit"),
    "deploy/vault/consumer-*": (VAULT, CONSUMERS),
    "deploy/vault/*": (VAULT,),
    "Dockerfile": ("tests/deploy/test_image.py",),
    ".dockerignore": ("tests/deploy/test_image.py",),
    ".github/workflows/*": ("tests/deploy/test_supply_chain.py", "-k", "workflow"),
}

_NOTHING = re.compile(r"[\s\[\]{}(),;\-]*|---|EOF|END|fi|done|\}?\s*else\s*\{?|\{\{-? (end|else) -?\}\}")
_REMARK = re.compile(r"\s*(#|//|\{\{-?\s*/\*)")
_FOR_PEOPLE = re.compile(r"(\s*)(- )?\"?([dD]escription|summary|org\.opencontainers\.image\.description)\"?\s*[:=]")
_WORD = re.compile(r"[A-Za-z]{2,}|[0-9]+")
# A step deeper is the same to YAML, mostly; what is put in there is not.
_HOW_DEEP = re.compile(r"\| nindent \d+ -?\}\}\s*$")
LONGEST = 300
# What was preloaded cannot be rewritten for pytest, and need not be: it is not a test.
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning")
# A test failed, or could not even be collected or found, or did not end.
FAILED = (
    *(pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR),
    -signal.SIGALRM,
)


@dataclass(frozen=True)
class Mutant:
    """A file with one line that is wrong; `line` counts from 1, `text` is the line as it should be."""

    file: str
    line: int
    text: str
    kind: str
    content: str

    @property
    def equivalent(self) -> str | None:
        """Why no test can see it; None if one should."""
        reasons = (
            why
            for (file, kinds, text), why in EQUIVALENT.items()
            if fnmatch(self.file, file) and kinds in (self.kind, "both") and text == self.text.strip()
        )
        return next(reasons, None)


def guarded() -> list[str]:
    """Every file that has to have a guard."""
    found = (path for path in (ROOT / "deploy").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    workflows = (ROOT / ".github" / "workflows").iterdir()
    return [*sorted(str(path.relative_to(ROOT)) for path in (*found, *workflows)), ".dockerignore", "Dockerfile"]


def guards(file: str) -> tuple[str, ...]:
    """What pytest is to run for it."""
    return next(tests for pattern, tests in GUARDS.items() if fnmatch(file, pattern))


def mutants(file: str) -> Iterator[Mutant]:
    """Every way to break it that is tried."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines(keepends=True)
    for number in significant(file, lines):
        line = lines[number]
        yield Mutant(file, number + 1, line, "left out", "".join(lines[:number] + lines[number + 1 :]))
        garbled = garble(line)
        if garbled is not None:
            content = "".join([*lines[:number], garbled, *lines[number + 1 :]])
            yield Mutant(file, number + 1, line, "garbled", content)


def significant(file: str, lines: Sequence[str]) -> Iterator[int]:
    """The lines that say something to a machine."""
    people_until: int | None = None
    quoted = False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if file.endswith(".py") and line.count('"""') % 2:
            quoted = not quoted
            continue
        if people_until is not None and (indent > people_until or not line.strip()):
            continue
        people_until = None
        if quoted or '"""' in line or _NOTHING.fullmatch(line.strip()) or _REMARK.match(line):
            continue
        if file.endswith("NOTES.txt") and not re.match(r"\s|.*\{\{", line):
            continue
        if _FOR_PEOPLE.match(line):
            people_until = indent if line.rstrip().endswith((">-", "|-", ">", "|")) else None
            continue
        yield number


def garble(line: str) -> str | None:
    """The line with its last word or number changed; None if it has none."""
    if 'fail "' in line:  # what it says is for people; that it says it is held by leaving it out
        return None
    code = _HOW_DEEP.sub("", re.split(r"\s#\s", line)[0])
    words = list(_WORD.finditer(code))
    if not words:
        return None
    last = words[-1]
    text = last[0]
    opposite = {"true": "false", "false": "true"}
    wrong = str(int(text) + 1) if text.isdigit() else opposite.get(text, text + "x")
    return line[: last.start()] + wrong + line[last.end() :]


# --- running --------------------------------------------------------------------------------------------------


# What most tests import, and none of them changes: a test's process begins with it.
PRELOADED = (
    "rotator.cli.app",
    "rotator.daemon.daemon",
    "rotator.emulator",
    "rotator.cli.account",
    "jsonschema",
    "yaml",
    "hvac",
)


def set_up(parent: Path) -> None:
    """A worker's own copy of the tree, which it works in."""
    for module in PRELOADED:
        importlib.import_module(module)
    tree = Path(tempfile.mkdtemp(dir=parent))
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, tree / name)
    os.chdir(tree)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        pytest.main([*OPTIONS, "--collect-only", "tests/deploy/test_image.py"])  # its plugins are imported by that


def noticed(mutant: Mutant | None, file: str) -> bool:
    """Whether the tests that guard the file fail, with the mutant in its place."""
    path, right = Path(file), Path(file).read_text(encoding="utf-8")
    try:
        if mutant is not None:
            path.write_text(mutant.content, encoding="utf-8")
        child = os.fork()
        if child == 0:
            _test(guards(file))
        _, status = os.waitpid(child, 0)
    finally:
        path.write_text(right, encoding="utf-8")
    code = os.waitstatus_to_exitcode(status)
    assert code in (pytest.ExitCode.OK, *FAILED), f"{file}: pytest ended with {code}"
    return code in FAILED


def _test(arguments: Sequence[str]) -> None:
    """Run them in this process, and end it; most of what has to be imported is there already."""
    code = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        signal.alarm(LONGEST)
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "deploy")]:
            del sys.modules[name]
        sys.path.insert(0, os.getcwd())
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            code = int(pytest.main([*OPTIONS, *arguments]))
        if code not in (pytest.ExitCode.OK, *FAILED):
            print(printed.getvalue(), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def main() -> int:
    """Print what was noticed and what was not; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="all, if none is named")
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants of a file at most")
    parser.add_argument("--seed", type=int, default=1, help="which of them")
    asked = parser.parse_args()
    files = asked.files or guarded()
    chance = random.Random(asked.seed)
    tried: dict[str, list[Mutant]] = {}
    for file in files:
        every = [mutant for mutant in mutants(file) if mutant.equivalent is None]
        chosen = every if asked.sample is None or len(every) <= asked.sample else chance.sample(every, asked.sample)
        tried[file] = sorted(chosen, key=lambda mutant: (mutant.line, mutant.kind))
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(os.cpu_count(), initializer=set_up, initargs=(Path(folder),)) as pool,
    ):
        print("| file | mutants | noticed | not noticed |\n|---|---:|---:|---:|", flush=True)
        counts = {file: _report(file, pool, tried[file]) for file in files}
    survived = sum(count for count in counts.values() if count is not None)
    total = sum(len(tried[file]) for file, count in counts.items() if count is not None)
    print(f"| all | {total} | {total - survived} | {survived} |")
    return int(survived > 0 or None in counts.values())


def _report(file: str, pool: ProcessPoolExecutor, tried: Sequence[Mutant]) -> int | None:
    """Try them and print a row of the table, and what was not noticed; how many that were.

    None if the guards fail as it is: they would notice anything.
    """
    if any(pool.map(noticed, [None, None], [file, file])):
        print(f"{file}: the tests that guard it fail as it is: {' '.join(guards(file))}", file=sys.stderr, flush=True)
        return None
    survivors = [
        mutant
        for mutant, killed in zip(tried, pool.map(noticed, tried, [file] * len(tried)), strict=True)
        if not killed
    ]
    print(f"| {file} | {len(tried)} | {len(tried) - len(survivors)} | {len(survivors)} |", flush=True)
    for mutant in survivors:
        print(f"{mutant.file}:{mutant.line}: {mutant.kind}: {mutant.text.strip()}", file=sys.stderr, flush=True)
    return len(survivors)


if __name__ == "__main__":
    sys.exit(main())
