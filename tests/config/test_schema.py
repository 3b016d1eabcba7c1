"""The schema and the printed settings are what programs can rely on."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rotator.config import (
    Settings,
)
from tests.config.config_file import CANARY, DEFAULTS, VAULT, A, B, ConfigFile, account

ROOT = Path(__file__).parents[2]


def test_schema_names_every_section() -> None:
    schema = Settings.model_json_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == set(Settings.model_fields)
    every, _ = schema["$defs"]["AccountSettings"]["properties"]["every"]["anyOf"]
    assert every["type"] == "string"
    assert schema["additionalProperties"] is False


def test_schema_pattern_matches_durations() -> None:
    pattern = Settings.model_json_schema()["$defs"]["AccountSettings"]["properties"]["grace"]["pattern"]
    for text in ("30d", "1h30m", "50ms", "0"):
        assert re.search(pattern, text)
    for text in ("30", "1 h", "monthly", ""):
        assert not re.search(pattern, text)


@pytest.mark.parametrize("kind", ["windows", "blackouts"])
def test_schema_patterns_match_windows_and_blackouts(kind: str) -> None:
    pattern = Settings.model_json_schema()["$defs"]["AccountSettings"]["properties"][kind]["items"]["pattern"]
    assert "?P<" not in pattern, "not every reader of JSON schemas knows names of groups"
    texts = {
        "windows": ("mon-fri 02:00-05:00", "sat,sun 00:00-24:00", "22:00-02:00"),
        "blackouts": ("2026-12-24", "2026-12-20/2027-01-02", "12-25", "12-24/12-26"),
    }
    for text in texts[kind]:
        assert re.search(pattern, text)
        assert not re.search(pattern, f"{text},")
    for other in texts["windows" if kind == "blackouts" else "blackouts"]:
        assert not re.search(pattern, other)


def test_schema_defaults_satisfy_the_schema() -> None:
    schema = Settings.model_json_schema()
    checked = 0
    for model in (schema, *schema["$defs"].values()):
        for key, declared in model["properties"].items():
            if "default" in declared:
                checked += 1
                value = Draft202012Validator(declared | {"$defs": schema["$defs"]})
                assert list(value.iter_errors(declared["default"])) == [], (model["title"], key, declared["default"])
    assert checked > 50


def test_schema_describes_every_key() -> None:
    schema = Settings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert model["description"]
        assert [key for key, declared in model["properties"].items() if not declared.get("description")] == []


def test_printed_settings_are_readable_without_secrets(config_file: ConfigFile) -> None:
    settings = config_file.load(VAULT + DEFAULTS + 'every = "36h30m"\n' + A + B)
    dumped = settings.model_dump_json(exclude_none=True)
    assert CANARY not in dumped
    assert CANARY not in repr(settings)
    content = json.loads(dumped)
    assert content["accounts"][0]["every"] == "1d12h30m"
    content["vault"]["auth"]["token"] = CANARY
    assert Settings.model_validate(content) == settings


def test_printed_schedule_can_be_read_again(config_file: ConfigFile) -> None:
    settings = config_file.load(
        VAULT + account("a", 'cron = "0 3 1 * *"', 'windows = ["fri-mon 22:00-02:00"]', 'blackouts = ["02-29"]')
    )
    content = json.loads(settings.model_dump_json(exclude_none=True))
    assert content["accounts"][0]["windows"] == ["fri-mon 22:00-02:00"]
    content["vault"]["auth"]["token"] = CANARY
    assert Settings.model_validate(content).accounts[0].schedule is settings.accounts[0].schedule


def with_default(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every part of a schema that has a default."""
    if isinstance(schema, dict):
        if "default" in schema:
            yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from with_default(part)


def test_defaults_in_the_chart_satisfy_their_schema() -> None:
    chart = json.loads((ROOT / "deploy/helm/rotator/values.schema.json").read_text())
    parts = list(with_default(chart))
    assert len(parts) > 40
    for part in parts:
        Draft202012Validator({**part, "$defs": chart.get("$defs", {})}).validate(part["default"])
