"""The published secret does not work: go back to an earlier version of the published document that does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rotator.core.protocol import Identity, Learned, Published, Trigger, ids_of, requests, transitions
from rotator.documents import parse_published
from rotator.rotation.access import ProviderAccess
from rotator.rotation.owners import owners_of
from rotator.rotation.publisher import Publisher
from rotator.rotation.state import AccountState
from rotator.vault import Document

# How many older versions of the published document are tried.
EARLIER_VERSIONS = 10


def read_versions(state: AccountState) -> list[tuple[Document, Published]]:
    """Return the last readable versions of the published document, and the one that the journal names.

    The oldest comes first, and the newest last.
    """
    newest = state.document.version
    documents: list[Document] = []
    numbers = {*range(max(1, newest - EARLIER_VERSIONS), newest), state.journal.published_version}
    for version in sorted(number for number in numbers if 0 < number < newest):
        document = state.store.read(state.account.path, version)
        if document.data is not None:
            documents.append(document)
    documents.append(state.document)
    return [(document, parse_published(document, state.account)) for document in documents]


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier version whose value authenticates.

    Attributes:
        published: The value, and its id if the journal proves it.
        fields: The other fields of that version.
        others: Ids that certainly belong to other values.
        listed: The ids in the provider's list.
    """

    published: Published
    fields: Mapping[str, Any] | None
    others: frozenset[str]
    listed: frozenset[str]


class Restoration:
    """Publishes an earlier value of one account."""

    def __init__(self, state: AccountState, access: ProviderAccess, publisher: Publisher) -> None:
        self._state = state
        self._access = access
        self._publisher = publisher

    def restore_earlier_version(self) -> None:
        """Publish the newest earlier value that still authenticates and is not compromised.

        A value that a compromised request can be for comes last. It is replaced at once then.
        """
        state = self._state
        versions = read_versions(state)
        owners = owners_of(state)
        tried = {state.seen.published.secret, None}
        ids = set[str]()
        last_resort: Earlier | None = None
        for document, earlier in reversed(versions[:-1]):
            ids |= ids_of(earlier.secret_id)
            foreign = earlier.api_key not in (None, state.account.api_key)
            if earlier.secret is None or earlier.secret in tried or foreign:
                continue
            tried.add(earlier.secret)
            if requests.is_never_published_again(state.journal, earlier.secret):
                self._withhold(earlier.version)
                continue
            infos = self._access.list_with(earlier.secret)
            if infos is None:
                continue
            listed = frozenset(info.id for info in infos)
            others = frozenset(id_ for id_, owner in owners.items() if owner != earlier.secret)
            own = listed & owners.keys() - others
            if state.journal.compromised_ids & (own or listed):
                self._withhold(earlier.version)
                continue
            # The id that the version names is no proof: it can be another value's.
            found = Earlier(replace(earlier, secret_id=next(iter(own), None)), document.data, others, listed)
            if not requests.is_last_resort(state.journal, earlier.secret, own):
                self._restore(found, "the published secret does not work")
                return
            last_resort = last_resort or found
        if last_resort is None:
            state.learn(earlier_tried=True, earlier_ids=frozenset(ids))
        elif self._primary_creates(last_resort):
            self._withhold(last_resort.published.version)
            state.learn(earlier_tried=True, earlier_ids=frozenset(ids))
        else:
            self._restore(last_resort, "it might be compromised, and is replaced at once")

    def _primary_creates(self, found: "Earlier") -> bool:
        """Return whether the primary account can create another secret, while consumers read nothing."""
        policy = self._state.policy
        reads_nothing = self._state.seen.published.secret is None
        return reads_nothing and policy.has_primary and len(found.listed) < policy.max_secrets

    def _withhold(self, version: int) -> None:
        state = self._state
        state.learn(withheld=state.seen.withheld | {version})
        state.log.warning("account.not_restored", kv_version=version, detail="it might be compromised")

    def _restore(self, found: "Earlier", detail: str) -> None:
        """Publish an earlier value. If its id might be retiring, the journal says so first (I9).

        A request for the refused value is for the earlier one then, which rotator publishes unasked.
        """
        state = self._state
        earlier = found.published
        identity = Identity(earlier.secret_id, Learned.ANSWERED) if earlier.secret_id is not None else None
        # A deleted version might have contained the same value. Only another certain id tells that it did not.
        tells_apart = state.seen.published.secret is not None or identity is not None
        speaks_of_published = state.speaks_of_published()
        replaced = speaks_of_published and tells_apart
        if not speaks_of_published and state.seen.recorded == earlier.secret:
            identity = state.journal.current  # the journal speaks of this very value
        journal = transitions.restoring(state.situation, earlier.secret_id, is_recorded_value=speaks_of_published)
        if journal is not None:
            state.write_journal(journal)
        if not self._publisher.publish(earlier, trigger=Trigger.RESCUE.value, base=found.fields):
            return
        identity = identity or transitions.pending(state.situation, foreign_ids=found.others)
        state.learn_identity(earlier.secret, identity, replaced=replaced)
        state.log.warning("account.restored", kv_version=earlier.version, secret_id=earlier.secret_id, detail=detail)
