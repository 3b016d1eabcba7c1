"""Breaks the pure core in every small way there is, one at a time, and sees whether the tests notice.

python -m tools.mutants [--quick] [WORD…]

A mutant is one module of rotator/core with one expression changed. The tests of its folder run against it, in a
process of its own, up to the first test that fails; for a module of the protocol, all tests do. If no test fails, the
mutant survives: either a test is missing, or the mutant does the same as the original. tools/equivalent.txt lists those
with the reason. The exit code is 1 if another mutant survives, if a listed one does not, or if a line of the list names
no mutant.

build/mutants.jsonl contains the verdicts, and the next run continues from there. If a module changes, its verdicts
are dropped; if the tests change, survivors are tried again. With words, only mutants whose name contains one of them
are tried. A name begins with the module and the function: requests.is_done. With --quick, only the tests of
tests/core without properties run: survivors are tried again without the option.
"""

import ast
import copy
import hashlib
import importlib
import json
import os
import resource
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "rotator/core"
SOURCES = sorted(CORE.rglob("[a-z]*.py"))
# The quickest first: those with properties come after the others.
UNIT_TESTS = sorted((ROOT / "tests/core").rglob("test_*.py"), key=lambda path: "@given" in path.read_text())
QUICK_TESTS = [path for path in UNIT_TESTS if "@given" not in path.read_text()]
RUN_TESTS = sorted((ROOT / "tests/rotation").glob("test_*.py"))
TESTS = [*UNIT_TESTS, *RUN_TESTS, ROOT / "tests/system/test_state_machine.py"]
EQUIVALENT = ROOT / "tools/equivalent.txt"
FOUND = ROOT / "build/mutants.jsonl"
AT_ONCE = 2
CONTEXT = 40  # characters before and after a change, where it is told
# Seconds of computing, for all tests and for those of one folder: a mutant that runs forever is killed as well.
LONGEST, LONGEST_OF_FOLDER = 180, 40
UNCHANGED = "unchanged"
# The examples that hypothesis tries are the same each time. One test is about what it tries, not about the protocol.
OPTIONS = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", "--hypothesis-profile=mutants", "--tb=no"]
OPTIONS += ["-k", "not every_kind_of_step"]

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A module with one change: where, what it was and what it is now."""

    name: str
    path: Path
    source: str


def every_mutant() -> Iterator[Mutant]:
    """Every mutant of every module, in the order of its lines."""
    members = _enums()
    for path in SOURCES:
        yield from mutants(path, members)


def explained_mutants() -> set[str]:
    """The names of the mutants that survive, as `tools/equivalent.txt` explains."""
    return {line for line in EQUIVALENT.read_text().splitlines() if line and not line.startswith(("#", " "))}


def _enums() -> dict[str, list[str]]:
    """The members of every enumeration, by its name."""
    classes = [node for path in SOURCES for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    return {node.name: _members(node) for node in classes if any("Enum" in ast.unparse(base) for base in node.bases)}


def mutants(path: Path, members: dict[str, list[str]]) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(path.read_text())
    names: Counter[str] = Counter()
    for function, parent, field, at, node in list(_places(tree, "module")):
        for changed in _changes(node, members):
            _put(parent, field, at, changed)
            text = ast.unparse(tree)
            _put(parent, field, at, node)
            name = f"{path.stem}.{function}: {_difference(node, changed)}"
            names[name] += 1
            yield Mutant(name if names[name] == 1 else f"{name} ({names[name]})", path, text)


Place = tuple[str, ast.AST, str, int | None, ast.AST]


def _places(node: ast.AST, function: str) -> Iterator[Place]:
    """Every expression and statement that runs, and where it hangs: neither annotations nor what is told to people."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = node.name
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr) and not _is_type(child):
                yield function, node, field, at, child
                yield from _places(child, function)


def _is_type(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Step"


def _put(parent: ast.AST, field: str, at: int | None, node: ast.AST) -> None:
    if at is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[at] = node


def _changes(node: ast.AST, members: dict[str, list[str]]) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[op]):
            yield _with(node, ops=[COMPARISONS[type(op)]()])
        case ast.Compare(left=left, ops=[first, second], comparators=[middle, right]):
            yield ast.Compare(left, [first], [middle])
            yield ast.Compare(middle, [second], [right])
            yield _with(node, ops=[COMPARISONS[type(first)](), second])
            yield _with(node, ops=[first, COMPARISONS[type(second)]()])
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for at in range(len(values)):
                yield _with(node, values=values[:at] + values[at + 1 :])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            yield _with(node, op=OPERATORS[type(op)]())
            yield left
            yield right
        case ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.If(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.comprehension(ifs=[_]):
            yield _with(node, ifs=[])
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Name(id=name, ctx=ast.Load()) if name in FUNCTIONS:
            yield ast.Name(FUNCTIONS[name], ast.Load())
        case ast.Attribute(value=ast.Name(id=enum), attr=member) if member in members.get(enum, ()):
            others = members[enum]
            yield _with(node, attr=others[(others.index(member) + 1) % len(others)])
        case ast.Call(keywords=[*keywords]) if keywords:
            for at in range(len(keywords)):
                yield _with(node, keywords=keywords[:at] + keywords[at + 1 :])
        case ast.Return(value=ast.AST() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Tuple(elts=[*elts]) if len(elts) > 2:
            for at in range(len(elts)):
                yield _with(node, elts=elts[:at] + elts[at + 1 :])
        case ast.AnnAssign(target=ast.Name(id="RULES"), value=ast.Tuple(elts=[*elts]) as rules):
            for at in range(len(elts) - 1):
                swapped = [*elts[:at], elts[at + 1], elts[at], *elts[at + 2 :]]
                yield _with(node, value=_with(rules, elts=swapped))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _members(enum: ast.ClassDef) -> list[str]:
    return [
        node.targets[0].id
        for node in enum.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]


def _difference(node: ast.AST, changed: ast.AST) -> str:
    """Both, on one line each, without most of what they have in common."""
    before, after = (" ".join(_told(each).split()) for each in (node, changed))
    shared = _shared(before, after)
    ending = _shared(before[shared:][::-1], after[shared:][::-1])
    start = max(0, shared - CONTEXT)
    cut = [text[start : len(text) - max(0, ending - CONTEXT)] for text in (before, after)]
    return " -> ".join("…" * (start > 0) + text + "…" * (ending > CONTEXT) for text in cut)


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _told(node: ast.AST) -> str:
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}"
    return ast.unparse(node)


# --- trying them ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant: which test failed, or none."""

    mutant: str
    killed_by: str | None
    seconds: float


class Campaign:
    """A pytest plugin: in place of running the collected tests once, it runs them against each mutant.

    Each time in a process forked for it, where the mutant's code takes the place of the original's.
    """

    def __init__(self, wanted: list[Mutant], note: Callable[[Verdict], None]) -> None:
        self._wanted = wanted
        self._note = note
        self._to = -1

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config.pluginmanager.unregister(name="terminalreporter")
        running: dict[int, tuple[Mutant, int, float]] = {}
        waiting = iter(self._wanted)
        at_once = 1  # the first is the original: if a test fails with it, no verdict counts
        while True:
            while len(running) < at_once and (mutant := next(waiting, None)):
                out, self._to = os.pipe()
                child = os.fork()
                if not child:
                    self._in_child(mutant, session)
                os.close(self._to)
                running[child] = mutant, out, time.monotonic()
            if not running:
                return True
            child, status = os.wait()
            mutant, out, began = running.pop(child)
            told = os.read(out, 1000).decode()
            os.close(out)
            killed_by = (told or f"signal {os.WTERMSIG(status)}") if status else None
            self._note(Verdict(mutant.name, killed_by, round(time.monotonic() - began, 1)))
            if mutant.name == UNCHANGED and killed_by:
                return True
            at_once = AT_ONCE

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._end(1, report.nodeid.split("::")[-1])

    def _in_child(self, mutant: Mutant, session: pytest.Session) -> None:
        """Run the tests against the mutant up to the first that fails; never returns."""
        longest = LONGEST if _needs_all_tests(mutant) else LONGEST_OF_FOLDER
        resource.setrlimit(resource.RLIMIT_CPU, (longest, longest))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            if mutant.name == UNCHANGED:
                for path in SOURCES:
                    transplant(Mutant(UNCHANGED, path, path.read_text()))
            else:
                transplant(mutant)
        except Exception as error:  # noqa: BLE001 - whatever keeps the module from being imported kills the mutant
            self._end(1, f"{type(error).__name__} at import")
        items = _tests_of(mutant, session.items)
        for at, item in enumerate(items):
            following = items[at + 1] if at + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        self._end(0, "")

    def _end(self, status: int, said: str) -> None:
        os.write(self._to, said.encode())
        os._exit(status)


def _needs_all_tests(mutant: Mutant) -> bool:
    return mutant.name == UNCHANGED or CORE / "protocol" in mutant.path.parents


def _tests_of(mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
    """Select the tests of a module's folder, and all of them for the protocol.

    The tests of the module itself come first, those without properties before the others: most mutants do not survive
    them.
    """
    if not _needs_all_tests(mutant):
        folder = ROOT / "tests" / mutant.path.parent.relative_to(ROOT / "rotator")
        items = [item for item in items if item.path.parent == folder]

    def late(item: pytest.Item) -> tuple[bool, bool]:
        of_another = not item.path.stem.startswith(f"test_{mutant.path.stem}")
        return of_another, isinstance(item, pytest.Function) and hasattr(item.obj, "hypothesis")

    return sorted(items, key=late)


def transplant(mutant: Mutant) -> None:
    """Give a module, as everything imported it, the code, the defaults and the constants of the mutant."""
    name = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)
    module, donor = importlib.import_module(name), types.ModuleType(name)
    exec(compile(mutant.source, str(mutant.path), "exec"), donor.__dict__)  # the project's own source, but for one node
    for name, new in vars(donor).items():
        old = getattr(module, name)
        if getattr(new, "__module__", None) != donor.__name__:
            if name.isupper():
                _replace_everywhere(name, old, _ours(module, new))
        elif isinstance(new, types.FunctionType):
            _transplant_function(module, old, new)
        elif hasattr(new, "cache_clear"):
            _transplant_function(module, old.__wrapped__, new.__wrapped__)
            old.cache_clear()
        elif isinstance(new, type):
            _transplant_class(module, old, new)


def _transplant_function(module: types.ModuleType, old: Any, new: types.FunctionType) -> None:
    old.__code__ = new.__code__
    old.__defaults__ = _ours(module, new.__defaults__)
    old.__kwdefaults__ = new.__kwdefaults__


def _transplant_class(module: types.ModuleType, old: type, new: type) -> None:
    if issubclass(new, Enum):
        _transplant_members(module, old, new)
    for name, member in vars(new).items():
        mine = vars(old).get(name)
        if isinstance(member, property) and isinstance(mine, property):
            mine.fget.__code__ = member.fget.__code__  # type: ignore[union-attr]
        elif isinstance(member, classmethod) and isinstance(mine, classmethod):
            mine.__func__.__code__ = member.__func__.__code__
        elif isinstance(member, types.FunctionType) and isinstance(mine, types.FunctionType):
            if name == "__repr__":
                setattr(old, name, member)
            elif member.__code__.co_filename == module.__file__:  # dataclasses writes the others
                mine.__code__ = member.__code__
            elif name == "__init__":
                mine.__defaults__ = _ours(module, member.__defaults__)


def _transplant_members(module: types.ModuleType, old: type, new: type[Enum]) -> None:
    for member in new:
        for name, value in vars(member).items():
            if isinstance(value, Enum):
                setattr(getattr(old, member.name), name, _ours(module, value))


def _replace_everywhere(name: str, old: object, new: object) -> None:
    for module in list(sys.modules.values()):
        if module.__name__.split(".")[0] in ("rotator", "tests") and getattr(module, name, None) is old:
            setattr(module, name, new)


def _ours(module: types.ModuleType, value: Any) -> Any:
    """The original's function, class or member of the same name: everything else compares with that one."""
    if isinstance(value, tuple):
        return tuple(_ours(module, each) for each in value)
    if isinstance(value, dict):
        return {_ours(module, key): _ours(module, each) for key, each in value.items()}
    if getattr(value, "__module__", None) != module.__name__:
        return value
    if isinstance(value, Enum):
        return getattr(module, type(value).__name__)[value.name]
    return getattr(module, value.__name__) if isinstance(value, types.FunctionType | type) else value


def _known(sources: dict[str, str], tests: str) -> dict[str, Verdict]:
    lines = [json.loads(line) for line in FOUND.read_text().splitlines()] if FOUND.exists() else []
    found = [(Verdict(**line), of, by) for line in lines for of, by in [(line.pop("source"), line.pop("tests"))]]
    return {
        each.mutant: each
        for each, of, by in found
        if of == sources.get(each.mutant.split(".")[0]) and (each.killed_by or by == tests)
    }


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def main(words: list[str]) -> int:
    """Try every mutant, tell which survived; returns the exit code."""
    used = QUICK_TESTS if "--quick" in words else TESTS
    words = [word for word in words if word != "--quick"]
    # Two modules can have one name: the rules and the transitions of one subject.
    stems = {path.stem for path in SOURCES}
    sources = {stem: _digest(*(path for path in SOURCES if path.stem == stem)) for stem in stems}
    tests = _digest(*used)
    every = [
        mutant for mutant in every_mutant() if not words or any(word in mutant.name.split(":")[0] for word in words)
    ]
    known = _known(sources, tests)
    todo = [mutant for mutant in every if mutant.name not in known]
    print(f"{len(every)} mutants, {len(every) - len(todo)} known already", flush=True)
    unchanged = Mutant(UNCHANGED, SOURCES[0], SOURCES[0].read_text())
    FOUND.parent.mkdir(exist_ok=True)
    with FOUND.open("a") as found:

        def note(verdict: Verdict) -> None:
            known[verdict.mutant] = verdict
            if verdict.mutant == UNCHANGED:
                return
            of = {"source": sources[verdict.mutant.split(".")[0]], "tests": tests}
            print(json.dumps(of | asdict(verdict), ensure_ascii=False), file=found, flush=True)
            if verdict.killed_by is None:
                print(f"survived: {verdict.mutant}", file=sys.stderr, flush=True)

        pytest.main([*OPTIONS, *map(str, used)], plugins=[Campaign([unchanged, *todo], note)])
    if known[UNCHANGED].killed_by:
        print(f"The tests fail on the core as it is: {known[UNCHANGED].killed_by}")
        return 2
    return _judge([known[mutant.name] for mutant in every], complete=not words)


def _judge(verdicts: list[Verdict], *, complete: bool) -> int:
    explained = explained_mutants()
    survivors = {verdict.mutant for verdict in verdicts if verdict.killed_by is None}
    killed = {verdict.mutant for verdict in verdicts if verdict.killed_by is not None}
    wrong = [f"survived: {name}" for name in sorted(survivors - explained)]
    wrong += [f"does not survive: {name}" for name in sorted(killed & explained)]
    if complete:
        wrong += [f"explained, but there is no such mutant: {name}" for name in sorted(explained - survivors - killed)]
    print(*wrong, sep="\n")
    print(f"{len(killed)} killed, {len(survivors)} survived, {len(survivors & explained)} of them explained")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
