"""Manual commands for one account: adopt a secret, resolve unknown secrets."""

from collections.abc import Set
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import SecretStr

from rotator.audit import Act
from rotator.core.protocol import (
    Command,
    Fail,
    Failure,
    Identity,
    Journal,
    Learned,
    Outcome,
    Published,
    Refresh,
    Request,
    ids_of,
    is_recorded,
    requests,
    transitions,
)
from rotator.core.protocol.documents import refuse_foreign, refuse_lost_journal
from rotator.documents.published import format_instant, parse_published
from rotator.errors import RotatorError
from rotator.provider import SecretInfo
from rotator.rotation.errors import ContentionError, OperatorError, RotationError
from rotator.rotation.executor import EARLIER_VERSIONS, stopped
from rotator.rotation.preview import look
from rotator.rotation.run import Rotation
from rotator.vault import CasConflict

# How often an adoption tries to acquire the lease while other instances work on the account.
MAX_CLAIMS = 5
_UNCHANGED = "Nothing was written"


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
        secret: SecretStr,
        secret_id: str | None,
        *,
        replace_working: bool = False,
        replace_foreign: str | None = None,
        retire: Set[str] = frozenset(),
    ) -> Outcome:
        """Publish a value that a person brought, once it has authenticated, and adopt the account.

        Args:
            secret: The value.
            secret_id: Its id; needed where the provider lists several.
            replace_working: Replace a published secret that authenticates, or publish a compromised one again.
            replace_foreign: The account whose document or journal may be replaced.
            retire: Other listed ids to revoke after the grace period.

        Raises:
            RotatorError: If the value is refused, or its id is not known; nothing was written then.
        """
        state = self._state
        self._observe(replace_foreign)
        infos = self._listed_with(secret, secret_id)
        self._check_retire(retire, infos, secret_id)
        known = self._identity(secret, secret_id, infos)
        identity = known if secret_id is not None else None  # otherwise the ordinary rules recognize it
        published = state.seen.published
        # A manual edit of the value usually keeps the id. rotator never revokes an id that the document names.
        named_otherwise = secret_id is not None and published.secret_id not in (None, secret_id)
        if published.secret != secret or named_otherwise or replace_foreign is not None:
            self._check_replaceable(secret, known, replace_working=replace_working)
            try:
                identity = self._publish(
                    secret, secret_id, replace_working=replace_working, replace_foreign=replace_foreign
                )
            except RotatorError:
                self._rotation.release()
                raise
        state.learn(identified=identity, journal_lost=False)
        outcome = self._rotation.run()
        return self._with_retiring(frozenset(retire)) if retire else outcome

    def _observe(self, replace_foreign: str | None) -> None:
        """Read the account. Refuse another account's document or journal, unless a person named that account.

        Raises:
            RotatorError: If one of them is foreign and not named, or its rotation is not finished.
        """
        state = self._state
        state.observe()
        fail = self._foreign_besides(replace_foreign)
        if fail is not None:
            raise RotationError(fail, unchanged=_UNCHANGED)
        if state.journal.api_key in (None, self._rotation.account.api_key):
            return
        leased = state.situation.leased_until
        if state.journal.candidate is not None or leased is not None or state.journal.publishing is not None:
            raise OperatorError(
                f"A rotation of the account {replace_foreign} is not finished in this journal",
                unchanged=_UNCHANGED,
                advice=f"Finish it with the configuration of {replace_foreign} first",
            )
        state.know(Journal())

    def _foreign_besides(self, replace_foreign: str | None) -> Fail | None:
        """Return the failure of a document that belongs to an account which the person did not name."""
        case = self._state.situation
        own = ids_of(self._rotation.account.api_key, replace_foreign)
        published, journal = case.seen.published, case.stored
        if published.api_key in own:
            case = replace(case, seen=replace(case.seen, published=replace(published, api_key=None)))
        if journal.api_key in own:
            case = replace(case, stored=replace(journal, api_key=None))
        return refuse_foreign(case)

    def _listed_with(self, secret: SecretStr, secret_id: str | None) -> tuple[SecretInfo, ...]:
        account = self._rotation.account
        infos = self._executor.list_with(secret)
        if infos is None:
            raise OperatorError(
                f"The provider refuses this secret for {self._name} ({account.api_key})",
                unchanged=_UNCHANGED,
                advice="Look the secret up in the provider's dashboard and try again",
            )
        if secret_id is not None and secret_id not in {info.id for info in infos}:
            listed = ", ".join(info.id for info in infos)
            raise OperatorError(f"The provider does not list {secret_id}; it lists {listed}", unchanged=_UNCHANGED)
        return infos

    def _identity(self, secret: SecretStr, secret_id: str | None, infos: tuple[SecretInfo, ...]) -> Identity:
        """Return what is known of the value's id.

        Raises:
            RotatorError: If several ids are possible, or the given one belongs to another value.
        """
        state, listed = self._state, frozenset(info.id for info in infos)
        foreign = self._ids_of_others(secret)
        if secret_id is not None:
            if secret_id in foreign:
                raise OperatorError(
                    f"The id {secret_id} belongs to another secret of {self._name}",
                    unchanged=_UNCHANGED,
                    advice="Name the id of this value",
                )
            return Identity(secret_id, Learned.PERSON, beside=listed)
        pool = listed - foreign - state.situation.gone
        if len(pool) > 1 and not self._is_certain(secret):
            described = ", ".join(f"{info.id} (created {format_instant(info.created_at)})" for info in infos)
            raise OperatorError(
                f"The provider lists {len(infos)} secrets and does not say which one this value is: {described}",
                unchanged=_UNCHANGED,
                advice="Name its id",
                next_command=Command.of("adopt", self._name, "--secret-id", "ID"),
            )
        case = state.situation
        return replace(
            transitions.pending(case, foreign_ids=frozenset(foreign), guess=next(iter(pool), None)), beside=listed
        )

    def _is_certain(self, secret: SecretStr) -> bool:
        """Whether the value is published and recorded already."""
        published = self._state.seen.published
        recorded = is_recorded(self._state.journal, published)
        return published.secret == secret and (recorded and self._state.journal.current is not None)

    def _ids_of_others(self, secret: SecretStr) -> set[str]:
        """Return ids that rotator wrote into the published document together with other values.

        An id that a person named for another value does not count: they might have been wrong.
        """
        state, account = self._state, self._rotation.account
        current, newest = state.journal.current, state.document.version
        ids: set[str] = set()
        if (
            current is not None
            and current.is_answered
            and current.id
            and state.seen.published.secret not in (None, secret)
        ):
            ids.add(current.id)
        owners: dict[str, SecretStr] = {}
        for version in range(max(0, newest - EARLIER_VERSIONS) + 1, newest + 1):
            document = state.document if version == newest else state.store.read(account.path, version)
            known = parse_published(document, account.fields)
            if known.secret_id is not None and known.rotated_at is not None and known.secret is not None:
                # A manual edit might keep the previous id. An id belongs to the value of its oldest version.
                owners.setdefault(known.secret_id, known.secret)
        ids |= {id_ for id_, owner in owners.items() if owner != secret}
        identities = (current, *(entry.identity for entry in state.journal.retiring))
        return ids - {known.id for known in identities if known is not None and known.learned is Learned.PERSON}

    def _check_retire(self, retire: Set[str], infos: tuple[SecretInfo, ...], secret_id: str | None) -> None:
        others = {info.id for info in infos} - {secret_id}
        wrong = sorted(retire - others)
        if wrong:
            raise OperatorError(
                f"{wrong[0]} cannot be retired: the other listed ids are {', '.join(sorted(others)) or 'none'}",
                unchanged=_UNCHANGED,
            )
        if retire and secret_id is None:
            raise OperatorError(
                "--retire needs --secret-id: otherwise the published secret's id is not certain", unchanged=_UNCHANGED
            )

    def _check_replaceable(self, secret: SecretStr, identity: Identity, *, replace_working: bool) -> None:
        """Refuse to replace a published secret that authenticates, or to publish a compromised one, unasked.

        Raises:
            RotatorError: Then.
        """
        state = self._state
        published, foreign = state.seen.published, refuse_foreign(state.situation) is not None
        compromised = state.journal.compromised_ids
        if replace_working:
            return
        possible = {identity.id} if identity.id is not None and not identity.is_pending else compromised
        if compromised & possible:
            raise OperatorError(
                f"This secret of {self._name} might be the one that was given up as compromised",
                unchanged=_UNCHANGED,
                advice="To publish it all the same, add --replace",
                next_command=Command.of("adopt", self._name, "--replace"),
            )
        if published.secret not in (None, secret) and not foreign and self._works(published.secret):
            raise OperatorError(
                f"{self._rotation.account.path} already contains another secret, which authenticates",
                unchanged=_UNCHANGED,
                advice="To replace it all the same, add --replace",
                next_command=Command.of("adopt", self._name, "--replace"),
            )

    def _works(self, secret: SecretStr | None) -> bool:
        """Whether a value authenticates. One refusal can be a mistake; rotator retries for the consistency window."""
        if secret is None:
            return False
        state = self._state
        ends, delay = state.clock() + state.policy.window, timedelta(milliseconds=200)
        while self._executor.list_with(secret) is None:
            left = ends - state.clock()
            if left <= timedelta():
                return False
            if self._rotation.wait(min(delay, left)):
                raise stopped(state)
            delay = min(delay * 2, timedelta(seconds=5))
        return True

    def _publish(
        self, secret: SecretStr, secret_id: str | None, *, replace_working: bool, replace_foreign: str | None
    ) -> Identity:
        """Publish the value under the lease, over the version that the mark in the journal names; its identity."""
        state = self._state
        self._acquire(secret_id, replace_foreign)
        # Once more: only now no other instance can revoke or replace anything.
        infos = self._listed_with(secret, secret_id)
        identity = self._identity(secret, secret_id, infos)
        self._check_replaceable(secret, identity, replace_working=replace_working)
        info = next((info for info in infos if info.id == secret_id), None)
        replaced = state.seen.published.secret != secret and state.speaks_of_published()
        published = Published(
            secret=secret, secret_id=secret_id, rotated_at=info.created_at if info is not None else state.clock()
        )
        if not self._executor.publish(published, trigger="adopt"):
            raise ContentionError(
                f"The lease of {self._name} ended before the secret was published",
                unchanged=_UNCHANGED,
                next_step="Try again",
            )
        state.learn(replaced=replaced)
        return identity

    def _acquire(self, secret_id: str | None, replace_foreign: str | None) -> None:
        """Acquire the lease, and mark the write if the value might be a retiring secret's.

        An earlier revocation has ended only when the provider can no longer carry it out.

        Raises:
            RotatorError: If another instance holds the lease for longer than this run may wait.
        """
        state, waited, conflicts = self._state, False, 0
        while conflicts < MAX_CLAIMS:
            until = state.situation.leased_until
            if until is not None:
                if not self._rotation.wait_for_lease(until):
                    raise OperatorError(
                        f"{state.journal.holder} holds the lease of {self._name}",
                        unchanged=_UNCHANGED,
                        advice=f"Try again after {format_instant(until)}",
                    )
                self._observe(replace_foreign)
                continue
            may_be_retiring = self._may_be_retiring(secret_id)
            case = state.situation
            try:
                state.write_journal(
                    transitions.marked(case, secret_id) if may_be_retiring else transitions.claimed(case)
                )
            except CasConflict:
                conflicts += 1
                self._observe(replace_foreign)
                continue
            if waited or not may_be_retiring:
                return
            delay = state.policy.request_timeout + state.policy.window
            state.log.info(
                "adoption.waiting",
                until=format_instant(state.clock() + delay),
                detail="a revocation might be under way",
            )
            if self._rotation.wait(delay):
                raise stopped(state)
            waited = True
            if state.forget_if_moved():
                self._observe(replace_foreign)
        raise ContentionError(
            f"Other instances keep working on {self._name}", unchanged=_UNCHANGED, next_step="Try again"
        )

    def _may_be_retiring(self, secret_id: str | None) -> bool:
        journal = self._state.journal
        if journal.publishing is not None:
            return True
        return bool(journal.retiring) if secret_id is None else secret_id in journal.retiring_ids

    def _with_retiring(self, ids: frozenset[str]) -> Outcome:
        state = self._state
        self._end_writes_in_flight("secrets are given up")
        not_before = state.clock() + state.policy.grace
        self._write_retiring(transitions.retired_by_hand(state.situation, ids, not_before=not_before), ids)
        state.forget()
        return self._rotation.run()

    # --- requests ------------------------------------------------------------------------------------------------

    def cancel(self) -> Request | None:
        """Withdraw the request that the journal contains, also under another instance's lease.

        Returns:
            The request; None if there was none.

        Raises:
            RotatorError: If the journal could not be read or written, belongs to another account or was deleted.
        """
        state = self._state
        for _ in range(MAX_CLAIMS):
            state.observe()
            fail = refuse_foreign(state.situation) or refuse_lost_journal(state.situation)
            if fail is not None:
                raise RotationError(fail, unchanged=_UNCHANGED)
            request = state.journal.request
            if request is None:
                return None
            try:
                state.write_journal(requests.withdrawn(state.journal))
            except CasConflict:
                continue
            state.log.warning("request.withdrawn", kind=request.kind.value, by=request.by)
            return request
        raise ContentionError(
            f"Other instances keep working on {self._name}",
            unchanged="The request stays",
            next_step=f"Try again: {Command.of('rotate-now', self._name, '--cancel')}",
        )

    # --- resolve -------------------------------------------------------------------------------------------------

    def unknown(self) -> dict[str, datetime]:
        """Return what the provider lists and a person may have revoked, with the creation times; changes nothing.

        These are the ids that rotator cannot account for, and those of secrets that a person added. The id of a
        candidate that does not authenticate in time is among them: it can be given up.

        Raises:
            RotatorError: If the account cannot be read, if it fails for another reason, or if one of the ids might be
                the published secret's.
        """
        step = look(self._rotation)
        case = self._state.situation
        if case.journal.publishing is not None and not isinstance(step, Fail):
            raise OperatorError(
                f"A write to {self._rotation.account.path} was interrupted and might still be applied",
                unchanged="Nothing was changed",
                advice="End it first",
                next_command=Command.of("rotate-now", self._name, "--due"),
            )
        if isinstance(step, Fail):
            created = case.seen.created
            if step.failure is Failure.UNVERIFIED and case.candidate_id in created:
                return {str(case.candidate_id): created[str(case.candidate_id)]}
            ids = (case.unknown | case.added) - {case.seen.published.secret_id}
            if ids and not case.in_doubt and step.failure in (Failure.AMBIGUOUS, Failure.FULL):
                return {id_: created[id_] for id_ in sorted(ids)}
            raise RotationError(step, unchanged="Nothing was changed")
        return {id_: case.seen.created[id_] for id_ in sorted(case.added - {case.seen.published.secret_id})}

    def resolve(self, revoke: frozenset[str]) -> Outcome:
        """Record these ids, which `unknown` named, as retiring, and revoke them by the ordinary rules.

        A candidate is given up with them. A write of one of these values to the published document might still be under
        way, from a run or an adoption that died: so the document is written again, unchanged, before an id becomes
        retiring (I9).
        """
        state = self._state
        if state.seen.published.secret is not None:
            self._end_writes_in_flight("secrets are given up")
        self._write_retiring(transitions.resolved(state.situation, revoke), revoke)
        state.log.warning("account.resolved", revoke=sorted(revoke))
        state.forget()
        return self._rotation.run()

    def _end_writes_in_flight(self, why: str) -> None:
        """Write the published document again, unchanged: a write that was sent before can no longer be applied."""
        state = self._state
        listing = state.seen.listing
        leased = state.situation.leased_until
        if leased is not None:
            raise OperatorError(
                f"{state.journal.holder} holds the lease of {self._name}",
                unchanged="Nothing was recorded for revocation",
                advice=f"Try again after {format_instant(leased)}",
            )
        state.write_journal(transitions.claimed(state.situation))
        self._executor.rewrite(Refresh(why))
        state.learn(listing=listing)

    def _write_retiring(self, journal: Journal, ids: frozenset[str]) -> None:
        """Write a journal in which a person has recorded these ids as retiring."""
        trail = self._executor.trail
        with ExitStack() as stack:
            for id_ in sorted(ids):
                entry = trail.entry(Act.RETIRE, trigger="resolve", secret_id=id_)
                stack.enter_context(trail.acting(entry, begin=True, required=True))
            self._state.write_journal(journal)
