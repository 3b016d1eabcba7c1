"""Vault and OpenBao: documents, health, permissions, and the session that keeps a token alive."""

from rotator.vault.client import (
    LONGEST_READ,
    LONGEST_THROTTLING,
    CasConflict,
    Document,
    Vault,
    VaultDenied,
    VaultError,
    VaultRateLimited,
    VaultSealed,
    VaultUnreachable,
    VaultUntrusted,
    WrongMount,
)
from rotator.vault.throttle import Throttle, parse_retry_after

__all__ = [
    "LONGEST_READ",
    "LONGEST_THROTTLING",
    "CasConflict",
    "Document",
    "Throttle",
    "Vault",
    "VaultDenied",
    "VaultError",
    "VaultRateLimited",
    "VaultSealed",
    "VaultUnreachable",
    "VaultUntrusted",
    "WrongMount",
    "parse_retry_after",
]
