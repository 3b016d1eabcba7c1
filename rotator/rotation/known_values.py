"""Values that rotator knows, because it reads them in Vault or recorded their digests."""

from pydantic import SecretStr

from rotator.core.protocol import requests
from rotator.rotation.owners import owners_of
from rotator.rotation.restoration import read_versions
from rotator.rotation.state import AccountState


def known_as(state: AccountState, value: SecretStr) -> str | None:
    """Return what rotator knows of a value, as a sentence without its end; None if it does not know the value.

    Args:
        state: The account, with both documents read.
        value: The value.
    """
    name = state.account.name
    journal = state.journal
    if value == state.seen.published.secret:
        return f"This value is the published secret of {name}"
    if requests.is_never_published_again(journal, value):
        return f"This value is a compromised secret of {name}"
    earlier = [published.secret for _, published in read_versions(state)]
    is_earlier = value in earlier or value in owners_of(state).values()
    return f"This value is an earlier secret of {name}" if is_earlier else None
