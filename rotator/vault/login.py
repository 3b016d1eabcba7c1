"""Logins of one session: waiting threads share a failure, and rotator does not repeat a refused login at once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from rotator.vault.client import Client
from rotator.vault.errors import VaultDenied, VaultError, VaultUnreachable, for_another_caller
from rotator.vault.login_methods import Credentials, LoginMethod
from rotator.vault.time_limit import TimeLimit
from rotator.vault.token import Token

# Seconds without a login after a refused one, doubled each time.
_SHORTEST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _LoginFailure:
    """The last login that failed.

    Attributes:
        error: Its error.
        at: When, by the monotonic clock: threads that waited for it fail with it.
        until: Until when the same credentials are not tried again.
        pause: How long that is, in seconds.
        credentials: Their fingerprint.
    """

    error: VaultError
    at: float
    until: float = 0.0
    pause: float = 0.0
    credentials: int = 0

    def after_refusal(self, error: VaultError, credentials: int, now: float) -> "_LoginFailure":
        """Return the next refusal: with the same credentials, its pause is twice as long."""
        pause = min(2 * self.pause, _LONGEST_BACKOFF) if self.credentials == credentials else 0.0
        pause = max(pause, _SHORTEST_BACKOFF)
        return _LoginFailure(error, now, now + pause, pause, credentials)

    def remaining(self, credentials: int, now: float) -> float:
        """Return the seconds until these credentials can be tried again."""
        return max(0.0, self.until - now) if self.credentials == credentials else 0.0


class Login:
    """Obtains tokens; for one thread at a time."""

    def __init__(
        self,
        client: Client,
        method: LoginMethod,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._client = client
        self._method = method
        self._clock = clock
        self._monotonic = monotonic
        self._failure: _LoginFailure | None = None

    def obtain_token(self, limit: TimeLimit, asked_at: float) -> Token:
        """Return a new token.

        Args:
            asked_at: Since when the thread waits for it: a login that failed meanwhile is this thread's failure, too.

        Raises:
            VaultDenied: If Vault refuses it, or did a moment ago.
            VaultUnreachable: If there is no answer.
        """
        credentials = self._method.credentials()
        fingerprint = _fingerprint(credentials)
        failure = self._failure
        if failure is not None and failure.at >= asked_at:
            raise for_another_caller(failure.error)
        remaining = failure.remaining(fingerprint, self._monotonic()) if failure else 0.0
        if failure is not None and remaining:
            raise for_another_caller(failure.error, f" (the next login is tried in {max(1, round(remaining))} s)")
        try:
            token = self._method.obtain_token(self._client, credentials, limit, self._clock())
        except VaultDenied as error:
            self._record_refusal(error, fingerprint)
            raise
        except VaultUnreachable as error:
            self._failure = replace(failure or _LoginFailure(error, 0.0), error=error, at=self._monotonic())
            raise
        self._failure = None
        return token

    def delay_next(self) -> None:
        """Delay the next login, because Vault refuses the token of the last one."""
        self._record_refusal(self._method.refusal(self._client.address), _fingerprint(self._method.credentials()))

    def _record_refusal(self, error: VaultError, credentials: int) -> None:
        now = self._monotonic()
        failure = (self._failure or _LoginFailure(error, now)).after_refusal(error, credentials, now)
        _log.warning("vault.login_refused", error=error.what, wait_seconds=failure.pause)
        self._failure = failure


def _fingerprint(credentials: Credentials) -> int:
    return hash(tuple(credentials.items()))
