"""`rotator config` shows the configuration and its schema."""

# ruff: noqa: F811 - fixtures are asked for by the names under which they were imported

from tests.cli.harness import (  # noqa: F401
    CHANGING,
    STANZA,
    Here,
    Payments,
    a_colourful_fleet,
    assert_table,
    commands,
    everything,
    here,
    opened,
    payments,
    token_with,
)


def test_config_show_masks_secrets(payments: Payments, here: Here) -> None:
    finished = here("config", "show")
    assert finished.code == 0, finished
    assert finished.json["vault"]["auth"]["token"] == "**********"
    assert payments.cluster.bao.root_token.get_secret_value() not in finished.out
    assert finished.json["accounts"][0]["every"] == "30d", "defaults included"
    assert here("config", "show", ROTATOR_DEFAULTS__EVERY="7d").json["accounts"][0]["every"] == "7d"


def test_config_schema_is_json(here: Here) -> None:
    finished = here("config", "schema")
    assert finished.code == 0, finished
    assert "accounts" in finished.json["properties"]
