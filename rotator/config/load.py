"""Reading of the configuration: find the file, read it and the environment, refuse mistakes, one line each."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from rotator.config.settings import Settings
from rotator.errors import ConfigError

DEFAULT_FILES = (Path("config.toml"), Path("/etc/rotator/config.toml"))


def find_file(option: Path | None) -> Path:
    """The configuration file: the option, ROTATOR_CONFIG, ./config.toml or /etc/rotator/config.toml.

    Raises:
        ConfigError: If there is none.
    """
    chosen = option or (Path(os.environ["ROTATOR_CONFIG"]) if os.environ.get("ROTATOR_CONFIG") else None)
    if chosen is not None:
        return chosen
    for path in DEFAULT_FILES:
        if path.is_file():
            return path
    raise ConfigError(
        "There is no configuration: no --config, no ROTATOR_CONFIG, no ./config.toml, no /etc/rotator/config.toml",
        next_step="Start from config.example.toml",
    )


def load(path: Path) -> Settings:
    """Read and check the configuration.

    Raises:
        ConfigError: If the file cannot be read or anything in it or in the environment is wrong; each
            mistake is one line.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    _refuse_secrets(path, content)
    for key in content.keys() - Settings.model_fields.keys():
        raise ConfigError(f"{path}: {key}: is not a setting")
    try:
        settings = Settings(**content)
    except SettingsError as error:
        raise ConfigError(f"{path}: {error}: a variable for a whole section has to be JSON") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(path, error))) from None
    for file in _named_files(settings):
        if not file.is_file():
            raise ConfigError(f"{path}: {file} does not exist or is not a file")
    return settings


def _refuse_secrets(path: Path, content: dict[str, Any]) -> None:
    vault = content.get("vault")
    auth = vault.get("auth") if isinstance(vault, dict) else None
    for key in ("token", "secret_id"):
        if isinstance(auth, dict) and key in auth:
            raise ConfigError(
                f"{path}: vault.auth.{key} is a secret and does not belong in a file; "
                f"set ROTATOR_VAULT__AUTH__{key.upper()} or name a file with {key}_file"
            )


def _named_files(settings: Settings) -> list[Path]:
    vault, api = settings.vault, settings.account_api
    files = (vault.ca_cert, vault.client_cert, vault.client_key, api.ca_cert, vault.auth.secret_id_file)
    return [file for file in files if file is not None]


_RENAMED = {
    ("account_api", "settle"): "account_api.consistency_window",
    ("accounts", "low_balance"): "balance_threshold",
    ("balance", "low"): "balance.threshold",
    ("daemon", "brake"): "daemon.circuit_breaker, with the keys failures, window and cooldown",
    ("daemon", "circuit_breaker", "of_last"): "daemon.circuit_breaker.window",
    ("daemon", "circuit_breaker", "hold"): "daemon.circuit_breaker.cooldown",
    ("daemon", "recheck"): "daemon.verify_interval",
    ("daemon", "sweep"): "daemon.resync_interval",
}


def _lines(path: Path, error: ValidationError) -> list[str]:
    lines: list[str] = []
    said: set[tuple[tuple[int | str, ...], str]] = set()
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        loc = problem["loc"]
        if loc == ("accounts",) and problem["type"] == "too_short" and lines:
            continue  # only because none of them is right
        if loc[:1] == ("accounts",) and (loc[2:], problem["msg"]) in said:
            continue  # inherited: said once, of [defaults] or [balance]
        if loc[:1] in (("defaults",), ("balance",)):
            inherited_as = ("balance_threshold",) if loc == ("balance", "threshold") else loc[1:]
            said.add((inherited_as, problem["msg"]))
        where = ".".join(str(part) for part in loc)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            renamed = _RENAMED.get(tuple(part for part in loc if isinstance(part, str)))
            message = f"is now called {renamed}" if renamed else "is not a setting"
        if problem["type"] == "missing":
            message = "is missing"
        lines.append(f"{path}: {where}: {message}" if where else f"{path}: {message}")
    return lines
