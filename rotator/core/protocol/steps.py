"""Steps of a run, as `decide` returns them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.core.failures import Command as Command  # noqa: PLC0414 - the rules name commands with their steps
from rotator.core.protocol.journal import Journal, Trigger


class Credential(StrEnum):
    """The credential of a request to the provider."""

    PUBLISHED = "published"
    CANDIDATE = "candidate"
    PRIMARY = "primary"


class Awaited(StrEnum):
    """Facts that a pause waits for."""

    CANDIDATE = "candidate"  # the candidate authenticates, or is listed
    PUBLISHED = "published"  # the published secret authenticates after all
    LISTED = "listed"  # the published secret's id is listed
    LOOK = "look"  # the next list of an elimination


class Event(StrEnum):
    """Meaning of a journal write; the name of its log event."""

    ADOPTED = "account.adopted"
    CAUGHT_UP = "journal.updated"
    REDATED = "account.date_corrected"
    CLEARED = "account.recovered"
    CLAIMED = "lease.acquired"
    COMMITTED = "rotation.recorded"
    GONE = "revocation.recorded"
    RELEASED = "lease.released"
    REQUESTED = "request.recorded"
    LOOKED = "secret.listed"
    IDENTIFIED = "secret.identified"
    MISSED = "secret.missing"
    UNMARKED = "publishing.ended"
    GIVEN_UP = "candidate.given_up"
    REFRESHED = "journal.refreshed"


class Reason(StrEnum):
    """Why there is nothing to do at the moment."""

    IDLE = "idle"
    GRACE = "grace"
    IDENTIFYING = "identifying"  # an id is being eliminated
    HELD = "held"
    LEASED = "leased"
    BACKOFF = "backoff"
    FULL = "full"
    LATE_CREATE = "late_create"
    LATE_REVOCATION = "late_revocation"
    VERIFYING = "verifying"  # the candidate does not authenticate yet
    STOPPED = "stopped"  # the process is to end
    WINDOW = "window"  # due, but outside its windows
    WITHDRAWN = "withdrawn"  # the request is not recorded any more, and nothing was replaced
    RATE_LIMITED = "rate_limited"  # the provider limits the requests of this key


class Failure(StrEnum):
    """Why a run cannot go on."""

    NOT_ADOPTED = "not_adopted"
    PUBLISHED_LOST = "published_lost"
    CREDENTIALS = "credentials"
    AMBIGUOUS = "ambiguous"
    UNVERIFIED = "unverified"
    UNLISTED = "unlisted"
    FULL = "full"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    FOREIGN_DOCUMENT = "foreign_document"
    UNCONFIRMED_DOCUMENT = "unconfirmed_document"
    FOREIGN_JOURNAL = "foreign_journal"
    JOURNAL_LOST = "journal_lost"


@dataclass(frozen=True, slots=True)
class List:
    """Fetch the provider's list of secrets with this credential."""

    using: Credential


@dataclass(frozen=True, slots=True)
class ReadRecorded:
    """Read the version of the published document that the journal speaks of."""


@dataclass(frozen=True, slots=True)
class RestoreEarlierVersion:
    """Search the older versions of the published document for a value that authenticates, and publish it again."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Generate a candidate and write it into the journal, before the provider knows it."""

    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Create:
    """Send the candidate to the provider."""

    using: Credential


@dataclass(frozen=True, slots=True)
class Publish:
    """Make the verified candidate the published secret; the id is None while it is not certain."""

    secret_id: str | None


@dataclass(frozen=True, slots=True)
class Refresh:
    """Write the published document again, over the version that was read.

    Attributes:
        secret_id: The published secret's id, if the document is to name it from now on; None: change nothing.
        why: For the log.
    """

    why: str
    secret_id: str | None = None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Delete this recorded id."""

    id: str
    using: Credential = Credential.PUBLISHED


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Write this journal (check-and-set)."""

    event: Event
    journal: Journal


@dataclass(frozen=True, slots=True)
class Poll:
    """Wait for a short time, then look again."""

    delay: timedelta
    awaited: Awaited


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing to do before `until` (None: until something changes).

    Attributes:
        journal: The journal to leave behind; None: only release the lease.
        resumes: Whether a command may wait for `until` and run again, as long as the account makes progress.
    """

    reason: Reason
    until: datetime | None
    detail: str
    next_command: Command | None = None
    journal: Journal | None = None
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """Stop, with the state as it is.

    Attributes:
        failure: The code.
        what: The finding.
        next_command: The command that makes progress.
        advice: The effect of that command, or a check to do first.
    """

    failure: Failure
    what: str
    next_command: Command
    advice: str


Step = (
    List
    | ReadRecorded
    | RestoreEarlierVersion
    | Prepare
    | Create
    | Publish
    | Refresh
    | Revoke
    | WriteJournal
    | Poll
    | Stop
    | Fail
)
CHANGING_STEPS = (RestoreEarlierVersion, Prepare, Create, Publish, Refresh, Revoke, WriteJournal)
