"""Every change of a journal."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.failures import Blame, Code
from rotator.core.jitter import backoff
from rotator.core.protocol import (
    Answered,
    Credential,
    Gone,
    Identity,
    Journal,
    Learned,
    Observation,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Strangers,
    Target,
    Trigger,
    Verification,
    transitions,
)
from rotator.core.protocol.requests import URGENT_BACKOFF
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    MINE,
    MOMENT,
    NEW,
    NOW,
    OLD,
    POLICY,
    PREPARED,
    RETIRING,
    SECOND,
    WINDOW,
    YESTERDAY,
    answered,
    case_of,
    eliminated,
    listing,
    pending,
    published,
    request,
    seen,
)

GRACE_OVER = NOW + POLICY.grace
OTHERS: dict[str, Any] = {"holder": "other", "lease_until": NOW}
PUBLISHED = published(version=7, written_at=YESTERDAY, secret=NEW, secret_id="c", rotated_at=LATER)
FAILURE: dict[str, Any] = {
    "attempts": 3,
    "next_attempt_at": NOW,
    "last_error": "it failed",
    "failure": "code",
    "ambiguity": "two",
    "unknown_ids": frozenset({"x"}),
    "strangers": Strangers(frozenset({"x"}), NOW),
}
COMPROMISED = request(RequestKind.COMPROMISED, Target(id="a"))


def committed(journal: Journal = PREPARED, document: Any = PUBLISHED, **facts: Any) -> Journal:
    """Return the journal after the candidate was published."""
    return transitions.committed(case_of(journal, seen(published=document, **facts)))


# --- the lease ---------------------------------------------------------------------------------------------------


def test_claim_takes_the_lease() -> None:
    journal = transitions.claimed(case_of(replace(AT_REST, **OTHERS), seen()))
    assert journal == replace(AT_REST, holder="me", lease_until=NOW + POLICY.lease)


def test_claim_over_a_candidate_notes_its_late_create() -> None:
    journal = transitions.claimed(case_of(replace(PREPARED, **OTHERS), seen()))
    assert journal.create_until == NOW + WINDOW
    assert (journal.holder, journal.lease_until) == ("me", NOW + POLICY.lease)


def test_claim_of_a_working_candidate_ends_its_ambiguity() -> None:
    troubled = replace(PREPARED, ambiguity="two", unknown_ids=frozenset({"c"}))
    works = seen(listing=listing("a", "c", via=Credential.CANDIDATE))
    journal = transitions.claimed(case_of(troubled, works))
    assert (journal.ambiguity, journal.unknown_ids) == (None, frozenset())
    kept = transitions.claimed(case_of(troubled, seen("a", "c")))
    assert (kept.ambiguity, kept.unknown_ids) == ("two", frozenset({"c"}))


def test_release_notes_what_a_later_run_needs() -> None:
    observation = seen(create_lost_at=NOW, answered=Answered("rotation-1", "c"))
    journal = transitions.released(case_of(replace(PREPARED, api_key=None), observation))
    assert (journal.holder, journal.lease_until) == (None, None)
    assert journal.create_until == NOW + POLICY.request_timeout + WINDOW
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


# --- a rotation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "kept"),
    [(LATER, LATER), (NOW + MOMENT, NOW + MOMENT), (NOW, None), (NOW - MOMENT, None), (None, None)],
)
def test_new_candidate_keeps_creates_that_might_land(late: datetime | None, kept: datetime | None) -> None:
    before = replace(
        PREPARED,
        create_until=late,
        ambiguity="two",
        unknown_ids=frozenset({"x"}),
        candidate_id=Answered("rotation-1", "c"),
        verification=Verification("rotation-1", NOW, NOW),
    )
    case = case_of(before, seen("a", "r"))
    journal = transitions.prepared(case, trigger=Trigger.MANUAL, candidate=OLD, rotation_id="rotation-2")
    assert journal.create_until == kept
    assert (journal.rotation_id, journal.trigger, journal.candidate) == ("rotation-2", Trigger.MANUAL, OLD)
    assert (journal.candidate_id, journal.verification, journal.ids_before) == (None, None, frozenset({"a", "c", "r"}))
    assert (journal.ambiguity, journal.unknown_ids) == (None, frozenset())
    assert (journal.holder, journal.lease_until) == ("me", NOW + POLICY.lease)


def test_commit_records_the_published_candidate() -> None:
    before = replace(PREPARED, verification=Verification("rotation-1", NOW, NOW), create_until=LATER, **FAILURE)
    journal = committed(before, listing=listing("a", "c", via=Credential.CANDIDATE))
    assert journal == Journal(
        api_key="key1",
        current=answered("c", "a", "c"),
        rotated_at=LATER,
        published_version=7,
        published_at=YESTERDAY,
        rotation_id="rotation-1",
        create_until=LATER,
        retiring=(Retiring("a", GRACE_OVER, identity=answered("a")),),
    )


def test_commit_dates_a_secret_without_a_date() -> None:
    assert committed(document=replace(PUBLISHED, rotated_at=None)).rotated_at == NOW


def test_commit_without_an_answered_id_leaves_it_pending() -> None:
    journal = committed(document=replace(PUBLISHED, secret_id=None), listing=listing("a", "c"))
    assert journal.current == pending(
        beside=frozenset({"a", "c"}), foreign_ids=frozenset({"a"}), next_look=NOW + WINDOW
    )
    assert journal.retiring_ids == {"a"}


def test_commit_excludes_ids_of_other_secrets_from_a_pending_one() -> None:
    """A list that lagged lacked the previous id before the candidate was created."""
    entries = (Retiring("r", LATER, identity=answered("r")), Retiring("q", LATER, identity=eliminated("q")))
    before = replace(PREPARED, ids_before=frozenset({"x"}), retiring=(*entries, Retiring("p", LATER)))
    unnamed = replace(PUBLISHED, secret_id=None)
    current = committed(before, unnamed).current
    assert current is not None
    assert current.foreign_ids == {"x", "a", "r"}
    for old in (eliminated("a"), pending("a"), None):
        known = committed(replace(before, current=old), unnamed).current
        assert known is not None
        assert known.foreign_ids == {"x", "r"}, "an id that was not answered might be this one's"


def test_commit_keeps_other_entries() -> None:
    entries = (Retiring("r", LATER), Retiring("c", LATER), Retiring("a", LATER))
    journal = committed(replace(PREPARED, retiring=entries))
    assert journal.retiring == (Retiring("r", LATER), Retiring("a", GRACE_OVER, identity=answered("a")))


@pytest.mark.parametrize("current", [None, pending(None), answered("c")], ids=["none", "open", "the same"])
def test_commit_retires_no_unknown_previous_id(current: Identity | None) -> None:
    assert committed(replace(PREPARED, current=current)).retiring == ()


@pytest.mark.parametrize(
    ("old", "facts", "certain"),
    [
        (answered("a"), {}, True),
        (eliminated("a"), {"listing": listing("a", "c", via=Credential.CANDIDATE)}, True),
        (eliminated("a"), {"listing": listing("a", "c", "s", via=Credential.CANDIDATE)}, False),
        (eliminated("a"), {}, False),
    ],
    ids=["answered", "no doubt", "doubt", "no list"],
)
def test_commit_eliminates_a_doubtful_previous_id_again(old: Identity, facts: dict[str, Any], certain: bool) -> None:
    journal = committed(replace(PREPARED, current=old), **facts)
    again = replace(old, learned=Learned.PENDING, restarts=1, next_look=NOW + WINDOW)
    assert journal.retiring == (Retiring("a", GRACE_OVER, identity=old if certain else again),)


def test_commit_keeps_a_pending_previous_id_pending() -> None:
    old = pending("a", looks=1)
    assert committed(replace(PREPARED, current=old)).retiring == (Retiring("a", GRACE_OVER, identity=old),)


@pytest.mark.parametrize(
    ("trigger", "asked", "at_once"),
    [
        (Trigger.SCHEDULE, None, False),
        (Trigger.COMPROMISED, None, True),
        (Trigger.SCHEDULE, COMPROMISED, True),
        (Trigger.SCHEDULE, request(RequestKind.FORCE, Target(id="a")), False),
        (Trigger.SCHEDULE, request(RequestKind.COMPROMISED, Target(version=6)), True),
        (Trigger.SCHEDULE, request(RequestKind.COMPROMISED, Target(id="x")), False),
    ],
)
def test_commit_makes_a_compromised_secret_due(trigger: Trigger, asked: Request | None, at_once: bool) -> None:
    journal = committed(replace(PREPARED, trigger=trigger, request=asked))
    entry = Retiring("a", NOW if at_once else GRACE_OVER, compromised=at_once, identity=answered("a"))
    assert journal.retiring == (entry,)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, None),
        (request(of=Target(id="a")), None),
        (request(RequestKind.FORCE, Target(id="a")), None),
        (COMPROMISED, COMPROMISED),
        (
            request(RequestKind.COMPROMISED, Target(version=6)),
            request(RequestKind.COMPROMISED, Target(id="a")),
        ),
        (request(RequestKind.COMPROMISED, Target(id="x")), request(RequestKind.COMPROMISED, Target(id="x"))),
        (request(of=Target(version=7)), request(of=Target(id="c"))),
        (request(of=Target(version=8)), request(of=Target(version=8))),
        (request(of=Target(id="x", version=7)), request(of=Target(id="x", version=7))),
    ],
    ids=["none", "manual", "force", "compromised", "by version", "of another", "of the candidate", "later", "by both"],
)
def test_commit_moves_the_request_to_the_retired_id(asked: Request | None, expected: Request | None) -> None:
    assert committed(replace(PREPARED, request=asked)).request == expected


def test_commit_ends_a_request_without_a_retired_id() -> None:
    """Nothing says which id the compromised secret has: unknown ids are named next, and a person decides."""
    asked = request(RequestKind.COMPROMISED, Target(version=6))
    assert committed(replace(PREPARED, current=None, request=asked)).request is None


def test_commit_keeps_a_request_of_a_candidate_without_an_id() -> None:
    asked = request(of=Target(version=7))
    nameless = replace(PUBLISHED, secret_id=None)
    assert committed(replace(PREPARED, request=asked), nameless).request == asked


@pytest.mark.parametrize(
    ("facts", "journal", "grace", "keeps"),
    [
        ({}, {}, timedelta(), True),
        ({}, {}, MOMENT, False),
        ({}, {"create_until": NOW}, timedelta(), True),
        ({}, {"create_until": NOW + MOMENT}, timedelta(), False),
        ({"create_lost_at": NOW}, {}, timedelta(), False),
        ({}, {"current": pending("a")}, timedelta(), False),
        ({"published": replace(PUBLISHED, secret_id=None)}, {}, timedelta(), False),
        ({}, {"retiring": (Retiring("r", NOW),)}, MOMENT, True),
        ({}, {"current": None}, timedelta(), False),
        ({}, {"holder": None, "lease_until": None}, timedelta(), True),
    ],
)
def test_commit_keeps_the_lease_for_what_is_due(
    facts: dict[str, Any], journal: dict[str, Any], grace: timedelta, keeps: bool
) -> None:
    observation = seen(**({"published": PUBLISHED} | facts))
    after = transitions.committed(case_of(replace(PREPARED, **journal), observation, grace=grace))
    assert after.holder == ("me" if keeps else None)
    assert after.lease_until == (NOW + POLICY.lease if keeps else None)


def test_commit_notes_a_late_create() -> None:
    assert committed(create_lost_at=NOW).create_until == NOW + POLICY.request_timeout + WINDOW


def test_verification_is_left_to_a_later_run() -> None:
    since = NOW - 60 * SECOND
    journal = transitions.verifying(case_of(PREPARED, seen()), since)
    assert journal.verification == Verification("rotation-1", since, NOW + 5 * SECOND)
    assert (journal.holder, journal.lease_until, journal.candidate) == (None, None, NEW)
    nameless = transitions.verifying(case_of(replace(PREPARED, rotation_id=None), seen()), since)
    assert nameless.verification is not None
    assert nameless.verification.rotation_id == ""


# --- identity ----------------------------------------------------------------------------------------------------


def test_adoption_keeps_recorded_ids_and_dates_the_secret() -> None:
    entries = (Retiring("r", LATER, compromised=True), Retiring("c", LATER))
    case = case_of(replace(AT_REST, retiring=entries), seen("b", "c", published=replace(PUBLISHED, secret_id=None)))
    journal = transitions.adopted(case, eliminated("c"), retire_previous=False)
    expected = replace(AT_REST, current=eliminated("c"), rotated_at=YESTERDAY, retiring=entries[:1])
    assert journal == replace(expected, published_version=7, published_at=YESTERDAY)
    kept = transitions.adopted(case, pending("c"), retire_previous=False)
    assert kept.retiring == entries, "a pending id might be another one"


@pytest.mark.parametrize(
    ("document", "identity", "rotated_at"),
    [
        (PUBLISHED, answered("x"), LATER),
        (replace(PUBLISHED, rotated_at=None), answered("x"), NOW),
        (PUBLISHED, pending(), LATER),
        (PUBLISHED, answered("c"), YESTERDAY),
    ],
)
def test_adoption_dates_an_unlisted_secret_by_its_document(
    document: Any, identity: Identity, rotated_at: datetime
) -> None:
    case = case_of(Journal(), seen("c", published=document))
    assert transitions.adopted(case, identity, retire_previous=False).rotated_at == rotated_at


@pytest.mark.parametrize(
    ("old", "identity", "asked", "retires"),
    [
        (answered("b"), answered("c"), True, True),
        (answered("b"), pending("c"), True, True),
        (answered("b"), answered("b"), True, False),
        (answered("b"), answered("c"), False, False),
        (eliminated("b"), answered("c"), True, False),
        (Identity("b", Learned.PERSON), answered("c"), True, False),
        (pending("b"), answered("c"), True, False),
        (Identity(None, Learned.ANSWERED), answered("c"), True, False),
        (None, answered("c"), True, False),
    ],
)
def test_adoption_retires_only_an_answered_previous_id(
    old: Identity | None, identity: Identity, asked: bool, retires: bool
) -> None:
    case = case_of(replace(AT_REST, current=old), seen("b", "c"))
    journal = transitions.adopted(case, identity, retire_previous=asked)
    assert journal.retiring == ((Retiring("b", GRACE_OVER, identity=answered("b")),) if retires else ())


@pytest.mark.parametrize(
    ("asked", "at_once"),
    [
        (request(RequestKind.COMPROMISED), True),
        (request(RequestKind.COMPROMISED, Target(version=1)), True),
        (request(RequestKind.COMPROMISED, Target(version=2)), False),
        (request(RequestKind.FORCE), False),
        (request(RequestKind.COMPROMISED, Target(id="x")), False),
        (None, False),
    ],
)
def test_adoption_makes_a_compromised_previous_secret_due(asked: Request | None, at_once: bool) -> None:
    """A person replaced the secret that another one reported as compromised: what is left is its revocation."""
    case = case_of(replace(AT_REST, request=asked), seen("b", "c", published=PUBLISHED))
    journal = transitions.adopted(case, answered("c"), retire_previous=True)
    entry = Retiring("b", NOW if at_once else GRACE_OVER, compromised=at_once, identity=answered("b"))
    assert journal.retiring == (entry,)
    assert journal.request == (request(RequestKind.COMPROMISED) if at_once else asked)


@pytest.mark.parametrize(("replaced", "version"), [(True, 1), (False, 7)])
def test_adoption_of_another_value_does_not_move_a_request(replaced: bool, version: int) -> None:
    """A request begins a rotation only while its own secret is published."""
    asked = request(RequestKind.COMPROMISED, Target(version=1))
    case = case_of(replace(AT_REST, current=pending("b"), request=asked), seen("b", "c", published=PUBLISHED))
    journal = transitions.adopted(case, pending("c"), retire_previous=replaced)
    assert journal.request is not None
    assert journal.request.of.version == version


def test_adoption_returns_a_marked_entry_but_its_own() -> None:
    marked = replace(AT_REST, publishing=Publishing(6, Retiring("m", LATER)))
    case = case_of(marked, seen("b", "m", published=PUBLISHED))
    assert transitions.adopted(case, answered("c"), retire_previous=False).retiring == (Retiring("m", LATER),)
    assert transitions.adopted(case, answered("m"), retire_previous=False).retiring == ()
    assert transitions.adopted(case, pending("m"), retire_previous=False).retiring_ids == {"m"}
    assert transitions.adopted(case, answered("m"), retire_previous=False).publishing is None


def test_pending_identity_begins_with_the_listed_ids() -> None:
    case = case_of(AT_REST, seen("b", "c"))
    identity = transitions.pending(case, foreign_ids=frozenset({"c"}), guess="b")
    assert identity == pending("b", beside=frozenset({"b", "c"}), foreign_ids=frozenset({"c"}), next_look=NOW + WINDOW)
    assert transitions.pending(case, foreign_ids=frozenset()).id is None


def test_restart_counts_lists_again() -> None:
    before = pending("b", looks=2, restarts=1, foreign_ids=frozenset({"f"}))
    case = case_of(AT_REST, seen("b"))
    after = replace(before, id="c", looks=0, restarts=2, next_look=NOW + WINDOW)
    assert transitions.restarted(case, before, "c") == after
    assert transitions.restarted(case, before).id is None


def test_third_list_makes_an_id_certain() -> None:
    case = case_of(AT_REST, seen("b", "r"))
    for looks in (0, 1):
        counted = transitions.counted(case, pending("x", looks=looks, restarts=2), "b")
        assert counted == pending("b", looks=looks + 1, restarts=2, next_look=NOW + WINDOW / 2)
    assert transitions.counted(case, pending("b", looks=2), "b") == eliminated("b", "r")


def test_looks_are_recorded() -> None:
    journal = transitions.looked(case_of(replace(AT_REST, api_key=None), seen("b")), pending("b", looks=1))
    assert journal == replace(AT_REST, current=pending("b", looks=1))


def test_looks_at_retiring_ids_are_recorded() -> None:
    entries = (Retiring("r", LATER), Retiring("a", NOW, identity=pending("a")))
    case = case_of(replace(AT_REST, api_key=None, retiring=entries), seen("a", "b"))
    journal = transitions.looked_at_retiring(case, entries[1], eliminated("a"))
    assert journal == replace(AT_REST, retiring=(entries[0], replace(entries[1], identity=eliminated("a"))))
    assert transitions.looked_at_retiring(case, entries[1], None) == replace(AT_REST, retiring=entries[:1])


def test_identified_secret_is_not_retiring() -> None:
    entries = (Retiring("b", NOW, compromised=True), Retiring("r", LATER))
    before = replace(AT_REST, api_key=None, current=pending("b"), retiring=entries)
    journal = transitions.identified(case_of(before, seen("b")), eliminated("b"))
    assert journal == replace(AT_REST, current=eliminated("b"), rotated_at=YESTERDAY, retiring=entries[1:])
    unlisted = transitions.identified(case_of(before, seen("x")), eliminated("b"))
    assert unlisted.rotated_at == NOW


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(of=Target(version=1)), request(of=Target(id="b"))),
        (request(of=Target(version=2)), request(of=Target(version=2))),
        (request(of=Target(id="x")), request(of=Target(id="x"))),
        (None, None),
    ],
)
def test_request_speaks_of_the_identified_id(asked: Request | None, expected: Request | None) -> None:
    before = replace(AT_REST, current=pending("b"), request=asked)
    assert transitions.identified(case_of(before, seen("b")), eliminated("b")).request == expected


def test_request_of_a_known_id_stays_when_identified() -> None:
    before = replace(AT_REST, request=request())
    assert transitions.identified(case_of(before, seen("b")), eliminated("c")).request == request()


def test_journal_catches_up_with_its_request() -> None:
    before = replace(AT_REST, api_key=None, request=request(of=Target(version=1)))
    journal = transitions.caught_up(case_of(before, seen(published=PUBLISHED)))
    asked = request(of=Target(version=7, written_at=YESTERDAY))
    assert journal == replace(AT_REST, published_version=7, published_at=YESTERDAY, request=asked)


def test_redated_journal_has_the_new_date() -> None:
    before = replace(AT_REST, api_key=None)
    assert transitions.redated(case_of(before, seen()), YESTERDAY) == replace(AT_REST, rotated_at=YESTERDAY)


# --- retirement --------------------------------------------------------------------------------------------------


def test_early_revocation_is_recorded_as_due() -> None:
    entries = (Retiring("a", LATER), Retiring("r", YESTERDAY), Retiring("c", LATER, compromised=True))
    before = replace(AT_REST, retiring=entries, request=request(RequestKind.FORCE))
    journal = transitions.retiring_now(case_of(before, seen("a", "b")))
    assert journal.retiring == (Retiring("a", NOW), Retiring("r", YESTERDAY), Retiring("c", NOW, compromised=True))
    assert (journal.holder, journal.lease_until) == ("me", NOW + POLICY.lease)
    leaked = replace(before, request=request(RequestKind.COMPROMISED))
    assert all(entry.compromised for entry in transitions.retiring_now(case_of(leaked, seen("a", "b"))).retiring)


def test_entry_in_grace_is_recorded_as_it_is() -> None:
    entries = (Retiring("a", NOW), Retiring("r", LATER))
    journal = transitions.retiring_now(case_of(replace(AT_REST, retiring=entries), seen("a", "b")))
    assert journal.retiring == entries


def test_missing_ids_are_noted_from_the_first_list() -> None:
    entries = (
        Retiring("a", NOW),
        Retiring("c", NOW, missing_since=YESTERDAY),
        Retiring("d", NOW, missing_since=LATER),
        Retiring("e", NOW, missing_since=YESTERDAY),
    )
    case = case_of(replace(AT_REST, api_key=None, retiring=entries), seen("b"))
    journal = transitions.missed(case, frozenset("acd"))
    assert [entry.missing_since for entry in journal.retiring] == [NOW, YESTERDAY, NOW, None]
    assert journal.api_key == "key1"


def test_settled_ids_are_remembered_for_the_window() -> None:
    old = (Gone("x", NOW - WINDOW), Gone("y", NOW - WINDOW + MOMENT))
    before = replace(RETIRING, gone=old, create_until=LATER, **FAILURE, **MINE)
    case = case_of(replace(before, retiring=(Retiring("a", NOW), Retiring("r", NOW))), seen())
    journal = transitions.settled(case, frozenset({"r", "a"}))
    assert journal == replace(AT_REST, gone=(old[1], Gone("a", NOW), Gone("r", NOW)))


def test_settling_keeps_a_late_create_while_entries_remain() -> None:
    entries = (Retiring("a", NOW), Retiring("r", LATER))
    case = case_of(replace(AT_REST, retiring=entries, create_until=LATER), seen())
    journal = transitions.settled(case, frozenset({"a"}))
    assert (journal.retiring, journal.create_until) == (entries[1:], LATER)


def test_settling_leaves_anothers_lease() -> None:
    journal = transitions.settled(case_of(replace(RETIRING, **OTHERS), seen()), frozenset({"a"}))
    assert (journal.holder, journal.lease_until) == ("other", NOW)
    free = transitions.settled(case_of(replace(RETIRING, lease_until=NOW), seen()), frozenset({"a"}))
    assert (free.holder, free.lease_until) == (None, None)


@pytest.mark.parametrize(("of", "done"), [("a", True), ("r", False), ("b", False)])
def test_settling_ends_a_request_whose_secret_is_gone(of: str, done: bool) -> None:
    asked = request(RequestKind.COMPROMISED, Target(id=of))
    before = replace(AT_REST, retiring=(Retiring("a", NOW), Retiring("r", NOW)), request=asked)
    journal = transitions.settled(case_of(before, seen()), frozenset({"a"}))
    assert journal.request == (None if done else asked)


def test_resolved_ids_retire_at_once() -> None:
    kept = Retiring("r", LATER)
    before = replace(
        PREPARED,
        retiring=(kept,),
        candidate_id=Answered("rotation-1", "c"),
        verification=Verification("rotation-1", NOW, NOW),
        create_until=LATER,
        **FAILURE,
    )
    rewritten = published(version=2, written_at=LATER, secret_id="t")
    observation = seen("a", "c", "s", "t", "u", published=rewritten, rewritten_over=1)
    journal = transitions.resolved(case_of(before, observation), frozenset({"s", "c", "t", "r", "a", "x"}))
    by_hand = [Identity(id_, Learned.PERSON, beside=frozenset({"a", "c", "s", "t", "u"})) for id_ in ("c", "s")]
    entries = (kept, *(Retiring(str(own.id), NOW, identity=own) for own in by_hand))
    assert journal == Journal(
        api_key="key1",
        current=answered("a"),
        rotated_at=NOW,
        published_version=2,
        published_at=LATER,
        rotation_id="rotation-1",
        create_until=LATER,
        retiring=entries,
    )


@pytest.mark.parametrize(
    ("version", "over", "follows"),
    [(2, 1, True), (2, None, False), (3, 1, False), (3, 2, False), (1, 1, False), (2, 0, False)],
)
def test_persons_retirement_speaks_of_the_own_rewrite_only(version: int, over: int | None, follows: bool) -> None:
    """Another version is recognized by the ordinary rules."""
    case = case_of(AT_REST, seen("b", "s", published=published(version=version), rewritten_over=over))
    for journal in (
        transitions.resolved(case, frozenset({"s"})),
        transitions.retired_by_hand(case, frozenset({"s"}), not_before=NOW),
    ):
        assert journal.published_version == (2 if follows else 1)


def test_resolving_notes_a_late_create_of_the_candidate() -> None:
    journal = transitions.resolved(case_of(PREPARED, seen("a", "s", create_lost_at=NOW)), frozenset({"s"}))
    assert journal.create_until == NOW + POLICY.request_timeout + WINDOW


def test_ids_retire_by_hand() -> None:
    entries = (Retiring("a", LATER, compromised=True), Retiring("r", YESTERDAY))
    before = replace(AT_REST, api_key=None, retiring=entries, unknown_ids=frozenset({"s", "t"}), **MINE)
    case = case_of(before, seen("a", "b", "s"))
    journal = transitions.retired_by_hand(case, frozenset({"a", "r", "s"}), not_before=NOW)
    own = Identity("s", Learned.PERSON, beside=frozenset({"a", "b", "s"}))
    assert journal.retiring == (
        Retiring("a", NOW, compromised=True),
        Retiring("r", YESTERDAY),
        Retiring("s", NOW, identity=own),
    )
    assert (journal.unknown_ids, journal.api_key) == (frozenset({"t"}), "key1")
    assert (journal.holder, journal.lease_until) == (None, None)


def test_id_created_by_hand_is_not_the_published_one() -> None:
    before = replace(AT_REST, api_key=None, current=pending("b", beside=frozenset("b"), foreign_ids=frozenset("f")))
    journal = transitions.created_by_hand(case_of(before, seen("b")), "n")
    assert journal == replace(AT_REST, current=pending("b", beside=frozenset("bn"), foreign_ids=frozenset("fn")))
    nameless = replace(before, current=None)
    assert transitions.created_by_hand(case_of(nameless, seen("b")), "n") == replace(AT_REST, current=None)


@pytest.mark.parametrize(("before", "expected"), [(None, NOW), (LATER, LATER), (YESTERDAY, NOW)])
def test_create_by_hand_might_be_late(before: datetime | None, expected: datetime) -> None:
    journal = transitions.late_create(replace(AT_REST, create_until=before), NOW)
    assert journal == replace(AT_REST, create_until=expected)


@pytest.mark.parametrize("current", [answered("b"), pending("b")])
def test_published_id_never_retires_by_hand(current: Identity) -> None:
    case = case_of(replace(AT_REST, current=current), seen("b", "s"))
    assert transitions.retired_by_hand(case, frozenset({"b", "s"}), not_before=NOW).retiring_ids == {"s"}
    nameless = case_of(replace(AT_REST, current=None), seen("b", "s"))
    assert transitions.retired_by_hand(nameless, frozenset({"b", "s"}), not_before=NOW).retiring_ids == {"b", "s"}


# --- late writes -------------------------------------------------------------------------------------------------


def test_mark_names_the_version_and_takes_the_entry() -> None:
    entries = (Retiring("a", LATER, compromised=True), Retiring("r", LATER))
    case = case_of(replace(AT_REST, retiring=entries), seen(published=published(version=4)))
    journal = transitions.marked(case, "a")
    assert journal.publishing == Publishing(4, entries[0])
    assert journal.retiring == entries[1:]
    assert (journal.holder, journal.lease_until) == ("me", NOW + POLICY.lease)
    for unknown in (None, "x"):
        assert transitions.marked(case, unknown).publishing == Publishing(4)
        assert transitions.marked(case, unknown).retiring == entries


def test_mark_written_again_keeps_its_entry() -> None:
    before = replace(RETIRING, publishing=Publishing(1, Retiring("m", LATER)))
    case = case_of(before, seen(published=published(version=2)))
    assert transitions.marked(case, "m").publishing == Publishing(2, Retiring("m", LATER))
    assert transitions.marked(case, None).publishing == Publishing(2, Retiring("m", LATER))
    assert transitions.marked(replace(case, journal=replace(before, publishing=Publishing(1))), None).publishing == (
        Publishing(2)
    )


def test_mark_of_another_entry_returns_the_first() -> None:
    """No recorded id is forgotten, whichever value is written next."""
    before = replace(RETIRING, publishing=Publishing(1, Retiring("m", LATER)))
    journal = transitions.marked(case_of(before, seen(published=published(version=2))), "a")
    assert journal.publishing == Publishing(2, Retiring("a", NOW))
    assert journal.retiring == (Retiring("m", LATER),)


@pytest.mark.parametrize("rewritten", [True, False])
def test_removed_mark_returns_its_entry(rewritten: bool) -> None:
    before = replace(RETIRING, api_key=None, publishing=Publishing(1, Retiring("m", LATER, compromised=True)))
    moved = published(version=2, written_at=LATER)
    journal = transitions.unmarked(case_of(before, seen(published=moved)), rewritten=rewritten)
    entries = (Retiring("a", NOW), Retiring("m", LATER, compromised=True))
    expected = replace(AT_REST, retiring=entries)
    if rewritten:
        expected = replace(expected, published_version=2, published_at=LATER)
    assert journal == expected


def test_removed_mark_returns_no_published_or_known_entry() -> None:
    moved = seen(published=published(version=2))
    for id_ in ("b", "a"):
        before = replace(RETIRING, publishing=Publishing(1, Retiring(id_, LATER)))
        assert transitions.unmarked(case_of(before, moved), rewritten=False) == RETIRING
    empty = replace(RETIRING, publishing=Publishing(1))
    assert transitions.unmarked(case_of(empty, moved), rewritten=False) == RETIRING
    assert transitions.unmarked(case_of(RETIRING, moved), rewritten=False) == RETIRING


@pytest.mark.parametrize("version", [5, 6])
def test_mark_stays_until_the_document_moved_past_it(version: int) -> None:
    """A document that was deleted with its history counts its versions from 1 again."""
    marked = replace(RETIRING, publishing=Publishing(6, Retiring("m", LATER)))
    document = published(version=version, secret=NEW)
    case = case_of(marked, seen("a", "b", published=document))
    assert transitions.adopted(case, pending("b"), retire_previous=False).publishing == marked.publishing
    assert transitions.unmarked(case, rewritten=False).publishing == marked.publishing


# --- how a run ends ----------------------------------------------------------------------------------------------


def test_recovered_journal_has_no_failure() -> None:
    before = replace(AT_REST, api_key=None, **FAILURE, **MINE)
    assert transitions.recovered(case_of(before, seen())) == AT_REST
    other = transitions.recovered(case_of(replace(before, **OTHERS), seen()))
    assert other == replace(AT_REST, **OTHERS)


@pytest.mark.parametrize(("of", "kept"), [("x", False), ("b", True)])
def test_recovered_journal_has_no_done_request(of: str, kept: bool) -> None:
    asked = request(of=Target(id=of))
    journal = transitions.recovered(case_of(replace(AT_REST, request=asked), seen()))
    assert journal.request == (asked if kept else None)


def failed(journal: Journal, observation: Observation, **facts: Any) -> Journal:
    """Return the journal after a failure."""
    options: dict[str, Any] = {"failure": Code.UNANSWERED.value, "ambiguous": False}
    return transitions.failed(observation, journal, POLICY, NOW, "it failed", **(options | facts))


def test_failure_is_recorded_without_the_lease() -> None:
    journal = failed(replace(AT_REST, attempts=2, **MINE), seen())
    backs_off: dict[str, Any] = {"attempts": 3, "next_attempt_at": NOW + backoff("shop", 3)}
    assert journal == replace(AT_REST, last_error="it failed", failure="unanswered", **backs_off)


@pytest.mark.parametrize(
    ("kind", "delay"),
    [
        (RequestKind.MANUAL, backoff("shop", 5)),
        (RequestKind.FORCE, URGENT_BACKOFF),
        (RequestKind.COMPROMISED, URGENT_BACKOFF),
    ],
)
def test_urgent_request_is_retried_soon(kind: RequestKind, delay: timedelta) -> None:
    before = replace(AT_REST, attempts=4, request=request(kind))
    assert failed(before, seen()).next_attempt_at == NOW + delay
    longer = timedelta(minutes=90)
    assert failed(before, seen(), not_before=longer).next_attempt_at == NOW + longer
    assert failed(before, seen(), not_before=SECOND).next_attempt_at == NOW + delay


@pytest.mark.parametrize("code", [code for code in Code if code.blame is not Blame.PROVIDER])
def test_urgent_request_waits_where_the_provider_is_not_the_cause(code: Code) -> None:
    before = replace(AT_REST, attempts=4, request=request(RequestKind.FORCE))
    assert failed(before, seen(), failure=code.value).next_attempt_at == NOW + backoff("shop", 5)


def test_ambiguity_is_recorded_or_kept() -> None:
    earlier = replace(AT_REST, ambiguity="two", unknown_ids=frozenset({"x"}))
    found = failed(earlier, seen("b", "c"), ambiguous=True)
    assert (found.ambiguity, found.unknown_ids) == ("it failed", frozenset({"c"}))
    kept = failed(earlier, seen("b", "c"))
    assert (kept.ambiguity, kept.unknown_ids) == ("two", frozenset({"x"}))


@pytest.mark.parametrize(
    ("current", "ids", "ambiguous", "noted"),
    [
        (eliminated("b"), "bs", True, True),
        (eliminated("b"), "bs", False, False),
        (eliminated("b"), "b", True, False),
        (answered("b"), "bs", True, False),
        (None, "", True, False),
    ],
)
def test_doubt_is_noted_with_its_strangers(current: Identity | None, ids: str, ambiguous: bool, noted: bool) -> None:
    journal = failed(replace(AT_REST, current=current), seen(*ids), ambiguous=ambiguous)
    assert journal.strangers == (Strangers(frozenset({"s"}), NOW) if noted else None)


def test_ids_in_doubt_are_not_called_unknown() -> None:
    """One of them is the published secret's own."""
    doubtful = failed(replace(AT_REST, current=eliminated("b")), seen("b", "s"), ambiguous=True)
    assert doubtful.unknown_ids == frozenset()
    primary = seen(listing=listing("b", "s", via=Credential.PRIMARY))
    assert failed(replace(AT_REST, current=None), primary, ambiguous=True).unknown_ids == {"b", "s"}


def test_rate_limit_is_no_failure() -> None:
    journal = transitions.limited(case_of(replace(AT_REST, **MINE), seen()), LATER)
    assert journal == replace(AT_REST, next_attempt_at=LATER)


def test_ambiguity_starts_an_elimination_again() -> None:
    current = pending("b", looks=2)
    restarted = replace(current, id=None, looks=0, restarts=1, next_look=NOW + WINDOW)
    before = replace(AT_REST, current=current)
    assert failed(before, seen("b", "c"), ambiguous=True).current == restarted
    assert failed(before, seen("b", "c")).current == current
    certain = replace(AT_REST, current=eliminated("b"))
    assert failed(certain, seen("b", "c"), ambiguous=True).current == eliminated("b")


@pytest.mark.parametrize("kind", RequestKind)
@pytest.mark.parametrize("withdraw", [True, False])
def test_deferral_withdraws_a_manual_request(kind: RequestKind, withdraw: bool) -> None:
    asked = request(kind)
    journal = transitions.rested(case_of(replace(AT_REST, request=asked, **MINE), seen()), withdraw=withdraw)
    gone = withdraw and kind is RequestKind.MANUAL
    assert journal == replace(AT_REST, request=None if gone else asked)


def test_deferral_without_a_request_releases_the_lease() -> None:
    assert transitions.rested(case_of(replace(AT_REST, **MINE), seen()), withdraw=True) == AT_REST
