"""Documents of a KV version 2 mount, written with check-and-set.

OpenBao speaks the same protocol; every statement about the server was tried with OpenBao 2.7.2.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import structlog
from hvac.api.secrets_engines import KvV2

from rotator.vault import diagnosis
from rotator.vault.client import Call, Wire
from rotator.vault.document import Document, absent, parse_document
from rotator.vault.errors import (
    CasConflict,
    VaultDenied,
    VaultError,
    VaultUnauthorized,
    VaultUnreachable,
    is_transient,
)
from rotator.vault.http import encode
from rotator.vault.mount import Mount
from rotator.vault.reply import ErrorReply
from rotator.vault.session import Session
from rotator.vault.time_limit import LONGEST_READ, LONGEST_WRITE, TimeLimit

_WRITE_ATTEMPTS = 3
# How often a document is read until it is as new as it has to be, and the seconds between two reads.
_READS = 10
_READ_PAUSE = 0.1
# Seconds for which a document must not be older than what this session wrote or read. A restored snapshot can be older.
_REMEMBERED = 300.0
_MOST_REMEMBERED = 10_000
_UNCERTAIN = "The document is unchanged or as rotator wrote it; the next run finds out"
_log = structlog.get_logger()
T = TypeVar("T")


class Documents:
    """Documents of one mount; safe to use from several threads.

    Args:
        find_mount: Returns the mount's accessor; see System.find_mount.
        timeout: Seconds that a write keeps for reading the document back.
    """

    def __init__(
        self,
        session: Session,
        mount: str,
        *,
        find_mount: Callable[[TimeLimit], str],
        timeout: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._session = session
        self._client = session.client
        self._mount = mount
        self._timeout = timeout
        self._written = _Newest(monotonic)
        self._known = _Newest(monotonic)  # apart: a fleet's reads must not displace the writes
        self._mount_state = Mount(
            mount,
            find=find_mount,
            contains=self._contains,
            is_throttled=lambda: self._client.is_throttled,
            monotonic=monotonic,
        )

    def data_path(self, path: str) -> str:
        """Return the API path of a document."""
        return f"{self._mount}/data/{path}"

    def metadata_path(self, path: str) -> str:
        """Return the API path of a document's metadata."""
        return f"{self._mount}/metadata/{path}"

    def check_mount(self) -> None:
        """Check the mount; see Vault.check_mount."""
        self._mount_state.examine(self._client.limit(LONGEST_READ))

    def read(self, path: str, version: int | None = None) -> Document:
        """Return a version of a document; see Vault.read."""
        limit = self._client.limit(LONGEST_READ)
        try:
            return self._latest(path, limit) if version is None else self._read(path, version, limit)
        except VaultUnreachable as error:
            error.maybe_done = False  # no write is in doubt
            raise

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        """Write a document over the version that was read; see Vault.write."""
        limit = self._client.limit(LONGEST_WRITE)
        lost: VaultUnreachable | None = None
        for _ in range(_WRITE_ATTEMPTS):
            try:
                with limit.reserving(self._timeout):  # for reading it back
                    written = self._write(path, data, cas, limit)
            except VaultUnreachable as error:
                if error.maybe_done:
                    lost = error
                elif lost is None:
                    raise
            except VaultError:
                if lost is None:
                    raise
                break  # it says nothing of the request before, which was lost and might still be carried out
            else:
                if written is not None:
                    return self._written.remember(path, written)
                return self._own_version(path, data, cas, limit, self._read_back(path, limit))
            current = self._read_back(path, limit)
            if current.version != cas:
                return self._own_version(path, data, cas, limit, current)
        assert lost is not None  # noqa: S101 - every other way out of the loop is above  # nosec B101
        lost.unchanged = _UNCERTAIN
        raise lost

    def keep_versions(self, path: str, count: int) -> bool:
        """Set how many versions of a document the server keeps; see Vault.keep_versions."""
        api_path = self.metadata_path(path)
        call = Call("metadata", f"update {api_path}", self._client.limit(LONGEST_READ))

        def request(wire: Wire) -> Any:
            return KvV2(wire).update_metadata(path=path, max_versions=count, mount_point=self._mount)

        try:
            self._session.authorized(call, "update", api_path, request)
        except VaultError:
            return False  # nothing depends on it
        return True

    def _read(self, path: str, version: int | None, limit: TimeLimit) -> Document:
        """Return a version of a document. The mount is examined before an answer counts that another mount can give."""
        document = self._unless_denied(lambda: self._ask(path, version, limit), limit)
        if version is not None:
            return document
        if document.version > 0:
            self._mount_state.remember(path)
            return document
        if not self._mount_state.knows(path):
            self._mount_state.examine_first(limit)
            return document
        self._mount_state.examine(limit)
        document = self._ask(path, None, limit)  # the mount might be back since
        return replace(document, vanished=document.version == 0)

    def _unless_denied(self, ask: Callable[[], T], limit: TimeLimit) -> T:
        """Ask. If a policy refuses that, examine the mount, and ask again: the policy might be back."""
        try:
            return ask()
        except VaultUnauthorized:
            raise
        except VaultDenied:
            pass
        self._mount_state.examine(limit)
        return ask()

    def _contains(self, path: str, limit: TimeLimit) -> bool:
        return self._ask(path, None, limit).version > 0

    def _ask(self, path: str, version: int | None, limit: TimeLimit) -> Document:
        api_path = self.data_path(path)
        parameters = None if version is None else {"version": version}

        def request(wire: Wire) -> Document | None:
            with suppress(TypeError, KeyError, ValueError):
                try:
                    return parse_document(wire.get(f"/v1/{api_path}", params=parameters))
                except ErrorReply as error:
                    return absent(error)
            return None

        document = self._session.read(Call("read", f"read {api_path}", limit), "read", api_path, request)
        is_about_another = document is not None and version is not None and document.version not in (0, version)
        if document is None or is_about_another:
            raise diagnosis.unreadable(api_path, self._client.address)
        return replace(document, read_at=self._client.answered_at, mount=self._mount, path=path)

    def _write(self, path: str, data: Mapping[str, Any], cas: int, limit: TimeLimit) -> Document | None:
        """Return the new version, or None if the document is not at the version that was given."""
        api_path = self.data_path(path)
        call = Call("write", f"write {api_path}", limit, repeatable=False)

        def request(wire: Wire) -> Any:
            try:
                return KvV2(wire).create_or_update_secret(
                    path=path, secret=dict(data), cas=cas, mount_point=self._mount
                )
            except ErrorReply as error:
                if not diagnosis.is_conflict(error.reply):
                    raise
                return None

        def send() -> Any:
            return self._client.repeat(
                lambda: self._session.authorized(call, "write", api_path, request),
                limit,
                lambda error: is_transient(error) and not error.maybe_done,
            )

        answer = self._unless_denied(send, limit)
        if answer is None:
            return None
        with suppress(TypeError, KeyError, ValueError):
            written = parse_document({"data": {"metadata": answer["data"], "data": None}})
            if written.version == cas + 1:
                self._mount_state.remember(path)
                return written
        raise diagnosis.unreadable(api_path, self._client.address)

    def _own_version(self, path: str, data: Mapping[str, Any], cas: int, limit: TimeLimit, current: Document) -> int:
        """Return the version that this write made, of a document that was changed since the version `cas`.

        Raises:
            CasConflict: If it made none.
        """
        for _ in range(_READS):
            if current.version != cas:
                break
            time.sleep(_READ_PAUSE)  # it was changed: the server that answers lags behind
            current = self._read_back(path, limit)
        if current.version > cas + 1:
            current = self._read_back(path, limit, cas + 1)  # another writer has continued from there
        if current.version == cas + 1 and _is_same(current.data, data):
            _log.info("vault.write_confirmed", path=path, kv_version=current.version)
            return self._written.remember(path, current)
        if current.version == cas or self._precedes(path, current, cas, limit):
            raise self._of_the_past(path, "Whether this write was applied is not known; the next run finds out")
        raise CasConflict(path)

    def _precedes(self, path: str, current: Document, cas: int, limit: TimeLimit) -> bool:
        """Whether a document is older than the version that the write was based on.

        A document that was deleted with all of its versions and written again has a lower number, too.
        """
        if not 0 < current.version < cas or current.created is None:
            return False
        base = self._read_back(path, limit, cas)
        return base.created is not None and current.created < base.created

    def _latest(self, path: str, limit: TimeLimit) -> Document:
        """Return the newest version of a document, no older than what this session wrote or read a moment ago.

        Of two servers, or a server and a cache, one can lag behind: the other one answers a later read.

        Raises:
            VaultUnreachable: If Vault returns only older ones.
        """
        for _ in range(_READS):
            document = self._read(path, None, limit)
            if not (self._written.is_newer_than(path, document) or self._known.is_newer_than(path, document)):
                self._known.remember(path, document)
                return document
            time.sleep(_READ_PAUSE)
        raise self._of_the_past(path)

    def _of_the_past(self, path: str, unchanged: str = "") -> VaultUnreachable:
        return VaultUnreachable(
            f"Vault returns an older version of {path} than the one that rotator wrote or read before",
            unchanged=unchanged,
            next_step=f"Make sure that no cache is in front of {self._client.address}",
        )

    def _read_back(self, path: str, limit: TimeLimit, version: int | None = None) -> Document:
        """Return a version of a document after a write that might have been applied.

        Raises:
            VaultUnreachable: If it cannot be read. The error of the read itself can say that nothing was written.
        """
        try:
            return self._latest(path, limit) if version is None else self._read(path, version, limit)
        except VaultError as error:
            what = error.what
            next_step = error.next_step
        raise VaultUnreachable(
            f"A write to {path} might have been applied, and now the document cannot be read: {what}",
            unchanged=_UNCERTAIN,
            next_step=next_step,
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """A version of a document that this session wrote or read.

    Attributes:
        version: The KV version.
        created: When Vault wrote it, by Vault's clock.
        at: When this session knew it last, by the monotonic clock.
    """

    version: int
    created: datetime | None
    at: float


class _Newest:
    """The newest versions of documents that this session knew a moment ago; safe to use from several threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}  # the one that was known longest ago first

    def remember(self, path: str, document: Document) -> int:
        """Record a version; return its number."""
        with self._lock:
            self._known.pop(path, None)
            self._known[path] = _Known(document.version, document.created, self._monotonic())
            while len(self._known) > _MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
        return document.version

    def is_newer_than(self, path: str, document: Document) -> bool:
        """Whether a newer version of the document was known a moment ago."""
        known = self._known.get(path)
        if known is None or document.version >= known.version or self._monotonic() - known.at > _REMEMBERED:
            return False
        # A document that was deleted with all of its versions has none, and is younger if it was written again.
        return document.created is not None and known.created is not None and document.created <= known.created


def _is_same(found: Mapping[str, Any] | None, written: Mapping[str, Any]) -> bool:
    """Whether that is the data that was written. Vault turns 1.0 into 1 and long integers into floats (seen)."""
    return found is not None and _canonical(json.dumps(found)) == _canonical(encode(dict(written)))


def _canonical(document: str | bytes) -> str:
    return json.dumps(json.loads(document, parse_int=float), sort_keys=True)
