"""`rotator config` shows the configuration and its schema."""

from tests.cli.harness import Here, Payments


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
