"""Rules about ids: which one is the published secret's, and how far that can be trusted."""

from dataclasses import replace
from typing import Any

import pytest

from rotator.core.protocol import (
    Answered,
    Awaited,
    Credential,
    Doubt,
    Event,
    Failure,
    Gone,
    Identity,
    Journal,
    Learned,
    Observation,
    Poll,
    Prepare,
    ReadRecorded,
    RequestKind,
    Retiring,
    Target,
    Trigger,
)
from rotator.core.protocol.identity import (
    await_listed,
    name_doubt,
    name_unknown,
    recognize,
)
from tests.core.protocol.situations import (
    AT_REST,
    DUE,
    LATER,
    MINE,
    MOMENT,
    NEW,
    NOW,
    OLD,
    SECOND,
    WINDOW,
    answered,
    case_of,
    eliminated,
    event_of,
    failure_of,
    listing,
    noticed,
    pending,
    published,
    request,
    seen,
    step_of,
)

EDITED = published(version=2, secret=NEW, secret_id="b")
CHANGED: dict[str, Any] = {"published": EDITED, "recorded": OLD, "recorded_read": True}


def adopted_of(step: Any) -> Journal:
    """Return the journal of an adoption."""
    assert event_of(step) is Event.ADOPTED
    journal: Journal = step.journal
    return journal


# --- a document that the journal does not speak of ---------------------------------------------------------------


def test_first_secret_is_adopted_with_a_pending_id() -> None:
    journal = adopted_of(step_of(Journal(), seen("b")))
    assert journal.current == pending("b", beside=frozenset({"b"}), next_look=NOW + WINDOW)
    assert journal.current_id is None
    assert journal.retiring == ()
    assert (journal.published_version, journal.api_key) == (1, "key1")


def test_first_secret_among_several_needs_its_id() -> None:
    step = step_of(Journal(), seen("a", "b"))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what == "the published secret authenticates, but one of several ids is its own: a, b"
    assert step.next_command.args == ("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert step.advice


@pytest.mark.parametrize(("secret_id", "possible"), [("b", True), ("x", False), (None, False)])
def test_ambiguity_names_a_possible_id_of_the_document(secret_id: str | None, possible: bool) -> None:
    """An edit of the value by hand can leave the previous secret's id in the document."""
    step = step_of(Journal(), seen("a", "b", published=published(version=2, secret_id=secret_id)))
    hint = (
        "The published document names b, which is right unless a person changed the value there or copied another "
        "document. "
    )
    advice = "rotator takes the value from Vault. Name its id, and the other secret to revoke after the grace period"
    assert step.advice == (hint if possible else "") + advice


@pytest.mark.parametrize(("version", "secret_id"), [(1, "b"), (2, "b"), (1, "x")])
def test_id_in_the_document_proves_nothing(version: int, secret_id: str) -> None:
    """A person can have copied another secret's document, also into the first version."""
    named = seen("a", "b", published=published(version=version, secret_id=secret_id))
    assert failure_of(step_of(Journal(), named)) is Failure.AMBIGUOUS


def test_list_without_possible_ids_leaves_id_pending() -> None:
    gone = replace(Journal(), gone=(Gone("g", NOW),))
    journal = adopted_of(step_of(gone, seen("g")))
    assert journal.current == pending(None, beside=frozenset({"g"}), next_look=NOW + WINDOW)


def test_recorded_version_is_read_before_a_takeover() -> None:
    assert step_of(AT_REST, seen("b", published=EDITED)) == ReadRecorded()
    assert recognize(case_of(replace(AT_REST, current=None), seen("b", published=EDITED))) != ReadRecorded()


def test_unknown_id_is_eliminated_for_any_recorded_version() -> None:
    nameless = replace(AT_REST, current=None, request=request(of=Target(version=1), value=NEW))
    same = seen("b", published=replace(EDITED, secret=OLD), recorded=OLD, recorded_read=True)
    assert adopted_of(recognize(case_of(nameless, same))).current_id is None
    changed = adopted_of(recognize(case_of(nameless, seen("b", **CHANGED))))
    assert changed.request == request(of=Target(version=2), value=NEW)


def test_edit_of_other_fields_is_followed() -> None:
    edited = seen("b", published=replace(EDITED, secret=OLD, written_at=LATER), recorded=OLD, recorded_read=True)
    step = step_of(AT_REST, edited)
    assert event_of(step) is Event.CAUGHT_UP
    assert step.journal == replace(AT_REST, published_version=2, published_at=LATER)


def test_changed_value_is_adopted_and_the_previous_retires() -> None:
    journal = adopted_of(step_of(AT_REST, seen("b", "c", **CHANGED)))
    expected = pending("c", beside=frozenset({"b", "c"}), foreign_ids=frozenset({"b"}), next_look=NOW + WINDOW)
    assert journal.current == expected
    assert [entry.id for entry in journal.retiring] == ["b"]
    assert journal.published_version == 2


def test_changed_value_does_not_retire_an_unanswered_id() -> None:
    journal = adopted_of(step_of(replace(AT_REST, current=eliminated("b")), seen("c", **CHANGED)))
    assert journal.retiring == ()
    assert journal.current == pending("c", beside=frozenset({"c"}), next_look=NOW + WINDOW)


def test_changed_value_might_have_an_unanswered_id() -> None:
    """An id that was only inferred might be another secret's."""
    step = step_of(replace(AT_REST, current=eliminated("b")), seen("b", "c", **CHANGED))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what.endswith("b, c")


def test_value_of_an_unreadable_version_retires_nothing() -> None:
    journal = adopted_of(step_of(AT_REST, seen("b", **(CHANGED | {"recorded": None}))))
    assert journal.retiring == ()
    assert journal.current == pending("b", beside=frozenset({"b"}), next_look=NOW + WINDOW)


@pytest.mark.parametrize("named", ["b", "c"])
def test_first_version_after_a_record_is_ambiguous(named: str) -> None:
    """A document that was deleted with its history begins again, with the id of either value."""
    fresh: dict[str, Any] = {"published": published(version=1, secret=NEW, secret_id=named, written_at=LATER)}
    journal = replace(AT_REST, published_version=3)
    step = step_of(journal, seen("b", "c", **fresh, recorded=None, recorded_read=True))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert ("The published document names" in step.advice) is (named == "c")


def test_answered_candidate_is_not_the_published_one() -> None:
    journal = replace(AT_REST, current=None, rotation_id="rotation-1", candidate_id=Answered("rotation-1", "c"))
    taken = adopted_of(recognize(case_of(journal, seen("b", "c"))))
    assert taken.current is not None
    assert taken.current.id == "b"


@pytest.mark.parametrize("via", [Credential.CANDIDATE, Credential.PRIMARY])
def test_recognize_needs_a_list_of_the_published_secret(via: Credential) -> None:
    assert recognize(case_of(Journal(), seen(listing=listing("b", via=via)))) is None
    assert recognize(case_of(Journal(), seen())) is None


def test_recorded_document_with_an_id_is_recognized() -> None:
    assert recognize(case_of(AT_REST, seen("b"))) is None
    taken = adopted_of(recognize(case_of(replace(AT_REST, current=None), seen("b"))))
    assert taken.current == pending("b", beside=frozenset({"b"}), next_look=NOW + WINDOW)


@pytest.mark.parametrize(("policy", "taken"), [({"max_secrets": 4}, True), ({"max_secrets": 3}, False)])
def test_requested_rotation_with_room_requires_no_id(policy: dict[str, Any], taken: bool) -> None:
    """The provider answers the id of the secret that replaces the published one."""
    asked = replace(AT_REST, request=request(RequestKind.COMPROMISED, Target(version=2), value=NEW))
    step = step_of(asked, seen("b", "c", "d", **CHANGED), **policy)
    if not taken:
        assert failure_of(step) is Failure.AMBIGUOUS
        return
    foreign = frozenset({"b"})
    expected = pending(None, beside=frozenset({"b", "c", "d"}), foreign_ids=foreign, next_look=NOW + WINDOW)
    assert adopted_of(step).current == expected
    assert adopted_of(step).request == asked.request
    assert failure_of(step_of(AT_REST, seen("b", "c", "d", **CHANGED), **policy)) is Failure.AMBIGUOUS


# --- an id that this run knows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("replaced", [True, False])
def test_known_identity_is_adopted(replaced: bool) -> None:
    own = answered("c")
    known = seen("b", "c", **CHANGED, identified=own, replaced=replaced)
    journal = adopted_of(step_of(AT_REST, known))
    assert journal.current == own
    assert journal.retiring_ids == ({"b"} if replaced else frozenset())


def test_adopted_secret_is_not_unknown() -> None:
    """A person published a secret whose id the last failure called unknown."""
    journal = replace(AT_REST, unknown_ids=frozenset({"c"}), ambiguity="two")
    taken = adopted_of(step_of(journal, seen("b", "c", **CHANGED)))
    assert (taken.unknown_ids, taken.ambiguity) == (frozenset(), "two")


def test_known_identity_is_adopted_once() -> None:
    known = seen("b", "c", identified=answered("b"))
    assert recognize(case_of(AT_REST, known)) is None
    assert adopted_of(recognize(case_of(AT_REST, replace(known, identified=answered("c"))))).current == answered("c")
    edited = replace(known, published=replace(EDITED, secret=OLD), recorded=OLD, recorded_read=True)
    assert adopted_of(recognize(case_of(AT_REST, edited))).current == answered("b")


@pytest.mark.parametrize(
    ("known", "identified", "new"),
    [
        (None, eliminated("b"), True),
        (eliminated("b"), eliminated("b"), False),
        (eliminated("b"), eliminated("b", "c"), True),
        (eliminated("b"), answered("b"), True),
        (eliminated("b"), eliminated("c"), True),
        (answered("b"), Identity("b", Learned.PERSON), False),
        (answered("b"), Identity("c", Learned.PERSON), True),
    ],
)
def test_answered_id_outranks_other_knowledge(known: Identity | None, identified: Identity, new: bool) -> None:
    step = recognize(case_of(replace(AT_REST, current=known), seen("b", "c", identified=identified)))
    assert (step is not None) is new
    if new:
        assert adopted_of(step).current == identified


# --- doubt and unknown ids ---------------------------------------------------------------------------------------

DOUBTFUL = replace(AT_REST, current=eliminated("b"))


def test_ambiguous_account_names_ids_and_next_command() -> None:
    step = step_of(DOUBTFUL, seen("b", "s"))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what == "one of these ids is the published secret's: b, s"
    assert step.next_command.args == ("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    roomy = step_of(DOUBTFUL, seen("b", "s"), max_secrets=3)
    assert roomy.next_command.args == ("rotate-now", "shop")
    assert step.advice != roomy.advice


def test_doubt_names_no_explained_id() -> None:
    beside = replace(AT_REST, current=eliminated("b", "x"), retiring=(Retiring("r", LATER),))
    step: Any = name_doubt(case_of(beside, seen("b", "r", "s", "x")))
    assert step is not None
    assert step.what.endswith(": b, s")
    nameless: Any = name_doubt(case_of(replace(beside, current=None), seen("b", "r")))
    assert nameless is not None
    assert nameless.what.endswith(": b")


def test_request_starts_rotation_in_doubt_when_room_remains() -> None:
    asked = seen("b", "s", request=request())
    assert step_of(DOUBTFUL, asked, max_secrets=3) == Prepare(Trigger.MANUAL)
    assert failure_of(step_of(DOUBTFUL, asked)) is Failure.AMBIGUOUS
    other = seen("b", "s", request=request(RequestKind.FORCE, Target(id="x")))
    assert failure_of(step_of(DOUBTFUL, other, max_secrets=3)) is Failure.AMBIGUOUS


def test_request_waits_for_no_revocation_in_doubt() -> None:
    """rotator revokes nothing in doubt, so a retiring secret makes no room. Only a person leads out."""
    full = replace(DOUBTFUL, retiring=(Retiring("r", LATER),))
    step = step_of(full, seen("b", "r", "s", request=request()), max_secrets=3)
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.next_command.args == ("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")


@pytest.mark.parametrize(
    ("journal", "observation"),
    [
        (AT_REST, seen("b", "s")),
        (DOUBTFUL, seen("b")),
        (DOUBTFUL, seen(listing=listing("b", "s", via=Credential.PRIMARY))),
        (replace(AT_REST, current=None), seen()),
        (replace(DOUBTFUL, last_doubt=Doubt(frozenset({"s"}), NOW)), seen("b")),
    ],
    ids=["answered", "no stranger", "primary", "no list", "just gone"],
)
def test_doubt_is_not_named_otherwise(journal: Journal, observation: Observation) -> None:
    assert name_doubt(case_of(journal, observation)) is None


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        ("c", "the account holds a secret that rotator did not create: c"),
        ("cd", "the account holds 2 secrets that rotator did not create: c, d"),
    ],
)
def test_unknown_ids_are_named(ids: str, what: str) -> None:
    step = step_of(noticed(AT_REST, *ids), seen("b", *ids))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what == what
    assert step.next_command.args == ("resolve", "shop")
    assert step.advice


def test_ids_are_named_once_later_list_confirms_them() -> None:
    """A list can show the published id although it was removed, and a person can have added the value again as c."""
    fresh = step_of(AT_REST, seen("b", "c", "d"))
    assert failure_of(fresh) is Failure.AMBIGUOUS
    assert fresh.what == (
        "the provider lists c, d, and no later list confirms that the published secret has another id"
    )
    assert fresh.next_command.args == ("resolve", "shop")
    assert fresh.advice
    some = step_of(noticed(AT_REST, "c"), seen("b", "c", "d"))
    assert some.what == "the account holds a secret that rotator did not create: c"
    assert step_of(noticed(AT_REST, "c", at=NOW), seen("b", "c")) != step_of(noticed(AT_REST, "c"), seen("b", "c"))


def test_id_not_offered_later_is_looked_at_again() -> None:
    """`resolve` spares the id that the published document names."""
    step = step_of(AT_REST, seen("b", "c", published=published(secret_id="c")))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.next_command.args == ("rotate-now", "shop", "--due")
    assert step.advice


@pytest.mark.parametrize(("max_secrets", "begins"), [(3, True), (2, False)])
def test_requested_rotation_begins_beside_unknown_id(max_secrets: int, *, begins: bool) -> None:
    asked = seen("b", "x", request=request())
    step = step_of(noticed(AT_REST, "x"), asked, max_secrets=max_secrets)
    assert (step == Prepare(Trigger.MANUAL)) is begins
    assert failure_of(step_of(noticed(DUE, "x"), replace(asked, request=None), max_secrets=3)) is Failure.AMBIGUOUS


def test_unknown_ids_are_not_named_in_doubt() -> None:
    assert name_unknown(case_of(DOUBTFUL, seen("b", "s"))) is None
    assert name_unknown(case_of(AT_REST, seen("b"))) is None
    assert name_unknown(case_of(AT_REST, seen())) is None


@pytest.mark.parametrize("identity", [answered("b"), eliminated("b"), Identity("b", Learned.PERSON)])
def test_published_id_is_never_called_unknown(identity: Identity) -> None:
    assert "b" not in case_of(replace(AT_REST, current=identity), seen("b", "c")).unknown


# --- the published id is not listed ------------------------------------------------------------------------------


def test_unlisted_id_is_awaited_then_reported() -> None:
    waiting = {Awaited.LISTED: NOW - WINDOW + MOMENT}
    step = await_listed(case_of(AT_REST, seen("a", waiting_since=waiting)))
    assert step == Poll(5 * SECOND, Awaited.LISTED)
    failed: Any = await_listed(case_of(AT_REST, seen("a", "c", waiting_since={Awaited.LISTED: NOW - WINDOW})))
    assert failure_of(failed) is Failure.UNLISTED
    assert failed.what == ("the published secret authenticates, but the provider does not list its id b; it lists a, c")


@pytest.mark.parametrize(
    ("journal", "observation"),
    [
        (AT_REST, seen("b")),
        (replace(AT_REST, current=pending("b")), seen("a")),
        (replace(AT_REST, current=None), seen("a")),
        (AT_REST, seen(listing=listing("a", via=Credential.PRIMARY))),
    ],
    ids=["listed", "pending", "unknown", "primary"],
)
def test_unlisted_id_is_not_awaited_otherwise(journal: Journal, observation: Observation) -> None:
    assert await_listed(case_of(journal, observation)) is None


def test_unlisted_published_id_is_no_doubt() -> None:
    explained = replace(AT_REST, retiring=(Retiring("a", LATER),), **MINE)
    case = case_of(explained, seen("a"))
    assert not case.in_doubt
    assert isinstance(step_of(explained, seen("a")), Poll)
