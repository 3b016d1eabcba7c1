"""A client of the provider's API that survives rotations: it reads the secret from Vault, and again after a 401."""

import threading
from typing import Any

import httpx
import hvac


class Nexmo:
    """Calls the API with the secret that Vault has now.

    Args:
        vault: A client that is logged in, with the consumer's policy.
        path: The published document, below the mount.
        mount: The KV version 2 mount.
        api_url: The provider's API.
    """

    def __init__(self, vault: hvac.Client, path: str, *, mount: str = "secret", api_url: str) -> None:
        self._vault, self._path, self._mount = vault, path, mount
        self.http = httpx.Client(base_url=api_url, timeout=10)
        self._lock = threading.Lock()
        self._auth = self._read()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call; after a 401 once more, if Vault has another secret by now."""
        used = self._auth
        answer = self.http.request(method, path, auth=used, **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED and (newer := self._newer_than(used)):
            answer = self.http.request(method, path, auth=newer, **options)
        return answer

    def _newer_than(self, used: tuple[str, str]) -> tuple[str, str] | None:
        """The secret that Vault has now; None if it is the one that was refused. Of many threads one asks."""
        with self._lock:
            if self._auth == used:
                self._auth = self._read()
            return self._auth if self._auth != used else None

    def _read(self) -> tuple[str, str]:
        document = self._vault.secrets.kv.v2.read_secret_version(
            self._path, mount_point=self._mount, raise_on_deleted_version=True
        )["data"]["data"]
        return document["api_key"], document["api_secret"]
