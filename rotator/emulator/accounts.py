"""The accounts and their secrets as the provider keeps them, in memory.

Every public method is one transaction under a lock, so that a test may look in from another thread.
"""

import hmac
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import SecretStr

from rotator.emulator.faults import Fault
from rotator.emulator.history import History, listed
from rotator.emulator.problems import (
    InvalidSecretError,
    LastSecretError,
    TooManySecretsError,
    UnknownAccountError,
    UnknownSecretError,
)

Clock = Callable[[], datetime]

FOREVER = timedelta(days=36_500)
"""The propagation of a secret that never authenticates."""

API_KEY = r"[A-Za-z0-9_-]+"
SHORTEST, LONGEST = 8, 25
COMPLEXITY = (("[a-z]", "a lower case character"), ("[A-Z]", "an upper case character"), ("[0-9]", "a digit"))


def utc_now() -> datetime:
    """The clock on the wall."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its first secret, which may be older than today's rules for secrets."""

    api_key: str
    secret: SecretStr


@dataclass(frozen=True, slots=True)
class Primary:
    """An account whose credentials also work for the secrets of another one, its child."""

    api_key: str
    child: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A live secret.

    Attributes:
        works_from: When it has spread to every server of the provider and authenticates.
    """

    id: str
    value: SecretStr
    created_at: datetime
    works_from: datetime


def parse_account(text: str) -> Account:
    """Read KEY:SECRET, such as "abcd1234:Secret12345"; ValueError, which does not quote it, if it is not."""
    api_key, colon, secret = text.partition(":")
    if not (re.fullmatch(API_KEY, api_key) and colon and secret and secret.isprintable()):
        raise ValueError("is not KEY:SECRET, such as abcd1234:Secret12345")
    return Account(api_key, SecretStr(secret))


def parse_primary(text: str) -> Primary:
    """Read KEY=CHILD, such as "abcd1234=child001"; ValueError if it is not."""
    match = re.fullmatch(rf"({API_KEY})=({API_KEY})", text)
    if match is None:
        raise ValueError(f"{text!r} is not KEY=CHILD, such as abcd1234=child001")
    return Primary(match[1], match[2])


class Accounts:
    """Every account, who may act for whom, and the rules that hold.

    Args:
        accounts: With their first secrets. The same key twice is one account that starts with two secrets.
        primaries: Which primary account may act for which secondary account.
        max_secrets: How many secrets an account may have.
        too_many_status: The status of a create in a full account: 400 in the API's specification, 403 in the tests of
            the official SDKs.
        propagation: How long a new secret takes until it authenticates; it is listed at once.
    """

    def __init__(
        self,
        accounts: Iterable[Account],
        primaries: Iterable[Primary],
        *,
        max_secrets: int,
        too_many_status: Literal[400, 403],
        propagation: timedelta,
        clock: Clock,
    ) -> None:
        self._max_secrets = max_secrets
        self._too_many_status = too_many_status
        self.propagation = propagation
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str, History[Secret]] = {}
        self._primary_of: dict[str, str] = {}
        for account in accounts:
            self.open(account)
        for primary in primaries:
            self.relate(primary)

    @property
    def api_keys(self) -> tuple[str, ...]:
        """Every account there is."""
        with self._lock:
            return tuple(self._accounts)

    def open(self, account: Account) -> None:
        """Add an account; if there is one of that key, add its secret to that.

        Raises:
            ValueError: If the account would have too many secrets.
        """
        with self._lock:
            history = self._accounts.get(account.api_key, History[Secret]())
            if len(history.current) >= self._max_secrets:
                raise ValueError(f"account {account.api_key} starts with more than {self._max_secrets} secrets")
            secret = self._secret(account.secret, timedelta())
            self._accounts[account.api_key] = history.add(secret.id, secret)

    def relate(self, primary: Primary) -> None:
        """Let one account act for another.

        Raises:
            ValueError: If either does not exist, or they cannot be primary and secondary.
        """
        with self._lock:
            for api_key in (primary.api_key, primary.child):
                if api_key not in self._accounts:
                    raise ValueError(f"{primary.api_key}={primary.child}: there is no account {api_key}")
            if primary.api_key == primary.child:
                raise ValueError(f"account {primary.child} cannot be its own primary")
            if primary.child in self._primary_of:
                raise ValueError(f"account {primary.child} cannot have two primaries")
            self._primary_of[primary.child] = primary.api_key

    def secrets(self, api_key: str) -> tuple[Secret, ...]:
        """The live secrets of an account, oldest first."""
        with self._lock:
            return tuple(self._of(api_key).values())

    def listed(self, api_key: str, fault: Fault | None = None) -> tuple[Secret, ...]:
        """The secrets that a list shows, oldest first; all live ones without a fault."""
        with self._lock:
            self._of(api_key)
            return tuple(listed(self._accounts[api_key], fault, self._clock()).values())

    def secret(self, api_key: str, secret_id: str) -> Secret:
        """One live secret."""
        with self._lock:
            return self._find(api_key, secret_id)

    def create(self, api_key: str, value: SecretStr, *, propagation: timedelta | None = None) -> Secret:
        """Add a secret, with a propagation of its own if that is given.

        A value that the account already has is accepted: nothing documented forbids it.
        """
        _require_valid(value)
        with self._lock:
            if len(self._of(api_key)) >= self._max_secrets:
                raise TooManySecretsError(self._max_secrets, self._too_many_status)
            secret = self._secret(value, self.propagation if propagation is None else propagation)
            self._accounts[api_key] = self._accounts[api_key].add(secret.id, secret, since=secret.created_at)
            return secret

    def revoke(self, api_key: str, secret_id: str, *, force: bool = False) -> None:
        """Remove a secret, which stops authenticating at once; the last one only by force."""
        with self._lock:
            self._find(api_key, secret_id)
            if len(self._of(api_key)) == 1 and not force:
                raise LastSecretError
            self._accounts[api_key] = self._accounts[api_key].remove(secret_id, self._clock())

    def authenticates(self, api_key: str, value: SecretStr) -> bool:
        """Whether this key and this secret belong together right now."""
        candidate = value.get_secret_value().encode()
        with self._lock:
            now = self._clock()
            secrets = self._accounts.get(api_key, History[Secret]()).current.values()
            working = [secret for secret in secrets if secret.works_from <= now]
        # All of them, whatever the first says: the time this takes must not tell which secret was hit.
        hits = [hmac.compare_digest(candidate, secret.value.get_secret_value().encode()) for secret in working]
        return True in hits

    def require_right(self, login: str, api_key: str) -> None:
        """Refuse, unless who logged in may manage the secrets of this account."""
        with self._lock:
            self._of(api_key)
            if login not in (api_key, self._primary_of.get(api_key)):
                raise UnknownAccountError(api_key)

    def _of(self, api_key: str) -> dict[str, Secret]:
        if api_key not in self._accounts:
            raise UnknownAccountError(api_key)
        return self._accounts[api_key].current

    def _find(self, api_key: str, secret_id: str) -> Secret:
        secret = self._of(api_key).get(secret_id)
        if secret is None:
            raise UnknownSecretError(secret_id)
        return secret

    def _secret(self, value: SecretStr, propagation: timedelta) -> Secret:
        now = self._clock()
        return Secret(str(uuid.uuid4()), value, created_at=now, works_from=now + propagation)


def _require_valid(value: SecretStr) -> None:
    text = value.get_secret_value()
    if not SHORTEST <= len(text) <= LONGEST:
        raise InvalidSecretError(f"Must be {SHORTEST} to {LONGEST} characters long")
    missing = [name for pattern, name in COMPLEXITY if not re.search(pattern, text)]
    if missing:
        raise InvalidSecretError(f"Does not meet complexity requirements: needs {' and '.join(missing)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can carry and a Basic header cannot.
        raise InvalidSecretError("Is not valid Unicode") from None
