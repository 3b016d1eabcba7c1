"""The bounded pool of threads that perform the tasks of the registry."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import assert_never

import structlog

from rotator.daemon.balance_monitor import read_balance, top_up
from rotator.daemon.facts import Fact, TaskBroke
from rotator.daemon.reconciler import load_journal, reconcile
from rotator.daemon.resync import resync
from rotator.daemon.tasks import LoadJournal, ReadBalance, Resync, Run, Task, TopUpBalance
from rotator.fleet import log_internal_error
from rotator.monitoring import Metrics


class WorkerPool:
    """Performs tasks, and reports how each ended.

    Args:
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

    def submit(self, task: Task) -> None:
        """Have a thread perform a task."""
        self._pool.submit(self._do, task)

    def shut_down(self) -> None:
        """Accept no more tasks. Threads end after the task in progress."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _do(self, task: Task) -> None:
        bound = {} if isinstance(task, Resync) else {"account": task.target.name}
        with structlog.contextvars.bound_contextvars(**bound):
            try:
                fact = self._done(task)
            except Exception as error:  # noqa: BLE001 - an internal error about one account must not end the others
                self._metrics.job_failed()
                fact = TaskBroke(task, log_internal_error(error))
        self._send(fact)

    def _done(self, task: Task) -> Fact:
        match task:
            case LoadJournal():
                return load_journal(task)
            case Run():
                return reconcile(task, self._send, self._worker_is_wanted)
            case Resync():
                return resync(task, self._send, may_go_on=self._may_go_on)
            case ReadBalance():
                return read_balance(task)
            case TopUpBalance():
                return top_up(task)
            case _:
                assert_never(task)
