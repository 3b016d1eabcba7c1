"""The published secret does not work: go back to an earlier version of the published document that does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rotator.core.protocol import Identity, Learned, Published, Trigger, ids_of, transitions
from rotator.documents.published import parse_published
from rotator.rotation.access import ProviderAccess
from rotator.rotation.publisher import Publisher
from rotator.rotation.state import AccountState

# How many older versions of the published document are tried.
EARLIER_VERSIONS = 10


class Restoration:
    """Publishes an earlier value of one account."""

    def __init__(self, state: AccountState, access: ProviderAccess, publisher: Publisher) -> None:
        self._state = state
        self._access = access
        self._publisher = publisher

    def restore_earlier_version(self) -> None:
        """Publish the newest earlier value that still authenticates and is not compromised."""
        state = self._state
        newest = state.document.version - 1
        documents = [
            (version, state.store.read(state.account.path, version))
            for version in range(newest, max(0, newest - EARLIER_VERSIONS), -1)
        ]
        versions = [
            (version, document, parse_published(document, state.account.fields)) for version, document in documents
        ]
        # A change by hand can leave the previous id: the oldest version tells its value.
        owners = {earlier.secret_id: earlier.secret for _, _, earlier in versions if earlier.secret is not None}
        tried = {state.seen.published.secret, None}
        ids = set[str]()
        for version, document, earlier in versions:
            ids |= ids_of(earlier.secret_id)
            foreign = earlier.api_key not in (None, state.account.api_key)
            if earlier.secret is None or earlier.secret in tried or foreign:
                continue
            tried.add(earlier.secret)
            infos = self._access.list_with(earlier.secret)
            if infos is None:
                continue
            listed = {info.id for info in infos}
            if earlier.secret_id not in listed or owners[earlier.secret_id] != earlier.secret:
                earlier = replace(earlier, secret_id=None)  # noqa: PLW2901 - without the id that is not its own
            if state.journal.compromised_ids & ({earlier.secret_id} if earlier.secret_id else listed):
                state.log.warning("account.not_restored", from_version=version, detail="it might be compromised")
                continue
            if self._restore(earlier, document.data):
                state.log.warning("account.restored", from_version=version, secret_id=earlier.secret_id)
            return
        state.learn(earlier_tried=True, earlier_ids=frozenset(ids))

    def _restore(self, earlier: Published, base: Mapping[str, Any] | None) -> bool:
        """Publish an earlier value. If its id might be retiring, the journal says so first (I9)."""
        state = self._state
        identity = self._identity_of(earlier.secret_id)
        # A deleted version might have contained the same value. Only another certain id tells that it did not.
        tells_apart = state.seen.published.secret is not None or identity is not None
        replaced = tells_apart and state.speaks_of_published()
        if state.journal.retiring or state.journal.publishing is not None:
            state.write_journal(transitions.marked(state.situation, earlier.secret_id))
        if not self._publisher.publish(earlier, trigger=Trigger.RESCUE.value, base=base):
            return False
        identity = identity or transitions.pending(state.situation, foreign_ids=frozenset())
        state.learn(identified=identity, replaced=replaced)
        return True

    def _identity_of(self, id_: str | None) -> Identity | None:
        """Return the identity of an id that an earlier version of the published document names."""
        if id_ is None:
            return None
        entry = next((entry for entry in self._state.journal.retiring if entry.id == id_), None)
        if entry is not None and entry.identity is not None and not entry.is_pending:
            return entry.identity
        return Identity(id_, Learned.ELIMINATED)
