"""Changes of a journal: what retires, and creates by hand that might land late."""

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
    Learned,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    Verification,
    Version,
    leaks,
    transitions,
)
from rotator.core.protocol.limits import MAX_STORED_IDS
from tests.core.protocol.situations import (
    AT_REST,
    FAILURE,
    LATE,
    LATER,
    MINE,
    MOMENT,
    NEW,
    NOW,
    OLD,
    OTHER,
    OTHERS,
    POLICY,
    PREPARED,
    RETIRING,
    SECOND,
    WINDOW,
    YESTERDAY,
    answered,
    case_of,
    eliminated,
    noticed,
    pending,
    published,
    request,
    seen,
)

GRACE_OVER = NOW + POLICY.grace
PUBLISHED = published(version=7, written_at=YESTERDAY, secret=NEW, secret_id="c")


def test_early_revocation_is_recorded_as_due() -> None:
    entries = (Retiring("a", LATER), Retiring("r", YESTERDAY), Retiring("c", LATER + SECOND, compromised=True))
    before = replace(AT_REST, retiring=entries, request=request(RequestKind.FORCE))
    journal = transitions.retiring_now(case_of(before, seen("a", "b", "c"), max_secrets=2))
    assert journal.retiring == (Retiring("a", NOW), Retiring("r", YESTERDAY), Retiring("c", NOW, compromised=True))
    assert (journal.lease_holder, journal.lease_until) == ("me", NOW + POLICY.lease)
    leaked = replace(before, request=request(RequestKind.COMPROMISED))
    assert all(entry.compromised for entry in transitions.retiring_now(case_of(leaked, seen("a", "b"))).retiring)


@pytest.mark.parametrize("compromised", [False, True])
def test_replaced_secret_keeps_its_version(compromised: bool) -> None:
    """The version in which its value was recorded, not the one that replaces it."""
    place: dict[str, Any] = {"published_at": YESTERDAY, "published_path": "apps/shop", "published_field": "api_secret"}
    trigger = Trigger.COMPROMISED if compromised else Trigger.SCHEDULE
    before = replace(PREPARED, trigger=trigger, **place)
    later = published(version=2, written_at=NOW, secret=NEW, secret_id="c", path="apps/shop", field="api_secret")
    recorded = Version(1, YESTERDAY, "apps/shop", "api_secret")
    (entry,) = transitions.committed(case_of(before, seen(published=later))).retiring
    assert (entry.id, entry.compromised, entry.published_in) == ("a", compromised, recorded)
    by_hand = case_of(replace(before, candidate=None), seen("a", "c", published=later))
    (entry,) = transitions.adopted(by_hand, pending("c"), retire_previous=True).retiring
    assert (entry.id, entry.published_in) == ("a", recorded)


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
    journal = transitions.gone_recorded(case, frozenset({"r", "a"}))
    assert journal == replace(AT_REST, gone=(old[1], Gone("a", NOW), Gone("r", NOW)))


def test_settling_keeps_a_late_create_while_entries_remain() -> None:
    entries = (Retiring("a", NOW), Retiring("r", LATER))
    case = case_of(replace(AT_REST, retiring=entries, create_until=LATER), seen())
    journal = transitions.gone_recorded(case, frozenset({"a"}))
    assert (journal.retiring, journal.create_until) == (entries[1:], LATER)


def test_settling_leaves_anothers_lease() -> None:
    journal = transitions.gone_recorded(case_of(replace(RETIRING, **OTHERS), seen()), frozenset({"a"}))
    assert (journal.lease_holder, journal.lease_until) == ("other", NOW)
    free = transitions.gone_recorded(case_of(replace(RETIRING, lease_until=NOW), seen()), frozenset({"a"}))
    assert (free.lease_holder, free.lease_until) == (None, None)


@pytest.mark.parametrize(("of", "done"), [("a", True), ("r", False), ("b", False)])
def test_settling_ends_a_request_whose_secret_is_gone(of: str, done: bool) -> None:
    asked = request(RequestKind.COMPROMISED, Target(id=of))
    before = replace(AT_REST, retiring=(Retiring("a", NOW), Retiring("r", NOW)), request=asked)
    journal = transitions.gone_recorded(case_of(before, seen()), frozenset({"a"}))
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
    before = noticed(before, "s", "t", "u")
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
        noticed=before.noticed,
    )


def test_published_candidate_never_retires_by_resolve() -> None:
    """A write that was held up can publish the candidate while a person decides to give it up."""
    before = replace(PREPARED, candidate_id=Answered("rotation-1", "c"))
    landed = seen("a", "c", "s", published=published(version=2, secret=NEW, secret_id="c"))
    assert transitions.resolved(case_of(before, landed), frozenset({"c", "s"})).retiring_ids == {"s"}
    assert transitions.resolved(case_of(before, seen("a", "c", "s")), frozenset({"c"})).retiring_ids == {"c"}


@pytest.mark.parametrize(
    ("version", "over", "follows"),
    [(2, 1, True), (2, None, False), (3, 1, False), (3, 2, False), (1, 1, False), (2, 0, False)],
)
def test_retirement_by_hand_follows_own_rewrite_only(version: int, over: int | None, follows: bool) -> None:
    """Another version is recognized by the ordinary rules."""
    case = case_of(AT_REST, seen("b", "s", published=published(version=version), rewritten_over=over))
    for journal in (
        transitions.resolved(case, frozenset({"s"})),
        transitions.retired_by_hand(case, frozenset({"s"}), not_before=NOW),
    ):
        assert journal.published_version == (2 if follows else 1)


def test_resolving_notes_a_late_create_of_the_candidate() -> None:
    journal = transitions.resolved(case_of(PREPARED, seen("a", "s", create_lost_at=NOW)), frozenset({"s"}))
    assert journal.create_until == NOW + LATE


def test_ids_retire_by_hand() -> None:
    entries = (Retiring("a", LATER, compromised=True), Retiring("r", YESTERDAY))
    before = replace(AT_REST, api_key=None, retiring=entries, **FAILURE, **MINE)
    case = case_of(before, seen("a", "b", "s"))
    journal = transitions.retired_by_hand(case, frozenset({"a", "r", "s"}), not_before=NOW)
    a, r, s = (Identity(id_, Learned.PERSON, beside=frozenset({"a", "b", "s"})) for id_ in "ars")
    assert journal.retiring == (
        Retiring("a", NOW, compromised=True, identity=a),
        Retiring("r", YESTERDAY, identity=r),
        Retiring("s", NOW, identity=s),
    )
    assert (journal.unknown_ids, journal.ambiguity, journal.attempts) == (frozenset(), None, 0)
    assert journal.api_key == "key1"
    assert (journal.lease_holder, journal.lease_until) == (None, None)


def test_answered_entry_stays_answered_when_retired_by_hand() -> None:
    entries = (Retiring("a", LATER, identity=answered("a", "b")), Retiring("r", LATER, identity=pending("r")))
    case = case_of(replace(AT_REST, retiring=entries), seen("a", "b", "r"))
    journal = transitions.retired_by_hand(case, frozenset({"a", "r"}), not_before=NOW)
    person = Identity("r", Learned.PERSON, beside=frozenset({"a", "b", "r"}))
    assert journal.retiring == (
        Retiring("a", NOW, identity=answered("a", "b")),
        Retiring("r", NOW, identity=person),
    )


def test_compromised_id_retired_by_hand_is_due() -> None:
    """A compromised request names the id, and a person has published another secret since."""
    asked = request(RequestKind.COMPROMISED, Target(id="a"))
    case = case_of(replace(AT_REST, request=asked), seen("a", "b", "s"))
    journal = transitions.retired_by_hand(case, frozenset({"a", "s"}), not_before=LATER)
    found = {entry.id: (entry.not_before, entry.compromised) for entry in journal.retiring}
    assert found == {"a": (NOW, True), "s": (LATER, False)}


@pytest.mark.parametrize(
    ("kind", "of", "leaked", "at_once"),
    [
        (RequestKind.COMPROMISED, Target(), frozenset(), True),
        (RequestKind.COMPROMISED, Target(id="b"), frozenset(), False),
        (RequestKind.COMPROMISED, Target(id="not listed"), frozenset(), True),
        (RequestKind.FORCE, Target(), frozenset(), False),
        (RequestKind.FORCE, Target(id="b"), frozenset({"request-0:digest"}), True),
    ],
    ids=["unknown", "known", "not listed", "not compromised", "an earlier one"],
)
def test_possibly_compromised_id_retired_by_hand_is_due(
    kind: RequestKind, of: Target, leaked: frozenset[str], at_once: bool
) -> None:
    before = replace(AT_REST, request=request(kind, of), leaked=leaked)
    journal = transitions.retired_by_hand(case_of(before, seen("b", "s")), frozenset({"s"}), not_before=LATER)
    found = [(entry.not_before, entry.compromised) for entry in journal.retiring]
    assert found == [(NOW, True) if at_once else (LATER, False)]


@pytest.mark.parametrize(
    ("asked", "leaked", "compromised"),
    [
        (None, frozenset(), False),
        (None, frozenset({"request-0:digest"}), True),
        (request(RequestKind.COMPROMISED, Target()), frozenset(), True),
        (request(RequestKind.COMPROMISED, Target(id="t")), frozenset(), False),
        (request(RequestKind.COMPROMISED, Target(id="not listed")), frozenset(), True),
    ],
    ids=["none", "an earlier one", "unknown", "known", "not listed"],
)
def test_possibly_compromised_id_is_compromised_when_resolved(
    asked: Request | None, leaked: frozenset[str], compromised: bool
) -> None:
    before = replace(AT_REST, request=asked, leaked=leaked)
    journal = transitions.resolved(case_of(before, seen("b", "s", "t")), frozenset({"s", "t"}))
    assert [(entry.id, entry.not_before, entry.compromised) for entry in journal.retiring] == [
        ("s", NOW, compromised),
        ("t", NOW, compromised),
    ]


@pytest.mark.parametrize(
    ("identity", "revoked", "value", "noted"),
    [
        pytest.param(answered("a"), {"a"}, OLD, False, id="revoked"),
        pytest.param(None, {"a"}, OLD, False, id="of an old journal"),
        pytest.param(answered("a"), set(), OLD, True, id="gone by itself"),
        pytest.param(Identity("a", Learned.PERSON), {"a"}, OLD, True, id="named"),
        pytest.param(answered("a"), set(), None, False, id="without a digest"),
    ],
)
def test_leak_without_proof_stays_noted(
    identity: Identity | None, revoked: set[str], value: SecretStr | None, noted: bool
) -> None:
    """A user can have added the value again, and then it has another id."""
    asked = request(RequestKind.COMPROMISED, Target(id="a"), value=value)
    entry = Retiring("a", NOW, compromised=True, identity=identity)
    before = replace(AT_REST, request=asked, retiring=(entry,))
    case = case_of(before, seen("b", published=published(secret=NEW), revoked=frozenset(revoked)))
    journal = transitions.gone_recorded(case, frozenset({"a"}))
    assert (journal.request, bool(journal.leaked)) == (None, noted)


def test_note_of_a_leak_is_added_to_others() -> None:
    """Only a compromised request leaves one."""
    retiring = (Retiring("a", NOW, compromised=True, identity=answered("a")),)
    before = replace(AT_REST, retiring=retiring, leaked=frozenset({"request-0:digest"}))
    counts = {}
    for kind in RequestKind:
        asked = replace(before, request=request(kind, Target(id="a"), value=OLD))
        done = transitions.gone_recorded(case_of(asked, seen("b", published=published(secret=NEW))), frozenset({"a"}))
        counts[kind] = len(done.leaked)
    assert counts == {RequestKind.MANUAL: 1, RequestKind.FORCE: 1, RequestKind.COMPROMISED: 2}


def test_entry_retired_by_hand_gets_no_grace_back() -> None:
    """A person wants it revoked now, whatever becomes of the request that made it due before."""
    due = Retiring("a", YESTERDAY, compromised=True, grace_until=LATER, identity=answered("a"))
    case = case_of(replace(AT_REST, retiring=(due,)), seen("a", "b"))
    journal = transitions.retired_by_hand(case, frozenset({"a"}), not_before=NOW)
    assert journal.retiring == (replace(due, grace_until=NOW),)


@pytest.mark.parametrize(
    ("answered_id", "id_", "given_up"),
    [(None, "n", True), (None, "s", False), ("n", "n", True), ("n", "m", False)],
    ids=["listed since", "listed before", "its answered id", "another id"],
)
def test_candidate_is_given_up_when_retired(answered_id: str | None, id_: str, given_up: bool) -> None:
    """Its value would be sent again, and have two ids."""
    answer = Answered("rotation-1", answered_id) if answered_id is not None else None
    before = replace(
        PREPARED,
        candidate_id=answer,
        verification=Verification("rotation-1", NOW, LATER),
        ids_before=frozenset({"a", "s"}),
    )
    journal = transitions.retired_by_hand(case_of(before, seen("a", id_)), frozenset({id_}), not_before=LATER)
    assert journal.retiring_ids == {id_}
    kept = (before.candidate, before.candidate_id, before.verification, before.ids_before)
    found = (journal.candidate, journal.candidate_id, journal.verification, journal.ids_before)
    assert found == ((None, None, None, frozenset()) if given_up else kept)


def test_id_created_by_hand_is_remembered() -> None:
    before = replace(AT_REST, api_key=None, added_ids=frozenset({"m", "unlisted"}))
    journal = transitions.created_by_hand(case_of(before, seen("b", "m")), "n")
    assert journal == replace(AT_REST, added_ids=frozenset({"m", "n", "unlisted"}))


def test_unlisted_added_ids_are_forgotten_when_too_many() -> None:
    many = frozenset({"m", *map(str, range(MAX_STORED_IDS - 2))})
    added = transitions.created_by_hand(case_of(replace(AT_REST, added_ids=many), seen("b", "m")), "n").added_ids
    assert added == many | {"n"}
    full = transitions.created_by_hand(case_of(replace(AT_REST, added_ids=added), seen("b", "m")), "o").added_ids
    assert full == {"m", "o"}


def test_added_id_becomes_retiring_by_name_only() -> None:
    journal = replace(AT_REST, added_ids=frozenset({"m", "n"}))
    for found in (
        transitions.resolved(case_of(journal, seen("b", "m", "n")), frozenset("n")),
        transitions.retired_by_hand(case_of(journal, seen("b", "m", "n")), frozenset("n"), not_before=NOW),
    ):
        assert found.retiring_ids == {"n"}
        assert found.added_ids == {"m"}
    named = seen("b", "m", "n", published=published(secret_id="n"))
    assert transitions.resolved(case_of(journal, named), frozenset("n")).added_ids == {"m", "n"}


@pytest.mark.parametrize(("before", "kept"), [(None, False), (LATER, True), (YESTERDAY, False)])
def test_create_by_hand_might_be_late(before: datetime | None, kept: bool) -> None:
    journal = transitions.late_create(case_of(replace(AT_REST, create_until=before), seen()))
    expected = before if kept else NOW + LATE
    assert journal == replace(AT_REST, create_until=expected)


@pytest.mark.parametrize("current", [answered("b"), pending("b")])
def test_published_id_never_retires_by_hand(current: Identity) -> None:
    case = case_of(replace(AT_REST, current=current), seen("b", "s"))
    assert transitions.retired_by_hand(case, frozenset({"b", "s"}), not_before=NOW).retiring_ids == {"s"}
    nameless = case_of(replace(AT_REST, current=None), seen("b", "s"))
    assert transitions.retired_by_hand(nameless, frozenset({"b", "s"}), not_before=NOW).retiring_ids == {"b", "s"}


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        (None, NOW + POLICY.lease + WINDOW),
        (NOW + POLICY.lease, NOW + POLICY.lease + WINDOW),
        (NOW + POLICY.lease + 2 * WINDOW, NOW + POLICY.lease + 2 * WINDOW),
    ],
)
def test_manual_create_is_recorded_before_its_request(earlier: datetime | None, expected: datetime) -> None:
    """It is sent under the lease, so that it is carried out at most a window after its end."""
    journal = transitions.creating_by_hand(case_of(replace(AT_REST, create_until=earlier), seen()))
    assert (journal.lease_holder, journal.lease_until, journal.create_until) == ("me", NOW + POLICY.lease, expected)


def test_grace_period_of_a_replaced_secret_begins_now() -> None:
    assert transitions.grace_period_end(case_of(AT_REST, seen(), grace=3 * SECOND)) == NOW + 3 * SECOND


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
        (request(RequestKind.COMPROMISED, Target(id="a")), False),
        (request(RequestKind.COMPROMISED, Target(version=7), value=NEW), True),
        (request(RequestKind.FORCE), False),
        (request(RequestKind.FORCE, Target(version=7), value=NEW), False),
        (request(RequestKind.COMPROMISED, Target(id="x")), False),
        (request(RequestKind.COMPROMISED, Target(id="x"), earlier_ids=frozenset({"a"})), False),
        (request(RequestKind.MANUAL, Target(id="x"), earlier_ids=frozenset({"b"})), True),
        (None, False),
    ],
)
def test_adoption_makes_a_compromised_previous_secret_due(asked: Request | None, at_once: bool) -> None:
    """A person replaced the secret that another one reported as compromised: what is left is its revocation."""
    known = seen("b", "c", published=PUBLISHED, recorded=OLD, recorded_read=True)
    case = case_of(replace(AT_REST, request=asked), known)
    journal = transitions.adopted(case, answered("c"), retire_previous=True)
    entry = Retiring("b", GRACE_OVER, identity=answered("b"))
    by_request = at_once and asked is not None and not asked.earlier_ids
    due = replace(entry, not_before=NOW, compromised=True, grace_until=GRACE_OVER if by_request else None)
    assert journal.retiring == (due if at_once else entry,)
    of_old = by_request and asked is not None and asked.of.version != PUBLISHED.version
    of_published = asked is not None and asked.of.version == PUBLISHED.version
    assert journal.request == (
        request(RequestKind.COMPROMISED)
        if of_old
        else asked and (replace(asked, of=Target(id="c")) if of_published else asked)
    )


@pytest.mark.parametrize(
    ("recorded", "at_once"), [(OLD, True), (OTHER, False), (None, True)], ids=["leaked", "another", "gone"]
)
def test_adoption_makes_a_possible_earlier_leak_due(recorded: SecretStr | None, at_once: bool) -> None:
    leaked = frozenset({f"request-0:{leaks.digest_of('request-0', OLD)}"})
    known = seen("b", "c", published=PUBLISHED, recorded=recorded, recorded_read=True)
    journal = transitions.adopted(case_of(replace(AT_REST, leaked=leaked), known), answered("c"), retire_previous=True)
    due = Retiring("b", NOW, compromised=True, identity=answered("b"))
    assert journal.retiring == (due if at_once else Retiring("b", GRACE_OVER, identity=answered("b")),)
    assert journal.leaked == leaked


@pytest.mark.parametrize(("old", "at_once"), [(answered("b"), False), (eliminated("b"), None)])
def test_secret_created_after_leak_keeps_grace(old: Identity, at_once: bool | None) -> None:
    """Vault does not keep its value any more."""
    before = replace(AT_REST, current=old, leaked=frozenset({"request-0:digest"}), later_id="b")
    known = seen("b", "c", published=PUBLISHED, recorded_read=True)
    journal = transitions.adopted(case_of(before, known), answered("c"), retire_previous=True)
    assert [entry.compromised for entry in journal.retiring] == ([] if at_once is None else [at_once])
    committed = transitions.committed(
        case_of(replace(before, candidate=NEW, rotation_id="rotation-1"), seen("b", "c", published=PUBLISHED))
    )
    assert [entry.compromised for entry in committed.retiring] == [old.learned is not Learned.ANSWERED]


def test_adoption_of_the_only_leaked_value_spares_others() -> None:
    """A person publishes the leaked value all the same, and the value before it cannot be read."""
    leaked = frozenset({f"request-0:{leaks.digest_of('request-0', NEW)}"})
    known = seen("b", "c", published=PUBLISHED, recorded_read=True, identified=answered("c"), wanted_again=True)
    journal = transitions.adopted(case_of(replace(AT_REST, leaked=leaked), known), answered("c"), retire_previous=True)
    assert journal.retiring == (Retiring("b", GRACE_OVER, identity=answered("b")),)
    assert journal.leaked == frozenset()


@pytest.mark.parametrize(
    ("old", "entries"),
    [
        (answered("b"), (Retiring("m", LATER), Retiring("b", GRACE_OVER, identity=answered("b")))),
        (Identity("b", Learned.PERSON), (Retiring("m", GRACE_OVER),)),
    ],
    ids=["answered", "named"],
)
def test_adoption_of_another_value_returns_marked_entry(old: Identity, entries: tuple[Retiring, ...]) -> None:
    """No recorded id is forgotten. One that can be the replaced secret's gets a whole grace period."""
    marked = replace(AT_REST, current=old, publishing=Publishing(6, Retiring("m", LATER)))
    marked = replace(marked, published_version=PUBLISHED.version - 1)
    case = case_of(marked, seen("b", "c", "m", published=PUBLISHED))
    journal = transitions.adopted(case, answered("c"), retire_previous=True)
    assert (journal.retiring, journal.publishing) == (entries, None)
