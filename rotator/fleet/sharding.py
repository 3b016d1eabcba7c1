"""Which shard manages an account, by rendezvous hashing.

Each process computes it by itself, and one process more or less moves only the accounts that have to move. A primary
and its secondaries stay together, because the primary rotates after them. Only `detected` does I/O.
"""

import os
import re
import socket
from dataclasses import dataclass
from hashlib import blake2b

from rotator.config import AccountSettings, read_shard
from rotator.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard number `index`, from 0, of `count` shards."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def owns(self, account: AccountSettings) -> bool:
        """Return whether this shard manages an account."""
        family = account.primary or account.name
        return max(range(self.count), key=lambda index: _weight(family, index)) == self.index


def parse_shard(text: str) -> Shard:
    """Read "0/4", or "auto/4", where Kubernetes sets the index.

    Raises:
        ConfigError: If it is anything else, or the index is not below the count.
    """
    try:
        index, count = read_shard(text)
    except ValueError as error:
        raise ConfigError(f'The shard "{text}" {error}') from None
    if index is None:
        index = detected()
    if index >= count:
        raise ConfigError(
            f"There is no shard {index} of {count}: they are counted from 0",
            next_step="Make the number of shards that of the replicas",
        )
    return Shard(index, count)


def detected() -> int:
    """Return the completion index of an Indexed Job, or the ordinal of a StatefulSet.

    Raises:
        ConfigError: If this process has neither.
    """
    # Kubernetes sets the variable in an Indexed Job's containers, and names a StatefulSet's pods NAME-ORDINAL.
    index = os.environ.get("JOB_COMPLETION_INDEX") or os.environ.get("HOSTNAME") or socket.gethostname()
    found = re.fullmatch(r"(?:.*-)?([0-9]+)", index, re.ASCII)
    if not found:
        raise ConfigError(
            f'The shard is "auto", but there is no JOB_COMPLETION_INDEX, and the host name "{index}" does not end with '
            "a StatefulSet's ordinal",
            next_step="Name it: --shard 0/4",
        )
    return int(found[1])


def _weight(family: str, index: int) -> bytes:
    return blake2b(f"{index}/{family}".encode(), digest_size=8).digest()
