"""State of one account between runs."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import SecretStr

from rotator.core.copies import replace
from rotator.core.protocol.version import Version


class Phase(StrEnum):
    """An account's phase, for people and dashboards."""

    IDLE = "idle"
    PREPARED = "prepared"
    OVERLAP = "overlap"
    AMBIGUOUS = "ambiguous"


class Trigger(StrEnum):
    """Why a rotation began."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    COMPROMISED = "compromised"
    BOOTSTRAP = "bootstrap"
    RESCUE = "rescue"


class Learned(StrEnum):
    """How rotator learned which id belongs to a secret."""

    ANSWERED = "answered"  # the provider answered it to the create of this very value
    ELIMINATED = "eliminated"  # several lists left no other id
    PERSON = "person"  # a person named it
    PENDING = "pending"  # being eliminated: nothing may rest on it


@dataclass(frozen=True, slots=True)
class Identity:
    """A secret's id, and how far it can be trusted.

    Attributes:
        id: The id. None while it is pending and the lists leave several.
        learned: How rotator learned it.
        beside: The ids that were listed when it was learned. They belong to other secrets, or to none, unless a person
            named the id: they can be wrong.
        foreign_ids: While pending, or if a person named the id: ids that cannot be this secret's. They were listed
            before its value was first sent, rotator recorded them for another value, or a person had them retired
            while this value was published.
        looks: While pending: how many lists agreed so far.
        next_look: While pending: the earliest instant of the next list that counts.
        restarts: While pending: how often a list disagreed.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    id: str | None
    learned: Learned
    beside: frozenset[str] = frozenset()
    foreign_ids: frozenset[str] = frozenset()
    looks: int = 0
    next_look: datetime | None = None
    restarts: int = 0
    unknown_fields: str = field(default="", repr=False)

    @property
    def is_pending(self) -> bool:
        """Whether the id is still being eliminated."""
        return self.learned is Learned.PENDING

    @property
    def is_answered(self) -> bool:
        """Whether the provider itself named the id."""
        return self.learned is Learned.ANSWERED

    @property
    def is_named(self) -> bool:
        """Whether a person named the id. That is no proof: one of the ids beside it can be the secret's."""
        return self.learned is Learned.PERSON

    @property
    def other_ids(self) -> frozenset[str]:
        """The ids that certainly belong to other secrets."""
        return self.foreign_ids if self.is_named else self.beside


@dataclass(frozen=True, slots=True)
class Retiring:
    """A recorded secret that rotator revokes, not before an instant.

    Attributes:
        id: Its id.
        not_before: The end of its grace period.
        compromised: Whether it must never be published again.
        grace_until: The end that its grace period had before the pending request made it due; None if no request did.
        identity: How its id was learned; None in journals from before that was stored.
        missing_since: The first of several lists that lacked the id after `not_before`.
        published_in: The version that contains its value; None if rotator did not record one.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    id: str
    not_before: datetime
    compromised: bool = False
    grace_until: datetime | None = None
    identity: Identity | None = None
    missing_since: datetime | None = None
    published_in: Version | None = None
    unknown_fields: str = field(default="", repr=False)

    @property
    def is_pending(self) -> bool:
        """Whether its id is still being eliminated."""
        return self.identity is not None and self.identity.is_pending


@dataclass(frozen=True, slots=True)
class Publishing:
    """A write to the published document that might still be applied although its sender died.

    rotator revokes nothing of the account while the journal contains it (invariant I9).

    Attributes:
        over_version: The version that the write replaces. Its check-and-set names the same version.
        entry: The retiring entry of the value that is written; None if its id is not known.
        path: The document's path; None in marks from before that was stored: the one that the configuration names.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    over_version: int
    entry: Retiring | None = None
    path: str | None = None
    unknown_fields: str = field(default="", repr=False)


class RequestKind(StrEnum):
    """Kind of a request, the weakest first."""

    MANUAL = "manual"
    FORCE = "force"
    COMPROMISED = "compromised"

    @property
    def strength(self) -> int:
        """A number that grows with the urgency."""
        return list(RequestKind).index(self)

    @property
    def is_urgent(self) -> bool:
        """Whether the rotation does not wait for the account's own rules."""
        return self is not RequestKind.MANUAL


@dataclass(frozen=True, slots=True)
class Target:
    """Where the secret of a request is found. With neither an id nor a version, rotator cannot tell any more.

    Attributes:
        id: Its id; None if rotator could not tell.
        version: The version of the published document that contains it, where there is no id.
        written_at: When Vault stored that version.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    id: str | None = None
    version: int = 0
    written_at: datetime | None = None
    unknown_fields: str = field(default="", repr=False)

    @property
    def is_unknown(self) -> bool:
        """Whether rotator cannot tell any more where the secret is found."""
        return self.id is None and not self.version


@dataclass(frozen=True, slots=True)
class Request:
    """A requested rotation. It remains if the process that received the request ends.

    Attributes:
        kind: The kind of the request.
        of: The secret to replace: the published one at the time of the request.
        at: The time of the request, for display. No rule compares it.
        by: The user, for display.
        id: Names the request in logs.
        value_digest: A digest of the secret's value. The request begins a rotation only while this value is published.
            None in journals from before that was stored.
        earlier_ids: Ids that compromised requests named which this one replaced: other secrets that leaked.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    kind: RequestKind
    of: Target
    at: datetime
    by: str
    id: str
    value_digest: str | None = field(default=None, repr=False)
    earlier_ids: frozenset[str] = frozenset()
    unknown_fields: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """The id that the provider answered to a create, and the rotation that sent it."""

    rotation_id: str
    id: str
    unknown_fields: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Verification:
    """A candidate that does not authenticate yet, between two runs.

    Attributes:
        rotation_id: The rotation that the candidate belongs to.
        since: When waiting began, by Vault's clock. `verify_timeout` counts from here.
        next_look: When the next run looks again, by Vault's clock.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    rotation_id: str
    since: datetime
    next_look: datetime
    unknown_fields: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Ids that nothing explains, and when a list showed them."""

    ids: frozenset[str]
    seen_at: datetime
    unknown_fields: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Gone:
    """A revoked id. Lists might show it for a while."""

    id: str
    at: datetime
    unknown_fields: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Journal:
    """State of one account between runs. Vault stores it beside the published document.

    Attributes:
        api_key: The account's key; None in journals from before that was stored.
        current: The published secret's id; None until adopted, or while it is ambiguous.
        rotated_at: When the published secret came to be.
        published_version: The KV version of the published document that this journal speaks of.
        published_at: When Vault stored that version; None: not known. A recreated document repeats numbers.
        published_path: Its path; None in journals from before that was stored.
        published_field: The name of its field for the value; None in journals from before that was stored.
        rotation_id: Names the rotation in hand, or the last one.
        trigger: Why that rotation began.
        request: The pending request for a rotation.
        leaked: Digests of values of earlier compromised requests, each after the request's id and a colon. None of them
            is published again. They are forgotten once nothing is unknown, and nothing compromised retiring.
        later_id: The id that the provider answered to a create after these leaks: it is no such value's. None: there
            is none, or a leak was noted since.
        candidate: The value on its way to being published; None while no rotation is in hand.
        candidate_id: The id that the provider answered for the candidate.
        verification: Set while the candidate waits for its next verification.
        ids_before: The ids that a list or a document named before the candidate was created.
        create_until: Until then, by Vault's clock, a create of an *earlier* lease holder might still be carried out.
        lost_journal_until: The same for requests under an *earlier* journal, which is lost; None if there are none.
        publishing: Set while a write to the published document might still be applied.
        retiring: Recorded ids to revoke, and when.
        added_ids: The ids that the provider returned for secrets which a user added. None of them is the published
            secret's, unless another writer publishes another value.
        gone: Revoked ids of the last consistency window.
        lease_holder: The instance that holds the lease, until lease_until.
        lease_until: When the lease expires, by Vault's clock.
        attempts: Failed runs since the last good one; an urgent request counts one of those before it.
        next_attempt_at: Before then only an explicit command or an urgent request retries.
        last_error: The error of the last failed run; never contains a secret.
        failure: The code of that failure.
        ambiguity: Set while the account holds a secret that rotator cannot account for.
        unknown_ids: The ids that it cannot account for, where they are known; a limited number of them.
        last_doubt: The last list that made the published secret's id doubtful; None if no list did.
        noticed: Ids that are unknown once a later list confirms them, and when the last of them was first seen.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    api_key: str | None = None
    current: Identity | None = None
    rotated_at: datetime | None = None
    published_version: int = 0
    published_at: datetime | None = None
    published_path: str | None = None
    published_field: str | None = None
    rotation_id: str | None = None
    trigger: Trigger | None = None
    request: Request | None = None
    leaked: frozenset[str] = field(default=frozenset(), repr=False)
    later_id: str | None = None
    candidate: SecretStr | None = None
    candidate_id: Answered | None = None
    verification: Verification | None = None
    ids_before: frozenset[str] = frozenset()
    create_until: datetime | None = None
    lost_journal_until: datetime | None = None
    publishing: Publishing | None = None
    retiring: tuple[Retiring, ...] = ()
    added_ids: frozenset[str] = frozenset()
    gone: tuple[Gone, ...] = ()
    lease_holder: str | None = None
    lease_until: datetime | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str | None = None
    failure: str | None = None
    ambiguity: str | None = None
    unknown_ids: frozenset[str] = frozenset()
    last_doubt: Doubt | None = None
    noticed: Doubt | None = None
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
    def current_id(self) -> str | None:
        """The published secret's id, once it is certain."""
        return None if self.current is None or self.current.is_pending else self.current.id

    @property
    def answered_id(self) -> str | None:
        """The id that the provider answered to a create of the rotation in hand, or of the last one."""
        answered = self.candidate_id
        return answered.id if answered is not None and answered.rotation_id == self.rotation_id else None

    @property
    def named_ids(self) -> frozenset[str]:
        """The id that the journal names for the published secret, certain or not; empty if it names none."""
        return ids_of(self.current.id if self.current is not None else None)

    @property
    def retiring_ids(self) -> frozenset[str]:
        """The ids recorded for revocation."""
        return frozenset(entry.id for entry in self.retiring)

    @property
    def retiring_compromised(self) -> frozenset[str]:
        """The ids of compromised secrets that are to be revoked, with one in the mark."""
        marked = self.publishing.entry if self.publishing is not None else None
        return ids_of(*(entry.id for entry in (*self.retiring, marked) if entry is not None and entry.compromised))

    @property
    def compromised_ids(self) -> frozenset[str]:
        """The ids that must never be published again.

        They include an id in the mark, and an id whose entry was dropped because lists put it in doubt.
        """
        request = self.request
        ids = self.retiring_compromised
        if request is None:
            return ids
        own = request.of.id if request.kind is RequestKind.COMPROMISED else None
        return ids | (request.earlier_ids | ids_of(own)) - ids_of(self.current_id)

    @property
    def is_urgent(self) -> bool:
        """Whether a person asked for a rotation at once, or, whatever was requested since, a secret is compromised."""
        request = self.request
        return (request is not None and request.kind.is_urgent) or bool(self.compromised_ids)

    def without_retiring(self, ids: frozenset[str]) -> "Journal":
        """Return the journal without these retiring entries."""
        return replace(self, retiring=tuple(entry for entry in self.retiring if entry.id not in ids))

    def without_failure(self) -> "Journal":
        """Return the journal without an error, and without unknown ids."""
        return replace(
            self,
            attempts=0,
            next_attempt_at=None,
            last_error=None,
            failure=None,
            ambiguity=None,
            unknown_ids=frozenset(),
            last_doubt=None,
        )


def ids_of(*ids: str | None) -> frozenset[str]:
    """Return the ids that are known."""
    return frozenset(id_ for id_ in ids if id_ is not None)
