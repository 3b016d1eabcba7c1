"""Variables that set configuration keys: ROTATOR_*, and those that the commands `vault` and `bao` read.

`ROTATOR_VAULT__ADDRESS` sets `vault.address`. A variable for a section or a list contains JSON.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from rotator.errors import ConfigError

Key = tuple[str | int, ...]
"""Place of a value: names of sections and keys, positions in lists."""

_PREFIX = "ROTATOR_"
# Of each pair the later one is for OpenBao, whose command reads both.
_VAULT_VARIABLES: dict[str, tuple[str, ...]] = {
    "ADDR": ("vault", "address"),
    "NAMESPACE": ("vault", "namespace"),
    "CACERT": ("vault", "ca_cert"),
    "CAPATH": ("vault", "ca_path"),
    "TLS_SERVER_NAME": ("vault", "tls_server_name"),
    "CLIENT_CERT": ("vault", "client_cert"),
    "CLIENT_KEY": ("vault", "client_key"),
    "TOKEN": ("vault", "auth", "token"),
}
_YES = ("1", "t", "true")


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings from environment variables.

    Attributes:
        values: The settings, nested as in a file.
        variables: The variable that set the value at each place.
    """

    values: dict[str, Any] = field(default_factory=dict)
    variables: dict[Key, str] = field(default_factory=dict)

    def variable(self, key: Key) -> tuple[str, Key] | None:
        """The variable that set the value at a place, and the place of the variable's whole value."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.variables:
                return self.variables[key[:length]], key[:length]
        return None

    def variable_below(self, key: Key) -> tuple[str, Key] | None:
        """The first variable that set a value within a section, and the place of that value."""
        return next(((name, place) for place, name in self.variables.items() if place[: len(key)] == key), None)

    def set(self, key: tuple[str, ...], value: Any, variable: str) -> None:
        """Set the value at a place. Sections are merged, other values are replaced.

        Raises:
            ConfigError: If the value of a section that contains the place is no section.
        """
        if isinstance(value, dict):
            for name, part in value.items():
                self.set((*key, str(name)), part, variable)
            return
        section = self.values
        for name in key[:-1]:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                place = self.variable(key)
                raise ConfigError(f"{place[0] if place else variable}: a variable for a whole section must be JSON")
        section[key[-1]] = value
        self.variables[key] = variable


def read_environment(environ: Mapping[str, str], model: type[BaseModel]) -> Environment:
    """Read the variables that set keys of a model. ROTATOR_* override those of `vault` and `bao`.

    Other ROTATOR_* variables are ignored: Kubernetes sets some for a Service of that name.

    Raises:
        ConfigError: If a variable has one underscore where its setting has two, or cannot be read.
    """
    environment = Environment()
    for name, key in _VAULT_VARIABLES.items():
        for variable in (f"BAO_{name}", f"VAULT_{name}"):
            if environ.get(variable):
                environment.set(key, environ[variable], variable)
    for variable in ("BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"):
        if environ.get(variable):
            environment.set(("vault", "verify"), environ[variable].lower() not in _YES, variable)
    variables = {name.replace("__", "_"): name for name in _variables(model, _PREFIX)}
    for variable in sorted(environ, key=lambda name: (name.count("__"), name)):
        name = variable.upper()
        if not name.startswith(_PREFIX):
            continue
        value = _parsed(environ[variable])
        key = tuple(name.removeprefix(_PREFIX).lower().split("__"))
        if len(key) > 1 or key[0] in model.model_fields or not isinstance(value, str):
            environment.set(key, value, variable)
        elif name in variables:
            raise ConfigError(f"{variable}: is no setting. Did you mean {variables[name]}?")
    return environment


def variable_name(key: tuple[str, ...]) -> str:
    """The variable that sets a key."""
    return _PREFIX + "__".join(key).upper()


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two nested sets of settings as one; the second overrides the first.

    A value of the first that should be a section stays: the check of the whole refuses it.
    """
    both = below | above
    for key in below.keys() & above.keys():
        if isinstance(above[key], dict):
            both[key] = merged(below[key], above[key]) if isinstance(below[key], dict) else below[key]
    return both


def _parsed(text: str) -> Any:
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, setting in model.model_fields.items():
        if isinstance(setting.annotation, type) and issubclass(setting.annotation, BaseModel):
            yield from _variables(setting.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"
