"""Watches balances, one at a time, and tops up accounts that allow it.

A failure here is no failure of a run, and no run waits for it.
"""

import heapq
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from rotator.core import balance
from rotator.core.balance import BalanceState, News, Reading, Rules, TopUp
from rotator.daemon.account_record import AccountRecord
from rotator.daemon.facts import BalanceRead, TopUpEnded
from rotator.daemon.tasks import ReadBalance, Target, TopUpBalance
from rotator.errors import Blame, RotatorError
from rotator.fleet import Fleet, TopUpService
from rotator.monitoring import BalanceStatus, Metrics

# The share of the provider's rate limit that balances use at most.
BALANCES_SHARE = 0.5
# How soon an account is considered again that could not be read.
SOON, LATER = timedelta(seconds=1), timedelta(seconds=10)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Watched:
    """One account's balance.

    Attributes:
        api_key: The account's key. The balance of another key is another balance.
        state: The last reading, and when the next one is.
        withheld: Why the balance could not be read or topped up, as last logged.
    """

    api_key: str
    state: BalanceState
    withheld: str | None = None


class BalanceMonitor:
    """Knows the balances, and which one is read next. Used by the registry's thread only."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._watched: dict[str, _Watched] = {}
        self._queue: list[tuple[datetime, str]] = []  # a heap
        self._paused_until: datetime | None = None

    def load_settings(self, fleet: Fleet, records: Mapping[str, AccountRecord], now: datetime) -> None:
        """Follow the settings that are in force from now on: each balance is read within one interval from now."""
        self._fleet = fleet
        every = fleet.settings.balance.every or LATER
        known = self._watched
        self._watched = {}
        for name, record in records.items():
            watched = known.get(name)
            if watched is None or watched.api_key != record.settings.api_key:
                watched = _Watched(record.settings.api_key, BalanceState.begin(name, every, now))
            self._watched[name] = watched
        self.bring_forward(now)

    def bring_forward(self, now: datetime) -> None:
        """Put no reading off further than one interval from now."""
        latest = now + (self._fleet.settings.balance.every or LATER)
        for name, watched in self._watched.items():
            self._set_state(name, watched.state.advance(latest))
        self._queue = [(watched.state.next_at, name) for name, watched in self._watched.items()]
        heapq.heapify(self._queue)
        self._paused_until = None

    def next_at(self) -> datetime | None:
        """When a reading might be due; None: never."""
        if self._fleet.settings.balance.every is None or not self._queue:
            return None
        at = self._queue[0][0]
        return max(at, self._paused_until or at)

    def next_reading(self, records: Mapping[str, AccountRecord], now: datetime) -> ReadBalance | None:
        """Return the reading that is due; None if none is. Each account is in the queue once, and stays in it."""
        at = self.next_at()
        if at is None or at > now:
            return None
        while self._queue[0][0] <= now:
            name = self._queue[0][1]
            record = records[name]
            next_at = self._watched[name].state.next_at
            if not (record.settings.enabled and record.is_adopted):
                heapq.heapreplace(self._queue, (now + LATER, name))
            elif next_at > now:
                heapq.heapreplace(self._queue, (next_at, name))
            else:
                heapq.heapreplace(self._queue, (now + SOON, name))  # by then it is known when it is next
                return ReadBalance(Target(record.settings, self._fleet))
        return None

    def after_reading(self, fact: BalanceRead, record: AccountRecord | None, now: datetime) -> TopUpBalance | None:
        """Take in a balance, and return the top-up that is due. Today's settings decide, not those of the reading."""
        self._pause(now)
        name = fact.task.target.name
        rules = self._rules(fact.task.target, record)
        if rules is None or record is None:
            return None
        if isinstance(fact.result, RotatorError):
            self._failed(name, fact.result, rules, now)
            return None
        state, news = self._watched[name].state.record_reading(name, fact.result, rules)
        self._set_state(name, state)
        if news is not None:
            level = logging.WARNING if news is News.LOW else logging.INFO
            _log.log(level, news.value, account=name, euros=str(fact.result.euros), threshold=str(rules.low))
        if rules.top_ups_per_day and balance.is_low(fact.result, rules.low):
            return TopUpBalance(Target(record.settings, self._fleet), fact.result, rules)
        self._withhold(name, None)
        return None

    def after_top_up(self, fact: TopUpEnded, record: AccountRecord | None, now: datetime) -> None:
        """Take in how a top-up ended."""
        self._pause(now)
        name = fact.task.target.name
        result = fact.result
        rules = self._rules(fact.task.target, record)
        if isinstance(result, TopUp):
            self._metrics.topped_up(result)
        if rules is None:
            return
        if isinstance(result, RotatorError):
            self._failed(name, result, rules, now)
        elif isinstance(result, TopUp):
            self._withhold(name, None)
        elif self._withhold(name, result.value):
            _log.warning("balance.top_up_withheld", account=name, reason=result.value)

    def after_internal_error(self, name: str, now: datetime) -> None:
        """Leave the account's balance alone for a while."""
        self._pause(now)
        if name in self._watched:
            self._set_state(name, self._watched[name].state.postpone(now + LATER))

    def status(self, record: AccountRecord) -> BalanceStatus | None:
        """Return what is shown of an account's balance; None if it is not watched."""
        rules = TopUpService(self._fleet).rules(record.settings)
        if rules is None:
            return None
        reading = self._watched[record.name].state.reading
        if reading is None:
            return BalanceStatus(float(rules.low))
        low = balance.is_low(reading, rules.low)
        return BalanceStatus(float(rules.low), float(reading.euros), reading.auto_reload, low, reading.at)

    def _rules(self, target: Target, record: AccountRecord | None) -> Rules | None:
        """Return today's rules for an account; None if there are none, or its key is another."""
        if record is None or record.settings.api_key != target.account.api_key:
            return None
        return TopUpService(self._fleet).rules(record.settings)

    def _failed(self, name: str, error: RotatorError, rules: Rules, now: datetime) -> None:
        state = self._watched[name].state
        if error.blame is Blame.VAULT:
            self._set_state(name, state.postpone(now + min(rules.every, LATER)))
        else:
            self._set_state(name, state.record_failure(name, rules.every, now))
        if self._withhold(name, error.code.value):
            _log.warning("balance.failed", account=name, error=str(error))

    def _withhold(self, name: str, reason: str | None) -> bool:
        """Remember why a balance could not be read or topped up; whether that is new."""
        watched = self._watched[name]
        self._watched[name] = replace(watched, withheld=reason)
        return reason != watched.withheld

    def _set_state(self, name: str, state: BalanceState) -> None:
        self._watched[name] = replace(self._watched[name], state=state)

    def _pause(self, now: datetime) -> None:
        per_second = BALANCES_SHARE * self._fleet.settings.account_api.max_calls_per_second
        self._paused_until = now + timedelta(seconds=1 / per_second)


def read_balance(task: ReadBalance) -> BalanceRead:
    """Read an account's balance."""
    try:
        result: Reading | RotatorError = TopUpService(task.target.fleet).read(task.target.account)
    except RotatorError as error:
        result = error
    return BalanceRead(task, result)


def top_up(task: TopUpBalance) -> TopUpEnded:
    """Top an account up, if the limits allow it."""
    try:
        return TopUpEnded(task, TopUpService(task.target.fleet).top_up(task.target.account, task.reading, task.rules))
    except RotatorError as error:
        return TopUpEnded(task, error)
