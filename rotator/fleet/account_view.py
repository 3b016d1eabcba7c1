"""One account in a person's hands: whose its secrets are, adding one, revoking one.

Nothing here goes around the protocol: looking needs no lease, a secret is added under one, and revoked is only what the
journal was told first, by the ordinary rules of a run.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from pydantic import SecretStr

from rotator.audit import Act, Entry, Found
from rotator.config import AccountSettings
from rotator.core.protocol import (
    Credential,
    Fail,
    Journal,
    Listing,
    Observation,
    Policy,
    Published,
    Situation,
    is_recorded,
    transitions,
)
from rotator.core.protocol.documents import refuse_foreign, refuse_lost_journal
from rotator.documents.journal import StoredJournal, load_journal, render_journal
from rotator.documents.published import parse_published
from rotator.errors import Code, RotatorError
from rotator.fleet.fleet import Fleet, Request, Wanted
from rotator.provider import Credentials, LostAnswer, SecretInfo, Unauthorized
from rotator.rotation import Operator, Outcome, RotationError, audited_fingerprint
from rotator.vault import CasConflict, VaultError

_RUN = Request(Wanted.NOTHING_NEW)
_log = structlog.get_logger()


class NotNowError(RotatorError):
    """Somebody else is at work on the account: later it may be possible."""

    exit_code = 3
    code = Code.LEASED


class Standing(StrEnum):
    """What a live secret is to rotator."""

    PUBLISHED = "published"  # consumers read it
    RETIRING = "retiring"  # replaced, and recorded to be revoked
    ADDED = "added"  # a person added it with rotator
    NEW = "new"  # on its way to being published, or added meanwhile
    UNKNOWN = "unknown"  # rotator cannot account for it
    IN_DOUBT = "in doubt"  # one of these is the published secret


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
        looked_at: When it was read, by this instance's clock.
        published: What consumers read.
        current_id: The id of the published secret; None if nobody can tell.
        created: What the provider lists, with the published secret: id -> creation time.
        doubtful: The listed ids that can be the published secret's; empty if that is certain.
    """

    account: AccountSettings
    journal: Journal
    journal_version: int
    journal_at: datetime | None
    read_at: datetime | None
    looked_at: datetime
    published: Published
    current_id: str | None
    created: Mapping[str, datetime]
    doubtful: frozenset[str] = frozenset()

    def situation(self, policy: Policy, now: datetime) -> Situation:
        """Return the account's situation as the protocol sees it."""
        seen = Observation(
            self.published,
            journal_at=self.journal_at,
            journal_read_at=self.read_at,
            observed_at=self.looked_at,
            listing=Listing(Credential.PUBLISHED, self.created),
        )
        return Situation.of(seen, self.journal, policy, now)

    @property
    def credentials(self) -> Credentials:
        """What consumers of the account log in with.

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
        if id_ in self.doubtful:
            return Standing.IN_DOUBT
        if id_ == self.current_id:
            return Standing.PUBLISHED
        if id_ in self.journal.retiring_ids:
            return Standing.RETIRING
        if id_ in self.journal.added_ids:
            return Standing.ADDED
        if self.journal.candidate is None:
            return Standing.UNKNOWN
        if id_ == self.journal.current_id:
            return Standing.RETIRING  # as soon as the candidate, which is published, is in the journal
        return Standing.UNKNOWN if id_ in self.journal.ids_before else Standing.NEW


def published_credentials(fleet: Fleet, account: AccountSettings) -> Credentials:
    """What consumers of the account log in with at this moment.

    Raises:
        RotatorError: If nothing is published, or Vault cannot be asked.
    """
    stored = load_journal(fleet.vault.read(fleet.settings.journal_path(account)))
    published = parse_published(fleet.vault.read(account.path), account.fields)
    _require_own_documents(fleet, account, stored, published)
    return _credentials(account, published)


def documents_failure(
    fleet: Fleet, account: AccountSettings, stored: StoredJournal, published: Published
) -> Fail | None:
    """Return the failure of documents that name another account, or of a deleted journal; None if all is well."""
    seen = Observation(published, journal_lost=stored.is_lost)
    case = Situation.of(seen, stored.journal, fleet.policy(account, _RUN), fleet.now())
    return refuse_foreign(case) or refuse_lost_journal(case)


def _require_own_documents(fleet: Fleet, account: AccountSettings, stored: StoredJournal, published: Published) -> None:
    """Refuse documents that name another account, and a journal that was deleted.

    Raises:
        RotatorError: Then.
    """
    fail = documents_failure(fleet, account, stored, published)
    if fail is not None:
        raise RotationError(fail, unchanged="Nothing was changed")


@contextmanager
def refused(account: AccountSettings) -> Iterator[None]:
    """Say of a 401 whose secret it was that the provider refuses."""
    try:
        yield
    except Unauthorized as error:
        raise RotatorError(
            f"The provider refuses the published secret of {account.name} ({account.api_key}){error.reference}",
            unchanged="Nothing was changed",
            next_step=f"Find out why: rotator check {account.name}",
        ) from None


def look(fleet: Fleet, account: AccountSettings) -> View:
    """Read the journal, then the published document, then list with the published secret; changes nothing.

    Raises:
        RotatorError: If one of them cannot be had.
    """
    document = fleet.vault.read(fleet.settings.journal_path(account))
    looked_at = fleet.now()
    stored = load_journal(document)
    journal, published = stored.journal, parse_published(fleet.vault.read(account.path), account.fields)
    _require_own_documents(fleet, account, stored, published)
    credentials = _credentials(account, published)
    with refused(account):
        infos = fleet.provider.list_secrets(credentials, account.api_key)
    created = {info.id: info.created_at for info in infos}
    current_id = _current_id(fleet, account, journal, published, frozenset(created))
    view = View(
        account,
        journal,
        journal_version=document.version,
        journal_at=document.created,
        read_at=document.read_at,
        looked_at=looked_at,
        published=published,
        current_id=current_id,
        created=created,
    )
    return replace(view, doubtful=_doubtful(view, view.situation(fleet.policy(account, _RUN), fleet.now())))


def _doubtful(view: View, case: Situation) -> frozenset[str]:
    """Return the listed ids that can be the published secret's, if that is not certain."""
    if view.current_id is None:
        return frozenset(view.created)
    current = view.journal.current
    if len(view.created) == 1 or current is None or current.id != view.current_id or current.is_answered:
        return frozenset()
    return case.strangers | {view.current_id} if case.strangers else frozenset()


def _credentials(account: AccountSettings, published: Published) -> Credentials:
    if published.secret is None:
        raise RotatorError(
            f"Nothing is published for {account.name} at {account.path}",
            unchanged="Nothing was changed",
            next_step=f"Give it the secret in use today: rotator adopt {account.name}",
        )
    return Credentials(account.api_key, published.secret)


def _current_id(
    fleet: Fleet, account: AccountSettings, journal: Journal, published: Published, listed: frozenset[str]
) -> str | None:
    """The published secret's id: what the journal says of this very value, or the only one there is."""
    if len(listed) == 1:
        return next(iter(listed))  # the list was fetched with it
    if journal.candidate is not None and journal.candidate == published.secret:
        return published.secret_id if published.secret_id in listed else None
    if journal.current_id not in listed:
        return None
    if not is_recorded(journal, published):
        recorded = parse_published(fleet.vault.read(account.path, journal.published_version), account.fields)
        if not is_recorded(journal, recorded) or recorded.secret is None or recorded.secret != published.secret:
            return None
    return journal.current_id


# --- adding one ----------------------------------------------------------------------------------------------


def require_room(fleet: Fleet, view: View) -> None:
    """Refuse to add a secret where there is no room, or where that would get into rotator's way.

    Raises:
        RotatorError: Why not.
    """
    name, journal, limit = view.account.name, view.journal, fleet.settings.account_api.max_secrets
    _require_rest(fleet, view)
    if journal.current is None:
        raise RotatorError(
            f"rotator has not taken {name} on yet: with a second secret it could not tell which one is published",
            unchanged="Nothing was changed",
            next_step=f"Take it on first: rotator adopt {name}",
        )
    if _is_full(fleet, view):
        raise RotatorError(
            f"{name} has {len(view.created)} of {limit} secrets: there is no room for another",
            unchanged="Nothing was changed",
            next_step=f"Look at them: rotator account secrets list {name}",
        )


def by_hand(fleet: Fleet, account: AccountSettings, act: Act, **known: Any) -> AbstractContextManager[Found]:
    """Have it noted what a person does to the account; it is not done if that is not possible.

    Raises:
        AuditError: Then.
    """
    entry = Entry(act, account.name, account.api_key, fleet.runner, trigger="manual", **known)
    return fleet.audit.acting(entry, required=True)


def create(fleet: Fleet, account: AccountSettings, value: SecretStr, *, made_up: bool) -> SecretInfo:
    """Add a secret that is not rotator's. Sent once, while this runner has the account to itself.

    Args:
        made_up: Whether the value was made up by the account's recipe.

    Raises:
        RotatorError: If it was not added; LostAnswer if it may have been all the same.
    """
    view = look(fleet, account)
    require_room(fleet, view)
    credentials = view.credentials
    policy, settings = fleet.policy(account, _RUN), fleet.settings
    path, version = settings.journal_path(account), view.journal_version
    journal = transitions.claimed(view.situation(policy, fleet.now()))
    # If this succeeds, no other instance has changed the account since it was read.
    version = fleet.vault.write(path, render_journal(journal), cas=version)
    try:
        fingerprint = audited_fingerprint(account, value) if made_up else None
        with refused(account), by_hand(fleet, account, Act.CREATE, fingerprint=fingerprint) as found:
            if not replace(view, journal=journal).situation(policy, fleet.now()).held:  # to note it may take a while
                raise NotNowError(f"The time for {account.name} was over before the secret could be added")
            info = fleet.provider.create_secret(credentials, account.api_key, value)
            found.secret_id = info.id
            journal = transitions.created_by_hand(
                replace(view, journal=journal).situation(policy, fleet.now()), info.id
            )
            return info
    except LostAnswer:
        # Nothing is revoked while it may still be carried out: the full account would refuse it.
        journal = transitions.late_create(replace(view, journal=journal).situation(policy, fleet.now()))
        raise
    finally:
        try:
            released = transitions.released(replace(view, journal=journal).situation(policy, fleet.now()))
            fleet.vault.write(path, render_journal(released), cas=version)
        except (CasConflict, VaultError) as error:
            _log.info("account.lease_not_given_back", account=account.name, error=str(error))  # it runs out by itself


# --- revoking one --------------------------------------------------------------------------------------------


def require_revocable(fleet: Fleet, view: View, secret_id: str) -> LiveSecret:
    """Refuse to revoke what consumers may need, or what nobody can tell.

    Returns:
        What the secret is: RETIRING, ADDED or UNKNOWN.

    Raises:
        RotatorError: Why not.
    """
    name = view.account.name
    found = {secret.id: secret for secret in view.secrets}.get(secret_id)
    if found is None:
        raise _not_revoked(
            f"The provider lists no {secret_id} for {name}", f"See what it lists: rotator account secrets list {name}"
        )
    _require_rest(fleet, view)
    if len(view.created) == 1:
        raise _not_revoked(f"{secret_id} is the last secret of {name}", f"Replace it: rotator rotate-now {name}")
    if view.doubtful and view.current_id is not None:
        step = f"adopt {name} --secret-id ID" if _is_full(fleet, view) else f"rotate-now {name}"
        raise _not_revoked(
            f"One of these ids is the published secret's: {', '.join(sorted(view.doubtful))}",
            f"Make its id certain: rotator {step}",
        )
    if secret_id in (view.current_id, view.journal.current_id, view.published.secret_id):
        raise _not_revoked(
            f"{secret_id} is what {name} has published: consumers use it", f"Replace it: rotator rotate-now {name}"
        )
    if view.current_id is None or view.current_id != view.journal.current_id:
        raise _not_revoked(
            f"Which of its {len(view.created)} secrets {name} has published cannot be told",
            f"Have that found out first: rotator rotate-now {name} --due",
        )
    return found


def _is_full(fleet: Fleet, view: View) -> bool:
    return len(view.created) >= fleet.settings.account_api.max_secrets


def _not_revoked(what: str, next_step: str) -> RotatorError:
    return RotatorError(what, unchanged="Nothing was revoked", next_step=next_step)


def revoke(fleet: Fleet, account: AccountSettings, secret_id: str) -> Outcome:
    """Record that a secret may go at once, then have the ordinary rules revoke it.

    A retiring secret loses the rest of its grace period. An unknown or added secret takes the way of `rotator resolve`.

    Raises:
        RotatorError: If it must not go; nothing was recorded then.
    """
    view = look(fleet, account)
    found = require_revocable(fleet, view, secret_id)
    rotation = fleet.rotation(account, _RUN)
    if found.standing in (Standing.UNKNOWN, Standing.ADDED):
        operator = Operator(rotation)
        if secret_id not in operator.unknown():
            raise NotNowError(f"{account.name} has changed meanwhile", unchanged="Nothing was revoked")
        return operator.resolve(frozenset({secret_id}))
    now = fleet.now()
    case = view.situation(fleet.policy(account, _RUN), now)
    retired = transitions.retired_by_hand(case, frozenset({secret_id}), not_before=now)
    path = fleet.settings.journal_path(account)
    with by_hand(fleet, account, Act.RETIRE, secret_id=secret_id):
        fleet.vault.write(path, render_journal(retired), cas=view.journal_version)
    _log.warning("account.retired_early", account=account.name, secret_id=secret_id)
    return rotation.run()


def _require_rest(fleet: Fleet, view: View) -> None:
    """Refuse while somebody is at work on the account, or has left something unfinished.

    Raises:
        RotatorError: Who or what it is.
    """
    name, journal = view.account.name, view.journal
    policy = fleet.policy(view.account, _RUN)
    until = view.situation(policy, fleet.now()).leased_until
    if until is not None:
        raise NotNowError(
            f"{journal.holder} is at work on {name} until {until:%H:%M:%S} UTC",
            unchanged="Nothing was changed",
            next_step="Try again then",
        )
    if journal.candidate is not None:
        raise RotatorError(
            f"A rotation of {name} is unfinished",
            unchanged="Nothing was changed",
            next_step=f"Have it finished first: rotator rotate-now {name}",
        )
