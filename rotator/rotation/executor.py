"""Performs the protocol's steps, one method each.

It decides nothing. It adds what only the one who acts can do: it checks the lease right before each request that
changes something at the provider, reads back what it published, and refuses a step that would break an invariant.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from rotator.audit import Act
from rotator.core.generator import generate
from rotator.core.protocol import (
    Answered,
    Awaited,
    Create,
    Credential,
    Event,
    Fail,
    Identity,
    Learned,
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
    ids_of,
    is_recorded,
    transitions,
)
from rotator.documents.published import parse_published
from rotator.errors import Code, RotatorError
from rotator.logs import register_secret
from rotator.provider import Credentials, LostAnswer, NotSent, RateLimited, Refused, SecretInfo, Unauthorized
from rotator.rotation.audited import AuditTrail
from rotator.rotation.errors import RotationError, StoppedError
from rotator.rotation.ports import Provider, Waiter
from rotator.rotation.state import AccountState
from rotator.vault import VaultError

# How many older versions of the published document are tried when the published secret is refused.
EARLIER_VERSIONS = 10


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
        self._primary: Credentials | None = None
        self._create_noted = False

    def rebound(self, state: AccountState) -> "Executor":
        """Return the same for a copy of the state."""
        copied = Executor(state, self.provider, self.trail.rebound(state), self.wait)
        copied.revoked, copied._primary, copied._create_noted = self.revoked, self._primary, self._create_noted
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
                self._restore_earlier_version()
            case Prepare():
                self._prepare(step.trigger)
            case Create():
                self._create(step.using)
            case Publish():
                self._publish(step.secret_id)
            case Refresh():
                self.rewrite(step)
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
            infos = self._list_as(using)
            if using is Credential.CANDIDATE and state.account.verify_balance:
                # The provider's other host has servers of its own, which might learn of a new secret later.
                self.provider.get_balance(self.credentials(using))
        except Unauthorized as error:
            state.log.info("provider.refused", credential=using.value, request_id=error.request_id)
            state.learn_refusal(using)
            return
        state.learn_listing(Listing(using, {info.id: info.created_at for info in infos}, fetched_at))

    def _list_as(self, using: Credential) -> tuple[SecretInfo, ...]:
        """Return the list; with the primary's credentials, ask once more if they were rotated since they were read."""
        api_key = self.state.account.api_key
        try:
            return self.provider.list_secrets(self.credentials(using), api_key)
        except Unauthorized:
            if using is not Credential.PRIMARY or not self._reread_primary():
                raise
        return self.provider.list_secrets(self.credentials(using), api_key)

    def list_with(self, secret: SecretStr) -> tuple[SecretInfo, ...] | None:
        """Return the list that a value fetches; None if the provider refuses the value."""
        api_key = self.state.account.api_key
        try:
            return self.provider.list_secrets(Credentials(api_key, secret), api_key)
        except Unauthorized:
            return None

    def credentials(self, using: Credential) -> Credentials:
        """Return what a request authenticates with."""
        if using is Credential.PRIMARY:
            return self._primary or self._read_primary()
        return Credentials(self.state.account.api_key, self.state.secret_of(using))

    def _read_primary(self) -> Credentials:
        state = self.state
        primary = state.settings.account(state.account.primary or "")
        published = parse_published(state.store.read(primary.path), primary.fields)
        if published.api_key not in (None, primary.api_key):
            raise RotatorError(
                f"The published document of the primary account {primary.name} belongs to the account "
                f"{published.api_key}, so it cannot act for {state.account.name}",
                unchanged=f"Nothing was changed for {state.account.name}",
                next_step=f"Look at the primary account: rotator status {primary.name}",
            )
        if published.secret is None:
            raise RotatorError(
                f"The primary account {primary.name} has nothing published, so it cannot act for {state.account.name}",
                unchanged=f"Nothing was changed for {state.account.name}",
                next_step=f"Adopt the primary account first: rotator adopt {primary.name}",
            )
        self._primary = Credentials(primary.api_key, published.secret)
        return self._primary

    def _reread_primary(self) -> bool:
        before = self._primary
        return self._read_primary() != before

    # --- changing the provider -----------------------------------------------------------------------------------

    def _create(self, using: Credential) -> None:
        state, trail = self.state, self.trail
        candidate, auth = state.secret_of(Credential.CANDIDATE), self.credentials(using)
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
            if using is Credential.PRIMARY and not self._reread_primary():
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
                self.provider.revoke_secret(self.credentials(step.using), state.account.api_key, step.id)
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
        if not self.publish(published, trigger=trigger.value if trigger else None):
            return  # the lease ended since the decision: another instance might have abandoned the candidate
        # The candidate fetched this list a moment ago. It is the published secret now.
        state.learn(rotated=True, listing=replace(listing, via=Credential.PUBLISHED))
        state.log.info("rotation.published", secret_id=secret_id, version=state.document.version)

    def publish(self, published: Published, *, trigger: str | None, base: Mapping[str, Any] | None = None) -> bool:
        """Write the published document and read it back; false if the lease ended before.

        Raises:
            RotatorError: If Vault returns something else than what was written.
        """
        state = self.state
        data = state.published_data(published, base)
        fingerprint = self.trail.fingerprint(published.secret)
        entry = self.trail.entry(Act.PUBLISH, trigger=trigger, secret_id=published.secret_id, fingerprint=fingerprint)
        if not self.trail.begins(entry):
            return False
        with self.trail.acting(entry) as found:
            version = found.version = state.write_published(data)
        if state.document.version == version and state.seen.published.secret != published.secret:
            raise RotatorError(
                f"Vault returned something else than what was just written to {state.account.path}",
                unchanged="Nothing was revoked",
                next_step=f"Look at it, then: rotator rotate-now {state.account.name}",
            )
        return True

    def rewrite(self, step: Refresh) -> None:
        """Write the published document again, unchanged but for the id that it is to name."""
        state = self.state
        recorded = is_recorded(state.journal, state.seen.published)
        over, data = state.document.version if recorded else None, dict(state.document.data or {})
        if step.secret_id is not None:
            data[state.account.fields.secret_id] = step.secret_id
        version = state.write_published(data)
        state.log.info("published.rewritten", version=version, reason=step.why)
        state.learn(rewritten_over=over)

    def _restore_earlier_version(self) -> None:
        """Publish the newest earlier value that still authenticates and is not compromised."""
        state = self.state
        newest = state.document.version - 1
        documents = [
            (version, state.store.read(state.account.path, version))
            for version in range(newest, max(0, newest - EARLIER_VERSIONS), -1)
        ]
        versions = [
            (version, document, parse_published(document, state.account.fields)) for version, document in documents
        ]
        # A manual edit might keep the previous id. An id belongs to the value of its oldest version.
        owners = {earlier.secret_id: earlier.secret for _, _, earlier in versions if earlier.secret is not None}
        tried, ids = {state.seen.published.secret, None}, set[str]()
        for version, document, earlier in versions:
            ids |= ids_of(earlier.secret_id)
            foreign = earlier.api_key not in (None, state.account.api_key)
            if earlier.secret is None or earlier.secret in tried or foreign:
                continue
            tried.add(earlier.secret)
            infos = self.list_with(earlier.secret)
            if infos is None:
                continue
            listed = {info.id for info in infos}
            if earlier.secret_id not in listed or owners[earlier.secret_id] != earlier.secret:
                earlier = replace(earlier, secret_id=None)  # noqa: PLW2901 - without the id that is not its own
            if state.journal.compromised_ids & ({earlier.secret_id} if earlier.secret_id else listed):
                state.log.warning("account.not_restored", from_version=version, detail="it might be compromised")
                continue
            if self._restore(earlier, document.data):
                state.log.warning("account.restored", from_version=version, secret_id=earlier.secret_id)
            return
        state.learn(earlier_tried=True, earlier_ids=frozenset(ids))

    def _restore(self, earlier: Published, base: Mapping[str, Any] | None) -> bool:
        """Publish an earlier value. If its id might be retiring, the journal says so first (I9)."""
        state = self.state
        identity = self._identity_of(earlier.secret_id)
        recorded = state.speaks_of_published()
        if state.journal.retiring or state.journal.publishing is not None:
            state.write_journal(transitions.marked(state.situation, earlier.secret_id))
        if not self.publish(earlier, trigger=Trigger.RESCUE.value, base=base):
            return False
        identity = identity or transitions.pending(state.situation, foreign_ids=frozenset())
        state.learn(identified=identity, replaced=recorded)
        return True

    def _identity_of(self, id_: str | None) -> Identity | None:
        """Return the identity of an id that an earlier version of the published document names."""
        if id_ is None:
            return None
        entry = next((entry for entry in self.state.journal.retiring if entry.id == id_), None)
        if entry is not None and entry.identity is not None and not entry.is_pending:
            return entry.identity
        return Identity(id_, Learned.ELIMINATED)

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
