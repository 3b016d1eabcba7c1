"""How a run reaches its account at the provider: credentials and lists."""

from datetime import datetime
from http import HTTPStatus

from pydantic import SecretStr

from rotator.config import AccountSettings
from rotator.core.protocol import Credential, limited_until, transitions
from rotator.core.protocol.wording import loss
from rotator.documents import JournalError, StoredJournal, format_instant, load_journal, parse_published, render_journal
from rotator.errors import Command, RotatorError
from rotator.provider import Credentials, RateLimited, SecretInfo, Unauthorized
from rotator.rotation.errors import ForeignPrimaryError, NotAdoptedError, PublishedLostError
from rotator.rotation.interfaces import Provider
from rotator.rotation.state import AccountState
from rotator.vault import CasConflict, VaultDenied, VaultError


class ProviderAccess:
    """The credentials of an account, and the lists that they fetch."""

    def __init__(self, state: AccountState, provider: Provider) -> None:
        self._state = state
        self._provider = provider
        self._primary: Credentials | None = None

    def credentials(self, using: Credential) -> Credentials:
        """Return what a request authenticates with.

        Raises:
            RateLimited: If the journal of the primary account says that the provider limits its key.
            RotatorError: If the primary account cannot act for this one.
        """
        if using is Credential.PRIMARY:
            return self._primary or self._read_primary()
        return Credentials(self._state.account.api_key, self._state.secret_of(using))

    def list_as(self, using: Credential) -> tuple[SecretInfo, ...]:
        """Return the list; with the primary's credentials, ask once more if they were rotated since they were read."""
        api_key = self._state.account.api_key
        try:
            return self._provider.list_secrets(self.credentials(using), api_key)
        except Unauthorized:
            if using is not Credential.PRIMARY or not self.reread_primary():
                raise
        return self._provider.list_secrets(self.credentials(using), api_key)

    def list_with(self, secret: SecretStr) -> tuple[SecretInfo, ...] | None:
        """Return the list that a value fetches; None if the provider refuses the value."""
        api_key = self._state.account.api_key
        try:
            return self._provider.list_secrets(Credentials(api_key, secret), api_key)
        except Unauthorized:
            return None

    def reread_primary(self) -> bool:
        """Read the credentials of the primary account again; whether they changed."""
        before = self._primary
        return self._read_primary() != before

    def record_limit(self, limited: RateLimited, until: datetime) -> None:
        """Record a limit of the primary account's key in its journal, for other accounts and instances.

        An instance that holds the lease uses that key itself, and records the limit then.
        """
        state = self._state
        primary = self._primary_account()
        if primary is None or limited.api_key != primary.api_key or limited.local:
            return
        try:
            stored = self._journal_of(primary)
            if stored is not None and stored.journal.lease_holder is None:
                journal = transitions.key_limited(stored.journal, state.instants.shared(until))
                state.store.write(state.settings.journal_path(primary), render_journal(journal), cas=stored.version)
        except (CasConflict, VaultError) as error:
            state.log.info("journal.write_failed", error=str(error))

    def _primary_account(self) -> AccountSettings | None:
        name = self._state.account.primary
        return None if name is None else self._state.settings.account(name)

    def _journal_of(self, primary: AccountSettings) -> StoredJournal | None:
        """Return the primary account's journal; None if there is none of its key, or none that can be read."""
        try:
            stored = load_journal(self._state.store.read(self._state.settings.journal_path(primary)))
        except (JournalError, VaultDenied):  # the primary account's own run reports that
            return None
        is_its_own = stored.version and stored.journal.api_key in (None, primary.api_key)
        return stored if is_its_own and not stored.is_lost else None

    def _refuse_if_limited(self, primary: AccountSettings) -> None:
        state = self._state
        stored = self._journal_of(primary)
        until = None if stored is None else limited_until(state.situation, stored.journal)
        if until is None:
            return
        limited = RateLimited(
            f"The provider limits the requests of the primary account {primary.name} until {format_instant(until)}, "
            f"so rotator does not ask it for {state.account.name}",
            status=HTTPStatus.TOO_MANY_REQUESTS,
            retry_after=until - state.clock(),
            local=True,
        )
        limited.until = until
        raise limited

    def _read_primary(self) -> Credentials:
        state = self._state
        primary = self._primary_account()
        if primary is None:
            raise AssertionError("the protocol asks for no primary account that is not configured")
        self._refuse_if_limited(primary)
        published = parse_published(state.store.read(primary.path), primary)
        if published.api_key not in (None, primary.api_key):
            raise ForeignPrimaryError(
                f"The published document of the primary account {primary.name} belongs to the account "
                f"{published.api_key}, so it cannot act for {state.account.name}",
                unchanged=f"Nothing was changed for {state.account.name}",
                next_step="Correct the path or the document of the primary account. To look at it",
                next_command=Command.of("check", primary.name),
            )
        if published.secret is None:
            stored = load_journal(state.store.read(state.settings.journal_path(primary)))
            lost = loss(stored.journal, published)
            if lost is not None:
                raise PublishedLostError(
                    f"The primary account {primary.name} cannot act for {state.account.name}: {lost.finding}",
                    unchanged=f"Nothing was changed for {state.account.name}",
                    next_step=lost.advice("bring the secret in use"),
                    next_command=Command.of("adopt", primary.name),
                )
            raise (RotatorError if state.seen.published.version else NotAdoptedError)(
                f"The primary account {primary.name} has nothing published, so it cannot act for {state.account.name}",
                unchanged=f"Nothing was changed for {state.account.name}",
                next_step="Adopt the primary account first",
                next_command=Command.of("adopt", primary.name),
            )
        self._primary = Credentials(primary.api_key, published.secret)
        return self._primary
