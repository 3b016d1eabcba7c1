"""What rotator remembers, and what a caller can leave out."""

from dataclasses import fields, replace
from typing import Any

import pytest

from rotator.core.protocol import (
    Answered,
    Doubt,
    Gone,
    Identity,
    Journal,
    Learned,
    Phase,
    Publishing,
    RequestKind,
    Retiring,
    Target,
    Verification,
    Version,
    ids_of,
)
from tests.core.protocol.situations import AT_REST, LATER, NEW, NOW, answered, eliminated, pending, request

RETIRING = (Retiring("a", NOW), Retiring("c", LATER))


@pytest.mark.parametrize(
    ("journal", "phase"),
    [
        (Journal(), Phase.IDLE),
        (Journal(retiring=RETIRING), Phase.OVERLAP),
        (Journal(candidate=NEW, retiring=RETIRING), Phase.PREPARED),
        (Journal(candidate=NEW, ambiguity="two"), Phase.AMBIGUOUS),
    ],
)
def test_phase_follows_from_the_fields(journal: Journal, phase: Phase) -> None:
    assert journal.phase is phase


@pytest.mark.parametrize(
    ("identity", "expected"),
    [(None, None), (pending("b"), None), (answered("b"), "b"), (eliminated("b"), "b"), (pending(), None)],
)
def test_current_id_is_certain(identity: Identity | None, expected: str | None) -> None:
    assert Journal(current=identity).current_id == expected


@pytest.mark.parametrize("learned", Learned)
def test_identity_is_answered_pending_or_neither(learned: Learned) -> None:
    identity = Identity("b", learned)
    assert identity.is_answered is (learned is Learned.ANSWERED)
    assert identity.is_pending is (learned is Learned.PENDING)
    assert Retiring("b", NOW, identity=identity).is_pending is (learned is Learned.PENDING)
    assert not Retiring("b", NOW).is_pending


def test_retiring_ids_can_be_taken_out() -> None:
    journal = Journal(retiring=RETIRING)
    assert journal.retiring_ids == {"a", "c"}
    assert journal.without_retiring(frozenset({"a"})) == Journal(retiring=RETIRING[1:])
    assert journal.without_retiring(frozenset({"x"})) == journal


def test_compromised_ids_include_a_marked_one() -> None:
    compromised = Retiring("m", NOW, compromised=True)
    journal = Journal(retiring=(*RETIRING, Retiring("x", NOW, compromised=True)))
    assert journal.compromised_ids == journal.retiring_compromised == {"x"}
    marked = replace(journal, publishing=Publishing(1, compromised))
    assert marked.compromised_ids == marked.retiring_compromised == {"x", "m"}
    assert replace(journal, publishing=Publishing(1, Retiring("m", NOW))).compromised_ids == {"x"}
    assert replace(journal, publishing=Publishing(1)).compromised_ids == {"x"}


@pytest.mark.parametrize(
    ("kind", "of", "expected"),
    [
        (RequestKind.COMPROMISED, Target(id="a"), {"a"}),
        (RequestKind.COMPROMISED, Target(id="b"), set()),
        (RequestKind.COMPROMISED, Target(version=1), set()),
        (RequestKind.FORCE, Target(id="a"), set()),
    ],
)
def test_compromised_ids_include_a_dropped_one(kind: RequestKind, of: Target, expected: set[str]) -> None:
    """The request remembers an entry that lists put in doubt; the published id is not replaced yet."""
    assert replace(AT_REST, request=request(kind, of)).compromised_ids == expected
    other = replace(AT_REST, retiring=(Retiring("x", NOW, compromised=True),), request=request(kind, of))
    assert other.compromised_ids == expected | {"x"}
    earlier = replace(AT_REST, request=request(kind, of, earlier_ids=frozenset({"e"})))
    assert earlier.compromised_ids == expected | {"e"}


def test_ids_of_leaves_out_unknown_ones() -> None:
    assert ids_of("a", None, "b") == {"a", "b"}
    assert ids_of(None) == frozenset()


@pytest.mark.parametrize(
    "value",
    [
        replace(AT_REST, unknown_fields="something newer"),
        replace(answered("b"), unknown_fields="something newer"),
        Retiring("a", NOW, unknown_fields="something newer"),
        Publishing(1, unknown_fields="something newer"),
        request(unknown_fields="something newer"),
        Target(unknown_fields="something newer"),
        Answered("rotation-1", "a", unknown_fields="something newer"),
        Verification("rotation-1", NOW, NOW, unknown_fields="something newer"),
        Doubt(frozenset("s"), NOW, unknown_fields="something newer"),
        Gone("g", NOW, unknown_fields="something newer"),
        Version(1, NOW, "apps/shop", "api_secret", unknown_fields="something newer"),
    ],
)
def test_unknown_fields_are_not_shown(value: object) -> None:
    """They can contain a secret of a newer version."""
    assert "something newer" not in repr(value)


def test_journal_is_empty_by_default() -> None:
    filled: dict[str, Any] = {"attempts": 0, "published_version": 0, "retiring": (), "gone": ()}
    filled |= {"ids_before": frozenset(), "unknown_ids": frozenset(), "added_ids": frozenset(), "unknown_fields": ""}
    filled["leaked"] = frozenset()
    names = [field.name for field in fields(Journal)]
    assert {name: getattr(Journal(), name) for name in names} == dict.fromkeys(names) | filled


def test_parts_are_empty_by_default() -> None:
    identity = Identity("a", Learned.PENDING)
    assert (identity.looks, identity.restarts, identity.next_look) == (0, 0, None)
    assert (identity.beside, identity.foreign_ids) == (frozenset(), frozenset())
    entry = Retiring("a", NOW)
    assert (entry.compromised, entry.identity, entry.missing_since) == (False, None, None)
    assert Publishing(1).entry is None
    assert Target() == Target(id=None, version=0, written_at=None)
