"""Accounts that rotator manages: adopted, rotated, or within a grace period."""

import threading

import pytest

from rotator.config import load
from rotator.core.generator import Recipe, generate
from rotator.fleet import Fleet, Request, Wanted
from rotator.provider import AccountApi
from rotator.rotation import Result
from rotator.vault import Vault
from testkit.cluster import eventually
from tests.cli.harness import Payments

TRX = "payment-reference-4711"
NOBODY = "5f2c1d9e-0000-4000-8000-000000000000"


def visit(payments: Payments, wanted: Wanted) -> None:
    """What a run of rotator does to the account."""
    settings = load(payments.cluster.config)
    with AccountApi(settings.account_api) as api:
        fleet = Fleet(settings, api, Vault(settings.vault), threading.Event())
        (account,) = settings.accounts
        assert fleet.rotation(account, Request(wanted)).run().result is Result.OK


@pytest.fixture
def adopted(payments: Payments, monkeypatch: pytest.MonkeyPatch) -> Payments:
    """Taken on by rotator, with one secret."""
    payments.cluster.remember(TRX)
    monkeypatch.setenv("VAULT_TOKEN", payments.cluster.bao.root_token.get_secret_value())

    def identified() -> bool:
        visit(payments, Wanted.NOTHING_NEW)
        return bool(payments.cluster.journal(payments.name)["current_id"]["learned"] == "eliminated")

    eventually(identified)
    return payments


@pytest.fixture
def rotated(adopted: Payments) -> Payments:
    """Rotated: the provider itself named the published secret's id."""
    visit(adopted, Wanted.NOW)
    assert len(adopted.live) == 1
    return adopted


@pytest.fixture
def overlapping(adopted: Payments) -> Payments:
    """Just rotated: the secret before is in its grace, for an hour."""
    adopted.cluster.configure([adopted.entry(grace="1h")])
    visit(adopted, Wanted.NOW)
    assert len(adopted.live) == 2
    return adopted


def added_by_hand(payments: Payments) -> str:
    """A secret that somebody adds in the dashboard; its id."""
    value = generate(Recipe())
    payments.cluster.remember(value.get_secret_value())
    return payments.cluster.emulator.add_secret(payments.api_key, value)
