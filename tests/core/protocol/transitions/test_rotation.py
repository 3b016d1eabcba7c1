"""Changes of a journal: a rotation, from its preparation to its record."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import (
    Answered,
    Credential,
    Gone,
    Identity,
    Journal,
    Learned,
    Observation,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    Verification,
    leaks,
    transitions,
)
from tests.core.protocol.situations import (
    AT_REST,
    FAILURE,
    LATE,
    LATER,
    MOMENT,
    NEW,
    NOW,
    OLD,
    OTHER,
    POLICY,
    PREPARED,
    PUBLISHED,
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
COMPROMISED = request(RequestKind.COMPROMISED, Target(id="a"))


def committed(journal: Journal = PREPARED, document: Any = PUBLISHED, **facts: Any) -> Journal:
    """Return the journal after the candidate was published with the id that the provider answered, if it did."""
    return transitions.committed(case_of(journal, published_candidate(document, **facts)))


def published_candidate(document: Any = PUBLISHED, **facts: Any) -> Observation:
    answer = Answered("rotation-1", document.secret_id) if document.secret_id is not None else None
    return seen(published=document, answered=answer, **facts)


# --- a rotation --------------------------------------------------------------------------------------------------


def test_candidate_that_is_sent_again_has_no_id() -> None:
    before = replace(PREPARED, candidate_id=Answered("rotation-1", "c"))
    assert transitions.sent_again(case_of(before, seen())) == PREPARED


@pytest.mark.parametrize(
    ("trigger", "retiring"), [(Trigger.BOOTSTRAP, set()), (Trigger.RESCUE, {"a"}), (Trigger.SCHEDULE, {"a"})]
)
def test_previous_secret_retires_unless_nothing_was_published(trigger: Trigger, retiring: set[str]) -> None:
    assert committed(replace(PREPARED, trigger=trigger)).retiring_ids == retiring


@pytest.mark.parametrize("trigger", [Trigger.RESCUE, Trigger.SCHEDULE, Trigger.COMPROMISED])
@pytest.mark.parametrize(
    ("recorded", "field", "retiring"), [("a", "a", {"a"}), ("a", "b", set()), (None, "b", {"a"}), ("a", None, {"a"})]
)
def test_previous_secret_of_another_field_stays(
    trigger: Trigger, recorded: str | None, field: str | None, retiring: set[str]
) -> None:
    """Consumers can read it in the field that the configuration named before."""
    before = replace(PREPARED, trigger=trigger, published_field=recorded)
    after = committed(before, replace(PUBLISHED, field=field))
    assert after.retiring_ids == retiring
    assert after.published_field == field


@pytest.mark.parametrize(("recorded", "retiring"), [("apps/shop", {"a"}), ("apps/other", set()), (None, {"a"})])
def test_previous_secret_of_another_path_stays(recorded: str | None, retiring: set[str]) -> None:
    """Consumers can read it at the path that the configuration named before."""
    after = committed(replace(PREPARED, published_path=recorded), replace(PUBLISHED, path="apps/shop"))
    assert after.retiring_ids == retiring
    assert after.published_path == "apps/shop"


def test_new_candidate_excludes_the_id_in_the_document() -> None:
    """The document can name a removed secret's id, and a person can publish the candidate in it by hand."""
    case = case_of(AT_REST, seen("a", published=published(secret_id="removed")))
    journal = transitions.prepared(case, trigger=Trigger.MANUAL, candidate=NEW, rotation_id="rotation-1")
    assert "removed" in journal.ids_before


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
    assert (journal.lease_holder, journal.lease_until) == ("me", NOW + POLICY.lease)


def test_new_candidate_is_no_known_id() -> None:
    """The list at hand can lack them."""
    before = replace(
        AT_REST,
        current=answered("b", "x"),
        retiring=(Retiring("r", LATER),),
        gone=(Gone("g", NOW),),
    )
    for current, known in ((before.current, {"b", "x"}), (None, set())):
        case = case_of(replace(before, current=current), seen("l"))
        journal = transitions.prepared(case, trigger=Trigger.MANUAL, candidate=OLD, rotation_id="rotation-2")
        assert journal.ids_before == {"l", "r", "g"} | known


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


def test_secret_created_after_leak_is_noted() -> None:
    """It keeps its grace period when it is replaced."""
    noted = replace(PREPARED, leaked=frozenset({"request-1:digest"}), candidate_id=Answered("rotation-1", "c"))
    assert committed(noted).later_id == "c"
    assert committed(replace(noted, leaked=frozenset())).later_id is None


def test_commit_dates_a_secret_without_a_date() -> None:
    assert committed(document=replace(PUBLISHED, rotated_at=None)).rotated_at == NOW


def test_commit_without_an_answered_id_leaves_it_pending() -> None:
    journal = committed(document=replace(PUBLISHED, secret_id=None), listing=listing("a", "c"))
    assert journal.current == pending(
        beside=frozenset({"a", "c"}), foreign_ids=frozenset({"a"}), next_look=NOW + WINDOW
    )
    assert journal.retiring_ids == {"a"}


def test_commit_excludes_other_ids_from_a_pending_one() -> None:
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
    journal = committed(replace(PREPARED, retiring=entries, published_version=PUBLISHED.version - 1))
    assert journal.retiring == (Retiring("r", LATER), Retiring("a", GRACE_OVER, identity=answered("a")))


@pytest.mark.parametrize(
    ("recorded", "path", "end"),
    [
        (PUBLISHED.version, None, LATER),
        (PUBLISHED.version - 1, None, LATER),
        (PUBLISHED.version - 2, None, GRACE_OVER),
        (PUBLISHED.version + 1, None, GRACE_OVER),
        (PUBLISHED.version - 1, "elsewhere", GRACE_OVER),
    ],
    ids=["the same", "replaced", "not replaced", "older", "another place"],
)
def test_commit_over_an_unrecorded_version_gives_grace(recorded: int, path: str | None, end: datetime) -> None:
    """A person might have published a retiring secret's value there, which consumers read until now."""
    entries = (Retiring("r", LATER), Retiring("l", YESTERDAY, compromised=True))
    before = replace(PREPARED, retiring=entries, published_version=recorded, published_path=path)
    after = committed(before, replace(PUBLISHED, path="apps/shop")).retiring
    assert [(entry.id, entry.not_before) for entry in after if entry.id != "a"] == [("r", end), ("l", YESTERDAY)]


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
        (Trigger.SCHEDULE, request(RequestKind.COMPROMISED, Target(version=7), value=NEW), True),
        (Trigger.SCHEDULE, request(RequestKind.COMPROMISED, Target(version=7)), False),
        (Trigger.SCHEDULE, request(RequestKind.FORCE, Target(version=7), value=NEW), False),
        (Trigger.SCHEDULE, request(RequestKind.FORCE, Target(version=7), earlier_ids=frozenset({"a"})), True),
        (Trigger.SCHEDULE, request(RequestKind.FORCE, Target(version=7), earlier_ids=frozenset({"x"})), False),
    ],
)
def test_commit_makes_a_compromised_secret_due(trigger: Trigger, asked: Request | None, at_once: bool) -> None:
    journal = committed(replace(PREPARED, trigger=trigger, request=asked))
    entry = Retiring("a", GRACE_OVER, identity=answered("a"))
    by_earlier = asked is not None and "a" in asked.earlier_ids  # no withdrawal of this request changes that
    due = replace(entry, not_before=NOW, compromised=True, grace_until=None if by_earlier else GRACE_OVER)
    assert journal.retiring == (due if at_once else entry,)


@pytest.mark.parametrize(
    ("recorded", "at_once"), [(OLD, True), (OTHER, False), (None, True)], ids=["leaked", "another", "gone"]
)
@pytest.mark.parametrize("trigger", [Trigger.RESCUE, Trigger.COMPROMISED])
def test_commit_makes_a_possible_earlier_leak_due(trigger: Trigger, recorded: SecretStr | None, at_once: bool) -> None:
    """A request that another one replaced leaves a leak without an id. No withdrawal gives the grace period back."""
    leaked = frozenset({f"request-0:{leaks.digest_of('request-0', OLD)}"})
    journal = committed(replace(PREPARED, trigger=trigger, leaked=leaked), recorded=recorded, recorded_read=True)
    (entry,) = journal.retiring
    requested = trigger is Trigger.COMPROMISED
    assert (entry.id, entry.compromised) == ("a", at_once or requested)
    assert entry.not_before == (NOW if at_once or requested else GRACE_OVER)
    assert entry.grace_until == (GRACE_OVER if requested and not at_once else None)
    assert journal.leaked == leaked


@pytest.mark.parametrize(("recorded", "at_once"), [(OTHER, False), (None, True)], ids=["another", "gone"])
def test_commit_makes_a_possible_leak_due(recorded: SecretStr | None, at_once: bool) -> None:
    """The leak of a request without an id. A withdrawal of the request gives the grace period back."""
    asked = request(RequestKind.COMPROMISED, Target(), value=OLD)
    journal = committed(replace(PREPARED, request=asked), recorded=recorded, recorded_read=True)
    entry = Retiring("a", GRACE_OVER, identity=answered("a"))
    due = replace(entry, not_before=NOW, compromised=True, grace_until=GRACE_OVER)
    assert journal.retiring == (due if at_once else entry,)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, None),
        (request(of=Target(id="a")), None),
        (request(RequestKind.FORCE, Target(id="a")), None),
        (COMPROMISED, COMPROMISED),
        (
            request(RequestKind.COMPROMISED, Target(version=6)),
            request(RequestKind.COMPROMISED, Target(id="a"), value=OTHER),
        ),
        (request(RequestKind.COMPROMISED, Target(id="x")), request(RequestKind.COMPROMISED, Target(id="x"))),
        (request(of=Target(version=7), value=NEW), request(of=Target(id="c"), value=NEW)),
        (request(of=Target(version=8)), request(of=Target(version=8))),
        (request(of=Target(id="x", version=7)), request(of=Target(id="x", version=7))),
    ],
    ids=["none", "manual", "force", "compromised", "by version", "of another", "of the candidate", "later", "by both"],
)
def test_commit_moves_the_request_to_the_retired_id(asked: Request | None, expected: Request | None) -> None:
    assert committed(replace(PREPARED, request=asked)).request == expected


@pytest.mark.parametrize("current", [None, pending(None), answered("c")], ids=["none", "open", "the same"])
def test_commit_keeps_a_compromised_request_without_an_id(current: Identity | None) -> None:
    """Nothing says which id the compromised secret has: unknown ids are named next, and a person decides.

    Its value is never published again, whatever its id is.
    """
    asked = request(RequestKind.COMPROMISED, Target(version=6))
    assert committed(replace(PREPARED, current=current, request=asked)).request == replace(asked, of=Target())
    forced = request(RequestKind.FORCE, Target(version=6))
    assert committed(replace(PREPARED, current=current, request=forced)).request is None


@pytest.mark.parametrize(
    ("recorded", "is_other"), [(OLD, True), (OTHER, False), (None, False)], ids=["another", "the same", "gone"]
)
def test_commit_over_an_unrecorded_secret_concerns_no_other(recorded: SecretStr | None, is_other: bool) -> None:
    """A person published the compromised secret, and no run recorded it before the candidate replaced it."""
    asked = request(RequestKind.COMPROMISED, Target(version=6))
    journal = committed(replace(PREPARED, request=asked), recorded=recorded, recorded_read=True)
    assert journal.request == replace(asked, of=Target() if is_other else Target(id="a"))
    assert [entry.compromised for entry in journal.retiring] == [not is_other]


@pytest.mark.parametrize(
    ("version", "prepared_here", "is_for_it"),
    [(1, False, False), (2, False, True), (6, False, True), (7, False, False), (6, True, False)],
    ids=["recorded", "after it", "before the candidate's", "the candidate's", "before the candidate was made"],
)
@pytest.mark.parametrize("kind", [RequestKind.FORCE, RequestKind.COMPROMISED])
def test_commit_keeps_request_for_a_deleted_version(
    kind: RequestKind, version: int, *, prepared_here: bool, is_for_it: bool
) -> None:
    """A run published the candidate there and died, or a person did. Nobody can read what the version contained."""
    asked = replace(request(kind, Target(version=version)), value_digest=None)
    kept = committed(replace(PREPARED, request=asked), prepared_here=prepared_here).request
    of_published = Target(version=7, written_at=YESTERDAY)
    assert (kept == replace(asked, of=of_published)) is is_for_it
    by_both = replace(asked, of=Target(id="a", version=6))
    expected = Target(id="a") if kind is RequestKind.COMPROMISED else None
    found = committed(replace(PREPARED, request=by_both), prepared_here=prepared_here).request
    assert (found.of if found is not None else None) == expected


def test_commit_keeps_request_when_candidate_has_no_id() -> None:
    asked = request(of=Target(version=7), value=NEW)
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
        ({"document": replace(PUBLISHED, secret_id=None)}, {}, timedelta(), False),
        ({}, {"retiring": (Retiring("r", NOW),)}, MOMENT, True),
        ({}, {"current": None}, timedelta(), False),
        ({}, {"lease_holder": None, "lease_until": None}, timedelta(), True),
    ],
)
def test_commit_keeps_the_lease_for_due_entries(
    facts: dict[str, Any], journal: dict[str, Any], grace: timedelta, keeps: bool
) -> None:
    observation = published_candidate(**facts)
    before = replace(PREPARED, published_version=PUBLISHED.version - 1)
    after = transitions.committed(case_of(replace(before, **journal), observation, grace=grace))
    assert after.lease_holder == ("me" if keeps else None)
    assert after.lease_until == (NOW + POLICY.lease if keeps else None)


def test_commit_notes_a_late_create() -> None:
    assert committed(create_lost_at=NOW).create_until == NOW + LATE


def test_verification_is_left_to_a_later_run() -> None:
    since = NOW - 60 * SECOND
    journal = transitions.verifying(case_of(PREPARED, seen()), since)
    assert journal.verification == Verification("rotation-1", since, NOW + 5 * SECOND)
    assert (journal.lease_holder, journal.lease_until, journal.candidate) == (None, None, NEW)
    nameless = transitions.verifying(case_of(replace(PREPARED, rotation_id=None), seen()), since)
    assert nameless.verification is not None
    assert nameless.verification.rotation_id == ""
