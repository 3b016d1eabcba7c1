"""One Vault: its documents, its state and the session that reaches them."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from rotator.config import VaultSettings, in_plain_text
from rotator.vault.client import Client
from rotator.vault.document import Document
from rotator.vault.http import OnRequest
from rotator.vault.kv import Documents
from rotator.vault.login_methods import login_method
from rotator.vault.session import Session
from rotator.vault.system import Health, System

_log = structlog.get_logger()


class Vault:
    """A session with one Vault, at one address or several; safe to use from several threads.

    It logs in at the first request, renews its token in time and logs in again when it must.

    An operation that only reads takes no longer than LONGEST_READ times `settings.timeout`, one that writes no longer
    than LONGEST_WRITE times; up to a second comes on top, and the time in which the system looks up a name. While Vault
    limits the rate of requests, all threads wait for their turns, an operation for LONGEST_THROTTLING seconds at most.

    Args:
        pool_size: How many requests may be under way at once without a connection of their own.
        clock: Returns the time, aware UTC: for the life of the token.
        monotonic: Returns seconds that only grow: for waits and limits.
        on_request: Called for each HTTP request with the operation (read, write, metadata, login, renew, lookup,
            capabilities, mounts or health), the HTTP status or `not_sent` or `no_answer`, and the seconds it took.
    """

    def __init__(
        self,
        settings: VaultSettings,
        *,
        pool_size: int = 8,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        on_request: OnRequest | None = None,
    ) -> None:
        client = self._client = Client(
            settings, pool_size=pool_size, monotonic=monotonic, on_request=on_request or _ignore
        )
        self._session = Session(client, login_method(settings.auth), clock=clock, monotonic=monotonic)
        timeout = settings.timeout.total_seconds()
        self._system = System(self._session, settings.mount)
        self._documents = Documents(
            self._session,
            settings.mount,
            find_mount=self._system.find_mount,
            timeout=timeout,
            monotonic=monotonic,
        )
        _warn_of_readable_traffic(settings)

    def read(self, path: str, version: int | None = None) -> Document:
        """Return the current version of a document, or an older one.

        A document that is missing although this session has seen it, and a path that the policy refuses, can be a
        failure of the whole mount. rotator examines the mount first then.

        Args:
            path: Its path below vault.mount.
            version: The KV version; None for the newest.

        Raises:
            WrongMount: If there is no such mount or namespace.
            VaultError: If it could not be read. A document that does not exist is no error.
        """
        return self._documents.read(path, version)

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        """Write a document over the version that was read, and over no other.

        If the answer is lost, rotator reads the document to see whether the write was applied. A conflict can be with
        rotator's own write whose answer was lost on the way, so rotator reads the document then, too. It recognizes its
        own write by the content: two writers must not write the same.

        Args:
            path: Its path below vault.mount.
            data: All of its fields; values may be SecretStr, at any depth.
            cas: The version that it replaces; 0 if there is none.

        Returns:
            The version that was written. There can be newer ones by now.

        Raises:
            CasConflict: If another writer was first.
            WrongMount: If there is no such mount or namespace.
            VaultError: If it was not written, or rotator could not find out whether it was.
        """
        return self._documents.write(path, data, cas)

    def keep_versions(self, path: str, count: int) -> bool:
        """Set how many versions of a document the server keeps, if the policy allows that.

        Returns:
            Whether it does.
        """
        return self._documents.keep_versions(path, count)

    def data_path(self, path: str) -> str:
        """Return the API path of a document, as policies name it."""
        return self._documents.data_path(path)

    def metadata_path(self, path: str) -> str:
        """Return the API path of a document's metadata, as policies name it."""
        return self._documents.metadata_path(path)

    def health(self) -> Health:
        """Return the state of the server in use; of several, the next one that answers. Needs no login.

        Raises:
            VaultUnreachable: If there is no usable answer.
        """
        return self._system.health()

    @property
    def is_throttled(self) -> bool:
        """Whether Vault limits the rate of requests at the moment: a quota refused one within the last minute."""
        return self._client.is_throttled

    def check_mount(self) -> None:
        """Check that the mount is of KV version 2, and contains documents that this session has seen.

        Raises:
            WrongMount: If it does not, or the token cannot see it.
            VaultError: If there is no usable answer.
        """
        self._documents.check_mount()

    def capabilities(self, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return what the token may do at each of these API paths, in one request.

        Args:
            paths: As policies name them, see `data_path`.

        Raises:
            VaultError: If there is no usable answer.
        """
        return self._system.capabilities(paths)

    def keep_alive(self) -> None:
        """Keep the session alive without other traffic; a daemon calls this every few seconds.

        It renews the token when that is due or replaces it by a login, and reads a token file that was changed. Then it
        asks Vault about the token. If it returns, a server answers, is unsealed and accepts the token.

        Raises:
            VaultError: If nothing can be read or written at the moment.
        """
        self._session.keep_alive()

    def token_expiry(self) -> datetime | None:
        """Return when the token in use ends; None if it never does, does not say, or there is none yet."""
        return self._session.token_expiry


def _ignore(_operation: str, _code: str, _seconds: float) -> None:
    """Ignore a request."""


def _warn_of_readable_traffic(settings: VaultSettings) -> None:
    if any(map(in_plain_text, settings.addresses)):
        _log.warning("vault.in_plain_text", address=settings.address, next_step="Use https: the token goes along")
    if not settings.verify:
        _log.warning("vault.tls_verification_off", address=settings.address)
