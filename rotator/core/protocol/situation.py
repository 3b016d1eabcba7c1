"""Input of the rules: the facts of a run and conclusions from them."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.core.copies import replace
from rotator.core.protocol.ids import Ids
from rotator.core.protocol.journal import Journal, RequestKind, Retiring, Trigger, ids_of
from rotator.core.protocol.leaks import is_leaked, might_be_leaked
from rotator.core.protocol.observation import Observation, is_in_recorded_place, is_recorded
from rotator.core.protocol.policy import Policy
from rotator.core.protocol.requests import is_published, requested, speaks_of
from rotator.core.protocol.steps import Awaited, Poll

# A run waits this long for one account at most; for longer waits it ends and a later run continues.
LONGEST_PAUSE = timedelta(seconds=5)
# The longest time between two looks at a candidate.
LONGEST_LOOK = timedelta(seconds=30)
_SHORTEST_PAUSE, _SECOND_LOOK = timedelta(milliseconds=100), timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Situation(Ids):
    """All that a rule looks at."""

    @classmethod
    def of(cls, seen: Observation, journal: Journal, policy: Policy, now: datetime) -> "Situation":
        """Return the situation of a run."""
        case = cls(seen, journal, policy, now, requested(seen, journal, now))
        until = case.lost_journal_until
        if until == case.journal.lost_journal_until:
            return case
        return replace(case, journal=replace(case.journal, lost_journal_until=until))

    # --- request -----------------------------------------------------------------------------------------------------

    @property
    def requested(self) -> bool:
        """Whether a person wants the published secret replaced."""
        request = self.journal.request
        if request is None:
            return False
        if not self.candidate_published:
            return is_published(request, self.journal, self.seen.published)
        if self.request_is_of_candidate:
            return False
        if request.of.id is None:  # it speaks of what the candidate has replaced
            return 0 < request.of.version < self.seen.published.version
        return request.of.id in self.journal.named_ids

    @property
    def request_is_of_unrecorded(self) -> bool:
        """Whether the request names a version that no run recorded, which can contain another secret."""
        request = self.journal.request
        if request is None or self.journal.current is None or request.value_digest is None:
            return False
        return self.requested and request.of.version not in (0, self.journal.published_version)

    @property
    def request_is_of_previous(self) -> bool:
        """Whether the request is for the journal's secret, which the published candidate has replaced.

        If the recorded value is gone, an unrecorded version counts as an edit of another field.
        """
        recorded = self.seen.recorded
        is_other = recorded is not None and not speaks_of(self.journal.request, recorded)
        return self.requested and not (self.request_is_of_unrecorded and is_other)

    @property
    def request_is_of_candidate(self) -> bool:
        """Whether the request came after the candidate was published, and is for the candidate."""
        return speaks_of(self.journal.request, self.journal.candidate)

    @property
    def candidate_is_compromised(self) -> bool:
        """Whether the candidate leaked, and consumers do not read it any more.

        A run published it and died, a person asked to replace it, and another version was published by hand.
        """
        if self.journal.candidate is None or self.candidate_published:
            return False
        if is_leaked(self.journal, self.journal.candidate):
            return True
        request = self.journal.request
        if request is None:
            return False
        of_this = request.kind is RequestKind.COMPROMISED and self.request_is_of_candidate
        return of_this or self.candidate_id in request.earlier_ids

    @property
    def leaked_id_is_unknown(self) -> bool:
        """Whether each secret without a known value can be one that leaked.

        If a user added the leaked value again, it has another id than its request names.
        """
        request = self.journal.request
        if might_be_leaked(self.journal):
            return True
        if request is None or request.kind is not RequestKind.COMPROMISED:
            return False
        return not ids_of(request.of.id) <= self.listed | self.gone

    @property
    def forced(self) -> bool:
        """Whether the request allows to revoke recorded secrets before their grace periods end."""
        request = self.journal.request
        if not self.policy.begins and self.journal.candidate is None:
            return False  # room is of no use yet
        return self.requested and request is not None and request.kind.is_urgent

    @property
    def compromised(self) -> bool:
        """Whether the published secret leaked."""
        request = self.journal.request
        return self.requested and request is not None and request.kind is RequestKind.COMPROMISED

    @property
    def wanted(self) -> bool:
        """Whether a rotation is to begin, if nothing prevents it."""
        if not self.policy.begins:
            return False
        if self.requested:
            return True
        due_at = self.policy.due_at
        rotated_at = self.journal.rotated_at
        if due_at is None or self.seen.rotated:
            return False
        return rotated_at is None or due_at(rotated_at) <= self.now

    @property
    def trigger(self) -> Trigger:
        """Why a rotation would begin now."""
        if not self.requested:
            return self.policy.trigger
        return Trigger.COMPROMISED if self.compromised else Trigger.MANUAL

    # --- what may be revoked when ------------------------------------------------------------------------------------

    @property
    def rewrite_is_unrecorded(self) -> bool:
        """Whether the journal speaks of the version of the published document that this run wrote again, unchanged."""
        return self.seen.rewritten_over == self.journal.published_version == self.seen.published.version - 1

    @property
    def replaced_unrecorded_version(self) -> bool:
        """Whether consumers could read another value between the recorded one and the published one, or elsewhere.

        A person might have published any earlier secret there. A version counts if this run did not read it, or if it
        does not contain the recorded value. An edit of another field does not count.
        """
        journal = self.journal
        published = self.seen.published
        if is_recorded(journal, published):
            return False
        known = max(journal.published_version, self.seen.unchanged_until)
        follows = journal.published_version < published.version <= known + 1
        return not (follows and is_in_recorded_place(journal, published))

    @property
    def crowded(self) -> bool:
        """Whether the account has no room for the new secret, as far as the list or the provider tell."""
        return self.full or self.seen.create_refused is not None

    def grace_over(self, entry: Retiring) -> datetime:
        """Return when the grace period of a recorded secret is over.

        A compromised secret was due when that was written down, by a clock that might be ahead.
        """
        return self.not_after(entry.not_before, timedelta()) if entry.compromised else entry.not_before

    @property
    def full_by_grace(self) -> bool:
        """Whether nothing but grace periods keeps the account full: that is a rule of the account's own."""
        really_full = len(self.listed - self.gone) >= self.policy.max_secrets
        in_grace = [self.grace_over(entry) > self.now for entry in self.in_the_way]
        return really_full and bool(in_grace) and all(in_grace)

    @property
    def in_the_way(self) -> tuple[Retiring, ...]:
        """The retiring secrets that the list shows. One that lists lack takes no room."""
        return tuple(entry for entry in self.journal.retiring if entry.id in self.listed)

    def may_retire(self, entry: Retiring) -> datetime:
        """Return from when on a recorded secret may be revoked.

        While old and new fill the account, the provider refuses a create that lands late. So not even a compromised
        secret is revoked while a create might be under way.
        """
        grace_ends = self.grace_ends(entry)
        return max(grace_ends, self.late_create_until or grace_ends)

    def grace_ends(self, entry: Retiring) -> datetime:
        """Return when a recorded secret's grace period is over, or a request ends it to make room."""
        over = self.grace_over(entry)
        return min(self.now, over) if self.forced and entry.id in self.making_room else over

    @property
    def making_room(self) -> Set[str]:
        """The listed ids whose revocation gives the new secret room: no more than needed, the first due ones.

        Those that nothing can revoke yet come last: pending ones, and in an outage those that the published document
        named.
        """
        left = self.listed - self.gone
        needed = max(len(left) + 1 - self.policy.max_secrets, 1 if self.seen.create_refused is not None else 0)
        entries = sorted(
            (entry for entry in self.journal.retiring if entry.id in left - self.journal.named_ids),
            key=lambda entry: (entry.is_pending, entry.id in self.seen.earlier_ids, self.grace_over(entry)),
        )
        return {entry.id for entry in entries[:needed]}

    @property
    def due(self) -> Set[str]:
        """The recorded ids that may be revoked now, as far as time goes; never the published secret's own."""
        recorded = self.journal.retiring_ids - self.journal.named_ids
        return {
            entry.id for entry in self.journal.retiring if entry.id in recorded and self.may_retire(entry) <= self.now
        }

    # --- waiting -----------------------------------------------------------------------------------------------------

    def since(self, awaited: Awaited) -> datetime | None:
        """Return since when something is awaited, in this run or an earlier one."""
        here = self.seen.waiting_since.get(awaited)
        verification = self.journal.verification
        if awaited is not Awaited.CANDIDATE or verification is None or self.seen.creates:
            return here
        of_this = verification.rotation_id == self.journal.rotation_id and verification.since <= self.shared_now
        return self.local(verification.since) if of_this else here

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

    def pause(self, awaited: Awaited) -> Poll:
        """Return a pause: a tenth of a second at first, then a third of the time waited, up to five seconds."""
        return Poll(min(max(self.waited(awaited) / 3, _SHORTEST_PAUSE), LONGEST_PAUSE), awaited)

    def candidate_pause(self) -> Poll | None:
        """Return the next pause of a run that waits for its candidate; None if the run has waited long enough.

        Every run looks at least twice, a few seconds apart.
        """
        delay = max(self.waited(Awaited.CANDIDATE) / 3, _SHORTEST_PAUSE)
        if not self.seen.paused:
            delay = min(delay, _SECOND_LOOK)
        return Poll(delay, Awaited.CANDIDATE) if self.seen.paused + delay <= LONGEST_PAUSE else None

    @property
    def next_look(self) -> datetime:
        """When a later run looks at the candidate again."""
        return self.now + min(max(self.waited(Awaited.CANDIDATE) / 3, LONGEST_PAUSE), LONGEST_LOOK)
