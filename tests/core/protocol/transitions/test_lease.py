"""Changes of a journal: the lease, and facts for a later run."""

from dataclasses import replace

from rotator.core.protocol import Answered, Credential, transitions
from tests.core.protocol.situations import (
    AT_REST,
    LATE,
    NEW,
    NOW,
    OTHERS,
    POLICY,
    PREPARED,
    WINDOW,
    case_of,
    listing,
    published,
    seen,
)


def test_claim_takes_the_lease() -> None:
    journal = transitions.claimed(case_of(replace(AT_REST, **OTHERS), seen()))
    assert journal == replace(AT_REST, lease_holder="me", lease_until=NOW + POLICY.lease)


def test_claim_over_a_candidate_notes_its_late_create() -> None:
    journal = transitions.claimed(case_of(replace(PREPARED, **OTHERS), seen()))
    assert journal.create_until == NOW + WINDOW
    assert (journal.lease_holder, journal.lease_until) == ("me", NOW + POLICY.lease)


def test_claim_of_a_working_candidate_ends_its_ambiguity() -> None:
    troubled = replace(PREPARED, ambiguity="two", unknown_ids=frozenset({"c"}))
    works = seen(listing=listing("a", "c", via=Credential.CANDIDATE))
    journal = transitions.claimed(case_of(troubled, works))
    assert (journal.ambiguity, journal.unknown_ids) == (None, frozenset())
    kept = transitions.claimed(case_of(troubled, seen("a", "c")))
    assert (kept.ambiguity, kept.unknown_ids) == ("two", frozenset({"c"}))


def test_release_records_facts_for_a_later_run() -> None:
    observation = seen(create_lost_at=NOW, answered=Answered("rotation-1", "c"))
    journal = transitions.released(case_of(replace(PREPARED, api_key=None), observation))
    assert (journal.lease_holder, journal.lease_until) == (None, None)
    assert journal.create_until == NOW + LATE
    assert journal.candidate_id == Answered("rotation-1", "c")
    assert journal.api_key == "key1"


def test_answered_id_is_noted_with_its_candidate_only() -> None:
    observation = seen(answered=Answered("rotation-1", "c"))
    assert transitions.released(case_of(replace(PREPARED, candidate=None), observation)).candidate_id is None
    nameless = replace(PREPARED, rotation_id=None)
    named = published(secret=NEW, secret_id="c")
    assert transitions.released(case_of(nameless, seen(published=named))).candidate_id is None
    other = seen(answered=Answered("rotation-0", "c"))
    assert transitions.released(case_of(PREPARED, other)).candidate_id is None


def test_known_answer_keeps_its_unknown_fields() -> None:
    known = Answered("rotation-1", "c", unknown_fields='{"newer": 1}')
    journal = replace(PREPARED, candidate_id=known)
    assert transitions.released(case_of(journal, seen())).candidate_id == known
    for other in (Answered("rotation-1", "d"), Answered("rotation-0", "c", unknown_fields='{"newer": 1}')):
        again = seen(answered=Answered("rotation-1", "c"))
        written = transitions.released(case_of(replace(journal, candidate_id=other), again)).candidate_id
        assert written == Answered("rotation-1", "c")


def test_api_key_is_kept_when_none_is_expected() -> None:
    assert transitions.released(case_of(AT_REST, seen(), api_key=None)).api_key == "key1"
    assert transitions.released(case_of(replace(AT_REST, api_key=None), seen())).api_key == "key1"
