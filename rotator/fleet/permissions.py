"""The permissions that rotator needs in Vault, compared with those of its token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rotator.audit import AuditLog
from rotator.config import AccountSettings, Settings
from rotator.errors import ConfigError
from rotator.vault import Vault, WrongMount

# The number of paths in one request to Vault.
_CAPABILITY_CHUNK = 500


@dataclass(frozen=True, slots=True)
class PathPermission:
    """A Vault path, the capabilities that rotator needs there, and those that it has."""

    path: str
    wanted: frozenset[str]
    allowed: frozenset[str]

    @property
    def met(self) -> bool:
        """Whether rotator may do all of it."""
        return "root" in self.allowed or self.wanted <= self.allowed

    @property
    def stanza(self) -> str:
        """The policy stanza that allows it."""
        capabilities = ", ".join(f'"{capability}"' for capability in sorted(self.wanted))
        return f'path "{self.path}" {{ capabilities = [{capabilities}] }}'


class Permissions:
    """Compares the permissions of rotator's token with those that accounts need.

    Args:
        audit: The audit log, which has to be writable as well.
    """

    def __init__(self, settings: Settings, vault: Vault, audit: AuditLog) -> None:
        self._settings = settings
        self._vault = vault
        self._audit = audit

    def preflight(self, accounts: Sequence[AccountSettings]) -> None:
        """Check, before anything is written, that everything can be written.

        Raises:
            ConfigError: If the audit log cannot be written; if the policy of rotator's token does not reach a path:
                each stanza is one line.
            VaultError: If Vault cannot be asked, or the mount is not a KV v2 one.
        """
        self._audit.check()
        missing = " ".join(need.stanza for need in self.needs(accounts) if not need.met)
        try:
            self._vault.check_mount()
        except WrongMount as error:
            if missing:  # a mount that the policy does not reach at all cannot be told from one that is not there
                error.next_step += f". If the mount is right, add to the policy: {missing}"
            raise
        if missing:
            raise ConfigError(
                f"rotator's Vault policy does not allow what these accounts need. Add: {missing}",
                unchanged="Nothing was written anywhere",
            )

    def needs(self, accounts: Sequence[AccountSettings], *, top_ups: bool = False) -> list[PathPermission]:
        """Return each Vault path that the accounts need, and the permission of the token there.

        Args:
            top_ups: Whether to include the paths of automatic top-ups; rotations do not need them.
        """
        wanted: dict[str, frozenset[str]] = {}
        for account in accounts:
            for path in (account.path, self._settings.journal_path(account)):
                wanted[self._vault.data_path(path)] = frozenset({"create", "read", "update"})
            if account.primary is not None:
                primary = self._vault.data_path(self._settings.account(account.primary).path)
                wanted.setdefault(primary, frozenset({"read"}))
            if top_ups and account.top_up.per_day:
                noted = self._vault.data_path(self._settings.top_ups_path(account))
                wanted[noted] = frozenset({"create", "read", "update"})
                if account.top_up.trx_path is not None:
                    wanted.setdefault(self._vault.data_path(account.top_up.trx_path), frozenset({"read"}))
        return self._compared(wanted)

    def wishes(self, accounts: Sequence[AccountSettings]) -> dict[str, list[PathPermission]]:
        """Return the optional permissions, by the consequence of their absence."""
        journals = [self._vault.metadata_path(self._settings.journal_path(account)) for account in accounts]
        limits = dict.fromkeys(journals, frozenset({"create", "update"}))
        token = {"auth/token/lookup-self": frozenset({"read"}), "auth/token/renew-self": frozenset({"update"})}
        return {
            "old versions of the journals, which hold secrets, are not limited by rotator": self._compared(limits),
            "rotator does not see when its token ends, and logs in instead of renewing it": self._compared(token),
        }

    def _compared(self, wanted: Mapping[str, frozenset[str]]) -> list[PathPermission]:
        paths = list(wanted)
        allowed: dict[str, frozenset[str]] = {}
        for start in range(0, len(paths), _CAPABILITY_CHUNK):
            allowed |= self._vault.capabilities(paths[start : start + _CAPABILITY_CHUNK])
        return [PathPermission(path, wanted[path], allowed.get(path, frozenset())) for path in paths]
