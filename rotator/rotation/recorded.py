"""The version of the published document that a journal speaks of, and the versions after it."""

from typing import Any

from pydantic import SecretStr

from rotator.config import AccountSettings
from rotator.core.protocol import Journal, Published, is_recorded
from rotator.documents import parse_published
from rotator.rotation.interfaces import Store

# How many versions after the recorded one are read. Vault keeps ten by default, and reading ends at a missing one.
LATER_VERSIONS = 50


def recorded_facts(store: Store, journal: Journal, account: AccountSettings, published: Published) -> dict[str, Any]:
    """Return what the recorded version of the published document contains, and up to which version that was kept.

    Later versions count only while a secret is retiring that one of them can have contained.

    Raises:
        VaultError: If Vault does not give a version.
    """
    recorded = recorded_secret(store, journal, account)
    until = 0
    if recorded is not None and (journal.retiring or journal.publishing is not None):
        until = _unchanged_until(store, journal, account, published, recorded)
    return {"recorded": recorded, "recorded_read": True, "unchanged_until": until}


def recorded_secret(store: Store, journal: Journal, account: AccountSettings) -> SecretStr | None:
    """Read the value that a journal speaks of; None if it speaks of none, or Vault does not keep that version.

    Raises:
        VaultError: If Vault does not give the version.
    """
    if not journal.published_version:
        return None  # Vault would answer with the newest version
    then = parse_published(store.read(account.path, journal.published_version), account)
    return then.secret if is_recorded(journal, then) else None


def _unchanged_until(
    store: Store, journal: Journal, account: AccountSettings, published: Published, recorded: SecretStr
) -> int:
    """Return the last version before which every one from the recorded one on contains the recorded value, itself too.

    The newest version was read already.
    """
    version = journal.published_version
    for later in range(version + 1, min(published.version, version + 1 + LATER_VERSIONS)):
        if parse_published(store.read(account.path, later), account).secret != recorded:
            return version
        version = later
    follows = published.version == version + 1
    return published.version if follows and published.secret == recorded else version
