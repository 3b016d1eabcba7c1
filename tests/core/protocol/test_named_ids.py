"""A person named the published secret's id: that is no proof, and the other listed ids can be the secret's."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from rotator.core.protocol import (
    Awaited,
    Credential,
    Doubt,
    Event,
    Fail,
    Failure,
    Gone,
    Identity,
    Journal,
    Learned,
    Observation,
    Poll,
    Reason,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    transitions,
)
from rotator.core.protocol.candidate import finish
from rotator.core.protocol.documents import complete
from rotator.core.protocol.identity import name_doubt, name_unknown, way_out
from rotator.core.protocol.retirement import full_of_added, no_room, wait_for_room
from tests.core.protocol.situations import (
    AT_REST,
    CANDIDATE_REFUSED,
    LATER,
    NEW,
    NOW,
    OTHER,
    POLICY,
    PREPARED,
    SECOND,
    WINDOW,
    YESTERDAY,
    answered,
    case_of,
    eliminated,
    failure_of,
    listing,
    noticed,
    pending,
    published,
    reason_of,
    request,
    seen,
    step_of,
)


def named(id_: str, *beside: str, foreign: str = "") -> Identity:
    """Return an id that a person named beside others."""
    return Identity(id_, Learned.PERSON, beside=frozenset({id_, *beside}), foreign_ids=frozenset(foreign))


# A person named b, while s was listed as well.
NAMED = replace(AT_REST, current=named("b", "s"))


@pytest.mark.parametrize(
    ("current", "strangers"),
    [
        (named("b"), {"s"}),
        (named("b", "s"), {"s"}),
        (named("b", "s", foreign="s"), set()),
        (eliminated("b", "s"), set()),
    ],
    ids=["listed later", "listed beside", "proven", "eliminated"],
)
def test_id_beside_a_named_one_is_doubtful(current: Identity, strangers: set[str]) -> None:
    case = case_of(replace(AT_REST, current=current), seen("b", "s"))
    assert case.doubtful_ids == strangers
    assert case.in_doubt is bool(strangers)


@pytest.mark.parametrize(
    ("entry", "foreign", "rivals"),
    [
        (Retiring("r", LATER), "", {"r"}),
        (Retiring("r", LATER, identity=answered("r")), "", {"r"}),
        (Retiring("r", LATER, identity=answered("r")), "r", set()),
        (Retiring("r", LATER, identity=named("r")), "", {"r"}),
        (Retiring("r", LATER, identity=named("r")), "r", set()),
        (Retiring("b", LATER), "", set()),
    ],
    ids=["recorded", "answered", "proven", "retired by hand", "given up beside it", "its own"],
)
def test_retiring_id_can_be_the_published_one(entry: Retiring, foreign: str, rivals: set[str]) -> None:
    """A person goes back to a secret that rotator is about to revoke, and names a wrong id."""
    journal = replace(AT_REST, current=named("b", foreign=foreign), retiring=(entry,))
    case = case_of(journal, seen("b", *journal.retiring_ids))
    assert case.retiring_rivals(named("b", foreign=foreign)) == rivals
    assert case.doubtful_ids == rivals
    assert case_of(replace(journal, current=eliminated("b")), seen("b", *rivals)).doubtful_ids == set()


@pytest.mark.parametrize("current", [named("b", "m", "r"), pending("b")], ids=["named", "pending"])
def test_id_retired_by_hand_puts_nothing_in_doubt(current: Identity) -> None:
    """`resolve` and `--retire` say of the published value that another id is not its own."""
    journal = replace(AT_REST, current=current, added_ids=frozenset({"m"}))
    resolved = transitions.resolved(case_of(journal, seen("b", "m")), frozenset({"m"}))
    assert resolved.retiring_ids == {"m"}
    assert not case_of(resolved, seen("b", "m")).in_doubt
    retired = transitions.retired_by_hand(case_of(journal, seen("b", "r")), frozenset({"b", "r"}), not_before=LATER)
    assert retired.current == replace(current, foreign_ids=frozenset({"r"}))
    assert not case_of(retired, seen("b", "r")).in_doubt


@pytest.mark.parametrize(
    "current", [named("b", "s", foreign="f"), pending("b", foreign_ids=frozenset("f"))], ids=["named", "pending"]
)
def test_id_given_up_joins_the_earlier_ones(current: Identity) -> None:
    """Each command says of one more id that it is not the published secret's."""
    case = case_of(replace(AT_REST, current=current), seen("b", "f", "s"))
    retired = transitions.retired_by_hand(case, frozenset({"s"}), not_before=LATER)
    assert retired.current == replace(current, foreign_ids=frozenset({"f", "s"}))


def test_next_value_is_in_doubt_beside_retired_id() -> None:
    """A person goes back to the secret that they had retired, and repeats the id of the command before."""
    retired = transitions.retired_by_hand(case_of(NAMED, seen("b", "s")), frozenset({"s"}), not_before=LATER)
    back = seen("b", "s", published=published(version=2, secret=OTHER), identified=named("b", "s"))
    journal = transitions.adopted(case_of(retired, back), named("b", "s"), retire_previous=True)
    assert journal.retiring_ids == {"s"}
    assert case_of(journal, back).in_doubt


@pytest.mark.parametrize("current", [answered("b"), eliminated("b")])
def test_certain_id_notes_no_other_ids(current: Identity) -> None:
    case = case_of(replace(AT_REST, current=current), seen("b", "s"))
    assert transitions.retired_by_hand(case, frozenset({"s"}), not_before=NOW).current == current
    assert transitions.resolved(case, frozenset({"s"})).current == current


def test_other_explanations_hold_beside_a_named_id() -> None:
    journal = replace(NAMED, added_ids=frozenset({"m"}), gone=(Gone("g", NOW),))
    assert case_of(journal, seen("b", "m", "g")).doubtful_ids == set()


def test_doubt_beside_a_named_id_lasts_a_window() -> None:
    journal = replace(NAMED, last_doubt=Doubt(frozenset({"s"}), NOW))
    assert case_of(journal, seen("b")).in_doubt
    assert not case_of(journal, seen("b"), NOW + WINDOW).in_doubt
    proven = replace(journal, current=named("b", "s", foreign="s"))
    assert not case_of(proven, seen("b")).in_doubt


@pytest.mark.parametrize("max_secrets", [2, 3])
def test_ids_beside_a_named_one_are_not_unknown(max_secrets: int) -> None:
    case = case_of(NAMED, seen("b", "s"), max_secrets=max_secrets)
    assert name_unknown(case) is None
    step: Any = name_doubt(case)
    assert step.what == "one of these ids is the published secret's: b, s; a person named b"
    expected = ("rotate-now", "shop") if max_secrets == 3 else ("adopt", "shop", "--secret-id", "ID")
    assert step.next_command.args[: len(expected)] == expected


def test_advice_is_no_rotation_when_candidate_is_recorded() -> None:
    """It would wait for the doubt to end, and the doubt for it."""
    in_hand = replace(PREPARED, current=named("a", "s"))
    command, advice = way_out(case_of(in_hand, seen("a"), max_secrets=3))
    assert command.args == ("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert advice != way_out(case_of(NAMED, seen("b"), max_secrets=3))[1]


def test_candidate_in_doubt_is_not_resolved() -> None:
    """`resolve` names no id in doubt: it would advise itself again and again."""
    waited = seen("a", "s", refused=CANDIDATE_REFUSED, create_refused="no", prepared_here=True, creates=1)
    doubtful: Any = finish(case_of(replace(PREPARED, current=named("a", "s")), waited))
    assert doubtful.next_command.args[0] == "adopt"
    assert doubtful.what == "one of these ids is the published secret's: a, s; a person named a"
    certain: Any = finish(case_of(PREPARED, waited))
    assert certain.next_command.args == ("resolve", "shop")
    primary = replace(waited, listing=listing("a", "s", via=Credential.PRIMARY))
    refused: Any = finish(case_of(replace(PREPARED, current=named("a", "s")), primary))
    assert refused.next_command.args == ("adopt", "shop", "--replace")


def test_document_gets_no_id_in_doubt() -> None:
    document = published(rotated_at=YESTERDAY)
    assert complete(case_of(NAMED, seen("b", published=document))) is not None
    assert complete(case_of(NAMED, seen("b", "s", published=document))) is None


def test_doubtful_id_is_never_resolved() -> None:
    journal = transitions.resolved(case_of(NAMED, seen("b", "s")), frozenset({"s"}))
    assert journal.retiring == ()
    certain = transitions.resolved(case_of(AT_REST, seen("b", "s")), frozenset({"s"}))
    assert certain.retiring_ids == {"s"}


@pytest.mark.parametrize("asked", [None, request(RequestKind.COMPROMISED, Target(id="a"))])
def test_named_id_beside_retiring_one_is_not_retired(asked: Any) -> None:
    """It becomes unknown: it may be in use elsewhere. A compromised request of it stays until it is gone."""
    entry = Retiring("r", LATER, identity=answered("r"))
    journal = replace(PREPARED, current=named("a", "r"), retiring=(entry,), trigger=Trigger.MANUAL, request=asked)
    done = transitions.committed(case_of(journal, seen(published=published(version=2, secret=NEW, secret_id="c"))))
    assert done.retiring_ids == {"r"}
    assert done.request == asked
    proven = replace(journal, current=named("a", "r", foreign="r"))
    done = transitions.committed(case_of(proven, seen(published=published(version=2, secret=NEW, secret_id="c"))))
    assert done.retiring_ids == {"a", "r"}


@pytest.mark.parametrize("compromised", [False, True])
def test_possibly_replaced_retiring_id_gets_whole_grace(compromised: bool) -> None:
    """Its own grace period is over, but consumers read its value until now."""
    entries = (
        Retiring("r", YESTERDAY, compromised=compromised),
        Retiring("l", NOW + 2 * POLICY.grace),
        Retiring("p", YESTERDAY),
    )
    journal = replace(PREPARED, current=named("a", "r", foreign="p"), retiring=entries)
    ends = [YESTERDAY if compromised else NOW + POLICY.grace, NOW + 2 * POLICY.grace, YESTERDAY]
    done = transitions.committed(case_of(journal, seen(published=published(version=2, secret=NEW, secret_id="c"))))
    assert [entry.not_before for entry in done.retiring] == ends
    by_hand = case_of(replace(journal, candidate=None), seen("a", "r", "x", published=published(version=2)))
    replaced = transitions.adopted(by_hand, named("x"), retire_previous=True)
    assert [entry.not_before for entry in replaced.retiring] == ends
    same = transitions.adopted(by_hand, named("a"), retire_previous=False)
    assert same.retiring == entries


@pytest.mark.parametrize("guess", [None, "r"])
def test_retiring_id_of_pending_secret_gets_whole_grace(guess: str | None) -> None:
    """A person went back to a retiring secret, and it was replaced before its id was certain."""
    entries = (Retiring("r", YESTERDAY), Retiring("p", YESTERDAY), Retiring("c", YESTERDAY, compromised=True))
    current = pending(guess, foreign_ids=frozenset({"p"}))
    by_hand = case_of(replace(AT_REST, current=current, retiring=entries), seen("x", published=published(version=2)))
    replaced = transitions.adopted(by_hand, named("x"), retire_previous=True)
    assert [entry.not_before for entry in replaced.retiring] == [NOW + POLICY.grace, YESTERDAY, YESTERDAY]
    candidate = replace(PREPARED, current=current, retiring=entries)
    facts = seen(published=published(version=2, secret=NEW, secret_id="n"))
    done = {entry.id: entry.not_before for entry in transitions.committed(case_of(candidate, facts)).retiring}
    assert done == {"r": NOW + POLICY.grace, "p": YESTERDAY, "c": YESTERDAY}


@pytest.mark.parametrize(
    ("before", "after"),
    [(YESTERDAY, NOW + POLICY.grace), (NOW + 2 * POLICY.grace, NOW + 2 * POLICY.grace), (None, None)],
    ids=["over", "longer", "none"],
)
def test_possibly_replaced_compromised_id_keeps_whole_grace(before: datetime | None, after: datetime | None) -> None:
    """It is due while the request stands. If the request is withdrawn, consumers that read it have the whole period."""
    entry = Retiring("r", YESTERDAY, compromised=True, grace_until=before)
    journal = replace(PREPARED, current=named("a", "r"), retiring=(entry,))
    done = transitions.committed(case_of(journal, seen(published=published(version=2, secret=NEW, secret_id="c"))))
    assert done.retiring == (replace(entry, grace_until=after),)


@pytest.mark.parametrize(
    ("facts", "due", "ids", "is_doubtful"),
    [
        ({}, YESTERDAY, "brs", True),
        ({}, LATER, "brs", False),
        ({"current": answered("b")}, YESTERDAY, "brs", False),
        ({"current": pending("b")}, YESTERDAY, "brs", True),
        ({"current": pending("b", next_look=LATER)}, YESTERDAY, "brs", False),
        ({"last_doubt": Doubt(frozenset({"s"}), NOW)}, YESTERDAY, "br", False),
    ],
    ids=["in doubt", "grace period", "answered", "pending", "pending for longer", "a moment ago"],
)
def test_candidate_without_room_names_a_doubt(
    facts: dict[str, Any], due: datetime, ids: str, is_doubtful: bool
) -> None:
    """In doubt nothing is revoked, so that no time makes room."""
    entry = Retiring("r", due, identity=answered("r"))
    named = Identity("b", Learned.PERSON, beside=frozenset("bs"), foreign_ids=frozenset("r"))
    known: dict[str, Any] = {"current": named, "retiring": (entry,)}
    journal = replace(PREPARED, **(known | facts))
    step = wait_for_room(case_of(journal, seen(*ids, refused=CANDIDATE_REFUSED), max_secrets=len(ids)))
    assert isinstance(step, Fail) == is_doubtful


def test_due_id_is_not_revoked_beside_named_one() -> None:
    due = replace(NAMED, retiring=(Retiring("s", YESTERDAY, identity=answered("s")),))
    step = step_of(due, seen("b", "s"))
    assert isinstance(step, Fail)
    assert failure_of(step) is Failure.AMBIGUOUS


# --- what a person can have revoked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        (AT_REST, {"m", "s"}),
        (replace(AT_REST, added_ids=frozenset({"m", "x"})), {"m", "s"}),
        (replace(AT_REST, retiring=(Retiring("s", LATER),)), {"m"}),
        (replace(AT_REST, current=None, added_ids=frozenset({"m", "t"})), {"m"}),
        (replace(NAMED, added_ids=frozenset({"m"})), {"m"}),
        (replace(AT_REST, current=pending("b", foreign_ids=frozenset({"m", "s", "t"}))), {"m", "s"}),
        (replace(PREPARED, current=answered("b"), ids_before=frozenset({"b", "s"})), {"m", "s"}),
    ],
    ids=["unknown", "added", "retiring", "nothing known", "in doubt", "pending", "listed before the candidate"],
)
def test_resolvable_id_is_never_the_published_one(journal: Journal, expected: set[str]) -> None:
    listed = seen("b", "m", "s", "t", published=published(secret_id="t"))
    case = case_of(noticed(journal, "b", "m", "s", "t"), listed)
    assert case.resolvable == expected
    assert not case.resolvable_later
    fresh = case_of(journal, listed)
    assert fresh.resolvable == journal.added_ids - {"t", "x"}
    assert fresh.resolvable | fresh.resolvable_later == expected


@pytest.mark.parametrize(
    ("observation", "resolvable"),
    [
        (seen("s"), set()),
        (seen(listing=listing("s", via=Credential.CANDIDATE)), set()),
        (seen(listing=listing("s", via=Credential.PRIMARY), refused=frozenset({Credential.PUBLISHED})), {"s"}),
        (seen("b", "s"), {"s"}),
    ],
    ids=["unlisted", "not tried", "refused", "listed"],
)
def test_unlisted_published_id_makes_no_id_resolvable(observation: Observation, resolvable: set[str]) -> None:
    """The listed id can be its own: a person can have added the same value again and removed the first one."""
    case = case_of(noticed(AT_REST, "s"), observation)
    assert case.resolvable == resolvable
    assert case_of(AT_REST, observation).resolvable_later == resolvable
    assert (name_unknown(case) is None) == (not resolvable)


def test_new_id_is_not_resolved_when_possibly_published() -> None:
    """The list before the create lacked the published secret's id, and nobody knows the candidate's."""
    journal = replace(PREPARED, current=pending(None, looks=1, next_look=LATER), ids_before=frozenset({"x"}))
    waited = seen("y", refused=CANDIDATE_REFUSED, create_refused="no", prepared_here=True, creates=1)
    step: Any = finish(case_of(journal, waited))
    assert step.what == "one of these ids is the published secret's: y"
    assert step.next_command.args[0] == "adopt"


# --- a full account, and advice that can be carried out ----------------------------------------------------------


def no_room_of(journal: Journal, *ids: str, **facts: Any) -> Any:
    """Return what is said of a full account without anything to revoke."""
    return no_room(case_of(journal, seen(*ids, **facts)), "a new one")


def test_full_account_waits_when_revoked_id_is_listed() -> None:
    step = no_room_of(replace(AT_REST, gone=(Gone("g", NOW - SECOND), Gone("h", NOW - 2 * SECOND))), "b", "g")
    assert (reason_of(step), step.until) == (Reason.FULL, NOW - SECOND + WINDOW)
    assert step.detail == "the account is full: the provider still lists g, which was revoked"
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")
    both = no_room_of(replace(AT_REST, gone=(Gone("g", NOW), Gone("h", NOW))), "b", "g", "h")
    assert both.detail == "the account is full: the provider still lists g, h, which were revoked"
    here = no_room_of(AT_REST, "b", "g", revoked=frozenset({"g"}))
    assert (reason_of(here), here.until) == (Reason.FULL, None)
    asked = no_room_of(AT_REST, "b", "g", revoked=frozenset({"g"}), request=request())
    assert (asked.event, asked.journal) == (Event.REQUESTED, replace(AT_REST, request=request()))


@pytest.mark.parametrize(
    ("journal", "ids", "command"),
    [
        (noticed(AT_REST, "s"), ("b", "s"), ("resolve", "shop")),
        (AT_REST, ("b", "s"), ("resolve", "shop")),
        (replace(AT_REST, added_ids=frozenset({"m"})), ("b", "m"), ("resolve", "shop", "--revoke", "m")),
        (replace(AT_REST, added_ids=frozenset({"m", "n"})), ("b", "m", "n"), ("resolve", "shop", "--revoke", "m")),
        (NAMED, ("b", "s"), ("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")),
        (AT_REST, ("b",), ("account", "secrets", "list", "shop")),
    ],
    ids=["unknown", "not confirmed", "added", "first added", "in doubt", "nothing to decide"],
)
def test_full_account_names_a_command_that_leads_on(
    journal: Journal, ids: tuple[str, ...], command: tuple[str, ...]
) -> None:
    step = no_room_of(journal, *ids)
    assert step.next_command.args == command
    assert failure_of(step) is (Failure.AMBIGUOUS if journal is NAMED else Failure.FULL)
    assert step.advice


def test_full_account_listed_by_primary_names_adopt() -> None:
    via_primary = {"listing": listing("b", "s", via=Credential.PRIMARY)}
    step = no_room_of(NAMED, **via_primary)
    assert step.what == (
        "the account has 2 of 2 secrets, there is no room for a new one; rotator knows no value that authenticates"
    )
    assert step.next_command.args == ("adopt", "shop", "--replace")


def test_full_account_in_outage_tells_of_withheld_version() -> None:
    via_primary = {"listing": listing("b", "s", via=Credential.PRIMARY), "withheld": frozenset({10, 2})}
    assert no_room_of(NAMED, **via_primary).what.endswith(
        "; rotator knows no other value that authenticates, "
        "and rotator does not publish versions 2, 10, which might be compromised"
    )


def test_added_secret_is_no_way_out_of_doubt() -> None:
    """`resolve` names no id in doubt, and spares the one that the document names."""
    journal = replace(NAMED, added_ids=frozenset({"m"}))
    assert no_room_of(journal, "b", "m", "s").next_command.args[0] == "adopt"
    named_by_document = no_room_of(journal, "b", "m", published=published(secret_id="m"))
    assert named_by_document.next_command.args == ("account", "secrets", "list", "shop")


@pytest.mark.parametrize("retiring", [(), (Retiring("r", YESTERDAY),)], ids=["no entry", "due entry"])
def test_full_account_names_an_unlisted_id(retiring: tuple[Retiring, ...]) -> None:
    """No wait makes room, and `resolve` offers nothing, while the published secret's id is not listed."""
    due = replace(AT_REST, rotated_at=YESTERDAY, retiring=retiring)
    assert isinstance(step_of(due, seen("r", "s")), Poll)
    step = step_of(due, seen("r", "s", waiting_since={Awaited.LISTED: NOW - WINDOW}))
    assert failure_of(step) is Failure.UNLISTED
    assert step.next_command.args == ("adopt", "shop", "--secret-id", "ID")


@pytest.mark.parametrize(("at", "until"), [(NOW - SECOND, NOW - SECOND + WINDOW), (NOW, NOW + WINDOW)])
def test_full_account_waits_when_doubt_ends(at: datetime, until: datetime) -> None:
    """The lists lack an id that put the published one in doubt a moment ago. Until then, `resolve` offers nothing."""
    journal = replace(NAMED, last_doubt=Doubt(frozenset({"s"}), at), added_ids=frozenset({"m"}))
    step = no_room_of(journal, "b", "m")
    assert (reason_of(step), step.until) == (Reason.FULL, until)
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")
    assert full_of_added(case_of(journal, seen("b", "m")), "full") is None
    edited = no_room_of(AT_REST, "b", published=published(version=2))
    assert (reason_of(edited), edited.until) == (Reason.FULL, None)


def test_force_is_not_named_in_doubt() -> None:
    """It revokes nothing then, and the doubt is no rule of the account's own that withdraws a request."""
    retiring = (Retiring("r", LATER, identity=answered("r")),)
    journal = replace(PREPARED, current=named("b", "s", foreign="r"), retiring=retiring, request=request())
    step: Any = wait_for_room(case_of(journal, seen("b", "r", "s"), max_secrets=3))
    assert (reason_of(step), step.until, step.journal) == (Reason.FULL, LATER, None)
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")


def test_retiring_ids_alone_are_doubtful() -> None:
    """A person went back and forth, and one list lacked an id: the published secret's is one of the retiring ones."""
    retiring = (Retiring("b", YESTERDAY), Retiring("r", YESTERDAY))
    journal = replace(PREPARED, current=pending("b"), retiring=retiring)
    case = case_of(journal, seen("b", "r", refused=CANDIDATE_REFUSED))
    assert case.doubtful_ids == {"b", "r"}
    assert case_of(journal, seen("b", "r", "x")).doubtful_ids == {"x"}
    assert case_of(journal, seen("b")).doubtful_ids == frozenset()
    stuck: Any = wait_for_room(case)
    assert failure_of(stuck) is Failure.AMBIGUOUS
    assert stuck.next_command.args == ("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")


def test_full_account_waits_for_no_gone_id() -> None:
    """A person removed a retiring secret. A later list tells whether the other one makes room."""
    known = pending("r", next_look=LATER)
    retiring = (Retiring("r", YESTERDAY, identity=known), Retiring("g", YESTERDAY, identity=answered("g")))
    journal = replace(PREPARED, current=answered("b"), retiring=retiring)
    step: Any = wait_for_room(case_of(journal, seen("b", "r", refused=CANDIDATE_REFUSED)))
    assert (reason_of(step), step.until) == (Reason.FULL, LATER)
    assert step.detail.startswith("the account is full until r is revoked")
    nothing_listed: Any = wait_for_room(case_of(journal, seen("b", "x", refused=CANDIDATE_REFUSED)))
    assert nothing_listed.detail.startswith("the account is full until g is revoked")


@pytest.mark.parametrize("listed", ["b", "br"])
def test_full_account_names_no_published_id(listed: str) -> None:
    retiring = (Retiring("b", LATER), Retiring("r", LATER + SECOND))
    journal = replace(PREPARED, current=pending("b"), retiring=retiring)
    step: Any = wait_for_room(case_of(journal, seen(*listed, refused=CANDIDATE_REFUSED), max_secrets=len(listed)))
    assert reason_of(step) is Reason.FULL
    assert step.detail == "the account is full, and nothing is revoked before the published secret's id is certain"
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")


def test_unknown_id_from_before_the_candidate_is_resolved() -> None:
    """A list before the create lacked it. `resolve` advised itself again and again."""
    journal = replace(PREPARED, ids_before=frozenset({"a", "x"}))
    step: Any = finish(case_of(journal, seen("a", "x", refused=CANDIDATE_REFUSED)))
    assert step.next_command.args == ("resolve", "shop")
    assert transitions.resolved(case_of(journal, seen("a", "x")), frozenset({"x"})).retiring_ids == {"x"}


def test_document_that_names_an_unknown_id_is_corrected() -> None:
    """An edit by hand can leave the previous id in the document. `resolve` spares it."""
    left = seen("b", "x", published=published(secret_id="x"))
    step: Any = name_unknown(case_of(noticed(AT_REST, "x"), left))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.next_command.args == ("adopt", "shop", "--secret-id", "b")
    assert step.what == "the account holds a secret that rotator did not create: x"
    assert step.advice
    open_id = replace(AT_REST, current=pending("b", foreign_ids=frozenset({"x"})))
    unnamed: Any = name_unknown(case_of(noticed(open_id, "x"), left))
    assert unnamed.next_command.args == ("adopt", "shop", "--secret-id", "ID")
    beside: Any = name_unknown(
        case_of(noticed(AT_REST, "x", "y"), seen("b", "x", "y", published=published(secret_id="x")))
    )
    assert beside.next_command.args == ("resolve", "shop")
