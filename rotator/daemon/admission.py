"""Which rotations may start now: secondary accounts first, the circuit breaker, slow candidates, spacing."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from rotator.config import Settings
from rotator.core.circuit_breaker import CircuitBreaker
from rotator.core.protocol import Journal, Outcome
from rotator.daemon import timing
from rotator.daemon.account_record import SHORTEST_PAUSE, AccountRecord, Start
from rotator.monitoring import CIRCUIT_BREAKER, PROVIDER_SLOW, first_due

# How long a primary account waits before it checks again whether its secondary accounts are done.
FAMILY_WAIT = timedelta(seconds=1)
# How long an urgent rotation waits while another account is the probe of the open circuit breaker.
PROBE_WAIT = timedelta(seconds=2)
# While this many candidates per worker wait until they authenticate, no scheduled rotation starts.
VERIFYING_SHARE = 4
VERIFYING_WAIT = timedelta(seconds=30)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an account's rotation starts.

    Attributes:
        record: The account's record afterwards. If the rotation has to wait, the record says how long.
        starts: Whether a rotation starts now.
        is_due: Whether it starts because of the schedule.
        overridden: Whether it starts outside its windows, because of `max_age`.
        deferred: Why it has to wait, as the metrics name it.
    """

    record: AccountRecord
    starts: bool = False
    is_due: bool = False
    overridden: bool = False
    deferred: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Facts for a decision besides the account.

    Attributes:
        secondaries: The account's secondary accounts.
        running: The accounts with a run in progress.
        verifying: How many accounts wait for a candidate that does not authenticate yet.
        now: The time.
    """

    secondaries: tuple[AccountRecord, ...]
    running: frozenset[str]
    verifying: int
    now: datetime


class Admission:
    """Decides about rotations, one after the other, and remembers what the next decision depends on.

    Args:
        now: The time of the start.

    Attributes:
        breaker: The circuit breaker.
        next_slot: When the next scheduled rotation may start.
    """

    def __init__(self, settings: Settings, now: datetime) -> None:
        self.breaker = circuit_breaker(settings)
        self.next_slot = now
        self._settings = settings

    def decide(self, record: AccountRecord, seen: Situation) -> Decision:
        """Decide whether a rotation of the account starts now, by its schedule or by a recorded request.

        An urgent request waits only for the probe of an open circuit breaker: never for other accounts, for slow
        candidates or for `min_spacing`.
        """
        now = seen.now
        due = timing.due(record, seen.now)
        is_due = due is not None and due.at <= now
        if not is_due and record.requested is None:
            return Decision(replace(record, start=Start()))
        is_urgent = record.requested is not None and record.requested.is_urgent
        held = self._held_urgently(record, now) if is_urgent else self._held(record, seen)
        if held is not None:
            return held
        self.breaker = self.breaker.with_probe(record.name)
        overridden = is_due and due is not None and due.overridden
        return Decision(replace(record, start=Start()), starts=True, is_due=is_due, overridden=overridden)

    def _held_urgently(self, record: AccountRecord, now: datetime) -> Decision | None:
        if not self.breaker.allows_urgent_start(record.name):
            return Decision(record.held(now + PROBE_WAIT), deferred=CIRCUIT_BREAKER)
        self.next_slot = max(self.next_slot, now + self._settings.daemon.min_spacing)
        return None

    def _held(self, record: AccountRecord, seen: Situation) -> Decision | None:
        now = seen.now
        if any(_comes_first(secondary, record, seen) for secondary in seen.secondaries):
            return Decision(record.held(now + FAMILY_WAIT))
        if not self.breaker.allows_start(record.name, now):
            return Decision(record.held(max(self.breaker.until or now, now) + FAMILY_WAIT), deferred=CIRCUIT_BREAKER)
        if seen.verifying >= VERIFYING_SHARE * self._settings.daemon.concurrency:
            return Decision(record.held(now + VERIFYING_WAIT), deferred=PROVIDER_SLOW)
        slot = record.start.slot
        if slot is None:
            slot = max(now, self.next_slot)
            self.next_slot = slot + self._settings.daemon.min_spacing
        return Decision(record.held(slot, slot)) if slot > now else None

    def load_settings(self, settings: Settings, now: datetime) -> bool:
        """Follow the settings that are in force from now on.

        Returns:
            Whether the slots that accounts have are void.
        """
        before = self._settings.daemon
        self._settings = settings
        if settings.daemon.circuit_breaker != before.circuit_breaker:
            self.breaker = circuit_breaker(settings)
        if settings.daemon.min_spacing == before.min_spacing:
            return False
        self._bring_forward(now)
        return True

    def after_clock_step(self, now: datetime) -> None:
        """Put nothing off further than it can be. The last start still keeps the next one at a distance."""
        self._bring_forward(now)
        self.breaker = self.breaker.after_clock_step(now)

    def after_run(self, outcome: Outcome, now: datetime) -> None:
        """Take in how a run ended, and log a change of the circuit breaker."""
        before = self.breaker
        self.breaker = self.breaker.after(outcome, now)
        if self.breaker.cause is not None and self.breaker.until != before.until:
            _log.error("circuit_breaker.opened", reason=self.breaker.cause.value, error=describe_breaker(self.breaker))
        if self.breaker.cause is None and before.cause is not None:
            _log.info("circuit_breaker.closed", reason=before.cause.value)

    def without_result(self, account: str) -> None:
        """Take in that a run ended and shows nothing about other accounts."""
        self.breaker = self.breaker.without_probe(account)

    def _bring_forward(self, now: datetime) -> None:
        self.next_slot = min(self.next_slot, now + self._settings.daemon.min_spacing)


def circuit_breaker(settings: Settings) -> CircuitBreaker:
    """Return a closed circuit breaker."""
    breaker = settings.daemon.circuit_breaker
    return CircuitBreaker(breaker.failures, breaker.window, breaker.cooldown)


def describe_breaker(breaker: CircuitBreaker) -> str | None:
    """Return why no new rotation starts; None if the circuit breaker is closed."""
    if breaker.cause is None or breaker.until is None:
        return None
    alike = sum(entry[1] is breaker.cause for entry in breaker.recent)
    revoked = "" if breaker.allows_revocations else ", and rotator revokes nothing"
    return (
        f"{alike} of the last {len(breaker.recent)} accounts failed for a reason of one kind ({breaker.cause.value}): "
        f"no new rotation begins before {breaker.until:%Y-%m-%d %H:%M:%S} UTC{revoked}. After that, one account makes "
        "a test rotation. If it succeeds, new rotations start again"
    )


def _comes_first(secondary: AccountRecord, primary: AccountRecord, seen: Situation) -> bool:
    """Return whether a primary account waits for this secondary account: it is due, running or not adopted yet.

    Each secondary account comes first only once per rotation of its primary: one that is always due again would keep
    the primary from ever rotating. A secondary account that fails is not waited for.
    """
    now = seen.now
    if not secondary.settings.enabled:
        return False
    due = timing.due(secondary, now)
    journal = secondary.journal or Journal()
    primary_due = first_due(primary.settings, primary.journal or Journal())
    if due is not None and due.at > now:
        return False
    if journal.rotated_at is not None and primary_due is not None and journal.rotated_at >= primary_due.at:
        return False
    if secondary.name in seen.running:
        return True
    if journal.candidate is not None and journal.next_attempt_at is None:
        return True  # its run has ended to wait for the candidate
    # Every account pauses for a moment after its run. That is no failure.
    waits = secondary.retry.at is not None and secondary.retry.at > now + SHORTEST_PAUSE
    return not (secondary.retry.error or journal.attempts or waits)
