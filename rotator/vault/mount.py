"""The mount of rotator's documents, and what this session knows about it."""

import threading
from collections.abc import Callable
from itertools import islice

from rotator.vault import diagnosis
from rotator.vault.errors import VaultError, for_another_caller
from rotator.vault.time_limit import TimeLimit

# How many known documents are looked for in a mount that has replaced another one. One of them is enough.
_WITNESSES = 5


class Mount:
    """Tells a failure of the whole mount from one of a single document; safe to use from several threads.

    Vault refuses a path or calls a document never written also if no policy reaches the mount any more, or if another
    mount is in its place.

    Args:
        find: Returns the mount's accessor; raises a VaultError if it is not there or of another kind.
        contains: Whether the mount contains a document.
        is_throttled: Whether Vault limits the rate of requests at the moment.
        monotonic: Returns seconds that only grow.
    """

    def __init__(
        self,
        name: str,
        *,
        find: Callable[[TimeLimit], str],
        contains: Callable[[str, TimeLimit], bool],
        is_throttled: Callable[[], bool],
        monotonic: Callable[[], float],
    ) -> None:
        self._name = name
        self._find = find
        self._contains = contains
        self._is_throttled = is_throttled
        self._monotonic = monotonic
        self._known: dict[str, None] = {}  # the paths of the documents that this session saw, the latest last
        self._known_lock = threading.Lock()
        self._lock = threading.Lock()  # held during an examination
        self._accessor: str | None = None
        self._examined_from: float | None = None
        self._failure: VaultError | None = None

    def remember(self, path: str) -> None:
        """Record that a document exists."""
        with self._known_lock:
            self._known.pop(path, None)
            self._known[path] = None

    def knows(self, path: str) -> bool:
        """Whether this session has seen the document."""
        return path in self._known

    def examine_first(self, limit: TimeLimit) -> None:
        """Examine the mount unless an examination has found it before; see `examine`."""
        if self._accessor is None:
            self.examine(limit)

    def examine(self, limit: TimeLimit) -> None:
        """Ask Vault about the mount. One examination serves all threads that waited for it to begin.

        Raises:
            WrongMount: If it does not exist, is hidden or of another kind, or replaced the one with the documents.
            VaultError: If there is no usable answer.
        """
        asked_at = self._monotonic()
        with limit.exclusively(self._lock, self._is_throttled, "examining Vault's mount"):
            if self._examined_from is None or self._examined_from < asked_at:
                self._examined_from = self._monotonic()
                self._failure = self._examine(limit)
            failure = self._failure
        if failure is not None:
            raise for_another_caller(failure)

    def _examine(self, limit: TimeLimit) -> VaultError | None:
        try:
            accessor = self._find(limit)
            if self._accessor not in (None, accessor):
                self._refuse_without_documents(limit)
        except VaultError as error:
            return for_another_caller(error)  # without the frames of this one, which hold answers
        self._accessor = accessor
        return None

    def _refuse_without_documents(self, limit: TimeLimit) -> None:
        """Accept a mount that has replaced the known one only if the documents are there, too."""
        with self._known_lock:
            witnesses = list(islice(reversed(self._known), _WITNESSES))
        if witnesses and not any(self._contains(path, limit) for path in witnesses):
            raise diagnosis.replaced_mount(self._name, witnesses[0])
