"""Instants of a run: the time by several clocks, leases, lists, and creates that might land late."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.core.protocol.journal import Doubt, Identity, Journal, Retiring
from rotator.core.protocol.observation import Observation
from rotator.core.protocol.policy import Policy

# An instant that lies further ahead than it can, by more than this, was written by a wrong clock.
CLOCK_TOLERANCE = timedelta(hours=1)
# Vault tells its time in whole seconds: two instances that ask it differ by that much.
CLOCK_RESOLUTION = timedelta(seconds=1)

_NEW = Journal()


@dataclass(frozen=True, slots=True)
class Instants:
    """The facts of a run, and the instants that follow from them.

    Attributes:
        stored: The journal as Vault has it.
        journal: The same with the caller's request in it. Every journal that a rule writes begins with this one.
    """

    seen: Observation
    stored: Journal
    policy: Policy
    now: datetime
    journal: Journal

    # --- clocks ------------------------------------------------------------------------------------------------------

    @property
    def vault_now(self) -> datetime | None:
        """The time by Vault's clock, or an earlier one; None if Vault did not say.

        This instance's clock only measures the run, from the moment when both documents had been read.
        """
        read_at = self.seen.journal_read_at
        observed_at = self.seen.observed_at
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

    @property
    def latest_now(self) -> datetime:
        """The shared time or a later one, measured from before the journal was read.

        How long Vault took to answer is not known apart. So whatever another instance is to believe for long enough (a
        lease, a create that might land late) goes by the later time, as does the question whether this instance's own
        lease is over. Whether another instance's is over goes by `shared_now`.
        """
        read_at = self.seen.journal_read_at
        asked_at = self.seen.journal_asked_at
        if read_at is None or asked_at is None:
            return self.shared_now
        return max(read_at + (self.now - asked_at), self.shared_now)

    def local(self, at: datetime | None) -> datetime | None:
        """Return an instant of the time that all instances share in this instance's clock."""
        return None if at is None else at + (self.now - self.shared_now)

    def shared(self, at: datetime) -> datetime:
        """Return an instant of this instance's clock in the time that all instances share."""
        return at + (self.shared_now - self.now)

    def not_after(self, at: datetime, longest: timedelta) -> datetime:
        """Return an instant of the journal, or its latest possible value if it lies further ahead than it can.

        Args:
            at: The instant, by the clock of the instance that wrote it.
            longest: How far ahead of that clock it lay at most. The journal was stored then, or later.
        """
        written_at = self.seen.journal_at
        if at <= self.now + longest or written_at is None:
            return at
        if self.vault_now is None:
            return believed(at, longest, written_at, self.now) or at
        return min(at, written_at + (self.now - self.vault_now) + longest)

    def not_before(self, at: datetime, span: timedelta) -> datetime:
        """Return the instant, or a later one if the journal is not as old as this span by Vault's clock.

        Another instance can have written the journal by a clock that is hours away from this one's.
        """
        written_at = self.seen.journal_at
        vault_now = self.vault_now
        if written_at is None or vault_now is None:
            return at
        left = span - (vault_now - written_at) - CLOCK_RESOLUTION
        return max(at, self.now + left) if left > timedelta() else at

    def window_after(self, noted_at: datetime) -> datetime:
        """Return when the consistency window is over after an instant that another clock wrote down as its present."""
        since = self.not_after(noted_at, timedelta())
        return self.not_before(since + self.policy.window, self.policy.window)

    @property
    def listed_at(self) -> datetime:
        """Time at which the list was fetched. Its content is valid for this time."""
        fetched_at = self.seen.listing.fetched_at if self.seen.listing is not None else None
        return self.now if fetched_at is None else min(fetched_at, self.now)

    # --- lease and creates -------------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether this instance holds the lease, with time for one more request."""
        return has_lease(self.journal, self.policy, self.latest_now)

    @property
    def leased_until(self) -> datetime | None:
        """When another instance's lease expires, by this instance's clock; None if no other instance holds one."""
        journal_at = self.seen.journal_at
        return self.local(leased_elsewhere(self.journal, self.policy, self.shared_now, journal_at=journal_at))

    @property
    def lease_until(self) -> datetime:
        """When a lease expires that this instance acquires now, in the time that all instances share."""
        return self.latest_now + self.policy.lease

    @property
    def late_create_until(self) -> datetime | None:
        """Until when a create might still be carried out, by this instance's clock; None: every one was answered."""
        return self.local(self.create_until)

    @property
    def create_until(self) -> datetime | None:
        """The same in the time that all instances share, for the journal."""
        journal = self.journal
        policy = self.policy
        longest = policy.lease + policy.request_timeout + policy.window
        create_until = believed(journal.create_until, longest, self.seen.journal_at, self.shared_now)
        fences = [create_until, journal.lost_journal_until]
        if self.seen.create_lost_at is not None:
            fences.append(self.ends_after(self.seen.create_lost_at))
        if journal.candidate is not None:
            fences.append(self._lease_holders_until)
        return max((fence for fence in fences if fence is not None), default=None)

    @property
    def late_revocation_until(self) -> datetime | None:
        """Until when a revocation might still be carried out, by this instance's clock; None: none was sent.

        A run sends one under its lease, and writes the journal before it and, unless it dies, after it.
        """
        fences = [self.journal.lost_journal_until]
        if self.journal.retiring or self.journal.publishing is not None:
            sent = (at for at in (self.seen.journal_at, self.seen.revoke_lost_at) if at is not None)
            fences += [self._lease_holders_until, *(self.ends_after(at) for at in sent)]
        return self.local(max((fence for fence in fences if fence is not None), default=None))

    @property
    def lost_journal_until(self) -> datetime | None:
        """Until when a request might be carried out that a run sent under a lost journal, in the shared time.

        None: none can have been sent, or that is over. An empty journal knows of no request. That proves nothing if it
        takes the place of a deleted one, or of another account's, or if the published document has a history: the
        account's journal was deleted with its metadata, or has another path now. Its last lease began when a deleted
        version was stored at the latest; without such a version, it might begin now.
        """
        stored = self.stored
        is_lost = stored == _NEW and self._had_a_journal
        if stored.lost_journal_until is None and not is_lost:
            return None
        longest = self.policy.lease + CLOCK_RESOLUTION + self.policy.request_timeout + self.policy.window
        until = believed(stored.lost_journal_until, longest, self.seen.journal_at, self.shared_now)
        if is_lost:
            until = (self.seen.journal_at or self.latest_now) + longest
        return until if until is not None and until > self.shared_now else None

    @property
    def _had_a_journal(self) -> bool:
        seen = self.seen
        return seen.journal_lost or seen.journal_at is not None or seen.published.shows_history

    @property
    def unfinished_until(self) -> datetime | None:
        """Until when a run under this journal might send a request, or one might be carried out, by this clock.

        None: there is no such run. A rotation or a write that a run left behind counts until the requests are over of a
        lease that began when the journal was stored.
        """
        journal = self.journal
        fences = [self.leased_until]
        if journal.candidate is not None or journal.publishing is not None:
            fences.append(self.late_create_until)
            if self.seen.journal_at is not None:
                fences.append(self.local(self.ends_after(self.seen.journal_at + self.policy.lease)))
        until = max((fence for fence in fences if fence is not None), default=None)
        return until if until is not None and until > self.now else None

    def ends_after(self, sent_at: datetime) -> datetime:
        """Return until when a request might be carried out that was sent at an instant of the time that all share.

        Vault tells whole seconds, so its clock might have shown almost one more when the request was sent.
        """
        return sent_at + CLOCK_RESOLUTION + self.policy.request_timeout + self.policy.window

    @property
    def _lease_holders_until(self) -> datetime | None:
        """Until when a request of another instance that has the lease might be carried out; None if no other has it.

        It might have sent one until its lease ended.
        """
        journal = self.journal
        policy = self.policy
        if journal.lease_holder in (None, policy.instance):
            return None
        lease_until = believed(journal.lease_until, policy.lease, self.seen.journal_at, self.shared_now)
        return None if lease_until is None else lease_until + policy.window

    # --- ids ---------------------------------------------------------------------------------------------------------

    def look_at(self, identity: Identity | None) -> datetime | None:
        """Return when the next list counts for a pending identity; None if it is not pending."""
        if identity is None or not identity.is_pending or identity.next_look is None:
            return None
        spacing = self.policy.window if identity.looks == 0 else self.policy.window / 2
        return self.not_before(self.not_after(identity.next_look, self.policy.window), spacing)

    def is_recent(self, noted_at: datetime) -> bool:
        """Return whether the list at hand is from the consistency window after a note of the present."""
        return self.listed_at < self.window_after(noted_at)

    def gone_at(self, entry: Retiring) -> datetime | None:
        """Return when a retiring id that lists lack counts as gone; None if none of them lacked it."""
        return None if entry.missing_since is None else self.window_after(entry.missing_since)

    @property
    def last_doubt_until(self) -> datetime | None:
        """Until when doubtful ids of an earlier list count although lists lack them by now; None if there were none."""
        before = self.journal.last_doubt
        return None if before is None else self.window_after(before.seen_at)

    def confirmed_at(self, noticed: Doubt) -> datetime:
        """Return from when on a list confirms ids that were noticed, by this instance's clock.

        They were first seen at an instant of Vault's clock, which tells whole seconds.
        """
        seen_at = believed(noticed.seen_at, timedelta(), self.seen.journal_at, self.shared_now) or noticed.seen_at
        return seen_at + self.policy.window + CLOCK_RESOLUTION + (self.now - self.shared_now)


def told_at(read_at: datetime | None, written_at: datetime | None) -> datetime | None:
    """Return when Vault answered; None if Vault did not say, or stored a version of the answer later than that.

    Then two clocks contradict each other: one stored the version, another one dated the answer. The other one is that
    of a proxy, of a standby or of the node before a failover. Such a date does not tell what was there before.

    Args:
        read_at: The date of the answer, in whole seconds.
        written_at: When Vault stored the version; None if there is none.
    """
    if read_at is None or written_at is None:
        return read_at
    return read_at if written_at <= read_at + CLOCK_RESOLUTION else None


def has_lease(journal: Journal, policy: Policy, now: datetime) -> bool:
    """Return whether the instance holds the lease for long enough to send one more request to the provider.

    The rules check it, and the executor checks it again right before it sends: a process might have been stopped
    in between.

    Args:
        now: The time that all instances share or a later one, `Situation.latest_now`.
    """
    return (
        journal.lease_holder == policy.instance
        and journal.lease_until is not None
        and now + policy.request_timeout + CLOCK_RESOLUTION < journal.lease_until
    )


def leased_elsewhere(
    journal: Journal, policy: Policy, now: datetime, *, journal_at: datetime | None
) -> datetime | None:
    """Return when another instance's lease expires, or None if no other instance holds one.

    Args:
        now: The time that all instances share, `Situation.shared_now`.
        journal_at: When Vault stored the journal, by Vault's clock; None if that is not known.
    """
    if journal.lease_holder in (None, policy.instance):
        return None
    until = believed(journal.lease_until, policy.lease, journal_at, now)
    return until if until is not None and until > now else None


def believed(at: datetime | None, longest: timedelta, written_at: datetime | None, now: datetime) -> datetime | None:
    """Return an instant of the journal, or its latest possible value if a wrong clock wrote it.

    A possible time stays unchanged, because Vault's clock might be wrong as well.
    """
    if at is None or written_at is None or at <= now + longest + CLOCK_TOLERANCE:
        return at
    return min(at, written_at + longest)
