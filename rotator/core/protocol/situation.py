"""Input of the rules: the facts of a run and conclusions from them."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.core.protocol.journal import Identity, Journal, RequestKind, Retiring, Trigger, ids_of
from rotator.core.protocol.lease import CLOCK_RESOLUTION, believed, has_lease, leased_elsewhere
from rotator.core.protocol.observation import Observation, is_recorded
from rotator.core.protocol.policy import Policy
from rotator.core.protocol.requests import is_published, requested
from rotator.core.protocol.steps import Awaited, Credential, Pause

# A run waits this long for one account at most; for longer waits it ends and a later run continues.
LONGEST_PAUSE = timedelta(seconds=5)
# The longest time between two looks at a candidate.
LONGEST_LOOK = timedelta(seconds=30)
_SHORTEST_PAUSE, _SECOND_LOOK = timedelta(milliseconds=100), timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a rule looks at.

    Attributes:
        stored: The journal as Vault has it.
        journal: The same with the caller's request in it. Every journal that a rule writes begins with this one.
    """

    seen: Observation
    stored: Journal
    policy: Policy
    now: datetime
    journal: Journal

    @classmethod
    def of(cls, seen: Observation, journal: Journal, policy: Policy, now: datetime) -> "Situation":
        """Return the situation of a run."""
        return cls(seen, journal, policy, now, requested(seen, journal, now))

    # --- lease, candidate, request -------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether this instance holds the lease, with time for one more request."""
        return has_lease(self.journal, self.policy, self.shared_now)

    @property
    def leased_until(self) -> datetime | None:
        """When another instance's lease expires, by this instance's clock; None if no other instance holds one."""
        journal_at = self.seen.journal_at
        return self.local(leased_elsewhere(self.journal, self.policy, self.shared_now, journal_at=journal_at))

    @property
    def rewrite_is_unrecorded(self) -> bool:
        """Whether the journal speaks of the version of the published document that this run wrote again, unchanged."""
        over = self.seen.rewritten_over
        if over is None or over != self.journal.published_version:
            return False
        return self.seen.published.version == over + 1

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

        Only an answered id is published together with a candidate. So the published document is a record of it, too.
        """
        for answered in (self.seen.answered, self.journal.candidate_id):
            if answered is not None and answered.rotation_id == self.journal.rotation_id:
                return answered.id
        return self.seen.published.secret_id if self.candidate_published else None

    @property
    def requested(self) -> bool:
        """Whether a person wants the published secret replaced."""
        request = self.journal.request
        if request is None:
            return False
        if self.candidate_published and request.of.id is None:
            return request.of.version < self.seen.published.version  # it speaks of what the candidate has replaced
        return is_published(request.of, self.journal, self.seen.published)

    @property
    def forced(self) -> bool:
        """Whether the request allows to revoke recorded secrets before their grace periods end."""
        request = self.journal.request
        return self.requested and request is not None and request.kind is not RequestKind.MANUAL

    @property
    def compromised(self) -> bool:
        """Whether the published secret is known to strangers."""
        request = self.journal.request
        return self.requested and request is not None and request.kind is RequestKind.COMPROMISED

    @property
    def wanted(self) -> bool:
        """Whether a rotation is to begin, if nothing prevents it."""
        if self.requested:
            return True
        due_at, rotated_at = self.policy.due_at, self.journal.rotated_at
        if due_at is None or self.seen.rotated:
            return False
        return rotated_at is None or due_at(rotated_at) <= self.now

    @property
    def trigger(self) -> Trigger:
        """Why a rotation would begin now."""
        if not self.requested:
            return self.policy.trigger
        return Trigger.COMPROMISED if self.compromised else Trigger.MANUAL

    # --- ids -----------------------------------------------------------------------------------------------------

    @property
    def listed(self) -> frozenset[str]:
        """The ids in the provider's list."""
        return frozenset(self.seen.created)

    @property
    def listed_at(self) -> datetime:
        """Time at which the list was fetched. Its content is valid for this time."""
        fetched_at = self.seen.listing.fetched_at if self.seen.listing is not None else None
        return self.now if fetched_at is None else min(fetched_at, self.now)

    @property
    def full(self) -> bool:
        """Whether the account has no room for another secret."""
        return len(self.listed) >= self.policy.max_secrets

    @property
    def gone(self) -> frozenset[str]:
        """Ids that were revoked within the consistency window: lists might still show them."""
        recent = {entry.id for entry in self.journal.gone if self.listed_at - entry.at < self.policy.window}
        return frozenset(recent) | self.seen.revoked

    @property
    def explained(self) -> frozenset[str]:
        """Ids that belong to other secrets than the published one, as far as rotator knows."""
        publishing = self.journal.publishing
        entry = publishing.entry if publishing is not None else None
        known = self.journal.retiring_ids | self.journal.added_ids | self.gone
        return known | ids_of(entry.id if entry else None, self.candidate_id)

    @property
    def added(self) -> frozenset[str]:
        """The listed ids of secrets that a person added with rotator."""
        return self.listed & self.journal.added_ids

    @property
    def strangers(self) -> frozenset[str]:
        """Listed ids that make an id doubtful that the provider did not answer itself."""
        current = self.journal.current
        if current is None:
            return self.listed - self.explained
        if current.is_pending:
            pool = self.pool_of(current)
            return pool - self.explained if len(pool) > 1 else frozenset()
        return self._unexplained_beside(current, self.listed)

    def _unexplained_beside(self, current: Identity, ids: frozenset[str]) -> frozenset[str]:
        """Return those of the ids that can belong to the published secret instead of the id that is known."""
        explained = self.explained - self.retiring_rivals(current)
        return ids - explained - current.other_ids - ids_of(current.id)

    def retiring_rivals(self, current: Identity) -> frozenset[str]:
        """Return the retiring ids that can belong to the published secret, because a person named its id.

        A person can go back to a secret of rotator's and name a wrong id. An id that a person named to be revoked is
        no rival.
        """
        if not current.is_named:
            return frozenset()
        recorded = frozenset(entry.id for entry in self.journal.retiring if not entry.is_named)
        return recorded - current.other_ids - ids_of(current.id)

    def pool_of(self, identity: Identity) -> frozenset[str]:
        """Return the listed ids that can belong to a pending identity."""
        return self.listed - self.gone - self.journal.added_ids - identity.foreign_ids - ids_of(self.candidate_id)

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
        before, until = self.journal.strangers, self.strangers_until
        if before is not None and until is not None and self.listed_at < until:
            return bool(self.strangers | self._unexplained_beside(current, before.ids))
        return bool(self.strangers)

    @property
    def strangers_until(self) -> datetime | None:
        """Until when strangers of an earlier list count although lists lack them by now; None if there were none."""
        before = self.journal.strangers
        return self._window_after(before.seen_at if before is not None else None)

    def look_at(self, identity: Identity | None) -> datetime | None:
        """Return when the next list counts for a pending identity; None if it is not pending."""
        if identity is None or not identity.is_pending:
            return None
        at = believed(identity.next_look, self.policy.window, self.seen.journal_at, self.now)
        spacing = self.policy.window if identity.looks == 0 else self.policy.window / 2
        return None if at is None else self.not_before(at, spacing)

    def gone_at(self, entry: Retiring) -> datetime | None:
        """Return when a retiring id that lists lack counts as gone; None if none of them lacked it."""
        return self._window_after(entry.missing_since)

    def _window_after(self, noted_at: datetime | None) -> datetime | None:
        """Return when the consistency window is over after an instant that another clock wrote down as its present."""
        since = believed(noted_at, timedelta(), self.seen.journal_at, self.now)
        return None if since is None else self.not_before(since + self.policy.window, self.policy.window)

    def not_before(self, at: datetime, span: timedelta) -> datetime:
        """Return the instant, or a later one if the journal is not as old as this span by Vault's clock.

        Another instance can have written the journal by a clock that is hours away from this one's.
        """
        written_at, vault_now = self.seen.journal_at, self.vault_now
        if written_at is None or vault_now is None:
            return at
        left = span - (vault_now - written_at) - CLOCK_RESOLUTION
        return max(at, self.now + left) if left > timedelta() else at

    @property
    def vault_now(self) -> datetime | None:
        """The time by Vault's clock; None if Vault did not say. This instance's clock only measures the run."""
        read_at, observed_at = self.seen.journal_read_at, self.seen.observed_at
        if read_at is None:
            return None
        return read_at + (timedelta() if observed_at is None else max(self.now - observed_at, timedelta()))

    @property
    def shared_now(self) -> datetime:
        """The time by which instances agree about leases and creates: Vault's, or this instance's if Vault is silent.

        Otherwise an instance whose clock is behind could use a lease that has expired for all others. Another instance
        could then create a second secret at the same time.
        """
        return self.now if self.vault_now is None else self.vault_now

    def local(self, at: datetime | None) -> datetime | None:
        """Return an instant of the time that all instances share in this instance's clock."""
        return None if at is None else at + (self.now - self.shared_now)

    @property
    def lease_until(self) -> datetime:
        """When a lease expires that this instance acquires now, in the time that all instances share."""
        return self.shared_now + self.policy.lease

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

    # --- what may be revoked when --------------------------------------------------------------------------------

    @property
    def late_create_until(self) -> datetime | None:
        """Until when a create might still be carried out, by this instance's clock; None: every one was answered."""
        return self.local(self.create_until)

    @property
    def create_until(self) -> datetime | None:
        """The same in the time that all instances share, for the journal."""
        journal, policy = self.journal, self.policy
        longest = policy.lease + policy.request_timeout + policy.window
        fences = [believed(journal.create_until, longest, self.seen.journal_at, self.shared_now)]
        if self.seen.create_lost_at is not None:
            fences.append(self.seen.create_lost_at + policy.request_timeout + policy.window)
        if journal.candidate is not None and journal.holder not in (None, policy.runner):
            # The lease holder might have sent one until its lease ended.
            lease_until = believed(journal.lease_until, policy.lease, self.seen.journal_at, self.shared_now)
            fences.append(None if lease_until is None else lease_until + policy.window)
        return max((fence for fence in fences if fence is not None), default=None)

    @property
    def crowded(self) -> bool:
        """Whether the account has no room for the new secret, as far as the list or the provider tell."""
        return self.full or self.seen.create_refused is not None

    def may_retire(self, entry: Retiring) -> datetime:
        """Return from when on a recorded secret may be revoked.

        While old and new fill the account, the provider refuses a create that lands late. So not even a compromised
        secret is revoked while a create might be under way.
        """
        early = self.forced and self.crowded
        grace_over = min(self.now, entry.not_before) if early else entry.not_before
        return max(grace_over, self.late_create_until or grace_over)

    @property
    def due(self) -> Set[str]:
        """The recorded ids that may be revoked now, as far as time goes; never the published secret's own."""
        recorded = self.journal.retiring_ids - self.journal.named_ids
        return {
            entry.id for entry in self.journal.retiring if entry.id in recorded and self.may_retire(entry) <= self.now
        }

    # --- waiting -------------------------------------------------------------------------------------------------

    def since(self, awaited: Awaited) -> datetime | None:
        """Return since when something is awaited, in this run or an earlier one."""
        here, verification = self.seen.waiting_since.get(awaited), self.journal.verification
        if awaited is not Awaited.CANDIDATE or verification is None or self.seen.creates:
            return here
        of_this = verification.rotation_id == self.journal.rotation_id and verification.since <= self.now
        return verification.since if of_this else here

    def waited(self, awaited: Awaited) -> timedelta:
        """Return how long something was awaited; never less than nothing, whatever clocks say."""
        since = self.since(awaited)
        return timedelta() if since is None else max(self.now - since, timedelta())

    def max_wait(self, awaited: Awaited) -> timedelta:
        """Return how long something is awaited at most."""
        return self.policy.verify_timeout if awaited is Awaited.CANDIDATE else self.policy.window

    def may_wait(self, awaited: Awaited) -> bool:
        """Return whether something may be awaited for longer."""
        return self.since(awaited) is None or self.waited(awaited) < self.max_wait(awaited)

    def pause(self, awaited: Awaited) -> Pause:
        """Return a pause: a tenth of a second at first, then a third of the time waited, up to five seconds."""
        return Pause(min(max(self.waited(awaited) / 3, _SHORTEST_PAUSE), LONGEST_PAUSE), awaited)

    def candidate_pause(self) -> Pause | None:
        """Return the next pause of a run that waits for its candidate; None if the run has waited long enough.

        Every run looks at least twice, a few seconds apart.
        """
        delay = max(self.waited(Awaited.CANDIDATE) / 3, _SHORTEST_PAUSE)
        if not self.seen.paused:
            delay = min(delay, _SECOND_LOOK)
        return Pause(delay, Awaited.CANDIDATE) if self.seen.paused + delay <= LONGEST_PAUSE else None

    @property
    def next_look(self) -> datetime:
        """When a later run looks at the candidate again."""
        return self.now + min(max(self.waited(Awaited.CANDIDATE) / 3, LONGEST_PAUSE), LONGEST_LOOK)
