"""Balances: when they are read, what is said of them, and that no top-up is ever one too many."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from rotator.config import Settings, load
from rotator.core.balance import LIMITED_WITHIN, BalanceState, Reading, Rules, TopUp, Withheld
from rotator.core.generator import Recipe, generate
from rotator.emulator import Account, Operation
from rotator.errors import ConfigError, RotatorError
from rotator.fleet import Fleet, Request, TopUpService, Wanted, examine
from rotator.provider import AccountApi, Credentials
from rotator.rotation import Result
from rotator.vault import Document, Vault
from testkit.cluster import Cluster, Running
from tests.daemon.test_daemon import open_accounts
from tests.daemon.test_reload import held, reload
from tests.provider.test_client import provider, says

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SOON = timedelta(seconds=3)
READING = ("GET", "/account/get-balance")
RULES = Rules(HOUR, Decimal(5), top_ups_per_day=2)
LOW, ENOUGH = Reading(Decimal("4.99"), True, NOW), Reading(Decimal(5), True, NOW)
TRX = "payment-reference-4711"


# --- the configuration -----------------------------------------------------------------------------------------

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


def test_balances_are_watched_every_hour_and_nothing_is_topped_up_unless_somebody_says_so(
    configured: Callable[[str], Settings],
) -> None:
    settings = configured(SHOP)
    (shop,) = settings.accounts
    assert (settings.balance.every, shop.balance_threshold, shop.top_up.per_day) == (HOUR, Decimal(5), 0)
    assert configured('[balance]\nevery = "off"\n' + SHOP).balance.every is None


def test_an_account_says_anew_what_differs(configured: Callable[[str], Settings]) -> None:
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
def test_a_mistake_about_balances_is_one_clear_line(
    configured: Callable[[str], Settings], text: str, line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(text)
    (said,) = str(caught.value).splitlines()
    assert line in said


# --- topping up, for real --------------------------------------------------------------------------------------


def top_up_service(
    cluster: Cluster, stack: ExitStack, *, api: type[AccountApi] = AccountApi, vault: Any = Vault
) -> TopUpService:
    settings = load(cluster.config)
    provider = stack.enter_context(api(settings.account_api))
    return TopUpService(Fleet(settings, provider, vault(settings.vault), threading.Event()))


@pytest.fixture
def shop(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """An account that rotator has taken on, nearly empty, which it may top up once a day."""
    monkeypatch.setenv("VAULT_TOKEN", cluster.bao.root_token.get_secret_value())
    first = generate(Recipe())
    cluster.emulator.open_account(Account("ef567890", first))
    cluster.remember(first.get_secret_value(), TRX)
    cluster.put("apps/shop", {"api_secret": first.get_secret_value()})
    cluster.put("money/shop", {"trx": TRX})
    entry: dict[str, Any] = {"name": "shop", "api_key": "ef567890", "path": "apps/shop"}
    top_up = {"per_day": 1, "trx_path": "money/shop"}
    cluster.configure([entry], balance={"every": "1s"}, **{"balance.top_up": top_up})
    cluster.emulator.change_account("ef567890", balance=Decimal(1), auto_reload=True)
    with ExitStack() as stack:
        fleet = top_up_service(cluster, stack).fleet
        assert fleet.rotation(fleet.settings.accounts[0], Request(Wanted.NOTHING_NEW)).run().result is Result.OK
    return cluster


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def topped_up(cluster: Cluster) -> int:
    """How often it was."""
    return sum(request.operation is Operation.TOP_UP for request in cluster.emulator.requests)


def noted(cluster: Cluster) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = cluster.document("rotator/journal/shop/top-ups").get("top_ups", [])
    return entries


def try_top_up(teller: TopUpService) -> TopUp | Withheld:
    (account,) = teller.fleet.settings.accounts
    rules = teller.rules(account)
    assert rules is not None
    return teller.top_up(account, teller.read(account), rules)


def test_an_account_is_topped_up_once_whatever_restarts(shop: Cluster, stack: ExitStack) -> None:
    assert try_top_up(top_up_service(shop, stack)) is TopUp.OK
    assert shop.emulator.profile("ef567890").balance == 11
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    assert try_top_up(top_up_service(shop, stack)) is Withheld.LIMIT
    assert (topped_up(shop), len(noted(shop))) == (1, 1)


class _Dies(AccountApi):
    """A process that dies in the moment in which it would send the top-up."""

    def top_up(self, auth: Credentials, trx: SecretStr) -> None:
        raise KeyboardInterrupt


def test_whoever_dies_before_the_top_up_is_sent_has_lost_one_and_nobody_does_two(
    shop: Cluster, stack: ExitStack
) -> None:
    with pytest.raises(KeyboardInterrupt):
        try_top_up(top_up_service(shop, stack, api=_Dies))
    assert len(noted(shop)) == 1
    assert try_top_up(top_up_service(shop, stack)) is Withheld.LIMIT
    assert topped_up(shop) == 0


@pytest.mark.parametrize(
    ("fault", "result"),
    [("top-up:drop-after", TopUp.UNANSWERED), ("top-up:503", TopUp.UNANSWERED), ("top-up:429", TopUp.FAILED)],
)
def test_a_top_up_that_went_wrong_counts_and_is_not_repeated(
    shop: Cluster, stack: ExitStack, fault: str, result: TopUp
) -> None:
    shop.emulator.faults.add(fault)
    assert try_top_up(top_up_service(shop, stack)) is result
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    assert try_top_up(top_up_service(shop, stack)) is Withheld.LIMIT
    assert topped_up(shop) == 1


def test_of_two_replicas_that_find_it_low_at_once_one_tops_up(shop: Cluster, stack: ExitStack) -> None:
    results: list[TopUp | Withheld] = []

    class Overtaken(Vault):
        """Right after it was looked up that nobody topped up, another replica does."""

        def read(self, path: str, version: int | None = None) -> Document:
            document = super().read(path, version)
            if path.endswith("/top-ups") and not results:
                results.append(try_top_up(top_up_service(shop, stack)))
            return document

    results.append(try_top_up(top_up_service(shop, stack, vault=Overtaken)))
    assert results == [TopUp.OK, Withheld.ARRIVING]
    assert (topped_up(shop), len(noted(shop))) == (1, 1)


def test_what_was_noted_in_the_last_day_stays_noted(shop: Cluster, stack: ExitStack) -> None:
    entry = {"name": "shop", "api_key": "ef567890", "path": "apps/shop"}
    shop.configure([entry], **{"balance.top_up": {"per_day": 2, "trx_path": "money/shop"}})
    ages = {"within": timedelta(hours=23), "without": timedelta(hours=25)}
    entries = [{"at": (datetime.now(UTC) - age).isoformat(), "runner": name} for name, age in ages.items()]
    shop.put("rotator/journal/shop/top-ups", {"top_ups": entries})
    teller = top_up_service(shop, stack)
    assert try_top_up(teller) is TopUp.OK
    assert [entry["runner"] for entry in noted(shop)] == ["within", teller.fleet.runner]


def test_a_note_that_cannot_be_read_or_a_reference_that_is_missing_stops_top_ups_and_says_so(
    shop: Cluster, stack: ExitStack
) -> None:
    teller = top_up_service(shop, stack)
    shop.put("money/shop", {"other": "field"})
    with pytest.raises(RotatorError, match="The reference of the payment for shop is not in trx of money/shop"):
        try_top_up(teller)
    assert noted(shop) == [], "nothing was sent, and nothing counts"
    shop.put("money/shop", {"trx": TRX})
    shop.put("rotator/journal/shop/top-ups", {"top_ups": "yesterday"})
    with pytest.raises(RotatorError, match="does not hold what rotator noted of its top-ups"):
        try_top_up(teller)
    assert topped_up(shop) == 0


def test_top_ups_document_is_rewritten_before_it_expires(shop: Cluster, stack: ExitStack) -> None:
    """With `delete_version_after` the limit would be forgotten. The other half of the life is over at once here."""
    path = "rotator/journal/shop/top-ups"
    shop.vault("POST", f"{shop.mount}/metadata/{path}", {"delete_version_after": "12h"})

    class Later(Vault):
        """It answers some hours after the document was written."""

        passed = timedelta(hours=5)

        def read(self, path: str, version: int | None = None) -> Document:
            document = super().read(path, version)
            return replace(document, read_at=document.created + self.passed if document.created else None)

    class MuchLater(Later):
        passed = timedelta(hours=7)

    assert try_top_up(top_up_service(shop, stack)) is TopUp.OK
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    before = noted(shop)
    for vault, versions in ((Later, 1), (MuchLater, 2)):
        assert try_top_up(top_up_service(shop, stack, vault=vault)) is Withheld.LIMIT
        assert len(shop.vault("GET", f"{shop.mount}/metadata/{path}")["data"]["versions"]) == versions
    assert noted(shop) == before


def test_deleted_top_ups_document_stops_top_ups_for_a_day(shop: Cluster, stack: ExitStack) -> None:
    path = "rotator/journal/shop/top-ups"
    assert try_top_up(top_up_service(shop, stack)) is TopUp.OK
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    shop.vault("DELETE", f"{shop.mount}/data/{path}")
    with pytest.raises(RotatorError, match="It contained the top-ups of the last day"):
        try_top_up(top_up_service(shop, stack))
    assert topped_up(shop) == 1

    class Tomorrow(Vault):
        """It answers a day after the document was written."""

        def read(self, path: str, version: int | None = None) -> Document:
            return replace(super().read(path, version), read_at=datetime.now(UTC) + LIMITED_WITHIN)

    assert try_top_up(top_up_service(shop, stack, vault=Tomorrow)) is TopUp.OK


def test_the_check_names_what_top_ups_need_and_rotations_do_without_it(shop: Cluster, stack: ExitStack) -> None:
    fleet = top_up_service(shop, stack).fleet
    findings = [finding.what for finding in examine(fleet, fleet.settings.accounts)]
    assert f"policy for {shop.mount}/data/rotator/journal/shop/top-ups" in findings
    assert f"policy for {shop.mount}/data/money/shop" in findings
    assert not [need for need in fleet.permissions.needs(fleet.settings.accounts) if "top-ups" in need.path]


# --- the daemon ------------------------------------------------------------------------------------------------


def metric(daemon: Running, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(daemon.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    found = (one.value for one in samples if one.name == name and labels.items() <= one.labels.items())
    return next(found, None)


def read(cluster: Cluster) -> int:
    """How often the provider was asked for a balance."""
    return sum(request.operation is Operation.BALANCE for request in cluster.emulator.requests)


def test_the_daemon_tops_up_once_and_says_what_it_sees(shop: Cluster) -> None:
    with shop.daemon() as daemon:
        daemon.wait_for("balance.low", account="shop", euros="1.0", low="5.00")
        daemon.wait_for("balance.topped_up", account="shop")
        daemon.wait_for("balance.recovered", account="shop")
        daemon.eventually(lambda: metric(daemon, "rotator_account_balance_euros") == 11)
        assert metric(daemon, "rotator_account_balance_threshold_euros") == 5
        assert metric(daemon, "rotator_account_auto_reload") == 1
        assert metric(daemon, "rotator_top_ups_total", result="ok") == 1
        assert metric(daemon, "rotator_top_ups_total", result="failed") == 0
        read_at = metric(daemon, "rotator_account_balance_last_read_timestamp_seconds")
        assert read_at is not None
        assert abs(datetime.now(UTC).timestamp() - read_at) < 60
        shown = daemon.status("shop")["balance"]
        assert (shown["euros"], shown["threshold"], shown["low"]) == (11, 5, False)
        shop.emulator.change_account("ef567890", balance=Decimal(2))
        daemon.wait_for("balance.top_up_withheld", account="shop", reason="limit")
        assert daemon.status("shop")["balance"]["low"] is True
        reads = read(shop)
        daemon.eventually(lambda: read(shop) > reads + 1)
        assert len(daemon.find("balance.low")) == 2, "once each time it fell"
        assert len(daemon.find("balance.top_up_withheld")) == 1
        assert daemon.end() == 0
    assert topped_up(shop) == 1


def test_a_balance_that_cannot_be_read_is_no_failed_run_and_shows_nothing_that_is_not_known(shop: Cluster) -> None:
    shop.emulator.faults.add("balance:503:*")
    with shop.daemon() as daemon:
        daemon.wait_for("balance.failed", account="shop")
        assert metric(daemon, "rotator_account_balance_euros") is None
        assert metric(daemon, "rotator_account_failed_attempts") == 0
        assert daemon.status("shop")["state"] == "idle"
        reads = read(shop)
        daemon.eventually(lambda: read(shop) > reads + 3)  # each is repeated, so these are two at least
        shop.emulator.faults.clear()
        daemon.eventually(lambda: metric(daemon, "rotator_account_balance_euros") is not None)
        assert len(daemon.find("balance.failed")) == 1
        assert not daemon.find("rotation.failed")
        assert daemon.end() == 0


def test_daemon_exports_the_remaining_requests_of_a_key(shop: Cluster) -> None:
    headers = "X-RateLimit-Remaining: 12\r\nX-RateLimit-Limit: 30\r\n"
    with provider(says(200, {"value": 10.5, "autoReload": False}, headers)) as rest:
        shop.configure(
            [{"name": "shop", "api_key": "ef567890", "path": "apps/shop"}],
            balance={"every": "1s"},
            account_api={"rest_url": rest.url},
        )
        with shop.daemon() as daemon:
            daemon.eventually(lambda: metric(daemon, "rotator_api_rate_limit_remaining", account="shop") == 12)
            assert metric(daemon, "rotator_api_rate_limit_requests", account="shop") == 30
            assert daemon.end() == 0


def test_where_nobody_watches_balances_none_is_read(shop: Cluster) -> None:
    shop.configure(
        [{"name": "shop", "api_key": "ef567890", "path": "apps/shop"}],
        balance={"every": "off"},
        daemon={"verify_interval": "1s"},
    )
    with shop.daemon() as daemon:
        lists = [request for request in shop.emulator.requests if request.operation is Operation.LIST]
        daemon.eventually(
            lambda: sum(one.operation is Operation.LIST for one in shop.emulator.requests) > len(lists) + 1
        )
        assert daemon.status("shop")["balance"] is None
        assert "rotator_account_balance_threshold_euros{" not in daemon.get("/metrics").text
        assert daemon.end() == 0
    assert read(shop) == 0


def test_a_reload_during_a_slow_reading_is_not_lost(cluster: Cluster) -> None:
    half_a_day = timedelta(hours=12)
    early = (
        name for name in map("n{}".format, count()) if BalanceState.begin(name, half_a_day, NOW).next_at < NOW + SOON
    )
    entries = open_accounts(cluster, next(early))
    with held(cluster.api_url, *READING) as slow:
        provider = {"rest_url": slow.address, "timeout": "30s"}
        cluster.base = {"account_api": provider, "daemon": {"lease": "100s"}}
        cluster.configure(entries, balance={"every": half_a_day})
        with cluster.daemon() as daemon:
            assert slow.asked.wait(40)
            cluster.configure(entries, balance={"every": "1s"})
            reload(daemon)
            slow.release.set()
            daemon.eventually(lambda: read(cluster) > 2)


def test_a_reload_during_a_slow_reading_ends_readings(cluster: Cluster) -> None:
    entries = open_accounts(cluster, "a")
    with held(cluster.api_url, *READING) as slow:
        provider = {"rest_url": slow.address, "timeout": "30s"}
        cluster.base = {"account_api": provider, "daemon": {"lease": "100s"}}
        cluster.configure(entries, balance={"every": "1s"})
        with cluster.daemon() as daemon:
            assert slow.asked.wait(40)
            cluster.configure(entries, balance={"every": "off"})
            reload(daemon)
            slow.release.set()
            daemon.eventually(lambda: read(cluster) == 1)
            assert daemon.status("a")["balance"] is None
            assert daemon.end() == 0
    assert read(cluster) == 1


def test_a_reload_during_a_slow_reading_can_forbid_the_top_up(shop: Cluster) -> None:
    entry = {"name": "shop", "api_key": "ef567890", "path": "apps/shop"}
    with held(shop.api_url, *READING) as slow:
        shop.base = {"account_api": {"rest_url": slow.address, "timeout": "30s"}, "daemon": {"lease": "100s"}}
        top_up: dict[str, Any] = {"per_day": 1, "trx_path": "money/shop"}
        shop.configure([entry], balance={"every": "1s"}, **{"balance.top_up": top_up})
        with shop.daemon() as daemon:
            assert slow.asked.wait(40)
            shop.configure([entry], balance={"every": "1s"}, **{"balance.top_up": top_up | {"per_day": 0}})
            reload(daemon)
            slow.release.set()
            daemon.wait_for("balance.low", account="shop")
            daemon.eventually(lambda: read(shop) > 1)  # the first one is settled by then
            assert daemon.end() == 0
    assert topped_up(shop) == 0
    assert noted(shop) == []
