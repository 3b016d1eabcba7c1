"""Manual commands for one account: adopt a secret, resolve unknown secrets."""

from collections.abc import Set
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from pydantic import SecretStr

from rotator.audit import Act
from rotator.core.protocol import (
    Command,
    Fail,
    Failure,
    Journal,
    Outcome,
    Refresh,
    Request,
    RestoreEarlierVersion,
    Result,
    WriteJournal,
    refuse_foreign,
    refuse_late_write,
    refuse_lost_journal,
    requests,
    transitions,
)
from rotator.core.protocol.wording import names_of, number
from rotator.documents import format_instant
from rotator.errors import RotatorError, list_of
from rotator.rotation.adoption import Adoption
from rotator.rotation.adoption_lease import MAX_CLAIMS
from rotator.rotation.confirmation import confirm
from rotator.rotation.errors import NONE_REVOKED, NOTHING_WRITTEN, ContentionError, OperatorError, RotationError
from rotator.rotation.preview import look
from rotator.rotation.run import Rotation
from rotator.rotation.state import NO_IDENTITY
from rotator.vault import CasConflict


class Operator:
    """Carries out manual commands for one account.

    Args:
        rotation: A run over the account that begins no rotation of its own.
    """

    def __init__(self, rotation: Rotation) -> None:
        self._rotation = rotation
        self._state = rotation.state
        self._executor = rotation.executor
        self._name = rotation.account.name

    # --- adopt ---------------------------------------------------------------------------------------------------

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
        """Publish a value that a person brought, once it has authenticated, and adopt the account.

        Args:
            secret: The value; None: the published one, of which only the id is not known.
            secret_id: Its id; required if the provider lists several.
            replace_working: Replace a published secret that authenticates, or publish a compromised one again.
            replace_foreign: The account whose document or journal can be replaced.
            retire: Other listed ids to revoke after the grace period.
            source: The options that brought the value, for the commands that messages name. Without them, such a
                command would be about the published value. Empty: the person typed it.

        Raises:
            RotatorError: If the value is refused, or its id is not known; nothing was written then.
        """
        adoption = Adoption(self._rotation)
        outcome = adoption.adopt(
            secret,
            secret_id,
            replace_working=replace_working,
            replace_foreign=replace_foreign,
            retire=retire,
            source=source,
        )
        if not retire:
            return outcome if secret_id is None else self._with_unrecorded_id(adoption, secret_id, outcome)
        try:
            return self._with_retiring(adoption, secret_id, frozenset(retire))
        except RotatorError as error:
            self._executor.account_for(error)
            raise

    def _with_unrecorded_id(self, adoption: Adoption, secret_id: str, outcome: Outcome) -> Outcome:
        """Say of a run that ended early if it did not record the id that a person named, and what to repeat."""
        if outcome.result is Result.OK or adoption.is_recorded(secret_id):
            return outcome
        error = RotatorError(
            f"{outcome.error or ''} The id {secret_id} was not recorded".strip(),
            next_step="To repeat the adoption",
            next_command=adoption.again,
        )
        return replace(outcome, error=str(error), next_command=error.next_command)

    def _with_retiring(self, adoption: Adoption, secret_id: str | None, ids: frozenset[str]) -> Outcome:
        """Record ids that a person gave up for the adopted value. They say nothing of another value.

        Raises:
            OperatorError: If another value is published by now, or the journal does not name the id of this one.
        """
        state = self._state
        for conflicts in range(1, MAX_CLAIMS + 1):
            self._require_confirmed(ids)
            try:
                self._end_writes_in_flight()
                if not adoption.is_recorded(secret_id):
                    break
                case = state.situation
                not_before = transitions.grace_period_end(case)
                self._write_retiring(transitions.retired_by_hand(case, ids, not_before=not_before), ids)
            except CasConflict:
                self._rotation.waiting.after_conflict(conflicts)
                state.forget()
                self._rotation.run()
                continue
            state.forget()
            return self._rotation.run()
        self._rotation.release()
        raise OperatorError(
            self._reason_not_retired(secret_id, ids),
            unchanged="Nothing was recorded for revocation",
            advice="To see the state",
            next_command=list_of(self._name),
        )

    def _require_confirmed(self, ids: frozenset[str]) -> None:
        """Refuse to retire ids that can be the published secret's, because no later list shows its own beside them."""
        if not ids & self._state.situation.unconfirmed:
            return
        step = confirm(self._rotation, self._rotation.decide())
        if isinstance(step, Fail) and ids - self._state.situation.resolvable:
            raise RotationError(step, unchanged="Nothing was recorded for revocation")

    def _reason_not_retired(self, secret_id: str | None, ids: frozenset[str]) -> str:
        """Say why ids that a person gave up for the adopted value were not recorded."""
        state = self._state
        if not state.seen.rotated:
            return f"Another secret of {self._name} is published by now, or the id {secret_id} could not be recorded"
        published = f"The new secret of {self._name} that was waiting authenticates, so rotator published it"
        own = ids & state.journal.named_ids
        if own:
            return f"{published}: its id {names_of(own)} cannot be retired"
        return f"{published}: {secret_id} is not its id, and {names_of(ids)} {number(ids, 'was', 'were')} not recorded"

    # --- requests ------------------------------------------------------------------------------------------------

    def cancel(self) -> Request | None:
        """Withdraw the request that the journal contains, also under another instance's lease.

        Returns:
            The request; None if there was none.

        Raises:
            RotatorError: If the journal could not be read or written, belongs to another account or was deleted.
        """
        state = self._state
        for conflicts in range(1, MAX_CLAIMS + 1):
            state.observe()
            fail = refuse_foreign(state.situation) or refuse_lost_journal(state.situation)
            if fail is not None:
                raise RotationError(fail, unchanged=NOTHING_WRITTEN)
            request = state.journal.request
            if request is None:
                return None
            try:
                state.write_journal(requests.cancelled(state.journal))
            except CasConflict:
                self._rotation.waiting.after_conflict(conflicts)
                continue
            state.log.warning("request.withdrawn", kind=request.kind.value, by=request.by)
            return request
        raise ContentionError(
            f"The journal of {self._name} changed again and again before this command could write it",
            unchanged="The request stays",
            next_step="Find out what else writes there, or whether a cache is in front of Vault. Then try again",
            next_command=Command.of("rotate-now", self._name, "--cancel"),
        )

    # --- resolve -------------------------------------------------------------------------------------------------

    def unknown(self) -> dict[str, datetime]:
        """Return what the provider lists and a person may have revoked, with the creation times.

        If a document has to be written before that can be told, such as a certain id, an ordinary run does so. So it
        does if the published secret is refused: it tries what else works. Otherwise nothing changes.

        These are the ids that rotator cannot account for, and those of secrets that a person added. The id of a
        candidate that does not authenticate in time is among them: it can be given up. If an id was first seen a moment
        ago, a later list has to confirm it.

        Raises:
            RotatorError: If the account cannot be read or written, if it fails for another reason, or if one of the ids
                might be the published secret's.
        """
        step = look(self._rotation)
        if isinstance(step, (WriteJournal, Refresh)):
            outcome = self._rotation.run()
            step = look(self._rotation)
            if isinstance(step, (WriteJournal, Refresh)):
                raise OperatorError(
                    f"A document has to be written before unknown secrets are known. {outcome.error or ''}".rstrip(),
                    unchanged=NONE_REVOKED,
                    advice="",
                    next_command=None,
                )
        elif isinstance(step, RestoreEarlierVersion):
            self._rotation.run()  # consumers have an outage, and only a run can tell what else works
            step = self._rotation.decide()
        step = confirm(self._rotation, step)
        if isinstance(step, (WriteJournal, Refresh)):  # a later list made the published id certain
            self._rotation.run()
            step = confirm(self._rotation, look(self._rotation))
        case = self._state.situation
        late_write = refuse_late_write(case)
        if late_write is not None and not isinstance(step, Fail):
            raise RotationError(late_write, unchanged=NONE_REVOKED)
        if case.journal.publishing is not None and not isinstance(step, Fail):
            raise OperatorError(
                f"A write to {self._rotation.account.path} was interrupted and might still be applied",
                unchanged=NONE_REVOKED,
                advice="End it first",
                next_command=Command.of("rotate-now", self._name, "--due"),
            )
        if isinstance(step, Fail):
            created = case.seen.created
            if step.failure is Failure.UNVERIFIED and case.candidate_id in created:
                return {str(case.candidate_id): created[str(case.candidate_id)]}
            ids = case.resolvable
            if ids and not case.in_doubt and step.failure in (Failure.AMBIGUOUS, Failure.FULL):
                return {id_: created[id_] for id_ in sorted(ids)}
            raise RotationError(step, unchanged=NONE_REVOKED)
        return {id_: case.seen.created[id_] for id_ in sorted(case.added - {case.seen.published.secret_id})}

    def resolve(self, revoke: frozenset[str]) -> Outcome:
        """Record these ids, which `unknown` named, as retiring, and revoke them by the ordinary rules.

        A candidate is given up with them. A write of one of these values to the published document might still be under
        way, from a run or an adoption that died: so the document is written again, unchanged, before an id becomes
        retiring (I9).
        """
        state = self._state
        if state.seen.published.secret is not None:
            self._end_writes_in_flight()
        self._write_retiring(transitions.resolved(state.situation, revoke), revoke)
        state.log.warning("account.resolved", revoke=sorted(revoke))
        state.forget()
        return self._rotation.run()

    def _end_writes_in_flight(self) -> None:
        """Write the published document again, unchanged: a write that was sent before can no longer be applied."""
        state = self._state
        listing = state.seen.listing
        leased = state.situation.leased_until
        if leased is not None:
            raise OperatorError(
                f"{state.journal.lease_holder} holds the lease of {self._name}",
                unchanged="Nothing was recorded for revocation",
                advice=f"Try again after {format_instant(leased)}. To wait until then",
                next_command=Command.of("rotate-now", self._name, "--due", "--wait", "5m"),
            )
        state.write_journal(transitions.claimed(state.situation))
        self._executor.publisher.rewrite(Refresh("secrets are to be revoked"))
        state.learn(listing=listing)

    def _write_retiring(self, journal: Journal, ids: frozenset[str]) -> None:
        """Write a journal in which a person has recorded these ids as retiring."""
        trail = self._executor.trail
        with ExitStack() as stack:
            for id_ in sorted(ids):
                entry = trail.entry(Act.RETIRE, trigger="resolve", secret_id=id_)
                stack.enter_context(trail.acting(entry, begin=True, required=True))
            self._state.write_journal(journal)
        self._state.learn(**NO_IDENTITY)  # the journal says more of the published id now
