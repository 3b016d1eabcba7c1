"""Variables that set configuration keys: ROTATOR_*, and those that the commands `vault` and `bao` read.

`ROTATOR_VAULT__ADDRESS` sets `vault.address`. A variable for a section or a list contains JSON.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from rotator.errors import ConfigError

Key = tuple[str | int, ...]
"""Place of a value: names of sections and keys, positions in lists."""

_PREFIX = "ROTATOR_"
_DELIMITER = "__"
_VERIFY = ("vault", "verify")
# Each has the prefix VAULT_, or BAO_ for the command of OpenBao, which reads both. VAULT_ wins.
_VAULT_VARIABLES: dict[str, tuple[str, ...]] = {
    "ADDR": ("vault", "address"),
    "NAMESPACE": ("vault", "namespace"),
    "CACERT": ("vault", "ca_cert"),
    "CAPATH": ("vault", "ca_path"),
    "TLS_SERVER_NAME": ("vault", "tls_server_name"),
    "CLIENT_CERT": ("vault", "client_cert"),
    "CLIENT_KEY": ("vault", "client_key"),
    "TOKEN": ("vault", "auth", "token"),
    "SKIP_VERIFY": _VERIFY,
}
_YES, _NO = ("1", "t", "true"), ("0", "f", "false")
# Other variables that begin with ROTATOR_ are allowed, such as a variable that trx_env names.
_ALMOST_EQUAL = 0.9


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings from environment variables.

    Attributes:
        values: The settings, nested as in a file.
        variables: The variable that set the value at each place.
    """

    values: dict[str, Any]
    variables: dict[Key, str]

    def variable(self, key: Key) -> tuple[str, Key] | None:
        """The variable that set the value at a place, and the place of the variable's whole value."""
        for length in range(len(key), 0, -1):
            name = self.variables.get(key[:length])
            if name is not None:
                own = (end for end in range(1, length) if _is_name_of(name, key[:end]))
                return name, key[: next(own, length)]
        return None

    def variable_below(self, key: Key) -> tuple[str, Key] | None:
        """The first variable that set a value within a section, and the place of that value."""
        return next(((name, place) for place, name in self.variables.items() if place[: len(key)] == key), None)


def read_environment(model: type[BaseModel]) -> Environment:
    """Read the variables that set keys of a model. ROTATOR_* override those of `vault` and `bao`.

    Other ROTATOR_* variables are ignored: Kubernetes sets some for a Service of that name.

    Raises:
        ConfigError: If a variable has one underscore where its setting has two, or if a part of its name is no section.
    """
    of_vault = _vault_variables()
    own = {name.lower(): name for name in os.environ if name.lower().startswith(_PREFIX.lower())}
    _refuse_overlaps(own)
    values: dict[str, Any] = {}
    for key, name in of_vault.items():
        value = os.environ[name]
        values = merged(values, _nested(key, not _is_true(name, value) if key == _VERIFY else value))
    own_values = _Variables(model)() | _unknown_sections(own, model)
    variables: dict[Key, str] = dict(of_vault.items())
    for key in _places(own_values):
        names = (variable_name(key[:length]).lower() for length in range(len(key), 0, -1))
        variables[key] = next(own[name] for name in names if name in own)
        _require_sections(model, key, variables[key])
    return Environment(merged(values, own_values), variables)


class _Variables(EnvSettingsSource):
    """The values of ROTATOR_*. Invalid JSON stays a text, which the check of all settings refuses."""

    def __init__(self, model: type[BaseModel]) -> None:
        # The library reads the model's fields only. A BaseSettings would take some keys of a file for its own options.
        super().__init__(cast("type[BaseSettings]", model), env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER)
        # A section before its keys, which override it.
        self.env_vars = dict(sorted(self.env_vars.items(), key=lambda item: item[0].count(_DELIMITER)))

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read JSON."""
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value
        return value if decoded is None else decoded  # the library would ignore null


def _is_true(name: str, value: str) -> bool:
    """Read a truth value as the command `vault` does.

    Raises:
        ConfigError: If it is none.
    """
    if value.lower() not in _YES + _NO:
        raise ConfigError(f"{name}: must be true or false")
    return value.lower() in _YES


def _vault_variables() -> dict[tuple[str, ...], str]:
    """The variable of `vault` or `bao` that sets each key."""
    found = {}
    for name, key in _VAULT_VARIABLES.items():
        for variable in (f"BAO_{name}", f"VAULT_{name}"):
            if os.environ.get(variable):
                found[key] = variable
    return found


def _unknown_sections(own: Mapping[str, str], model: type[BaseModel]) -> dict[str, Any]:
    """Values of variables for sections that do not exist, which the library ignores.

    Raises:
        ConfigError: If a variable has nearly the name of a setting's, as with one underscore in place of two.
    """
    unknown: dict[str, Any] = {}
    for name, variable in own.items():
        section, *keys = _parts(name)
        if section in model.model_fields:
            continue
        if keys:
            unknown = merged(unknown, _nested((section, *keys), os.environ[variable]))
        elif meant := nearest_variable(variable, model):
            raise ConfigError(f"{variable}: is no setting. Did you mean {meant}?")
    return unknown


def nearest_variable(name: str, model: type[BaseModel]) -> str | None:
    """The variable of a setting that a name probably means, whatever underscores are between its words."""
    known = {_words(variable): variable for variable in _names(model, ())}
    return next((known[words] for words in get_close_matches(_words(name), known, n=1, cutoff=_ALMOST_EQUAL)), None)


def _words(variable: str) -> str:
    return variable.upper().removeprefix(_PREFIX).replace("_", "")


def _is_name_of(name: str, key: Key) -> bool:
    return all(isinstance(part, str) for part in key) and name.upper() == variable_name(cast("tuple[str, ...]", key))


def _refuse_overlaps(own: Mapping[str, str]) -> None:
    """Refuse a variable for a key within a section whose own variable is no section: the library would ignore it.

    Raises:
        ConfigError: If there is one.
    """
    for name in own:
        parts = _parts(name)
        for length in range(1, len(parts)):
            outer = own.get(_PREFIX.lower() + _DELIMITER.join(parts[:length]))
            if outer is not None and not _has_section(os.environ[outer], parts[length:-1]):
                raise ConfigError(f"{outer}: a variable for a whole section or list must be JSON")


def _has_section(text: str, path: list[str]) -> bool:
    """Whether a JSON text is an object that contains an object at the path, or can."""
    try:
        section = json.loads(text)
    except (ValueError, RecursionError):
        return False
    for name in path:
        if not isinstance(section, dict):
            return False
        section = section.get(name, {})
    return isinstance(section, dict)


def _require_sections(model: type[BaseModel], key: tuple[str, ...], variable: str) -> None:
    """Check that the place of a value is within sections.

    Raises:
        ConfigError: If a part of it is a setting that is no section.
    """
    for length, name in enumerate(key[:-1], 1):
        field = model.model_fields.get(name)
        if field is None:
            return  # the check of the whole refuses it
        section = _section(field)
        if section is None:
            raise ConfigError(f"{variable}: {'.'.join(key[:length])} is not a section")
        model = section


def _parts(name: str) -> list[str]:
    return name.removeprefix(_PREFIX.lower()).split(_DELIMITER)


def _nested(key: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(key):
        value = {name: value}
    return dict(value)


def _places(values: Mapping[str, Any], section: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The place of each value that is no section."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _places(value or {"": None}, (*section, name))
        else:
            yield (*section, name)


def _names(model: type[BaseModel], section: tuple[str, ...]) -> Iterator[str]:
    """The variable of each key."""
    for name, setting in model.model_fields.items():
        inner = _section(setting)
        if inner is None:
            yield variable_name((*section, name))
        else:
            yield from _names(inner, (*section, name))


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section; None if the key is no section."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def variable_name(key: tuple[str, ...]) -> str:
    """The variable that sets a key."""
    return _PREFIX + _DELIMITER.join(key).upper()


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two nested sets of settings as one; the second overrides the first.

    A value of the first that should be a section stays: the check of the whole refuses it.
    """
    both = below | above
    for key in below.keys() & above.keys():
        if isinstance(above[key], dict):
            both[key] = merged(below[key], above[key]) if isinstance(below[key], dict) else below[key]
    return both
