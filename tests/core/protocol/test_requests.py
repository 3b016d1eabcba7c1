"""Requests: a person's wish stays in the journal until it is done."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import (
    Answered,
    Gone,
    Identity,
    Journal,
    Observation,
    Published,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    requests,
)
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    NEW,
    NOW,
    OLD,
    OTHER,
    PREPARED,
    answered,
    eliminated,
    pending,
    published,
    request,
    seen,
    with_value,
)

MANUAL, FORCE, COMPROMISED = (request(kind) for kind in RequestKind)
OF_VERSION = Target(version=1, written_at=NOW)
# Its version was deleted, whose secret has the id a.
LEAKED_EARLIER = request(RequestKind.COMPROMISED, of=OF_VERSION, value=None, earlier_ids=frozenset({"a"}))
EDITED = published(version=2, secret=NEW)


def test_kinds_grow_in_strength() -> None:
    assert RequestKind.MANUAL.strength < RequestKind.FORCE.strength < RequestKind.COMPROMISED.strength


# --- the secret that a request is for ----------------------------------------------------------------------------


def made(journal: Journal, document: Published) -> Request | None:
    """Return a request for the published secret."""
    return requests.new_request(RequestKind.FORCE, journal, document, at=LATER, by="bob", id_="request-9")


@pytest.mark.parametrize("identity", [answered("b"), eliminated("b")])
def test_new_request_names_the_certain_id(identity: Identity) -> None:
    asked = made(replace(AT_REST, current=identity), published())
    expected = Request(RequestKind.FORCE, Target(id="b"), LATER, "bob", "request-9")
    assert asked == with_value(expected, OLD)


@pytest.mark.parametrize(
    ("journal", "version"),
    [(AT_REST, 2), (replace(AT_REST, current=pending("b")), 1), (replace(AT_REST, current=None), 1)],
    ids=["edited", "pending", "unknown"],
)
def test_new_request_names_the_version_without_an_id(journal: Journal, version: int) -> None:
    asked = made(journal, published(version=version, written_at=NOW))
    assert asked is not None
    assert asked.of == Target(version=version, written_at=NOW)


@pytest.mark.parametrize(
    ("document", "target"),
    [
        ({"secret_id": "c"}, Target(id="c")),
        ({"secret_id": "a"}, Target(version=2)),
        ({"secret_id": None}, Target(version=2)),
        ({"secret_id": "c", "secret": OTHER}, Target(version=2)),
    ],
    ids=["named", "of an earlier secret", "not named", "another value"],
)
def test_new_request_names_the_published_candidates_id(document: dict[str, Any], target: Target) -> None:
    """A run published it and died: only an id that the provider answered is published with a candidate."""
    asked = made(PREPARED, replace(EDITED, **document))
    assert asked is not None
    assert asked.of == target


def test_nothing_is_requested_when_nothing_was_published() -> None:
    assert made(Journal(), Published()) is None


@pytest.mark.parametrize(
    ("journal", "document", "target", "leaked"),
    [
        pytest.param(AT_REST, published(secret=None), Target(version=1), {"b"}, id="recorded"),
        pytest.param(
            AT_REST, published(version=3, secret=None, written_at=NOW), Target(None, 3, NOW), set(), id="later"
        ),
        pytest.param(Journal(), published(secret=None), Target(version=1), set(), id="no journal"),
        pytest.param(AT_REST, Published(), Target(id="b"), set(), id="no version"),
        pytest.param(replace(AT_REST, current=None), Published(), Target(), set(), id="no version and no id"),
    ],
)
def test_request_for_deleted_secret_names_its_place(
    journal: Journal, document: Published, target: Target, leaked: set[str]
) -> None:
    """The value in a deleted version is not known. The journal can know its id."""
    for kind in RequestKind:
        asked = requests.new_request(kind, journal, document, at=LATER, by="bob", id_="request-9")
        assert asked is not None
        assert (asked.of, asked.value_digest) == (target, None)
        assert asked.earlier_ids == (leaked if kind is RequestKind.COMPROMISED else set())


@pytest.mark.parametrize(
    ("known", "ids"), [(None, {"a"}), (request(RequestKind.COMPROMISED, Target(id="c")), {"a", "c"})]
)
def test_recorded_request_keeps_the_ids_of_its_leak(known: Request | None, ids: set[str]) -> None:
    observation = seen(request=LEAKED_EARLIER, published=published(written_at=NOW))
    journal = requests.requested(observation, replace(AT_REST, request=known), NOW)
    assert journal.request is not None
    assert journal.request.earlier_ids == ids


@pytest.mark.parametrize("target", [Target(version=1), Target(id="b"), Target()], ids=["version", "id", "neither"])
def test_request_for_deleted_secret_is_recorded(target: Target) -> None:
    """Without a version and an id, the request stays until no secret is unknown."""
    asked = request(RequestKind.COMPROMISED, of=target, value=None)
    document = Published() if target.is_unknown else published(secret=None)
    journal = requests.requested(Observation(document, request=asked), AT_REST, NOW)
    assert journal.request == asked


@pytest.mark.parametrize(
    ("asked", "own_ids", "expected"),
    [
        pytest.param(None, set(), False, id="no request"),
        pytest.param(request(RequestKind.FORCE, value=None), set(), False, id="no leak"),
        pytest.param(request(RequestKind.COMPROMISED, value=OLD), {"x"}, True, id="its value"),
        pytest.param(request(RequestKind.COMPROMISED, value=OTHER), set(), False, id="another value"),
        pytest.param(request(RequestKind.COMPROMISED, of=Target(id="b"), value=None), {"b"}, True, id="its id"),
        pytest.param(request(RequestKind.COMPROMISED, of=Target(id="b"), value=None), {"a"}, False, id="another id"),
        pytest.param(request(RequestKind.COMPROMISED, of=Target(id="b"), value=None), set(), True, id="no known id"),
        pytest.param(request(RequestKind.COMPROMISED, of=OF_VERSION, value=None), {"a"}, True, id="no id in request"),
        pytest.param(LEAKED_EARLIER, {"a"}, True, id="an earlier leak"),
        pytest.param(LEAKED_EARLIER, {"c"}, False, id="beside an earlier leak"),
    ],
)
def test_leaked_value_is_the_last_resort(asked: Request | None, own_ids: set[str], expected: bool) -> None:
    assert requests.is_last_resort(replace(AT_REST, request=asked), OLD, own_ids) is expected


def test_digest_tells_nothing_of_the_value() -> None:
    """Digests of one value differ from request to request, and no text of a request contains one."""
    asked = replace(MANUAL, id="request-2")
    digests = {with_value(known, value).value_digest for known in (MANUAL, asked) for value in (OLD, NEW)}
    assert len(digests) == 4
    assert {len(digest or "") for digest in digests} == {32}
    assert (MANUAL.value_digest or "") not in repr(MANUAL)
    assert with_value(replace(asked, id="r" * 99), OLD).value_digest is not None


@pytest.mark.parametrize(
    ("asked", "secret", "expected"),
    [(MANUAL, OLD, True), (MANUAL, NEW, False), (MANUAL, None, False), (None, OLD, False)],
)
def test_request_speaks_of_its_value(asked: Request | None, secret: SecretStr | None, expected: bool) -> None:
    assert requests.speaks_of(asked, secret) is expected
    assert not requests.speaks_of(request(value=None), OLD)


@pytest.mark.parametrize("of", [Target(), Target(id="b"), Target(id="x"), OF_VERSION])
def test_request_is_for_a_value_wherever_it_is(of: Target) -> None:
    """An edit, a deletion or a restored version changes neither the value nor the request."""
    asked = request(of=of, value=OLD)
    assert requests.is_published(asked, AT_REST, published(version=9, written_at=LATER))
    assert not requests.is_published(asked, AT_REST, published(secret=NEW))
    assert not requests.is_published(asked, AT_REST, published(secret=None))


@pytest.mark.parametrize(
    ("target", "document", "expected"),
    [
        (Target(id="b"), published(version=7), True),
        (Target(id="b"), published(secret=None), True),
        (Target(id="a"), published(), False),
        (OF_VERSION, published(written_at=NOW), True),
        (OF_VERSION, published(written_at=LATER), False),
        (OF_VERSION, published(), True),
        (Target(version=1), published(written_at=LATER), True),
        (OF_VERSION, published(version=2, written_at=NOW), False),
        (OF_VERSION, published(secret=None, written_at=NOW), True),
        (OF_VERSION, published(version=2, secret=None, written_at=NOW), False),
        (Target(), published(version=0, secret=None), False),
    ],
)
def test_request_without_digest_matches_id_or_version(target: Target, document: Published, expected: bool) -> None:
    """Version 0.1.0 stored no digest at first."""
    asked = request(of=target, value=None)
    assert requests.is_published(asked, AT_REST, document) is expected
    pending_id = replace(AT_REST, current=pending("b"))
    assert requests.is_published(asked, pending_id, document) is (expected and target.id is None)


@pytest.mark.parametrize(
    ("asked", "document", "found"),
    [
        (request(value=None), published(), MANUAL),
        (request(value=None), published(version=7), request(value=None)),
        (request(of=OF_VERSION, value=None), published(written_at=NOW), request(of=OF_VERSION)),
        (request(of=Target(version=2), value=None), EDITED, request(of=Target(version=2), value=NEW)),
        (request(of=OF_VERSION, value=None), published(version=2), request(of=OF_VERSION, value=None)),
        (request(value=None), published(secret=None), request(value=None)),
        (request(value=NEW), published(), request(value=NEW)),
        (None, published(), None),
    ],
    ids=["recorded", "not recorded", "by version", "by hand", "another version", "deleted", "digest", "none"],
)
def test_earlier_request_gets_the_digest_of_its_value(
    asked: Request | None, document: Published, found: Request | None
) -> None:
    journal = replace(AT_REST, request=asked)
    assert requests.requested(seen(published=document), journal, NOW) == replace(AT_REST, request=found)


@pytest.mark.parametrize(
    ("asked", "facts", "expected"),
    [
        (None, {}, False),
        (MANUAL, {}, True),
        (request(of=Target(id="x"), value=OLD), {}, True),
        (request(value=NEW), {}, False),
        (request(value=None), {}, True),
        (request(of=Target(id="a"), value=None), {}, False),
        (request(of=Target(version=1), value=None), {}, True),
        (request(of=Target(version=2), value=None), {}, False),
        (request(of=Target(version=5), value=OLD), {"published": EDITED, "recorded": OLD}, True),
        (request(of=Target(version=1), value=NEW), {"published": EDITED, "recorded": OLD}, False),
        (request(of=Target(version=1), value=NEW), {"published": EDITED}, True),
        (request(of=Target(version=5), value=OLD), {"published": EDITED}, False),
    ],
)
def test_request_is_for_the_current_secret(asked: Request | None, facts: dict[str, Any], expected: bool) -> None:
    assert requests.is_of_current(asked, AT_REST, seen(**facts)) is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(RequestKind.COMPROMISED, Target(id="a"), value=NEW), True),
        (request(RequestKind.COMPROMISED, Target(), value=NEW), True),
        (request(RequestKind.COMPROMISED, Target(version=2), value=NEW), False),
        (request(RequestKind.COMPROMISED, Target(id="b"), value=NEW), False),
        (request(RequestKind.COMPROMISED, Target(id="a"), value=OLD), False),
        (request(RequestKind.FORCE, Target(id="a"), value=NEW), False),
        (None, False),
    ],
    ids=["replaced", "without an id", "not replaced", "current", "another", "forced", "none"],
)
def test_replaced_compromised_value_is_never_published_again(asked: Request | None, expected: bool) -> None:
    assert requests.is_never_published_again(replace(AT_REST, request=asked), NEW) is expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, Answered("rotation-1", "c")),
        (Answered("rotation-0", "z"), Answered("rotation-1", "c")),
        (Answered("rotation-1", "c", unknown_fields="newer"), Answered("rotation-1", "c", unknown_fields="newer")),
    ],
    ids=["none", "of another rotation", "known"],
)
def test_request_for_the_candidate_tells_its_id(known: Answered | None, expected: Answered) -> None:
    asked = request(RequestKind.COMPROMISED, Target(id="c"), value=NEW)
    found = requests.requested(seen(request=asked, published=EDITED), replace(PREPARED, candidate_id=known), NOW)
    assert found.candidate_id == expected


def test_request_without_digest_is_not_for_the_candidate() -> None:
    """Otherwise a compromised request for the candidate, which consumers read already, was not recorded."""
    known = request(RequestKind.COMPROMISED, Target(id="a"), value=None)
    journal = replace(PREPARED, request=known)
    assert requests.is_published(known, journal, published(secret=OLD))
    assert not requests.is_published(known, journal, published(version=2, secret=NEW))
    asked = request(RequestKind.COMPROMISED, Target(version=2), value=NEW, id="request-2")
    found = requests.requested(seen(published=published(version=2, secret=NEW), request=asked), journal, NOW)
    assert found.request == replace(asked, earlier_ids=frozenset("a"))


def test_replaced_secret_of_uncertain_id_can_be_published() -> None:
    """The journal names its id for the published secret, which is not certain."""
    asked = request(RequestKind.COMPROMISED, Target(id="b"), value=NEW)
    assert not requests.is_never_published_again(replace(AT_REST, current=pending("b"), request=asked), NEW)


def test_value_with_lone_surrogate_has_a_digest() -> None:
    """JSON can contain it."""
    half = SecretStr("Half-\ud83dSecret01")
    assert requests.speaks_of(with_value(MANUAL, half), half)
    assert not requests.speaks_of(MANUAL, half)


# --- the caller's request ----------------------------------------------------------------------------------------


def test_request_enters_the_journal() -> None:
    assert requests.requested(seen(request=MANUAL), AT_REST, NOW) == replace(AT_REST, request=MANUAL)
    assert requests.requested(seen(), AT_REST, NOW) is AT_REST


def test_request_that_names_its_value_stays_unchanged() -> None:
    """A run asks twenty times, and a journal takes long to copy."""
    journal = replace(AT_REST, request=MANUAL)
    assert requests.requested(seen(), journal, NOW) is journal


@pytest.mark.parametrize("kind", RequestKind)
def test_request_that_is_too_late_is_dropped(kind: RequestKind) -> None:
    """The secret that it wants replaced is replaced. A compromised one is revoked at once all the same."""
    journal = replace(AT_REST, retiring=(Retiring("a", LATER),), request=MANUAL)
    found = requests.requested(seen(request=request(kind, Target(id="a"))), journal, NOW)
    due = (Retiring("a", NOW, compromised=True),)
    assert found == (replace(journal, retiring=due) if kind is RequestKind.COMPROMISED else journal)
    assert requests.requested(seen(request=request(kind, Target(id="a"))), AT_REST, NOW) == AT_REST


@pytest.mark.parametrize("known", [None, MANUAL, FORCE, request(RequestKind.COMPROMISED, id="request-0")])
def test_compromised_request_stays_until_replacement_is_recorded(known: Request | None) -> None:
    """The published version is not the one that the journal speaks of."""
    asked = request(RequestKind.COMPROMISED, OF_VERSION)
    journal = replace(AT_REST, request=known)
    found = requests.requested(seen(request=asked, published=EDITED), journal, NOW).request
    assert found == (known if known is not None and known.kind is RequestKind.COMPROMISED else asked)
    moved = replace(journal, published_version=2)
    assert requests.requested(seen(request=asked, published=EDITED), moved, NOW).request == known


def test_compromised_request_for_the_candidate_stays() -> None:
    """A run published it and died, and another version was published by hand: it must not be published again."""
    asked = request(RequestKind.COMPROMISED, Target(version=2), value=NEW)
    journal = replace(PREPARED, candidate_id=Answered("rotation-1", "c"), retiring=(Retiring("r", LATER),))
    late = seen(request=asked, published=published(version=3))
    found = requests.requested(late, journal, NOW)
    due = (Retiring("r", NOW, compromised=True, grace_until=LATER),)
    assert found == replace(journal, request=asked, retiring=due)
    assert not requests.is_spent(late, found, NOW)
    assert not requests.is_spent(late, requests.requested(late, found, NOW), NOW)
    weaker = replace(asked, kind=RequestKind.FORCE)
    assert requests.requested(replace(late, request=weaker), journal, NOW) == journal
    known = request(RequestKind.FORCE, Target(id="a"), value=OLD, earlier_ids=frozenset({"e"}))
    found = requests.requested(late, replace(journal, request=known), NOW)
    assert found.request == replace(asked, earlier_ids=frozenset({"e"}))


def test_second_compromised_request_keeps_earlier_ids() -> None:
    """Doubt know both secrets: both are revoked at once when they are replaced."""
    first = request(RequestKind.COMPROMISED, Target(id="b"), earlier_ids=frozenset({"e"}))
    journal = replace(AT_REST, request=first)
    asked = request(RequestKind.COMPROMISED, Target(version=2), id="request-2", value=NEW)
    found = requests.requested(seen(request=asked, published=EDITED), journal, NOW).request
    assert found == replace(asked, earlier_ids=frozenset({"b", "e"}))
    forced = replace(first, kind=RequestKind.FORCE)
    found = requests.requested(seen(request=asked, published=EDITED), replace(journal, request=forced), NOW).request
    assert found == replace(asked, earlier_ids=frozenset({"e"}))


def test_later_request_keeps_a_compromised_candidates_id() -> None:
    first = request(RequestKind.COMPROMISED, Target(version=2), value=NEW)
    journal = replace(PREPARED, request=first, candidate_id=Answered("rotation-1", "c"))
    asked = request(RequestKind.COMPROMISED, Target(id="a"), id="request-2", value=OLD)
    assert requests.requested(seen(request=asked), journal, NOW).request == replace(asked, earlier_ids=frozenset({"c"}))
    for unknown in (None, Answered("rotation-0", "c")):
        before = replace(journal, candidate_id=unknown)
        assert requests.requested(seen(request=asked), before, NOW).request == asked
    of_another = replace(journal, request=replace(first, value_digest="another"))
    assert requests.requested(seen(request=asked), of_another, NOW).request == asked


def test_recorded_request_takes_over_a_late_compromised_id() -> None:
    known = request(RequestKind.COMPROMISED, Target(id="a"), value=OLD, earlier_ids=frozenset({"e"}))
    entries = (Retiring("r", LATER),)
    journal = replace(PREPARED, request=known, candidate_id=Answered("rotation-1", "c"), retiring=entries)
    late = request(RequestKind.COMPROMISED, Target(version=2), id="request-2", value=NEW)
    found = requests.requested(seen(request=late), journal, NOW)
    due = replace(journal, retiring=(Retiring("r", NOW, compromised=True),))
    leaked = frozenset({f"request-2:{late.value_digest}"})
    assert found == replace(due, request=replace(known, earlier_ids=frozenset({"c", "e"})), leaked=leaked)
    same = replace(late, of=Target(id="a"), value_digest=with_value(late, OLD).value_digest)
    edited = seen(request=same, published=published(version=2, secret=OTHER), recorded=OLD)
    assert requests.requested(edited, journal, NOW) == due


@pytest.mark.parametrize("asked", [MANUAL, FORCE, COMPROMISED])
@pytest.mark.parametrize("known", [MANUAL, FORCE, COMPROMISED])
def test_stronger_request_replaces_a_weaker_one(known: Request, asked: Request) -> None:
    journal = replace(AT_REST, request=known)
    again = with_value(replace(asked, id="request-2"), OLD)
    found = requests.requested(seen(request=again), journal, NOW).request
    assert found == (again if asked.kind.strength > known.kind.strength else known)


@pytest.mark.parametrize(
    ("of", "known", "retiring", "spent"),
    [
        (Target(id="a"), None, (), True),
        (Target(id="a"), None, (Retiring("a", NOW, compromised=True),), True),
        (Target(id="a"), None, (Retiring("a", LATER),), False),
        (Target(id="b"), COMPROMISED, (), False),
        (OF_VERSION, COMPROMISED, (), False),
    ],
    ids=["gone", "recorded", "to be recorded", "published", "replacement not recorded"],
)
def test_late_request_is_spent_once_recorded(
    of: Target, known: Request | None, retiring: tuple[Retiring, ...], spent: bool
) -> None:
    """A secret that is replaced later keeps its grace period. One whose replacement is not recorded yet does not."""
    journal = replace(AT_REST, request=known, retiring=retiring)
    late = request(RequestKind.COMPROMISED, of)
    assert requests.is_spent(seen(request=late, published=EDITED), journal, NOW) is spent
    assert not requests.is_spent(seen(published=EDITED), journal, NOW)
    by_hand = with_value(late, NEW)
    recorded = replace(journal, request=by_hand)
    assert not requests.is_spent(seen(request=by_hand, published=EDITED), recorded, NOW)


def test_request_replaces_one_for_another_secret() -> None:
    journal = replace(AT_REST, request=request(RequestKind.COMPROMISED, Target(id="a")))
    expected = replace(MANUAL, earlier_ids=frozenset({"a"}))
    assert requests.requested(seen(request=MANUAL), journal, NOW).request == expected


@pytest.mark.parametrize(
    ("known", "kind", "kept"),
    [
        (request(RequestKind.COMPROMISED, Target(version=1)), RequestKind.FORCE, True),
        (request(RequestKind.COMPROMISED, Target(version=1)), RequestKind.COMPROMISED, False),
        (request(RequestKind.COMPROMISED, Target()), RequestKind.FORCE, False),
        (request(RequestKind.FORCE, Target(version=1)), RequestKind.MANUAL, False),
        (request(RequestKind.COMPROMISED, Target(id="a")), RequestKind.FORCE, False),
    ],
)
def test_weaker_request_forgets_no_secret_without_an_id(known: Request, kind: RequestKind, kept: bool) -> None:
    """A run published the candidate and died: only what records that can tell the replaced secret's id."""
    journal = replace(PREPARED, current=pending(), request=known)
    asked = request(kind, Target(version=2), id="request-2", value=NEW)
    found = requests.requested(seen(request=asked, published=EDITED), journal, NOW).request
    assert found is not None
    assert (found.id == known.id) is kept


def test_weaker_request_for_same_value_is_not_recorded() -> None:
    """An edit of another field is no replacement, whichever version or id a request names."""
    known = request(RequestKind.COMPROMISED, OF_VERSION)
    asked = request(RequestKind.FORCE, Target(version=2), id="request-2", value=OLD)
    edited = seen(request=asked, published=published(version=2))
    assert requests.requested(edited, replace(AT_REST, request=known), NOW).request == known


def test_compromised_request_makes_every_entry_due() -> None:
    entries = (Retiring("a", LATER), Retiring("c", NOW.replace(year=2025)))
    journal = replace(AT_REST, retiring=entries)
    found = requests.requested(seen(request=COMPROMISED), journal, NOW)
    assert found.retiring == (
        Retiring("a", NOW, compromised=True, grace_until=LATER),
        Retiring("c", NOW.replace(year=2025), compromised=True, grace_until=NOW.replace(year=2025)),
    )
    assert found.request == COMPROMISED
    for weaker in (MANUAL, FORCE):
        assert requests.requested(seen(request=weaker), journal, NOW).retiring == entries


@pytest.mark.parametrize("asked", [MANUAL, FORCE, COMPROMISED])
@pytest.mark.parametrize(
    ("failure", "attempts", "at", "expected"),
    [
        ("unanswered", 1, LATER, NOW + requests.URGENT_BACKOFF),
        ("unanswered", 1, NOW, NOW),
        ("unanswered", 1, None, None),
        ("unanswered", 0, LATER, LATER),
        ("rate_limited", 1, LATER, LATER),
        ("unprovisioned", 1, LATER, LATER),
    ],
    ids=["failed", "sooner", "none", "rate limit", "rate limit after failures", "unprovisioned"],
)
def test_urgent_request_shortens_a_backoff(
    asked: Request, failure: str, attempts: int, at: datetime | None, expected: datetime | None
) -> None:
    journal = replace(AT_REST, failure=failure, attempts=attempts, next_attempt_at=at)
    found = requests.requested(seen(request=asked), journal, NOW)
    assert found.next_attempt_at == (at if asked is MANUAL else expected)


@pytest.mark.parametrize("asked", [MANUAL, FORCE, COMPROMISED])
@pytest.mark.parametrize("attempts", [0, 1, 62])
def test_urgent_request_counts_failures_from_its_beginning(asked: Request, attempts: int) -> None:
    journal = replace(AT_REST, attempts=attempts)
    found = requests.requested(seen(request=asked), journal, NOW)
    assert found.attempts == (attempts if asked is MANUAL else min(attempts, 1))
    again = replace(found, attempts=62)
    assert requests.requested(seen(request=with_value(replace(asked, id="request-2"), OLD)), again, NOW).attempts == 62


@pytest.mark.parametrize(
    ("of", "expected"),
    [(Target(id="b"), True), (Target(version=7), True), (Target(id="a"), False), (Target(), False)],
    ids=["current", "by version", "previous", "without an id"],
)
def test_request_might_begin_a_rotation(of: Target, expected: bool) -> None:
    assert requests.might_begin_rotation(replace(AT_REST, request=request(of=of))) is expected
    assert not requests.might_begin_rotation(AT_REST)


# --- following the document --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [(OLD, Target(version=2, written_at=LATER)), (NEW, Target())],
    ids=["of another field", "of the value"],
)
def test_request_follows_its_value(value: SecretStr, expected: Target) -> None:
    journal = replace(AT_REST, current=pending("b"), request=request(of=OF_VERSION, value=value))
    followed = requests.followed(journal, published(version=2, written_at=LATER))
    assert followed.request == request(of=expected, value=value)


@pytest.mark.parametrize(
    ("options", "expected"), [({}, Target(version=2, written_at=LATER)), ({"is_other": True}, Target())]
)
def test_earlier_request_follows_unless_another_value_is_recorded(options: dict[str, Any], expected: Target) -> None:
    journal = replace(AT_REST, current=pending("b"), request=request(of=OF_VERSION, value=None))
    found = requests.followed(journal, published(version=2, written_at=LATER), **options).request
    assert found == request(of=expected, value=None)


@pytest.mark.parametrize("of", [OF_VERSION, Target(id="b"), Target(id="wrong")])
def test_request_names_the_certain_id(of: Target) -> None:
    """A person can name a wrong id first."""
    journal = replace(AT_REST, request=request(of=of, value=OLD))
    assert requests.followed(journal, published()).request == request(of=Target(id="b"), value=OLD)


@pytest.mark.parametrize(
    ("of", "expected"),
    [(Target(id="b"), Target(id="b")), (Target(id="wrong"), Target(version=1))],
    ids=["guessed", "wrong"],
)
def test_request_names_no_id_that_is_not_certain(of: Target, expected: Target) -> None:
    journal = replace(AT_REST, current=pending("b"), request=request(of=of, value=OLD))
    assert requests.followed(journal, published()).request == request(of=expected, value=OLD)


@pytest.mark.parametrize(
    "asked",
    [None, request(of=Target(id="x"), value=OTHER), request(of=Target(id="x"), value=None)],
    ids=["none", "of another secret", "without a digest"],
)
def test_request_by_id_needs_no_following(asked: Request | None) -> None:
    journal = replace(AT_REST, request=asked)
    assert requests.followed(journal, published(version=2, written_at=LATER)) is journal


@pytest.mark.parametrize(
    ("is_other", "expected"),
    [(False, Target(version=2, written_at=LATER)), (True, Target())],
    ids=["same value", "another value"],
)
def test_request_without_a_digest_follows_the_same_value(is_other: bool, expected: Target) -> None:
    journal = replace(AT_REST, current=pending("b"), request=request(of=OF_VERSION, value=None))
    followed = requests.followed(journal, published(version=2, written_at=LATER), is_other=is_other)
    assert followed.request == request(of=expected, value=None)


@pytest.mark.parametrize("kind", RequestKind)
def test_compromised_request_without_id_forgets_added_ids(kind: RequestKind) -> None:
    """A person can have published one of them before they went back."""
    asked = request(kind, OF_VERSION, value=OTHER)
    followed = requests.followed(replace(AT_REST, added_ids=frozenset("x"), request=asked), published(version=2))
    assert followed.added_ids == (frozenset() if kind is RequestKind.COMPROMISED else frozenset("x"))


def test_request_gets_another_target() -> None:
    target = Target(id="c")
    assert requests.with_target(AT_REST, target) is AT_REST
    assert requests.with_target(replace(AT_REST, request=MANUAL), target).request == request(of=target, value=OLD)


# --- when it is done ---------------------------------------------------------------------------------------------


OF_PREVIOUS = request(RequestKind.COMPROMISED, Target(id="a"))
OF_EARLIER = replace(OF_PREVIOUS, earlier_ids=frozenset("x"))


@pytest.mark.parametrize(
    ("journal", "done"),
    [
        (AT_REST, False),
        (replace(AT_REST, request=MANUAL), False),
        (replace(AT_REST, request=OF_PREVIOUS), True),
        (replace(AT_REST, request=OF_PREVIOUS, retiring=(Retiring("a", LATER),)), False),
        (replace(AT_REST, request=OF_PREVIOUS, retiring=(Retiring("c", LATER),)), True),
        (replace(PREPARED, request=request(of=Target(id="c"))), False),
        (replace(AT_REST, request=request(of=Target(version=2))), True),
        (replace(AT_REST, request=request(RequestKind.FORCE, of=Target())), True),
    ],
    ids=["none", "published", "gone", "retiring", "another is retiring", "candidate", "by version", "without an id"],
)
def test_request_is_done_when_its_secret_is_gone(journal: Journal, done: bool) -> None:
    assert requests.is_done(journal, published(), at_rest=True) is done


@pytest.mark.parametrize(
    ("facts", "done"),
    [
        ({}, False),
        ({"gone": (Gone("c", NOW),)}, False),
        ({"gone": (Gone("a", NOW),)}, True),
        ({"gone": (Gone("a", NOW),), "request": OF_EARLIER}, False),
        ({"gone": (Gone("a", NOW), Gone("x", NOW)), "request": OF_EARLIER}, True),
        ({"gone": (Gone("a", NOW),), "retiring": (Retiring("x", LATER),), "request": OF_EARLIER}, True),
        ({"gone": (Gone("a", NOW),), "request": replace(OF_EARLIER, earlier_ids=frozenset({"a"}))}, True),
        ({"request": request(RequestKind.FORCE, Target())}, True),
    ],
    ids=[
        "unknown",
        "another is gone",
        "gone",
        "earlier unknown",
        "earlier gone",
        "earlier retiring",
        "own id",
        "forced",
    ],
)
def test_request_is_unfinished_while_secret_might_be_unknown(facts: dict[str, Any], done: bool) -> None:
    journal = replace(AT_REST, **({"request": OF_PREVIOUS} | facts))
    assert requests.is_done(journal, published(), at_rest=False) is done


@pytest.mark.parametrize("of", [Target(), Target(version=2)])
@pytest.mark.parametrize("at_rest", [True, False])
def test_compromised_request_without_id_is_done_at_rest(of: Target, at_rest: bool) -> None:
    """Until then, one of the unknown ids can be its secret's."""
    journal = replace(AT_REST, request=request(RequestKind.COMPROMISED, of))
    assert requests.is_done(journal, published(), at_rest=at_rest) is at_rest


def test_withdrawn_request_leaves_the_rest() -> None:
    assert requests.withdrawn(replace(AT_REST, request=MANUAL)) == AT_REST


@pytest.mark.parametrize(
    ("journal", "trigger"),
    [
        (replace(PREPARED, request=COMPROMISED, trigger=Trigger.COMPROMISED), Trigger.MANUAL),
        (replace(PREPARED, request=COMPROMISED, trigger=Trigger.RESCUE), Trigger.RESCUE),
        (replace(PREPARED, request=FORCE, trigger=Trigger.COMPROMISED), Trigger.COMPROMISED),
        (replace(PREPARED, trigger=Trigger.COMPROMISED), Trigger.COMPROMISED),
        (replace(AT_REST, request=COMPROMISED, trigger=Trigger.COMPROMISED), Trigger.COMPROMISED),
    ],
    ids=["began it", "another reason", "another request", "none", "no candidate"],
)
def test_cancelled_request_leaves_the_grace_period(journal: Journal, trigger: Trigger) -> None:
    """A candidate that waits is published all the same: the secret that it replaces is not revoked at once."""
    assert requests.cancelled(journal) == replace(journal, request=None, trigger=trigger)


@pytest.mark.parametrize("end", [LATER, NOW.replace(year=2025)], ids=["grace", "over"])
def test_cancelled_request_gives_the_grace_period_back(end: datetime) -> None:
    entries = (Retiring("a", end), Retiring("l", NOW, compromised=True))
    journal = replace(AT_REST, retiring=entries)
    due = requests.requested(seen(request=COMPROMISED), journal, NOW)
    assert all(entry.compromised and entry.not_before <= NOW for entry in due.retiring)
    assert requests.cancelled(due) == journal


def test_cancelled_request_keeps_entries_of_earlier_request_due() -> None:
    due = requests.requested(seen(request=COMPROMISED), replace(AT_REST, retiring=(Retiring("a", LATER),)), NOW)
    elsewhere = replace(due, current=answered("n"))
    later = request(RequestKind.COMPROMISED, Target(id="n"), value=NEW)
    again = requests.requested(seen(request=later, published=published(secret=NEW)), elsewhere, NOW)
    assert again.request == replace(later, earlier_ids=frozenset({"b"}))
    assert requests.cancelled(again).retiring == (Retiring("a", NOW, compromised=True),)


@pytest.mark.parametrize("kind", [RequestKind.MANUAL, RequestKind.FORCE])
def test_cancelled_other_request_leaves_compromised_entries(kind: RequestKind) -> None:
    entries = (Retiring("a", NOW, compromised=True, grace_until=LATER),)
    journal = replace(AT_REST, retiring=entries, request=request(kind))
    assert requests.cancelled(journal).retiring == entries


def test_late_compromised_request_ends_grace_for_good() -> None:
    """The journal does not contain it, so the withdrawal of another request does not concern it."""
    entries = (Retiring("a", LATER), Retiring("c", NOW, compromised=True, grace_until=LATER))
    journal = replace(AT_REST, retiring=entries, request=COMPROMISED)
    late = request(RequestKind.COMPROMISED, Target(id="x"))
    found = requests.requested(seen(request=late), journal, NOW)
    assert found.retiring == (Retiring("a", NOW, compromised=True), Retiring("c", NOW, compromised=True))
    assert requests.is_spent(seen(request=late), found, NOW)
    assert requests.cancelled(found).retiring == found.retiring


def test_compromised_request_reaches_a_marked_entry() -> None:
    """A write of its value might be under way: it is retiring all the same."""
    marked = replace(AT_REST, publishing=Publishing(1, Retiring("m", LATER)))
    found = requests.requested(seen(request=COMPROMISED), marked, NOW)
    assert found.publishing == Publishing(1, Retiring("m", NOW, compromised=True, grace_until=LATER))
    assert requests.cancelled(found) == marked
    bare = replace(AT_REST, publishing=Publishing(1))
    assert requests.requested(seen(request=COMPROMISED), bare, NOW).publishing == Publishing(1)


def test_request_without_value_and_place_follows_nothing() -> None:
    """Its version was deleted, and another secret is published in its place: that one did not leak."""
    asked = replace(request(RequestKind.COMPROMISED, Target()), value_digest=None)
    journal = replace(AT_REST, request=asked, added_ids=frozenset())
    assert requests.followed(journal, published()) == journal
