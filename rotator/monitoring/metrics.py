"""Counters of this process, and the values that only requests and logins tell.

Counters and histograms are prometheus_client's. rotator.monitoring.gauges adds gauges of the fleet. docs/metrics.md
lists all metrics with the questions that they answer.
"""

import platform
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from rotator import __version__
from rotator.core.balance import TopUp
from rotator.core.protocol import Reason, Trigger
from rotator.errors import Code
from rotator.provider import Budget
from rotator.rotation import Outcome, Result

CIRCUIT_BREAKER = "circuit_breaker"
"""The reason of a deferral by the circuit breaker."""
PROVIDER_SLOW = "provider_slow"
"""The reason of a deferral because many candidates do not authenticate yet."""
VAULT_UNAVAILABLE = "vault_unavailable"
"""The reason of a deferral because Vault is unavailable. The other reasons are those of protocol.Reason."""
_DEFERRING = [reason.value for reason in Reason if reason not in (Reason.IDLE, Reason.GRACE, Reason.IDENTIFYING)]
_DEFERRING += [CIRCUIT_BREAKER, PROVIDER_SLOW, VAULT_UNAVAILABLE]
_GRACE_OVER = "grace_over"
_COMPROMISED = "compromised"

_WORD = re.compile(r"[A-Za-z0-9_]{1,40}")

_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
_DURATIONS = (0.25, 0.5, 1, 2.5, 5, 10, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE)
_DELAYS = (0.1, 0.5, 1, 5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY)
_REQUEST_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Metrics:
    """Counters of this process; every method may be called from any thread.

    Args:
        clock: Returns the current time, aware UTC; for the time of a reload.

    Attributes:
        registry: The counters and histograms.
        token_expiry: The time at which the Vault token expires; None if it never does, or there is none.
    """

    def __init__(self, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self.token_expiry: datetime | None = None
        self._budgets: dict[str, Budget] = {}
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("rotator_build", "Version of rotator and of Python; always 1.", registry=registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self._rotations = counter(
            "rotator_rotations",
            "Runs that published a new secret or failed, by result and trigger of the rotation.",
            ["result", "trigger"],
        )
        self._failures = counter("rotator_failures", "Failed runs, by failure code.", ["reason"])
        self._revocations = counter(
            "rotator_revocations",
            "Secrets that rotator revoked at the provider, by reason: end of the grace period, or compromised.",
            ["reason"],
        )
        self._deferrals = counter(
            "rotator_deferrals", "Deferred runs of accounts that had work to do, by reason.", ["reason"]
        )
        self._durations = histogram(
            "rotator_rotation_duration_seconds",
            "Duration of a run that published a new secret, in seconds.",
            buckets=_DURATIONS,
        )
        self._delays = histogram(
            "rotator_job_start_delay_seconds",
            "Delay between the scheduled and the actual start of a job, in seconds.",
            buckets=_DELAYS,
        )
        self._requests = counter(
            "rotator_api_requests",
            "Requests to the provider and to Vault, by operation and HTTP status or error name.",
            ["target", "operation", "code"],
        )
        self._request_durations = histogram(
            "rotator_api_request_duration_seconds",
            "Duration of a request to the provider or to Vault, in seconds.",
            ["target", "operation"],
            buckets=_REQUEST_DURATIONS,
        )
        self._conflicts = counter(
            "rotator_lease_conflicts", "Writes that Vault refused because another instance changed the document first."
        )
        self._missed = counter(
            "rotator_jobs_missed", "Jobs that the scheduler lost or skipped; rotator set each of them again."
        )
        self._internal_errors = counter(
            "rotator_internal_errors", "Jobs that ended with an internal error; rotator set each of them again."
        )
        self._planning_failures = counter(
            "rotator_planning_failures", "Jobs that could not be set because of an internal error; rotator tries again."
        )
        self._top_ups = counter(
            "rotator_top_ups",
            "Automatic top-ups, by result: ok, failed, or unanswered if the top-up might have been carried out.",
            ["result"],
        )
        self._lost_lines = counter(
            "rotator_audit_lines_lost",
            "Lines of the audit log that could not be written; the ordinary log contains them.",
        )
        self._reloads = counter(
            "rotator_config_reloads",
            "Reloads of the configuration, by result: ok, or failed if the previous configuration stays in force.",
            ["result"],
        )
        self._reload_ok = gauge(
            "rotator_config_last_reload_successful", "1 if the last reload of the configuration succeeded, otherwise 0."
        )
        self._reloaded_at = gauge(
            "rotator_config_last_reload_success_timestamp_seconds",
            "Time of the last successful reload of the configuration, as Unix time.",
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Create every known series: a series that appears at 1 has no increase."""
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

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """The remaining requests of each API key, by the provider's last answer."""
        return MappingProxyType(self._budgets)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Count a run of one account that ended after this many seconds."""
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
        """Count a deferral: a protocol.Reason, or one of this module's reasons."""
        self._deferrals.labels(_word(reason)).inc()

    def late(self, by: timedelta) -> None:
        """Record the delay of a job's start."""
        self._delays.observe(max(0.0, by.total_seconds()))

    def request(self, target: str, operation: str, code: str, seconds: float) -> None:
        """Count a request.

        Args:
            target: "provider" or "vault".
            operation: The operation, in a word.
            code: The HTTP status, or the name of the error.
            seconds: Its duration.
        """
        self._requests.labels(_word(target), _word(operation), _word(code)).inc()
        self._request_durations.labels(_word(target), _word(operation)).observe(seconds)

    def topped_up(self, result: TopUp) -> None:
        """Count an automatic top-up."""
        self._top_ups.labels(result.value).inc()

    def audit_line_lost(self) -> None:
        """Count a line of the audit log that could not be written."""
        self._lost_lines.inc()

    def missed(self) -> None:
        """Count a job that the scheduler skipped or lost."""
        self._missed.inc()

    def job_failed(self) -> None:
        """Count a job that ended with an internal error."""
        self._internal_errors.inc()

    def not_planned(self) -> None:
        """Count a job that could not be set."""
        self._planning_failures.inc()

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload of the configuration; not ok: the previous configuration stays in force."""
        self._reloads.labels((Result.OK if ok else Result.FAILED).value).inc()
        self._reload_ok.set(ok)
        if ok:
            self._reloaded_at.set(self._clock().timestamp())

    def token_expires(self, at: datetime | None) -> None:
        """Record when the Vault token in use expires; None if it never does, or there is none."""
        self.token_expiry = at

    def record_budget(self, api_key: str, budget: Budget) -> None:
        """Record the remaining requests of an API key, by the provider's last answer."""
        self._budgets[api_key] = budget


def _word(text: str | None) -> str:
    """Return a label value that is always one word, whatever text a caller passes."""
    return text if text and _WORD.fullmatch(text) else "other"
