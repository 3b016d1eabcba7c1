"""Rules about the candidate: created, verified, published, recorded."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from rotator.core.protocol import (
    Answered,
    Awaited,
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    Gone,
    Identity,
    Journal,
    Learned,
    List,
    Observation,
    Poll,
    Prepare,
    Publish,
    Publishing,
    ReadRecorded,
    Reason,
    Request,
    RequestKind,
    Retiring,
    Revoke,
    Target,
    Trigger,
    Verification,
)
from rotator.core.protocol.candidate import (
    commit,
    finish,
    give_up,
    make_room,
    recover,
    send_new_candidate,
    wait_for_candidate,
)
from tests.core.protocol.situations import (
    AT_REST,
    CANDIDATE_REFUSED,
    LATER,
    MINE,
    MOMENT,
    NEW,
    NOW,
    OLD,
    OTHER,
    POLICY,
    PREPARED,
    SECOND,
    answered,
    case_of,
    eliminated,
    event_of,
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

# The candidate is refused, and the published secret lists its own id.
WAITS: dict[str, Any] = {"listing": listing("a"), "refused": CANDIDATE_REFUSED}
WORKS = seen(listing=listing("a", "c", via=Credential.CANDIDATE))
NOT_HELD = replace(PREPARED, lease_holder=None, lease_until=None)
ANSWERED = replace(PREPARED, candidate_id=Answered("rotation-1", "c"))
IN_GRACE = (Retiring("r", LATER),)
FORCED = request(RequestKind.FORCE, Target(id="a"), value=OLD)
TIME_IS_UP = {Awaited.CANDIDATE: NOW - POLICY.verify_timeout}
BY_PRIMARY = listing("a", via=Credential.PRIMARY)


def waits(**facts: Any) -> Observation:
    """Return an observation in which the candidate does not authenticate."""
    return seen(**(WAITS | facts))


# --- published ---------------------------------------------------------------------------------------------------


def test_published_candidate_is_committed() -> None:
    assert event_of(step_of(PREPARED, seen(published=published(version=2, secret=NEW)))) is Event.COMMITTED
    assert commit(case_of(PREPARED, seen())) is None


@pytest.mark.parametrize(
    ("asked", "reads"),
    [
        (request(of=Target(version=2)), True),
        (request(of=Target(version=2), value=None), False),
        (request(of=Target(version=1)), False),
        (request(of=Target(id="b")), False),
        (None, False),
    ],
    ids=["unrecorded", "without a digest", "recorded", "by id", "none"],
)
def test_recorded_version_is_read_before_a_commit(asked: Request | None, reads: bool) -> None:
    """A request can be for a secret that a person published and no run recorded."""
    known = replace(PREPARED, request=asked, published_version=1)
    by_candidate = seen(published=published(version=3, secret=NEW))
    assert isinstance(step_of(known, by_candidate), ReadRecorded) is reads
    leaked = replace(known, leaked=frozenset({"request-0:digest"}))
    assert step_of(leaked, by_candidate) == ReadRecorded()
    assert event_of(step_of(leaked, replace(by_candidate, recorded_read=True))) is Event.COMMITTED
    assert event_of(step_of(known, replace(by_candidate, recorded_read=True))) is Event.COMMITTED
    assert event_of(step_of(replace(known, current=None), by_candidate)) is Event.COMMITTED


@pytest.mark.parametrize(("version", "reads"), [(2, False), (3, True)])
def test_versions_between_are_read_before_a_commit(version: int, reads: bool) -> None:
    """One of them can have contained a retiring secret."""
    known = replace(PREPARED, retiring=(Retiring("r", LATER),))
    assert isinstance(step_of(known, seen(published=published(version=version, secret=NEW))), ReadRecorded) is reads


@pytest.mark.parametrize(
    "asked", [FORCED, request(RequestKind.COMPROMISED, Target(version=2), value=NEW)], ids=["by id", "of the candidate"]
)
def test_commit_reads_no_unneeded_version(asked: Request) -> None:
    step = step_of(replace(PREPARED, request=asked), seen(published=published(version=2, secret=NEW)))
    assert event_of(step) is Event.COMMITTED


def test_request_by_id_is_of_the_previous_secret() -> None:
    """Whatever the recorded version contains."""
    read = seen(published=published(version=2, secret=NEW), recorded=OTHER, recorded_read=True)
    assert case_of(replace(PREPARED, request=FORCED), read).request_is_of_previous


def test_working_candidate_is_published_with_an_answered_id() -> None:
    assert step_of(ANSWERED, WORKS) == Publish("c")
    assert step_of(PREPARED, WORKS) == Publish(None)
    unlisted = seen(listing=listing("a", via=Credential.CANDIDATE))
    assert step_of(ANSWERED, unlisted) == Publish("c"), "a lagging list never stops a publish"
    assert event_of(step_of(NOT_HELD, WORKS)) is Event.CLAIMED


def test_candidate_is_published_in_doubt() -> None:
    strange = seen(listing=listing("a", "c", "s", via=Credential.CANDIDATE))
    assert step_of(replace(PREPARED, current=pending()), strange) == Publish(None)


# --- given up ----------------------------------------------------------------------------------------------------

# A run published the candidate, and a person went back to the secret before.
LEAKED = request(RequestKind.COMPROMISED, Target(version=2), value=NEW)
COMPROMISED_CANDIDATE = replace(ANSWERED, request=LEAKED)


@pytest.mark.parametrize("via", [Credential.PUBLISHED, Credential.PRIMARY])
def test_compromised_candidate_is_given_up(via: Credential) -> None:
    """The mark says that a run which died might still publish it: nothing is revoked before that is over."""
    step = step_of(COMPROMISED_CANDIDATE, seen(listing=listing("a", "c", via=via)))
    assert event_of(step) is Event.GIVEN_UP
    entry = Retiring("c", NOW, compromised=True, identity=answered("c", "a", "c"))
    assert step.journal.publishing == Publishing(1, entry)
    assert (step.journal.candidate, step.journal.candidate_id, step.journal.ids_before) == (None, None, frozenset())
    assert step.journal.request == replace(LEAKED, of=Target(id="c"))
    assert step.journal.retiring == ()


def test_given_up_candidate_leaves_named_id_without_doubt() -> None:
    """The provider answered its id to the create of another value than the published one."""
    named = Identity("a", Learned.PERSON, beside=frozenset({"a"}))
    step = step_of(replace(COMPROMISED_CANDIDATE, current=named), waits(listing=listing("a", "c")))
    assert step.journal.current == replace(named, foreign_ids=frozenset({"c"}))


def test_compromised_candidate_is_not_tried() -> None:
    assert step_of(COMPROMISED_CANDIDATE, seen()) == List(Credential.PUBLISHED)
    works = seen(listing=listing("a", "c", via=Credential.CANDIDATE))
    assert step_of(COMPROMISED_CANDIDATE, works) == List(Credential.PUBLISHED)


def test_compromised_candidate_without_an_id_is_given_up() -> None:
    """Its id becomes an unknown one, and the request stays until a person has decided about that."""
    journal = replace(COMPROMISED_CANDIDATE, candidate_id=None)
    step = step_of(journal, waits(listing=listing("a", "c")))
    assert event_of(step) is Event.GIVEN_UP
    assert step.journal.publishing == Publishing(1)
    assert step.journal.create_until == NOW + POLICY.window, "for that long, lists can lack its id"
    later = step_of(replace(journal, create_until=LATER), waits(listing=listing("a", "c")))
    assert later.journal.create_until == LATER
    assert step.journal.request == replace(LEAKED, of=Target())


@pytest.mark.parametrize("known", [None, request(RequestKind.COMPROMISED, Target(id="c"), value=NEW, id="request-0")])
def test_request_for_the_candidate_records_its_id(known: Request | None) -> None:
    """The run that published it died before the journal contained the id. The document is another one by now."""
    asked = replace(LEAKED, of=Target(id="c"))
    journal = replace(COMPROMISED_CANDIDATE, candidate_id=None, request=known)
    case = case_of(journal, waits(request=asked))
    assert case.journal.candidate_id == Answered("rotation-1", "c")
    assert case.candidate_is_compromised
    assert case_of(replace(journal, rotation_id=None), waits(request=asked)).journal.candidate_id is None
    nameless = replace(asked, of=Target(version=2))
    assert case_of(journal, waits(request=nameless)).journal.candidate_id is None


@pytest.mark.parametrize("asked", [None, request(id="request-2")])
def test_leaked_candidate_without_an_id_stays_compromised(asked: Request | None) -> None:
    leaked = frozenset({f"{LEAKED.id}:{LEAKED.value_digest}"})
    journal = replace(COMPROMISED_CANDIDATE, candidate_id=None, request=asked, leaked=leaked)
    assert case_of(journal, waits()).candidate_is_compromised
    assert not case_of(replace(journal, candidate=OTHER), waits()).candidate_is_compromised
    assert not case_of(journal, seen(published=published(version=2, secret=NEW))).candidate_is_compromised


def test_candidate_stays_compromised_when_its_request_is_replaced() -> None:
    asked = replace(LEAKED, of=Target(id="c"))
    journal = case_of(replace(COMPROMISED_CANDIDATE, candidate_id=None, request=None), waits(request=asked)).journal
    assert case_of(journal, waits(request=request(id="request-2"))).candidate_is_compromised


def test_candidate_of_an_earlier_request_is_given_up() -> None:
    asked = request(RequestKind.COMPROMISED, Target(id="a"), value=OLD, earlier_ids=frozenset({"c"}))
    step = step_of(replace(ANSWERED, request=asked), waits(listing=listing("a", "c")))
    assert event_of(step) is Event.GIVEN_UP
    assert step.journal.publishing.entry.id == "c"
    assert step.journal.request == asked


def test_recorded_candidate_is_not_given_up() -> None:
    """This run created it, recorded it, and a later request names its id as one that strangers know."""
    asked = request(RequestKind.COMPROMISED, value=OLD, earlier_ids=frozenset({"b"}))
    recorded = replace(AT_REST, rotation_id="rotation-1", request=asked)
    created = seen("b", "c", answered=Answered("rotation-1", "b"))
    assert give_up(case_of(recorded, created)) is None


def test_given_up_candidate_might_still_be_created() -> None:
    """Another instance might have sent it until its lease ended."""
    others = replace(COMPROMISED_CANDIDATE, lease_holder="other", lease_until=NOW)
    step = step_of(others, waits(listing=listing("a")))
    assert event_of(step) is Event.GIVEN_UP
    assert step.journal.create_until == NOW + POLICY.window
    assert step.journal.lease_holder == "me"


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (LEAKED, {"published": published(version=2, secret=NEW)}),
        (replace(LEAKED, kind=RequestKind.FORCE), {}),
        (request(RequestKind.COMPROMISED, Target(id="a"), value=OLD), {}),
        (request(RequestKind.COMPROMISED, Target(id="a"), value=OLD, earlier_ids=frozenset({"x"})), {}),
        (None, {}),
    ],
    ids=["published", "forced", "of the published secret", "of another", "none"],
)
def test_candidate_is_kept_unless_compromised_and_unpublished(asked: Request | None, facts: dict[str, Any]) -> None:
    assert give_up(case_of(replace(ANSWERED, request=asked), waits(**facts))) is None


# --- sent --------------------------------------------------------------------------------------------------------


def test_new_candidate_is_sent_at_once() -> None:
    chosen = seen(listing=listing("a"), prepared_here=True)
    assert step_of(PREPARED, chosen) == Create(Credential.PUBLISHED)
    assert step_of(PREPARED, replace(chosen, listing=BY_PRIMARY)) == Create(Credential.PRIMARY)
    assert event_of(step_of(NOT_HELD, chosen)) is Event.CLAIMED
    late = replace(PREPARED, create_until=LATER)
    assert step_of(late, chosen, max_secrets=3) == Create(Credential.PUBLISHED)


@pytest.mark.parametrize(
    ("journal", "facts"),
    [
        (PREPARED, {"prepared_here": False}),
        (PREPARED, {"creates": 1}),
        (PREPARED, {"listing": None}),
        (AT_REST, {}),
        (PREPARED, {"listing": listing("a", "b")}),
    ],
    ids=["not new", "sent", "no list", "no candidate", "full"],
)
def test_candidate_is_not_sent_blindly(journal: Journal, facts: dict[str, Any]) -> None:
    chosen: dict[str, Any] = {"listing": listing("a"), "prepared_here": True}
    assert send_new_candidate(case_of(journal, seen(**(chosen | facts)))) is None


def test_candidate_that_is_not_live_is_sent_again() -> None:
    assert step_of(PREPARED, waits()) == Create(Credential.PUBLISHED)
    assert step_of(PREPARED, waits(creates=2)) == Create(Credential.PUBLISHED)
    primary = waits(listing=BY_PRIMARY)
    assert step_of(PREPARED, primary) == Create(Credential.PRIMARY)
    assert event_of(step_of(NOT_HELD, waits())) is Event.CLAIMED


def test_candidate_is_sent_three_times_at_most() -> None:
    step = step_of(PREPARED, waits(creates=3))
    assert failure_of(step) is Failure.UNANSWERED
    assert step.what == "the provider did not carry out 3 requests to create the new secret"
    assert step.next_command.args == ("rotate-now", "shop")
    assert step.advice


@pytest.mark.parametrize(("late", "max_secrets", "sent"), [(NOW, 3, True), (NOW + MOMENT, 3, False), (LATER, 2, True)])
def test_late_create_is_awaited_where_there_is_room(late: Any, max_secrets: int, sent: bool) -> None:
    """With two slots, a create that lands late is refused by the provider itself."""
    step = step_of(replace(NOT_HELD, create_until=late, **MINE), waits(), max_secrets=max_secrets)
    if sent:
        assert step == Create(Credential.PUBLISHED)
        return
    assert (reason_of(step), step.until) == (Reason.LATE_CREATE, late)
    assert step.detail == "an earlier create might still be carried out"
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")


@pytest.mark.parametrize("via", [Credential.PUBLISHED, Credential.PRIMARY])
def test_late_create_requires_a_newer_list(via: Credential) -> None:
    """A list that was fetched before a create landed does not show it, however late its answer comes."""
    journal = replace(PREPARED, create_until=NOW)
    older = waits(listing=listing("a", via=via, fetched_at=NOW - MOMENT))
    assert step_of(journal, older, max_secrets=3) == List(via)
    assert step_of(journal, older, max_secrets=2) == Create(via)
    newer = replace(older, listing=listing("a", via=via, fetched_at=NOW))
    assert step_of(journal, newer, max_secrets=3) == Create(via)


# --- refused -----------------------------------------------------------------------------------------------------


def test_refused_value_is_replaced_twice() -> None:
    refused = waits(value_refused=True, create_refused="bad value", creates=1, prepared_here=True)
    assert step_of(PREPARED, replace(refused, values=2)) == Prepare(POLICY.trigger)
    assert step_of(replace(PREPARED, trigger=Trigger.RESCUE), replace(refused, values=2)) == Prepare(Trigger.RESCUE)
    step = step_of(PREPARED, replace(refused, values=3))
    assert failure_of(step) is Failure.REFUSED
    assert step.what == "the provider refused the new secret: bad value"
    assert step.next_command.args == ("account", "secrets", "list", "shop")
    assert step.advice


def test_refused_candidate_names_the_command_that_makes_room() -> None:
    """Fewer secrets are allowed than `max_secrets` says."""
    refused = waits(create_refused="too many", creates=1, listing=listing("a", "r"))
    step = step_of(replace(PREPARED, retiring=IN_GRACE), refused, max_secrets=3)
    assert failure_of(step) is Failure.REFUSED
    assert step.next_command.args == ("rotate-now", "shop", "--force")
    assert "revoke r before the grace period ends" in step.advice
    value = replace(refused, value_refused=True, values=3)
    assert step_of(replace(PREPARED, retiring=IN_GRACE), value).next_command.args == (
        "account",
        "secrets",
        "list",
        "shop",
    )
    step = step_of(PREPARED, replace(refused, listing=listing("a")))
    assert failure_of(step) is Failure.REFUSED
    assert step.next_command.args == ("account", "secrets", "list", "shop")


def test_refused_candidate_names_a_doubt() -> None:
    """While an id is in doubt, nothing is revoked: neither --force nor `resolve` makes room."""
    refused = waits(listing=listing("a", "s"), create_refused="too many", creates=1)
    doubtful = replace(PREPARED, current=eliminated("a"), ids_before=frozenset({"a", "s"}), retiring=IN_GRACE)
    for journal in (doubtful, replace(doubtful, retiring=(), added_ids=frozenset({"m"}))):
        step = step_of(journal, refused, max_secrets=3)
        assert failure_of(step) is Failure.REFUSED
        assert step.what == "the provider refused the new secret: too many"
        assert step.next_command.args == ("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
        assert step.advice


def test_due_entry_makes_room_for_the_candidate() -> None:
    """A waiting candidate never hides a revocation."""
    journal = replace(PREPARED, retiring=(Retiring("r", NOW),))
    full = waits(listing=listing("a", "r"))
    assert step_of(journal, full) == Revoke("r")
    step = step_of(replace(PREPARED, retiring=IN_GRACE), full)
    assert (reason_of(step), step.until) == (Reason.FULL, LATER)


def test_room_is_made_after_a_refusal() -> None:
    journal = replace(PREPARED, retiring=(Retiring("r", NOW),))
    assert step_of(journal, waits(listing=listing("a", "r")), max_secrets=3) == Create(Credential.PUBLISHED)
    refused = waits(listing=listing("a", "r"), create_refused="too many", creates=1)
    assert step_of(journal, refused, max_secrets=3) == Revoke("r")
    value = replace(refused, value_refused=True, values=3)
    assert failure_of(step_of(journal, value, max_secrets=3)) is Failure.REFUSED


@pytest.mark.parametrize(
    ("asked", "not_before", "rests"),
    [
        pytest.param(FORCED, LATER, True, id="forced"),
        pytest.param(None, NOW, True, id="due"),
        pytest.param(None, LATER, False, id="in its grace period"),
    ],
)
def test_refused_candidate_waits_for_a_pending_id(asked: Request | None, not_before: datetime, rests: bool) -> None:
    """It is revoked, and makes room, once its id is certain. The same command would be refused again."""
    entry = Retiring("r", not_before, identity=pending("r", next_look=LATER))
    refused = waits(create_refused="too many", creates=1, listing=listing("a", "r"))
    step = step_of(replace(PREPARED, retiring=(entry,), request=asked), refused, max_secrets=3)
    assert (reason_of(step) is Reason.FULL) if rests else (failure_of(step) is Failure.REFUSED)


@pytest.mark.parametrize(
    ("listed", "other", "rests"),
    [
        pytest.param("ary", Retiring("y", LATER, identity=pending("y", next_look=LATER)), True, id="a later one"),
        pytest.param("ay", Retiring("y", LATER, identity=pending("y", next_look=LATER)), False, id="not listed"),
    ],
)
def test_refused_candidate_waits_for_what_makes_room_only(listed: str, other: Retiring, rests: bool) -> None:
    """Beside the due one, another entry is in its grace period. A due one that is not listed makes no room."""
    due = Retiring("r", NOW, identity=pending("r", next_look=LATER))
    refused = waits(create_refused="too many", creates=1, listing=listing(*listed))
    step = step_of(replace(PREPARED, retiring=(due, other)), refused, max_secrets=4)
    assert (reason_of(step) is Reason.FULL) if rests else (failure_of(step) is Failure.REFUSED)


def test_force_makes_room_before_the_grace_period_ends() -> None:
    journal = replace(PREPARED, retiring=IN_GRACE, request=FORCED)
    step = step_of(journal, waits(listing=listing("a", "r")))
    assert event_of(step) is Event.CLAIMED
    assert step.journal.retiring == (Retiring("r", NOW),)
    other = replace(journal, request=request(RequestKind.FORCE, Target(id="x")))
    assert reason_of(step_of(other, waits(listing=listing("a", "r")))) is Reason.FULL


def test_full_account_without_entries_needs_a_person() -> None:
    known = replace(PREPARED, ids_before=frozenset({"a", "b"}))
    step = step_of(known, waits(listing=listing("a", "b")))
    assert failure_of(step) is Failure.FULL
    assert step.what == "the account has 2 of 2 secrets, there is no room for the new one"
    assert step.next_command.args == ("resolve", "shop")
    assert step.advice


def test_added_secret_that_leaves_no_room_is_named() -> None:
    journal = replace(PREPARED, added_ids=frozenset({"m"}))
    step = step_of(journal, waits(listing=listing("a", "m")))
    assert failure_of(step) is Failure.FULL
    assert step.what == (
        "the account has 2 of 2 secrets, there is no room for the new one, because of a secret that a person added: m"
    )
    assert step.next_command.args == ("resolve", "shop", "--revoke", "m")
    refused = waits(listing=listing("a", "m"), create_refused="too many")
    step = step_of(journal, refused, max_secrets=3)
    assert failure_of(step) is Failure.FULL
    assert step.what.startswith("the provider refused the new secret: too many, because of a secret")
    assert step.next_command.args == ("resolve", "shop", "--revoke", "m")
    value = replace(refused, value_refused=True, values=3)
    assert failure_of(step_of(journal, value, max_secrets=3)) is Failure.REFUSED


def test_make_room_does_nothing_without_entries() -> None:
    assert make_room(case_of(PREPARED, waits(listing=listing("a", "b")))) is None
    assert make_room(case_of(replace(PREPARED, retiring=IN_GRACE), waits())) is None


# --- a candidate that does not authenticate yet ------------------------------------------------------------------


def test_answered_candidate_is_awaited() -> None:
    refused = seen(refused=CANDIDATE_REFUSED)
    assert step_of(ANSWERED, refused) == Poll(SECOND / 10, Awaited.CANDIDATE)
    assert step_of(PREPARED, refused) == List(Credential.PUBLISHED)
    late = replace(refused, waiting_since=TIME_IS_UP)
    assert step_of(ANSWERED, late) == List(Credential.PUBLISHED)


def test_waiting_run_ends_and_a_later_one_continues() -> None:
    since = NOW - 9 * SECOND
    waiting = seen(refused=CANDIDATE_REFUSED, waiting_since={Awaited.CANDIDATE: since}, paused=5 * SECOND)
    step: Any = step_of(ANSWERED, waiting)
    assert (reason_of(step), step.until, step.resumes) == (Reason.VERIFYING, NOW + 5 * SECOND, True)
    assert step.detail == "the new secret does not authenticate yet"
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")
    assert step.journal.verification == Verification("rotation-1", since, NOW + 5 * SECOND)
    assert (step.journal.lease_holder, step.journal.lease_until) == (None, None)
    fresh: Any = wait_for_candidate(case_of(ANSWERED, replace(waiting, waiting_since={})))
    assert fresh.journal.verification.since == NOW


def test_verify_timeout_counts_across_runs() -> None:
    verification = Verification("rotation-1", NOW - POLICY.verify_timeout, NOW)
    journal = replace(ANSWERED, verification=verification)
    assert step_of(journal, seen(refused=CANDIDATE_REFUSED)) == List(Credential.PUBLISHED)
    younger = replace(journal, verification=replace(verification, since=verification.since + MOMENT))
    assert isinstance(step_of(younger, seen(refused=CANDIDATE_REFUSED)), Poll)


def test_unverified_candidate_can_be_given_up() -> None:
    step = step_of(ANSWERED, waits(listing=listing("a", "c"), waiting_since=TIME_IS_UP))
    assert failure_of(step) is Failure.UNVERIFIED
    assert step.what == "the provider created the new secret c, but it did not authenticate in time"
    assert step.next_command.args == ("resolve", "shop", "--revoke", "c")
    assert step.advice


def test_unlisted_answered_candidate_is_sent_again() -> None:
    assert step_of(ANSWERED, waits(waiting_since=TIME_IS_UP)) == Create(Credential.PUBLISHED)


@pytest.mark.parametrize(
    ("refused", "creates", "here", "awaited"),
    [
        (None, 1, True, True),
        ("too many", 1, True, False),
        ("too many", 2, True, True),
        ("too many", 1, False, True),
    ],
)
def test_new_id_is_awaited_when_possibly_the_candidates(
    refused: str | None, creates: int, here: bool, awaited: bool
) -> None:
    strange = waits(listing=listing("a", "c"), create_refused=refused, creates=creates, prepared_here=here)
    step = step_of(noticed(PREPARED, "c"), strange)
    if awaited:
        assert isinstance(step, Poll)
        return
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what == (
        "a secret appeared while a new one was being created, and the new one does not authenticate: c"
    )
    assert step.next_command.args == ("resolve", "shop")
    assert step.advice


def test_new_id_is_not_called_unknown_before_confirmation() -> None:
    """It can be the published secret's: a person can have added its value again while the candidate waits."""
    strange = waits(listing=listing("a", "c"), create_refused="too many", creates=1, prepared_here=True)
    step = step_of(PREPARED, strange)
    assert failure_of(step) is Failure.AMBIGUOUS
    assert step.what == ("the provider lists c, and no later list confirms that the published secret has another id")
    assert step.next_command.args == ("resolve", "shop")
    earlier = replace(noticed(PREPARED, "c"), ids_before=frozenset({"a", "x"}))
    confirmed = step_of(earlier, replace(strange, listing=listing("a", "c", "x")))
    assert confirmed.what.startswith("a secret appeared"), "x is not new"


@pytest.mark.parametrize("looks", [0, 1])
def test_new_id_is_awaited_when_current_is_pending(looks: int) -> None:
    """The pending id was listed before the candidate, so the other id can be the candidate's: it is not sent again."""
    adopted = replace(PREPARED, current=pending("a" if looks else None, looks=looks))
    assert isinstance(step_of(adopted, waits(listing=listing("a", "c"))), Poll)


def test_new_id_is_not_awaited_for_ever() -> None:
    strange = waits(listing=listing("a", "c"))
    assert failure_of(step_of(PREPARED, replace(strange, waiting_since=TIME_IS_UP))) is Failure.AMBIGUOUS
    known = replace(PREPARED, ambiguity="found before")
    assert failure_of(step_of(known, strange)) is Failure.AMBIGUOUS


@pytest.mark.parametrize("document", [published(version=2), published(version=0, secret=None)])
@pytest.mark.parametrize("ambiguity", [None, "found before"])
def test_outage_beside_new_id_is_ended(document: Any, ambiguity: str | None) -> None:
    """A user replaced the published secret, with a typing error in Vault: the candidate ends the outage."""
    journal = replace(PREPARED, ambiguity=ambiguity)
    outage = waits(
        listing=listing("p", via=Credential.PRIMARY),
        refused=CANDIDATE_REFUSED | {Credential.PUBLISHED},
        published=document,
    )
    assert isinstance(step_of(journal, outage), Poll), "the new id can be the candidate's"
    late = replace(outage, waiting_since=TIME_IS_UP)
    assert step_of(journal, late) == Create(Credential.PRIMARY)
    assert event_of(step_of(replace(NOT_HELD, ambiguity=ambiguity), late)) is Event.CLAIMED
    refused = replace(late, value_refused=True, create_refused="bad value", creates=1, prepared_here=True)
    assert step_of(journal, replace(refused, values=1)) == Prepare(POLICY.trigger)


def test_outage_beside_new_id_waits_for_late_create() -> None:
    journal = replace(PREPARED, create_until=LATER)
    outage = waits(listing=listing("p", via=Credential.PRIMARY), waiting_since=TIME_IS_UP)
    assert finish(case_of(journal, outage)) == Create(Credential.PRIMARY)
    step = finish(case_of(journal, outage, max_secrets=3))
    assert (reason_of(step), getattr(step, "until", None)) == (Reason.LATE_CREATE, LATER)


@pytest.mark.parametrize("facts", [{}, {"create_refused": "too many"}, {"added_ids": frozenset({"q"})}])
@pytest.mark.parametrize("retiring", [(), IN_GRACE])
def test_outage_without_room_asks_for_a_value(facts: dict[str, Any], retiring: tuple[Retiring, ...]) -> None:
    """`resolve` offers nothing: the journal does not speak of the published value."""
    journal = replace(PREPARED, retiring=retiring, added_ids=facts.get("added_ids", frozenset()))
    outage = waits(
        listing=listing("p", "q", via=Credential.PRIMARY),
        waiting_since=TIME_IS_UP,
        create_refused=facts.get("create_refused"),
    )
    step: Any = finish(case_of(journal, outage))
    assert failure_of(step) is (Failure.REFUSED if "create_refused" in facts else Failure.FULL)
    assert step.what.endswith("; rotator knows no value that authenticates")
    assert step.next_command.args == ("adopt", "shop", "--replace")
    assert step.advice


def test_finish_does_nothing_without_a_candidate() -> None:
    assert finish(case_of(AT_REST, seen("b", "c"))) is None


def test_pending_id_is_no_new_one() -> None:
    """The published secret's own id is unknown yet: it is not taken for the candidate's."""
    journal = replace(PREPARED, current=pending("a", foreign_ids=frozenset({"x"}), next_look=LATER))
    assert step_of(journal, waits(listing=listing("a"))) == Create(Credential.PUBLISHED)


# --- through the primary account ---------------------------------------------------------------------------------

RESCUE: dict[str, Any] = {"listing": BY_PRIMARY, "refused": frozenset({Credential.PUBLISHED})}


@pytest.mark.parametrize(
    ("document", "trigger"),
    [(published(), Trigger.RESCUE), (published(version=0, secret=None), Trigger.BOOTSTRAP)],
)
def test_primary_account_brings_a_new_secret(document: Any, trigger: Trigger) -> None:
    assert step_of(AT_REST, seen(published=document, **RESCUE)) == Prepare(trigger)


def test_primary_account_is_not_needed_otherwise() -> None:
    assert recover(case_of(AT_REST, seen("b"))) is None
    assert recover(case_of(AT_REST, seen())) is None


def primary_room(*ids: str, **facts: Any) -> Observation:
    """Return what the primary account lists while everything else is refused."""
    return seen(**(RESCUE | {"listing": listing(*ids, via=Credential.PRIMARY)} | facts))


FULL = replace(AT_REST, retiring=(Retiring("r", NOW), Retiring("a", NOW)), **MINE)


def test_primary_account_makes_room_with_due_entries() -> None:
    full = primary_room("r", "x")
    assert step_of(FULL, full) == Revoke("r", using=Credential.PRIMARY)
    assert step_of(FULL, primary_room("r", "a")) == Revoke("a", using=Credential.PRIMARY)
    assert event_of(step_of(replace(FULL, lease_holder=None), full)) is Event.CLAIMED


@pytest.mark.parametrize(
    ("journal", "observation", "policy"),
    [
        (replace(FULL, retiring=(Retiring("r", LATER),)), primary_room("r", "x"), {}),
        (FULL, primary_room("x", "y"), {}),
        (FULL, primary_room("r", "x", earlier_ids=frozenset({"r"})), {}),
        (replace(FULL, retiring=(Retiring("r", NOW, identity=pending("r")),)), primary_room("r", "x"), {}),
        (FULL, primary_room("r"), {"max_secrets": 1}),
        (replace(FULL, publishing=Publishing(1)), primary_room("r", "x"), {}),
        (FULL, primary_room("r", "x"), {"revoke": False}),
        (replace(FULL, retiring=()), primary_room("r", "x"), {}),
        (replace(FULL, current=answered("r")), primary_room("r", "x"), {}),
        (replace(FULL, current=pending("r")), primary_room("r", "x"), {}),
        (replace(FULL, create_until=LATER), primary_room("r", "x"), {}),
    ],
    ids=[
        "in its grace period",
        "unlisted",
        "named by an earlier version",
        "pending",
        "the last one",
        "publishing",
        "not allowed",
        "not recorded",
        "the published id itself",
        "perhaps the published id",
        "late create",
    ],
)
def test_primary_account_revokes_nothing_otherwise(
    journal: Journal, observation: Observation, policy: dict[str, Any]
) -> None:
    assert make_room(case_of(journal, observation, **policy)) is None
    step = recover(case_of(journal, observation, **policy))
    assert isinstance(step, Fail)
    assert step.failure is Failure.FULL
    assert step.next_command.args == ("adopt", "shop", "--replace")
    assert "rotator knows no value that authenticates" in step.what
    assert step.advice


def test_primary_account_waits_until_revoked_id_is_unlisted() -> None:
    step = step_of(replace(AT_REST, gone=(Gone("g", NOW - SECOND),)), primary_room("g", "x"))
    assert (reason_of(step), step.until) == (Reason.FULL, NOW - SECOND + POLICY.window)


def test_primary_account_leaves_a_candidate_in_hand() -> None:
    journal = replace(PREPARED, retiring=(Retiring("r", NOW),))
    refused = frozenset({Credential.PUBLISHED, Credential.CANDIDATE})
    step = step_of(journal, primary_room("a", "r", refused=refused))
    assert step == Revoke("r", using=Credential.PRIMARY)
