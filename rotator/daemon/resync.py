"""Finds what happened without this daemon: runs of other instances, and documents that were changed by hand."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from rotator.core.protocol import Journal, Published, is_recorded
from rotator.daemon.account_record import LONG_AGO, AccountRecord
from rotator.daemon.facts import DocumentSeen, LookFailed, ResyncEnded
from rotator.daemon.tasks import Look, Resync
from rotator.daemon.timing import refresh_at
from rotator.documents import parse_journal
from rotator.errors import RotatorError
from rotator.monitoring import describe, state

# How many accounts one resync looks at, those first that were not for longest: the cost of a large fleet at rest.
RESYNC_ACCOUNTS = 300

_log = structlog.get_logger()


def longest_unseen(records: Iterable[AccountRecord]) -> list[AccountRecord]:
    """Return the accounts that the next resync looks at."""
    known = (record for record in records if record.settings.enabled and record.journal is not None)
    return heapq.nsmallest(RESYNC_ACCOUNTS, known, key=lambda record: record.looked_at)


def resync(
    task: Resync, send: Callable[[DocumentSeen | LookFailed], None], *, may_go_on: Callable[[], bool]
) -> ResyncEnded:
    """Look at accounts."""
    for each in task.looks:
        if not may_go_on():
            break
        send(look(each))
    return ResyncEnded()


def look(task: Look) -> DocumentSeen | LookFailed:
    """Read an account's documents."""
    account = task.target.account
    fleet = task.target.fleet
    try:
        # In this order what another instance publishes meanwhile is in the journal by then, or on its way.
        document = fleet.vault.read(account.path)
        journal_document = fleet.vault.read(fleet.settings.journal_path(account))
        journal = parse_journal(journal_document)
        if document.version < journal.published_version:
            document = fleet.vault.read(account.path)
    except RotatorError as error:
        return LookFailed(task, error)
    return DocumentSeen(task, document, journal, refresh_at(document, journal_document, now=datetime.now(UTC)))


def after_look(record: AccountRecord, seen: DocumentSeen, now: datetime) -> AccountRecord:
    """Return the record after a look. A document that was changed by hand is tried at the provider at once."""
    document = seen.document
    journal = seen.journal
    found = document.version, document.created
    recorded = is_recorded(journal, Published(document.version, document.created))
    by_hand = journal.candidate is None and not recorded and found != record.document
    record = replace(record, document=found, refresh_at=seen.refresh_at)
    if by_hand:
        _log.warning("account.changed_by_hand", account=record.name, kv_version=document.version)
        record = replace(record, tried_at=LONG_AGO, retry=record.retry.without_error())
    return record.seen(journal, now)


def log_other_instance(before: AccountRecord, after: Journal | None, now: datetime) -> None:
    """Log that another instance changed an account, if it did more than acquire or release the lease."""
    if before.journal is None or after is None or _content(before.journal) == _content(after):
        return
    shown = state(describe(before.settings, after), now)
    _log.info("account.changed_elsewhere", account=before.name, state=shown.value, secret_id=after.current_id)


def _content(journal: Journal) -> tuple[object, ...]:
    return journal.phase, journal.current_id, journal.published_version, journal.retiring_ids, journal.request
