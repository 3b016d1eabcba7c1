"""A document of a KV version 2 mount, and the answers that contain one or say that there is none."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rotator.core.instants import is_plausible
from rotator.vault import diagnosis
from rotator.vault.reply import ErrorReply, whole_number

_MOST_VERSIONS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document.

    Attributes:
        version: Its KV version; 0 if it was never written. A check-and-set write over it gives this number.
        data: Its fields; None if it was never written, or this version was deleted or destroyed.
        created: When this version was written.
        expires_at: When Vault deletes this version by itself (`delete_version_after`); None: never.
        read_at: When Vault answered, by Vault's clock, in whole seconds; None if it did not say.
        mount: Its mount.
        path: Its path below the mount.
        is_destroyed: Whether this version was destroyed: Vault cannot restore it.
        vanished: Whether this session has seen the document before, and it was deleted with all its versions.
    """

    version: int
    data: Mapping[str, Any] | None = field(repr=False)
    created: datetime | None = None
    expires_at: datetime | None = None
    read_at: datetime | None = None
    mount: str = ""
    path: str = ""
    is_destroyed: bool = False
    vanished: bool = False

    @property
    def undelete(self) -> str | None:
        """The command that restores this version; None if it is not deleted, or Vault cannot restore it."""
        if not self.version or self.data is not None or self.is_destroyed:
            return None
        return self._command("undelete", f"-versions={self.version}")

    @property
    def rollback(self) -> str:
        """The command that restores its version N."""
        return self._command("rollback", "-version=N")

    def _command(self, name: str, version: str) -> str:
        return shlex.join(("vault", "kv", name, f"-mount={self.mount}", version, self.path))


def absent(error: ErrorReply) -> Document:
    """Return what a 404 says of a document.

    The server answers 404 for one that was never written, for a version that is deleted or destroyed (then with its
    number), but also for a mount or a namespace that does not exist.

    Raises:
        ErrorReply: If it says nothing of the document.
        ValueError: If it cannot be read; or a TypeError or KeyError.
    """
    if diagnosis.is_never_written(error.reply):
        return Document(version=0, data=None)
    if diagnosis.is_version_without_data(error.reply):
        return parse_document(error.reply.body)
    raise error


def parse_document(body: Mapping[str, Any]) -> Document:
    """Return the document in an answer.

    Raises:
        ValueError: If there is none; or a TypeError or KeyError.
    """
    metadata = body["data"]["metadata"]
    data = body["data"]["data"]
    if not (data is None or isinstance(data, dict)):
        raise ValueError("no document")
    version = whole_number(metadata["version"], least=1, most=_MOST_VERSIONS)
    created = _parse_time(metadata["created_time"])
    if not is_plausible(created):
        raise ValueError("a time that Vault does not mean")
    ends = metadata.get("deletion_time")  # of a version that is deleted, too: then it lies in the past
    expires_at = _parse_time(ends) if ends and data is not None else None
    if expires_at is not None and not is_plausible(expires_at):
        expires_at = None  # far beyond any need to write the document again
    return Document(version, data, created, expires_at, is_destroyed=metadata.get("destroyed") is True)


def _parse_time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at
