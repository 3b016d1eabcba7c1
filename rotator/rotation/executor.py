"""Performs the protocol's steps, one method each.

It decides nothing. It adds what only the one who acts can do: it checks the lease right before each request that
changes something at the provider, reads back what it published, and refuses a step that would break an invariant.
"""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.audit import Act
from rotator.core.generator import generate
from rotator.core.protocol import (
    Answered,
    Awaited,
    Create,
    Credential,
    Event,
    Fail,
    List,
    Listing,
    Pause,
    Prepare,
    Publish,
    Published,
    ReadRecorded,
    Record,
    Refresh,
    Rest,
    Revoke,
    Step,
    Trigger,
    TryEarlier,
    transitions,
)
from rotator.errors import Code
from rotator.logs import register_secret
from rotator.provider import LostAnswer, NotSent, RateLimited, Refused, Unauthorized
from rotator.rotation.access import ProviderAccess
from rotator.rotation.audited import AuditTrail
from rotator.rotation.errors import RotationError, StoppedError
from rotator.rotation.ports import Provider, Waiter
from rotator.rotation.publisher import Publisher
from rotator.rotation.restoration import Restoration
from rotator.rotation.state import AccountState
from rotator.vault import VaultError


class Executor:
    """Performs steps for one account.

    Args:
        state: The state of the run. Every step adds its findings.
        provider: The Account API.
        trail: The audit log.
        wait: Waits; returns true if the process stops.
    """

    def __init__(self, state: AccountState, provider: Provider, trail: AuditTrail, wait: Waiter) -> None:
        self.state = state
        self.provider = provider
        self.trail = trail
        self.wait = wait
        self.revoked: tuple[str, ...] = ()
        self.access = ProviderAccess(state, provider)
        self.publisher = Publisher(state, trail)
        self._create_noted = False

    def rebound(self, state: AccountState) -> "Executor":
        """Return the same for a copy of the state."""
        copied = Executor(state, self.provider, self.trail.rebound(state), self.wait)
        copied.access = self.access.rebound(state)
        copied.revoked = self.revoked
        copied._create_noted = self._create_noted
        return copied

    def perform(self, step: Step) -> None:
        """Perform one step and add its findings to the state.

        Raises:
            RotatorError: If the step could not be done, or was to fail.
        """
        match step:
            case List():
                self._list(step.using)
            case ReadRecorded():
                self.state.read_recorded()
            case TryEarlier():
                Restoration(self.state, self.access, self.publisher).restore_earlier_version()
            case Prepare():
                self._prepare(step.trigger)
            case Create():
                self._create(step.using)
            case Publish():
                self._publish(step.secret_id)
            case Refresh():
                self.publisher.rewrite(step)
            case Revoke():
                self._revoke(step)
            case Record():
                self._record(step)
            case Pause():
                self._pause(step)
            case Fail():
                self._fail(step)
            case Rest():
                raise AssertionError("a rest is not performed")

    # --- looking -------------------------------------------------------------------------------------------------

    def _list(self, using: Credential) -> None:
        state = self.state
        fetched_at = state.clock()
        try:
            infos = self.access.list_as(using)
            if using is Credential.CANDIDATE and state.account.verify_balance:
                # The provider's other host has servers of its own, which might learn of a new secret later.
                self.provider.get_balance(self.access.credentials(using))
        except Unauthorized as error:
            state.log.info("provider.refused", credential=using.value, request_id=error.request_id)
            state.learn_refusal(using)
            return
        state.learn_listing(Listing(using, {info.id: info.created_at for info in infos}, fetched_at))

    # --- changing the provider -----------------------------------------------------------------------------------

    def _create(self, using: Credential) -> None:
        state, trail = self.state, self.trail
        candidate, auth = state.secret_of(Credential.CANDIDATE), self.access.credentials(using)
        entry = trail.entry(Act.CREATE, fingerprint=trail.fingerprint(candidate))
        noted, self._create_noted = self._create_noted, False
        if not trail.begins(entry, noted=noted):
            return  # stopped for too long since the decision: decide again
        sent_at = state.situation.shared_now
        state.learn(
            creates=state.seen.creates + 1,
            create_refused=None,
            listing=None,
            answered=None,
            refused=state.seen.refused - {Credential.CANDIDATE},
        )
        try:
            with trail.acting(entry) as found:
                created = self.provider.create_secret(auth, state.account.api_key, candidate)
                found.secret_id = created.id
        except Unauthorized as error:
            # The next list tells whether the credential is refused. The primary might have been rotated meanwhile.
            state.log.warning("rotation.create_refused", error=str(error))
            if using is Credential.PRIMARY and not self.access.reread_primary():
                state.learn_refusal(using)
        except RateLimited:
            raise
        except Refused as refusal:
            if refusal.code is Code.UNPROVISIONED:
                raise  # no evidence about the candidate
            state.log.warning("rotation.create_refused", error=str(refusal))
            state.learn(
                create_refused=refusal.what,
                value_refused=refusal.rejects_the_value,
                waiting_since=self._waiting_from_now(),
            )
        except NotSent as error:
            state.log.warning("rotation.create_not_sent", error=str(error))
        except LostAnswer as error:
            state.log.warning("rotation.create_unanswered", error=str(error))
            state.learn(create_lost_at=sent_at, waiting_since=self._waiting_from_now())
        else:
            state.log.info("rotation.created", secret_id=created.id)
            answered = Answered(state.journal.rotation_id or "", created.id)
            state.learn(answered=answered, waiting_since=self._waiting_from_now())

    def _waiting_from_now(self) -> dict[Awaited, datetime]:
        return {Awaited.CANDIDATE: self.state.clock()}

    def _revoke(self, step: Revoke) -> None:
        state = self.state
        self._refuse_unsafe_revocation(step)
        entry = self.trail.entry(Act.REVOKE, secret_id=step.id)
        if not self.trail.begins(entry, unless=state.forget_if_republished):
            return
        state.learn(listing=None)
        try:
            with self.trail.acting(entry):
                self.provider.revoke_secret(self.access.credentials(step.using), state.account.api_key, step.id)
        except RateLimited:
            raise
        except (Refused, NotSent, LostAnswer) as error:
            if error.code is Code.UNPROVISIONED:
                raise
            # Gone already, not answered, or not allowed: the next list tells which. Not even a 401 means that the
            # published secret is refused: the list before worked.
            state.log.warning("rotation.revoke_unanswered", secret_id=step.id, error=str(error))
            absent = state.seen.absent | ({step.id} if error.code is Code.NOT_FOUND else set())
            state.learn(revokes=state.seen.revokes + 1, absent=absent)
        else:
            state.log.info("rotation.revoked", secret_id=step.id)
            self.revoked += (step.id,)
            state.learn(revoked=state.seen.revoked | {step.id}, create_refused=None)

    def _refuse_unsafe_revocation(self, step: Revoke) -> None:
        """Check I2 to I4 and I9 once more, where a mistake would cost a consumer its secret."""
        listing, journal, id_ = self.state.seen.listing, self.state.journal, step.id
        safe = (
            listing is not None
            and listing.via is step.using
            and id_ != journal.current_id
            and id_ in journal.retiring_ids
            and id_ in listing.created
            and journal.publishing is None
        )
        if step.using is Credential.PUBLISHED:
            safe = (
                safe and journal.current_id is not None and journal.current_id in (listing.created if listing else ())
            )
        else:
            safe = safe and len(listing.created if listing else ()) > 1 and id_ not in self.state.seen.earlier_ids
        if not safe:
            raise AssertionError(f"revoking {id_} would not be safe")

    # --- changing Vault ------------------------------------------------------------------------------------------

    def _prepare(self, trigger: Trigger) -> None:
        state = self.state
        if self.wait(timedelta()):
            raise stopped(state)  # a run finishes work in progress, but begins nothing new
        candidate = register_secret(generate(state.account.recipe), passing=True)
        rotation_id = secrets.token_hex(8)
        journal = transitions.prepared(state.situation, trigger=trigger, candidate=candidate, rotation_id=rotation_id)
        self.trail.generated(candidate)
        entry = self.trail.entry(Act.CREATE, journal=journal, fingerprint=self.trail.fingerprint(candidate))
        # Nothing new begins that cannot be audited, unless consumers have nothing that works.
        self.trail.begin(entry, required=trigger is not Trigger.RESCUE)
        try:
            state.write_journal(journal)
        except VaultError:
            self.trail.abandon(entry)
            raise
        self._create_noted = True
        state.log.info("rotation.prepared", trigger=trigger.value)
        state.learn(
            prepared_here=True,
            creates=0,
            answered=None,
            create_refused=None,
            value_refused=False,
            waiting_since={},
            paused=timedelta(),
            values=state.seen.values + 1,
            refused=state.seen.refused - {Credential.CANDIDATE},
        )

    def _publish(self, secret_id: str | None) -> None:
        state, listing = self.state, self.state.seen.listing
        candidate = state.journal.candidate
        if candidate is None or listing is None or listing.via is not Credential.CANDIDATE:
            raise AssertionError("only a candidate that authenticates is published")
        published = Published(secret=candidate, secret_id=secret_id, rotated_at=state.clock())
        trigger = state.journal.trigger
        if not self.publisher.publish(published, trigger=trigger.value if trigger else None):
            return  # the lease ended since the decision: another instance might have abandoned the candidate
        # The candidate fetched this list a moment ago. It is the published secret now.
        state.learn(rotated=True, listing=replace(listing, via=Credential.PUBLISHED))
        state.log.info("rotation.published", secret_id=secret_id, version=state.document.version)

    def _record(self, step: Record) -> None:
        state = self.state
        committed = step.event is Event.COMMITTED
        if committed and not state.seen.rotated:
            self.trail.confirm_publish()
        state.write_journal(step.journal)
        if committed:
            keep = state.journal.holder is None  # a revocation at once needs a list fetched after this write
            state.learn(listing=state.seen.listing if keep else None)
        if step.event in (Event.ADOPTED, Event.UNMARKED):
            state.learn(identified=None, replaced=False, rewritten_over=None)
        state.log.info(step.event.value, phase=state.journal.phase.value, secret_id=state.journal.current_id)

    # --- waiting and failing -------------------------------------------------------------------------------------

    def _pause(self, pause: Pause) -> None:
        state = self.state
        now = state.clock()
        # A clock that was set back must not make it wait longer.
        since = min(state.seen.waiting_since.get(pause.awaited, now), now)
        if self.wait(pause.delay):
            raise stopped(state)
        if state.forget_if_moved():
            return
        paused = state.seen.paused
        if pause.awaited in (Awaited.CANDIDATE, Awaited.LOOK):
            paused += pause.delay
        refused = state.seen.refused - {Credential.CANDIDATE, Credential.PUBLISHED}
        waiting_since = {**state.seen.waiting_since, pause.awaited: since}
        state.learn(listing=None, refused=refused, waiting_since=waiting_since, paused=paused)

    def _fail(self, fail: Fail) -> None:
        """Fail, unless another writer changed the account meanwhile: the reason is out of date then."""
        if not self.state.forget_if_moved():
            raise RotationError(fail, unchanged=self.unchanged())

    def unchanged(self) -> str:
        """Return what this run left unchanged, as a sentence."""
        published = "the new secret is published and works" if self.state.seen.rotated else "the published secret stays"
        revoked = f"Revoked was {', '.join(self.revoked)} and nothing else" if self.revoked else "Nothing was revoked"
        return f"{revoked}, and {published}"


def stopped(state: AccountState) -> StoppedError:
    """Return the error of a run that the process's end cuts short."""
    return StoppedError(
        f"Told to stop before {state.account.name} was done",
        unchanged="The published secret is what it was",
        next_step="The next run continues",
    )
