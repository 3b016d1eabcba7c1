"""No top-up is ever one too many, whatever restarts, dies or races."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr

from rotator.core.balance import LIMITED_WITHIN, TopUp, Withheld
from rotator.errors import RotatorError
from rotator.fleet import Fleet, TopUpService
from rotator.provider import AccountApi, Credentials
from rotator.vault import Document, Vault
from testkit.cluster import Cluster
from tests.fleet.shop import TRX, noted, top_up_service, topped_up


def try_top_up(teller: TopUpService) -> TopUp | Withheld:
    (account,) = teller.fleet.settings.accounts
    rules = teller.rules(account)
    assert rules is not None
    return teller.top_up(account, teller.read(account), rules)


def test_top_up_happens_once_when_services_restart(shop: Cluster, stack: ExitStack) -> None:
    assert try_top_up(top_up_service(shop, stack)) is TopUp.OK
    assert shop.emulator.profile("ef567890").balance == 11
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    assert try_top_up(top_up_service(shop, stack)) is Withheld.LIMIT
    assert (topped_up(shop), len(noted(shop))) == (1, 1)


class Dies(AccountApi):
    """A process that dies in the moment in which it would send the top-up."""

    def top_up(self, auth: Credentials, trx: SecretStr) -> str:
        raise KeyboardInterrupt


def test_top_up_is_lost_when_service_is_killed(shop: Cluster, stack: ExitStack) -> None:
    with pytest.raises(KeyboardInterrupt):
        try_top_up(top_up_service(shop, stack, api=Dies))
    assert len(noted(shop)) == 1
    assert try_top_up(top_up_service(shop, stack)) is Withheld.LIMIT
    assert topped_up(shop) == 0


@pytest.mark.parametrize(
    ("fault", "result"),
    [("top-up:drop-after", TopUp.UNANSWERED), ("top-up:503", TopUp.UNANSWERED), ("top-up:429", TopUp.FAILED)],
)
def test_failed_top_up_counts_and_is_not_repeated(shop: Cluster, stack: ExitStack, fault: str, result: TopUp) -> None:
    shop.emulator.faults.add(fault)
    assert try_top_up(top_up_service(shop, stack)) is result
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    assert try_top_up(top_up_service(shop, stack)) is Withheld.LIMIT
    assert topped_up(shop) == 1


def test_simultaneous_replicas_top_up_once(shop: Cluster, stack: ExitStack) -> None:
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


def instance(ahead: timedelta) -> type[Fleet]:
    """Instances whose clock is wrong."""

    class Wrong(Fleet):
        @staticmethod
        def now() -> datetime:
            return datetime.now(UTC) + ahead

    return Wrong


class Silent(Vault):
    """It does not tell its time."""

    def read(self, path: str, version: int | None = None) -> Document:
        return replace(super().read(path, version), read_at=None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (timedelta(hours=-25), timedelta()),
        (timedelta(), timedelta(hours=25)),
        (timedelta(days=-30), timedelta(days=30)),
    ],
    ids=["behind", "ahead", "both"],
)
def test_wrong_clock_exceeds_no_limit(shop: Cluster, stack: ExitStack, first: timedelta, second: timedelta) -> None:
    assert try_top_up(top_up_service(shop, stack, fleet=instance(first))) is TopUp.OK
    (entry,) = noted(shop)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(entry["at"])) < timedelta(minutes=1)
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    assert try_top_up(top_up_service(shop, stack, fleet=instance(second))) is Withheld.LIMIT
    assert topped_up(shop) == 1


def test_wrong_clock_awaits_the_last_payment(shop: Cluster, stack: ExitStack) -> None:
    """A second top-up is allowed, but the balance was read before the first one arrived."""
    entry = {"name": "shop", "api_key": "ef567890", "path": "apps/shop"}
    shop.configure([entry], **{"balance.top_up": {"per_day": 2, "trx_path": "money/shop"}})
    assert try_top_up(top_up_service(shop, stack, fleet=instance(timedelta(hours=-1)))) is TopUp.OK
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    assert try_top_up(top_up_service(shop, stack, fleet=instance(timedelta(hours=1)))) is Withheld.ARRIVING


def test_own_clock_decides_when_vault_is_silent(shop: Cluster, stack: ExitStack) -> None:
    assert try_top_up(top_up_service(shop, stack, vault=Silent)) is TopUp.OK
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    assert try_top_up(top_up_service(shop, stack, vault=Silent, fleet=instance(timedelta(hours=23)))) is Withheld.LIMIT
    assert try_top_up(top_up_service(shop, stack, vault=Silent, fleet=instance(timedelta(hours=25)))) is TopUp.OK


def test_top_ups_document_keeps_entries_of_a_day(shop: Cluster, stack: ExitStack) -> None:
    entry = {"name": "shop", "api_key": "ef567890", "path": "apps/shop"}
    shop.configure([entry], **{"balance.top_up": {"per_day": 2, "trx_path": "money/shop"}})
    ages = {"within": timedelta(hours=23), "without": timedelta(hours=25)}
    entries = [{"at": (datetime.now(UTC) - age).isoformat(), "runner": name} for name, age in ages.items()]
    shop.put("rotator/journal/shop/top-ups", {"top_ups": entries})
    teller = top_up_service(shop, stack)
    assert try_top_up(teller) is TopUp.OK
    assert [entry["runner"] for entry in noted(shop)] == ["within", teller.fleet.instance]


def test_top_ups_stop_when_document_is_unreadable(shop: Cluster, stack: ExitStack) -> None:
    teller = top_up_service(shop, stack)
    shop.put("money/shop", {"other": "field"})
    with pytest.raises(RotatorError, match="The reference of the payment for shop is not in trx of money/shop"):
        try_top_up(teller)
    assert noted(shop) == [], "nothing was sent, and nothing counts"
    shop.put("money/shop", {"trx": TRX})
    for content in ("yesterday", [{"at": "9999-12-31T23:59:59Z", "runner": "other"}]):
        shop.put("rotator/journal/shop/top-ups", {"top_ups": content})
        with pytest.raises(RotatorError, match=r"does not hold what rotator noted of its top-ups.*-mount=kv"):
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


def test_deleted_top_ups_document_stops_them_a_day(shop: Cluster, stack: ExitStack) -> None:
    path = "rotator/journal/shop/top-ups"
    assert try_top_up(top_up_service(shop, stack)) is TopUp.OK
    shop.emulator.change_account("ef567890", balance=Decimal(1))
    shop.vault("DELETE", f"{shop.mount}/data/{path}")
    with pytest.raises(RotatorError, match="It contained the top-ups of the last day") as deleted:
        try_top_up(top_up_service(shop, stack))
    undelete = f"vault kv undelete -mount={shop.mount} -versions=1 {path}"
    assert f"Restore it: {undelete}. Otherwise rotator waits until" in str(deleted.value)
    shop.vault("PUT", f"{shop.mount}/destroy/{path}", {"versions": [1]})
    with pytest.raises(RotatorError, match="Vault cannot restore it, so rotator waits until"):
        try_top_up(top_up_service(shop, stack))
    assert topped_up(shop) == 1

    class Tomorrow(Vault):
        """It answers a day after the document was written."""

        def read(self, path: str, version: int | None = None) -> Document:
            return replace(super().read(path, version), read_at=datetime.now(UTC) + LIMITED_WITHIN)

    assert try_top_up(top_up_service(shop, stack, vault=Tomorrow)) is TopUp.OK
