"""Which values ids belong to, as the journal proves it."""

from pydantic import SecretStr

from rotator.core.protocol import answered_in, is_version
from rotator.documents import parse_published
from rotator.rotation.state import AccountState


def owners_of(state: AccountState) -> dict[str, SecretStr]:
    """Return ids that the provider answered to creates, and the values to which they belong.

    An id in a published document is a claim: a person can have copied it there, beside another value. Only rotator
    writes the journal, and it names the version that contains an answered id's value. If that version is not readable,
    nothing is known of the id.
    """
    case = state.situation
    owners: dict[str, SecretStr] = {}
    for id_, version in answered_in(case.journal).items():
        then = parse_published(state.store.read(state.account.path, version.number), state.account)
        if then.secret is not None and is_version(version, then):
            owners[id_] = then.secret
    if case.candidate_id is not None and case.journal.candidate is not None:
        owners[case.candidate_id] = case.journal.candidate
    return owners
