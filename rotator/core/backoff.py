"""Backoff and jitter. Both follow from a text, so that every instance and every restart computes the same."""

from datetime import timedelta
from hashlib import blake2b

BACKOFF_FIRST = timedelta(minutes=1)
BACKOFF_CAP = timedelta(hours=1)


def backoff(account: str, attempts: int) -> timedelta:
    """Return how long to wait after this number of failures in a row: one minute, doubled up to one hour.

    The jitter subtracts up to a quarter. Accounts that failed together are not retried together.
    """
    longest: timedelta = min(BACKOFF_FIRST * 2 ** min(attempts - 1, 16), BACKOFF_CAP)
    share: float = fraction(f"{account}/{attempts}") / (1 << 64)
    return longest * (1.0 - share / 4)


def fraction(text: str) -> int:
    """Return a number below 2**64 that follows from the text alone, each equally likely."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
