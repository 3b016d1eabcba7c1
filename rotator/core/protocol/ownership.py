"""Whether the published document is this account's: a path or the name of a field can be wrong."""

from rotator.core.protocol.observation import is_at_recorded_path, is_in_recorded_place
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.steps import Command, Fail, Failure
from rotator.core.protocol.wording import listed, number, without_value


def is_shown(case: Situation) -> bool:
    """Return whether something shows that a secret may be published there, or there is nothing to lose.

    The document is this account's, and its field for the value does not contain what can be another application's.
    """
    return is_own(case) and not _is_other_field(case)


def is_own(case: Situation) -> bool:
    """Return whether something shows that the published document is this account's, or there is nothing to lose.

    The document names the account, or a journal write of the account speaks of the document: its value authenticated
    then, or rotator published it. A document without a value can be another application's, with credentials in fields
    of rotator's names. Nothing is lost where nothing was ever written, or where the newest version is deleted or empty.
    """
    published = case.seen.published
    api_key = case.policy.api_key
    is_free = published.secret is None and not published.has_fields
    if api_key is None or is_free or published.api_key == api_key:
        return True
    return _is_recorded_document(case)


def _is_recorded_document(case: Situation) -> bool:
    return case.journal.published_version > 0 and is_at_recorded_path(case.journal, case.seen.published)


def _is_other_field(case: Situation) -> bool:
    """Whether the journal speaks of this document, but of another field, and the configured one contains something."""
    published = case.seen.published
    if not _is_recorded_document(case) or is_in_recorded_place(case.journal, published):
        return False
    return published.secret is not None or published.field in published.overwritten


def finding(case: Situation) -> str:
    """Return the finding about a document that can be another account's or another application's."""
    published = case.seen.published
    name = case.policy.account
    why = without_value(published) if published.lacks_value else "the provider refuses the published secret (401)"
    if _is_other_field(case):
        recorded = case.journal.published_field
        shown = (
            f"the field {published.field} of {published.path} is {name}'s: the last published secret is in {recorded}"
        )
    else:
        shown = f"{published.path} is the document of {name}"
    what = f"{why}, and nothing shows that {shown}"
    names = (published.field or "",) if _is_other_field(case) else published.overwritten
    if not names:
        return what
    return f"{what}; a secret published there would overwrite its {number(names, 'field', 'fields')} {listed(names)}"


def correction(case: Situation) -> str:
    """Return the beginning of the advice about such a document."""
    if _is_other_field(case):
        return "If the name of the field is wrong, correct it in the configuration (accounts.fields). If it is right"
    if case.seen.published.lacks_value:
        wrong = "If the path or the name of the field is wrong, correct it in the configuration"
        return f"{wrong} (accounts.path, accounts.fields). If both are right"
    return "If the path is wrong, correct it in the configuration (accounts.path). If it is right"


def refuse_unknown_owner(case: Situation) -> Fail:
    """Leave a document alone that can be another account's or another application's."""
    advice = "bring a secret that authenticates"
    if case.policy.has_primary and not is_own(case):
        by_primary = f"add the key {case.policy.api_key} to the document: the primary account creates a secret then"
        advice = f"{by_primary}. Or {advice}"
    return Fail(
        Failure.UNCONFIRMED_DOCUMENT,
        finding(case),
        Command.of("adopt", case.policy.account, "--replace"),
        f"{correction(case)}, {advice}",
    )


def refuse_unknown_fields(case: Situation) -> Fail | None:
    """Leave a document without a value alone, unless something shows whose it is. The provider cannot tell."""
    if case.seen.published.secret is not None or is_shown(case):
        return None
    return refuse_unknown_owner(case)
