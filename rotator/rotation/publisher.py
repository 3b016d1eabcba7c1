"""Writes of the published document."""

from collections.abc import Mapping
from typing import Any

from rotator.audit import Act
from rotator.core.protocol import Published, Refresh, is_recorded
from rotator.documents import format_instant
from rotator.errors import Command, RotatorError
from rotator.rotation.audit_trail import AuditTrail
from rotator.rotation.state import AccountState


class Publisher:
    """Writes the published document of one account, and reads it back.

    Attributes:
        version: The version with another secret that this run published last; None if it published none.
    """

    def __init__(self, state: AccountState, trail: AuditTrail) -> None:
        self.version: int | None = None
        self._state = state
        self._trail = trail

    def publish(self, published: Published, *, trigger: str | None, base: Mapping[str, Any] | None = None) -> bool:
        """Write the published document and read it back; false if the lease ended before.

        Raises:
            RotatorError: If Vault returns something else than what was written.
        """
        state = self._state
        data = self._data(published, base)
        fingerprint = self._trail.fingerprint(published.secret)
        entry = self._trail.entry(Act.PUBLISH, trigger=trigger, secret_id=published.secret_id, fingerprint=fingerprint)
        if not self._trail.begins(entry):
            return False
        with self._trail.acting(entry) as found:
            found.version = self.version = self._write(data)
        state.read_published()
        if state.document.version == self.version and state.seen.published.secret != published.secret:
            error = RotatorError(
                f"Vault returned something else than what was just written to {state.account.path}",
                unchanged="Whether consumers read the new version is not known",
                next_step="Find out what else writes there. Then continue",
                next_command=Command.of("rotate-now", state.account.name, "--due"),
            )
            error.maybe_done = True
            raise error
        return True

    def rewrite(self, step: Refresh) -> None:
        """Write the published document again, unchanged but for the id that it is to name."""
        state = self._state
        recorded = is_recorded(state.journal, state.seen.published)
        over = state.document.version if recorded else None
        data = dict(state.document.data or {})
        if step.secret_id is not None:
            data[state.account.fields.secret_id] = step.secret_id
        version = self._write(data)
        state.read_published()
        state.log.info("published.rewritten", kv_version=version, detail=step.why)
        state.learn(rewritten_over=over)

    def _write(self, data: Mapping[str, Any]) -> int:
        """Write the document over the version that was read; return the version that was written."""
        return self._state.store.write(self._state.account.path, data, cas=self._state.document.version)

    def _data(self, published: Published, base: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the document with these values in rotator's fields. Every other field stays.

        Args:
            published: The values.
            base: The other fields, if there is no document now.
        """
        state = self._state
        names = state.account.fields
        data = dict(state.document.data or base or {})
        data |= {names.api_key: state.account.api_key, names.api_secret: published.secret}
        return data | {names.secret_id: published.secret_id, names.rotated_at: format_instant(published.rotated_at)}
