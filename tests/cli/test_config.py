"""`rotator config` shows the configuration and its schema."""

from tests.cli.harness import Here, Payments


def test_config_show_masks_secrets(payments: Payments, here: Here) -> None:
    finished = here("config", "show")
    assert finished.code == 0, finished
    assert finished.json["vault"]["auth"]["token"] == "**********"
    assert payments.cluster.bao.root_token.get_secret_value() not in finished.out
    assert finished.json["accounts"][0]["every"] == "30d", "defaults included"
    assert here("config", "show", ROTATOR_DEFAULTS__EVERY="7d").json["accounts"][0]["every"] == "7d"


def test_config_show_masks_secrets_in_wrong_places(payments: Payments, here: Here) -> None:
    """A value in place of the name of its file or variable. The log of a reload shows the same."""
    assert payments.cluster.config.exists()
    environment = {"ROTATOR_VAULT__AUTH__JWT_FILE": "Canary0Token", "ROTATOR_BALANCE__TOP_UP__TRX_ENV": "Canary0Trx"}
    finished = here("config", "show", **environment)
    assert finished.code == 0, finished
    assert finished.json["vault"]["auth"]["jwt_file"] == "the named file"
    assert finished.json["balance"]["top_up"]["trx_env"] == "a variable that is not set"
    assert "Canary0" not in finished.out + finished.err


def test_config_schema_is_json(here: Here) -> None:
    finished = here("config", "schema")
    assert finished.code == 0, finished
    assert "accounts" in finished.json["properties"]
