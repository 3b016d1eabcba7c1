"""Which accounts wait for a worker and which are being worked on."""


class AccountQueue:
    """Accounts in the order in which they were added. None is worked on twice at once.

    An account that is added while it is being worked on is queued once more afterwards.

    Args:
        workers: How many accounts are worked on at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._waiting: dict[str, None] = {}
        self._running: set[str] = set()
        self._again: set[str] = set()

    @property
    def running(self) -> frozenset[str]:
        """The accounts that are being worked on."""
        return frozenset(self._running)

    @property
    def names(self) -> frozenset[str]:
        """The accounts that wait or are being worked on."""
        return frozenset(self._waiting) | self._running

    def is_running(self, name: str) -> bool:
        """Return whether an account is being worked on."""
        return name in self._running

    @property
    def is_worker_wanted(self) -> bool:
        """Whether an account waits because every worker is busy."""
        return bool(self._waiting) and len(self._running) >= self._workers

    def __contains__(self, name: str) -> bool:
        """Return whether an account waits or is being worked on."""
        return name in self._waiting or name in self._running

    def add(self, name: str) -> None:
        """Queue an account, once."""
        if name in self._running:
            self._again.add(name)
        else:
            self._waiting[name] = None

    def discard(self, name: str) -> None:
        """Take an account out of the queue. Work in progress continues."""
        self._waiting.pop(name, None)
        self._again.discard(name)

    def take(self) -> str | None:
        """Return the next account to work on; None if none waits or every worker is busy."""
        if not self._waiting or self.is_worker_wanted:
            return None
        name = next(iter(self._waiting))
        del self._waiting[name]
        self._running.add(name)
        return name

    def done(self, name: str) -> None:
        """End the work on an account; it is queued again if it was added meanwhile."""
        self._running.discard(name)
        if name in self._again:
            self._again.discard(name)
            self._waiting[name] = None
