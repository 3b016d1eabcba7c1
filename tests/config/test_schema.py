"""`rotator config schema`: what an editor shows for each key, and what it accepts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rotator.config import Settings

ROOT = Path(__file__).parents[2]
SCHEMA = Settings.model_json_schema()


def keys() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key of the schema by its section's name and its own."""
    sections = {"Settings": SCHEMA, **SCHEMA["$defs"]}
    for section, properties in sections.items():
        for key, schema in properties.get("properties", {}).items():
            yield f"{section}.{key}", schema


KEYS = [pytest.param(schema, id=name) for name, schema in keys()]
DEFAULTS = [pytest.param(schema, id=name) for name, schema in keys() if "default" in schema]


def test_schema_is_a_valid_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert len(KEYS) > 80


@pytest.mark.parametrize("schema", KEYS)
def test_schema_describes_each_key(schema: dict[str, Any]) -> None:
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    assert schema.get("description") or SCHEMA["$defs"][reference].get("description")


@pytest.mark.parametrize("schema", DEFAULTS)
def test_default_satisfies_its_own_schema(schema: dict[str, Any]) -> None:
    validator = Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})
    validator.validate(schema["default"])


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
