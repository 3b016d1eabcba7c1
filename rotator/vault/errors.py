"""Errors of Vault's room.

VaultError
├── VaultUnreachable        no usable answer: a write might have been applied
│   ├── VaultSealed         the server is sealed
│   └── VaultUntrusted      a certificate does not fit: nothing was sent
├── VaultRateLimited        a quota of Vault: the operation would have had to wait too long
├── VaultDenied             the policy lacks something
│   └── VaultUnauthorized   Vault refuses the token or the login
│       └── TokenUseLimited the token is good for a few requests only
├── Forbidden               a 403, before the session knows its cause; never leaves the room
├── WrongMount              the mount does not exist or is not KV version 2 (exit code 2)
│   └── MountReplaced       another mount without the documents is in its place
└── CasConflict             another writer changed the document first
"""

from copy import copy
from typing import TypeVar

from rotator.errors import Code, RotatorError

E = TypeVar("E", bound="VaultError")


class VaultError(RotatorError):
    """Vault answered with an error, or not at all."""

    code = Code.VAULT_ERROR


class VaultUnreachable(VaultError):
    """There was no usable answer.

    Attributes:
        maybe_done: Whether a write might have been applied.
    """

    code = Code.VAULT_UNREACHABLE

    def __init__(self, what: str, *, maybe_done: bool = True, unchanged: str = "", next_step: str = "") -> None:
        unchanged = unchanged or ("" if maybe_done else "Nothing was written")
        super().__init__(what, unchanged=unchanged, next_step=next_step)
        self.maybe_done = maybe_done


class VaultSealed(VaultUnreachable):
    """The server is sealed until an operator unseals it."""

    code = Code.VAULT_SEALED


class VaultUntrusted(VaultUnreachable):
    """There is no TLS connection, because a certificate does not fit; a retry would not help."""

    code = Code.VAULT_UNTRUSTED


class VaultRateLimited(VaultError):
    """Vault limits the rate of requests, and the operation would have had to wait too long. Nothing was written."""

    code = Code.VAULT_RATE_LIMITED


class VaultDenied(VaultError):
    """The token's policy does not allow the request."""

    code = Code.VAULT_DENIED


class VaultUnauthorized(VaultDenied):
    """Vault refuses rotator's token or login, or rotator has none to send: nothing can be read or written."""

    code = Code.VAULT_UNAUTHORIZED


class TokenUseLimited(VaultUnauthorized):
    """The token is good for a few requests only, and would end in the middle of a rotation."""


class Forbidden(VaultError):
    """Vault refuses a request: because of the token, or because of its policy.

    Attributes:
        by_policy: Whether the answer says that a policy was evaluated, so that the token is valid.
    """

    def __init__(self, what: str, *, by_policy: bool) -> None:
        super().__init__(what)
        self.by_policy = by_policy


class WrongMount(VaultError):
    """vault.mount does not name a KV version 2 mount that the token can see."""

    exit_code = 2
    code = Code.VAULT_WRONG_MOUNT


class MountReplaced(WrongMount):
    """Another mount is in the place of the known one, and lacks the documents."""

    code = Code.VAULT_MOUNT_REPLACED


class CasConflict(VaultError):
    """The document is at another version than the one that this write replaces; it was not touched."""

    code = Code.CONFLICT

    def __init__(self, path: str) -> None:
        super().__init__(f"Another writer changed {path} meanwhile", unchanged="Their version is unchanged")
        self.path = path


def is_transient(error: VaultError) -> bool:
    """Whether a retry within seconds can succeed."""
    return isinstance(error, VaultUnreachable) and not isinstance(error, (VaultSealed, VaultUntrusted))


def for_another_caller(error: E, more: str = "") -> E:
    """Return the same failure of a login, of the same kind, for a thread that waited for it.

    Args:
        more: Added to the failure's text.
    """
    another = copy(error)
    another.what += more
    if isinstance(another, VaultUnreachable):
        another.maybe_done = False
        another.unchanged = another.unchanged or "Nothing was written"
    return another
