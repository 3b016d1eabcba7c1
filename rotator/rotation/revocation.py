"""The revocation of a recorded secret."""

from rotator.audit import Act
from rotator.core.protocol import Credential, Failure, Revoke
from rotator.errors import Code
from rotator.provider import LostAnswer, NotSent, RateLimited, Refused
from rotator.rotation.access import ProviderAccess
from rotator.rotation.audit_trail import AuditTrail
from rotator.rotation.interfaces import Provider
from rotator.rotation.state import AccountState


class Revocation:
    """Revokes recorded secrets of one account.

    Attributes:
        done: The ids that this run revoked.
    """

    def __init__(self, state: AccountState, provider: Provider, access: ProviderAccess, trail: AuditTrail) -> None:
        self.done: tuple[str, ...] = ()
        self._state = state
        self._provider = provider
        self._access = access
        self._trail = trail

    def revoke(self, step: Revoke) -> None:
        """Revoke a recorded secret, unless the lease has ended or the published document has changed.

        Raises:
            RateLimited: If the provider limits the requests of this key.
            Unprovisioned: If the account has no access to the product.
        """
        state = self._state
        refuse_if_unsafe(step, state)
        entry = self._trail.entry(Act.REVOKE, secret_id=step.id)
        if not self._trail.begins(entry, unless=state.forget_if_republished):
            return
        state.learn(listing=None, beside_revoked=frozenset(state.seen.created) - {step.id})
        sent_at = state.instants.latest_now
        try:
            with self._trail.acting(entry):
                auth = self._access.credentials(step.using)
                request_id = self._provider.revoke_secret(auth, state.account.api_key, step.id)
        except RateLimited:
            raise
        except (Refused, NotSent, LostAnswer) as error:
            if error.code is Code.UNPROVISIONED:
                raise
            # Gone already, not answered, or not allowed: the next list tells which. Not even a 401 means that the
            # published secret is refused: the list before worked.
            state.log.warning("rotation.revoke_unanswered", secret_id=step.id, error=str(error))
            state.refer(Failure.UNANSWERED, error)
            absent = state.seen.absent | ({step.id} if error.code is Code.NOT_FOUND else set())
            state.learn(revokes=state.seen.revokes + 1, absent=absent)
            if isinstance(error, LostAnswer):
                state.learn(revoke_lost_at=sent_at)
        else:
            state.log.info("rotation.revoked", secret_id=step.id, request_id=request_id)
            self.done += (step.id,)
            state.learn(revoked=state.seen.revoked | {step.id}, create_refused=None)


def refuse_if_unsafe(step: Revoke, state: AccountState) -> None:
    """Check I2 to I4 and I9 once more, where a mistake would cost a consumer its secret."""
    listing = state.seen.listing
    journal = state.journal
    id_ = step.id
    safe = (
        listing is not None
        and listing.via is step.using
        and id_ != journal.current_id
        and id_ in journal.retiring_ids
        and id_ in listing.created
        and journal.publishing is None
    )
    if step.using is Credential.PUBLISHED:
        safe = safe and journal.current_id is not None and journal.current_id in (listing.created if listing else ())
    else:
        safe = safe and len(listing.created if listing else ()) > 1 and id_ not in state.seen.earlier_ids
    if not safe:
        raise AssertionError(f"revoking {id_} would not be safe")
