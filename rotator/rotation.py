"""The interpreter: performs the protocol's steps on the provider and on Vault, one account at a time.

It decides nothing: `protocol.decide` names a step, this module does it, notes what it learned and asks again.
What it adds is what only the one who acts can do: it looks at the lease right before each request that changes
something at the provider, reads back what it published, and refuses a step that would break an invariant even
if it was told to do it. Imports the pure core, the adapters, config and errors.
"""

import secrets
from collections.abc import Callable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

import structlog
from pydantic import SecretStr

from rotator import audit, protocol
from rotator.account_api import (
    Balance,
    Credentials,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    SecretInfo,
    Unauthorized,
)
from rotator.audit import Act, AuditLog
from rotator.config import AccountSettings, Settings
from rotator.documents.journal import JournalError, parse_journal, render_journal
from rotator.documents.published import format_instant, parse_published
from rotator.errors import Blame, Code, RotatorError, stored_code
from rotator.generator import generate
from rotator.logs import conceal
from rotator.protocol import (
    Awaited,
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    Journal,
    List,
    Listing,
    Observation,
    Pause,
    Phase,
    Policy,
    Prepare,
    Publish,
    Published,
    ReadRecorded,
    Reason,
    Record,
    Rest,
    Revoke,
    Step,
    Trigger,
    TryEarlier,
)
from rotator.vault import CasConflict, Document, VaultError, VaultUnreachable

# A run is some fifteen steps; one that needs far more goes round in circles and must not go on for ever.
MAX_STEPS = 500
# Old versions of a journal hold values that were candidates, and some of those are live: few are kept.
JOURNAL_VERSIONS = 3
# A rate limit that is over so soon is waited out by every run, some times; for a longer one the run has to have the
# patience.
SHORT_WAIT = timedelta(seconds=5)
MAX_LIMITS = 10
# How many older versions of the published document are tried when the published secret is refused.
EARLIER_VERSIONS = 10
# A value has a fingerprint in the audit log only if it is as hard to guess as this, in bits.
FINGERPRINT_ENTROPY = 128
# How often an adoption tries to get the account to itself while others move it.
MAX_CLAIMS = 5

_NO_AUDIT = AuditLog(None)

Clock = Callable[[], datetime]
Waiter = Callable[[timedelta], bool]
"""Waits so long, or until the process is told to stop; true if it was told."""


class Provider(Protocol):
    """The part of account_api.AccountApi that a rotation needs."""

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]: ...

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo: ...

    def get_balance(self, auth: Credentials) -> Balance: ...

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> None: ...


class Store(Protocol):
    """The part of vault.Vault that a rotation needs."""

    def read(self, path: str, version: int | None = None) -> Document: ...

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int: ...

    def keep_versions(self, path: str, count: int) -> bool: ...


class RotationError(RotatorError):
    """The protocol stopped with the account as it is."""

    def __init__(self, fail: Fail, *, unchanged: str) -> None:
        super().__init__(fail.what, unchanged=unchanged, next_step=fail.next_step)
        self.failure = fail.failure
        self.code = Code[fail.failure.name]


class StoppedError(RotatorError):
    """The process was told to end before the account was done; the next run goes on from there."""

    code = Code.STOPPED


class Result(StrEnum):
    """How a run over one account ended."""

    OK = "ok"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did to one account.

    Attributes:
        phase: Where the account stands now; None if that could not be read.
        published: This run published a new secret.
        revoked: The ids this run revoked.
        reason: Why there is nothing more to do at the moment, or the code of the failure.
        until: When there will be.
        error: What went wrong, what was left alone and what to do.
        trigger: Why the rotation in hand, or the last one, was begun.
        conflicts: How often another runner was ahead with a write.
        journal: The journal as this run left it; None if it could not be read.
    """

    account: str
    result: Result
    phase: Phase | None = None
    published: bool = False
    revoked: tuple[str, ...] = ()
    reason: str | None = None
    until: datetime | None = None
    error: str | None = None
    rotation_id: str | None = None
    trigger: Trigger | None = None
    conflicts: int = 0
    journal: Journal | None = None

    @property
    def code(self) -> Code | None:
        """What kind of failure it was; None if the run did not fail."""
        return stored_code(self.reason or "") if self.result is Result.FAILED else None

    @property
    def blame(self) -> Blame | None:
        """Whose failure it was; None if the run did not fail."""
        return self.code.blame if self.code else None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do first, with everything that reading alone can tell."""

    account: str
    journal: Journal
    seen: Observation
    step: Step


class Rotation:
    """One run over one account.

    Args:
        account: The account.
        settings: The whole configuration, for where documents stand and for the primary.
        provider: The Account API.
        store: Vault.
        policy: What is wanted of the run.
        clock: Tells the time, aware UTC.
        wait: Waits, and says whether the process is to stop. Asked to, a run begins nothing new and waits for
            nothing any more, but finishes what it can.
        halt: Whether not even that is wanted any more: the run ends before its next step.
        patience: How long this run may wait for a lease, a grace or a rate limit to end. Waiting for a
            candidate to become valid is bounded by the policy's verify_timeout instead.
        on_journal: Told of every journal that the run wrote.
        audit: Where it is noted what is done.
    """

    def __init__(
        self,
        account: AccountSettings,
        settings: Settings,
        provider: Provider,
        store: Store,
        *,
        policy: Policy,
        clock: Clock,
        wait: Waiter,
        halt: Callable[[], bool] = lambda: False,
        patience: timedelta = timedelta(),
        on_journal: Callable[[Journal], None] = lambda _: None,
        audit: AuditLog = _NO_AUDIT,
    ) -> None:
        self.account = account
        self.policy = policy
        self._settings = settings
        self._provider = provider
        self._store = store
        self._clock = clock
        self._wait = wait
        self._halt = halt
        self._on_journal = on_journal
        self._audit = audit
        self._made: tuple[SecretStr, str | None] | None = None
        self._create_noted = False
        self._patience_ends = clock() + patience
        self._observed = False
        self._journal_read = False
        self._revoked: tuple[str, ...] = ()
        self._conflicts = 0
        self._limits = 0
        self._primary: Credentials | None = None
        self._document = Document(version=0, data=None)
        self._journal_version = 0
        self.journal = Journal()
        self.seen = Observation(Published())
        self.log = structlog.get_logger().bind(account=account.name)

    def run(self) -> Outcome:
        """Do whatever there is to do; every ordinary failure becomes part of the outcome."""
        for _ in range(MAX_STEPS):
            outcome = self.step()
            if outcome is not None:
                return outcome
        raise AssertionError(f"after {MAX_STEPS} steps there was still something to do")

    def step(self) -> Outcome | None:
        """Do one thing; the outcome, once there is nothing more to do."""
        try:
            if self._halt():
                raise self._stopped()
            if not self._observed:
                self.observe()
            step = self.decide()
            if not isinstance(step, Rest):
                self.perform(step)
                return None
            if not self._may_wait(step.until) or self._wait_until(step):
                return self._rested(step)
            self._observed = False
        except StoppedError as stopped:
            self._give_back()
            return self._ended(Result.DEFERRED, Reason.STOPPED.value, error=str(stopped))
        except RotatorError as error:
            self._park(error)
            return self._failed(error)
        return None

    def preview(self) -> Preview:
        """Look, without changing anything anywhere: the first step that would change something, or the end."""
        step, journal = self._look(), self.journal
        if isinstance(step, Record) and step.event in (Event.CLAIMED, Event.REDATED):
            self.journal = step.journal  # what comes after it says more
            step = self._look_on()
        return Preview(self.account.name, journal, self.seen, step)

    def _look(self) -> Step:
        self.observe()
        return self._look_on()

    def _look_on(self) -> Step:
        """Do steps that only look, up to the first that changes something, waits for a candidate or ends the run."""
        for _ in range(MAX_STEPS):
            if not self._observed:
                self.observe()
            step = self.decide()
            awaits_candidate = isinstance(step, Pause) and step.awaited is Awaited.CANDIDATE
            if awaits_candidate or isinstance(step, (*protocol.CHANGING_STEPS, Rest, Fail)):
                break
            self.perform(step)
        return step

    def adopt(self, secret: SecretStr, secret_id: str | None, *, force: bool) -> Outcome:
        """Publish a value that a person brought, once it has authenticated, and take the account on.

        Args:
            secret: The value.
            secret_id: Its id; needed where the provider lists several and none is known yet.
            force: Replace a published secret that works.

        Raises:
            RotatorError: If the value is refused, or cannot be told from the others; nothing was written then.
        """
        self.observe()
        known = self._replaceable(secret, secret_id, force=force)
        if self.seen.published.secret != secret:
            try:
                self._claim_for_adoption()
                # Once more: only now can nobody else revoke or replace anything.
                known = self._replaceable(secret, secret_id, force=force)
                self._write_adopted(secret, known)
            except RotatorError:
                self._give_back()
                raise
        self.policy = replace(self.policy, known_id=known.id if known else None)
        return self.run()

    def _replaceable(self, secret: SecretStr, secret_id: str | None, *, force: bool) -> SecretInfo | None:
        """What the provider tells of a value that a person brought; None if it is published already and nobody can.

        Raises:
            RotatorError: If it must not be published.
        """
        infos = self._authenticated(secret, secret_id)
        known = secret_id or (infos[0].id if len(infos) == 1 else None)
        info = next((info for info in infos if info.id == known), None)
        published = self.seen.published.secret
        if published == secret:
            return info if secret_id else None
        if published is not None and not force and self._works(published):
            raise RotatorError(
                f"{self.account.path} already holds another secret, which works",
                unchanged="Nothing was written",
                next_step="To replace it all the same, add --force",
            )
        if info is None:
            listed = ", ".join(f"{info.id} (created {format_instant(info.created_at)})" for info in infos)
            raise RotatorError(
                f"The provider lists {len(infos)} secrets and does not say which one this value is: {listed}",
                unchanged="Nothing was written",
                next_step=f"Say it: rotator adopt {self.account.name} --secret-id ID",
            )
        return info

    def _claim_for_adoption(self) -> None:
        """Get the account to itself, so that nobody revokes the value that is about to be published.

        A revocation that was sent before is over only when the provider cannot carry it out any more.

        Raises:
            RotatorError: If another runner is at work on the account for longer than there is patience.
        """
        settled = False
        for _ in range(MAX_CLAIMS):
            now = self._clock()
            until = protocol.leased_elsewhere(self.journal, self.policy, now, journal_at=self.seen.journal_at)
            if until is not None:
                if not self._may_wait(until) or self._wait(until - now + timedelta(milliseconds=5)):
                    raise RotatorError(
                        f"{self.journal.holder} is at work on {self.account.name}",
                        unchanged="Nothing was written",
                        next_step=f"Try again after {format_instant(until)}",
                    )
                self.observe()
                continue
            try:
                self._write_journal(protocol.claimed(self.seen, self.journal, self.policy, now))
            except CasConflict:
                self.observe()
                continue
            if settled or all(entry.not_before > now for entry in self.journal.retiring):
                return
            delay = self.policy.request_timeout + self.policy.settle
            self.log.info("account.settling", until=format_instant(now + delay), detail="a revocation may be under way")
            if self._wait(delay):
                raise self._stopped()
            settled = True
        raise RotatorError(
            f"Others keep working on {self.account.name}", unchanged="Nothing was written", next_step="Try again"
        )

    def _write_adopted(self, secret: SecretStr, known: SecretInfo | None) -> None:
        adopted = Published(secret=secret, secret_id=known.id, rotated_at=known.created_at) if known else None
        if adopted is None or not self._write_published(adopted, trigger="adopt"):
            raise RotatorError(
                f"The account {self.account.name} was moved meanwhile",
                unchanged="Nothing was written",
                next_step="Try again",
            )

    def _authenticated(self, secret: SecretStr, secret_id: str | None) -> tuple[SecretInfo, ...]:
        try:
            infos = self._provider.list_secrets(Credentials(self.account.api_key, secret), self.account.api_key)
        except Unauthorized:
            raise RotatorError(
                f"The provider refuses this secret for {self.account.name} ({self.account.api_key})",
                unchanged="Nothing was written",
                next_step="Look it up in the provider's dashboard and try again",
            ) from None
        if secret_id is not None and secret_id not in {info.id for info in infos}:
            listed = ", ".join(info.id for info in infos)
            raise RotatorError(
                f"The provider does not list {secret_id}; it lists {listed}",
                unchanged="Nothing was written",
            )
        return infos

    def _works(self, secret: SecretStr) -> bool:
        try:
            self._provider.list_secrets(Credentials(self.account.api_key, secret), self.account.api_key)
        except Unauthorized:
            return False
        return True

    def unaccounted(self) -> dict[str, datetime]:
        """What the provider lists and rotator cannot account for; changes nothing.

        Raises:
            RotatorError: If the account cannot be looked at, or is in trouble of another kind.
        """
        step = self._look()
        if isinstance(step, Fail) and self.seen.listing is not None:
            unknown = protocol.unaccounted(self.seen, self.journal) - {self.seen.published.secret_id}
            if unknown and (self.journal.candidate is not None or self.journal.current_id in self.seen.listing.created):
                return {id_: self.seen.listing.created[id_] for id_ in sorted(unknown)}
        if isinstance(step, Fail):
            raise RotationError(step, unchanged="Nothing was changed")
        return {}

    def resolve(self, revoke: frozenset[str]) -> Outcome:
        """Record these ids, which `unaccounted` named, as to be revoked, and revoke them by the ordinary rules."""
        journal = protocol.resolved(self.seen, self.journal, self.policy, self._clock(), revoke)
        self._retire(journal, revoke)
        self.log.warning("account.resolved", revoke=sorted(revoke))
        self._observed = False
        return self.run()

    def _retire(self, journal: Journal, ids: Set[str]) -> None:
        """Write a journal in which a person has recorded these ids as to be revoked."""
        with ExitStack() as stack:
            for id_ in sorted(ids):
                entry = self._entry(Act.RETIRE, trigger="resolve", secret_id=id_)
                stack.enter_context(self._audit.acting(entry, required=True))
            self._write_journal(journal)

    def decide(self) -> Step:
        """The next step, as the protocol sees it."""
        return protocol.decide(self.seen, self.journal, self.policy, self._clock())

    def perform(self, step: Step) -> None:
        """Do one step; what was learned is in `seen` and `journal` afterwards.

        Raises:
            RotatorError: If the step could not be done, or was to fail.
        """
        try:
            self._perform(step)
        except CasConflict as conflict:
            self.log.info("rotation.conflict", path=conflict.path)
            self._conflicts += 1
            self._observed = False
        except RateLimited as limited:
            self._rate_limited(limited)

    def _perform(self, step: Step) -> None:
        match step:
            case List():
                self._list(step.using)
            case ReadRecorded():
                self._read_recorded()
            case TryEarlier():
                self._try_earlier()
            case Prepare():
                self._prepare(step.trigger)
            case Create():
                self._create(step.using)
            case Publish():
                self._publish(step.secret_id)
            case Revoke():
                self._revoke(step.id)
            case Record():
                self._record(step)
            case Pause():
                self._pause(step)
            case Fail():
                self._fail(step)
            case Rest():
                raise AssertionError("a rest is not performed")

    # --- looking ---------------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Read the journal, then the published document; what the provider said before is forgotten.

        The order matters: the published document is never older than the journal. Should another runner move
        the account between the two, this one's next journal write fails, and nothing is done before one: a
        claim goes before every step that changes anything. Both are read by one thread: only within a thread does
        the Vault session keep a standby that lags behind from answering with less than was read before.
        """
        journal = self._store.read(self._settings.journal_path(self.account))
        self._document = self._store.read(self.account.path)
        self._journal_version = journal.version
        self._know(parse_journal(journal))
        self._journal_read = True
        self.seen = Observation(
            parse_published(self._document, self.account.fields),
            journal_at=journal.created,
            creates=self.seen.creates,
            create_lost_at=self.seen.create_lost_at,
            rotated=self.seen.rotated,
        )
        self._observed = True

    def _moved(self) -> bool:
        """Whether anybody else has moved the account since it was observed."""
        journal = self._store.read(self._settings.journal_path(self.account))
        return journal.version != self._journal_version or self._republished()

    def _republished(self) -> bool:
        document = self._store.read(self.account.path)
        return (document.version, document.created) != (self._document.version, self._document.created)

    def _has_to_look_again(self) -> bool:
        """Whether somebody has changed the published document: they may have gone back to this very secret."""
        if self._republished():
            self._observed = False
            return True
        return False

    def _know(self, journal: Journal) -> None:
        self.journal = journal
        if journal.rotation_id is not None:
            self.log = self.log.bind(rotation_id=journal.rotation_id)  # ties the lines of one rotation together

    def _list(self, using: Credential) -> None:
        try:
            infos = self._list_as(using)
            if using is Credential.CANDIDATE and self.account.verify_balance:
                # The provider's other host has servers of its own, which may learn of a new secret later.
                self._provider.get_balance(self._credentials(using))
        except Unauthorized:
            self.log.info("provider.refused", credential=using.value)
            self.seen = replace(self.seen, refused=self.seen.refused | {using})
            return
        listing = Listing(using, {info.id: info.created_at for info in infos})
        waiting_since = dict(self.seen.waiting_since)
        if using is Credential.PUBLISHED:
            waiting_since.pop(Awaited.PUBLISHED, None)
        refused = self.seen.refused - {using}
        self.seen = replace(self.seen, listing=listing, refused=refused, waiting_since=waiting_since)

    def _list_as(self, using: Credential) -> tuple[SecretInfo, ...]:
        """The list; with the primary's credential, asked once more if that was rotated since it was read."""
        try:
            return self._provider.list_secrets(self._credentials(using), self.account.api_key)
        except Unauthorized:
            if using is not Credential.PRIMARY or not self._reread_primary():
                raise
        return self._provider.list_secrets(self._credentials(using), self.account.api_key)

    def _credentials(self, using: Credential) -> Credentials:
        if using is Credential.PRIMARY:
            return self._primary or self._read_primary()
        secret = self.journal.candidate if using is Credential.CANDIDATE else self.seen.published.secret
        if secret is None:
            raise AssertionError(f"there is no {using} secret to authenticate with")
        return Credentials(self.account.api_key, secret)

    def _read_primary(self) -> Credentials:
        primary = self._settings.account(self.account.primary or "")
        published = parse_published(self._store.read(primary.path), primary.fields)
        if published.secret is None:
            raise RotatorError(
                f"The primary account {primary.name} has nothing published, so it cannot act for {self.account.name}",
                unchanged=f"Nothing was changed for {self.account.name}",
                next_step=f"Adopt the primary first: rotator adopt {primary.name}",
            )
        self._primary = Credentials(primary.api_key, published.secret)
        return self._primary

    def _reread_primary(self) -> bool:
        before = self._primary
        return self._read_primary() != before

    def _read_recorded(self) -> None:
        version = self.journal.published_version
        recorded = None
        if version:
            then = parse_published(self._store.read(self.account.path, version), self.account.fields)
            recorded = then.secret if protocol.is_recorded(self.journal, then) else None
        self.seen = replace(self.seen, recorded=recorded, recorded_read=True)

    # --- changing the provider -------------------------------------------------------------------------------

    def _create(self, using: Credential) -> None:
        candidate, auth = self.journal.candidate, self._credentials(using)
        if candidate is None:
            raise AssertionError("there is no candidate to create")
        entry = self._entry(Act.CREATE, fingerprint=self._fingerprint(candidate))
        noted, self._create_noted = self._create_noted, False
        if not self._begins(entry, noted=noted):
            return  # stopped for too long since the decision: decide again
        sent_at = self._clock()
        self.seen = replace(
            self.seen,
            creates=self.seen.creates + 1,
            create_refused=None,
            listing=None,
            refused=self.seen.refused - {Credential.CANDIDATE},
        )
        try:
            with self._audit.acting(entry, begin=False) as found:
                created = self._provider.create_secret(auth, self.account.api_key, candidate)
                found.secret_id = created.id
        except Unauthorized as error:
            # The next list tells whether the credential is refused; the primary may have been rotated meanwhile.
            self.log.warning("rotation.create_refused", error=str(error))
            if using is Credential.PRIMARY and not self._reread_primary():
                self.seen = replace(self.seen, refused=self.seen.refused | {using})
        except RateLimited:
            raise
        except Refused as refusal:
            self.log.warning("rotation.create_refused", error=str(refusal))
            self.seen = replace(
                self.seen,
                create_refused=refusal.what,
                value_refused=refusal.rejects_the_value,
                waiting_since={Awaited.CANDIDATE: self._clock()},
            )
        except NotSent as error:
            self.log.warning("rotation.create_not_sent", error=str(error))
        except LostAnswer as error:
            self.log.warning("rotation.create_unanswered", error=str(error))
            awaited = {Awaited.CANDIDATE: self._clock()}
            self.seen = replace(self.seen, create_lost_at=sent_at, waiting_since=awaited)
        else:
            self.log.info("rotation.created", secret_id=created.id)
            awaited = {Awaited.CANDIDATE: self._clock()}
            self.seen = replace(self.seen, created_id=created.id, waiting_since=awaited)

    def _revoke(self, id_: str) -> None:
        self._refuse_unsafe_revocation(id_)
        entry = self._entry(Act.REVOKE, secret_id=id_)
        if not self._begins(entry, unless=self._has_to_look_again):
            return
        self.seen = replace(self.seen, listing=None)
        try:
            with self._audit.acting(entry, begin=False):
                self._provider.revoke_secret(self._credentials(Credential.PUBLISHED), self.account.api_key, id_)
        except RateLimited:
            raise
        except (Refused, NotSent, LostAnswer) as error:
            # Gone already, not answered, or not allowed: the next list tells which. Not even a 401 means that the
            # published secret is refused: the list before worked.
            self.log.warning("rotation.revoke_unanswered", secret_id=id_, error=str(error))
            self.seen = replace(self.seen, revokes=self.seen.revokes + 1)
        else:
            self.log.info("rotation.revoked", secret_id=id_)
            self._revoked += (id_,)
            self.seen = replace(self.seen, revoked=self.seen.revoked | {id_})

    def _refuse_unsafe_revocation(self, id_: str) -> None:
        """I2 to I4 once more, where a mistake would cost a consumer its secret."""
        listing, journal = self.seen.listing, self.journal
        safe = (
            listing is not None
            and listing.via is Credential.PUBLISHED
            and id_ != journal.current_id
            and id_ in journal.retiring_ids
            and {id_, journal.current_id} <= set(listing.created)
        )
        if not safe:
            raise AssertionError(f"revoking {id_} would not be safe")

    # --- changing Vault --------------------------------------------------------------------------------------

    def _prepare(self, trigger: Trigger) -> None:
        if self._wait(timedelta()):
            raise self._stopped()  # whatever is under way is finished, but nothing new is begun
        candidate = conceal(generate(self.account.recipe), passing=True)
        journal = protocol.prepared(
            self.seen,
            self.journal,
            self.policy,
            self._clock(),
            trigger=trigger,
            candidate=candidate,
            rotation_id=secrets.token_hex(8),
        )
        self._made = candidate, audited_fingerprint(self.account, candidate)
        entry = self._entry(Act.CREATE, journal=journal, fingerprint=self._fingerprint(candidate))
        # Nothing new is begun that cannot be noted, unless consumers have nothing that works.
        self._audit.note(entry, audit.Result.BEGUN, required=trigger is not Trigger.RESCUE)
        try:
            self._write_journal(journal)
        except VaultError:
            self._audit.note(entry, audit.Result.NOT_DONE)
            raise
        self._create_noted = True
        self.log.info("rotation.prepared", trigger=trigger.value)
        self.seen = replace(
            self.seen,
            prepared_here=True,
            creates=0,
            created_id=None,
            create_refused=None,
            value_refused=False,
            waiting_since={},
            values=self.seen.values + 1,
            refused=self.seen.refused - {Credential.CANDIDATE},
        )

    def _publish(self, secret_id: str | None) -> None:
        candidate, listing = self.journal.candidate, self.seen.listing
        if candidate is None or listing is None or listing.via is not Credential.CANDIDATE:
            raise AssertionError("only a candidate that authenticates is published")
        published = Published(secret=candidate, secret_id=secret_id, rotated_at=self._clock())
        if not self._write_published(published, trigger=self.journal.trigger):
            return  # stopped for too long since the decision: somebody may have given the candidate up
        # What the candidate listed a moment ago, the published secret listed.
        self.seen = replace(self.seen, rotated=True, listing=replace(listing, via=Credential.PUBLISHED))
        self.log.info("rotation.published", secret_id=secret_id, version=self._document.version)

    def _write_published(
        self, published: Published, *, trigger: str | None, base: Mapping[str, Any] | None = None
    ) -> bool:
        """Write the document, keeping every field that is not rotator's, and read it back; false without the lease."""
        names = self.account.fields
        data = dict(self._document.data or base or {})
        data |= {names.api_key: self.account.api_key, names.api_secret: published.secret}
        data |= {names.secret_id: published.secret_id, names.rotated_at: format_instant(published.rotated_at)}
        fingerprint = self._fingerprint(published.secret)
        entry = self._entry(Act.PUBLISH, trigger=trigger, secret_id=published.secret_id, fingerprint=fingerprint)
        if not self._begins(entry):
            return False
        with self._audit.acting(entry, begin=False) as found:
            version = found.version = self._store.write(self.account.path, data, cas=self._document.version)
        self._document = self._store.read(self.account.path)
        seen = parse_published(self._document, names)
        if self._document.version == version and seen.secret != published.secret:
            raise RotatorError(
                f"Vault returned something else than what was just written to {self.account.path}",
                unchanged="Nothing was revoked",
                next_step=f"Look at it, then: rotator rotate-now {self.account.name}",
            )
        refused = self.seen.refused - {Credential.PUBLISHED}
        self.seen = replace(self.seen, published=seen, listing=None, refused=refused)
        return True

    def _try_earlier(self) -> None:
        """Publish the newest earlier value that still authenticates, if there is one that nobody has given up."""
        newest = self._document.version - 1
        tried = {self.seen.published.secret, None}
        for version in range(newest, max(0, newest - EARLIER_VERSIONS), -1):
            document = self._store.read(self.account.path, version)
            earlier = parse_published(document, self.account.fields)
            if earlier.secret is None or earlier.secret in tried:
                continue
            tried.add(earlier.secret)
            try:
                infos = self._provider.list_secrets(
                    Credentials(self.account.api_key, earlier.secret), self.account.api_key
                )
            except Unauthorized:
                continue
            listed = {info.id for info in infos}
            if earlier.secret_id not in listed:
                earlier = replace(earlier, secret_id=None)
            compromised = {entry.id for entry in self.journal.retiring if entry.compromised}
            if compromised & ({earlier.secret_id} if earlier.secret_id else listed):
                self.log.warning("account.not_restored", from_version=version, detail="it may be the compromised one")
                continue
            if not self._write_published(earlier, trigger=Trigger.RESCUE, base=document.data):
                return
            self.log.warning("account.restored", from_version=version, secret_id=earlier.secret_id)
            return
        self.seen = replace(self.seen, earlier_tried=True)

    def _record(self, step: Record) -> None:
        if step.event is Event.COMMITTED and not self.seen.rotated:
            self._note_found()
        self._write_journal(step.journal)
        if step.event is Event.COMMITTED:
            keep = self.journal.holder is None  # something is to be revoked at once: by a list fetched after this
            self.seen = replace(self.seen, listing=self.seen.listing if keep else None)
        self.log.info(step.event.value, phase=self.journal.phase.value, secret_id=self.journal.current_id)

    def _write_journal(self, journal: Journal) -> None:
        document = render_journal(journal)
        path = self._settings.journal_path(self.account)
        first = self._journal_version == 0
        self._journal_version = self._store.write(path, document, cas=self._journal_version)
        self._know(journal)
        self._on_journal(journal)
        if first and not self._store.keep_versions(path, JOURNAL_VERSIONS):
            self.log.info("journal.versions_not_limited", path=path)

    # --- the audit log ---------------------------------------------------------------------------------------

    def _begins(self, entry: audit.Entry, *, noted: bool = False, unless: Callable[[], bool] = lambda: False) -> bool:
        """Whether an act may be done, once it is noted that it begins, which may take a while.

        The lease has to last for it, which is looked at last of all, and nothing has to stand against it.
        """
        if not noted:
            self._audit.note(entry, audit.Result.BEGUN)
        may = not unless() and protocol.has_lease(self.journal, self.policy, self._clock())
        if not may:
            self._audit.note(entry, audit.Result.NOT_DONE)
        return may

    def _entry(self, act: Act, *, journal: Journal | None = None, **known: Any) -> audit.Entry:
        journal = journal or self.journal
        entry = audit.Entry(
            act,
            self.account.name,
            self.account.api_key,
            runner=self.policy.runner,
            trigger=journal.trigger,
            rotation_id=journal.rotation_id,
        )
        return replace(entry, **known)

    def _note_found(self) -> None:
        """The run that published died, or was not answered: whether it did is known only now."""
        published = self.seen.published
        entry = self._entry(Act.PUBLISH, secret_id=published.secret_id, version=published.version)
        self._audit.note(entry, audit.Result.FOUND)

    def _fingerprint(self, secret: SecretStr | None) -> str | None:
        """A value's fingerprint, if this run made it up; of others it is not known how hard they are to guess."""
        return self._made[1] if self._made and self._made[0] == secret else None

    # --- waiting and ending ----------------------------------------------------------------------------------

    def _pause(self, pause: Pause) -> None:
        now = self._clock()
        # A clock that was set back must not make it wait longer.
        since = min(self.seen.waiting_since.get(pause.awaited, now), now)
        if self._wait(pause.delay):
            raise self._stopped()
        if self._moved():
            self._observed = False
            return
        refused = self.seen.refused - {Credential.CANDIDATE, Credential.PUBLISHED}
        waiting_since = {**self.seen.waiting_since, pause.awaited: since}
        self.seen = replace(self.seen, listing=None, refused=refused, waiting_since=waiting_since)

    def _stopped(self) -> StoppedError:
        return StoppedError(
            f"Told to stop before {self.account.name} was done",
            unchanged="The published secret is what it was",
            next_step="The next run goes on from here",
        )

    def _may_wait(self, until: datetime | None) -> bool:
        return until is not None and until <= self._patience_ends

    def _wait_until(self, rest: Rest) -> bool:
        """Wait for the rest's end; true if the process is to stop instead."""
        assert rest.until is not None  # noqa: S101 - _may_wait has looked  # nosec B101
        self._give_back()
        delay = max(rest.until - self._clock(), timedelta()) + timedelta(milliseconds=5)
        self.log.info(
            "rotation.waiting", reason=rest.reason.value, until=format_instant(rest.until), detail=rest.detail
        )
        return self._wait(delay)

    def _fail(self, fail: Fail) -> None:
        """Fail, unless what it is based on is out of date: another runner may have moved the account meanwhile."""
        if not self._moved():
            raise RotationError(fail, unchanged=self._unchanged())
        self._observed = False

    def _unchanged(self) -> str:
        published = "the new secret is published and works" if self.seen.rotated else "the published secret stays"
        revoked = f"Revoked was {', '.join(self._revoked)} and nothing else" if self._revoked else "Nothing was revoked"
        return f"{revoked}, and {published}"

    def _rate_limited(self, limited: RateLimited) -> None:
        delay = limited.retry_after or timedelta(seconds=1)
        too_long = delay > SHORT_WAIT and self._clock() + delay > self._patience_ends
        if too_long or self._limits >= MAX_LIMITS or self._wait(delay):
            raise limited
        self._limits += 1
        self.seen = replace(self.seen, listing=None)
        if self._moved():
            self._observed = False

    def _rested(self, rest: Rest) -> Outcome:
        self._give_back()
        if rest.reason in (Reason.IDLE, Reason.GRACE):
            return self._ended(Result.OK, rest.reason.value, until=rest.until)
        return self._ended(Result.DEFERRED, rest.reason.value, until=rest.until, error=rest.detail)

    def _failed(self, error: RotatorError) -> Outcome:
        self.log.error("rotation.failed", error=str(error))
        return self._ended(Result.FAILED, error.code.value, until=self.journal.next_attempt_at, error=str(error))

    def _ended(
        self, result: Result, reason: str, *, until: datetime | None = None, error: str | None = None
    ) -> Outcome:
        return Outcome(
            self.account.name,
            result,
            phase=self.journal.phase if self._journal_version else None,
            published=self.seen.rotated,
            revoked=self._revoked,
            reason=reason,
            until=until,
            error=error,
            rotation_id=self.journal.rotation_id,
            trigger=self.journal.trigger,
            conflicts=self._conflicts,
            journal=self.journal if self._journal_read else None,
        )

    def _give_back(self) -> None:
        if self.journal.holder == self.policy.runner:
            released = protocol.released(self.seen, self.journal, self.policy, self._clock())
            self._park_journal(released)

    def _park(self, error: RotatorError) -> None:
        """Note the failure in the journal, unless there is none, it is not ours to write, or Vault is the failure."""
        ambiguous = isinstance(error, RotationError) and error.failure is Failure.AMBIGUOUS
        now = self._clock()
        elsewhere = protocol.leased_elsewhere(self.journal, self.policy, now, journal_at=self.seen.journal_at)
        if isinstance(error, JournalError | VaultUnreachable) or elsewhere:
            return
        if self._journal_version == 0 and not ambiguous:
            return
        parked = protocol.failed(
            self.seen, self.journal, self.policy, now, str(error), failure=error.code.value, ambiguous=ambiguous
        )
        if isinstance(error, RateLimited) and error.retry_after is not None:
            parked = replace(parked, next_attempt_at=max(now + error.retry_after, parked.next_attempt_at or now))
        self._park_journal(parked)

    def _park_journal(self, journal: Journal) -> None:
        try:
            self._write_journal(journal)
        except (CasConflict, VaultError) as error:
            # Somebody else has the account by now, or Vault is away: the lease runs out by itself.
            self.log.info("rotation.not_parked", error=str(error))


def audited_fingerprint(account: AccountSettings, made_up: SecretStr) -> str | None:
    """The fingerprint of a value that was made up by the account's recipe; None if somebody could guess such values."""
    if account.recipe.entropy < FINGERPRINT_ENTROPY:
        return None
    return audit.fingerprint(account.api_key, made_up.get_secret_value())
