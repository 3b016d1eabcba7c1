"""Backoff, with a share of jitter that is the same for the same account and attempt."""

from datetime import timedelta
from hashlib import blake2b

BACKOFF_FIRST = timedelta(minutes=1)
BACKOFF_CAP = timedelta(hours=1)


def backoff(account: str, attempts: int) -> timedelta:
    """Return how long to wait after this number of failures in a row: one minute, doubled up to one hour.

    The jitter subtracts up to a quarter. Accounts that failed together are not retried together.
    """
    longest: timedelta = min(BACKOFF_FIRST * 2 ** min(attempts - 1, 16), BACKOFF_CAP)
    digest = blake2b(f"{account}/{attempts}".encode(), digest_size=8).digest()
    share: float = int.from_bytes(digest) / (1 << 64)
    return longest * (1.0 - share / 4)
