"""Mistakes in a configuration as lines for the reader: where each is, what is wrong, which key was probably meant."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rotator.config.environment import Environment, Key, nearest_variable, variable_name
from rotator.config.types import PlacedError

# Old names of keys, and their names now.
_RENAMED: dict[tuple[str, ...], str] = {
    ("account_api", "settle"): "consistency_window",
    ("accounts", "low_balance"): "balance_threshold",
    ("balance", "low"): "threshold",
    ("daemon", "brake"): "circuit_breaker",
    ("daemon", "circuit_breaker", "of_last"): "window",
    ("daemon", "circuit_breaker", "hold"): "cooldown",
    ("daemon", "recheck"): "verify_interval",
    ("daemon", "sweep"): "resync_interval",
}
_MESSAGES = {
    "missing": "is missing",
    "model_type": "must be a section",
    "model_attributes_type": "must be a section",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
# Bounds the time that the search for lines takes.
_LONGEST_VALUE = 500


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values come from.

    Attributes:
        path: The configuration file.
        text: Its text.
        environment: The variables.
        values: Both, merged.
        model: The model that the values are for.
    """

    path: Path
    text: str
    environment: Environment
    values: dict[str, Any]
    model: type[BaseModel]


def describe(error: ValidationError, source: Source) -> list[str]:
    """One line for each mistake. A mistake that accounts inherit is one line."""
    lines = []
    line_numbers = dict(key_lines(source.text))
    for key in list(line_numbers):
        if len(key) == 2 and key[1] == 0:  # noqa: PLR2004 - the first of a list of sections
            line_numbers.setdefault(key[:1], line_numbers[key])
    for problem in _own(error.errors(include_url=False, include_input=False)):
        key = problem["loc"]
        variable = source.environment.variable(key)
        if variable is None and problem["type"] == "extra_forbidden" and key not in line_numbers:
            variable = source.environment.variable_below(key)
        if variable is not None:
            where = [variable[0], _place(key, source, below=variable[1])]
        else:
            where = [_source_of(problem, source, line_numbers), _place(key, source)]
        if problem["type"] == "extra_forbidden":
            name, below = variable if variable is not None else ("", ())
            exact = name if name and below[: len(key)] == key else None
            where[1] = "" if exact else _place(key[:-1], source, below=below)
            message = _unknown(key, source.model, exact)
        else:
            message = _message(problem, in_variable=variable is not None)
        lines.append(": ".join([*filter(None, where), message]))
    return lines


def _source_of(problem: ErrorDetails, source: Source, line_numbers: Mapping[Key, int]) -> str:
    """The variable, or the file with the line, of the setting that a problem is about."""
    rule = problem.get("ctx", {}).get("error")
    keys = [(*problem["loc"], *key) for key in rule.keys] if isinstance(rule, PlacedError) else []
    for key in keys:
        variable = source.environment.variable(key)
        if variable is not None:
            return variable[0]
        if key in line_numbers:
            return f"{source.path}:{line_numbers[key]}"
    for key in (*keys[:1], problem["loc"]):
        line = next((line_numbers[key[:end]] for end in range(len(key), 0, -1) if key[:end] in line_numbers), None)
        if line is not None:
            return f"{source.path}:{line}"
    return str(source.path)


def _own(problems: Iterable[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Without mistakes that follow from others."""
    reported: set[tuple[Key, str]] = set()
    for index, problem in enumerate(problems):
        key = problem["loc"]
        message = problem["msg"]
        if key == ("accounts",) and problem["type"] == "too_short" and index:
            continue  # only because each of them is wrong
        if key[:1] == ("accounts",) and (key[2:], message) in reported:
            continue  # inherited
        if key[:1] in (("defaults",), ("balance",)):
            reported.add((("balance_threshold",) if key == ("balance", "threshold") else key[1:], message))
        yield problem


def _place(key: Key, source: Source, below: Key = ()) -> str:
    """The account by its name and the key by its dotted name, as far as a variable does not name them."""
    if key == below:
        return ""
    if key[:1] == ("accounts",) and len(key) > 1:
        entry = source.values["accounts"][key[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        label = f'account "{name}"' if isinstance(name, str) else "account without a name"
        return ": ".join(filter(None, [label, _dotted(key[2:])]))
    return _dotted(key[len(below) :] if key[: len(below)] == below else key)


def _dotted(key: Key) -> str:
    """The name of a key. An element of a list is counted from 1."""
    parts = [part if isinstance(part, str) else f": entry {part + 1}" for part in key]
    return ".".join(parts).replace(".: ", ": ")


def _message(problem: ErrorDetails, *, in_variable: bool) -> str:
    message = _MESSAGES.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    if in_variable and message in ("must be a section", "must be a list"):
        message = "a variable for a whole section or list must be JSON"
    return message if message.endswith("?") else message.rstrip(".") + "."


def _unknown(key: Key, model: type[BaseModel], variable: str | None) -> str:
    """An unknown key, and the name that was probably meant."""
    names = tuple(part for part in key if isinstance(part, str))
    kind = "section" if len(key) == 1 else "key"
    message = f'unknown {kind} "{names[-1]}".'
    now = _RENAMED.get(names)
    meant = now or next(iter(get_close_matches(names[-1], _keys(model, names[:-1]), n=1)), None)
    if variable is not None and now is None:
        whole = nearest_variable(variable, model)
        if whole is not None:
            return f"{message} Did you mean {whole}?"
    if meant is None:
        return message
    if variable is not None:
        rest = variable.split("__")[len(names) :]
        meant = "__".join([variable_name((*names[:-1], meant)), *rest])
    else:
        meant = f'"{meant}"'
    return f"{message} Its name is now {meant}." if now else f"{message} Did you mean {meant}?"


def _keys(model: type[BaseModel], section: tuple[str, ...]) -> list[str]:
    for name in section:
        field = model.model_fields.get(name)
        inner = _model(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, UnionType) or get_args(annotation):
        return next(filter(None, map(_model, get_args(annotation))), None)
    return None


def key_lines(text: str) -> Iterator[tuple[Key, int]]:
    """The line of each key in a valid TOML text, as far as the first value of more than 500 lines.

    The shortest run of lines that is valid TOML by itself is one statement: a header, or a key with its value.
    """
    table: Key = ()
    lengths: dict[Key, int] = {}
    statement: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        statement.append(line)
        if len(statement) > _LONGEST_VALUE:
            return
        try:
            content = tomllib.loads("\n".join(statement))
        except tomllib.TOMLDecodeError:
            continue
        start = number - len(statement) + 1
        header = statement[0].lstrip().startswith("[")
        statement.clear()
        if header:
            table = _header(content, lengths)
            yield table, start
        else:
            for key in _nested(content, table):
                yield key, start


def _header(content: dict[str, Any], lengths: dict[Key, int]) -> Key:
    """The place that a header opens. A header in double brackets opens the next element of its list."""
    key: Key = ()
    while content:
        ((name, value),) = content.items()
        key = (*key, name)
        if isinstance(value, list):
            lengths[key] = lengths.get(key, -1) + 1
            return (*key, lengths[key])
        if key in lengths:
            key = (*key, lengths[key])
        content = value
    return key


def _nested(value: Any, key: Key) -> Iterator[Key]:
    """Each place within a value."""
    if isinstance(value, dict):
        inner: list[tuple[str | int, Any]] = list(value.items())
    else:
        inner = list(enumerate(value)) if isinstance(value, list) else []
    for name, part in inner:
        yield (*key, name)
        yield from _nested(part, (*key, name))
