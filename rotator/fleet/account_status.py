"""The status of one account, from its documents in Vault. Reading them needs no lease and changes nothing."""

from dataclasses import replace

from rotator.config import AccountSettings
from rotator.core.protocol import Failure, Journal, is_recorded
from rotator.documents import JournalError, load_journal, parse_published
from rotator.errors import RotatorError
from rotator.fleet.account_view import documents_failure
from rotator.fleet.fleet import Fleet
from rotator.monitoring import AccountStatus, describe
from rotator.rotation import RotationError


def read_status(fleet: Fleet, account: AccountSettings) -> tuple[AccountStatus, bool]:
    """Return an account's status, and whether its documents are readable, its own and complete.

    The status of an account with other documents contains nothing but the failure.

    Raises:
        VaultError: If Vault does not give the documents.
    """
    document = fleet.vault.read(fleet.settings.journal_path(account))
    published = parse_published(fleet.vault.read(account.path), account)
    has_secret = published.secret is not None
    failure: RotatorError
    try:
        stored = load_journal(document)
        fail = documents_failure(fleet, account, stored, published)
        if fail is None:
            status = describe(account, stored.journal, published=has_secret)
            if not is_recorded(stored.journal, published):  # the journal's id can be another value's
                status = replace(status, secret_id=None, secret_id_learned=None)
            return status, True
        failure = RotationError(fail)
        is_own = fail.failure in {Failure.PUBLISHED_LOST, Failure.UNCONFIRMED_DOCUMENT}
        journal = stored.journal if is_own else Journal()
    except JournalError as error:
        failure = error
        journal = Journal()
    status = describe(
        account,
        journal,
        error=str(failure),
        failure=failure.code,
        retry_at=journal.next_attempt_at,
        published=has_secret,
    )
    return status, False
