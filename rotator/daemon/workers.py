"""The bounded pool of threads that do the registry's work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import assert_never

import structlog

from rotator.daemon.balance_monitor import read_balance, top_up
from rotator.daemon.facts import Fact, WorkBroke
from rotator.daemon.reconciler import load_journal, reconcile
from rotator.daemon.resync import resync
from rotator.daemon.work import LoadJournal, ReadBalance, Resync, Run, TopUpBalance, Work
from rotator.fleet import log_mistake
from rotator.monitoring import Metrics


class Workers:
    """Does work, and reports how it ended.

    Args:
        count: How many threads there are at most.
        send: Gets the facts.
        metrics: Counts internal errors.
        may_go_on: Whether a resync looks at one more account.
        worker_is_wanted: Whether an account waits because every worker is busy.
    """

    def __init__(
        self,
        count: int,
        send: Callable[[Fact], None],
        metrics: Metrics,
        *,
        may_go_on: Callable[[], bool],
        worker_is_wanted: Callable[[], bool],
    ) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._send = send
        self._metrics = metrics
        self._may_go_on = may_go_on
        self._worker_is_wanted = worker_is_wanted

    def submit(self, work: Work) -> None:
        """Have work done by a thread."""
        self._pool.submit(self._do, work)

    def shut_down(self) -> None:
        """Accept no more work. Threads end after the work that they are doing."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _do(self, work: Work) -> None:
        bound = {} if isinstance(work, Resync) else {"account": work.target.name}
        with structlog.contextvars.bound_contextvars(**bound):
            try:
                fact = self._done(work)
            except Exception as error:  # noqa: BLE001 - an internal error about one account must not end the others
                self._metrics.job_failed()
                fact = WorkBroke(work, log_mistake(error))
        self._send(fact)

    def _done(self, work: Work) -> Fact:
        match work:
            case LoadJournal():
                return load_journal(work)
            case Run():
                return reconcile(work, self._send, self._worker_is_wanted)
            case Resync():
                return resync(work, self._send, may_go_on=self._may_go_on)
            case ReadBalance():
                return read_balance(work)
            case TopUpBalance():
                return top_up(work)
            case _:
                assert_never(work)
