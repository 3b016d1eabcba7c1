"""State of a run: the journal, the published document, and the observations at the provider."""

from collections.abc import Callable
from typing import Any

import structlog
from pydantic import SecretStr

from rotator.config import AccountSettings, Settings
from rotator.core.copies import replace
from rotator.core.protocol import (
    Awaited,
    Credential,
    Failure,
    Identity,
    Instants,
    Journal,
    Listing,
    Observation,
    Policy,
    Published,
    Situation,
    is_recorded,
    requests,
)
from rotator.documents import load_journal, parse_published, render_journal
from rotator.provider import ApiError
from rotator.rotation.asking import Asking, MakeRequest
from rotator.rotation.dates import Dates, time_of
from rotator.rotation.interfaces import Clock, Store
from rotator.rotation.recorded import recorded_facts
from rotator.rotation.refreshes import Refreshes
from rotator.vault import Document, VaultUnreachable

# Old versions of a journal contain values that were candidates, and some of those are live: few are kept.
JOURNAL_VERSIONS = 3

# Forgotten when the journal, or another value, says more about the published id.
NO_IDENTITY = {"identified": None, "replaced": False, "wanted_again": False}


class AccountState:
    """The two documents of one account, and what the provider said in this run.

    Args:
        ask: Makes the request of this run's caller, once both documents were read.
        on_journal: Gets every journal that the run wrote.

    Attributes:
        write_is_unknown: Whether Vault did not answer a write of the journal, and might have applied it or still do so.
        answers: The provider's last answer that can lead to a failure, by failure, as the end of a sentence. Request id
            and instance, which the provider's support asks for, or all of it if nothing else tells the reason.
        asking: The request of this run's caller, whatever became of it.
        is_asked_recorded: Whether a journal contained that request while its secret was published.
        moved_path: Path of the document that another writer changed last, as this run found out by reading.
    """

    def __init__(
        self,
        account: AccountSettings,
        settings: Settings,
        store: Store,
        *,
        policy: Policy,
        clock: Clock,
        ask: MakeRequest | None,
        on_journal: Callable[[Journal], None],
    ) -> None:
        self.account = account
        self.settings = settings
        self.store = store
        self.policy = policy
        self.clock = clock
        self.asking = Asking(ask)
        self._on_journal = on_journal
        self.log = structlog.get_logger().bind(account=account.name)
        self.journal = Journal()
        self.journal_version = 0
        self._dates = Dates()
        self.journal_read = False
        self.write_is_unknown = False
        self.document = Document(version=0, data=None)
        self.seen = Observation(Published())
        self.is_observed = False
        self.moved_path = account.path
        self.answers: dict[Failure, str] = {}
        self.is_asked_recorded = False
        self.refreshes = Refreshes()

    @property
    def journal_path(self) -> str:
        """The journal's path."""
        return self.settings.journal_path(self.account)

    @property
    def situation(self) -> Situation:
        """The facts as the protocol sees them now."""
        return Situation.of(self.seen, self.journal, self.policy, self.clock())

    @property
    def instants(self) -> Instants:
        """The time by the clocks of this instance and of Vault."""
        return Instants(self.seen, self.journal, self.policy, self.clock(), self.journal)

    # --- reading -------------------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Read the journal, then the published document. Drop the provider's earlier list and refusals.

        The order matters: the published document is never older than the journal. If another instance changes the
        account between the two, this one's next journal write fails, which comes before every step that changes
        anything. One thread reads both: only there, a lagging standby never answers with less than was read before.
        """
        asked_at = self.clock()
        journal = self.store.read(self.journal_path)
        stored = load_journal(journal)
        self.document = self.store.read(self.account.path)
        self._dates.read(journal, self.document)
        known = self.journal
        self.journal_version = stored.version
        self.know(stored.journal)
        self.refreshes.read(stored)
        begins = not self.journal_read
        self.journal_read = True
        published = parse_published(self.document, self.account)
        before = self.seen
        self.seen = Observation(
            published,
            journal_at=stored.written_at,
            journal_read_at=stored.read_at,
            journal_asked_at=asked_at,
            observed_at=self.clock(),
            journal_expires_at=stored.expires_at,
            journal_lost=stored.is_lost,
            journal_undelete=stored.undelete,
            request=before.request,
            creates=before.creates,
            answered=before.answered,
            create_lost_at=before.create_lost_at,
            revoke_lost_at=before.revoke_lost_at,
            paused=before.paused,
            rotated=before.rotated,
            **_kept_identity(before, published, known, stored.journal),
            **_kept_refusal(before, known, stored.journal),
        )
        if begins and self.journal.lease_holder == self.policy.instance:
            # An earlier run of this process could not say how it ended.
            began_at = self.instants.latest_now
            self.learn(create_lost_at=began_at if self.journal.candidate else None, revoke_lost_at=began_at)
        if not begins and before.published.secret is not None and published.secret is None:
            # Deleted during this run, which did not look for that before it acquired the lease.
            self.learn(revoke_lost_at=self.instants.latest_now)
        told_at = time_of(journal, self.document, self.instants.latest_now)
        self.learn(request=self.asking.look(self.seen, self.journal, told_at))
        self._drop_spent_request()
        self.is_observed = True

    def clock_was_set_back(self) -> bool:
        """Return whether this instance's clock no longer tells how old its observations are."""
        return self.seen.observed_at is not None and self.clock() < self.seen.observed_at

    def forget(self, moved_path: str | None = None) -> None:
        """Read both documents again before the next decision, because another writer might have changed one."""
        self.is_observed = False
        self.moved_path = moved_path or self.moved_path

    def journal_moved(self) -> bool:
        """Return whether another writer changed the journal since it was read."""
        return self.store.read(self.journal_path).version != self.journal_version

    def forget_if_moved(self) -> bool:
        """Return whether another writer changed either document since it was read; both are read again then."""
        if not self.journal_moved():
            return self.forget_if_republished()
        self.forget(self.journal_path)
        return True

    def forget_if_republished(self) -> bool:
        """Return whether the published document changed: it might contain a retiring secret again."""
        document = self.store.read(self.account.path)
        if (document.version, document.created) != (self.document.version, self.document.created):
            self.forget(self.account.path)
        return not self.is_observed

    def read_recorded(self) -> None:
        """Read the version of the published document that the journal speaks of, and what was kept of it since."""
        self.learn(**recorded_facts(self.store, self.journal, self.account, self.seen.published))

    def speaks_of_published(self) -> bool:
        """Return whether the journal speaks of the published secret, also if another field of it was edited since."""
        published = self.seen.published
        if is_recorded(self.journal, published):
            return True
        self.read_recorded()
        return self.seen.recorded is not None and self.seen.recorded == published.secret

    def know(self, journal: Journal) -> None:
        """Take a journal over that was read or written."""
        self.journal = journal
        if journal.rotation_id is not None:
            self.log = self.log.bind(rotation_id=journal.rotation_id)  # ties the log lines of one rotation together

    # --- learning ------------------------------------------------------------------------------------------------

    def learn(self, **facts: Any) -> None:
        """Take over what a step found out."""
        news = {name: fact for name, fact in facts.items() if fact != getattr(self.seen, name)}
        if news:  # a copy takes as long as a decision
            self.seen = replace(self.seen, **news)

    def refer(self, failure: Failure, error: ApiError) -> None:
        """Remember an answer for the message of a later failure."""
        self.answers |= {failure: f": {error.what}" if failure is Failure.UNANSWERED else error.reference}

    def learn_identity(
        self, secret: SecretStr | None, identity: Identity, *, replaced: bool = False, wanted_again: bool = False
    ) -> None:
        """A value has this identity. Another writer might have published another value meanwhile."""
        if self.seen.published.secret == secret:
            self.learn(identified=identity, replaced=replaced, wanted_again=wanted_again)

    def learn_refusal(self, using: Credential) -> None:
        """The provider refused a credential."""
        self.learn(refused=self.seen.refused | {using})

    def learn_listing(self, listing: Listing) -> None:
        """The provider listed the account's secrets."""
        waiting_since = dict(self.seen.waiting_since)
        if listing.via is Credential.PUBLISHED:
            waiting_since.pop(Awaited.PUBLISHED, None)
        self.learn(listing=listing, refused=self.seen.refused - {listing.via}, waiting_since=waiting_since)

    def _drop_spent_request(self) -> None:
        """Apply a request that came too late once only: this run might replace another secret later."""
        if requests.is_spent(self.seen, self.journal, self.clock()):
            self.learn(request=None)

    # --- writing -------------------------------------------------------------------------------------------------

    def write_journal(self, journal: Journal) -> None:
        """Write the journal over the version that was read.

        Raises:
            VaultError: If it was not written, or that is not known.
        """
        first = self.journal_version == 0
        try:
            document = self._dates.noted(render_journal(journal), self.journal_version + 1, self.instants.latest_now)
            version = self.store.write(self.journal_path, document, cas=self.journal_version)
        except VaultUnreachable as error:
            self.write_is_unknown = self.write_is_unknown or error.maybe_done
            raise
        self.journal_version = version
        self.write_is_unknown = False  # an earlier write over the version before cannot be applied any more
        self.know(journal)
        self.refreshes.wrote(self.instants.shared_now)
        self.learn(journal_lost=False, journal_expires_at=None)
        vault_now = self.instants.vault_now
        if self.seen.journal_at is not None and vault_now is not None and self.seen.journal_at > vault_now:
            self.learn(journal_at=vault_now)  # the version before was stored while Vault's clock was ahead
        if (asked := self.seen.request) and journal.request is not None and journal.request.id == asked.id:
            self.is_asked_recorded |= requests.is_published(asked, journal, self.seen.published)
            self.learn(request=None)
        self._drop_spent_request()
        self._on_journal(journal)
        if first and not self.store.keep_versions(self.journal_path, JOURNAL_VERSIONS):
            self.log.info("journal.versions_not_limited", path=self.journal_path)

    def read_published(self) -> None:
        """Read back the published document that this run wrote.

        Raises:
            VaultError: If there is no usable answer.
        """
        self.document = self.store.read(self.account.path)
        self._dates.read(self.document)
        published = parse_published(self.document, self.account)
        if published.secret != self.seen.published.secret:
            self.learn(**NO_IDENTITY)  # that speaks of the value before
        self.learn(published=published, listing=None, refused=self.seen.refused - {Credential.PUBLISHED})
        self.learn(request=self.asking.look(self.seen, self.journal, self.document.read_at))

    def secret_of(self, using: Credential) -> SecretStr:
        """Return the account's own secret to authenticate with."""
        secret = self.journal.candidate if using is Credential.CANDIDATE else self.seen.published.secret
        if secret is None:
            raise AssertionError(f"there is no {using} secret to authenticate with")
        return secret


def _kept_identity(before: Observation, published: Published, known: Journal, journal: Journal) -> dict[str, Any]:
    """Return what a run found out about the published value's id, if the same value is published still.

    If another instance wrote something about that value meanwhile, only a name that a person gave still counts, if it
    is new, and neither beside the provider's own answer nor given up by another person's command. The value might have
    replaced nothing then.

    Args:
        before: The facts before both documents were read again.
        published: The published document as it is now.
        known: The journal as it was known before.
        journal: The journal as it is now.
    """
    identified = before.identified
    if identified is None or published.secret is None or published.secret != before.published.secret:
        return {}
    current = journal.current
    if (current, journal.published_version) == (known.current, known.published_version):
        return {"identified": identified, "replaced": before.replaced, "wanted_again": before.wanted_again}
    is_new = current is None or not (current.is_answered or current.id == identified.id)
    given_up = current is not None and current.is_named and identified.id in current.foreign_ids
    return {"identified": identified} if identified.is_named and is_new and not given_up else {}


def _kept_refusal(before: Observation, known: Journal, journal: Journal) -> dict[str, Any]:
    """Return the refusal of the candidate. Another instance that revokes a secret makes room for it."""
    is_same = (known.candidate, known.retiring_ids) == (journal.candidate, journal.retiring_ids)
    return {"create_refused": before.create_refused} if is_same else {}
