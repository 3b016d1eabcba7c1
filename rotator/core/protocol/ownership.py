"""Whether the published document is this account's: a path can be wrong, and a document can name no account."""

from rotator.core.protocol.observation import is_at_recorded_path
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import Command, Fail, Failure

WRONG_PATH = "If the path is wrong, correct it in the configuration (accounts.path). If it is right"
"""The beginning of the advice about a document that can be another account's."""


def is_shown(case: Situation) -> bool:
    """Return whether something shows that the published value is this account's, or there is none to lose.

    The document names the account, or a journal write of the account speaks of the document: its value authenticated
    then, or rotator published it.
    """
    published = case.seen.published
    api_key = case.policy.api_key
    if api_key is None or published.secret is None or published.api_key == api_key:
        return True
    return case.journal.published_version > 0 and is_at_recorded_path(case.journal, published)


def finding(case: Situation) -> str:
    """Return the finding about a refused value that can be another account's."""
    what = "the provider refuses the published secret (401), and nothing shows that"
    return f"{what} {case.seen.published.path} is the document of {case.policy.account}"


def refuse_unknown_owner(case: Situation) -> Fail:
    """Leave a refused value alone that can be another account's."""
    advice = "bring a secret that authenticates"
    if case.policy.has_primary:
        by_primary = f"add the key {case.policy.api_key} to the document: the primary account creates a secret then"
        advice = f"{by_primary}. Or {advice}"
    return Fail(
        Failure.UNCONFIRMED_DOCUMENT,
        finding(case),
        Command.of("adopt", case.policy.account, "--replace"),
        f"{WRONG_PATH}, {advice}",
    )
