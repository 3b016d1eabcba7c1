"""Performs the protocol's steps.

It decides nothing. Steps that change the provider are in `creation` and `revocation`, writes of the published document
in `publisher` and `restoration`, pauses in `waiting`. They add what only the one who acts can do: they check the lease
right before each request that changes something at the provider, read back what they published, and refuse a step that
would break an invariant.
"""

from dataclasses import replace

from rotator.core.protocol import (
    Awaited,
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    List,
    Listing,
    Poll,
    Prepare,
    Publish,
    Published,
    ReadRecorded,
    Refresh,
    RestoreEarlierVersion,
    Revoke,
    Step,
    Stop,
    Trigger,
    WriteJournal,
)
from rotator.core.protocol.wording import listed, number
from rotator.errors import RotatorError
from rotator.provider import ApiError, Unauthorized
from rotator.rotation.access import ProviderAccess
from rotator.rotation.audit_trail import AuditTrail
from rotator.rotation.continuation import is_new_secret_published
from rotator.rotation.creation import Creation
from rotator.rotation.errors import RotationError
from rotator.rotation.interfaces import Provider
from rotator.rotation.publisher import Publisher
from rotator.rotation.restoration import Restoration
from rotator.rotation.revocation import Revocation
from rotator.rotation.state import NO_IDENTITY, AccountState
from rotator.rotation.waiting import Waiting


class Executor:
    """Performs steps for one account."""

    def __init__(self, state: AccountState, provider: Provider, trail: AuditTrail, waiting: Waiting) -> None:
        self.state = state
        self.provider = provider
        self.trail = trail
        self.access = ProviderAccess(state, provider)
        self.publisher = Publisher(state, trail)
        self._waiting = waiting
        self._creation = Creation(state, provider, self.access, trail, waiting)
        self._revocation = Revocation(state, provider, self.access, trail)

    @property
    def revoked(self) -> tuple[str, ...]:
        """The ids that this run revoked."""
        return self._revocation.done

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
            case RestoreEarlierVersion():
                Restoration(self.state, self.access, self.publisher).restore_earlier_version()
            case Prepare():
                self._creation.prepare(step.trigger)
            case Create():
                self._creation.send(step.using)
            case Publish():
                self._publish(step.secret_id)
            case Refresh():
                self.publisher.rewrite(step)
            case Revoke():
                self._revocation.revoke(step)
            case WriteJournal():
                self._record(step)
            case Poll():
                self._waiting.for_fact(step)
            case Fail():
                self._fail(step)
            case Stop():
                raise AssertionError("a rest is not performed")

    def _list(self, using: Credential) -> None:
        state = self.state
        fetched_at = state.clock()
        try:
            infos = self.access.list_as(using)
            if using is Credential.CANDIDATE and state.account.verify_balance and not self._is_confirmed():
                return
        except Unauthorized as error:
            log = state.log.debug if self._waiting.is_repeated_refusal(using) else state.log.info
            log("provider.refused", credential=using.value, request_id=error.request_id)
            state.refer(Failure.UNVERIFIED if using is Credential.CANDIDATE else Failure.CREDENTIALS, error)
            state.learn_refusal(using)
            return
        state.learn_listing(Listing(using, {info.id: info.created_at for info in infos}, fetched_at))

    def _is_confirmed(self) -> bool:
        """Return whether the provider's other host accepts the candidate as well, or consumers cannot wait for that.

        That host has servers of its own, which might learn of a new secret later.
        """
        try:
            self.provider.get_balance(self.access.credentials(Credential.CANDIDATE))
        except ApiError as error:
            if not self._consumers_have_outage(error):
                return False
            self.state.log.warning("candidate.not_confirmed", error=str(error))
        return True

    def _consumers_have_outage(self, error: ApiError) -> bool:
        """Return whether nothing that works is published, after the other host did not accept the candidate.

        One refusal of the published secret is no evidence: it has to last for the consistency window.

        Raises:
            ApiError: The other host's answer, if the published secret works, or if nothing is published and a later
                answer can be another one.
        """
        state = self.state
        published = state.seen.published.secret
        begun_for_that = state.seen.prepared_here and state.journal.trigger is Trigger.RESCUE
        if begun_for_that or (published is None and not isinstance(error, Unauthorized)):
            return True
        if published is None or self.access.list_with(published) is not None:
            waiting_since = {**state.seen.waiting_since}
            waiting_since.pop(Awaited.PUBLISHED, None)
            state.learn(waiting_since=waiting_since)
            raise error
        case = state.situation
        if not case.may_wait(Awaited.PUBLISHED):
            return True
        self._waiting.for_fact(case.pause(Awaited.PUBLISHED))
        return False

    def _publish(self, secret_id: str | None) -> None:
        state = self.state
        listing = self.state.seen.listing
        candidate = state.journal.candidate
        if candidate is None or listing is None or listing.via is not Credential.CANDIDATE:
            raise AssertionError("only a candidate that authenticates is published")
        published = Published(secret=candidate, secret_id=secret_id, rotated_at=state.clock())
        trigger = state.journal.trigger
        before = self.publisher.version
        try:
            is_published = self.publisher.publish(published, trigger=trigger.value if trigger else None)
        finally:  # also if it cannot be read back
            state.learn(rotated=state.seen.rotated or self.publisher.version != before)
        if not is_published:
            return  # the lease ended since the decision: another instance might have abandoned the candidate
        # The candidate fetched this list a moment ago. It is the published secret now.
        state.learn(listing=replace(listing, via=Credential.PUBLISHED))
        state.log.info("rotation.published", secret_id=secret_id, kv_version=state.document.version)

    def _record(self, step: WriteJournal) -> None:
        state = self.state
        committed = step.event is Event.COMMITTED
        if committed and not state.seen.rotated:
            self.trail.confirm_publish()
        state.write_journal(step.journal)
        if committed:
            keep = state.journal.lease_holder is None  # a revocation at once needs a list fetched after this write
            state.learn(listing=state.seen.listing if keep else None)
        if step.event in (Event.ADOPTED, Event.UNMARKED):
            state.learn(**NO_IDENTITY, rewritten_over=None)
        state.log.info(step.event.value, phase=state.journal.phase.value, secret_id=state.journal.current_id)

    def _fail(self, fail: Fail) -> None:
        """Fail, unless another writer changed the account meanwhile: the reason is out of date then."""
        if not self.state.forget_if_moved():
            answer = self.state.answers.get(fail.failure, "")
            raise RotationError(fail, unchanged=self.unchanged(), answer=answer)

    def account_for(self, error: RotatorError) -> None:
        """Let an error of this run, which knows its own request only, say what the run changed and what stays.

        An error whose request might have been carried out says itself what is not known.
        """
        is_changed = self.state.seen.creates or self.publisher.version is not None or self.revoked
        says_nothing = isinstance(error, ApiError) and not error.unchanged
        if (is_changed or says_nothing) and not error.maybe_done:
            error.unchanged = self.unchanged()

    def unchanged(self) -> str:
        """Return what this run left unchanged, as a sentence."""
        works = "" if Credential.PUBLISHED in self.state.seen.refused else " and works"
        if is_new_secret_published(self.state):
            published = f"the new secret is published{works}"
        elif self.publisher.version is not None:
            published = f"version {self.publisher.version} is published{works}"
        elif self.state.seen.published.secret is not None:
            published = "the published secret stays"
        else:
            published = "nothing was published"
        only = f"Only {listed(self.revoked)} {number(self.revoked, 'was', 'were')}" if self.revoked else "Nothing was"
        return f"{only} revoked, and {published}"
