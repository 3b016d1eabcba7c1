"""Ids of a run: which secrets they belong to, and whether that is certain."""

from dataclasses import dataclass

from rotator.core.protocol.instants import Instants
from rotator.core.protocol.journal import Identity, ids_of
from rotator.core.protocol.observation import is_recorded, published_with_candidate, recorded_entries
from rotator.core.protocol.steps import Credential


@dataclass(frozen=True, slots=True)
class Ids(Instants):
    """The ids of the account's secrets, as far as rotator can tell them apart."""

    # --- the candidate -----------------------------------------------------------------------------------------------

    @property
    def candidate_published(self) -> bool:
        """Whether consumers read the candidate already."""
        return self.journal.candidate is not None and self.seen.published.secret == self.journal.candidate

    @property
    def candidate_works(self) -> bool:
        """Whether the candidate fetched the list."""
        return self.seen.via is Credential.CANDIDATE

    @property
    def candidate_id(self) -> str | None:
        """The id that the provider answered to the create of the candidate in hand.

        The version in which a run published it together with the candidate is a record of it, too.
        """
        answered = self.seen.answered
        if answered is not None and answered.rotation_id == self.journal.rotation_id:
            return answered.id
        if self.journal.answered_id is not None:
            return self.journal.answered_id
        return published_with_candidate(self.journal, self.seen.published)

    # --- the list ----------------------------------------------------------------------------------------------------

    @property
    def listed(self) -> frozenset[str]:
        """The ids in the provider's list."""
        return frozenset(self.seen.created)

    @property
    def full(self) -> bool:
        """Whether the account has no room for another secret."""
        return len(self.listed) >= self.policy.max_secrets

    @property
    def gone(self) -> frozenset[str]:
        """Ids that were revoked within the consistency window: lists might still show them."""
        recent = {entry.id for entry in self.journal.gone if self.is_recent(entry.at)}
        return frozenset(recent) | self.seen.revoked

    @property
    def explained(self) -> frozenset[str]:
        """Ids that belong to other secrets than the published one, as far as rotator knows."""
        recorded = frozenset(entry.id for entry in recorded_entries(self.journal))
        return recorded | self.journal.added_ids | self.gone | ids_of(self.candidate_id)

    @property
    def added(self) -> frozenset[str]:
        """The listed ids of secrets that a person added with rotator."""
        return self.listed & self.journal.added_ids

    # --- doubt -------------------------------------------------------------------------------------------------------

    @property
    def doubtful_ids(self) -> frozenset[str]:
        """Listed ids that make an id doubtful that the provider did not answer itself."""
        current = self.journal.current
        if current is None:
            return self.listed - self.explained
        if current.is_pending:
            pool = self.pool_of(current)
            # A person can have gone back to a retiring secret: if all of them are, one of them is the published one's.
            return pool - self.explained or pool if len(pool) > 1 else frozenset()
        return self._unexplained_beside(current, self.listed)

    def _unexplained_beside(self, current: Identity, ids: frozenset[str]) -> frozenset[str]:
        """Return those of the ids that can belong to the published secret instead of the id that is known."""
        explained = self.explained - self.retiring_rivals(current)
        return ids - explained - current.other_ids - ids_of(current.id)

    def retiring_rivals(self, current: Identity) -> frozenset[str]:
        """Return the retiring ids that can belong to the published secret, because a person named its id.

        A person can go back to a retiring secret and name a wrong id, whether rotator or a person had it retired.
        """
        if not current.is_named:
            return frozenset()
        return self.journal.retiring_ids - current.other_ids - ids_of(current.id)

    @property
    def in_doubt(self) -> bool:
        """Whether rotator cannot tell the published secret's id from others. Nothing is revoked then.

        An unknown id counts until the lists have lacked it for the consistency window. The journal's id does not apply
        to a published version that the journal does not describe.
        """
        current = self.journal.current
        if current is None or not (self.candidate_published or is_recorded(self.journal, self.seen.published)):
            return True
        if current.is_answered:
            return False
        before = self.journal.last_doubt
        if before is not None and self.is_recent(before.seen_at):
            return bool(self.doubtful_ids | self._unexplained_beside(current, before.ids))
        return bool(self.doubtful_ids)

    @property
    def shows_doubt(self) -> bool:
        """Whether the published secret listed ids that make its own doubtful. This doubt does not end by itself."""
        return self.seen.via is Credential.PUBLISHED and self.in_doubt and bool(self.doubtful_ids)

    @property
    def might_lack_an_id(self) -> bool:
        """Whether a list can lack a secret that was replaced or given up: W is not over, or it might still be created.

        Vault's clock decides, if Vault told when the published version was stored.
        """
        since = self.local(self.journal.published_at) or self.journal.rotated_at
        ends = [None if since is None else since + self.policy.window, self.late_create_until]
        return any(end is not None and self.listed_at < end for end in ends)

    @property
    def lacks_published(self) -> bool:
        """Whether the list lacks the published secret's certain id, though the secret authenticates or was not tried.

        Either the list is old, or that secret was removed and another one has its value: a listed id is its own then.
        """
        current = self.journal.current
        if current is None or current.is_pending:
            return False
        return current.id not in self.listed and Credential.PUBLISHED not in self.seen.refused

    def pool_of(self, identity: Identity) -> frozenset[str]:
        """Return the listed ids that can belong to a pending identity."""
        return self.listed - self.gone - self.journal.added_ids - identity.foreign_ids - ids_of(self.candidate_id)

    @property
    def unknown(self) -> frozenset[str]:
        """The listed ids that rotator cannot account for. While in doubt, one of them might be the published one."""
        before = self.journal.ids_before if self.journal.candidate is not None else frozenset()
        current = self.journal.current
        if current is None:
            return self.listed - self.explained - before
        # Beside a candidate, an id that was not listed before it can be the candidate's, whatever else is pending.
        is_open = current.is_pending and self.journal.candidate is None
        own = self.pool_of(current) if is_open else ids_of(current.id)
        return self.listed - self.explained - before - own

    @property
    def unexplained(self) -> frozenset[str]:
        """The listed ids of secrets that rotator does not know, beside a published id that is certain and listed.

        Beside a candidate, an id that was listed before it is among them.
        """
        current = self.journal.current
        if current is None or self.in_doubt or self.lacks_published:
            return frozenset()
        own = self.pool_of(current) if current.is_pending else ids_of(current.id)
        return self.listed - self.explained - own

    @property
    def unconfirmed(self) -> frozenset[str]:
        """Those of the unexplained ids that can be the published secret's all the same.

        A person can have added its value again and removed its id, which an old list still shows. A list shows the
        truth once the consistency window is over since an id was first seen.
        """
        noticed = self.journal.noticed
        if noticed is None or self.listed_at < self.confirmed_at(noticed):
            return self.unexplained
        return self.unexplained - noticed.ids

    @property
    def resolvable(self) -> frozenset[str]:
        """The listed ids that a person can have revoked: unknown ones, and those of secrets that a person added.

        None of them can be the published secret's.
        """
        return (self.added | self.unexplained - self.unconfirmed) - ids_of(self.seen.published.secret_id)

    @property
    def resolvable_later(self) -> frozenset[str]:
        """The ids that a person can have revoked once a later list confirms them."""
        return self.unconfirmed - ids_of(self.seen.published.secret_id)
