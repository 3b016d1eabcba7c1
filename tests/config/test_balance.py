"""Settings of balances and top-ups."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from rotator.config import Settings, load
from rotator.errors import ConfigError

BASE = '[vault]\naddress = "http://127.0.0.1:1"\n'
SHOP = '[[accounts]]\nname = "shop"\napi_key = "ef567890"\npath = "nexmo/shop"\n'


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Settings]:
    monkeypatch.setenv("VAULT_TOKEN", "t")

    def read(text: str) -> Settings:
        file = tmp_path / "config.toml"
        file.write_text(BASE + text)
        return load(file)

    return read


def test_load_reads_balances_hourly_without_top_ups(
    configured: Callable[[str], Settings],
) -> None:
    settings = configured(SHOP)
    (shop,) = settings.accounts
    assert (settings.balance.every, shop.balance_threshold, shop.top_up.per_day) == (timedelta(hours=1), Decimal(5), 0)
    assert configured('[balance]\nevery = "off"\n' + SHOP).balance.every is None


def test_account_overrides_balance_settings(configured: Callable[[str], Settings]) -> None:
    general = '[balance]\nthreshold = "7.50"\n[balance.top_up]\nper_day = 3\ntrx_env = "TRX"\ntrx_field = "ref"\n'
    (shop,) = configured(general + SHOP).accounts
    assert (shop.balance_threshold, shop.top_up.per_day, shop.top_up.trx_env) == (Decimal("7.50"), 3, "TRX")
    (shop,) = configured(general + SHOP + 'balance_threshold = "1"\ntop_up = { trx_path = "a/b" }\n').accounts
    assert (shop.balance_threshold, shop.top_up.per_day) == (Decimal(1), 3)
    assert (shop.top_up.trx_path, shop.top_up.trx_field, shop.top_up.trx_env) == ("a/b", "ref", None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[balance.top_up]\nper_day = 1\n" + SHOP, "top_up.per_day needs trx_path or trx_env"),
        ('[balance.top_up]\ntrx_path = "a"\ntrx_env = "B"\n' + SHOP, "trx_path and trx_env exclude each other"),
        ("[balance]\nthreshold = 5.1\n" + SHOP, 'balance.threshold: is not an amount in euros such as "5.00"'),
        ('[balance]\nthreshold = "-1"\n' + SHOP, 'balance.threshold: is not an amount in euros such as "5.00"'),
        ('[balance]\nevery = "0s"\n' + SHOP, "balance.every: has to be longer than zero"),
    ],
)
def test_load_refuses_a_balance_mistake_in_one_line(
    configured: Callable[[str], Settings], text: str, line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(text)
    (said,) = str(caught.value).splitlines()
    assert line in said
