"""The life of the token: login, renewal, replacement. docs/vault.md describes when each happens."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import structlog

from rotator.vault import diagnosis
from rotator.vault.client import Call, Client, Wire
from rotator.vault.errors import (
    Forbidden,
    VaultDenied,
    VaultError,
    VaultRateLimited,
    VaultUnreachable,
)
from rotator.vault.login import Login
from rotator.vault.login_methods import LoginMethod, is_valid, look_up, may, renew
from rotator.vault.time_limit import LONGEST_READ, TimeLimit
from rotator.vault.token import Token, read_remaining_seconds

_log = structlog.get_logger()
T = TypeVar("T")


class Session:
    """A token of one Vault, kept alive; safe to use from several threads."""

    def __init__(
        self,
        client: Client,
        method: LoginMethod,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._method = method
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()  # held while logging in or renewing
        self._current: Token | None = None
        self._login = Login(client, method, clock=clock, monotonic=monotonic)

    @property
    def token_expiry(self) -> datetime | None:
        """When the token in use ends; None if it never does, does not say, or there is none yet."""
        return self._current.expires_at if self._current else None

    def keep_alive(self) -> None:
        """Renew or replace the token when that is due, read a changed token file, and look the token up.

        Raises:
            VaultError: If nothing can be read or written at the moment.
        """
        limit = self.client.limit(LONGEST_READ)
        with suppress(VaultRateLimited):  # a server that limits the rate is there and unsealed
            self.client.repeat(lambda: self._keep_alive(limit), limit)

    def read(self, call: Call, capability: str, api_path: str, request: Callable[[Wire], T]) -> T:
        """Send a request that changes nothing; again, if it is not answered."""
        return self.client.repeat(lambda: self.authorized(call, capability, api_path, request), call.limit)

    def authorized(self, call: Call, capability: str, api_path: str, request: Callable[[Wire], T]) -> T:
        """Send a request with a valid token; after a 403 once more with another token, if there is one.

        Args:
            capability: The capability that a policy has to contain: "read", "update" or "write".
            api_path: Its path, as policies name it.

        Raises:
            VaultDenied: If Vault refuses the login, the token or the request.
            VaultError: If there is no usable answer.
        """
        with _nothing_written():
            token = self._token(call.limit)
        try:
            return self.client.send(call, request, token.value)
        except Forbidden:
            pass
        with _nothing_written():
            other, works = self._other_token(token, call.limit)
        if other is not None:
            try:
                return self.client.send(call, request, other.value)
            except Forbidden:
                pass
            with _nothing_written():
                works = is_valid(self.client, other, call.limit)
                if not works:
                    self._distrust(other, call.limit)
        if works:
            granted = may(self.client, other or token, capability, api_path, call.limit)
            raise (diagnosis.restricted if granted else diagnosis.policy_denied)(capability, api_path)
        raise self._method.refusal(self.client.address)

    # --- the token to use ------------------------------------------------------------------------------------

    def _token(self, limit: TimeLimit) -> Token:
        token = self._current
        now = self._clock()
        if token is not None:
            if token.renew_at is None or now < token.renew_at:
                return token
            if self._lock.locked() and not token.has_ended(now):
                return token  # another thread renews it, and it is valid until then
        asked_at = self._monotonic()
        with self._exclusively(limit):
            if self._current is None:
                self._current = self._login.obtain_token(limit, asked_at)
            elif self._current is token:
                self._current = self._replacement(token, limit, asked_at)
            return self._current

    def _other_token(self, refused: Token, limit: TimeLimit) -> tuple[Token | None, bool]:
        """Return another token to try than the refused one, or None; and whether the refused one is valid.

        If it is valid, only a policy that was changed since the login can help.
        """
        asked_at = self._monotonic()
        with self._exclusively(limit):
            works = False
            if self._current is refused:
                works = is_valid(self.client, refused, limit)
                if not self._method.has_another(refused) or (works and refused.is_fresh(self._clock())):
                    return None, works
                _log.info("vault.login_again", token_valid=works)
                self._current = refused if works else None
            elif self._current is not None:
                return self._current, works  # another thread has replaced it
            try:
                self._current = self._login.obtain_token(limit, asked_at)
            except VaultDenied:
                if not works:
                    raise
                return None, works
            return self._current, works

    def _distrust(self, token: Token, limit: TimeLimit) -> None:
        """Delay the next login, because Vault refuses a token right after its login."""
        with self._exclusively(limit):
            if self._current is token and self._method.reusable:
                self._current = None
                self._login.delay_next()

    @contextmanager
    def _exclusively(self, limit: TimeLimit) -> Iterator[None]:
        """Let one thread at a time log in or renew; the others wait for it as long as they have time."""
        with limit.exclusively(self._lock, lambda: self.client.is_throttled, "logging in to Vault"):
            yield

    # --- for the thread that has the lock --------------------------------------------------------------------

    def _replacement(self, token: Token, limit: TimeLimit, asked_at: float) -> Token:
        """Return the token to use when one is due for renewal: the same one, as long as there is no better one."""
        now = self._clock()
        reusable = self._method.reusable
        try:
            if not reusable and self._method.has_another(token):
                return self._login.obtain_token(limit, asked_at)
            renewed = self._renewed(token, limit)
            if renewed is not None:
                return renewed
            if reusable:
                return self._login.obtain_token(limit, asked_at)
        except VaultError as error:
            if reusable and token.has_ended(now):
                raise
            _log.warning("vault.renewal_failed", error=error.what)
            return token.postponed(now)
        _log.warning("vault.token_expiring", until=_text(token.expires_at), next_step=self._method.advice())
        return replace(token.postponed(now), renewable=False)

    def _renewed(self, token: Token, limit: TimeLimit) -> Token | None:
        """Return the token with a longer life; None if it cannot have one.

        Raises:
            VaultUnreachable: If there is no answer.
        """
        if not token.renewable:
            return None
        now = self._clock()
        try:
            renewed = renew(self.client, token, limit, now)
        except (VaultUnreachable, VaultRateLimited):
            raise
        except (VaultError, TypeError, KeyError, ValueError) as error:
            text = error.what if isinstance(error, VaultError) else "the answer is not one of Vault's"
            _log.warning("vault.renewal_refused", error=text)
            return None
        # Near the longest life that its role allows, each renewal gives less.
        return None if renewed.has_shrunk(now) else renewed

    # --- keeping it alive ------------------------------------------------------------------------------------

    def _keep_alive(self, limit: TimeLimit) -> None:
        token = self._newest(self._token(limit), limit)
        try:
            known = look_up(self.client, token, limit)
        except Forbidden:
            refused = True
        else:
            refused = False
            if known is not None:
                self._correct(token, read_remaining_seconds(known), limit)
        if refused and self._other_token(token, limit)[0] is None:
            raise self._method.refusal(self.client.address)

    def _newest(self, token: Token, limit: TimeLimit) -> Token:
        """Return the token that a token file contains by now, if that one is valid."""
        if not self._method.reusable:
            asked_at = self._monotonic()
            with suppress(VaultDenied), self._exclusively(limit):
                if self._current is token and self._method.has_another(token):
                    self._current = self._login.obtain_token(limit, asked_at)
        return self._current or token

    def _correct(self, token: Token, remaining: int, limit: TimeLimit) -> None:
        """Adjust the token's life if Vault and this machine's clock disagree about it."""
        corrected = token.corrected(self._clock(), remaining)
        if corrected is token:
            return
        _log.info("vault.token_life_corrected", until=_text(corrected.expires_at))
        with self._exclusively(limit):
            if self._current is token:
                self._current = corrected


@contextmanager
def _nothing_written() -> Iterator[None]:
    """For requests about the token, whose failure says nothing of the caller's: that was not sent, or was refused."""
    try:
        yield
    except VaultUnreachable as error:
        error.maybe_done = False
        error.unchanged = "Nothing was written"
        raise


def _text(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
