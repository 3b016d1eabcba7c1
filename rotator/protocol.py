"""The rotation protocol: what to do next, decided purely; imports nothing of rotator.

`decide(observation, journal, policy, now)` looks at what is known and names one `Step`. It does no I/O, reads
no clock and makes no randomness. The interpreter (rotation.py) performs the step, adds what it learned to
the observation and asks again. A crash anywhere only means that the next run starts with less known: every
state that a crash can leave behind is an ordinary input here. docs/protocol.md tells why the order is what it is.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b

from pydantic import SecretStr

# How often one run sends the same request that got no answer before it leaves the rest to a later run.
MAX_SENDS = 3
# How many values the provider may refuse in one run before a person has to look at the secret's rules.
MAX_VALUES = 3

BACKOFF_FIRST = timedelta(minutes=1)
BACKOFF_CAP = timedelta(hours=1)
# The longest that an account is left alone: a rate limit may say so.
LONGEST_BACKOFF = timedelta(days=1)
# An instant that lies further ahead than it can, and by more than this, was written by a clock that is wrong.
CLOCK_TOLERANCE = timedelta(hours=1)


class Phase(StrEnum):
    """Where an account stands, as people and dashboards see it."""

    IDLE = "idle"
    PREPARED = "prepared"
    OVERLAP = "overlap"
    AMBIGUOUS = "ambiguous"


class Trigger(StrEnum):
    """Why a rotation was begun."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    COMPROMISED = "compromised"
    BOOTSTRAP = "bootstrap"
    RESCUE = "rescue"


class Credential(StrEnum):
    """What a request to the provider authenticates with."""

    PUBLISHED = "published"
    CANDIDATE = "candidate"
    PRIMARY = "primary"


class Awaited(StrEnum):
    """What a pause waits for."""

    CANDIDATE = "candidate"  # to authenticate, or to be listed
    PUBLISHED = "published"  # to authenticate after all
    LISTED = "listed"  # the published secret's id


@dataclass(frozen=True, slots=True)
class Retiring:
    """A recorded secret that is to be revoked, not before an instant; a compromised one is never published again."""

    id: str
    not_before: datetime
    compromised: bool = False
    unknown_fields: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Journal:
    """What rotator remembers of one account between runs; the document beside the published one.

    Attributes:
        current_id: The provider's id of the published secret; None until adopted, or if nobody can tell.
        rotated_at: When the published secret came to be.
        published_version: The KV version of the published document that this journal speaks of.
        published_at: When Vault took that version; None if that is not known. A document that was deleted with its
            history and written again has the same numbers.
        rotation_id: Ties the log lines of one rotation together.
        trigger: Why the rotation in hand, or the last one, was begun.
        candidate: The value on its way to being published; None while no rotation is in hand.
        ids_before: The ids that the provider listed before the candidate was created.
        create_until: Until then, a create sent by an *earlier* holder may still be carried out.
        retiring: Recorded ids to revoke, and when.
        holder: The runner that has the account to itself, until lease_until.
        attempts: Failed runs since the last good one.
        next_attempt_at: Before then nothing is tried unless somebody asks for it by name.
        last_error: What the last failed run said; never a secret.
        failure: Code of that failure (errors.Code); older journals contain the name of the error's class.
        ambiguity: Set while the account holds something that rotator cannot account for.
        unknown_ids: The ids that it cannot account for, where they are known.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    current_id: str | None = None
    rotated_at: datetime | None = None
    published_version: int = 0
    published_at: datetime | None = None
    rotation_id: str | None = None
    trigger: Trigger | None = None
    candidate: SecretStr | None = None
    ids_before: frozenset[str] = frozenset()
    create_until: datetime | None = None
    retiring: tuple[Retiring, ...] = ()
    holder: str | None = None
    lease_until: datetime | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str | None = None
    failure: str | None = None
    ambiguity: str | None = None
    unknown_ids: frozenset[str] = frozenset()
    unknown_fields: str = field(default="", repr=False)

    @property
    def phase(self) -> Phase:
        """Derived, so that no journal can contradict itself."""
        if self.ambiguity:
            return Phase.AMBIGUOUS
        if self.candidate is not None:
            return Phase.PREPARED
        return Phase.OVERLAP if self.retiring else Phase.IDLE

    @property
    def retiring_ids(self) -> frozenset[str]:
        """The ids recorded for revocation."""
        return frozenset(entry.id for entry in self.retiring)


@dataclass(frozen=True, slots=True)
class Published:
    """The document that consumers read: its KV version (0: never written), when Vault took it, rotator's fields."""

    version: int = 0
    written_at: datetime | None = None
    secret: SecretStr | None = None
    secret_id: str | None = None
    rotated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The provider's list: id -> creation time, and whose credential fetched it (which proves that it works)."""

    via: Credential
    created: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class Observation:
    """What this run knows besides the journal. Facts that are None or False were not looked at yet.

    Attributes:
        published: As last read; always read after the journal, so that it is never older.
        journal_at: When Vault took the journal that was read, by Vault's clock.
        listing: The provider's list; dropped after every change and every wait.
        refused: Credentials that the provider answered with 401.
        recorded: The value at the journal's published_version, once that version was read; None if it is gone.
        recorded_read: Whether it was.
        earlier_tried: Whether older versions of the published document were tried, in vain.
        prepared_here: This run chose the candidate itself, so nobody else can have sent it.
        creates: How often this run sent the create.
        created_id: The id that the provider answered to it.
        create_lost_at: When this run last sent a create whose answer was lost.
        create_refused: What the provider said when it certainly did not create the candidate.
        value_refused: Whether it said that of the value itself.
        values: How many candidates this run chose.
        waiting_since: Since when this run has been waiting for something.
        revokes: How often this run sent a revocation that was not answered.
        revoked: Ids that the provider confirmed to be gone.
        rotated: This run published a new secret already.
    """

    published: Published
    journal_at: datetime | None = None
    listing: Listing | None = None
    refused: frozenset[Credential] = frozenset()
    recorded: SecretStr | None = None
    recorded_read: bool = False
    earlier_tried: bool = False
    prepared_here: bool = False
    creates: int = 0
    created_id: str | None = None
    create_lost_at: datetime | None = None
    create_refused: str | None = None
    value_refused: bool = False
    values: int = 0
    waiting_since: Mapping[Awaited, datetime] = field(default_factory=dict)
    revokes: int = 0
    revoked: frozenset[str] = frozenset()
    rotated: bool = False

    @property
    def created(self) -> Mapping[str, datetime]:
        """The listed ids and when each was created; none while the list was not looked at."""
        return self.listing.created if self.listing else {}

    @property
    def via(self) -> Credential | None:
        """Whose credential fetched the list, if it was looked at."""
        return self.listing.via if self.listing else None


@dataclass(frozen=True, slots=True)
class Policy:
    """What is wanted of this run.

    Attributes:
        runner: Who runs; unique to a process.
        account: The account's name, for messages.
        due_at: From when on a secret published at an instant is to be replaced; None: never begin a rotation.
        explicit: Somebody asked for this account by name: back-off is ignored.
        force: A full account's recorded secrets may be revoked before their grace is over.
        compromised: Nothing has any grace.
        revoke: Whether anything may be revoked; otherwise it stays recorded for a later run.
        trigger: Why a rotation would be begun.
        known_id: The id of the published secret, if a person says so.
        has_primary: Whether a primary account may act for this one.
        grace: How long a replaced secret keeps working.
        verify_timeout: How long a candidate is awaited.
        max_secrets: How many secrets the account may have.
        lease: How long a claim lasts.
        request_timeout: The longest that one request to the provider takes.
        settle: How long the provider may contradict itself: carry out a request after its timeout, refuse a secret
            that is valid, not list one that works.
    """

    runner: str
    account: str
    due_at: Callable[[datetime], datetime] | None = None
    explicit: bool = False
    force: bool = False
    compromised: bool = False
    revoke: bool = True
    trigger: Trigger = Trigger.SCHEDULE
    known_id: str | None = None
    has_primary: bool = False
    grace: timedelta = timedelta(hours=24)
    verify_timeout: timedelta = timedelta(minutes=5)
    max_secrets: int = 2
    lease: timedelta = timedelta(minutes=2)
    request_timeout: timedelta = timedelta(seconds=10)
    settle: timedelta = timedelta(seconds=30)


def older_than(asked_at: datetime) -> Callable[[datetime], datetime]:
    """For `Policy.due_at`: replace what was published before this instant, and nothing else."""
    always, never = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return lambda rotated_at: always if rotated_at < asked_at else never


class Event(StrEnum):
    """What a journal write means; the name of its log line."""

    ADOPTED = "account.adopted"
    CAUGHT_UP = "account.caught_up"
    REDATED = "account.redated"
    CLEARED = "account.cleared"
    CLAIMED = "rotation.claimed"
    COMMITTED = "rotation.committed"
    SETTLED = "rotation.settled"
    RELEASED = "rotation.released"


class Reason(StrEnum):
    """Why there is nothing to do at the moment."""

    IDLE = "idle"
    GRACE = "grace"
    HELD = "held"
    LEASED = "leased"
    BACKOFF = "backoff"
    FULL = "full"
    LATE_CREATE = "late_create"
    CLOCK = "clock"  # the published secret is of a time to come
    STOPPED = "stopped"  # the process is to end
    WINDOW = "window"  # due, but outside its windows


class Failure(StrEnum):
    """Why a run cannot go on."""

    NOT_ADOPTED = "not_adopted"
    CREDENTIALS = "credentials"
    AMBIGUOUS = "ambiguous"
    UNVERIFIED = "unverified"
    UNLISTED = "unlisted"
    FULL = "full"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class List:
    """Fetch the provider's list of secrets with this credential."""

    using: Credential


@dataclass(frozen=True, slots=True)
class ReadRecorded:
    """Read the version of the published document that the journal speaks of."""


@dataclass(frozen=True, slots=True)
class TryEarlier:
    """Look for an older version of the published document whose value authenticates, and publish it again."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Choose a candidate and write it into the journal, before the provider knows it."""

    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Create:
    """Send the candidate to the provider."""

    using: Credential


@dataclass(frozen=True, slots=True)
class Publish:
    """Make the verified candidate the published secret; the id is None if nobody can tell it."""

    secret_id: str | None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Delete this recorded id, authenticated with the published secret."""

    id: str


@dataclass(frozen=True, slots=True)
class Record:
    """Write this journal (check-and-set)."""

    event: Event
    journal: Journal


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so long, then look again."""

    delay: timedelta
    awaited: Awaited


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before `until` (None: until something changes)."""

    reason: Reason
    until: datetime | None
    detail: str


@dataclass(frozen=True, slots=True)
class Fail:
    """Stop, with the state as it is: what was found, and what a person should do."""

    failure: Failure
    what: str
    next_step: str


Step = List | ReadRecorded | TryEarlier | Prepare | Create | Publish | Revoke | Record | Pause | Rest | Fail
CHANGING_STEPS = (TryEarlier, Prepare, Create, Publish, Revoke, Record)


def decide(observation: Observation, journal: Journal, policy: Policy, now: datetime) -> Step:
    """The next step for one account.

    Args:
        observation: What this run knows of Vault's published document and of the provider.
        journal: The account's journal as last read or written.
        policy: What is wanted.
        now: The present, aware UTC.
    """
    case = _Case(observation, journal, policy, now)
    for rule in _RULES:
        step = rule(case)
        if step is not None:
            return step
    return _rest(case)


@dataclass(frozen=True, slots=True)
class _Case:
    """All that a rule looks at."""

    seen: Observation
    journal: Journal
    policy: Policy
    now: datetime

    @property
    def listed(self) -> frozenset[str]:
        return frozenset(self.seen.created)

    @property
    def held(self) -> bool:
        """Whether this runner has the lease, with time for one more request on it."""
        return has_lease(self.journal, self.policy, self.now)

    @property
    def candidate_published(self) -> bool:
        return self.journal.candidate is not None and self.seen.published.secret == self.journal.candidate

    @property
    def candidate_works(self) -> bool:
        return self.seen.via is Credential.CANDIDATE

    @property
    def wanted(self) -> bool:
        """Whether a rotation is to be begun, if nothing stands in its way."""
        due_at, rotated_at = self.policy.due_at, self.journal.rotated_at
        if due_at is None or self.seen.rotated:
            return False
        return rotated_at is None or due_at(rotated_at) <= self.now

    @property
    def full(self) -> bool:
        return len(self.listed) >= self.policy.max_secrets

    def may_retire(self, entry: Retiring) -> datetime:
        """From when on a recorded secret may be revoked.

        While old and new fill the account, a create that lands late is refused for want of room; so not
        even a compromised secret is revoked while one may be on its way.
        """
        early = self.policy.compromised or (self.policy.force and self.wanted and self.full)
        grace_over = min(self.now, entry.not_before) if early else entry.not_before
        return max(grace_over, self.late_create_until or grace_over)

    @property
    def late_create_until(self) -> datetime | None:
        """Until when a create of this rotation may still be carried out; None: every one was answered."""
        journal, policy = self.journal, self.policy
        longest = policy.lease + policy.request_timeout + policy.settle
        fences = [_believed(journal.create_until, longest, self.seen.journal_at, self.now)]
        if self.seen.create_lost_at is not None:
            fences.append(self.seen.create_lost_at + policy.request_timeout + policy.settle)
        if journal.candidate is not None and journal.holder not in (None, policy.runner):
            # Whoever had the lease may have sent one until its end.
            lease_until = _believed(journal.lease_until, policy.lease, self.seen.journal_at, self.now)
            fences.append(None if lease_until is None else lease_until + policy.settle)
        return max((fence for fence in fences if fence is not None), default=None)

    def waited(self, awaited: Awaited) -> timedelta:
        return self.now - self.seen.waiting_since.get(awaited, self.now)

    def patience(self, awaited: Awaited) -> timedelta:
        return self.policy.verify_timeout if awaited is Awaited.CANDIDATE else self.policy.settle

    def may_wait(self, awaited: Awaited) -> bool:
        """Whether it was not awaited for long enough yet."""
        return awaited not in self.seen.waiting_since or self.waited(awaited) < self.patience(awaited)

    def pause(self, awaited: Awaited) -> Pause:
        """A tenth of a second at first, then a third of the time already waited, up to a bound that keeps looks few."""
        longest = max(timedelta(seconds=5), self.patience(awaited) / 60)
        return Pause(min(max(self.waited(awaited) / 3, timedelta(milliseconds=100)), longest), awaited)


def has_lease(journal: Journal, policy: Policy, now: datetime) -> bool:
    """Whether the runner holds the account long enough for one more request to the provider.

    Checked by the rules, and again by the interpreter right before it sends: a process may have been stopped
    in between.
    """
    return (
        journal.holder == policy.runner
        and journal.lease_until is not None
        and now + policy.request_timeout < journal.lease_until
    )


def leased_elsewhere(
    journal: Journal, policy: Policy, now: datetime, *, journal_at: datetime | None
) -> datetime | None:
    """Until when another runner has the account to itself; None if none has at the moment.

    Args:
        journal_at: When Vault took the journal, by Vault's clock; None if that is not known.
    """
    if journal.holder in (None, policy.runner):
        return None
    until = _believed(journal.lease_until, policy.lease, journal_at, now)
    return until if until is not None and until > now else None


def _believed(at: datetime | None, longest: timedelta, written_at: datetime | None, now: datetime) -> datetime | None:
    """An instant in the journal; one that cannot be lasts as long as it can from when Vault took it.

    Only then: Vault's clock may be wrong as well, and an instant that can be is believed.
    """
    if at is None or written_at is None or at <= now + longest + CLOCK_TOLERANCE:
        return at
    return min(at, written_at + longest)


def is_recorded(journal: Journal, published: Published) -> bool:
    """Whether the published document is the one that the journal speaks of, or somebody has changed it by hand."""
    same_time = None in (journal.published_at, published.written_at) or journal.published_at == published.written_at
    return published.version == journal.published_version and same_time


# --- the rules, in order; the first that names a step wins ---------------------------------------------------


def _leased_elsewhere(case: _Case) -> Step | None:
    until = leased_elsewhere(case.journal, case.policy, case.now, journal_at=case.seen.journal_at)
    return Rest(Reason.LEASED, until, f"{case.journal.holder} is at work on it") if until else None


def _backing_off(case: _Case) -> Step | None:
    at = case.journal.next_attempt_at
    if at is None or case.policy.explicit or case.journal.holder == case.policy.runner:
        return None
    if not case.now < at <= case.now + LONGEST_BACKOFF + CLOCK_TOLERANCE:
        return None
    return Rest(Reason.BACKOFF, at, f"attempt {case.journal.attempts} failed: {case.journal.last_error}")


def _commit(case: _Case) -> Step | None:
    """The candidate is published: say so in the journal, with what is to be revoked and when."""
    if not case.candidate_published:
        return None
    return Record(Event.COMMITTED, _committed(case))


def _settle(case: _Case) -> Step | None:
    """What was revoked, or is gone from a list that shows the published secret's id, is no longer retiring."""
    gone = case.seen.revoked
    if case.journal.current_id in case.listed and case.journal.candidate is None:
        gone |= case.journal.retiring_ids - case.listed
    if not gone & case.journal.retiring_ids:
        return None
    left = tuple(entry for entry in case.journal.retiring if entry.id not in gone)
    settled = _released(replace(case.journal, retiring=left), case)
    return Record(Event.SETTLED, settled if left else replace(settled, create_until=None))


def _done(case: _Case) -> Step | None:
    """The last recorded secret was just revoked, by a list fetched just before: there is no more to look at."""
    nothing_left = case.journal.candidate is None and not case.journal.retiring and not case.wanted
    if case.seen.listing is None and case.seen.revoked and nothing_left:
        return _clear(case) or _rest(case)
    return None


def _send_new_candidate(case: _Case) -> Step | None:
    """This run chose the candidate and has not sent it: no need to ask whether it is live."""
    if not case.seen.prepared_here or case.seen.creates or case.seen.listing is None:
        return None
    if case.journal.candidate is None or case.full:
        return None
    return _with_lease(case, Create(case.seen.listing.via))


def _list(case: _Case) -> Step | None:
    """Look at the provider with the first credential that is not known to be refused.

    An unfinished candidate goes first: that it authenticates is what has to be found out. A published secret
    that is refused is everybody's outage: then whatever else still works is used to mend it. One refusal may be a
    mistake, though, and what mends an outage makes one of a mistake: it is believed if it goes on.
    """
    seen = case.seen
    if seen.listing is not None and (case.journal.candidate is not None or not case.candidate_works):
        return None
    if case.journal.candidate is not None:
        if Credential.CANDIDATE not in seen.refused:
            return List(Credential.CANDIDATE)
        if seen.created_id is not None and case.may_wait(Awaited.CANDIDATE):
            return _with_lease(case, case.pause(Awaited.CANDIDATE))
    if seen.published.secret is not None:
        if Credential.PUBLISHED not in seen.refused:
            return List(Credential.PUBLISHED)
        if case.may_wait(Awaited.PUBLISHED):
            return case.pause(Awaited.PUBLISHED)
    if seen.published.version > 1 and not seen.earlier_tried:
        return _with_lease(case, TryEarlier())
    if case.policy.has_primary and Credential.PRIMARY not in seen.refused:
        return List(Credential.PRIMARY)
    return _out_of_reach(case)


def _continue(case: _Case) -> Step | None:
    """Bring an unfinished rotation to the point where the candidate is published."""
    if case.journal.candidate is None:
        return None
    if case.candidate_works:
        return _with_lease(case, _publish(case))
    new = unaccounted(case.seen, case.journal)
    if not new:
        return _with_lease(case, _create(case))
    if _may_be_ours(case) and case.journal.ambiguity is None and case.may_wait(Awaited.CANDIDATE):
        return _with_lease(case, case.pause(Awaited.CANDIDATE))
    return _not_valid(case, new)


def _recover(case: _Case) -> Step | None:
    """Nothing published, or what is published is refused: create through the primary, which is all that works."""
    if case.seen.via is not Credential.PRIMARY:
        return None
    if case.full:
        return Fail(
            Failure.FULL,
            f"the account has {len(case.listed)} of {case.policy.max_secrets} secrets and rotator knows the "
            "value of none that works, so it can neither add one nor tell which one may go",
            f"Give it a value that works: rotator adopt {case.policy.account}",
        )
    return Prepare(Trigger.BOOTSTRAP if case.seen.published.secret is None else Trigger.RESCUE)


def _identify(case: _Case) -> Step | None:
    """Find out which listed id belongs to the published value, at adoption and after a change by hand.

    It is told by elimination, so the list has to be complete: one that lacks an id that should be there is asked for
    again.
    """
    journal, seen = case.journal, case.seen
    if seen.via is not Credential.PUBLISHED:
        return None
    named, changed, excluded = None, False, journal.retiring_ids
    if not is_recorded(journal, seen.published):
        if journal.current_id is not None and not seen.recorded_read:
            return ReadRecorded()
        changed = journal.current_id is None or seen.recorded != seen.published.secret
        if not changed and journal.current_id in case.listed:
            return Record(Event.CAUGHT_UP, _caught_up(case))
        if changed:
            # Whoever changed the value may have left secret_id as it was: an id that it names is looked for, no more.
            named = seen.published.secret_id if seen.published.secret_id != journal.current_id else None
            excluded = frozenset() if seen.recorded is None else frozenset(filter(None, [journal.current_id]))
    elif journal.current_id in case.listed:
        return None
    if case.policy.known_id in case.listed:
        return Record(Event.ADOPTED, _adopted(case, str(case.policy.known_id)))
    missing = {journal.current_id, named} - {None} - case.listed
    pool = case.listed - excluded
    if (missing or not pool) and case.may_wait(Awaited.LISTED):
        return case.pause(Awaited.LISTED)
    if not changed and journal.current_id is not None:
        return _unlisted(case)
    if len(pool) == 1:
        return Record(Event.ADOPTED, _adopted(case, *pool))
    if named in pool and seen.published.version == 1:  # id and value were written together
        return Record(Event.ADOPTED, _adopted(case, str(named)))
    return Fail(
        Failure.AMBIGUOUS,
        f"the published secret works, but which of the listed ids is its own cannot be told: {_names(case.listed)}",
        f"Say which: rotator adopt {case.policy.account} --secret-id ID",
    )


def _unaccounted(case: _Case) -> Step | None:
    unknown = unaccounted(case.seen, case.journal)
    if not unknown:
        return None
    return Fail(
        Failure.AMBIGUOUS,
        f"the account holds {_count(unknown)} that rotator did not create: {_names(unknown)}",
        f"If nobody needs it: rotator resolve {case.policy.account}",
    )


def _redate(case: _Case) -> Step | None:
    """No secret is younger than the document that holds it: one dated by a clock that was ahead would get too old."""
    rotated_at, written_at = case.journal.rotated_at, case.seen.published.written_at
    latest = case.now + CLOCK_TOLERANCE
    if rotated_at is None or written_at is None or rotated_at <= latest or written_at > latest:
        return None  # if Vault agrees with the journal, it is this clock that is wrong
    return Record(Event.REDATED, replace(case.journal, rotated_at=written_at))


def _retire(case: _Case) -> Step | None:
    """Revoke what is due. Both the published secret and the one to go are in a list fetched just now."""
    due = {entry.id for entry in case.journal.retiring if case.may_retire(entry) <= case.now}
    if not due or not case.policy.revoke:
        return None
    first = min(due)
    if case.seen.revokes >= MAX_SENDS:
        return Fail(
            Failure.UNANSWERED,
            f"the provider still lists {first} after {case.seen.revokes} requests to revoke it",
            "The next run tries again",
        )
    early = any(entry.not_before > case.now for entry in case.journal.retiring if entry.id in due)
    if case.held and not early:
        return Revoke(first)
    # That something goes before its time is written down first, as everything is that may be half done when a run dies.
    return Record(Event.CLAIMED, replace(_claimed(case), retiring=tuple(_due_now(case, due))))


def _begin(case: _Case) -> Step | None:
    if not case.wanted:
        return None
    if case.full:
        return _wait_for_room(case)
    return Prepare(case.policy.trigger)


def _clear(case: _Case) -> Step | None:
    """All is well: forget what was wrong, and give back a lease that was not needed."""
    journal = case.journal
    if journal.ambiguity or journal.attempts or journal.last_error:
        return Record(Event.CLEARED, _released(journal, case))
    if journal.holder == case.policy.runner:
        return Record(Event.RELEASED, _released(journal, case))
    return None


def _await_the_present(case: _Case) -> Step | None:
    """Whoever asks for a new secret is told if the clocks leave open whether there has been one since."""
    rotated_at = case.journal.rotated_at
    if not case.policy.explicit or case.policy.due_at is None or case.seen.rotated:
        return None
    if rotated_at is None or rotated_at <= case.now:
        return None
    return Rest(
        Reason.CLOCK,
        None,
        f"the published secret is dated {rotated_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, which is ahead of this "
        "machine's clock: nothing was rotated; set the clock right, or ask again when it is past that",
    )


_RULES: tuple[Callable[[_Case], Step | None], ...] = (
    _leased_elsewhere,
    _backing_off,
    _commit,
    _settle,
    _done,
    _send_new_candidate,
    _list,
    _identify,
    _continue,
    _recover,
    _unaccounted,
    _redate,
    _retire,
    _begin,
    _clear,
    _await_the_present,
)


def _rest(case: _Case) -> Rest:
    if not case.journal.retiring:
        return Rest(Reason.IDLE, None, "nothing is due")
    until = min(case.may_retire(entry) for entry in case.journal.retiring)
    if until <= case.now:
        return Rest(Reason.HELD, None, f"{_names(case.journal.retiring_ids)} is due, but nothing may be revoked now")
    return Rest(Reason.GRACE, until, f"{_names(case.journal.retiring_ids)} is revoked then")


# --- parts of the rules --------------------------------------------------------------------------------------


def _due_now(case: _Case, due: Set[str]) -> Iterator[Retiring]:
    for entry in case.journal.retiring:
        if entry.id in due:
            compromised = entry.compromised or case.policy.compromised
            yield Retiring(entry.id, min(entry.not_before, case.now), compromised)
        else:
            yield entry


def _with_lease(case: _Case, step: Step) -> Step:
    """The step, after this runner has taken or renewed the lease that the step needs.

    Everything the step rests on was seen before the claim. If the claim's check-and-set succeeds, no other
    runner has moved the account since.
    """
    if case.held or isinstance(step, Fail | Rest | Prepare):
        return step
    return Record(Event.CLAIMED, _claimed(case))


def _publish(case: _Case) -> Step:
    """The candidate authenticates. Its id is the one answered, or the only one that was not there before.

    If the id cannot be told, the value is published all the same, because it works; nothing is revoked then before
    it can.
    """
    created_id, new = case.seen.created_id, unaccounted(case.seen, case.journal)
    if (created_id not in new if created_id else not new) and case.may_wait(Awaited.CANDIDATE):
        return case.pause(Awaited.CANDIDATE)
    return Publish(created_id or (next(iter(new)) if len(new) == 1 else None))


def _create(case: _Case) -> Step:
    """The candidate is not live and nothing new is listed: send the same value, unless that was refused."""
    seen, policy = case.seen, case.policy
    if seen.value_refused and seen.values < MAX_VALUES:
        return Prepare(case.journal.trigger or policy.trigger)
    if seen.create_refused is not None:
        return Fail(
            Failure.REFUSED,
            f"the provider refused the new secret: {seen.create_refused}",
            f"Look at the account: rotator status {policy.account}",
        )
    if case.full:
        return Fail(
            Failure.FULL,
            f"the account has {len(case.listed)} of {policy.max_secrets} secrets, there is no room for the new one",
            f"Look at the account: rotator status {policy.account}",
        )
    if seen.creates >= MAX_SENDS:
        return Fail(
            Failure.UNANSWERED,
            f"the provider did not carry out {seen.creates} requests to create the new secret",
            "The next run sends the same one again",
        )
    late = case.late_create_until
    if late is not None and late > case.now and len(case.listed) + 1 < policy.max_secrets:
        # With room to spare a create that lands late would not be refused: wait it out.
        return Rest(Reason.LATE_CREATE, late, "an earlier create may still be carried out")
    return Create(seen.via or Credential.PUBLISHED)


def _may_be_ours(case: _Case) -> bool:
    """Whether something new in the list can be the candidate: it was sent, and not just once and refused."""
    seen = case.seen
    return seen.create_refused is None or seen.creates > 1 or not seen.prepared_here


def _not_valid(case: _Case, new: frozenset[str]) -> Fail:
    """Something new is listed, and the candidate does not authenticate. Both are kept for the next run."""
    if case.seen.created_id in new:
        return Fail(
            Failure.UNVERIFIED,
            f"the provider created the new secret {case.seen.created_id}, but it did not authenticate in time",
            "The next run tries it again; if that goes on, raise verify_timeout",
        )
    return Fail(
        Failure.AMBIGUOUS,
        f"{_count(new)} appeared while a new one was being created, which does not authenticate: {_names(new)}",
        f"If nobody needs it: rotator resolve {case.policy.account}",
    )


def _out_of_reach(case: _Case) -> Fail:
    account, seen = case.policy.account, case.seen
    primary = ", and so are its primary's credentials" if Credential.PRIMARY in seen.refused else ""
    if seen.published.secret is None:
        return Fail(
            Failure.NOT_ADOPTED,
            f"nothing is published for the account yet{primary}",
            f"Give it the secret in use today: rotator adopt {account}",
        )
    return Fail(
        Failure.CREDENTIALS,
        f"the provider refuses the published secret (401){primary}; no earlier version of it works either",
        f"Give it a secret that works: rotator adopt {account}",
    )


def _unlisted(case: _Case) -> Fail:
    account, id_ = case.policy.account, case.journal.current_id
    return Fail(
        Failure.UNLISTED,
        f"the published secret works, but the provider does not list its id {id_}; it lists {_names(case.listed)}",
        f"The next run looks again; if its id is another one by now: rotator adopt {account} --secret-id ID",
    )


def _wait_for_room(case: _Case) -> Rest:
    """Everything listed is accounted for and the account holds two at least, so something is retiring."""
    until = min(case.may_retire(entry) for entry in case.journal.retiring)
    return Rest(
        Reason.FULL,
        until if until > case.now else None,
        f"the account is full until {_names(case.journal.retiring_ids)} is revoked; --force does not wait for that",
    )


# --- journals ------------------------------------------------------------------------------------------------


def prepared(
    observation: Observation,
    journal: Journal,
    policy: Policy,
    now: datetime,
    *,
    trigger: Trigger,
    candidate: SecretStr,
    rotation_id: str,
) -> Journal:
    """The journal that says: this candidate will be created. It also takes the lease.

    Args:
        trigger: Why the rotation is begun.
        candidate: A new value, never sent anywhere yet.
        rotation_id: A new name for the rotation.
    """
    case = _Case(observation, journal, policy, now)
    late = case.late_create_until
    return replace(
        _claimed(case),
        rotation_id=rotation_id,
        trigger=trigger,
        candidate=candidate,
        ids_before=case.listed,
        create_until=late if late is not None and late > now else None,
        ambiguity=None,
        unknown_ids=frozenset(),
    )


def unaccounted(observation: Observation, journal: Journal) -> frozenset[str]:
    """The listed ids that rotator cannot account for, as far as the listing shows."""
    before = journal.ids_before if journal.candidate is not None else frozenset()
    return frozenset(observation.created) - before - journal.retiring_ids - {journal.current_id}


def resolved(
    observation: Observation, journal: Journal, policy: Policy, now: datetime, revoke: frozenset[str]
) -> Journal:
    """The journal after a person said that these unaccounted ids may go: they are recorded as retiring, at once.

    A candidate that never authenticated is given up with them; if its create should still be under way, nothing
    is revoked before that is over.
    """
    may_go = revoke & unaccounted(observation, journal) - {observation.published.secret_id}
    entries = tuple(Retiring(id_, now) for id_ in sorted(may_go))
    return replace(
        _well(released(observation, journal, policy, now)),
        candidate=None,
        ids_before=frozenset(),
        retiring=journal.retiring + entries,
    )


def failed(
    observation: Observation,
    journal: Journal,
    policy: Policy,
    now: datetime,
    error: str,
    *,
    failure: str,
    ambiguous: bool,
) -> Journal:
    """The journal after a run that failed: the error, when to try again, the lease given back.

    Args:
        error: What happened, for people; never a secret.
        failure: Code of the failure.
        ambiguous: Whether the account holds something that rotator cannot account for. An ambiguity found
            earlier stays until a run finds it gone.
    """
    attempts = journal.attempts + 1
    parked = released(observation, journal, policy, now)
    return replace(
        parked,
        attempts=attempts,
        next_attempt_at=now + backoff(policy.account, attempts),
        last_error=error,
        failure=failure,
        ambiguity=error if ambiguous else journal.ambiguity,
        unknown_ids=unaccounted(observation, journal) if ambiguous else journal.unknown_ids,
    )


def backoff(account: str, attempts: int) -> timedelta:
    """How long to leave an account alone after so many failures in a row: a minute, doubled up to an hour.

    Up to a quarter less, differently for each account and attempt, so that accounts that failed together are not
    tried again together.
    """
    longest: timedelta = min(BACKOFF_FIRST * 2 ** min(attempts - 1, 16), BACKOFF_CAP)
    digest = blake2b(f"{account}/{attempts}".encode(), digest_size=8).digest()
    share: float = int.from_bytes(digest) / (1 << 64)
    return longest * (1.0 - share / 4)


def released(observation: Observation, journal: Journal, policy: Policy, now: datetime) -> Journal:
    """The journal with the lease given back and whatever may still be under way written down."""
    create_until = _Case(observation, journal, policy, now).late_create_until
    return replace(journal, holder=None, lease_until=None, create_until=create_until)


def claimed(observation: Observation, journal: Journal, policy: Policy, now: datetime) -> Journal:
    """The journal with this runner's lease, whoever had it before."""
    return _claimed(_Case(observation, journal, policy, now))


def _claimed(case: _Case) -> Journal:
    """With this runner's lease; what an earlier holder may have sent counts as under way until it cannot be."""
    lease_until = case.now + case.policy.lease
    create_until = case.late_create_until
    return replace(case.journal, holder=case.policy.runner, lease_until=lease_until, create_until=create_until)


def _committed(case: _Case) -> Journal:
    journal, published = case.journal, case.seen.published
    create_until = case.late_create_until
    at_once = case.policy.compromised or journal.trigger is Trigger.COMPROMISED
    grace_over = case.now + case.policy.grace
    entries = {entry.id: entry.not_before for entry in journal.retiring}
    if journal.current_id is not None:
        entries[journal.current_id] = grace_over
    elif journal.trigger is Trigger.BOOTSTRAP:
        # The first secret of an account that its primary brought in: what was there before goes, too.
        entries |= dict.fromkeys(sorted(journal.ids_before), grace_over)
    entries = {id_: case.now if at_once else at for id_, at in entries.items() if id_ != published.secret_id}
    compromised = {entry.id for entry in journal.retiring if entry.compromised}
    done = replace(
        _well(journal),
        current_id=published.secret_id,
        rotated_at=published.rotated_at or case.now,
        published_version=published.version,
        published_at=published.written_at,
        candidate=None,
        ids_before=frozenset(),
        create_until=create_until,
        retiring=tuple(Retiring(id_, at, at_once or id_ in compromised) for id_, at in entries.items()),
    )
    due_now = any(max(at, create_until or at) <= case.now for at in entries.values())
    lease_until = case.now + case.policy.lease
    return replace(done, holder=case.policy.runner if due_now else None, lease_until=lease_until if due_now else None)


def _adopted(case: _Case, id_: str) -> Journal:
    """The journal in which `id_` is the published secret's.

    Recorded ids stay recorded. At the first adoption whatever is older than the published secret is recorded
    as retiring; whatever is not stays unaccounted for.
    """
    journal, created = case.journal, case.seen.created
    grace_over = case.now + case.policy.grace
    entries = {entry.id: entry for entry in journal.retiring}
    if journal.current_id is not None:
        entries[journal.current_id] = Retiring(journal.current_id, grace_over)
    elif journal.rotated_at is None:
        older = sorted(other for other, at in created.items() if at < created[id_])
        entries |= {other: Retiring(other, grace_over) for other in older}
    return replace(
        _caught_up(case),
        current_id=id_,
        rotated_at=created[id_],
        retiring=tuple(entry for other, entry in entries.items() if other != id_ and other in created),
    )


def _caught_up(case: _Case) -> Journal:
    """Speaking of the document as it is now."""
    published = case.seen.published
    return replace(case.journal, published_version=published.version, published_at=published.written_at)


def _released(journal: Journal, case: _Case) -> Journal:
    """At rest and well: no lease, no error, nothing unaccounted for."""
    mine = journal.holder in (None, case.policy.runner)
    return replace(
        _well(journal),
        holder=None if mine else journal.holder,
        lease_until=None if mine else journal.lease_until,
    )


def _well(journal: Journal) -> Journal:
    """With nothing that went wrong, and nothing unaccounted for."""
    return replace(
        journal,
        attempts=0,
        next_attempt_at=None,
        last_error=None,
        failure=None,
        ambiguity=None,
        unknown_ids=frozenset(),
    )


def _names(ids: frozenset[str]) -> str:
    return ", ".join(sorted(ids))


def _count(ids: frozenset[str]) -> str:
    return "a secret" if len(ids) == 1 else f"{len(ids)} secrets"
