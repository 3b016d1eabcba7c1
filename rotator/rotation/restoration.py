"""The published secret does not work: go back to an earlier version of the published document that does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from rotator.core.protocol import Identity, Learned, Published, Trigger, ids_of, requests, transitions
from rotator.documents import parse_published
from rotator.rotation.access import ProviderAccess
from rotator.rotation.publisher import Publisher
from rotator.rotation.state import AccountState
from rotator.vault import Document

# How many older versions of the published document are tried.
EARLIER_VERSIONS = 10


def read_versions(state: AccountState) -> list[tuple[Document, Published]]:
    """Return the readable versions of the published document, the oldest first; the last one is the newest."""
    newest = state.document.version
    documents: list[Document] = []
    for version in range(max(1, newest - EARLIER_VERSIONS), newest):
        document = state.store.read(state.account.path, version)
        if document.data is not None:
            documents.append(document)
    documents.append(state.document)
    return [(document, parse_published(document, state.account)) for document in documents]


def owners_of(versions: Sequence[tuple[Document, Published]]) -> dict[str | None, SecretStr]:
    """Return ids that rotator wrote together with a value, and that value.

    A change by hand can leave the previous id, or bring back an earlier version. So an id belongs to the value of the
    oldest version that names it. Which version that is, only the one right before it shows: Vault keeps few versions,
    and each can be deleted. If the version before is not readable, nothing is known of the id. If that version contains
    the same value, nothing is known either: the id can belong to a value in a field that the configuration named then.
    """
    owners: dict[str | None, SecretStr] = {}
    named: set[str | None] = {None}
    before = Published()
    for _, known in versions:
        follows = known.version == before.version + 1
        is_first = known.secret_id not in named
        named.add(known.secret_id)
        if follows and is_first and known.secret is not None and _brings_a_value(known, before):
            owners[known.secret_id] = known.secret
        before = known
    return owners


def _brings_a_value(known: Published, before: Published) -> bool:
    """Whether a version contains another value than the previous one, and its date shows that it is no older copy."""
    if known.rotated_at is None or known.secret == before.secret:
        return False
    return before.rotated_at is None or before.rotated_at < known.rotated_at


class Restoration:
    """Publishes an earlier value of one account."""

    def __init__(self, state: AccountState, access: ProviderAccess, publisher: Publisher) -> None:
        self._state = state
        self._access = access
        self._publisher = publisher

    def restore_earlier_version(self) -> None:
        """Publish the newest earlier value that still authenticates and is not compromised."""
        state = self._state
        versions = read_versions(state)
        owners = owners_of(versions)
        tried = {state.seen.published.secret, None}
        ids = set[str]()
        for document, earlier in reversed(versions[:-1]):
            ids |= ids_of(earlier.secret_id)
            foreign = earlier.api_key not in (None, state.account.api_key)
            if earlier.secret is None or earlier.secret in tried or foreign:
                continue
            tried.add(earlier.secret)
            if requests.is_never_published_again(state.journal, earlier.secret):
                self._skip(earlier)
                continue
            infos = self._access.list_with(earlier.secret)
            if infos is None:
                continue
            listed = {info.id for info in infos}
            if earlier.secret_id not in listed or owners.get(earlier.secret_id) != earlier.secret:
                earlier = replace(earlier, secret_id=None)  # noqa: PLW2901 - without an id that can be another value's
            if state.journal.compromised_ids & ({earlier.secret_id} if earlier.secret_id else listed):
                self._skip(earlier)
                continue
            if self._restore(earlier, document.data):
                state.log.warning("account.restored", kv_version=earlier.version, secret_id=earlier.secret_id)
            return
        state.learn(earlier_tried=True, earlier_ids=frozenset(ids))

    def _skip(self, earlier: Published) -> None:
        detail = "it might be compromised"
        self._state.log.warning("account.not_restored", kv_version=earlier.version, detail=detail)

    def _restore(self, earlier: Published, base: Mapping[str, Any] | None) -> bool:
        """Publish an earlier value. If its id might be retiring, the journal says so first (I9)."""
        state = self._state
        identity = self._identity_of(earlier.secret_id)
        # A deleted version might have contained the same value. Only another certain id tells that it did not.
        tells_apart = state.seen.published.secret is not None or identity is not None
        speaks_of_published = state.speaks_of_published()
        replaced = speaks_of_published and tells_apart
        if not speaks_of_published and state.seen.recorded == earlier.secret:
            identity = state.journal.current  # the journal speaks of this very value
        if state.journal.retiring or state.journal.publishing is not None:
            state.write_journal(transitions.marked(state.situation, earlier.secret_id))
        if not self._publisher.publish(earlier, trigger=Trigger.RESCUE.value, base=base):
            return False
        identity = identity or transitions.pending(state.situation, foreign_ids=frozenset())
        state.learn_identity(earlier.secret, identity, replaced=replaced)
        return True

    def _identity_of(self, id_: str | None) -> Identity | None:
        """Return the identity of an id that an earlier version of the published document names."""
        if id_ is None:
            return None
        entry = next((entry for entry in self._state.journal.retiring if entry.id == id_), None)
        if entry is not None and entry.identity is not None and not entry.is_pending:
            return entry.identity
        return Identity(id_, Learned.ELIMINATED)
