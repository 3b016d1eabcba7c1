"""A token in use and what is known of its life."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rotator.vault.reply import whole_number

# The share of its life after which a token is renewed: not all replicas at once, and at two thirds at the latest.
_RENEW_FROM, _RENEW_UNTIL = 0.6, 2 / 3
# A younger token has its role's present policies: another login would not change them.
_FRESH = timedelta(minutes=1)
# How often a token that ends is reported.
_REMINDER = timedelta(days=1)
# Vault counts durations in nanoseconds of 64 bits, which is 292 years.
_LONGEST_LIFE = 292 * 366 * 24 * 3600
_MOST_USES = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Token:
    """A token in use.

    Never changed, only replaced: a request that began with one token ends with it, whatever other threads do.

    Attributes:
        value: The token itself; empty if an agent adds it to the requests.
        since: When it was obtained, by a login.
        life: How long it was to live then; None if it never ends or rotator cannot know.
        expires_at: When it ends.
        renew_at: When rotator has to renew it, or to report that it ends; None: never.
        renewable: Whether Vault says that rotator can renew it.
    """

    value: str = field(repr=False)
    since: datetime
    life: timedelta | None = None
    expires_at: datetime | None = None
    renew_at: datetime | None = None
    renewable: bool = False

    def lasting(self, now: datetime, seconds: int, *, renewable: bool) -> "Token":
        """Return this token with the life that Vault gives it; 0 seconds is a root token's, which never ends."""
        if not seconds:
            return replace(self, life=None, expires_at=None, renew_at=None, renewable=False)
        left = timedelta(seconds=seconds)
        life = max(left, self.life or left)
        share = random.uniform(_RENEW_FROM, _RENEW_UNTIL)  # noqa: S311 - a guess is worth nothing  # nosec B311
        return replace(self, life=life, expires_at=now + left, renew_at=now + left * share, renewable=renewable)

    def corrected(self, now: datetime, seconds: int) -> "Token":
        """Return the same object if Vault and this machine's clock agree on the rest of its life."""
        if self.life is None or self.expires_at is None:
            return self
        difference = abs(self.expires_at - now - timedelta(seconds=seconds))
        # Vault rounds to seconds.
        if difference <= self.life / 20 + timedelta(seconds=1):
            return self
        return self.lasting(now, seconds, renewable=self.renewable)

    def has_shrunk(self, now: datetime) -> bool:
        """Whether less than half of its life is left."""
        return bool(self.life and self.expires_at and self.expires_at - now < self.life / 2)

    def has_ended(self, now: datetime) -> bool:
        """Whether its life is over."""
        return self.expires_at is not None and self.expires_at <= now

    def is_fresh(self, now: datetime) -> bool:
        """Whether its policies are its role's present ones."""
        return now - self.since < _FRESH

    def postponed(self, now: datetime) -> "Token":
        """Return it with the next renewal after a third of the rest of its life, or a day; never, if it is over."""
        if self.expires_at is None or self.expires_at <= now:
            return replace(self, renew_at=None)
        return replace(self, renew_at=now + min((self.expires_at - now) / 3, _REMINDER))


def read_seconds(duration: object) -> int:
    """Return a duration of Vault's, in seconds.

    Raises:
        ValueError: If it is none.
    """
    return whole_number(duration, least=-_LONGEST_LIFE, most=_LONGEST_LIFE)


def read_uses(data: Mapping[str, Any]) -> int:
    """Return for how many requests a token is good; 0 if Vault names no limit.

    Raises:
        ValueError: If the answer names something else than a number.
    """
    uses = data.get("num_uses")
    return 0 if uses is None else whole_number(uses, least=0, most=_MOST_USES)


def read_remaining_seconds(data: Mapping[str, Any]) -> int:
    """Return how many seconds the token in the answer of a look-up has left; 0 if it never ends.

    Raises:
        ValueError: If the answer does not say it; or a KeyError.
    """
    # In its last second a token has 0 left, as a token that never ends.
    return max(read_seconds(data["ttl"]), 1 if data.get("expire_time") else 0)
