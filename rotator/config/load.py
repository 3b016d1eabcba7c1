"""Reading of the configuration: find the file, read it and the environment, refuse mistakes, one line each."""

import codecs
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rotator.config.environment import merged, read_environment
from rotator.config.mistakes import Source, describe
from rotator.config.secret_file import refuse_endless, warn_of_permissions
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
    text = _text(path)
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except ValueError:  # Python's limit, and its advice is for programmers
        raise ConfigError(f"{path} contains a number of too many digits") from None
    _refuse_secrets(path, content)
    environment = read_environment(Settings)
    values = merged(content, environment.values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        source = Source(path, text, environment, values, Settings)
        raise ConfigError("\n".join(describe(error, source))) from None
    for key, file in _required_files(settings):
        variable = environment.variable(tuple(key.split(".")))
        where = f"{path}: {key}" if variable is None else variable[0]
        kind = "directory" if key == "vault.ca_path" else "file"
        exists = os.path.isdir if kind == "directory" else os.path.isfile  # these never raise
        if not exists(file):
            # Without the value: it can be a secret that was set in place of the name of its file.
            there = {"file": "no regular file", "directory": "no directory"}[kind]
            raise ConfigError(f"{where}: names {there if os.path.exists(file) else f'no {kind} that exists'}")
    auth = settings.vault.auth
    for file in filter(None, (auth.token_file, auth.secret_id_file, auth.jwt_file)):
        if os.path.exists(file):
            refuse_endless(file, file.stat())
    return settings


def warn_of_open_files(settings: Settings) -> None:
    """Log a warning for each audit, token or secret file that every user of the machine can change or read."""
    auth = settings.vault.auth
    for file in filter(None, (settings.audit.file, auth.token_file, auth.jwt_file)):
        warn_of_permissions(file)
    if auth.secret_id_file is not None:
        warn_of_permissions(auth.secret_id_file, readable=True)


def _text(path: Path) -> str:
    """The text of the file, in UTF-8 or, with a byte-order mark, in UTF-16."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        next_step = "Name the configuration file: --config FILE, or ROTATOR_CONFIG"
        raise ConfigError(f"{path} cannot be read: {error.strerror}", next_step=next_step) from None
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not valid TOML: its text is not UTF-8") from None


def _refuse_secrets(path: Path, content: dict[str, Any]) -> None:
    vault = content.get("vault")
    auth = vault.get("auth") if isinstance(vault, dict) else None
    for key in ("token", "secret_id"):
        if isinstance(auth, dict) and key in auth:
            raise ConfigError(
                f"{path}: vault.auth.{key} is a secret and does not belong in a file; "
                f"set ROTATOR_VAULT__AUTH__{key.upper()} or name a file with {key}_file"
            )


def _required_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """The files and the directory that must exist, by their keys."""
    vault = settings.vault
    api = settings.account_api
    files = {
        "vault.ca_cert": vault.ca_cert,
        "vault.ca_path": vault.ca_path,
        "vault.client_cert": vault.client_cert,
        "vault.client_key": vault.client_key,
        "account_api.ca_cert": api.ca_cert,
        "vault.auth.secret_id_file": vault.auth.secret_id_file,
    }
    return ((key, file) for key, file in files.items() if file is not None)
