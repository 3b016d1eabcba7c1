"""The command that each failure names: the command line takes it, and the message contains it."""

import ast
import shlex
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
import typer

import rotator
from rotator.cli.app import app
from rotator.core.protocol import Fail, Failure
from rotator.errors import Advice, Code, Command, RotatorError
from rotator.rotation import RotationError

USAGE_ERROR = typer.BadParameter.__mro__[1]
SOURCE = Path(rotator.__file__).parent
ELSEWHERE = ("rotator.emulator", "rotator.demo.openbao")


def parse(command: Command) -> None:
    """Parse a command as the command line does, without running it.

    Raises:
        USAGE_ERROR: If the command line does not take it.
    """
    found: Any = typer.main.get_command(app)
    name, args = "rotator", list(command.args)
    context = None
    while hasattr(found, "resolve_command"):
        context = found.make_context(name, [], parent=context, resilient_parsing=True)
        context.resilient_parsing = False
        name, found, args = found.resolve_command(context, args)
    found.make_context(name, args, parent=context)


def error_classes(base: type[RotatorError] = RotatorError) -> Iterator[type[RotatorError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from error_classes(kind)


def every_class() -> list[type[RotatorError]]:
    for module in walk_packages(rotator.__path__, "rotator."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    classes = {kind for kind in error_classes() if not kind.__module__.startswith(ELSEWHERE)}
    return sorted({RotatorError, *classes}, key=lambda kind: kind.__qualname__)


def made(kind: type[RotatorError], **parts: object) -> RotatorError:
    """Return an error of a class without the facts that its own constructor asks for."""
    error = kind.__new__(kind)
    RotatorError.__init__(error, "It failed", **parts)  # type: ignore[arg-type]
    return error


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(SOURCE.rglob("*.py")):
        if "emulator" not in file.parts:
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def literal(node: ast.expr) -> str:
    """Return a constant, or something that a name, an id or a duration can be."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "ID"


def commands() -> Iterator[tuple[str, Command]]:
    """Yield every command that rotator's code names, with its place."""
    for file, tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "Command.of":
                continue
            if not all(isinstance(arg, ast.Starred) for arg in node.args):
                args = [literal(arg) for arg in node.args if not isinstance(arg, ast.Starred)]
                yield f"{file.relative_to(SOURCE)}:{node.lineno}", Command.of(*args)


COMMANDS = list(commands())


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 40
    assert {command.args[0] for _, command in COMMANDS} >= {"check", "status", "adopt", "resolve", "rotate-now"}


@pytest.mark.parametrize("command", [pytest.param(command, id=place) for place, command in COMMANDS])
def test_command_is_one_of_the_command_line(command: Command) -> None:
    parse(command)


@pytest.mark.parametrize("wrong", ["rotate-now shop --later", "account secrets revoke shop", "repair shop"])
def test_wrong_command_is_noticed(wrong: str) -> None:
    with pytest.raises(USAGE_ERROR):
        parse(Command.of(*shlex.split(wrong)))


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__qualname__)
def test_error_contains_the_command_it_names(kind: type[RotatorError]) -> None:
    general = made(kind, next_step="Correct it")
    assert general.next_command == (kind.code.advice.command if kind.code.advice else None)
    assert ("rotator " in str(general)) is (general.next_command is not None)
    own = made(kind, next_step="Make room", next_command=Command.of("resolve", "my shop"))
    assert own.next_command == Command.of("resolve", "my shop")
    assert str(own) == "It failed. Make room: rotator resolve 'my shop'."
    for error in (general, own):
        if error.next_command is not None:
            assert str(error).endswith(f": {error.next_command}.")
            parse(error.next_command)


@pytest.mark.parametrize("failure", Failure)
def test_protocol_failure_contains_the_command_it_names(failure: Failure) -> None:
    error = RotationError(Fail(failure, "it failed", Command.of("status", "shop"), "Look at it"), unchanged="Nothing")
    assert error.next_command == Command.of("status", "shop")
    assert str(error) == "it failed. Nothing. Look at it: rotator status shop."


def test_better_command_replaces_that_of_the_code() -> None:
    error = RotatorError("It failed", next_step="Correct it")
    error.code = Code.NOT_SENT
    error.advise(Advice("To retry now", Command.of("rotate-now", "shop")))
    assert error.next_command == Command.of("rotate-now", "shop")
    assert str(error) == "It failed. Correct it. To retry now: rotator rotate-now shop."


def test_own_command_is_kept() -> None:
    error = RotatorError("It failed", next_step="Make room", next_command=Command.of("resolve", "shop"))
    error.advise(Advice("To retry now", Command.of("rotate-now", "shop")))
    assert error.next_command == Command.of("resolve", "shop")
    assert str(error) == "It failed. Make room: rotator resolve shop."


def test_raiser_gives_command_when_code_gives_none() -> None:
    """`next_command=None` is a decision, too: the message says why no command helps.

    A ConfigError names a setting, and an InternalError asks for a report.
    """
    undecided = {kind.__name__ for kind in every_class() if kind.code.advice is None}
    undecided -= {"ConfigError", "InternalError", "RotationError"}
    assert undecided >= {"RotatorError", "OperatorError", "ContentionError", "StoppedError", "NotNowError"}
    missing = []
    for file, tree in trees():
        for node in ast.walk(tree):
            raised = isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in undecided
            if raised and not any(one.arg == "next_command" for one in node.keywords):  # type: ignore[attr-defined]
                missing.append(f"{file.relative_to(SOURCE)}:{node.lineno}")  # type: ignore[attr-defined]
    assert missing == []


def test_prose_of_errors_contains_no_command() -> None:
    """A command stands in `next_command`, and the message is made from it."""
    names = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    found = []
    for file, tree in trees():
        raised = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "Error" in ast.unparse(node.func)]
        for call in raised:
            for text in ast.walk(call):
                words = text.value.split() if isinstance(text, ast.Constant) and isinstance(text.value, str) else []
                if any(first == "rotator" and second.strip(":.,;") in names for first, second in pairwise(words)):
                    found.append(f"{file.relative_to(SOURCE)}:{text.lineno}: {text.value}")  # type: ignore[attr-defined]
    assert found == []
