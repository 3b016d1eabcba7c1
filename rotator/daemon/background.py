"""Work beside the runs, one task at a time: the resync and the balances."""

from collections.abc import Callable
from datetime import datetime

from rotator.config import Settings
from rotator.daemon.account_record import AccountRecord
from rotator.daemon.balance_monitor import BalanceMonitor
from rotator.daemon.facts import BalanceRead, TopUpEnded
from rotator.daemon.record_store import RecordStore
from rotator.daemon.resync import longest_unseen
from rotator.daemon.tasks import BackgroundTask, Look, Resync, Target
from rotator.errors import Blame, RotatorError
from rotator.fleet import Fleet


class Background:
    """Chooses the work beside the runs. Used by the registry's thread only.

    Args:
        check_vault: Has Vault asked soon.

    Attributes:
        busy: Whether such work is in progress.
        stopping: Whether the process ends.
    """

    def __init__(
        self,
        records: RecordStore,
        balances: BalanceMonitor,
        submit: Callable[[BackgroundTask], None],
        check_vault: Callable[[], None],
    ) -> None:
        self._records = records
        self._balances = balances
        self._submit = submit
        self._check_vault = check_vault
        self._resync_at: datetime | None = None
        self.busy = False
        self.stopping = False

    def load_settings(self, settings: Settings, now: datetime) -> None:
        """Follow the settings that are in force from now on."""
        latest = now + settings.daemon.resync_interval
        self._resync_at = min(self._resync_at or latest, latest)

    def next_at(self) -> datetime | None:
        """When there is something to do; None: not before the present work ends, or never."""
        if self.busy:
            return None
        times = (self._resync_at, self._balances.next_at())
        return min((at for at in times if at is not None), default=None)

    def is_resync_due(self, now: datetime) -> bool:
        """Return whether the next work is a resync."""
        return not self.busy and self._resync_at is not None and self._resync_at <= now

    def hand_out(self, fleet: Fleet, now: datetime) -> None:
        """Hand out the work that is due, if there is any."""
        if self.busy:
            return
        if self.is_resync_due(now):
            self._resync_at = now + fleet.settings.daemon.resync_interval
            seen = longest_unseen(self._records.all.values())
            self._begin(Resync(tuple(Look(Target(record.settings, fleet), record.looked_at) for record in seen)))
            return
        reading = self._balances.next_reading(self._records.all, now)
        if reading is not None:
            self._begin(reading)

    def after_reading(self, fact: BalanceRead, now: datetime) -> None:
        """Take in a balance."""
        self.busy = False
        record = self._records.get(fact.task.target.name)
        top_up = self._balances.after_reading(fact, record, now)
        self._show(fact.result, record)
        if top_up is not None and not self.stopping:
            self._begin(top_up)

    def after_top_up(self, fact: TopUpEnded, now: datetime) -> None:
        """Take in how a top-up ended."""
        self.busy = False
        record = self._records.get(fact.task.target.name)
        self._balances.after_top_up(fact, record, now)
        self._show(fact.result, record)

    def recover(self, task: BackgroundTask, now: datetime) -> None:
        """Take in that an internal error ended a task."""
        self.busy = False
        if not isinstance(task, Resync):
            self._balances.after_internal_error(task.target.name, now)

    def _show(self, result: object, record: AccountRecord | None) -> None:
        if isinstance(result, RotatorError) and result.blame is Blame.VAULT:
            self._check_vault()
        if record is not None:
            self._records.show_balance(record)

    def _begin(self, task: BackgroundTask) -> None:
        self.busy = True
        self._submit(task)
