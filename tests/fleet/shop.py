"""An account that rotator can top up, and the service that does so."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest

from rotator.config import load
from rotator.core.generator import Recipe, generate
from rotator.emulator import Account, Operation
from rotator.fleet import Fleet, Request, TopUpService, Wanted
from rotator.provider import AccountApi
from rotator.rotation import Result
from rotator.vault import Vault
from testkit.cluster import Cluster

TRX = "payment-reference-4711"


def top_up_service(
    cluster: Cluster, stack: ExitStack, *, api: type[AccountApi] = AccountApi, vault: Any = Vault, fleet: Any = Fleet
) -> TopUpService:
    settings = load(cluster.config)
    provider = stack.enter_context(api(settings.account_api))
    return TopUpService(fleet(settings, provider, vault(settings.vault), threading.Event()))


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
