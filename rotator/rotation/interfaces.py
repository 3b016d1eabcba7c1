"""Interfaces that a run needs."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import SecretStr

from rotator.provider import Balance, Credentials, SecretInfo
from rotator.vault import Document

Clock = Callable[[], datetime]
Waiter = Callable[[timedelta], bool]
"""Waits for a time, or until the process stops; returns true if it stops."""


class Provider(Protocol):
    """The part of account_api.AccountApi that a rotation needs."""

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]: ...

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo: ...

    def get_balance(self, auth: Credentials) -> Balance: ...

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> str: ...


class Store(Protocol):
    """The part of vault.Vault that a rotation needs."""

    def read(self, path: str, version: int | None = None) -> Document: ...

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int: ...

    def keep_versions(self, path: str, count: int) -> bool: ...
