"""The candidate: generated and written to the journal, then sent to the provider."""

import secrets
from datetime import datetime, timedelta

from rotator.audit import Act
from rotator.core.generator import generate
from rotator.core.protocol import Answered, Awaited, Credential, Failure, Trigger, transitions
from rotator.errors import Code
from rotator.logs import register_secret
from rotator.provider import LostAnswer, NotSent, RateLimited, Refused, Unauthorized
from rotator.rotation.access import ProviderAccess
from rotator.rotation.audit_trail import AuditTrail
from rotator.rotation.interfaces import Provider
from rotator.rotation.state import AccountState
from rotator.rotation.waiting import Waiting
from rotator.vault import VaultError


class Creation:
    """Creates the candidate of one account."""

    def __init__(
        self, state: AccountState, provider: Provider, access: ProviderAccess, trail: AuditTrail, waiting: Waiting
    ) -> None:
        self._state = state
        self._provider = provider
        self._access = access
        self._trail = trail
        self._waiting = waiting
        self._noted = False

    def prepare(self, trigger: Trigger) -> None:
        """Generate a candidate and write it into the journal, before the provider knows it.

        Raises:
            StoppedError: If the process stops; nothing was written then.
            RotatorError: If the journal was not written, or the audit log cannot be.
        """
        state = self._state
        self._waiting.for_moment(timedelta())  # a run finishes work in progress, but begins nothing new
        candidate = register_secret(generate(state.account.recipe), passing=True)
        rotation_id = secrets.token_hex(8)
        journal = transitions.prepared(state.situation, trigger=trigger, candidate=candidate, rotation_id=rotation_id)
        self._trail.generated(candidate)
        entry = self._trail.entry(Act.CREATE, journal=journal, fingerprint=self._trail.fingerprint(candidate))
        # Nothing new begins that cannot be audited, unless consumers have nothing that works.
        self._trail.begin(entry, required=trigger is not Trigger.RESCUE)
        try:
            state.write_journal(journal)
        except VaultError:
            self._trail.abandon(entry)
            raise
        self._noted = True
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

    def send(self, using: Credential) -> None:
        """Send the candidate to the provider, unless the lease has ended since the decision.

        Raises:
            RateLimited: If the provider limits the requests of this key.
            Unprovisioned: If the account has no access to the product.
            VaultError: If the id of the candidate's earlier create cannot be removed from the journal.
        """
        state = self._state
        trail = self._trail
        candidate = state.secret_of(Credential.CANDIDATE)
        auth = self._access.credentials(using)
        entry = trail.entry(Act.CREATE, fingerprint=trail.fingerprint(candidate))
        noted = self._noted
        self._noted = False
        if state.journal.candidate_id is not None:
            state.write_journal(transitions.sent_again(state.situation))
        if not trail.begins(entry, noted=noted):
            return  # stopped for too long since the decision: decide again
        sent_at = state.instants.latest_now
        state.learn(
            creates=state.seen.creates + 1,
            create_refused=None,
            listing=None,
            answered=None,
            refused=state.seen.refused - {Credential.CANDIDATE},
        )
        try:
            with trail.acting(entry) as found:
                created = self._provider.create_secret(auth, state.account.api_key, candidate)
                found.secret_id = created.id
        except Unauthorized as error:
            # The next list tells whether the credential is refused. The primary might have been rotated meanwhile.
            state.log.warning("rotation.create_refused", error=str(error))
            state.refer(Failure.UNANSWERED, error)
            if using is Credential.PRIMARY and not self._access.reread_primary():
                state.learn_refusal(using)
        except RateLimited:
            # Not carried out: none of the requests after which a run gives up.
            state.learn(creates=state.seen.creates - 1)
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
            state.refer(Failure.UNANSWERED, error)
        except LostAnswer as error:
            state.log.warning("rotation.create_unanswered", error=str(error))
            state.refer(Failure.UNANSWERED, error)
            state.learn(create_lost_at=sent_at, waiting_since=self._waiting_from_now())
        else:
            state.log.info("rotation.created", secret_id=created.id, request_id=created.request_id)
            answered = Answered(state.journal.rotation_id or "", created.id)
            state.learn(answered=answered, waiting_since=self._waiting_from_now())

    def _waiting_from_now(self) -> dict[Awaited, datetime]:
        return {Awaited.CANDIDATE: self._state.clock()}
