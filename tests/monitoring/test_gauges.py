"""The gauges of the fleet and of each account."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.errors import Code
from rotator.monitoring import (
    BalanceStatus,
    Metrics,
    State,
    expose,
    requested_format,
)
from rotator.provider import Budget
from tests.monitoring.scraping import (
    BOTH,
    HEALTHY,
    IN_GRACE,
    NEVER_SEEN,
    NOW,
    TRUE_OF,
    Parse,
    about,
    fleet,
    scrape,
    series,
)


@BOTH
def test_account_gauges_have_the_values_of_the_status(accept: str, parse: Parse) -> None:
    samples = scrape(Metrics(), fleet(HEALTHY, IN_GRACE), accept, parse)

    assert about(samples, "shop") == {
        "enabled": 1,
        "last_rotation_timestamp_seconds": (NOW - timedelta(days=3)).timestamp(),
        "next_rotation_timestamp_seconds": (NOW + timedelta(days=27)).timestamp(),
        "live_secrets": 1,
        "unknown_secrets": 0,
        "failed_attempts": 0,
    }
    assert about(samples, "alerts")["next_revocation_timestamp_seconds"] == (NOW + timedelta(hours=2)).timestamp()
    assert samples[series("account_state", account="alerts", state="grace_period")] == 1


@BOTH
def test_unknown_values_have_no_series(accept: str, parse: Parse) -> None:
    samples = scrape(Metrics(), fleet(NEVER_SEEN, replace(NEVER_SEEN, name="off", enabled=False)), accept, parse)

    assert about(samples, "new") == {"enabled": 1, "failed_attempts": 0}
    assert about(samples, "off") == {"enabled": 0, "failed_attempts": 0}
    states = {dict(labels)["account"]: dict(labels)["state"] for name, labels in samples if name.endswith("_state")}
    assert states == {"new": "pending", "off": "disabled"}


def test_removed_account_has_no_series() -> None:
    metrics = Metrics()
    assert about(scrape(metrics, fleet(HEALTHY)), "shop")
    assert not about(scrape(metrics, fleet(IN_GRACE)), "shop")


@BOTH
def test_failure_gauge_has_the_last_runs_code(accept: str, parse: Parse) -> None:
    refused = replace(HEALTHY, name="refused", failure=Code.CREDENTIALS, attempts=2)
    samples = scrape(Metrics(), fleet(HEALTHY, refused), accept, parse)
    told = [dict(labels) for name, labels in samples if name == "rotator_account_failure"]
    assert {labels["account"]: labels["reason"] for labels in told} == {"refused": "credentials"}


def test_account_is_counted_in_one_state() -> None:
    accounts = [replace(account, name=f"a{number}") for number, (account, _) in enumerate(TRUE_OF.values())]
    samples = scrape(Metrics(), fleet(*accounts, IN_GRACE))
    counted = {each: samples[series("accounts", state=each)] for each in State}
    assert counted == dict.fromkeys(State, 1) | {
        State.IDLE: 2,
        State.GRACE_PERIOD: 2,
        State.FAILING: 2,
        State.ROTATING: 2,
    }
    assert scrape(Metrics(), fleet())[series("accounts", state="overdue")] == 0


def test_state_gauge_names_one_state_per_account() -> None:
    accounts = [replace(account, name=case) for case, (account, _) in TRUE_OF.items()]
    told = [dict(labels) for name, labels in scrape(Metrics(), fleet(*accounts)) if name == "rotator_account_state"]
    assert {labels["account"]: labels["state"] for labels in told} == {
        case: said for case, (_, said) in TRUE_OF.items()
    }
    assert len(told) == len(TRUE_OF)


@pytest.mark.parametrize(("shard", "expected"), [(None, (0, 1)), ("0/4", (0, 4)), ("11/12", (11, 12))])
def test_shard_gauges_show_index_and_count(shard: str | None, expected: tuple[int, int]) -> None:
    samples = scrape(Metrics(), fleet(shard=shard))
    assert (samples[series("shard_index")], samples[series("shards")]) == expected


@pytest.mark.parametrize(
    ("changes", "ready", "is_open"),
    [
        ({}, 1, 0),
        ({"ready": False, "not_ready": "Vault does not answer"}, 0, 0),
        ({"circuit_breaker": "many accounts failed"}, 1, 1),
    ],
)
def test_fleet_gauges_show_readiness_and_circuit_breaker(changes: Mapping[str, Any], ready: int, is_open: int) -> None:
    samples = scrape(Metrics(), fleet(**changes))
    assert (samples[series("ready")], samples[series("circuit_breaker_open")]) == (ready, is_open)


def test_token_expiry_is_exported_when_known() -> None:
    metrics = Metrics()
    assert series("vault_token_expiry_timestamp_seconds") not in scrape(metrics, fleet())
    metrics.token_expires(NOW)
    assert scrape(metrics, fleet())[series("vault_token_expiry_timestamp_seconds")] == NOW.timestamp()
    metrics.token_expires(None)
    assert series("vault_token_expiry_timestamp_seconds") not in scrape(metrics, fleet())


@BOTH
def test_balance_gauges_have_known_values_only(accept: str, parse: Parse) -> None:
    known = replace(HEALTHY, name="known", balance=BalanceStatus(5.0, 4.25, auto_reload=False, low=True, read_at=NOW))
    unread = replace(HEALTHY, name="unread", balance=BalanceStatus(7.5))
    text = b"".join(expose(Metrics(), fleet(known, unread, HEALTHY), requested_format(accept))).decode()
    told = {
        (sample.name, sample.labels["account"]): sample.value
        for family in parse(text)
        for sample in family.samples
        if "balance" in sample.name or ("reload" in sample.name and "account" in sample.labels)
    }
    assert told == {
        ("rotator_account_balance_euros", "known"): 4.25,
        ("rotator_account_balance_threshold_euros", "known"): 5.0,
        ("rotator_account_balance_threshold_euros", "unread"): 7.5,
        ("rotator_account_auto_reload", "known"): 0.0,
        ("rotator_account_balance_last_read_timestamp_seconds", "known"): NOW.timestamp(),
    }


@BOTH
def test_rate_limits_are_exported_by_account(accept: str, parse: Parse) -> None:
    metrics = Metrics()
    for key, budget in (("k1", Budget(9, 30)), ("k1", Budget(0, 30)), ("k2", Budget(7, None)), ("gone", Budget(1, 2))):
        metrics.record_budget(key, budget)
    accounts = [replace(HEALTHY, name=f"a-{key}", api_key=key) for key in ("k1", "k2", "k3")]
    samples = scrape(metrics, fleet(*accounts), accept, parse)
    assert {key: value for key, value in samples.items() if "rate_limit" in key[0]} == {
        series("api_rate_limit_remaining", account="a-k1"): 0,
        series("api_rate_limit_requests", account="a-k1"): 30,
        series("api_rate_limit_remaining", account="a-k2"): 7,
    }
