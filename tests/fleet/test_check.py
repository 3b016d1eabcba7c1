"""What a check finds of top-ups: the reference of the payment."""

from contextlib import ExitStack
from typing import Any

import pytest

from rotator.fleet import Finding, State, examine
from testkit.cluster import Cluster
from tests.fleet.shop import TRX, top_up_service


def test_check_finds_the_payments_reference_of_top_ups(shop: Cluster, stack: ExitStack) -> None:
    """Two accounts share its place, and a third one has no top-ups."""
    configure_more(shop, {"per_day": 1, "trx_path": "money/shop"})
    what = "top-ups of more, shop: the reference of the payment can be read"
    assert [(finding.state, finding.what) for finding in found(shop, stack)] == [(State.OK, what)]


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ({"trx_path": "money/none"}, "trx of money/none"),
        ({"trx_path": "money/shop", "trx_field": "reference"}, "reference of money/shop"),
        ({"trx_env": "SHOP_TRX"}, "the variable that top_up.trx_env names"),
    ],
    ids=["document", "field", "variable"],
)
def test_check_fails_without_the_payments_reference(
    shop: Cluster, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, place: dict[str, str], where: str
) -> None:
    """Nothing else would tell before a balance is low."""
    configure_more(shop, {"per_day": 1, **place})
    [finding] = found(shop, stack)
    assert (finding.state, finding.exit_code) == (State.FAILED, 2)
    assert finding.what.startswith("top-ups of more, shop: The reference of the payment for ")
    assert f" is not in {where}. " in finding.what
    monkeypatch.setenv("SHOP_TRX", TRX)
    assert [known.ok for known in found(shop, stack)] == ["trx_env" in place]


@pytest.mark.parametrize("balance", [{"every": "off"}, {"every": "1s"}], ids=["no readings", "no top-ups"])
def test_check_omits_the_reference_without_top_ups(shop: Cluster, stack: ExitStack, balance: dict[str, str]) -> None:
    configure_more(shop, {"per_day": int(balance["every"] == "off"), "trx_path": "money/none"}, balance)
    assert not found(shop, stack)


def configure_more(cluster: Cluster, top_up: dict[str, Any], balance: dict[str, str] | None = None) -> None:
    """Configure the shop and another account with these top-ups, and one that is disabled."""
    shop = {"name": "shop", "api_key": "ef567890", "path": "apps/shop"}
    more = {"name": "more", "api_key": "ef567891", "path": "apps/more"}
    off = {"name": "off", "api_key": "ef567892", "path": "apps/off", "enabled": False}
    cluster.configure([shop, more, off], balance=balance or {"every": "1s"}, **{"balance.top_up": top_up})


def found(cluster: Cluster, stack: ExitStack) -> list[Finding]:
    """Return what `check` says of top-ups, their policy left out."""
    fleet = top_up_service(cluster, stack).fleet
    return [known for known in examine(fleet, fleet.settings.accounts) if known.what.startswith("top-ups of ")]
