"""Work beside the runs, one task at a time: balances and the resync."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from rotator.core.balance import Reading, TopUp
from rotator.daemon.facts import (
    BalanceRead,
    ResyncEnded,
    Stopping,
    TaskBroke,
    TopUpEnded,
    VaultStateChanged,
)
from rotator.daemon.tasks import ReadBalance, Resync, TopUpBalance
from rotator.monitoring import BalanceStatus
from rotator.vault import VaultSealed
from tests.daemon.harness import DAY, MINUTE, SECOND, Bench, rotated

TOP_UPS: dict[str, Any] = {"balance": {"every": "1h"}, "balance.top_up": {"per_day": 1, "trx_path": "money/shop"}}


def test_shorter_interval_holds_from_the_reload_on(bench: Bench) -> None:
    bench.start("shop", balance={"every": "30d"})
    bench.load(shop=rotated())
    reading = bench.read_balance(Reading(Decimal(12), None, bench.now), within=timedelta(minutes=1))
    assert bench.account("shop").balance == BalanceStatus(5, 12, None, False, reading.at)
    bench.reload("shop", balance={"every": "2m"})
    again = bench.read_balance(Reading(Decimal(11), None, bench.now), within=timedelta(minutes=2))
    assert again.at > reading.at


def test_balance_of_a_new_key_is_unknown(bench: Bench) -> None:
    bench.start("shop", balance={"every": "30d"})
    bench.load(shop=rotated())
    bench.read_balance(Reading(Decimal(12), None, bench.now), within=timedelta(minutes=1))
    bench.reload({"name": "shop", "api_key": "another1", "path": "apps/shop"}, balance={"every": "30d"})
    bench.answer_loads(shop=rotated())
    assert bench.account("shop").balance == BalanceStatus(5)


def test_balances_are_read_one_at_a_time(bench: Bench) -> None:
    bench.start(
        "a",
        "b",
        balance={"every": "1s"},
        account_api={"max_calls_per_second": 1},
        daemon={"concurrency": 1, "resync_interval": "30d"},
    )
    bench.load(a=rotated(), b=rotated())
    bench.advance(timedelta(minutes=1))
    first = bench.take_one(ReadBalance)
    bench.advance(timedelta(minutes=1))
    assert bench.take(ReadBalance) == []
    bench.feed(BalanceRead(first, Reading(Decimal(12), None, bench.now)))
    bench.advance(timedelta(seconds=1.9))
    assert bench.take(ReadBalance) == []
    bench.advance(timedelta(seconds=0.2))
    assert bench.take_one(ReadBalance).target.name != first.target.name


def test_balance_is_read_again_after_an_internal_error(bench: Bench) -> None:
    bench.start("shop", balance={"every": "1s"})
    bench.load(shop=rotated())
    bench.advance(timedelta(minutes=1))
    bench.feed(TaskBroke(bench.take_one(ReadBalance), "somewhere"))
    bench.advance(timedelta(seconds=9))
    assert bench.take(ReadBalance) == []
    bench.advance(timedelta(seconds=2))
    assert len(bench.take(ReadBalance)) == 1


def test_balance_and_resync_are_never_in_progress_together(bench: Bench) -> None:
    bench.start("a", balance={"every": "1s"}, daemon={"resync_interval": "1s"})
    bench.load(a=rotated())
    bench.advance(MINUTE)
    bench.take_one(Resync)
    bench.advance(MINUTE)
    assert bench.submitted == []
    bench.feed(ResyncEnded())
    assert len(bench.submitted) == 1


def test_balance_and_resync_wait_when_vault_is_unavailable(bench: Bench) -> None:
    bench.start("a", balance={"every": "1s"}, daemon={"resync_interval": "1s"})
    bench.load(a=rotated())
    bench.feed(VaultStateChanged(bench.fleet.vault, VaultSealed("Vault is sealed")))
    assert bench.registry.next_at() is None
    bench.advance(DAY)
    assert (bench.take(ReadBalance), bench.take(Resync)) == ([], [])


def test_balance_is_read_again_soon_after_vault_fails(bench: Bench) -> None:
    bench.start("shop", balance={"every": "1h"}, daemon={"resync_interval": "30d"})
    bench.load(shop=rotated())
    bench.advance(MINUTE)
    checks = bench.checks
    bench.feed(BalanceRead(bench.take_one(ReadBalance), VaultSealed("Vault is sealed")))
    assert bench.checks == checks + 1
    assert bench.account("shop").failure is None
    bench.advance(10 * SECOND)
    assert len(bench.take(ReadBalance)) == 1


def test_low_balance_is_topped_up_by_todays_rules(bench: Bench) -> None:
    bench.start("shop", **TOP_UPS)
    bench.load(shop=rotated())
    bench.read_balance(Reading(Decimal(1), True, bench.now), within=MINUTE)
    task = bench.take_one(TopUpBalance)
    assert task.rules.top_ups_per_day == 1
    bench.feed(TopUpEnded(task, TopUp.OK))
    assert bench.count("rotator_top_ups_total", result="ok") == 1


def test_reload_during_a_reading_forbids_the_top_up(bench: Bench) -> None:
    bench.start("shop", **TOP_UPS)
    bench.load(shop=rotated())
    bench.advance(MINUTE)
    reading = bench.take_one(ReadBalance)
    bench.reload("shop", balance={"every": "1h"})
    bench.answer_loads(shop=rotated())
    bench.feed(BalanceRead(reading, Reading(Decimal(1), True, bench.now)))
    assert bench.take(TopUpBalance) == []
    found = bench.account("shop").balance
    assert found is not None
    assert found.low


def test_stopping_daemon_tops_nothing_up(bench: Bench) -> None:
    bench.start("shop", **TOP_UPS)
    bench.load(shop=rotated())
    bench.advance(MINUTE)
    reading = bench.take_one(ReadBalance)
    bench.feed(Stopping(), BalanceRead(reading, Reading(Decimal(1), True, bench.now)))
    assert bench.submitted == []
    assert bench.registry.snapshot(bench.now).is_idle


def test_balance_is_not_read_before_adoption(bench: Bench) -> None:
    bench.start("shop", balance={"every": "1s"}, daemon={"resync_interval": "30d"})
    bench.load()
    bench.advance(MINUTE)
    bench.advance(MINUTE)
    assert bench.take(ReadBalance) == []
