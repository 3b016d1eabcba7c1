"""The lease of an adoption, and the documents that it can replace."""

from dataclasses import replace
from datetime import timedelta

from rotator.core.protocol import Command, Fail, Journal, ids_of, refuse_foreign, transitions
from rotator.documents import format_instant
from rotator.rotation.errors import NOTHING_WRITTEN, ContentionError, OperatorError, RotationError
from rotator.rotation.run import Rotation
from rotator.vault import CasConflict

# How often an adoption tries to acquire the lease while other instances work on the account.
MAX_CLAIMS = 5


class AdoptionLease:
    """Reads the account, and acquires its lease for a value that a person brought.

    Args:
        rotation: A run over the account that begins no rotation of its own.

    Attributes:
        again: The command that repeats this adoption; it asks for the value.
    """

    def __init__(self, rotation: Rotation) -> None:
        self._rotation = rotation
        self._state = rotation.state
        self._name = rotation.account.name
        self.again = Command.of("adopt", self._name)

    def observe(self, replace_foreign: str | None) -> None:
        """Read the account. Refuse another account's document or journal, unless a person named that account.

        Raises:
            RotatorError: If one of them is foreign and not named, or a request of its rotation might be carried out.
        """
        state = self._state
        state.observe()
        fail = self._foreign_besides(replace_foreign)
        if fail is not None:
            raise RotationError(fail, unchanged=NOTHING_WRITTEN)
        if state.journal.api_key in (None, self._rotation.account.api_key):
            return
        until = state.situation.unfinished_until
        if until is not None:
            raise OperatorError(
                f"A rotation of the account {replace_foreign} is not finished in this journal",
                unchanged=NOTHING_WRITTEN,
                advice=f"Finish it with the configuration of {replace_foreign}. If that is impossible, try again after "
                f"{format_instant(until)}",
                next_command=self.again,
            )
        state.know(Journal())

    def _foreign_besides(self, replace_foreign: str | None) -> Fail | None:
        """Return the failure of a document that belongs to an account which the person did not name."""
        case = self._state.situation
        own = ids_of(self._rotation.account.api_key, replace_foreign)
        published = case.seen.published
        journal = case.stored
        if published.api_key in own:
            case = replace(case, seen=replace(case.seen, published=replace(published, api_key=None)))
        if journal.api_key in own:
            case = replace(case, stored=replace(journal, api_key=None))
        return refuse_foreign(case)

    def acquire(self, secret_id: str | None, replace_foreign: str | None, *, gives_up_other: bool) -> None:
        """Acquire the lease, and mark the write if the value might be a retiring secret's.

        A revocation that was sent before is over only when the provider cannot carry it out any more. If another
        instance changed the account during that wait, it might have sent one: the wait begins again. A revocation of a
        run whose journal is lost is over at an instant that this instance's journal notes.

        Args:
            secret_id: The value's id, if a person named it.
            replace_foreign: The account whose journal can be replaced.
            gives_up_other: Whether a person said that the path is right, though a write to another one is marked.

        Raises:
            RotatorError: If another instance holds the lease for longer than this run may wait.
        """
        state = self._state
        waited = False
        conflicts = 0
        while conflicts < MAX_CLAIMS:
            until = state.situation.leased_until
            if until is not None:
                if not self._rotation.waiting.for_lease(until):
                    raise OperatorError(
                        f"{state.journal.lease_holder} holds the lease of {self._name}",
                        unchanged=NOTHING_WRITTEN,
                        advice=f"Try again after {format_instant(until)}",
                        next_command=self.again,
                    )
                waited = False
                self.observe(replace_foreign)
                continue
            may_be_retiring = self._may_be_retiring()
            case = state.situation
            try:
                marked = transitions.marked(case, secret_id, gives_up_other=gives_up_other)
                state.write_journal(marked if may_be_retiring else transitions.claimed(case))
            except CasConflict:
                waited = False
                conflicts += 1
                self._rotation.waiting.after_conflict(conflicts)
                self.observe(replace_foreign)
                continue
            if waited or not may_be_retiring:
                return
            delay = self._late_revocation()
            detail = "a revocation might be under way"
            self._rotation.waiting.log("adoption.waiting", "late_revocation", state.clock() + delay, detail)
            self._rotation.waiting.for_moment(delay)
            waited = not state.forget_if_moved()
            if not waited:
                conflicts += 1
                self.observe(replace_foreign)
        raise ContentionError(
            f"The documents of {self._name} changed again and again before this command could write",
            unchanged=NOTHING_WRITTEN,
            next_step="Find out what else writes there, or whether a cache is in front of Vault. Then try again",
            next_command=self.again,
        )

    def _may_be_retiring(self) -> bool:
        """Return whether the value can be a retiring secret's. The id that a person named does not tell.

        Nor does a journal that is new although the account is not: what the lost one called retiring is not known.
        """
        case = self._state.situation
        lost = case.journal.lost_journal_until is not None
        return lost or case.journal.publishing is not None or bool(case.journal.retiring)

    def _late_revocation(self) -> timedelta:
        """Return how long a revocation that was sent before might still be carried out."""
        state = self._state
        case = state.situation
        lost = case.journal.lost_journal_until
        left = timedelta() if lost is None else lost - case.shared_now
        return max(state.policy.request_timeout + state.policy.window, left)
