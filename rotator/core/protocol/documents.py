"""Rules about the two documents: whose they are, writes that might land late, versions that expire."""

from datetime import datetime

from rotator.core.protocol import ownership, transitions
from rotator.core.protocol.instants import CLOCK_TOLERANCE
from rotator.core.protocol.lease import with_lease
from rotator.core.protocol.observation import is_marked_elsewhere, recorded_entries
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import Command, Credential, Event, Fail, Failure, Refresh, Step, WriteJournal
from rotator.core.protocol.wording import loss, restoring


def refuse_foreign(case: Situation) -> Fail | None:
    """Leave a document alone that names another account."""
    account = case.policy.account
    api_key = case.policy.api_key
    published = case.seen.published.api_key
    journal = case.stored.api_key
    if api_key is None:
        return None
    if published is not None and published != api_key:
        return Fail(
            Failure.FOREIGN_DOCUMENT,
            f"the published document belongs to the account {published}, not to {api_key}",
            Command.of("adopt", account, "--replace-foreign", published),
            "Correct the path of the account. To replace the document",
        )
    if journal is not None and journal != api_key:
        return Fail(
            Failure.FOREIGN_JOURNAL,
            f"the journal belongs to the account {journal}, not to {api_key}",
            Command.of("adopt", account, "--replace-foreign", journal),
            "Set a vault.journal_prefix of its own for each deployment. To replace the journal",
        )
    return None


def refuse_lost_journal(case: Situation) -> Fail | None:
    """Stop if the journal was deleted: its facts are lost."""
    if not case.seen.journal_lost:
        return None
    remedy, otherwise = restoring(case.seen.journal_undelete)
    return Fail(
        Failure.JOURNAL_LOST,
        "the journal was deleted",
        Command.of("adopt", case.policy.account),
        f"{remedy}. {otherwise}, begin again with the secret in use",
    )


def refuse_lost_secret(case: Situation) -> Fail | None:
    """Stop if the published secret is lost, and nothing else helps."""
    found = loss(case.journal, case.seen.published)
    if found is None:
        return None
    account = case.policy.account
    if case.policy.has_primary and Credential.PRIMARY not in case.seen.refused:
        create = found.advice("create a secret through the primary account")
        return Fail(Failure.PUBLISHED_LOST, found.finding, Command.of("rotate-now", account), create)
    adopt = found.advice("bring the secret in use")
    return Fail(Failure.PUBLISHED_LOST, found.finding, Command.of("adopt", account), adopt)


def correct_storage_time(case: Situation) -> Step | None:
    """Rewrite a journal that Vault stored in the future, because its clock was ahead.

    How long a lease or a late create of the journal is to be believed depends on when it was stored.
    """
    written_at = case.seen.journal_at
    vault_now = case.vault_now
    if written_at is None or vault_now is None or written_at <= vault_now + CLOCK_TOLERANCE:
        return None
    return WriteJournal(Event.REFRESHED, case.journal)


def refresh(case: Situation) -> Step | None:
    """Rewrite a document before Vault deletes it by itself. The provider is not asked: it might be unavailable."""
    seen = case.seen
    now = case.vault_now or case.now
    if expires_soon(seen.journal_at, seen.journal_expires_at, now):
        return WriteJournal(Event.REFRESHED, case.journal)
    published = seen.published
    if published.secret is None or case.journal.publishing is not None:
        return None
    if not ownership.is_own(case) or not expires_soon(published.written_at, published.expires_at, now):
        return None
    return with_lease(case, Refresh("it would expire"))


def expires_soon(written_at: datetime | None, expires_at: datetime | None, now: datetime) -> bool:
    """Return whether half of a version's life is over."""
    half = half_life(written_at, expires_at)
    return half is not None and now >= half


def half_life(written_at: datetime | None, expires_at: datetime | None) -> datetime | None:
    """Return when half of a version's life is over; None if it does not expire."""
    if written_at is None or expires_at is None:
        return None
    return written_at + (expires_at - written_at) / 2


def end_late_write(case: Situation) -> Step | None:
    """Make sure that a write of a dead lease holder can no longer be applied, then forget it.

    The late write names the version that it replaces. rotator writes the current content again, unchanged, until the
    document has a newer version. This takes several writes if the document was deleted with its history.
    A version without a value stays, and so does the mark: `undelete` would keep the version's number. Nor does rotator
    write a document at another path, or one that nothing shows to be this account's.
    """
    mark = case.journal.publishing
    published = case.seen.published
    if mark is None or case.seen.identified is not None or is_marked_elsewhere(case.journal, published):
        return None
    if published.version > mark.over_version:
        rewritten = case.seen.rewritten_over == mark.over_version == case.journal.published_version
        return WriteJournal(Event.UNMARKED, transitions.unmarked(case, rewritten=rewritten))
    if published.secret is None or not ownership.is_own(case):
        return None
    return with_lease(case, Refresh("a write of an earlier lease holder might still be applied"))


def name_late_write(case: Situation) -> Fail | None:
    """Say which write prevents a revocation that is due, if the configuration names another path by now."""
    is_due = any(case.grace_over(entry) <= case.now for entry in recorded_entries(case.journal))
    return refuse_late_write(case) if is_due else None


def refuse_late_write(case: Situation) -> Fail | None:
    """Revoke nothing while a write to a document at an earlier path might be applied. A person tells which is right."""
    mark = case.journal.publishing
    if mark is None or not is_marked_elsewhere(case.journal, case.seen.published):
        return None
    current = case.journal.current_id
    named = ("--secret-id", current) if current is not None else ()
    return Fail(
        Failure.UNCONFIRMED_DOCUMENT,
        f"a write to {mark.path} was interrupted and might still be applied, and the configuration names "
        f"{case.seen.published.path}: nothing is revoked",
        Command.of("adopt", case.policy.account, "--replace", *named),
        "If the path is wrong, correct it in the configuration (accounts.path). If it is right, and no consumer reads "
        f"{mark.path}, publish the secret again",
    )


def follow_rewrite(case: Situation) -> Step | None:
    """The journal speaks of the version that this run wrote again, unchanged."""
    return WriteJournal(Event.CAUGHT_UP, transitions.caught_up(case)) if case.rewrite_is_unrecorded else None


def complete(case: Situation) -> Step | None:
    """Write the id into a published document of rotator's that was published before the id was certain."""
    published = case.seen.published
    id_ = case.journal.current_id
    if id_ is None or case.in_doubt:
        return None
    if case.journal.candidate is not None or case.journal.publishing is not None:
        return None
    if published.rotated_at is None or published.secret_id is not None:
        return None
    return with_lease(case, Refresh("its id is certain now", secret_id=id_))
