"""`decide` alone: what no model world comes to, and properties over everything it can be asked."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from rotator.core import protocol
from rotator.core.protocol import (
    Awaited,
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    Journal,
    List,
    Listing,
    Observation,
    Pause,
    Phase,
    Policy,
    Prepare,
    Publish,
    Published,
    Reason,
    Record,
    Rest,
    Retiring,
    Revoke,
    Trigger,
    backoff,
    decide,
    older_than,
)

State = tuple[Observation, Journal]

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
OLD, NEW = SecretStr("OldSecret000001"), SecretStr("NewSecret000001")
POLICY = Policy(runner="me", account="shop", due_at=older_than(NOW))
CANDIDATE = Awaited.CANDIDATE
WAITING = {CANDIDATE: NOW}
MINE: dict[str, Any] = {"holder": "me", "lease_until": LATER}


def listing(*ids: str, via: Credential = Credential.PUBLISHED) -> Listing:
    return Listing(via, dict.fromkeys(ids, NOW - timedelta(days=1)))


def seen(**facts: Any) -> Observation:
    return Observation(**({"published": Published(version=1, secret=OLD)} | facts))


def test_a_candidate_that_works_but_is_not_listed_yet_is_waited_for() -> None:
    journal = Journal(current_id="a", candidate=NEW, ids_before=frozenset({"a"}), **MINE)
    works = seen(listing=listing("a", via=Credential.CANDIDATE), created_id="b", waiting_since=WAITING)
    assert isinstance(decide(works, journal, POLICY, NOW), Pause)
    assert decide(works, journal, POLICY, NOW + timedelta(seconds=40)) == Pause(timedelta(seconds=5), CANDIDATE)


def test_a_candidate_that_works_and_is_never_listed_is_published_with_the_id_that_was_answered() -> None:
    journal = Journal(current_id="a", candidate=NEW, holder="me", lease_until=NOW + timedelta(hours=1))
    works = seen(listing=listing("a", via=Credential.CANDIDATE), created_id="b", waiting_since=WAITING)
    assert decide(works, journal, POLICY, NOW + timedelta(minutes=6)) == Publish("b")


def test_a_lease_that_was_not_needed_is_given_back() -> None:
    journal = Journal(current_id="a", rotated_at=LATER, published_version=1, **MINE)
    step = decide(seen(listing=listing("a")), journal, POLICY, NOW)
    assert isinstance(step, Record)
    assert step.event is Event.RELEASED
    assert step.journal.holder is None


def test_a_lease_about_to_end_is_renewed_before_a_request_that_changes_something() -> None:
    retiring = (Retiring("a", NOW),)
    journal = Journal(current_id="b", rotated_at=LATER, published_version=1, retiring=retiring)
    short = NOW + POLICY.request_timeout
    for lease_until, event in ((short, Event.CLAIMED), (short + timedelta(seconds=1), None)):
        held = replace(journal, holder="me", lease_until=lease_until)
        step = decide(seen(listing=listing("a", "b")), held, POLICY, NOW)
        assert step == Revoke("a") if event is None else isinstance(step, Record) and step.event is event


def in_overlap(**facts: Any) -> Journal:
    """The old secret is to be revoked as soon as nothing stands in the way."""
    return Journal(current_id="b", rotated_at=NOW, published_version=1, retiring=(Retiring("a", NOW),), **facts)


def test_of_two_creates_that_may_be_under_way_the_later_one_is_waited_for() -> None:
    both = seen(listing=listing("a", "b"), create_lost_at=NOW)  # that one until 40 s later
    for create_until in (NOW + timedelta(seconds=20), LATER):
        step = decide(both, in_overlap(create_until=create_until), Policy("me", "shop"), NOW)
        assert isinstance(step, Rest)
        assert step.until == max(create_until, NOW + timedelta(seconds=40))


def test_the_end_of_a_create_is_believed_as_far_ahead_as_a_lease_and_its_last_request_reach() -> None:
    longest = POLICY.lease + POLICY.request_timeout + POLICY.settle
    furthest = NOW + longest + protocol.CLOCK_TOLERANCE
    at_rest = seen(listing=listing("a", "b"), journal_at=NOW)
    for create_until, believed in ((furthest, furthest), (furthest + timedelta(microseconds=1), NOW + longest)):
        step = decide(at_rest, in_overlap(create_until=create_until), Policy("me", "shop"), NOW)
        assert isinstance(step, Rest)
        assert step.until == believed


def test_force_revokes_nothing_early_while_there_is_room_for_the_new_secret() -> None:
    journal = replace(in_overlap(), rotated_at=NOW - timedelta(days=1), retiring=(Retiring("a", LATER),))
    roomy = replace(POLICY, force=True, max_secrets=3)
    assert decide(seen(listing=listing("a", "b")), journal, roomy, NOW) == Prepare(POLICY.trigger)


def test_a_rotation_is_begun_at_the_very_instant_that_it_is_due() -> None:
    journal = Journal(current_id="b", rotated_at=NOW - timedelta(days=1), published_version=1)
    due_now = replace(POLICY, due_at=lambda rotated_at: NOW)
    assert decide(seen(listing=listing("b")), journal, due_now, NOW) == Prepare(POLICY.trigger)


def test_phases_are_what_the_fields_say() -> None:
    assert Journal().phase is Phase.IDLE
    assert Journal(retiring=(Retiring("a", NOW),)).phase is Phase.OVERLAP
    assert Journal(candidate=NEW, retiring=(Retiring("a", NOW),)).phase is Phase.PREPARED
    assert Journal(candidate=NEW, ambiguity="two").phase is Phase.AMBIGUOUS


# --- one decision each ---------------------------------------------------------------------------------------

AT_REST = Journal(current_id="b", rotated_at=LATER, published_version=1)
PREPARED = Journal(current_id="a", candidate=NEW, ids_before=frozenset({"a"}), published_version=1, **MINE)
FOUND = {"listing": listing("a"), "refused": frozenset({Credential.CANDIDATE})}


def step_of(journal: Journal, observation: Observation, **policy: Any) -> Any:
    return decide(observation, journal, replace(POLICY, **policy), NOW)


def event_of(step: Any) -> Event:
    assert isinstance(step, Record), step
    return step.event


def failure_of(step: Any) -> Failure:
    assert isinstance(step, Fail), step
    return step.failure


def reason_of(step: Any) -> Reason:
    assert isinstance(step, Rest), step
    return step.reason


def test_a_dead_runner_s_revocations_are_taken_over_at_the_end_of_its_lease_with_no_create_to_wait_for() -> None:
    step = step_of(in_overlap(holder="other", lease_until=NOW), seen(listing=listing("a", "b")), due_at=None)
    assert event_of(step) is Event.CLAIMED
    assert step.journal.create_until is None


def test_the_lease_of_another_is_nobody_else_s() -> None:
    assert protocol.has_lease(Journal(**MINE), POLICY, NOW)
    assert not protocol.has_lease(Journal(holder="other", lease_until=LATER), POLICY, NOW)


def test_something_is_awaited_at_least_once_and_for_less_than_its_time() -> None:
    works = seen(listing=listing("a", via=Credential.CANDIDATE), created_id="b")
    assert isinstance(step_of(PREPARED, works, verify_timeout=timedelta()), Pause)
    waited = replace(works, waiting_since={CANDIDATE: NOW - timedelta(seconds=6)})
    assert step_of(PREPARED, waited, verify_timeout=timedelta(seconds=6)) == Publish("b")


@pytest.mark.parametrize(("waited", "pause"), [(0, 0.1), (3, 1), (60, 10)])
def test_a_third_of_the_time_waited_is_waited_again_up_to_a_sixtieth_of_all(waited: int, pause: float) -> None:
    since = {CANDIDATE: NOW - timedelta(seconds=waited)}
    works = seen(listing=listing("a", via=Credential.CANDIDATE), created_id="b", waiting_since=since)
    step = step_of(PREPARED, works, verify_timeout=timedelta(minutes=10))
    assert step == Pause(timedelta(seconds=pause), CANDIDATE)


def test_where_vault_does_not_say_when_the_version_alone_tells_whether_a_document_is_recorded() -> None:
    written = Published(version=1, written_at=NOW, secret=OLD)
    assert protocol.is_recorded(Journal(published_version=1), written)
    assert not protocol.is_recorded(Journal(published_version=1, published_at=LATER), written)


def test_a_back_off_is_obeyed_before_its_end_by_all_but_the_holder_and_no_further_ahead_than_a_day_and_an_hour() -> (
    None
):
    at_rest = seen(listing=listing("b"))
    furthest = NOW + timedelta(days=1, hours=1)
    moment = timedelta(microseconds=1)
    for at, obeyed in ((NOW - moment, False), (NOW, False), (NOW + moment, True), (furthest, True)):
        backing_off = replace(AT_REST, attempts=1, next_attempt_at=at)
        step = step_of(backing_off, at_rest)
        assert (isinstance(step, Rest) and step.reason is Reason.BACKOFF) == obeyed
        assert event_of(step_of(replace(backing_off, **MINE), at_rest)) is Event.CLEARED
    assert event_of(step_of(replace(AT_REST, attempts=1, next_attempt_at=furthest + moment), at_rest)) is Event.CLEARED


def test_who_is_at_work_comes_before_the_back_off_and_that_before_anything_is_written() -> None:
    backing_off = replace(PREPARED, candidate=OLD, attempts=1, next_attempt_at=LATER, holder=None)
    assert reason_of(step_of(backing_off, seen(), explicit=False)) is Reason.BACKOFF
    limited = replace(backing_off, attempts=0)
    assert reason_of(step_of(limited, seen(), explicit=False)) is Reason.RATE_LIMITED
    held = replace(backing_off, holder="other", lease_until=LATER)
    assert reason_of(step_of(held, seen(), explicit=False)) is Reason.LEASED


def test_what_was_published_is_committed_before_a_revocation_is_settled() -> None:
    journal = replace(PREPARED, candidate=OLD, retiring=(Retiring("c", NOW),))
    assert event_of(step_of(journal, seen(revoked=frozenset({"c"})))) is Event.COMMITTED


def test_what_is_missing_from_a_candidate_s_list_is_not_settled_before_the_candidate_is_published() -> None:
    journal = replace(PREPARED, current_id="b", ids_before=frozenset({"a", "b"}), retiring=(Retiring("a", NOW),))
    works = seen(listing=listing("b", "c", via=Credential.CANDIDATE))
    assert step_of(journal, works) == Publish("c")


def test_a_create_under_way_is_forgotten_with_the_last_secret_to_revoke() -> None:
    gone = seen(revoked=frozenset({"a"}))
    last = step_of(in_overlap(create_until=LATER), gone)
    assert event_of(last) is Event.SETTLED
    assert last.journal.create_until is None
    more = replace(in_overlap(create_until=LATER), retiring=(Retiring("a", NOW), Retiring("c", LATER)))
    assert step_of(more, gone).journal.create_until == LATER


def test_after_the_last_revocation_nothing_is_looked_at_again_unless_something_is_in_hand() -> None:
    gone = seen(revoked=frozenset({"a"}))
    assert reason_of(step_of(AT_REST, gone)) is Reason.IDLE
    assert event_of(step_of(replace(AT_REST, **MINE), gone)) is Event.RELEASED
    assert step_of(replace(AT_REST, candidate=NEW), gone) == List(Credential.CANDIDATE)
    stranger = replace(gone, listing=listing("b", "c"))
    assert failure_of(step_of(AT_REST, stranger)) is Failure.AMBIGUOUS


def test_a_candidate_chosen_here_is_sent_at_once_unless_there_is_no_room() -> None:
    chosen = seen(listing=listing("a"), prepared_here=True)
    late = replace(PREPARED, create_until=LATER)
    assert step_of(late, chosen, max_secrets=3) == Create(Credential.PUBLISHED)
    assert failure_of(step_of(PREPARED, chosen, max_secrets=1)) is Failure.FULL
    assert reason_of(step_of(AT_REST, replace(chosen, listing=listing("b")))) is Reason.IDLE


def test_a_list_fetched_with_a_candidate_that_is_none_any_more_is_fetched_again() -> None:
    assert step_of(AT_REST, seen(listing=listing("b", via=Credential.CANDIDATE))) == List(Credential.PUBLISHED)


def test_a_secret_that_is_refused_for_good_is_reported_with_everything_that_was_tried() -> None:
    refused = seen(
        refused=frozenset({Credential.PUBLISHED}), waiting_since={Awaited.PUBLISHED: NOW - timedelta(hours=1)}
    )
    step = step_of(AT_REST, refused)
    assert failure_of(step) is Failure.CREDENTIALS
    assert "primary" not in step.what
    both = replace(refused, refused=frozenset({Credential.PUBLISHED, Credential.PRIMARY}))
    step = step_of(AT_REST, both, has_primary=True)
    assert failure_of(step) is Failure.CREDENTIALS
    assert "and so are its primary's credentials" in step.what
    through_primary = replace(refused, listing=listing("b", via=Credential.PRIMARY))
    assert step_of(AT_REST, through_primary) == Prepare(Trigger.RESCUE)
    unfinished = replace(through_primary, refused=refused.refused | {Credential.CANDIDATE})
    assert step_of(PREPARED, replace(unfinished, listing=listing("a", via=Credential.PRIMARY))) == Create(
        Credential.PRIMARY
    )


def test_a_first_secret_is_adopted_without_looking_for_an_earlier_one() -> None:
    assert event_of(step_of(Journal(), seen(listing=listing("a")))) is Event.ADOPTED
    named = seen(listing=listing("a", "b"), published=Published(version=1, secret=OLD, secret_id="a"))
    step = step_of(Journal(), replace(named, recorded=OLD, recorded_read=True))
    assert event_of(step) is Event.ADOPTED
    assert step.journal.current_id == "a"
    step = step_of(Journal(), seen(listing=listing("a", "b")), known_id="b")
    assert event_of(step) is Event.ADOPTED
    assert step.journal.current_id == "b"


def test_a_change_by_hand_is_followed_once_the_list_shows_all_that_it_should() -> None:
    journal = Journal(current_id="a", rotated_at=LATER, published_version=1)
    edited = seen(published=Published(version=2, secret=OLD), recorded=OLD, recorded_read=True)
    assert event_of(step_of(journal, replace(edited, listing=listing("a")))) is Event.CAUGHT_UP
    assert isinstance(step_of(journal, replace(edited, listing=listing("b"))), Pause)
    changed = replace(edited, published=Published(version=2, secret=NEW, secret_id="a"))
    step = step_of(journal, replace(changed, listing=listing("a", "b")))
    assert event_of(step) is Event.ADOPTED
    assert step.journal.current_id == "b"
    assert isinstance(step_of(journal, replace(changed, listing=listing("b"))), Pause)
    rewritten = replace(changed, published=Published(version=1, secret=NEW, secret_id="a"), recorded=None)
    step = step_of(replace(journal, published_version=3), replace(rewritten, listing=listing("a", "b")))
    assert failure_of(step) is Failure.AMBIGUOUS


def test_of_several_that_are_due_the_first_is_revoked_once_it_is_written_down_that_one_goes_early() -> None:
    due = (Retiring("c", NOW, compromised=True), Retiring("a", NOW))
    journal = replace(AT_REST, retiring=due, **MINE)
    everything = seen(listing=listing("a", "b", "c"))
    assert step_of(journal, everything, due_at=None) == Revoke("a")
    early = replace(journal, retiring=(due[0], Retiring("a", LATER)))
    step = step_of(early, everything, due_at=None, force=True, compromised=True)
    assert event_of(step) is Event.CLAIMED
    unhurried = replace(AT_REST, retiring=(due[0], Retiring("a", NOW)))
    step = step_of(unhurried, everything, due_at=None)
    assert step.journal.retiring == due


def test_the_next_look_is_when_the_first_of_several_is_due() -> None:
    retiring = (Retiring("c", LATER + timedelta(hours=1)), Retiring("a", LATER))
    step = step_of(replace(AT_REST, retiring=retiring), seen(listing=listing("a", "b", "c")), due_at=None)
    assert reason_of(step) is Reason.GRACE
    assert step.until == LATER


@pytest.mark.parametrize("trouble", [{"ambiguity": "two"}, {"attempts": 1}, {"last_error": "it failed"}])
def test_all_that_was_wrong_is_cleared_once_nothing_else_is_to_be_done(trouble: dict[str, Any]) -> None:
    journal = replace(AT_REST, **trouble)
    assert event_of(step_of(journal, seen(listing=listing("b")))) is Event.CLEARED
    due = replace(journal, rotated_at=NOW - timedelta(days=1))
    assert step_of(due, seen(listing=listing("b"))) == Prepare(POLICY.trigger)


def test_what_changes_nothing_at_the_provider_needs_no_lease() -> None:
    nobody_s = replace(PREPARED, holder=None, lease_until=None)
    assert event_of(step_of(nobody_s, seen(**FOUND))) is Event.CLAIMED
    assert failure_of(step_of(nobody_s, seen(**FOUND), max_secrets=1)) is Failure.FULL
    late = replace(nobody_s, create_until=LATER)
    assert reason_of(step_of(late, seen(**FOUND), max_secrets=3)) is Reason.LATE_CREATE
    refused = seen(**FOUND, value_refused=True, values=2, prepared_here=True, creates=1)
    assert step_of(replace(nobody_s, trigger=Trigger.RESCUE), refused) == Prepare(Trigger.RESCUE)
    assert step_of(nobody_s, refused, trigger=Trigger.MANUAL) == Prepare(Trigger.MANUAL)


def test_the_published_id_is_the_one_that_was_answered_or_the_only_new_one() -> None:
    works = seen(listing=listing("a", "c", via=Credential.CANDIDATE))
    assert step_of(PREPARED, works) == Publish("c")
    assert isinstance(step_of(PREPARED, replace(works, created_id="b")), Pause)
    two = seen(listing=listing("a", "c", "d", via=Credential.CANDIDATE))
    assert step_of(PREPARED, two, max_secrets=3) == Publish(None)


def test_a_create_is_sent_again_when_an_earlier_one_is_over_and_three_times_at_most() -> None:
    for late in (NOW, NOW - timedelta(seconds=1)):
        step = step_of(replace(PREPARED, create_until=late), seen(**FOUND), max_secrets=3)
        assert step == Create(Credential.PUBLISHED)
    assert step_of(PREPARED, seen(**FOUND, creates=2)) == Create(Credential.PUBLISHED)
    assert failure_of(step_of(PREPARED, seen(**FOUND, creates=3))) is Failure.UNANSWERED


def test_a_revocation_is_sent_three_times_at_most() -> None:
    journal, both = in_overlap(**MINE), listing("a", "b")
    assert step_of(journal, seen(listing=both, revokes=2), due_at=None) == Revoke("a")
    assert failure_of(step_of(journal, seen(listing=both, revokes=3), due_at=None)) is Failure.UNANSWERED


@pytest.mark.parametrize(("creates", "here", "awaited"), [(1, True, False), (2, True, True), (1, False, True)])
def test_a_new_id_may_be_the_candidate_s_if_that_was_sent_more_than_once(
    creates: int, here: bool, awaited: bool
) -> None:
    strange = seen(
        listing=listing("a", "c"),
        refused=frozenset({Credential.CANDIDATE}),
        create_refused="too many",
        creates=creates,
        prepared_here=here,
    )
    step = step_of(PREPARED, strange)
    if awaited:
        assert isinstance(step, Pause)
    else:
        assert failure_of(step) is Failure.AMBIGUOUS
        assert "appeared while a new one was being created" in step.what


# --- journals ------------------------------------------------------------------------------------------------


def test_a_new_candidate_forgets_no_create_that_may_still_land_and_every_ambiguity() -> None:
    troubled = replace(AT_REST, ambiguity="two", unknown_ids=frozenset({"c"}), ids_before=frozenset({"x"}))
    moment = timedelta(microseconds=1)
    for late, kept in ((LATER, LATER), (NOW + moment, NOW + moment), (NOW, None), (NOW - moment, None), (None, None)):
        journal = protocol.prepared(
            seen(listing=listing("b")),
            replace(troubled, create_until=late),
            POLICY,
            NOW,
            trigger=Trigger.MANUAL,
            candidate=NEW,
            rotation_id="one",
        )
        assert journal.create_until == kept
        assert (journal.rotation_id, journal.candidate, journal.ids_before) == ("one", NEW, frozenset({"b"}))
        assert (journal.ambiguity, journal.unknown_ids) == (None, frozenset())


def test_what_a_person_lets_go_is_added_to_what_is_retiring() -> None:
    kept = Retiring("a", LATER)
    journal = replace(PREPARED, current_id="b", retiring=(kept,))
    resolved = protocol.resolved(seen(listing=listing("a", "b", "c")), journal, POLICY, NOW, frozenset({"c"}))
    assert resolved.retiring == (kept, Retiring("c", NOW))
    assert resolved.ids_before == frozenset()
    assert protocol.unaccounted(seen(listing=listing("x")), replace(AT_REST, ids_before=frozenset({"x"}))) == {"x"}
    assert protocol.unaccounted(seen(), AT_REST) == frozenset()


def test_a_failure_says_what_it_was_and_keeps_an_ambiguity_that_it_did_not_look_for() -> None:
    earlier = replace(AT_REST, ambiguity="two", unknown_ids=frozenset({"x"}), **MINE)
    look = seen(listing=listing("b", "c"))
    for ambiguous, ambiguity, unknown in ((True, "it failed", frozenset({"c"})), (False, "two", frozenset({"x"}))):
        journal = protocol.failed(look, earlier, POLICY, NOW, "it failed", failure="word", ambiguous=ambiguous)
        assert (journal.last_error, journal.failure) == ("it failed", "word")
        assert (journal.ambiguity, journal.unknown_ids) == (ambiguity, unknown)
        assert (journal.holder, journal.lease_until) == (None, None)


@pytest.mark.parametrize("reason", ["policy", "journal", "neither"])
def test_what_a_compromised_secret_leaves_behind_is_due_at_once(reason: str) -> None:
    trigger = Trigger.COMPROMISED if reason == "journal" else Trigger.SCHEDULE
    retiring = (Retiring("c", LATER, compromised=True), Retiring("d", LATER))
    journal = replace(PREPARED, candidate=OLD, trigger=trigger, retiring=retiring)
    step = step_of(journal, seen(), compromised=reason == "policy")
    assert event_of(step) is Event.COMMITTED
    at_once = reason != "neither"
    grace_over = NOW if at_once else NOW + POLICY.grace
    assert step.journal.retiring == (
        Retiring("c", NOW if at_once else LATER, compromised=True),
        Retiring("d", NOW if at_once else LATER, compromised=at_once),
        Retiring("a", grace_over, compromised=at_once),
    )


def test_the_room_is_awaited_until_the_first_of_several_is_due() -> None:
    retiring = (Retiring("c", LATER + timedelta(hours=1)), Retiring("a", LATER))
    due = replace(AT_REST, rotated_at=NOW - timedelta(days=1), retiring=retiring)
    step = step_of(due, seen(listing=listing("a", "b", "c")))
    assert reason_of(step) is Reason.FULL
    assert step.until == LATER


@pytest.mark.parametrize("ahead", [None, timedelta(0), timedelta(microseconds=1)])
def test_a_published_candidate_is_recorded_with_what_it_replaces_and_the_lease_kept_only_for_what_is_due(
    ahead: timedelta | None,
) -> None:
    """Without grace what was replaced goes in the same run, unless a create may still land."""
    late = None if ahead is None else NOW + ahead
    written = Published(version=7, written_at=NOW, secret=NEW, secret_id="b", rotated_at=LATER)
    journal = replace(PREPARED, attempts=2, last_error="it failed", failure="word", create_until=late)
    committed = step_of(journal, seen(published=written), grace=timedelta()).journal
    assert (committed.current_id, committed.rotated_at) == ("b", LATER)
    assert (committed.published_version, committed.published_at) == (7, NOW)
    assert (committed.candidate, committed.ids_before, committed.create_until) == (None, frozenset(), late)
    assert (committed.attempts, committed.last_error, committed.failure) == (0, None, None)
    assert committed.retiring == (Retiring("a", NOW),)
    lost = step_of(journal, seen(published=written, create_lost_at=NOW), grace=timedelta()).journal
    assert lost.create_until == NOW + POLICY.request_timeout + POLICY.settle
    waits = late is not None and late > NOW
    assert committed.holder == (None if waits else "me")
    assert committed.lease_until == (None if waits else NOW + POLICY.lease)


def test_with_grace_the_lease_is_given_back_and_a_document_that_does_not_say_when_is_of_now() -> None:
    unsaid = Published(version=7, secret=NEW, secret_id="b")
    committed = step_of(PREPARED, seen(published=unsaid)).journal
    assert committed.rotated_at == NOW
    assert committed.retiring == (Retiring("a", NOW + POLICY.grace),)
    assert (committed.holder, committed.lease_until) == (None, None)
    one_of_two = replace(PREPARED, retiring=(Retiring("c", NOW),))
    assert step_of(one_of_two, seen(published=unsaid)).journal.holder == "me"


@pytest.mark.parametrize("trigger", [Trigger.BOOTSTRAP, Trigger.RESCUE])
def test_only_the_first_secret_that_a_primary_brings_in_replaces_what_was_there_unrecorded(trigger: Trigger) -> None:
    journal = replace(PREPARED, current_id=None, trigger=trigger, ids_before=frozenset({"x", "b", "a"}))
    unsaid = Published(version=1, secret=NEW, secret_id="b")
    committed = step_of(journal, seen(published=unsaid)).journal
    brought_in = (Retiring("a", NOW + POLICY.grace), Retiring("x", NOW + POLICY.grace))
    assert committed.retiring == (brought_in if trigger is Trigger.BOOTSTRAP else ())


def dated(**ids: int) -> Listing:
    """What is listed, each created so many hours before."""
    return Listing(Credential.PUBLISHED, {id_: NOW - timedelta(hours=hours) for id_, hours in ids.items()})


def test_adoption_records_what_is_older_and_leaves_a_younger_one_and_one_of_the_same_moment_alone() -> None:
    look = seen(listing=dated(y=1, b=2, s=2, x=3, a=4), published=Published(version=3, written_at=LATER, secret=OLD))
    adopted = step_of(Journal(), look, known_id="b").journal
    over = NOW + POLICY.grace
    assert adopted.retiring == (Retiring("a", over), Retiring("x", over))
    assert (adopted.current_id, adopted.rotated_at) == ("b", NOW - timedelta(hours=2))
    assert (adopted.published_version, adopted.published_at) == (3, LATER)


def test_adopting_another_records_the_one_before_and_nothing_that_is_gone_or_now_the_published_one() -> None:
    changed = seen(
        listing=dated(b=1, a=2, c=3), published=Published(version=2, secret=NEW), recorded=OLD, recorded_read=True
    )
    gone, kept = Retiring("g", LATER), Retiring("c", LATER, compromised=True)
    before = Journal(current_id="a", rotated_at=LATER, published_version=1, retiring=(Retiring("b", LATER), kept))
    adopted = step_of(before, changed, known_id="b").journal
    assert adopted.retiring == (kept, Retiring("a", NOW + POLICY.grace))
    replaced = replace(before, retiring=(gone, kept))
    look = replace(changed, listing=dated(b=1, c=3))
    assert step_of(replaced, look, known_id="b").journal.retiring == (kept,)
    unknown = replace(before, current_id=None)
    adopted = step_of(unknown, changed, known_id="b").journal
    assert adopted.retiring == (kept,)  # it was adopted once: what is older may be anybody's


def test_what_is_revoked_is_settled_and_the_lease_of_this_run_given_back_only() -> None:
    for mine in (MINE, {}):
        settled = step_of(in_overlap(failure="word", attempts=1, **mine), seen(revoked=frozenset({"a"}))).journal
        assert (settled.retiring, settled.holder, settled.lease_until) == ((), None, None)
        assert (settled.attempts, settled.failure) == (0, None)
    dead: dict[str, Any] = {"holder": "other", "lease_until": NOW}
    settled = step_of(in_overlap(**dead), seen(revoked=frozenset({"a"}))).journal
    assert (settled.holder, settled.lease_until) == ("other", NOW)


def test_all_is_well_means_that_nothing_is_left_of_what_was_not() -> None:
    worse: dict[str, Any] = {
        "attempts": 3,
        "next_attempt_at": NOW,
        "last_error": "it failed",
        "failure": "word",
        "ambiguity": "two",
        "unknown_ids": frozenset({"x"}),
    }
    assert step_of(replace(AT_REST, **worse), seen(listing=listing("b"))).journal == AT_REST


AHEAD = NOW + protocol.CLOCK_TOLERANCE
BEYOND = AHEAD + timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("rotated_at", "written_at", "redated"),
    [
        (BEYOND, NOW, True),
        (BEYOND, AHEAD, True),
        (AHEAD, NOW, False),
        (BEYOND, BEYOND, False),
        (BEYOND, None, False),
    ],
)
def test_a_date_ahead_of_every_clock_is_replaced_by_that_of_the_document(
    rotated_at: datetime, written_at: datetime | None, redated: bool
) -> None:
    journal = replace(AT_REST, rotated_at=rotated_at, published_at=written_at)
    published = Published(version=1, written_at=written_at, secret=OLD, secret_id="b", rotated_at=rotated_at)
    step = step_of(journal, seen(listing=listing("b"), published=published))
    assert (step == Record(Event.REDATED, replace(journal, rotated_at=written_at))) == redated
    if not redated:
        assert reason_of(step) is Reason.IDLE


def test_a_date_is_replaced_where_all_is_accounted_for_and_before_anything_goes_by_it() -> None:
    journal = replace(AT_REST, rotated_at=BEYOND, retiring=(Retiring("a", NOW),))
    dated_wrong = seen(published=Published(version=1, written_at=NOW, secret=OLD), listing=listing("a", "b"))
    assert event_of(step_of(journal, dated_wrong)) is Event.REDATED
    assert failure_of(step_of(journal, replace(dated_wrong, listing=listing("a", "b", "c")))) is Failure.AMBIGUOUS
    undated = replace(journal, rotated_at=None, retiring=())
    assert step_of(undated, replace(dated_wrong, listing=listing("b"))) == Prepare(POLICY.trigger)


def test_who_asks_for_a_secret_by_a_clock_that_is_behind_the_published_one_s_date_is_told() -> None:
    at_rest, soon = seen(listing=listing("b")), NOW + timedelta(microseconds=1)
    future = replace(AT_REST, rotated_at=soon)
    step = step_of(future, at_rest, explicit=True)
    assert reason_of(step) is Reason.CLOCK
    assert step.until is None
    assert "dated 2026-06-01 00:00:00 UTC, which is ahead of this machine's clock: nothing was rotated" in step.detail
    assert reason_of(step_of(replace(future, rotated_at=NOW), at_rest, explicit=True)) is Reason.IDLE
    assert reason_of(step_of(future, at_rest, explicit=False)) is Reason.IDLE
    assert reason_of(step_of(future, at_rest, explicit=True, due_at=None)) is Reason.IDLE
    assert reason_of(step_of(future, replace(at_rest, rotated=True), explicit=True)) is Reason.IDLE
    assert reason_of(step_of(replace(future, rotated_at=None), replace(at_rest, rotated=True), explicit=True)) is (
        Reason.IDLE
    )
    troubled = replace(future, attempts=1)
    assert event_of(step_of(troubled, at_rest, explicit=True)) is Event.CLEARED


@pytest.mark.parametrize(("strangers", "words"), [("c", "a secret that"), ("cd", "2 secrets that")])
def test_one_stranger_is_a_secret_and_more_are_counted(strangers: str, words: str) -> None:
    step = step_of(AT_REST, seen(listing=listing("b", *strangers)))
    assert failure_of(step) is Failure.AMBIGUOUS
    assert f"the account holds {words}" in step.what
    assert step.what.endswith(": " + ", ".join(strangers))


def test_nothing_is_wanted_known_or_remembered_unless_somebody_says_so() -> None:
    """What a document leaves out, and what a caller leaves out."""
    nothing: dict[str, Any] = {"attempts": 0, "published_version": 0, "retiring": ()}
    nothing |= {"ids_before": frozenset(), "unknown_ids": frozenset(), "unknown_fields": ""}
    assert {field.name: getattr(Journal(), field.name) for field in fields(Journal)} == dict.fromkeys(
        [field.name for field in fields(Journal)]
    ) | nothing
    assert not Retiring("a", NOW).compromised
    assert Published() == Published(version=0, written_at=None, secret=None, secret_id=None, rotated_at=None)
    fresh = Observation(Published())
    facts = [getattr(fresh, field.name) for field in fields(Observation)[1:]] + [fresh.created, fresh.via]
    assert not any(facts)
    assert Policy("me", "shop") == Policy(
        runner="me",
        account="shop",
        due_at=None,
        explicit=False,
        force=False,
        compromised=False,
        revoke=True,
        trigger=Trigger.SCHEDULE,
        known_id=None,
        has_primary=False,
        grace=timedelta(days=1),
        verify_timeout=timedelta(minutes=5),
        max_secrets=2,
        lease=timedelta(minutes=2),
        request_timeout=timedelta(seconds=10),
        settle=timedelta(seconds=30),
    )


def test_what_changes_something_and_the_bounds_are_what_the_documents_say() -> None:
    assert set(protocol.CHANGING_STEPS) == {
        *(protocol.TryEarlier, protocol.Prepare, protocol.Create, protocol.Publish, protocol.Revoke, protocol.Record)
    }
    assert (protocol.MAX_SENDS, protocol.MAX_VALUES) == (3, 3)
    times = (protocol.BACKOFF_FIRST, protocol.BACKOFF_CAP, protocol.LONGEST_BACKOFF, protocol.CLOCK_TOLERANCE)
    assert times == (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(hours=1))


# --- properties over everything ------------------------------------------------------------------------------

ids = st.sampled_from(["a", "b", "c"])
times = st.sampled_from([NOW - timedelta(days=2), NOW - timedelta(seconds=1), NOW, LATER, NOW + timedelta(days=2)])
maybe_time = st.none() | times
secrets = st.sampled_from([OLD, NEW])


def mostly(typical: Any, anything: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The typical value more often than not: of wholly arbitrary states few get beyond the first rule."""
    return st.one_of(st.just(typical), st.just(typical), st.just(typical), anything)


def journals_like(typical: Journal) -> st.SearchStrategy[Journal]:
    retiring = st.lists(
        st.builds(Retiring, ids, times, st.booleans()), max_size=2, unique_by=lambda entry: entry.id
    ).map(tuple)
    return st.builds(
        Journal,
        current_id=mostly(typical.current_id, st.none() | ids),
        rotated_at=mostly(typical.rotated_at, maybe_time),
        published_version=mostly(1, st.integers(0, 3)),
        published_at=mostly(None, maybe_time),
        trigger=st.none() | st.sampled_from(Trigger),
        candidate=mostly(typical.candidate, st.none() | secrets),
        ids_before=mostly(typical.ids_before, st.frozensets(ids)),
        create_until=mostly(None, maybe_time),
        retiring=mostly(typical.retiring, retiring),
        holder=mostly("me", st.none() | st.just("other")),
        lease_until=mostly(LATER, maybe_time),
        attempts=st.integers(0, 3),
        next_attempt_at=mostly(None, maybe_time),
        last_error=st.none() | st.just("it failed"),
        failure=st.none() | st.just("credentials"),
        ambiguity=mostly(None, st.just("a stranger")),
    )


def observations_like(via: Credential) -> st.SearchStrategy[Observation]:
    return st.builds(
        Observation,
        published=st.builds(
            Published,
            mostly(1, st.integers(0, 3)),
            mostly(None, maybe_time),
            mostly(OLD, st.none() | secrets),
            st.none() | ids,
            maybe_time,
        ),
        listing=st.none()
        | st.builds(
            Listing,
            mostly(via, st.sampled_from(Credential)),
            mostly({"a": NOW, "b": NOW}, st.dictionaries(ids, times, min_size=1)),
        ),
        refused=mostly(frozenset(), st.frozensets(st.sampled_from(Credential))),
        recorded=st.none() | secrets,
        recorded_read=st.booleans(),
        earlier_tried=st.booleans(),
        prepared_here=st.booleans(),
        creates=mostly(0, st.integers(0, 4)),
        created_id=mostly(None, ids),
        create_lost_at=mostly(None, times),
        create_refused=mostly(None, st.just("too many")),
        value_refused=st.booleans(),
        values=mostly(0, st.integers(0, 4)),
        waiting_since=st.dictionaries(st.sampled_from(Awaited), times),
        journal_at=mostly(None, times),
        revokes=mostly(0, st.integers(0, 4)),
        revoked=mostly(frozenset(), st.frozensets(ids, max_size=1)),
        rotated=mostly(typical=False, anything=st.just(value=True)),
    )


# An account at rest, one with a secret to revoke, one in the middle of a rotation: and all that can differ from it.
states = st.one_of(
    st.tuples(
        observations_like(Credential.PUBLISHED),
        journals_like(Journal(current_id="a", rotated_at=NOW - timedelta(days=2))),
    ),
    st.tuples(
        observations_like(Credential.PUBLISHED),
        journals_like(Journal(current_id="b", rotated_at=LATER, retiring=(Retiring("a", NOW),))),
    ),
    st.tuples(
        observations_like(Credential.CANDIDATE),
        journals_like(Journal(current_id="a", candidate=NEW, ids_before=frozenset({"a"}))),
    ),
)
policies = st.builds(
    Policy,
    runner=st.just("me"),
    account=st.just("shop"),
    due_at=st.none() | times.map(older_than),
    explicit=st.booleans(),
    force=st.booleans(),
    compromised=st.booleans(),
    known_id=mostly(None, ids),
    has_primary=st.booleans(),
    revoke=mostly(typical=True, anything=st.just(value=False)),
    max_secrets=st.sampled_from([2, 3]),
)
STEPS = (Create, Fail, List, Pause, Prepare, Publish, Record, Rest, Revoke)


@pytest.mark.parametrize("kind", STEPS)
def test_the_states_below_lead_to_every_kind_of_step(kind: type) -> None:
    """Else a property below would hold because it was never tried."""
    quick = settings(phases=[hypothesis.Phase.generate], max_examples=5000)
    find(st.tuples(states, policies), lambda s: isinstance(decide(s[0][0], s[0][1], s[1], NOW), kind), settings=quick)


@given(states, policies)
def test_every_state_has_a_next_step_and_no_step_names_a_secret(state: State, p: Policy) -> None:
    o, j = state
    step = decide(o, j, p, NOW)
    for value in (OLD, NEW):
        assert value.get_secret_value() not in repr(step)
        assert value.get_secret_value() not in repr((o, j, p))


@given(states, policies)
def test_only_a_recorded_secret_that_is_not_the_published_one_is_revoked(state: State, p: Policy) -> None:
    """I2, I3 and I4, whatever the state: also those that no course of events leads to."""
    o, j = state
    step = decide(o, j, p, NOW)
    if not isinstance(step, Revoke):
        return
    assert o.listing is not None
    assert o.listing.via is Credential.PUBLISHED
    assert step.id in j.retiring_ids
    assert step.id != j.current_id
    assert {step.id, j.current_id} <= set(o.listing.created)
    assert set(o.listing.created) <= j.retiring_ids | {j.current_id}, "nothing is revoked beside a stranger"
    assert j.create_until is None or j.create_until <= NOW, "a create may still be on its way"
    assert protocol.has_lease(j, p, NOW)


@given(states, policies)
def test_nothing_is_created_without_the_lease_room_and_a_candidate(state: State, p: Policy) -> None:
    o, j = state
    step = decide(o, j, p, NOW)
    if isinstance(step, Create):
        assert j.candidate is not None
        assert protocol.has_lease(j, p, NOW)
        assert o.listing is not None
        assert len(o.listing.created) < p.max_secrets


@given(states, policies)
def test_only_a_candidate_that_authenticated_is_published(state: State, p: Policy) -> None:
    o, j = state
    step = decide(o, j, p, NOW)
    if isinstance(step, Publish):
        assert o.listing is not None
        assert o.listing.via is Credential.CANDIDATE
        assert protocol.has_lease(j, p, NOW)


@given(states, policies)
def test_another_runner_s_lease_stops_everything(state: State, p: Policy) -> None:
    o, j = state
    other = replace(j, holder="other", lease_until=LATER)
    assert isinstance(decide(o, other, p, NOW), Rest)


@given(states, policies)
def test_nothing_is_begun_that_was_not_asked_for(state: State, p: Policy) -> None:
    """I8: without a date a run only finishes what is under way, or mends what is broken."""
    o, j = state
    step = decide(o, j, replace(p, due_at=None), NOW)
    if isinstance(step, Prepare) and j.candidate is None:
        assert step.trigger in (Trigger.BOOTSTRAP, Trigger.RESCUE)
        assert o.listing is not None
        assert o.listing.via is Credential.PRIMARY


@given(states, policies)
def test_a_recorded_journal_never_forgets_a_candidate_that_may_be_live(state: State, p: Policy) -> None:
    o, j = state
    step = decide(o, j, p, NOW)
    if isinstance(step, Record) and j.candidate is not None:
        kept = step.journal.candidate == j.candidate
        assert kept or o.published.secret == j.candidate


@given(states, policies)
def test_a_failure_says_what_to_do(state: State, p: Policy) -> None:
    o, j = state
    step = decide(o, j, p, NOW)
    if isinstance(step, Fail):
        assert step.what
        assert step.next_step


@given(states, policies)
def test_looking_costs_one_request_with_a_credential_there_is(state: State, p: Policy) -> None:
    o, j = state
    step = decide(o, j, p, NOW)
    if isinstance(step, List):
        assert step.using not in o.refused
        assert step.using is not Credential.CANDIDATE or j.candidate is not None
        assert step.using is not Credential.PUBLISHED or o.published.secret is not None
        assert step.using is not Credential.PRIMARY or p.has_primary


@given(states, policies)
def test_the_published_secret_is_never_recorded_as_retiring(state: State, p: Policy) -> None:
    o, j = state
    step = decide(o, j, p, NOW)
    if isinstance(step, Record) and j.current_id not in j.retiring_ids:
        assert step.journal.current_id not in step.journal.retiring_ids


@given(states, policies)
def test_nothing_is_revoked_where_nothing_may_be_and_nobody_waits_for_it_in_vain(state: State, p: Policy) -> None:
    step = decide(*state, replace(p, revoke=False), NOW)
    assert not isinstance(step, Revoke)
    if isinstance(step, Rest):
        assert step.until is None or step.until > NOW


@pytest.mark.parametrize("wanted", [None, older_than(NOW)])
def test_what_is_due_to_be_revoked_is_held_where_nothing_may_be(wanted: Any) -> None:
    journal = Journal(current_id="b", rotated_at=NOW - timedelta(days=1), retiring=(Retiring("a", NOW),))
    at_rest = seen(listing=listing("a", "b"), published=Published(version=0, secret=OLD, secret_id="b"))
    step = decide(at_rest, journal, replace(POLICY, due_at=wanted, revoke=False), NOW)
    assert isinstance(step, Rest)
    assert (step.reason, step.until) == (Reason.FULL if wanted else Reason.HELD, None)


@given(st.text(min_size=1), st.integers(1, 60))
def test_the_backoff_grows_to_its_cap_and_differs_from_account_to_account(account: str, attempts: int) -> None:
    longest = timedelta(minutes=min(2 ** (attempts - 1), 60))
    assert longest * 0.75 <= backoff(account, attempts) <= longest
    assert len({backoff(f"{account}{n}", attempts) for n in range(20)}) == 20


def test_accounts_that_failed_together_are_spread_over_a_quarter_of_the_backoff() -> None:
    shares = [backoff(f"n{number}", 1) / timedelta(minutes=1) for number in range(200)]
    assert 0.75 <= min(shares) < 0.76
    assert 0.99 < max(shares) <= 1


def test_what_is_older_than_an_instant_is_due_at_that_instant_and_the_rest_never() -> None:
    due_at = older_than(NOW)
    assert due_at(NOW - timedelta(microseconds=1)) < NOW - timedelta(days=365_000)
    assert due_at(NOW) > NOW + timedelta(days=365_000)
