"""The mark of a write to the published document that might still be applied (I9)."""

from rotator.core.copies import replace
from rotator.core.protocol.journal import Journal, Publishing, ids_of
from rotator.core.protocol.observation import Published, is_marked_elsewhere
from rotator.core.protocol.requests import followed, with_refused
from rotator.core.protocol.situation import Situation
from rotator.core.protocol.transitions.lease import claimed, with_facts


def speaking_of(journal: Journal, published: Published) -> Journal:
    """Speaking of this version of the published document, of its path and of its field for the value."""
    return replace(
        journal,
        published_version=published.version,
        published_at=published.written_at,
        published_path=published.path,
        published_field=published.field,
    )


def caught_up(case: Situation) -> Journal:
    """Speaking of the published document as it is now."""
    published = case.seen.published
    return followed(speaking_of(with_facts(case), published), published)


def confirmed(case: Situation) -> Journal:
    """Speaking of the published value of an account that is not adopted yet: it authenticates, so it is its own.

    A user can have added this very secret.
    """
    return replace(caught_up(case), added_ids=frozenset())


def with_rewrite(case: Situation) -> Journal:
    """Speaking of the version that this run wrote again, if the journal spoke of the version before."""
    return caught_up(case) if case.rewrite_is_unrecorded else case.journal


def marked(case: Situation, id_: str | None, *, gives_up_other: bool = False) -> Journal:
    """With the lease, and with the mark that a value is written over the published version that was read.

    There is one mark. While it is for another path, it stays, and nothing is revoked because of it.

    Args:
        case: The situation.
        id_: The value's id, if it is known. Its retiring entry moves into the mark. The entry of an earlier mark is
            retiring again then; otherwise it stays in the mark.
        gives_up_other: Whether a person said that the path of now is right: a mark for another path is replaced.
    """
    journal = claimed(case)
    before = case.journal.publishing
    if is_marked_elsewhere(case.journal, case.seen.published) and not gives_up_other:
        return journal
    if before is not None:
        journal = _with_returned_entry(journal, before)
    if id_ not in journal.retiring_ids:
        id_ = before.entry.id if before is not None and before.entry is not None else None
    entry = next((entry for entry in journal.retiring if entry.id == id_), None)
    published = case.seen.published
    mark = Publishing(published.version, entry, published.path)
    return replace(journal.without_retiring(ids_of(id_)), publishing=mark)


def restoring(case: Situation, id_: str | None, *, is_recorded_value: bool) -> Journal | None:
    """With what a later run has to know before an earlier value takes the place of a refused or deleted one.

    Args:
        case: The situation.
        id_: The earlier value's id, if it is known.
        is_recorded_value: Whether the refused value is the one that the journal speaks of.

    Returns:
        The journal to write; None if nothing has to be known.
    """
    journal = case.journal
    known = journal if is_recorded_value else with_refused(journal, case.seen.published)
    if journal.retiring or journal.publishing is not None:
        return marked(replace(case, journal=known), id_)
    return None if known == journal else known


def unmarked(case: Situation, *, rewritten: bool) -> Journal:
    """Without the mark: the write can no longer be applied. Its entry is retiring again.

    Args:
        case: The situation.
        rewritten: Whether this run wrote the published document again, unchanged.
    """
    journal = without_mark(with_facts(case), case)
    return caught_up(replace(case, journal=journal)) if rewritten else journal


def without_mark(journal: Journal, case: Situation) -> Journal:
    """Without the mark, if the published document has moved past the version that the marked write replaces."""
    mark = journal.publishing
    published = case.seen.published
    if mark is None or published.version <= mark.over_version or is_marked_elsewhere(journal, published):
        return journal
    return _with_returned_entry(journal, mark)


def _with_returned_entry(journal: Journal, mark: Publishing) -> Journal:
    """Without the mark, and with its entry retiring again, unless that is the published secret's."""
    entries = {entry.id: entry for entry in journal.retiring}
    if mark.entry is not None and mark.entry.id != journal.current_id:
        entries.setdefault(mark.entry.id, mark.entry)
    return replace(journal, publishing=None, retiring=tuple(entries.values()))
