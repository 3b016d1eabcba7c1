"""The request of a command or of the daemon to a set of accounts."""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from rotator.core.protocol import RequestKind


class Wanted(StrEnum):
    """Which secrets a request wants to replace."""

    NOW = "now"  # a secret younger than the request
    DUE = "due"  # as the account's schedule says
    NOTHING_NEW = "nothing_new"  # only finish and revoke


@dataclass(frozen=True, slots=True)
class Request:
    """A request to every account of a run.

    Attributes:
        wanted: Which secrets to replace.
        kind: The kind that a person chose; None: a plain rotation if `wanted` is NOW, nothing otherwise.
        begins: Whether a rotation may begin, also one that a journal contains a request for.
        explicit: Whether a person named the accounts: their backoff is ignored.
        revoke: Whether anything may be revoked.
        max_wait: How long one account may be waited for.
        made_at: When the request was made, by the monotonic clock.
    """

    wanted: Wanted
    kind: RequestKind | None = None
    begins: bool = True
    explicit: bool = False
    revoke: bool = True
    max_wait: timedelta = timedelta()
    made_at: float = field(default_factory=time.monotonic)
