"""Gauges of the fleet and of each account.

They are not stored: each scrape writes them from a status, as text. An object for each sample is too slow for 10,000
accounts.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from rotator.monitoring.status import AccountStatus, BalanceStatus, FleetStatus, State, state
from rotator.provider import Budget

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def _gauge(name: str, text: str, samples: Iterable[str]) -> str:
    """Return a family as text, the same in both formats; `samples` are "{labels} value" or " value"."""
    lines = [f"# HELP {name} {text}\n# TYPE {name} gauge\n"]
    lines += [f"{name}{sample}\n" for sample in samples]
    return "".join(lines)


def fleet_gauges(status: FleetStatus, token_expiry: datetime | None) -> Iterator[str]:
    """Write the gauges of the fleet, then those of each account. Each piece is one metric."""
    states = Tally(state(account, status.at) for account in status.accounts)
    yield _gauge(
        "rotator_ready",
        "1 if Vault is available, jobs can be set and every journal was read, otherwise 0.",
        [f" {int(status.ready)}"],
    )
    yield _gauge(
        "rotator_circuit_breaker_open",
        "1 if the circuit breaker is open and rotator starts no new rotation, otherwise 0.",
        [f" {int(status.circuit_breaker is not None)}"],
    )
    yield _gauge(
        "rotator_accounts",
        "Number of accounts, by state.",
        [f'{{state="{each.value}"}} {states[each]}' for each in State],
    )
    index, count = (status.shard or "0/1").split("/")
    yield _gauge(
        "rotator_shard_index",
        "Index of the shard that this process manages, from 0.",
        [f" {index}"],
    )
    yield _gauge(
        "rotator_shards",
        "Number of shards of the fleet, by the configuration of this process.",
        [f" {count}"],
    )
    yield _gauge(
        "rotator_vault_token_expiry_timestamp_seconds",
        "Time at which the Vault token in use expires, as Unix time; absent if it never does.",
        [f" {token_expiry.timestamp()}"] if token_expiry else [],
    )
    yield from _accounts(status.accounts, status.at)


def _accounts(accounts: tuple[AccountStatus, ...], at: datetime) -> Iterator[str]:
    rows = [(f'{{account="{account.name.translate(_ESCAPES)}"', account) for account in accounts]
    known = [(labels, account) for labels, account in rows if account.phase is not None]
    yield _gauge(
        "rotator_account_enabled",
        "1 if rotator manages the account, 0 if the configuration disables it.",
        [f"{labels}}} {int(account.enabled)}" for labels, account in rows],
    )
    yield _gauge(
        "rotator_account_state",
        "State of the account; always 1 for the present state, the other states are absent.",
        [f'{labels},state="{state(account, at).value}"}} 1' for labels, account in rows],
    )
    yield _gauge(
        "rotator_account_last_rotation_timestamp_seconds",
        "Time at which the published secret was generated, as Unix time; absent until that is known.",
        [f"{labels}}} {account.rotated_at.timestamp()}" for labels, account in rows if account.rotated_at],
    )
    yield _gauge(
        "rotator_account_next_rotation_timestamp_seconds",
        "Time at which the next rotation is due, as Unix time; absent if there will be none.",
        [f"{labels}}} {account.due_at.timestamp()}" for labels, account in rows if account.due_at],
    )
    yield _gauge(
        "rotator_account_next_revocation_timestamp_seconds",
        "Time at which the first grace period ends, as Unix time; absent if no secret is in its grace period.",
        [
            f"{labels}}} {min(entry.not_before for entry in account.retiring).timestamp()}"
            for labels, account in known
            if account.retiring
        ],
    )
    yield _gauge(
        "rotator_account_live_secrets",
        "Number of secrets that the account has at the provider, as far as rotator knows.",
        [f"{labels}}} {account.live_secrets}" for labels, account in known],
    )
    yield _gauge(
        "rotator_account_unknown_secrets",
        "Number of unknown secrets of the account; rotator does not revoke them.",
        [f"{labels}}} {account.unknown_secrets}" for labels, account in known],
    )
    yield _gauge(
        "rotator_account_failed_attempts",
        "Number of failed runs since the last successful run of the account.",
        [f"{labels}}} {account.attempts}" for labels, account in rows],
    )
    yield _gauge(
        "rotator_account_failure",
        "Failure code of the account's last run; always 1, absent if the run succeeded.",
        [f'{labels},reason="{account.failure.value}"}} 1' for labels, account in rows if account.failure],
    )
    yield from _balances([(labels, account.balance) for labels, account in rows if account.balance])


def rate_limit_gauges(accounts: tuple[AccountStatus, ...], budgets: Mapping[str, Budget]) -> Iterator[str]:
    """Write the rate limits by account: the key of an account that left the configuration has no series."""
    rows = [(account.name.translate(_ESCAPES), budgets.get(account.api_key)) for account in accounts]
    known = [(f'{{account="{name}"}}', budget) for name, budget in rows if budget is not None]
    yield _gauge(
        "rotator_api_rate_limit_remaining",
        "Number of requests that the provider still allows the account's API key; absent if unknown.",
        [f"{labels} {budget.remaining}" for labels, budget in known],
    )
    yield _gauge(
        "rotator_api_rate_limit_requests",
        "Number of requests that the provider allows the account's API key between two resets of its limit.",
        [f"{labels} {budget.limit}" for labels, budget in known if budget.limit is not None],
    )


def _balances(monitored: list[tuple[str, BalanceStatus]]) -> Iterator[str]:
    yield _gauge(
        "rotator_account_balance_euros",
        "Balance of the account, as last read, in euros; absent until the first reading.",
        [f"{labels}}} {balance.euros}" for labels, balance in monitored if balance.euros is not None],
    )
    yield _gauge(
        "rotator_account_balance_threshold_euros",
        "Balance threshold of the account, in euros; absent if rotator does not monitor the balance.",
        [f"{labels}}} {balance.threshold}" for labels, balance in monitored],
    )
    yield _gauge(
        "rotator_account_auto_reload",
        "1 if the account has a payment that a top-up can repeat, otherwise 0; absent until that is known.",
        [f"{labels}}} {int(balance.auto_reload)}" for labels, balance in monitored if balance.auto_reload is not None],
    )
    yield _gauge(
        "rotator_account_balance_last_read_timestamp_seconds",
        "Time of the last reading of the account's balance, as Unix time; absent until the first reading.",
        [f"{labels}}} {balance.read_at.timestamp()}" for labels, balance in monitored if balance.read_at],
    )
