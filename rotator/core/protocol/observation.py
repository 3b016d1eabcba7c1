"""Facts of a run besides the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import SecretStr

from rotator.core.protocol.journal import Answered, Identity, Journal, Request, Retiring
from rotator.core.protocol.steps import Awaited, Credential
from rotator.core.protocol.version import Version


@dataclass(frozen=True, slots=True)
class Published:
    """rotator's fields of the document that consumers read.

    Attributes:
        version: Its KV version; 0 if it was never written.
        written_at: When Vault stored that version.
        expires_at: When Vault deletes that version by itself; None: never.
        api_key: The account that the document names; None if it names none.
        path: Its path below the mount; None if that is not known.
        field: The name of the field for the value; None if that is not known.
        secret: The value; None if there is none, or the version is deleted.
        lacks_value: Whether the version is not deleted, and that field contains no value.
        has_fields: Whether the version contains any field.
        overwritten: The names of the fields that contain something, and that a publish overwrites; the value's only if
            that is no text.
        undelete: The command that restores a deleted version; None if it is not deleted, or destroyed.
        secret_id: The id that the document names.
        rotated_at: The date that the document names.
    """

    version: int = 0
    written_at: datetime | None = None
    expires_at: datetime | None = None
    api_key: str | None = None
    path: str | None = None
    field: str | None = None
    secret: SecretStr | None = None
    lacks_value: bool = False
    has_fields: bool = False
    overwritten: tuple[str, ...] = ()
    undelete: str | None = None
    secret_id: str | None = None
    rotated_at: datetime | None = None

    @property
    def shows_history(self) -> bool:
        """Whether rotator might have published here before: a field of rotator's is left, or a version was deleted.

        rotator publishes no document without a value and a key. An id or a date beside neither can be another's.
        """
        is_deleted = self.version > 0 and self.secret is None and not self.lacks_value
        can_be_own = self.secret is not None or self.api_key is not None
        return is_deleted or (can_be_own and (self.secret_id is not None or self.rotated_at is not None))


@dataclass(frozen=True, slots=True)
class Listing:
    """The provider's list.

    Attributes:
        via: The credential that fetched it. It is valid, therefore.
        created: Id to creation time.
        fetched_at: When it was fetched; None: just now. A run can be interrupted for a long time before it uses
            the list.
    """

    via: Credential
    created: Mapping[str, datetime]
    fetched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Facts of this run besides the journal. Facts that are None or False are not known yet.

    Attributes:
        published: As last read; always read after the journal, so that it is never older.
        journal_at: When Vault stored the journal that was read, by Vault's clock.
        journal_read_at: When it was read, by Vault's clock; None if Vault did not say.
        journal_asked_at: When the request to read it was sent, by this instance's clock.
        observed_at: When both documents had been read, by this instance's clock.
        journal_expires_at: When Vault deletes that version by itself; None: never.
        journal_lost: The journal was deleted: it has a version but no data, or had one when it was last read.
        journal_undelete: The command that restores it; None if Vault cannot restore it.
        request: The request of this run's caller, until a journal write contains it.
        identified: The id of the value that this run restored or adopted.
        replaced: Whether that value replaced the one that the journal describes.
        wanted_again: Whether a person has that value published although it might be compromised: `adopt --replace`.
        listing: The provider's list; dropped after every change and every wait.
        refused: Credentials that the provider answered with 401.
        recorded: The value at the journal's published_version, once that version was read; None if it is gone.
        recorded_read: Whether it was.
        unchanged_until: The last version up to which each one from the recorded one on contains that value, as far as
            this run read them; 0 if it read none.
        earlier_tried: Whether older versions of the published document were tried, in vain.
        earlier_ids: The ids that those versions name.
        withheld: Those versions that this run does not publish again, because their secrets might be compromised.
        prepared_here: This run generated the candidate itself, so no other instance can have sent it.
        creates: How often this run sent the create.
        answered: The id that the provider answered to it.
        create_lost_at: When this run last sent a create whose answer was lost, in the time that all instances share. Or
            when it began, if an earlier run of this process left its lease: that run might have sent one.
        create_refused: The provider's error if it certainly did not create the candidate.
        value_refused: Whether that error concerns the value itself.
        values: How many candidates this run generated.
        waiting_since: Since when this run has been waiting for something.
        paused: How long this run waited for the candidate.
        revokes: How often this run sent a revocation that was not confirmed.
        revoke_lost_at: The same for revocations.
        revoked: Ids that the provider confirmed to be revoked.
        beside_revoked: The other ids in the list before this run's last revocation.
        absent: Ids that the provider did not find when rotator tried to revoke them.
        rewritten_over: The version over which this run wrote the published document again, unchanged; None if the
            journal did not speak of it.
        rotated: This run published a new secret already.
    """

    published: Published
    journal_at: datetime | None = None
    journal_read_at: datetime | None = None
    journal_asked_at: datetime | None = None
    observed_at: datetime | None = None
    journal_expires_at: datetime | None = None
    journal_lost: bool = False
    journal_undelete: str | None = None
    request: Request | None = None
    identified: Identity | None = None
    replaced: bool = False
    wanted_again: bool = False
    listing: Listing | None = None
    refused: frozenset[Credential] = frozenset()
    recorded: SecretStr | None = None
    recorded_read: bool = False
    unchanged_until: int = 0
    earlier_tried: bool = False
    earlier_ids: frozenset[str] = frozenset()
    withheld: frozenset[int] = frozenset()
    prepared_here: bool = False
    creates: int = 0
    answered: Answered | None = None
    create_lost_at: datetime | None = None
    create_refused: str | None = None
    value_refused: bool = False
    values: int = 0
    waiting_since: Mapping[Awaited, datetime] = field(default_factory=dict)
    paused: timedelta = timedelta()
    revokes: int = 0
    revoke_lost_at: datetime | None = None
    revoked: frozenset[str] = frozenset()
    beside_revoked: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    rewritten_over: int | None = None
    rotated: bool = False

    @property
    def created(self) -> Mapping[str, datetime]:
        """The listed ids and when each was created; none while the list was not fetched."""
        return self.listing.created if self.listing else {}

    @property
    def via(self) -> Credential | None:
        """The credential that fetched the list, if it was fetched."""
        return self.listing.via if self.listing else None


def is_recorded(journal: Journal, published: Published) -> bool:
    """Return whether the value in a version of the published document is the one that the journal speaks of."""
    same_time = None in (journal.published_at, published.written_at) or journal.published_at == published.written_at
    return published.version == journal.published_version and same_time and is_in_recorded_place(journal, published)


def recorded_version(journal: Journal) -> Version | None:
    """Return the version of the published document that a journal speaks of; None if not all of that is known."""
    at, path, name = journal.published_at, journal.published_path, journal.published_field
    if at is None or path is None or name is None:
        return None
    return Version(journal.published_version, at, path, name)


def recorded_entries(journal: Journal) -> tuple[Retiring, ...]:
    """Return the entries of secrets that are recorded for revocation, with the one in the mark."""
    mark = journal.publishing
    return journal.retiring if mark is None or mark.entry is None else (*journal.retiring, mark.entry)


def answered_in(journal: Journal) -> dict[str, Version]:
    """Return ids that the provider answered to creates, and the versions with the values to which they belong.

    rotator recorded both together. A document alone proves nothing: a person can copy an id into it.
    """
    known = [(entry.identity, entry.published_in) for entry in recorded_entries(journal)]
    known.append((journal.current, recorded_version(journal)))
    return {
        identity.id: version
        for identity, version in known
        if identity is not None and identity.is_answered and identity.id is not None and version is not None
    }


def published_with_candidate(journal: Journal, published: Published) -> str | None:
    """Return the id that a run published together with the candidate, before any journal named it; None if none did.

    Only an answered id is published with a candidate, in the version after the recorded one. A person can have written
    the id in a later version, and leave the previous secret's id if they publish the candidate by hand.
    """
    is_first = published.version == journal.published_version + 1
    if journal.candidate is None or published.secret != journal.candidate or not is_first:
        return None
    return published.secret_id if published.secret_id not in journal.ids_before else None


def is_version(version: Version, published: Published) -> bool:
    """Return whether this is a recorded version, read from the recorded field of the recorded document.

    A document that was deleted with its history and written again has the same numbers, and other times.
    """
    recorded = (version.number, version.written_at, version.path, version.value_field)
    return recorded == (published.version, published.written_at, published.path, published.field)


def is_in_recorded_place(journal: Journal, published: Published) -> bool:
    """Return whether the journal speaks of the path and of the field for the value that the configuration names.

    Both can change in the configuration: another field or document can contain another value.
    """
    return _is_same(journal.published_field, published.field) and is_at_recorded_path(journal, published)


def is_at_recorded_path(journal: Journal, published: Published) -> bool:
    """Return whether the journal speaks of the path that the configuration names."""
    return _is_same(journal.published_path, published.path)


def is_marked_elsewhere(journal: Journal, published: Published) -> bool:
    """Return whether the marked write goes to another path than the configuration names: this document ends no mark."""
    mark = journal.publishing
    return mark is not None and not _is_same(mark.path, published.path)


def _is_same(stored: str | None, configured: str | None) -> bool:
    """Whether a stored name is the configured one. An earlier version of rotator did not store it."""
    return None in (stored, configured) or stored == configured
