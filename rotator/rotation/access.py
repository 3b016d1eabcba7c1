"""How a run reaches its account at the provider: credentials and lists."""

from pydantic import SecretStr

from rotator.core.protocol import Credential
from rotator.core.protocol.wording import loss
from rotator.documents.journal import load_journal
from rotator.documents.published import parse_published
from rotator.errors import Command, RotatorError
from rotator.provider import Credentials, SecretInfo, Unauthorized
from rotator.rotation.errors import ForeignPrimaryError, NotAdoptedError, PublishedLostError
from rotator.rotation.interfaces import Provider
from rotator.rotation.state import AccountState


class ProviderAccess:
    """The credentials of an account, and the lists that they fetch."""

    def __init__(self, state: AccountState, provider: Provider) -> None:
        self._state = state
        self._provider = provider
        self._primary: Credentials | None = None

    def credentials(self, using: Credential) -> Credentials:
        """Return what a request authenticates with."""
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

    def _read_primary(self) -> Credentials:
        state = self._state
        primary = state.settings.account(state.account.primary or "")
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
