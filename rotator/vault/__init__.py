"""Vault and OpenBao: documents, health, permissions, and the session that keeps a token alive."""

from rotator.vault.document import Document
from rotator.vault.errors import (
    CasConflict,
    MountReplaced,
    TokenUseLimited,
    VaultDenied,
    VaultError,
    VaultRateLimited,
    VaultSealed,
    VaultUnauthorized,
    VaultUnreachable,
    VaultUntrusted,
    WrongMount,
)
from rotator.vault.system import Health
from rotator.vault.throttle import Throttle, parse_retry_after
from rotator.vault.time_limit import LONGEST_READ, LONGEST_THROTTLING
from rotator.vault.vault import Vault

__all__ = [
    "LONGEST_READ",
    "LONGEST_THROTTLING",
    "CasConflict",
    "Document",
    "Health",
    "MountReplaced",
    "Throttle",
    "TokenUseLimited",
    "Vault",
    "VaultDenied",
    "VaultError",
    "VaultRateLimited",
    "VaultSealed",
    "VaultUnauthorized",
    "VaultUnreachable",
    "VaultUntrusted",
    "WrongMount",
    "parse_retry_after",
]
