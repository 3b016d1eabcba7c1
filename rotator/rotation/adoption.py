"""Adopt an account: publish a value that a person brought, and learn its id."""

from collections.abc import Set
from datetime import timedelta

from pydantic import SecretStr

from rotator.core.protocol import (
    Awaited,
    Command,
    Identity,
    Outcome,
    Published,
    Situation,
    ids_of,
    ownership,
    refuse_foreign,
    refuse_late_write,
    requests,
)
from rotator.core.protocol.wording import loss, names_of
from rotator.errors import Advice, RotatorError, list_of
from rotator.provider import ApiError, SecretInfo
from rotator.rotation.adoption_lease import AdoptionLease
from rotator.rotation.errors import NOTHING_PUBLISHED, NOTHING_WRITTEN, ContentionError, OperatorError
from rotator.rotation.identification import Identification
from rotator.rotation.run import Rotation
from rotator.rotation.state import AccountState
from rotator.rotation.waiting import WORTH_A_LINE


class Adoption:
    """One adoption of one account.

    Args:
        rotation: A run over the account that begins no rotation of its own.
    """

    def __init__(self, rotation: Rotation) -> None:
        self._rotation = rotation
        self._state = rotation.state
        self._executor = rotation.executor
        self._name = rotation.account.name
        self._lease = AdoptionLease(rotation)
        self._replacing = self._lease.again
        self._identification = Identification(rotation.state, rotation.executor.access)
        self._secret: SecretStr | None = None
        self._named: tuple[str, ...] = ()

    def adopt(
        self,
        secret: SecretStr | None,
        secret_id: str | None,
        *,
        replace_working: bool = False,
        replace_foreign: str | None = None,
        retire: Set[str] = frozenset(),
        source: tuple[str, ...] = (),
    ) -> Outcome:
        """Publish the value and adopt the account; see Operator.adopt. The ids to retire are only checked."""
        self._identification.takes_published = secret is None
        self._identification.is_typed = secret is not None and not source
        replaced = ("--replace-foreign", replace_foreign) if replace_foreign is not None else ()
        self._name_commands(source, replaced, _named(secret_id, retire), replace_working=replace_working)
        try:
            self._bring(
                secret, secret_id, replace_working=replace_working, replace_foreign=replace_foreign, retire=retire
            )
        except ApiError as error:  # so far, the provider was only asked for lists
            error.unchanged = error.unchanged or NOTHING_WRITTEN
            error.advise(Advice("To try again", self._lease.again))
            raise
        outcome = self._rotation.run()
        if self._executor.publisher.version is None:
            self._require_taken_value()
        return outcome

    def _name_commands(
        self, source: tuple[str, ...], replaced: tuple[str, ...], named: tuple[str, ...], *, replace_working: bool
    ) -> None:
        """Name the commands that repeat this adoption with the same value: as it is, and with --replace."""
        allowed = ("--replace", *replaced) if replace_working else replaced
        self._named = (*allowed, *named)
        self._identification.given = (*source, *allowed)
        self._replacing = Command.of("adopt", self._name, *source, "--replace", *replaced, *named)
        self._lease.again = Command.of("adopt", self._name, *source, *self._named)

    def _bring(
        self,
        secret: SecretStr | None,
        secret_id: str | None,
        *,
        replace_working: bool,
        replace_foreign: str | None,
        retire: Set[str],
    ) -> None:
        """Publish the value, unless it is published already, and let the run know its identity."""
        state = self._state
        self._lease.observe(replace_foreign)
        self._secret = secret = secret if secret is not None else self._published_value()
        infos = self._identification.list_with(secret, secret_id)
        self._check_retire(retire, infos, secret_id)
        known = self._identity(secret, secret_id, infos)
        published = state.seen.published
        # A person who changes the value by hand usually leaves the id. The document's id is never revoked.
        named_otherwise = secret_id is not None and published.secret_id not in (None, secret_id)
        gives_up_mark = replace_working and refuse_late_write(state.situation) is not None
        if published.secret != secret or named_otherwise or replace_foreign is not None or gives_up_mark:
            self._check_replaceable(secret, known, replace_working=replace_working)
            try:
                self._publish(secret, secret_id, replace_working=replace_working, replace_foreign=replace_foreign)
            except RotatorError as error:
                self._rotation.release()
                if not error.maybe_done:
                    error.unchanged = NOTHING_PUBLISHED
                self._executor.account_for(error)
                raise
        elif secret_id is not None:  # otherwise the ordinary rules recognize it
            state.learn_identity(secret, known, wanted_again=replace_working)
        state.learn(journal_lost=False)

    @property
    def again(self) -> Command:
        """The command that repeats this adoption; it asks for the value."""
        return self._lease.again

    def is_recorded(self, secret_id: str | None) -> bool:
        """Return whether the adopted value is published, and the journal names this id for it."""
        state = self._state
        return state.seen.published.secret == self._secret and secret_id in state.journal.named_ids

    def _published_value(self) -> SecretStr:
        """Return the value that the published document contains.

        Raises:
            RotatorError: If it contains none, or another account's.
        """
        published = self._state.seen.published
        if published.secret is not None and refuse_foreign(self._state.situation) is None:
            return published.secret
        lost = loss(self._state.journal, published)
        raise OperatorError(
            lost.finding if lost else f"Nothing is published for {self._name} whose value rotator could take",
            unchanged=NOTHING_WRITTEN,
            advice="Bring the value",
            next_command=Command.of("adopt", self._name, "--secret-stdin", *self._named),
        )

    def _identity(self, secret: SecretStr, secret_id: str | None, infos: tuple[SecretInfo, ...]) -> Identity:
        """Return what is known of the value's id. Without the value, a person can name no other than a certain id."""
        if self._identification.takes_published:
            self._identification.require_no_other_id(secret_id, infos)
        return self._identification.identity(secret, secret_id, infos)

    def _require_taken_value(self) -> None:
        """Refuse to go on if the value was taken from the published document, and another writer replaced it since.

        The person has named the id of the value that was published then. It says nothing of another one.

        Raises:
            RotatorError: Then.
        """
        if not self._identification.takes_published or self._state.seen.published.secret == self._secret:
            return
        raise OperatorError(
            f"This command took the value from {self._rotation.account.path}, and another writer replaced it since",
            unchanged=NOTHING_PUBLISHED,
            advice="To see the secrets before you repeat the adoption",
            next_command=list_of(self._name),
        )

    def _check_retire(self, retire: Set[str], infos: tuple[SecretInfo, ...], secret_id: str | None) -> None:
        others = {info.id for info in infos} - {secret_id}
        wrong = sorted(retire - others)
        if wrong:
            raise OperatorError(
                f"{wrong[0]} cannot be retired. Other listed ids: {names_of(others) or 'none'}",
                unchanged=NOTHING_WRITTEN,
                advice="To see the ids and their state",
                next_command=list_of(self._name),
            )
        if retire and secret_id is None:
            raise OperatorError(
                "--retire needs --secret-id: otherwise the published secret's id is not certain",
                unchanged=NOTHING_WRITTEN,
                advice="Name the id of this value, too",
                next_command=Command.of("adopt", self._name, *self._identification.given, *_named("ID", retire)),
            )

    def _check_replaceable(self, secret: SecretStr, identity: Identity, *, replace_working: bool) -> None:
        """Refuse to publish a compromised secret, or to replace one that authenticates or another's document, unasked.

        Raises:
            RotatorError: Then.
        """
        state = self._state
        published = state.seen.published
        foreign = refuse_foreign(state.situation) is not None
        compromised = state.journal.compromised_ids
        if replace_working:
            return
        possible = compromised if identity.is_pending else ids_of(identity.id)
        if identity.is_named:  # a person can be wrong
            possible |= identity.beside - identity.foreign_ids
        is_leaked = compromised & possible or requests.is_never_published_again(state.journal, secret)
        if is_leaked and published.secret != secret:  # otherwise it is published already, and the request replaces it
            raise OperatorError(
                f"This secret of {self._name} might be compromised: a request with --compromised replaced it",
                unchanged=NOTHING_WRITTEN,
                advice="To publish it all the same, add --replace",
                next_command=self._replacing,
            )
        _require_right_path(state.situation, self._replacing)
        if published.secret == secret or foreign:
            return
        if self._works(published.secret):
            raise OperatorError(
                f"{self._rotation.account.path} already contains another secret, which authenticates",
                unchanged=NOTHING_WRITTEN,
                advice="To replace it all the same, add --replace",
                next_command=self._replacing,
            )
        if not ownership.is_shown(state.situation):
            raise OperatorError(
                ownership.finding(state.situation),
                unchanged=NOTHING_WRITTEN,
                advice=f"{ownership.correction(state.situation)}, add --replace",
                next_command=self._replacing,
            )

    def _works(self, secret: SecretStr | None) -> bool:
        """Whether a value authenticates. A refusal counts only after a consistency window."""
        if secret is None:
            return False
        state = self._state
        waiting = self._rotation.waiting
        is_logged = False
        ends = state.clock() + state.policy.window
        patience = waiting.countdown(state.policy.window)
        delay = timedelta(milliseconds=200)
        while self._executor.access.list_with(secret) is None:
            left = patience.left
            if not left:
                return False
            if delay >= WORTH_A_LINE and not is_logged:
                is_logged = True
                detail = "the provider refuses the published secret, and a refusal can be a mistake"
                waiting.log("adoption.waiting", Awaited.PUBLISHED.value, ends, detail)
            waiting.for_moment(min(delay, left))
            delay = min(delay * 2, timedelta(seconds=5))
        return True

    def _publish(
        self, secret: SecretStr, secret_id: str | None, *, replace_working: bool, replace_foreign: str | None
    ) -> None:
        """Publish the value under the lease, over the version that the mark in the journal names."""
        state = self._state
        self._lease.acquire(secret_id, replace_foreign, gives_up_other=replace_working)
        self._require_taken_value()
        # Once more: only now no other instance can revoke or replace anything.
        infos = self._identification.list_with(secret, secret_id)
        identity = self._identity(secret, secret_id, infos)
        self._check_replaceable(secret, identity, replace_working=replace_working)
        info = next((info for info in infos if info.id == secret_id), None)
        replaced = _replaces(state, secret)
        # The document names an id once it is certain. A person can be wrong.
        certain = {info.id for info in infos} <= identity.foreign_ids | {secret_id}
        named = secret_id if certain else None
        published = Published(
            secret=secret, secret_id=named, rotated_at=info.created_at if info is not None else state.clock()
        )
        if not self._executor.publisher.publish(published, trigger="adopt"):
            raise ContentionError(
                f"The lease of {self._name} ended before the secret was published",
                unchanged=NOTHING_WRITTEN,
                next_step="Try again",
                next_command=self._lease.again,
            )
        is_brought = not self._identification.takes_published
        state.learn_identity(secret, identity, replaced=replaced, wanted_again=replace_working and is_brought)


def _replaces(state: AccountState, secret: SecretStr) -> bool:
    """Whether a value takes the place of the one that the journal speaks of, now or since a person published it.

    A deleted version might have contained the same value: nothing was replaced then.
    """
    if state.speaks_of_published():
        return state.seen.published.secret not in (None, secret)
    return state.seen.published.secret == secret and state.seen.recorded is not None


def _require_right_path(case: Situation, replacing: Command) -> None:
    """Refuse to publish while a write to a document at another path might be applied.

    Raises:
        OperatorError: Then. The command gives that write up.
    """
    late_write = refuse_late_write(case)
    if late_write is not None:
        raise OperatorError(
            late_write.what, unchanged=NOTHING_WRITTEN, advice=late_write.advice, next_command=replacing
        )


def _named(secret_id: str | None, retire: Set[str]) -> tuple[str, ...]:
    """Return the options that name ids."""
    own = ("--secret-id", secret_id) if secret_id is not None else ()
    return (*own, *(arg for id_ in sorted(retire) for arg in ("--retire", id_)))
