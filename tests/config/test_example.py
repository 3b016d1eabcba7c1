"""config.example.toml shows every setting, and nothing else."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rotator.config import (
    AccountSettings,
    Settings,
    load,
)
from tests.config.config_file import ConfigFile

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def settings_of(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, str]]:
    """Every setting as (section, key), sections within sections included."""
    for key, field in model.model_fields.items():
        kind: Any = field.annotation
        if key == "accounts":
            kind = AccountSettings
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_of(kind, f"{section}.{key}".strip("."))
        else:
            yield section, key


def settings_in(text: str) -> set[tuple[str, str]]:
    """Every setting that a TOML text names, in a commented line or not; those of inline tables too."""
    section, found = "", set()
    for line in text.splitlines():
        words = line.lstrip("# ").rstrip()
        if header := re.match(r"\[+([\w.]+)\]+", words):
            section = header[1]
        elif setting := re.match(r"([\w.]+) *= *(\{.*)?", words):
            path = f"{section}.{setting[1]}".strip(".")
            found.add(tuple(path.rpartition(".")[::2]))
            found |= {(path, key) for key in re.findall(r"([\w]+) *=", setting[2] or "")}
    return {(str(where), str(key)) for where, key in found}


def test_example_loads(config_file: ConfigFile) -> None:
    config_file.monkeypatch.chdir(EXAMPLE.parent)
    settings = load(EXAMPLE)
    assert settings.accounts


def test_example_shows_every_setting() -> None:
    shown = settings_in(EXAMPLE.read_text())
    secrets = {("vault.auth", "token"), ("vault.auth", "secret_id")}  # these must not stand in a file
    missing = {
        (section, key)
        for section, key in set(settings_of(Settings)) - secrets - shown
        # What holds for all accounts is explained once, under [defaults] or [balance].
        if not any((section.replace("accounts", general, 1), key) in shown for general in ("defaults", "balance"))
    }
    assert not missing, f"config.example.toml does not show {sorted(missing)}"


def test_example_shows_only_settings() -> None:
    known = set(settings_of(Settings)) | {("accounts", "fields"), ("defaults", "fields"), ("accounts", "top_up")}
    strangers = {setting for setting in settings_in(EXAMPLE.read_text()) if setting[0]} - known
    assert not strangers, f"config.example.toml shows {sorted(strangers)}"


def test_settings_of_includes_nested_sections() -> None:
    walked = set(settings_of(Settings))
    assert {
        ("vault", "address"),
        ("vault.auth", "role"),
        ("accounts", "path"),
        ("defaults.fields", "api_key"),
    } <= walked
    text = '[vault]\n# mount = "x"\n[vault.auth]\n#role="r"\n[defaults]\nfields = { api_key = "K" }\n'
    assert tomllib.loads(text)
    assert settings_in(text) >= {("vault", "mount"), ("vault.auth", "role"), ("defaults.fields", "api_key")}
