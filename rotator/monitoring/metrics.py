"""What Prometheus is told: counters of this process, and gauges of every account.

Counters and histograms are prometheus_client's. The gauges of the fleet are not kept anywhere: each scrape writes them
from the status it is given, as text, because an object a sample is too slow for 10,000 accounts. docs/metrics.md lists
them all with the questions that they answer.
"""

import platform
import re
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder

from rotator import __version__
from rotator.core.balance import TopUp
from rotator.core.protocol import Phase, Reason, Trigger
from rotator.errors import Code
from rotator.monitoring.status import AccountStatus, BalanceStatus, FleetStatus
from rotator.provider import Budget
from rotator.rotation import Outcome, Result

# A rotation that did not begin so long after it was due is overdue: queues, short outages and retries are over by then.
OVERDUE_AFTER = timedelta(hours=1)

BRAKE = "brake"
"""The reason of a deferral by the circuit breaker."""
PROVIDER_SLOW = "provider_slow"
"""The reason of a deferral because many candidates do not authenticate yet."""
VAULT_UNAVAILABLE = "vault_unavailable"
"""The reason of a deferral because Vault is unavailable. The other reasons are those of protocol.Reason."""
_DEFERRING = [reason.value for reason in Reason if reason not in (Reason.IDLE, Reason.GRACE, Reason.IDENTIFYING)]
_DEFERRING += [BRAKE, PROVIDER_SLOW, VAULT_UNAVAILABLE]
_GRACE_OVER, _COMPROMISED = "grace_over", "compromised"

_OPENMETRICS = "application/openmetrics-text"
_END = b"# EOF\n"
_WORD = re.compile(r"[A-Za-z0-9_]{1,40}")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_DURATIONS = (0.25, 0.5, 1, 2.5, 5, 10, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE)
_LATENESS = (0.1, 0.5, 1, 5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY)
_ANSWERS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class State(StrEnum):
    """How an account is, in one word: the first of these that is true."""

    DISABLED = "disabled"  # rotator leaves it alone
    AMBIGUOUS = "ambiguous"  # it holds something that rotator cannot account for: a person has to look
    FAILING = "failing"  # its last run failed
    OVERDUE = "overdue"  # its rotation should have begun more than OVERDUE_AFTER ago
    PENDING = "pending"  # not taken on yet, or its journal was not read yet
    ROTATING = "rotating"  # a new secret is on its way
    OVERLAP = "overlap"  # the secret before is in its grace
    IDLE = "idle"  # nothing to do until the next rotation


_BY_PHASE = {
    None: State.PENDING,
    Phase.PREPARED: State.ROTATING,
    Phase.OVERLAP: State.OVERLAP,
    Phase.IDLE: State.IDLE,
    Phase.AMBIGUOUS: State.AMBIGUOUS,
}


def state(account: AccountStatus, at: datetime) -> State:
    """How an account is at that instant."""
    if not account.enabled:
        return State.DISABLED
    if account.phase is Phase.AMBIGUOUS:
        return State.AMBIGUOUS
    if account.attempts or account.last_error:
        return State.FAILING
    if account.due_at is not None and at - account.due_at > OVERDUE_AFTER:
        return State.OVERDUE
    return _BY_PHASE[account.phase]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Metrics:
    """What this process counted so far; every method may be called from any thread.

    Args:
        clock: Tells the time, aware UTC; for when the configuration was read.
    """

    def __init__(self, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._token_expiry: datetime | None = None
        self._budgets: dict[str, Budget] = {}
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("rotator_build", "The running rotator; always 1.", registry=registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        self._rotations = Counter(
            "rotator_rotations",
            "Runs that published a new secret (ok; deferred if the run was stopped right after it) or that failed, by "
            "how they ended and why the rotation was begun.",
            ["result", "trigger"],
            registry=registry,
        )
        self._failures = Counter(
            "rotator_failures",
            "Failed runs, by failure code.",
            ["reason"],
            registry=registry,
        )
        self._revocations = Counter(
            "rotator_revocations",
            "Secrets revoked at the provider: because their grace was over, or early because they were compromised.",
            ["reason"],
            registry=registry,
        )
        self._deferrals = Counter(
            "rotator_deferrals",
            "Times that an account had something to do and it was put off, by the reason.",
            ["reason"],
            registry=registry,
        )
        self._durations = Histogram(
            "rotator_rotation_duration_seconds",
            "Seconds that a run took which published a new secret, from its first look to its end.",
            buckets=_DURATIONS,
            registry=registry,
        )
        self._lateness = Histogram(
            "rotator_schedule_lateness_seconds",
            "Seconds between when an account was to be visited and when it was.",
            buckets=_LATENESS,
            registry=registry,
        )
        self._requests = Counter(
            "rotator_api_requests",
            "Requests sent to the provider and to Vault, by operation and HTTP status, or what came instead of one.",
            ["target", "operation", "code"],
            registry=registry,
        )
        self._answers = Histogram(
            "rotator_api_request_duration_seconds",
            "Seconds that a request to the provider or to Vault took, answered or not.",
            ["target", "operation"],
            buckets=_ANSWERS,
            registry=registry,
        )
        self._conflicts = Counter(
            "rotator_lease_conflicts",
            "Writes that were refused because another runner was ahead with the same account.",
            registry=registry,
        )
        self._missed = Counter(
            "rotator_jobs_missed",
            "Jobs that the scheduler lost or left out; each was set again.",
            registry=registry,
        )
        self._job_failures = Counter(
            "rotator_jobs_failed",
            "Jobs that ended with a mistake in rotator; each was set again.",
            registry=registry,
        )
        self._not_planned = Counter(
            "rotator_planning_failures",
            "Jobs that could not be set because of an internal error; rotator tries again.",
            registry=registry,
        )
        self._top_ups = Counter(
            "rotator_top_ups",
            "Automatic top-ups, by whether they were done (ok), certainly not (failed) or maybe (unanswered).",
            ["result"],
            registry=registry,
        )
        self._lost_lines = Counter(
            "rotator_audit_lines_lost",
            "Lines of the audit log that could not be written: what they tell stands in the log only.",
            registry=registry,
        )
        self._reloads = Counter(
            "rotator_config_reloads",
            "Times that the configuration was read again, by whether it was taken over (ok) or refused (failed).",
            ["result"],
            registry=registry,
        )
        self._reload_ok = Gauge(
            "rotator_config_last_reload_successful",
            "1 if the configuration file is in force as it was last read, 0 if it was refused and the one before is.",
            registry=registry,
        )
        self._reloaded_at = Gauge(
            "rotator_config_last_reload_success_timestamp_seconds",
            "Unix time at which the configuration in force was read.",
            registry=registry,
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """A series that comes into being at 1 has no increase: every known one is there from the start."""
        for result in Result:
            for trigger in Trigger:
                self._rotations.labels(result.value, trigger.value)
        for code in Code:
            self._failures.labels(code.value)
        for why in (_GRACE_OVER, _COMPROMISED):
            self._revocations.labels(why)
        for reason in _DEFERRING:
            self._deferrals.labels(reason)
        for top_up in TopUp:
            self._top_ups.labels(top_up.value)
        for result in (Result.OK, Result.FAILED):
            self._reloads.labels(result.value)
        self._reload_ok.set(1)
        self._reloaded_at.set(self._clock().timestamp())

    # --- what the daemon tells --------------------------------------------------------------------------------

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """A run over one account ended, after so many seconds."""
        trigger = outcome.trigger or Trigger.SCHEDULE
        if outcome.published or outcome.result is Result.FAILED:
            self._rotations.labels(outcome.result.value, trigger.value).inc()
        if outcome.published:
            self._durations.observe(seconds)
        if outcome.code is not None:
            self._failures.labels(outcome.code.value).inc()
        if outcome.result is Result.DEFERRED:
            self.deferred(outcome.reason or "")
        why = _COMPROMISED if trigger is Trigger.COMPROMISED else _GRACE_OVER
        self._revocations.labels(why).inc(len(outcome.revoked))
        self._conflicts.inc(outcome.conflicts)

    def deferred(self, reason: str) -> None:
        """Something was put off: a protocol.Reason, or BRAKE."""
        self._deferrals.labels(_word(reason)).inc()

    def late(self, by: timedelta) -> None:
        """An account was visited so long after it was to be."""
        self._lateness.observe(max(0.0, by.total_seconds()))

    def request(self, target: str, operation: str, code: str, seconds: float) -> None:
        """A request was made.

        Args:
            target: "provider" or "vault".
            operation: What was asked, in a word.
            code: The HTTP status, or in a word what came instead of one.
            seconds: How long it took.
        """
        self._requests.labels(_word(target), _word(operation), _word(code)).inc()
        self._answers.labels(_word(target), _word(operation)).observe(seconds)

    def topped_up(self, result: TopUp) -> None:
        """An account was topped up, or was to be."""
        self._top_ups.labels(result.value).inc()

    def audit_line_lost(self) -> None:
        """A line of the audit log could not be written."""
        self._lost_lines.inc()

    def missed(self) -> None:
        """The scheduler left a job out, or lost it."""
        self._missed.inc()

    def job_failed(self) -> None:
        """A job ended with an exception."""
        self._job_failures.inc()

    def not_planned(self) -> None:
        """A job could not be set."""
        self._not_planned.inc()

    def reloaded(self, *, ok: bool) -> None:
        """The configuration was read again; not ok: it was refused, and the one before stays in force."""
        self._reloads.labels((Result.OK if ok else Result.FAILED).value).inc()
        self._reload_ok.set(ok)
        if ok:
            self._reloaded_at.set(self._clock().timestamp())

    def token_expires(self, at: datetime | None) -> None:
        """When the Vault token in use ends; None if it never does, or there is none."""
        self._token_expiry = at

    def record_budget(self, api_key: str, budget: Budget) -> None:
        """Keep the remaining requests of an API key, by the provider's last answer."""
        self._budgets[api_key] = budget

    # --- what Prometheus asks ---------------------------------------------------------------------------------

    def exposition(self, status: FleetStatus, accept: str = "") -> tuple[bytes, str]:
        """Everything, in the format asked for: OpenMetrics, or else Prometheus' text format.

        Args:
            status: Where every account stands.
            accept: The request's Accept header.

        Returns:
            The text and its content type.
        """
        # Versions and escapings that a client may ask for besides change nothing here, all names being plain.
        encode, content_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in accept else "")
        counted = encode(_WithoutCreated(self._registry))
        fleet = (*_fleet(status, self._token_expiry), *_rate_limits(status.accounts, self._budgets))
        gauges = "".join(fleet).encode()
        ending = _END if counted.endswith(_END) else b""
        return counted.removesuffix(_END) + gauges + ending, content_type


class _WithoutCreated:
    """A registry less the creation times of its counters, which double the series and which nobody asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _word(text: str | None) -> str:
    """A label value that cannot be anything but a word, whatever a caller may pass on."""
    return text if text and _WORD.fullmatch(text) else "other"


def _gauge(name: str, text: str, samples: Iterable[str]) -> str:
    """A family as text, the same in both formats; `samples` are "{labels} value" or " value"."""
    lines = [f"# HELP {name} {text}\n# TYPE {name} gauge\n"]
    lines += [f"{name}{sample}\n" for sample in samples]
    return "".join(lines)


def _fleet(status: FleetStatus, token_expiry: datetime | None) -> Iterator[str]:
    states = Tally(state(account, status.at) for account in status.accounts)
    yield _gauge(
        "rotator_ready",
        "1 if Vault is available, jobs can be set and every journal was read, otherwise 0; what /readyz answers.",
        [f" {int(status.ready)}"],
    )
    yield _gauge(
        "rotator_brake_engaged",
        "1 while no new rotation is begun because many accounts failed alike, otherwise 0; the status page says why.",
        [f" {int(status.brake is not None)}"],
    )
    yield _gauge(
        "rotator_accounts",
        "Accounts by how they are; each is in one state, the worst that is true of it.",
        [f'{{state="{each.value}"}} {states[each]}' for each in State],
    )
    index, count = (status.shard or "0/1").split("/")
    yield _gauge(
        "rotator_shard_index",
        "Which part of the fleet this process looks after, counted from 0; 0 of 1 if all of it.",
        [f" {index}"],
    )
    yield _gauge(
        "rotator_shards",
        "Into how many parts the fleet is divided, as this process was told; each needs a process.",
        [f" {count}"],
    )
    yield _gauge(
        "rotator_vault_token_expiry_timestamp_seconds",
        "Unix time at which the Vault token in use ends; moves on with each renewal, absent if it never ends.",
        [f" {token_expiry.timestamp()}"] if token_expiry else [],
    )
    yield from _accounts(status.accounts, status.at)


def _accounts(accounts: tuple[AccountStatus, ...], at: datetime) -> Iterator[str]:
    rows = [(f'{{account="{account.name.translate(_ESCAPES)}"', account) for account in accounts]
    known = [(labels, account) for labels, account in rows if account.phase is not None]
    yield _gauge(
        "rotator_account_enabled",
        "1 if rotator looks after the account, 0 if the configuration says to leave it alone.",
        [f"{labels}}} {int(account.enabled)}" for labels, account in rows],
    )
    yield _gauge(
        "rotator_account_state",
        "Always 1, for the one state that the account is in; the others are absent.",
        [f'{labels},state="{state(account, at).value}"}} 1' for labels, account in rows],
    )
    yield _gauge(
        "rotator_account_last_rotation_timestamp_seconds",
        "Unix time at which the published secret came to be; absent until that is known.",
        [f"{labels}}} {account.rotated_at.timestamp()}" for labels, account in rows if account.rotated_at],
    )
    yield _gauge(
        "rotator_account_next_rotation_timestamp_seconds",
        "Unix time at which the next rotation is to begin; in the past once it is late, absent if there will be none.",
        [f"{labels}}} {account.due_at.timestamp()}" for labels, account in rows if account.due_at],
    )
    yield _gauge(
        "rotator_account_next_revocation_timestamp_seconds",
        "Unix time from which on the next replaced secret is to be revoked; absent if none is to be.",
        [
            f"{labels}}} {min(entry.not_before for entry in account.retiring).timestamp()}"
            for labels, account in known
            if account.retiring
        ],
    )
    yield _gauge(
        "rotator_account_phase",
        "1 for the phase that the account is in, 0 for the others; absent until its journal was read.",
        [
            f'{labels},phase="{phase.value}"}} {int(phase is account.phase)}'
            for labels, account in known
            for phase in Phase
        ],
    )
    yield _gauge(
        "rotator_account_live_secrets",
        "Secrets that the account has at the provider, as far as rotator knows.",
        [f"{labels}}} {account.live_secrets}" for labels, account in known],
    )
    yield _gauge(
        "rotator_account_unknown_secrets",
        "Secrets of the account that rotator cannot account for, and therefore does not touch.",
        [f"{labels}}} {account.unknown_secrets}" for labels, account in known],
    )
    yield _gauge(
        "rotator_account_failed_attempts",
        "Failed runs since the last good one; 0 again as soon as one is good.",
        [f"{labels}}} {account.attempts}" for labels, account in rows],
    )
    yield _gauge(
        "rotator_account_failure",
        "Always 1, for the failure code of the account's last run; absent if the run succeeded.",
        [f'{labels},reason="{account.failure.value}"}} 1' for labels, account in rows if account.failure],
    )
    yield from _balances([(labels, account.balance) for labels, account in rows if account.balance])


def _rate_limits(accounts: tuple[AccountStatus, ...], budgets: Mapping[str, Budget]) -> Iterator[str]:
    """Both by the account's name: the key of an account that is gone from the configuration has no series."""
    rows = [(account.name.translate(_ESCAPES), budgets.get(account.api_key)) for account in accounts]
    known = [(f'{{account="{name}"}}', budget) for name, budget in rows if budget is not None]
    yield _gauge(
        "rotator_api_rate_limit_remaining",
        "Requests that the provider still allows the account's API key, by its last answer; absent if unknown.",
        [f"{labels} {budget.remaining}" for labels, budget in known],
    )
    yield _gauge(
        "rotator_api_rate_limit_requests",
        "Requests that the provider allows the account's API key from one reset of its limit to the next.",
        [f"{labels} {budget.limit}" for labels, budget in known if budget.limit is not None],
    )


def _balances(watched: list[tuple[str, BalanceStatus]]) -> Iterator[str]:
    yield _gauge(
        "rotator_account_balance_euros",
        "Euros that the account has left, as last read; absent until then.",
        [f"{labels}}} {balance.euros}" for labels, balance in watched if balance.euros is not None],
    )
    yield _gauge(
        "rotator_account_low_balance_euros",
        "Euros below which the account's balance is low; absent if nobody watches it.",
        [f"{labels}}} {balance.threshold}" for labels, balance in watched],
    )
    yield _gauge(
        "rotator_account_auto_reload",
        "1 if the account has a payment that a top-up can repeat, otherwise 0; absent until that is known.",
        [f"{labels}}} {int(balance.auto_reload)}" for labels, balance in watched if balance.auto_reload is not None],
    )
    yield _gauge(
        "rotator_balance_last_read_timestamp_seconds",
        "Unix time at which the account's balance was last read; absent until then.",
        [f"{labels}}} {balance.read_at.timestamp()}" for labels, balance in watched if balance.read_at],
    )
