"""Accounts inherit the defaults, or override them, also those of balances and top-ups."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rotator.config import Settings, load
from rotator.core.scheduling import Blackout, Schedule, Window
from rotator.errors import ConfigError
from tests.config.config_file import DEFAULTS, VAULT, A, B, ConfigFile, account

BASE = '[vault]\naddress = "http://127.0.0.1:1"\n'
SHOP = '[[accounts]]\nname = "shop"\napi_key = "ef567890"\npath = "nexmo/shop"\n'


def test_account_overrides_the_defaults(config_file: ConfigFile) -> None:
    settings = config_file.load(
        VAULT + DEFAULTS + 'every = "7d"\ngrace = "1h"\nfields = {api_secret = "SECRET"}\n' + A
        + account("b", 'grace = "2h"', 'fields = {api_secret = "OTHER"}')
    )  # fmt: skip
    a, b = settings.accounts
    assert (a.every, a.grace, a.fields.api_secret) == (timedelta(days=7), timedelta(hours=1), "SECRET")
    assert (b.every, b.grace, b.fields.api_secret) == (timedelta(days=7), timedelta(hours=2), "OTHER")


def test_account_fields_keep_other_default_names(config_file: ConfigFile) -> None:
    settings = config_file.load(
        VAULT
        + DEFAULTS
        + 'fields = {api_key = "KEY", api_secret = "SECRET"}\n'
        + account("a", 'fields = {api_secret = "OWN"}')
    )
    names = settings.accounts[0].fields
    assert (names.api_key, names.api_secret, names.secret_id) == ("KEY", "OWN", "secret_id")


def test_account_every_and_cron_replace_each_other(config_file: ConfigFile) -> None:
    said = (account("b", 'every = "7d"'), account("c", 'cron = "0 4 * * 6"'), account("d"))
    for default in ('every = "30d"', 'cron = "0 3 1 * *"'):
        settings = config_file.load(VAULT + DEFAULTS + default + "\n" + "".join(said))
        b, c, d = (one.schedule for one in settings.accounts)
        assert (b.every, b.cron) == (timedelta(days=7), None)
        assert (c.every, c.cron) == (None, "0 4 * * 6")
        assert (d.every, d.cron) == ((timedelta(days=30), None) if "every" in default else (None, "0 3 1 * *"))
    assert settings.accounts[2].every is None


def test_schedule_parts_are_inherited_or_overridden(config_file: ConfigFile) -> None:
    settings = config_file.load(
        VAULT + DEFAULTS + 'cron = "0 3 1 * *"\ntimezone = "Europe/Berlin"\nwindows = ["mon-fri 02:00-05:00"]\n'
        'blackouts = ["12-24/01-02"]\nmax_age = "45d"\njitter = "1h"\n' + A
        + account("b", 'timezone = "America/New_York"', "windows = []", 'blackouts = ["2026-12-24"]', 'max_age = "50d"',
                  "jitter = 0")
    )  # fmt: skip
    a, b = (one.schedule for one in settings.accounts)
    assert a == Schedule(
        None, "0 3 1 * *", ZoneInfo("Europe/Berlin"), (Window.parse("mon-fri 02:00-05:00"),),
        (Blackout.parse("12-24/01-02"),), timedelta(days=45), timedelta(hours=1),
    )  # fmt: skip
    assert b == Schedule(
        None, "0 3 1 * *", ZoneInfo("America/New_York"), (), (Blackout.parse("2026-12-24"),), timedelta(days=50)
    )


@pytest.mark.parametrize(
    ("lines", "jitter"),
    [
        ((), timedelta(hours=6)),
        (('every = "2d"', 'grace = "1d"'), timedelta(hours=2.4)),
        (('every = "10s"', "grace = 0"), timedelta(seconds=1)),
        (('every = "1ms"', "grace = 0"), timedelta(microseconds=100)),
        (('every = "24h1s"', 'grace = "24h"'), timedelta(seconds=0.1)),
        (('cron = "0 3 1 * *"',), timedelta()),
        (('jitter = "2h"',), timedelta(hours=2)),
        (("jitter = 0",), timedelta()),
    ],
)
def test_default_jitter_leaves_room_for_the_grace(
    config_file: ConfigFile, lines: tuple[str, ...], jitter: timedelta
) -> None:
    assert config_file.load(VAULT + account("a", *lines)).accounts[0].schedule.jitter == jitter


def test_equal_accounts_share_one_schedule(config_file: ConfigFile) -> None:
    text = VAULT + DEFAULTS + 'cron = "0 3 1 * *"\nwindows = ["02:00-05:00"]\n' + A + B + account("c", 'grace = "1h"')
    a, b, c = (one.schedule for one in config_file.load(text).accounts)
    assert a is b is c


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
