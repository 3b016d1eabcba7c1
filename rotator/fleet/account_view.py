"""The secrets of one account, and the state of each. Reading them needs no lease and changes nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from rotator.config import AccountSettings
from rotator.core.failures import CHECK
from rotator.core.protocol import (
    Credential,
    Fail,
    Journal,
    Listing,
    Observation,
    Policy,
    Published,
    Situation,
    ids_of,
    is_recorded,
    ownership,
    refuse_foreign,
    refuse_lost_journal,
    refuse_lost_secret,
    transitions,
)
from rotator.documents import StoredJournal, load_journal, parse_published
from rotator.errors import Advice, Command, RotatorError, list_of
from rotator.fleet.fleet import Fleet
from rotator.fleet.request import Request, Wanted
from rotator.provider import ApiError, Credentials, Unauthorized
from rotator.rotation import RotationError, recorded_secret

# The request of a command that asks for no rotation.
NO_REQUEST = Request(Wanted.NOTHING_NEW)


class Standing(StrEnum):
    """Role of a live secret."""

    PUBLISHED = "published"  # consumers read it
    RETIRING = "retiring"  # replaced, and recorded to be revoked
    ADDED = "added"  # a person added it with rotator
    NEW = "new"  # on its way to being published, or added meanwhile
    UNKNOWN = "unknown"  # rotator cannot account for it
    REVOKED = "revoked"  # a moment ago: lists can still show it
    IN_DOUBT = "in doubt"  # it can be the published secret


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """One secret of an account: never its value.

    Attributes:
        until: When it is revoked at the earliest, if it is retiring.
    """

    id: str
    created_at: datetime
    standing: Standing
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class View:
    """An account as it stood a moment ago.

    Attributes:
        journal: Its journal.
        journal_version: That document's version; 0 if there is none.
        journal_at: When Vault stored it.
        read_at: When it was read, by Vault's clock; None if Vault did not say.
        asked_at: When the request to read it was sent, by this instance's clock.
        looked_at: When it was read, by this instance's clock.
        published: The published document.
        created: Listed id to creation time. The list was fetched with the published secret.
        current_id: The listed id that the protocol takes for the published secret's; None if there is none.
        doubtful: The listed ids that can be the published secret's; empty if that is certain.
        gone: The ids that were revoked a moment ago.
        unconfirmed: Ids that can be the published secret's until a later list shows its certain one beside them.
    """

    account: AccountSettings
    journal: Journal
    journal_version: int
    journal_at: datetime | None
    read_at: datetime | None
    asked_at: datetime
    looked_at: datetime
    published: Published
    created: Mapping[str, datetime]
    current_id: str | None = None
    doubtful: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    unconfirmed: frozenset[str] = frozenset()

    def situation(self, policy: Policy, now: datetime) -> Situation:
        """Return the account's situation as the protocol sees it."""
        seen = Observation(
            self.published,
            journal_at=self.journal_at,
            journal_read_at=self.read_at,
            journal_asked_at=self.asked_at,
            observed_at=self.looked_at,
            listing=Listing(Credential.PUBLISHED, self.created),
        )
        return Situation.of(seen, self.journal, policy, now)

    @property
    def credentials(self) -> Credentials:
        """The credentials of the account's consumers.

        Raises:
            RotatorError: If nothing is published.
        """
        return _credentials(self.account, self.published)

    @property
    def secrets(self) -> tuple[LiveSecret, ...]:
        """Every live secret, oldest first."""
        return tuple(self.secret(id_, at) for id_, at in sorted(self.created.items(), key=lambda item: item[1]))

    def secret(self, id_: str, created_at: datetime) -> LiveSecret:
        """Return what a live secret is to rotator."""
        until = {entry.id: entry.not_before for entry in self.journal.retiring if entry.id != self.current_id}
        return LiveSecret(id_, created_at, self._standing(id_), until.get(id_))

    def _standing(self, id_: str) -> Standing:
        if id_ in self.doubtful | self.unconfirmed:
            return Standing.IN_DOUBT
        if id_ == self.current_id:
            return Standing.PUBLISHED
        if id_ in self.journal.retiring_ids:
            return Standing.RETIRING
        if id_ in self.journal.added_ids:
            return Standing.ADDED
        if id_ in self.gone:
            return Standing.REVOKED
        if self.journal.candidate is None:
            return Standing.UNKNOWN
        if id_ == self.journal.current_id:
            return Standing.RETIRING  # as soon as the candidate, which is published, is in the journal
        return Standing.UNKNOWN if id_ in self.journal.ids_before else Standing.NEW


def published_credentials(fleet: Fleet, account: AccountSettings) -> Credentials:
    """Read the credentials of the account's consumers from Vault.

    Raises:
        RotatorError: If nothing is published, or Vault cannot be asked.
    """
    stored = load_journal(fleet.vault.read(fleet.settings.journal_path(account)))
    published = parse_published(fleet.vault.read(account.path), account)
    _require_own_documents(fleet, account, stored, published)
    return _credentials(account, published)


def documents_failure(
    fleet: Fleet, account: AccountSettings, stored: StoredJournal, published: Published
) -> Fail | None:
    """Return the failure of documents that name or can be another account's, or were deleted; None if all is well."""
    seen = Observation(published, journal_lost=stored.is_lost, journal_undelete=stored.undelete)
    case = Situation.of(seen, stored.journal, fleet.policy(account, NO_REQUEST), fleet.now())
    fail = refuse_foreign(case) or refuse_lost_journal(case) or ownership.refuse_unknown_fields(case)
    return fail or refuse_lost_secret(case)


def _require_own_documents(fleet: Fleet, account: AccountSettings, stored: StoredJournal, published: Published) -> None:
    """Refuse documents that name another account, and documents that were deleted.

    Raises:
        RotatorError: Then.
    """
    fail = documents_failure(fleet, account, stored, published)
    if fail is not None:
        raise RotationError(fail, unchanged="Nothing was changed")


@contextmanager
def asking(account: AccountSettings, again: Command) -> Iterator[None]:
    """Say of a 401 whose secret the provider refuses, and of other failures how to see whether it works now.

    Args:
        account: The account whose published secret authenticates the request.
        again: The command that sends such a request to the same host, and changes nothing.
    """
    try:
        yield
    except Unauthorized as error:
        raise RotatorError(
            f"The provider refuses the published secret of {account.name} ({account.api_key}){error.reference}",
            unchanged="Nothing was changed",
            next_step="Find out why",
            next_command=Command.of("check", account.name),
        ) from None
    except ApiError as error:
        if error.code.advice is CHECK:
            error.advise(Advice(CHECK.purpose, again))
        raise


def look(fleet: Fleet, account: AccountSettings) -> View:
    """Read the journal, then the published document, then list with the published secret; changes nothing.

    Raises:
        RotatorError: If one of them cannot be had.
    """
    asked_at = fleet.now()
    document = fleet.vault.read(fleet.settings.journal_path(account))
    looked_at = fleet.now()
    stored = load_journal(document)
    journal = stored.journal
    published = parse_published(fleet.vault.read(account.path), account)
    _require_own_documents(fleet, account, stored, published)
    credentials = _credentials(account, published)
    with asking(account, list_of(account.name)):
        infos = fleet.provider.list_secrets(credentials, account.api_key)
    created = {info.id: info.created_at for info in infos}
    view = View(
        account,
        journal,
        journal_version=document.version,
        journal_at=stored.written_at,
        read_at=document.read_at,
        asked_at=asked_at,
        looked_at=looked_at,
        published=published,
        created=created,
    )
    case = _known_case(view, fleet)
    return replace(
        view, current_id=_current_id(case), doubtful=_doubtful(case), gone=case.gone, unconfirmed=case.unconfirmed
    )


def _credentials(account: AccountSettings, published: Published) -> Credentials:
    if published.secret is None:
        step = "Bring the secret in use"
        command = Command.of("adopt", account.name)
        if account.primary is not None:
            step = f"Its primary account {account.primary} can create the first one"
            command = Command.of("rotate-now", account.name)
        raise RotatorError(
            f"Nothing is published for {account.name} at {account.path}",
            unchanged="Nothing was changed",
            next_step=step,
            next_command=command,
        )
    return Credentials(account.api_key, published.secret)


def _known_case(view: View, fleet: Fleet) -> Situation:
    """Return the situation as the next run sees it: an edit of another field changes no secret."""
    case = view.situation(fleet.policy(view.account, NO_REQUEST), fleet.now())
    journal = case.journal
    if journal.current is None or case.candidate_published or is_recorded(journal, view.published):
        return case
    recorded = recorded_secret(fleet.vault, journal, view.account)
    is_same = recorded is not None and recorded == view.published.secret
    return replace(case, journal=transitions.caught_up(case)) if is_same else case


def _current_id(case: Situation) -> str | None:
    """Return the listed id that the protocol takes for the published secret's; it can be doubtful."""
    if case.candidate_published:
        id_ = case.candidate_id
    else:
        id_ = case.journal.current_id if is_recorded(case.journal, case.seen.published) else None
    return id_ if id_ in case.listed else None


def _doubtful(case: Situation) -> frozenset[str]:
    """Return the listed ids that can be the published secret's, if that is not certain.

    One listed id is not certain either: the list can lack a new one.
    """
    current = case.journal.current
    known = ids_of(_current_id(case))
    if case.candidate_published or current is None or not is_recorded(case.journal, case.seen.published):
        return frozenset() if known else case.listed - case.gone
    if current.is_pending:
        return case.pool_of(current) | known
    if not known:
        return case.listed - case.gone
    return case.doubtful_ids | known if case.in_doubt else frozenset()
