"""A provider that lists 14,000 ids: journals and messages stay small, and nothing becomes more certain."""

from dataclasses import replace
from typing import Any

import pytest

from rotator.core.protocol import Identity, Journal, Learned, Retiring, transitions
from rotator.core.protocol.limits import MAX_STORED_IDS, stored_ids
from rotator.core.protocol.wording import MAX_NAMED, listed, names_of
from tests.core.protocol.situations import (
    AT_REST,
    NOW,
    POLICY,
    PREPARED,
    answered,
    case_of,
    eliminated,
    failure_of,
    noticed,
    pending,
    published,
    seen,
    step_of,
)

MANY = tuple(f"id-{number:05}" for number in range(14_000))
FIRST = frozenset(MANY[:MAX_STORED_IDS])


def failed(journal: Journal) -> Journal:
    """Return the journal after a run that found many ids."""
    return transitions.failed(seen("b", *MANY), journal, POLICY, NOW, "it failed", failure="ambiguous", ambiguous=True)


def test_first_ids_are_stored() -> None:
    assert stored_ids(frozenset(MANY)) == FIRST
    assert len(FIRST) == 100
    assert stored_ids(FIRST) == FIRST


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (1, "a"), (MAX_NAMED, "a, b, c, d, e"), (MAX_NAMED + 1, "a, b, c, d, e and 1 more")],
)
def test_message_names_first_ids_and_counts_others(count: int, text: str) -> None:
    assert names_of(set("fedcba"[6 - count :])) == text
    assert listed(iter("abcdef"[:count])) == text


@pytest.mark.parametrize("current", [answered("b"), eliminated("b"), Identity("b", Learned.PERSON), pending("b"), None])
def test_message_about_many_ids_is_short(current: Identity | None) -> None:
    step: Any = step_of(replace(AT_REST, current=current), seen("b", *MANY))
    assert step.next_command is not None
    assert len(step.what) < 300
    assert "more" in step.what


def test_many_unknown_ids_are_counted_in_the_message() -> None:
    """The journal notes the first ones, and only these are confirmed."""
    step: Any = step_of(noticed(AT_REST, *FIRST), seen("b", *MANY))
    assert failure_of(step).value == "ambiguous"
    assert step.what.startswith("the account holds 100 secrets that rotator did not create: id-00000, ")
    assert step.what.endswith(" and 95 more")


def test_journal_contains_the_first_unknown_ids() -> None:
    found = failed(AT_REST)
    assert found.noticed is not None
    assert (found.noticed.ids, found.unknown_ids) == (FIRST, frozenset())
    confirmed = noticed(AT_REST, *FIRST)
    assert failed(confirmed).unknown_ids == FIRST
    assert failed(confirmed).noticed == confirmed.noticed
    doubtful = failed(replace(AT_REST, current=eliminated("b")))
    assert doubtful.last_doubt is not None
    assert doubtful.last_doubt.ids == FIRST
    assert doubtful.unknown_ids == frozenset()


def test_identities_remember_the_first_ids_beside_them() -> None:
    case = case_of(AT_REST, seen("b", *MANY))
    assert len(transitions.pending(case, foreign_ids=frozenset()).beside) == MAX_STORED_IDS
    assert len(transitions.counted(case, pending("b", looks=2), "b").beside) == MAX_STORED_IDS
    named = transitions.retired_by_hand(case, frozenset({"id-00000"}), not_before=NOW).retiring
    resolved = transitions.resolved(case, frozenset({"id-00000"})).retiring
    for entry in (*named, *resolved):
        assert entry.identity is not None
        assert len(entry.identity.beside) == MAX_STORED_IDS
    new = replace(case_of(PREPARED, seen("a", *MANY, published=published(secret=PREPARED.candidate, secret_id="c"))))
    committed = transitions.committed(new)
    assert committed.current is not None
    assert len(committed.current.beside) == MAX_STORED_IDS


def test_ids_that_the_journal_leaves_out_stay_doubtful() -> None:
    beside = eliminated("b", *stored_ids(frozenset(MANY)))
    case = case_of(replace(AT_REST, current=beside, retiring=(Retiring("id-13999", NOW),)), seen("b", *MANY))
    assert len(case.doubtful_ids) == len(MANY) - MAX_STORED_IDS - 1
    assert case.in_doubt
