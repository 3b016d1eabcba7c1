"""Which id belongs to a value that a person brought."""

from collections.abc import Collection
from dataclasses import replace

from pydantic import SecretStr

from rotator.core.protocol import Command, Credential, Identity, Learned, Listing, stored_ids, transitions
from rotator.core.protocol.wording import NAME_BOTH, listed, naming
from rotator.documents import format_instant
from rotator.errors import list_of
from rotator.provider import SecretInfo
from rotator.rotation.access import ProviderAccess
from rotator.rotation.errors import NOTHING_WRITTEN, OperatorError
from rotator.rotation.owners import owners_of
from rotator.rotation.state import AccountState


class Identification:
    """Finds the id of a value among the listed ids of one account.

    Attributes:
        given: The options that bring the value and allow to replace another one, for the commands that messages name.
        takes_published: Whether the command takes the published value.
        is_typed: Whether a person types the value.
    """

    def __init__(self, state: AccountState, access: ProviderAccess) -> None:
        self._state = state
        self._access = access
        self._name = state.account.name
        self.given: tuple[str, ...] = ()
        self.takes_published = False
        self.is_typed = False

    def list_with(self, secret: SecretStr, secret_id: str | None) -> tuple[SecretInfo, ...]:
        account = self._state.account
        infos = self._access.list_with(secret)
        if infos is None:
            raise OperatorError(
                f"The provider refuses this secret for {self._name} ({account.api_key})",
                unchanged=NOTHING_WRITTEN,
                advice="Bring a value that authenticates",
                next_command=Command.of("adopt", self._name),
            )
        if secret_id is not None and secret_id not in {info.id for info in infos}:
            known = listed(info.id for info in infos)
            raise OperatorError(
                f"The provider does not list {secret_id} for {self._name}; it lists {known}",
                unchanged=NOTHING_WRITTEN,
                advice=self._advice(infos),
                next_command=naming(self._name, {info.id for info in infos}, self.given),
            )
        return infos

    def require_no_other_id(self, secret_id: str | None, infos: tuple[SecretInfo, ...]) -> None:
        """Refuse to name another id for the published value than its certain one.

        The person did not bring the value. So they might mean another one that was published before.

        Raises:
            RotatorError: If the id is certain, listed, and not the given one.
        """
        state = self._state
        known = state.journal.current_id
        listing = Listing(Credential.PUBLISHED, {info.id: info.created_at for info in infos})
        case = replace(state.situation, seen=replace(state.seen, listing=listing))
        if known in (None, secret_id) or known not in case.listed or case.in_doubt:
            return
        raise OperatorError(
            f"The published secret of {self._name} has the id {known}, not {secret_id}",
            unchanged=NOTHING_WRITTEN,
            advice="To name another id, bring the value, too. To see the secrets and their state",
            next_command=list_of(self._name),
        )

    def identity(self, secret: SecretStr, secret_id: str | None, infos: tuple[SecretInfo, ...]) -> Identity:
        """Return what is known of the value's id.

        Raises:
            RotatorError: If several ids are possible, or the given one belongs to another value.
        """
        state = self._state
        ids = frozenset(info.id for info in infos)
        owners = owners_of(state)
        proven_others = frozenset(id_ for id_, owner in owners.items() if owner != secret)
        foreign = proven_others | self._added_ids(secret)
        if secret_id is not None:
            proven = self._answered_id() if state.seen.published.secret == secret else None
            if proven in ids - {secret_id}:
                raise OperatorError(
                    f"This secret of {self._name} has the id {proven}: the provider named it with the new secret",
                    unchanged=NOTHING_WRITTEN,
                    advice="Leave out --secret-id",
                    next_command=Command.of("adopt", self._name, *self.given),
                )
            if secret_id in foreign:
                raise OperatorError(
                    f"The id {secret_id} belongs to another secret of {self._name}",
                    unchanged=NOTHING_WRITTEN,
                    advice=self._advice(ids),
                    next_command=naming(self._name, ids, self.given),
                )
            others = (proven_others | self._given_up(secret, secret_id)) & ids
            return Identity(secret_id, Learned.PERSON, beside=stored_ids(ids), foreign_ids=others)
        pool = ids - foreign - state.situation.gone
        if len(pool) > 1 and not self._is_recorded(secret):
            described = listed(f"{info.id} (created {format_instant(info.created_at)})" for info in infos)
            raise OperatorError(
                f"The provider lists {len(infos)} secrets and does not say which one this value is: {described}",
                unchanged=NOTHING_WRITTEN,
                advice=self._advice(pool),
                next_command=naming(self._name, pool, self.given),
            )
        case = state.situation
        return replace(
            transitions.pending(case, foreign_ids=foreign, guess=next(iter(pool), None)), beside=stored_ids(ids)
        )

    def _advice(self, possible: Collection[object]) -> str:
        """Return the advice to name the value's id with the same value."""
        advice = NAME_BOTH if len(possible) > 1 else "Name the id of this value"
        if self.takes_published:
            advice = f"rotator takes the value from Vault. {advice}"
        elif self.is_typed:
            advice = f"{advice}, and type the value again"
        return advice

    def _given_up(self, secret: SecretStr, secret_id: str) -> frozenset[str]:
        """Return the ids that the user gave up while this value was published, if the user named this id for it."""
        current = self._state.journal.current
        if current is None or current.learned is not Learned.PERSON or current.id != secret_id:
            return frozenset()
        is_published = self._state.seen.published.secret == secret and self._state.speaks_of_published()
        return current.foreign_ids if is_published else frozenset()

    def _is_recorded(self, secret: SecretStr) -> bool:
        """Whether the value is published, and the journal knows it already, also if another field was edited since."""
        state = self._state
        is_published = state.seen.published.secret == secret
        return is_published and state.journal.current is not None and state.speaks_of_published()

    def _answered_id(self) -> str | None:
        """Return the published secret's id, if the provider answered it; None if that is not known."""
        case = self._state.situation
        if case.candidate_published:
            return case.candidate_id
        current = self._state.journal.current
        if current is None or not current.is_answered or not self._state.speaks_of_published():
            return None
        return current.id

    def _added_ids(self, secret: SecretStr) -> frozenset[str]:
        """Return the ids that the provider answered for secrets which a user added beside this published value."""
        is_published = self._state.seen.published.secret == secret and self._state.speaks_of_published()
        return self._state.journal.added_ids if is_published else frozenset()
